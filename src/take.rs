//! How a take is made to last: which of the ways to commit what it writes is right for the caller.

use crate::counters::{self, Counter};
use crate::error::Error;
use crate::independent;
use crate::settings::{TAKE_IN_TRANSACTION, TakeInTransaction};
use crate::store::{self, Step, Taken};
use crate::table::{Access, Code, Rival, Row, Table, Update};
use crate::{rollback, undo};
use pgrx::pg_sys;

/// Presents a code (guarantees 1 to 4 of the README).
pub fn take(function: pg_sys::FunctionCallInfo, code_hash: &str) -> Result<Taken, Error> {
    let is_final = undo::is_final(function);
    let in_transaction = TAKE_IN_TRANSACTION.get();
    if !is_final && in_transaction == TakeInTransaction::Refuse {
        return Err(Error::InTransaction);
    }
    Table::with(function, Access::Write, |codes| {
        store::take(codes, code_hash, |step, row, answer| {
            let joins = in_transaction == TakeInTransaction::Join;
            let (update, path) =
                if is_final && (joins || answer.size() <= undo::RENDERED_BEFORE_COMMIT) {
                    (
                        with_this_statement(step, codes, row),
                        Counter::SpendsStatement,
                    )
                } else if joins {
                    (step.write(codes, row, Rival::Wait), Counter::SpendsJoined)
                } else if is_own(step, row) {
                    (
                        rollback::write(step, codes, row, code_hash),
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
fn is_own(step: Step, row: &Row<Code>) -> bool {
    match step {
        Step::Spend => row.is_new(),
        Step::Replay | Step::Reuse => row.is_of_this_transaction(),
    }
}

fn with_this_statement(step: Step, codes: &Table<Code>, row: &Row<Code>) -> Update {
    let update = step.write(codes, row, Rival::Wait);
    if update == Update::Done {
        // A code that a crash spends need not be spent on disk.
        undo::commit_at_once(!row.has(Code::Run));
    }
    update
}

fn count(step: Step, path: Counter) {
    match step {
        Step::Spend => counters::add(path, 1),
        Step::Replay => {}
        Step::Reuse => counters::add(Counter::Reuses, 1),
    }
}
