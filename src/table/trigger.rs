//! Detects calls from inside a trigger of the tables.

use super::Table;
use super::columns::{Code, Family, Run, Token};
use crate::pg::statement::{is_trigger_pending, trigger_depth, written_by_client};
use pgrx::pg_sys;
use std::cell::Cell;

thread_local! {
    /// How many writes that run triggers are in progress, nested in each other.
    static WRITES: Cell<u32> = const { Cell::new(0) };
}

/// A write in progress. An ERROR ends it, too.
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

/// Whether a trigger of one of the tables in this schema is running. It may belong to one of our
/// own writes or to the client's own statement on such a table, or be deferred to the end of this
/// transaction.
pub fn is_in_trigger(schema: pg_sys::Oid) -> bool {
    WRITES.get() > 0
        || trigger_depth() > 0 && {
            let tables = tables_in(schema);
            match written_by_client() {
                Some(written) => written.iter().any(|oid| tables.contains(oid)),
                None => tables.into_iter().any(is_trigger_pending),
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
