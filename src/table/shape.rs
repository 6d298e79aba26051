//! Whether a table is as the extension made it: who reads and writes its rows relies on that, and an
//! administrator may have changed it.

use super::Columns;
use pgrx::pg_sys;

/// An open table with all columns of C, in their places. It may have more.
pub unsafe fn is_table_of<C: Columns>(rel: pg_sys::Relation) -> bool {
    // SAFETY: the descriptor of an open relation has natts attributes.
    unsafe {
        let form = &*(*rel).rd_rel;
        form.relkind == pg_sys::RELKIND_RELATION as std::ffi::c_char
            && (form.relpersistence == pg_sys::RELPERSISTENCE_UNLOGGED as std::ffi::c_char
                || !C::IS_UNLOGGED)
            && (*(*rel).rd_att).natts as usize >= C::TYPES.len()
            && C::TYPES.iter().enumerate().all(|(at, of_type)| {
                let attribute = attribute((*rel).rd_att, at);
                (*attribute).atttypid == *of_type && !(*attribute).attisdropped
            })
    }
}

/// Whether an open primary key is that of C: on its one column, in the order of its bytes, and
/// unique at every moment.
pub unsafe fn is_key_of<C: Columns>(pkey: pg_sys::Relation) -> bool {
    // SAFETY: rd_index names the columns of an open index, rd_indcollation their collations.
    unsafe {
        let form = &*(*pkey).rd_index;
        form.indnkeyatts == 1
            && form.indkey.values.as_slice(1)[0] == C::KEY.position() as i16 + 1
            && form.indimmediate
            && form.indisvalid
            && *(*pkey).rd_indcollation == pg_sys::C_COLLATION_OID
    }
}

#[cfg(not(feature = "pg18"))]
unsafe fn attribute(
    descriptor: pg_sys::TupleDesc,
    at: usize,
) -> *const pg_sys::FormData_pg_attribute {
    unsafe { (*descriptor).attrs.as_ptr().add(at) }
}

#[cfg(feature = "pg18")]
unsafe fn attribute(
    descriptor: pg_sys::TupleDesc,
    at: usize,
) -> *const pg_sys::FormData_pg_attribute {
    unsafe { pg_sys::TupleDescAttr(descriptor, at as i32) }
}
