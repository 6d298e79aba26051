//! How a take is made to last: which of the ways to commit what it writes is right for the caller.

use crate::counters::{self, Counter};
use crate::error::Error;
use crate::independent;
use crate::settings::{TAKE_IN_TRANSACTION, TakeInTransaction};
use crate::store::{self, Step, Taken};
use crate::table::{Access, Code, Rival, Row, Table, Update, is_in_trigger, schema_of};
use crate::{rollback, undo};
use pgrx::pg_sys;

/// Presents a code (guarantees 1 to 4 of the README).
pub fn take(function: pg_sys::FunctionCallInfo, code_hash: &str) -> Result<Taken, Error> {
    let is_final = undo::is_final(function);
    // A statement of its own is inside nothing.
    if !is_final && is_in_trigger(schema_of(function)) || independent::is_worker() {
        return Err(Error::InTrigger);
    }
    let in_transaction = TAKE_IN_TRANSACTION.get();
    if !is_final && in_transaction == TakeInTransaction::Refuse {
        return Err(Error::InTransaction);
    }
    Table::with(function, Access::Write, |codes| {
        store::take(codes, code_hash, |step, row, answer| {
            let joins = in_transaction == TakeInTransaction::Join;
            // Held back until its commit, a trigger that waits could not be cancelled.
            let is_quick = is_final && codes.is_plain();
            let (update, path) =
                if is_quick && (joins || answer.size() <= undo::RENDERED_BEFORE_COMMIT) {
                    (
                        with_this_statement(step, codes, row)?,
                        Counter::SpendsStatement,
                    )
                } else if joins {
                    (step.write(codes, row, Rival::Wait)?, Counter::SpendsJoined)
                } else if is_own(step, codes, row, code_hash) {
                    (
                        rollback::write(step, codes, row, code_hash)?,
                        Counter::SpendsJoined,
                    )
                } else if codes.wait_for_writer(code_hash) {
                    return Ok(Update::Gone);
                } else {
                    independent::write(step, codes, code_hash)?
                };
            if update == Update::Done {
                count(step, path);
            }
            Ok(update)
        })
    })
}

/// Whether what this step builds on vanishes with this transaction, too.
fn is_own(step: Step, codes: &Table<Code>, row: &Row<Code>, code_hash: &str) -> bool {
    match step {
        Step::Spend => rollback::is_own_put(codes, row, code_hash),
        Step::Replay | Step::Reuse => row.is_of_this_transaction(),
    }
}

fn with_this_statement(step: Step, codes: &Table<Code>, row: &Row<Code>) -> Result<Update, Error> {
    let update = step.write(codes, row, Rival::Wait)?;
    if update == Update::Done {
        // A code that a crash spends need not be spent on disk.
        undo::commit_at_once(!row.has(Code::Run));
    }
    Ok(update)
}

fn count(step: Step, path: Counter) {
    match step {
        Step::Spend => counters::add(path, 1),
        Step::Replay => {}
        Step::Reuse => counters::add(Counter::Reuses, 1),
    }
}
