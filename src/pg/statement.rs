//! SQL statements: the client's, which PostgreSQL is running at this moment, and ours.

use pgrx::{direct_function_call, pg_sys};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CString, c_char};

thread_local! {
    /// The plan of each statement, which PostgreSQL makes anew where the table has changed.
    static PLANS: RefCell<HashMap<String, pg_sys::SPIPlanPtr>> = RefCell::default();
}

/// The tables that the client's statement writes. `None`: it is none that writes one by itself, as COMMIT, or is over:
/// what runs then was deferred.
pub fn written_by_client() -> Option<Vec<pg_sys::Oid>> {
    // SAFETY: reads the statement that the client has sent; the tables of its plan are counted from 1.
    unsafe {
        let portal = pg_sys::ActivePortal.as_ref()?;
        let mut written = Vec::new();
        for statement in elements(portal.stmts) {
            let statement = &*statement.ptr_value.cast::<pg_sys::PlannedStmt>();
            if statement.commandType == pg_sys::CmdType::CMD_UTILITY {
                return None;
            }
            let tables = elements(statement.rtable);
            for place in elements(statement.resultRelations) {
                let table = tables.get(place.int_value as usize - 1)?;
                written.push((*table.ptr_value.cast::<pg_sys::RangeTblEntry>()).relid);
            }
        }
        Some(written)
    }
}

/// How many triggers of any table are running, one inside the other.
pub fn trigger_depth() -> i32 {
    // SAFETY: takes no arguments.
    unsafe { direct_function_call(pg_sys::pg_trigger_depth, &[]) }.unwrap_or(0)
}

/// Whether a trigger of this table waits for the end of this transaction.
pub fn is_trigger_pending(table: pg_sys::Oid) -> bool {
    // SAFETY: looks through the triggers that wait.
    unsafe { pg_sys::AfterTriggerPendingOnRel(table) }
}

/// The elements of a list, which lives as long as they are looked at. A null pointer is an empty list.
pub unsafe fn elements<'a>(list: *mut pg_sys::List) -> &'a [pg_sys::ListCell] {
    // SAFETY: a list says how many elements it has.
    match unsafe { list.as_ref() } {
        Some(list) => unsafe { std::slice::from_raw_parts(list.elements, list.length as usize) },
        None => &[],
    }
}

/// A statement of ours, and its parameters.
#[derive(Default)]
pub struct Statement {
    pub sql: String,
    types: Vec<pg_sys::Oid>,
    values: Vec<pg_sys::Datum>,
    /// For each value `n` where it is NULL, else a blank.
    nulls: Vec<c_char>,
}

impl Statement {
    /// Adds a parameter, and answers how the SQL text names it.
    pub fn bind(&mut self, of_type: pg_sys::Oid, value: Option<pg_sys::Datum>) -> String {
        self.types.push(of_type);
        self.values.push(value.unwrap_or(pg_sys::Datum::null()));
        self.nulls
            .push(if value.is_some() { b' ' } else { b'n' } as c_char);
        format!("${}", self.types.len())
    }

    /// Runs it, and tells how many rows it wrote. It sees the rows as they are now, whatever snapshot the caller's
    /// isolation level holds.
    pub fn run(&self) -> u64 {
        // SAFETY: each call is checked. The parameters have the types that the plan was made for, and live until it
        // has run; SPI copies the snapshot.
        unsafe {
            expect(pg_sys::SPI_connect(), pg_sys::SPI_OK_CONNECT);
            let plan = plan(self);
            let result = pg_sys::SPI_execute_snapshot(
                plan,
                self.values.as_ptr().cast_mut(),
                self.nulls.as_ptr(),
                pg_sys::GetLatestSnapshot(),
                std::ptr::null_mut(),
                false,
                true,
                0,
            );
            if result < 0 {
                fail(result);
            }
            let written = pg_sys::SPI_processed;
            expect(pg_sys::SPI_finish(), pg_sys::SPI_OK_FINISH);
            written
        }
    }
}

unsafe fn plan(statement: &Statement) -> pg_sys::SPIPlanPtr {
    let known = PLANS.with_borrow(|plans| plans.get(&statement.sql).copied());
    if let Some(plan) = known {
        return plan;
    }
    // A name of the catalog holds no NUL byte.
    let sql = CString::new(statement.sql.as_str()).unwrap_or_default();
    // SAFETY: SPI is connected. A plan that is kept lives as long as the process.
    unsafe {
        let types = statement.types.as_ptr().cast_mut();
        let plan = pg_sys::SPI_prepare(sql.as_ptr(), statement.types.len() as i32, types);
        if plan.is_null() {
            fail(pg_sys::SPI_result);
        }
        expect(pg_sys::SPI_keepplan(plan), 0);
        PLANS.with_borrow_mut(|plans| plans.insert(statement.sql.clone(), plan));
        plan
    }
}

fn expect(result: i32, expected: u32) {
    if result != expected as i32 {
        fail(result);
    }
}

fn fail(result: i32) -> ! {
    pgrx::error!("attesto_codes cannot run a statement: SPI answered {result}")
}
