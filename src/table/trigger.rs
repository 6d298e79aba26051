//! What runs inside a trigger of the tables.

use super::Table;
use super::columns::{Code, Family, Run, Token};
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

/// Whether a trigger of one of the tables in this schema is running: one of a write under way, or one that was
/// deferred to the end of this transaction.
pub fn is_in_trigger(schema: pg_sys::Oid) -> bool {
    let tables = [
        Table::<Code>::oid_in,
        Table::<Token>::oid_in,
        Table::<Family>::oid_in,
        Table::<Run>::oid_in,
    ];
    WRITES.get() > 0
        || depth() > 0
            && tables
                .iter()
                .filter_map(|oid_in| oid_in(schema))
                .any(|oid| {
                    // SAFETY: looks through the triggers that wait for the end of this transaction.
                    unsafe { pg_sys::AfterTriggerPendingOnRel(oid) }
                })
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
