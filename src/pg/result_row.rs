//! The result of a function that returns a table: at most one row. The row goes directly into the
//! caller's tuplestore, under the caller's own row description. pgrx would read that description
//! from the catalogs in each call, which takes as long as finding the code.

use crate::error::Error;
use pgrx::callconv::RetAbi;
use pgrx::pg_sys::SetFunctionReturnMode::{SFRM_Materialize, SFRM_Materialize_Random};
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use pgrx::{PgMemoryContexts, pg_sys};

/// At most one row of N columns.
pub struct ResultRow<const N: usize>(Option<[Option<pg_sys::Datum>; N]>);

impl<const N: usize> ResultRow<N> {
    pub fn none() -> ResultRow<N> {
        ResultRow(None)
    }

    pub fn one(row: [Option<pg_sys::Datum>; N]) -> ResultRow<N> {
        ResultRow(Some(row))
    }

    /// Puts the row into a tuplestore, as materialize mode does.
    unsafe fn store(self, caller: &mut pg_sys::ReturnSetInfo) {
        // SAFETY: the caller's context outlives the call, and so does the tuplestore made in its
        // memory. The description has N columns, as many as the function.
        unsafe {
            let random = caller.allowedModes as u32 & SFRM_Materialize_Random != 0;
            let store = PgMemoryContexts::For((*caller.econtext).ecxt_per_query_memory)
                .switch_to(|_| pg_sys::tuplestore_begin_heap(random, false, pg_sys::work_mem));
            if let Some(row) = self.0 {
                let mut nulls = row.map(|value| value.is_none());
                let mut values = row.map(|value| value.unwrap_or(pg_sys::Datum::null()));
                let (values, nulls) = (values.as_mut_ptr(), nulls.as_mut_ptr());
                pg_sys::tuplestore_putvalues(store, caller.expectedDesc, values, nulls);
            }
            caller.returnMode = SFRM_Materialize;
            caller.setResult = store;
        }
    }
}

// SAFETY: this returns what PostgreSQL expects from a function in materialize mode: NULL, with the
// rows in the caller's ReturnSetInfo.
unsafe impl<const N: usize> RetAbi for ResultRow<N> {
    type Item = Self;
    type Ret = Self;

    fn to_ret(self) -> Self {
        self
    }

    unsafe fn box_ret_in_fcinfo(function: pg_sys::FunctionCallInfo, rows: Self) -> pg_sys::Datum {
        // SAFETY: fcinfo belongs to the running function, and a node states its type.
        unsafe {
            let caller = (*function).resultinfo.cast::<pg_sys::ReturnSetInfo>();
            match caller.as_mut() {
                Some(caller)
                    if caller.type_ == pg_sys::NodeTag::T_ReturnSetInfo
                        && caller.allowedModes as u32 & SFRM_Materialize != 0
                        && !caller.expectedDesc.is_null()
                        && (*caller.expectedDesc).natts as usize == N =>
                {
                    rows.store(caller);
                }
                _ => Error::NoRowsHere.raise(),
            }
            (*function).isnull = true;
        }
        pg_sys::Datum::null()
    }

    unsafe fn move_into_fcinfo_fcx(self, _: pg_sys::FunctionCallInfo) {}

    unsafe fn fill_fcinfo_fcx(&self, _: pg_sys::FunctionCallInfo) {}
}

// SAFETY: the SQL declarations of the functions are written by hand.
unsafe impl<const N: usize> SqlTranslatable for ResultRow<N> {
    const TYPE_IDENT: &'static str = pgrx::pgrx_resolved_type!(ResultRow);
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Err(ArgumentError::Table);
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> =
        Ok(ReturnsRef::One(SqlMappingRef::literal("record")));
}
