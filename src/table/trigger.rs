//! What runs inside a trigger of the tables.

use super::Table;
use super::columns::{Code, Family, Run, Token};
use crate::list::elements;
use pgrx::{direct_function_call, pg_sys};
use std::cell::Cell;

thread_local! {
    /// How many writes are under way whose triggers run, one inside the other.
    static WRITES: Cell<u32> = const { Cell::new(0) };
}

/// A write under way. It ends where an ERROR does, too.
pub(super) struct Write;

impl Write {
    pub(super) fn begin() -> Write {
        WRITES.set(WRITES.get() + 1);
        Write
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        WRITES.set(WRITES.get() - 1);
    }
}

/// Whether a trigger of one of the tables in this schema is running: one of a write under way, of the client's own
/// statement on such a table, or one that was deferred to the end of this transaction.
pub fn is_in_trigger(schema: pg_sys::Oid) -> bool {
    WRITES.get() > 0
        || depth() > 0 && {
            let tables = tables_in(schema);
            match written_by_client() {
                Some(written) => written.iter().any(|oid| tables.contains(oid)),
                // SAFETY: looks through the triggers that wait for the end of this transaction.
                None => tables
                    .into_iter()
                    .any(|oid| unsafe { pg_sys::AfterTriggerPendingOnRel(oid) }),
            }
        }
}

fn tables_in(schema: pg_sys::Oid) -> Vec<pg_sys::Oid> {
    [
        Table::<Code>::oid_in,
        Table::<Token>::oid_in,
        Table::<Family>::oid_in,
        Table::<Run>::oid_in,
    ]
    .iter()
    .filter_map(|oid_in| oid_in(schema))
    .collect()
}

/// The tables that the client's statement writes. `None`: it is none that writes one by itself, as COMMIT, or is over:
/// what runs then was deferred.
fn written_by_client() -> Option<Vec<pg_sys::Oid>> {
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
fn depth() -> i32 {
    // SAFETY: takes no arguments.
    unsafe { direct_function_call(pg_sys::pg_trigger_depth, &[]) }.unwrap_or(0)
}

/// Lets no trigger of this transaction be deferred to its end, where nothing could be told of what became of the
/// write.
pub fn triggers_at_once() {
    let mut all = pg_sys::ConstraintsSetStmt {
        type_: pg_sys::NodeTag::T_ConstraintsSetStmt,
        ..Default::default()
    };
    // SAFETY: SET CONSTRAINTS ALL IMMEDIATE.
    unsafe { pg_sys::AfterTriggerSetState(&mut all) };
}
