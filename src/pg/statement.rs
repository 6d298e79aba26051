//! What PostgreSQL is running at this moment: the client's statement, and triggers.

use pgrx::{direct_function_call, pg_sys};

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
