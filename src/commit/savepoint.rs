//! Codes that one transaction both writes and presents. No other transaction sees the code's row,
//! so the presentation's step needs no transaction of its own: it vanishes together with the row.
//! Only ROLLBACK TO a savepoint between the two, or a deferred trigger, could undo the step alone.
//! Therefore the transaction remembers its steps and, before it commits, writes again those that
//! are missing.

use crate::codes::lifecycle::Own;
use crate::codes::step::Step;
use crate::error::Error;
use crate::pg::transaction::{
    at_end, at_rollback_to_savepoint, fire_deferred_triggers, savepoint, with_snapshot,
};
use crate::table::{Code, Columns, LockWait, Row, Table, Update};
use pgrx::{check_for_interrupts, pg_sys};
use std::cell::RefCell;

type Written = (pg_sys::Oid, String, Step);

thread_local! {
    /// Table, code_hash and step of each such presentation in the running transaction.
    static WRITTEN: RefCell<Vec<Written>> = const { RefCell::new(Vec::new()) };
    /// The codes that the transaction put into tables where a trigger may have changed the rows
    /// since.
    static PUT: RefCell<Vec<Put>> = const { RefCell::new(Vec::new()) };
}

struct Put {
    table: pg_sys::Oid,
    code_hash: String,
    /// The savepoint under which it was put.
    savepoint: pg_sys::SubTransactionId,
}

/// Writes a step to a row of this transaction. `Gone`: an earlier presentation's step was rolled
/// back, and is written again instead.
pub fn write(
    step: &Step,
    codes: &Table<Code>,
    row: &Row<Code>,
    code_hash: &str,
) -> Result<Update, Error> {
    let traces = steps(codes, code_hash).filter(|step| *step != Step::Revoke);
    if let Some(earlier) = traces
        .map(|step| step.on(row))
        .find(|step| step.is_due_on(row))
    {
        earlier.write(codes, row, LockWait::Wait)?;
        return Ok(Update::Gone);
    }
    let update = step.write(codes, row, LockWait::Wait)?;
    if update == Update::Done {
        remember(step, codes, code_hash);
    }
    Ok(update)
}

/// Ensures that a written step is still written when this transaction commits.
pub fn remember(step: &Step, codes: &Table<Code>, code_hash: &str) {
    let written = (codes.oid(), code_hash.to_owned(), step.clone());
    WRITTEN.with_borrow_mut(|all| {
        if !all.contains(&written) {
            all.push(written);
        }
    });
}

/// The steps that this transaction wrote to a code, including those that it rolled back.
fn steps(codes: &Table<Code>, code_hash: &str) -> impl Iterator<Item = Step> {
    let is_of_code = |(table, hash, _): &&Written| *table == codes.oid() && hash == code_hash;
    let steps: Vec<Step> = WRITTEN.with_borrow(|all| {
        let written = all.iter().filter(is_of_code);
        written.map(|(_, _, step)| step.clone()).collect()
    });
    steps.into_iter()
}

/// What this transaction did with a code, including what was rolled back.
pub fn own(codes: &Table<Code>, code_hash: &str) -> Own {
    let is_again = |step: &Step| !matches!(step, Step::Spend(_));
    Own {
        spent: steps(codes, code_hash).find(Step::spends),
        presented_again: steps(codes, code_hash).any(|step| is_again(&step)),
    }
}

/// Remembers a put if the row alone may not show that it belongs to this transaction.
pub fn note_put(codes: &Table<Code>, code_hash: &str) {
    if !codes.is_plain() {
        let put = Put {
            table: codes.oid(),
            code_hash: code_hash.to_owned(),
            savepoint: savepoint(),
        };
        PUT.with_borrow_mut(|all| all.push(put));
    }
}

/// Whether this transaction put the code, so that every version of its row is its own.
pub fn is_own_put(codes: &Table<Code>, row: &Row<Code>, code_hash: &str) -> bool {
    let noted = |put: &Put| put.table == codes.oid() && put.code_hash == code_hash;
    row.is_new() || row.is_of_this_transaction() && PUT.with_borrow(|all| all.iter().any(noted))
}

/// Registers the functions that write again and forget, once in each process.
pub fn init() {
    at_end(react);
    at_rollback_to_savepoint(forget_puts_since);
}

/// A put after a savepoint is undone by a rollback to it.
fn forget_puts_since(savepoint: pg_sys::SubTransactionId) {
    PUT.with_borrow_mut(|all| all.retain(|put| put.savepoint < savepoint));
}

fn react(event: pg_sys::XactEvent::Type) {
    use pg_sys::XactEvent::{XACT_EVENT_ABORT, XACT_EVENT_PRE_COMMIT, XACT_EVENT_PRE_PREPARE};
    let written = match event {
        XACT_EVENT_PRE_COMMIT | XACT_EVENT_PRE_PREPARE | XACT_EVENT_ABORT => WRITTEN.take(),
        _ => return,
    };
    PUT.take();
    if event != XACT_EVENT_ABORT && !written.is_empty() {
        with_snapshot(|| write_again(&written));
    }
}

fn write_again(written: &[Written]) {
    for (table, code_hash, step) in written {
        let again = Table::with_oid(*table, |codes| {
            if !write_missing(step, codes, code_hash)? {
                return Ok(());
            }
            fire_deferred_triggers(codes.owner());
            match missing(step, codes, code_hash)? {
                Some(_) => Err(Error::Undone(Code::TABLE)),
                None => Ok(()),
            }
        });
        again.unwrap_or_else(|error| error.raise());
    }
}

/// What is missing of a step, and the code's row.
fn missing<'t>(
    step: &Step,
    codes: &'t Table<Code>,
    code_hash: &str,
) -> Result<Option<(Step, Row<'t, Code>)>, Error> {
    let Some(row) = codes.find(code_hash) else {
        return Ok(None);
    };
    let step = step.on(&row);
    let missing = match step.is_missing(codes, &row)? {
        false => None,
        true if step.is_due_on(&row) => Some((step, row)),
        // The code may have gone on since, so that only the revocations are missing.
        true => Some((Step::Revoke, row)),
    };
    Ok(missing)
}

/// Writes what is missing of a step. Returns whether it wrote something.
fn write_missing(step: &Step, codes: &Table<Code>, code_hash: &str) -> Result<bool, Error> {
    // Another transaction may change the row while this one waits for it.
    loop {
        check_for_interrupts!();
        let Some((step, row)) = missing(step, codes, code_hash)? else {
            return Ok(false);
        };
        if step.write(codes, &row, LockWait::Wait)? == Update::Done {
            return Ok(true);
        }
    }
}
