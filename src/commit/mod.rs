//! Makes a presentation last: chooses how to commit its write, depending on the caller.
//!
//! This folder decides whether the running statement is final, how its commit waits, what its
//! client learns before the commit, and which codes one transaction both wrote and presented. The
//! write itself is in codes/. The workers, which write when the caller's own transaction cannot,
//! are above, in worker/. A presentation gets the call that reaches them as an argument.

mod client_output;
mod durability;
mod finality;
pub mod savepoint;

pub use self::durability::flush_on_commit;

use self::durability::{commit_at_once, flush};
use crate::codes::counters::{self, Counter};
use crate::codes::families;
use crate::codes::presentation::{self, Answer, Attempts, Presentation, Presented, Write};
use crate::codes::step::Step;
use crate::error::Error;
use crate::pg::backend::{is_worker, schema_of};
use crate::settings::{TAKE_IN_TRANSACTION, TakeInTransaction};
use crate::table::{Access, Code, LockWait, Row, Table, Update, is_in_trigger};
use pgrx::pg_sys;

/// Entries larger than this, in bytes, are not rendered before the commit: an ERROR there, such as
/// out of memory, would undo the spend.
const RENDERED_BEFORE_COMMIT: usize = 4096;

/// Registers the functions that watch statements and transactions, once in each process.
pub fn init() {
    finality::init();
    durability::init();
    savepoint::init();
}

/// Presents a code. `send` has a worker write a step to a code of a table, and returns how that
/// ended.
pub fn present(
    function: pg_sys::FunctionCallInfo,
    code_hash: &str,
    presentation: &Presentation,
    send: impl Fn(&Step, pg_sys::Oid, &str) -> Result<(Update, Counter), Error>,
) -> Result<Answer, Error> {
    let is_final = finality::is_final(function);
    // A final statement runs inside nothing else.
    if !is_final && is_in_trigger(schema_of(function)) || is_worker() {
        return Err(Error::InTrigger(presentation.function()));
    }
    let in_transaction = TAKE_IN_TRANSACTION.get();
    if !is_final && in_transaction == TakeInTransaction::Refuse {
        return Err(Error::InTransaction(presentation.function()));
    }
    let joins = in_transaction == TakeInTransaction::Join;
    let mut attempts = Attempts::default();
    loop {
        let (presented, locks) = Table::with(function, Access::Write, |codes| {
            let way = Way { is_final, joins };
            let presented = presentation::present(
                codes,
                code_hash,
                presentation,
                &mut attempts,
                |step, row, answer| write(step, codes, row, answer, code_hash, way),
            );
            Ok((presented?, codes.locks()))
        })?;
        let (step, answer, version) = match presented {
            Presented::Answered(answer) => return Ok(answer),
            Presented::Ordered(step, answer, version) => (step, answer, version),
        };
        // A backend that waits for the table would wait for this process, and the worker would wait
        // behind that backend.
        locks.release();
        match send(&step, locks.table, code_hash)? {
            (Update::Done, path) => {
                count(&step, path);
                return Ok(answer);
            }
            (Update::Gone, _) => attempts.failed(version),
            // A final statement waits itself, as an UPDATE would.
            (Update::Busy, _) if is_final => {}
            (Update::Busy, _) => attempts.waited(version),
        }
    }
}

/// Facts about the caller.
#[derive(Clone, Copy)]
struct Way {
    is_final: bool,
    joins: bool,
}

fn write(
    step: &Step,
    codes: &Table<Code>,
    row: &Row<Code>,
    answer: &Answer,
    code_hash: &str,
    Way { is_final, joins }: Way,
) -> Result<Write, Error> {
    // A final statement with triggers is not quick: interrupts are held until its commit, so a
    // trigger that waits could not be cancelled. It waits here for the tables, since no worker does.
    let is_quick = is_final && step.is_plain(codes, LockWait::Wait)? == Some(true);
    let is_small = joins || answer.size() <= RENDERED_BEFORE_COMMIT;
    // What this transaction has revoked may still be rolled back, but it is revoked only once.
    let is_new = *step != Step::Revoke || !families::are_revoked(codes, row)?;
    let (update, path) = if is_quick && is_small {
        (
            with_this_statement(step, codes, row)?,
            Counter::SpendsStatement,
        )
    } else if joins && !is_final {
        (
            with_this_transaction(step, codes, row)?,
            Counter::SpendsJoined,
        )
    } else if is_own(step, codes, row, code_hash) {
        (
            with_the_writer(step, codes, row, code_hash)?,
            Counter::SpendsJoined,
        )
    } else if codes.wait_for_writer(code_hash) || is_final && codes.wait_for_holders(row) {
        return Ok(Write::Waited);
    } else {
        return Ok(Write::Ordered);
    };
    if update == Update::Done && is_new {
        count(step, path);
    }
    Ok(Write::Ended(update))
}

/// Whether the row that this step builds on also vanishes with this transaction.
fn is_own(step: &Step, codes: &Table<Code>, row: &Row<Code>, code_hash: &str) -> bool {
    match step.spends() {
        true => savepoint::is_own_put(codes, row, code_hash),
        false => row.is_of_this_transaction(),
    }
}

fn with_this_statement(step: &Step, codes: &Table<Code>, row: &Row<Code>) -> Result<Update, Error> {
    let update = step.write(codes, row, LockWait::Wait)?;
    if update == Update::Done {
        commit_at_once(is_needed_on_disk(step, row));
    }
    Ok(update)
}

/// Under take_in_transaction = join a rollback undoes the step, but a crash after the commit does not.
fn with_this_transaction(
    step: &Step,
    codes: &Table<Code>,
    row: &Row<Code>,
) -> Result<Update, Error> {
    let update = step.write(codes, row, LockWait::Wait)?;
    if update == Update::Done && is_needed_on_disk(step, row) {
        flush();
    }
    Ok(update)
}

/// The row vanishes together with the step, but the row that it replaced may be on disk.
fn with_the_writer(
    step: &Step,
    codes: &Table<Code>,
    row: &Row<Code>,
    code_hash: &str,
) -> Result<Update, Error> {
    let update = savepoint::write(step, codes, row, code_hash)?;
    if update == Update::Done && !step.spends() {
        flush();
    }
    Ok(update)
}

/// A code that a crash spends need not be spent on disk. A revocation is needed after it.
fn is_needed_on_disk(step: &Step, row: &Row<Code>) -> bool {
    !row.has(Code::Run) || step.revokes()
}

fn count(step: &Step, path: Counter) {
    match step {
        Step::Spend(_) | Step::Close => counters::add(path, 1),
        Step::Reuse { .. } => counters::add(Counter::Reuses, 1),
        Step::Replay { .. } | Step::Revoke => {}
    }
    if step.revokes() {
        counters::add(Counter::RevocationsByReuse, 1);
    }
}
