//! How a take is made to last: which of the ways to commit its spend is right for the caller.

use crate::error::Error;
use crate::independent;
use crate::settings::{TAKE_IN_TRANSACTION, TakeInTransaction};
use crate::store::{self, Taken};
use crate::table::{Access, Rival, Row, Table, Update};
use crate::{rollback, undo};
use pgrx::pg_sys;

/// Presents a code (guarantees 1 to 4 of the README).
pub fn take(function: pg_sys::FunctionCallInfo, code_hash: &str) -> Result<Taken, Error> {
    let is_final = undo::is_final(function);
    let in_transaction = TAKE_IN_TRANSACTION.get();
    if !is_final && in_transaction == TakeInTransaction::Refuse {
        return Err(Error::InTransaction);
    }
    Table::with(function, Access::Write, |table| {
        store::take(table, code_hash, |row, entry| {
            let joins = in_transaction == TakeInTransaction::Join;
            if is_final && (joins || entry.data.0.len() <= undo::SENT_AFTER_COMMIT) {
                return Ok(with_this_statement(table, row));
            }
            if joins {
                return Ok(store::spend(table, row, Rival::Wait));
            }
            if row.is_of_this_transaction() {
                return Ok(rollback::spend(table, row, code_hash));
            }
            independent::spend(table, code_hash)
        })
    })
}

fn with_this_statement(table: &Table, row: &Row) -> Update {
    let update = store::spend(table, row, Rival::Wait);
    if update == Update::Done {
        undo::commit_at_once();
    }
    update
}
