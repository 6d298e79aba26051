//! Codes that one transaction both writes and presents. Nobody else can see what it wrote, so what
//! the presentation writes needs no transaction of its own: it vanishes with the rest. Only ROLLBACK
//! TO a savepoint between the two could undo it alone, or a trigger that is deferred; so the transaction remembers
//! its presentations, and before it commits sees to it that they are written.

use crate::error::Error;
use crate::store::Step;
use crate::table::{Code, Columns, Rival, Row, Table, Update, as_owner};
use pgrx::{pg_guard, pg_sys};
use std::cell::RefCell;

type Written = (pg_sys::Oid, String, Step);

thread_local! {
    /// Table, code_hash and step of every such presentation of the running transaction.
    static WRITTEN: RefCell<Vec<Written>> = const { RefCell::new(Vec::new()) };
    /// The codes that it put, where a trigger may have changed their rows since.
    static PUT: RefCell<Vec<Put>> = const { RefCell::new(Vec::new()) };
}

struct Put {
    table: pg_sys::Oid,
    code_hash: String,
    /// After which savepoint.
    savepoint: pg_sys::SubTransactionId,
}

/// Writes a step to a row of this transaction. `Gone`: it was written before, and rolled back.
pub fn write(
    step: Step,
    codes: &Table<Code>,
    row: &Row<Code>,
    code_hash: &str,
) -> Result<Update, Error> {
    let update = step.write(codes, row, Rival::Wait)?;
    match remember(step, codes, code_hash) {
        true => Ok(update),
        false => Ok(Update::Gone),
    }
}

/// Sees to it that a step which was written still is when this transaction commits. False: it did so already.
pub fn remember(step: Step, codes: &Table<Code>, code_hash: &str) -> bool {
    let written = (codes.oid(), code_hash.to_owned(), step);
    WRITTEN.with_borrow_mut(|all| {
        let is_new = !all.contains(&written);
        if is_new {
            all.push(written);
        }
        is_new
    })
}

/// Whether this transaction spent a code that it had put, even if that was rolled back.
pub fn remembers_spend(codes: &Table<Code>, code_hash: &str) -> bool {
    remembers(codes, code_hash, |step| step == Step::Spend)
}

/// Whether this transaction presented a code after its take, even if that was rolled back.
pub fn remembers_replay(codes: &Table<Code>, code_hash: &str) -> bool {
    remembers(codes, code_hash, |step| step != Step::Spend)
}

fn remembers(codes: &Table<Code>, code_hash: &str, is_it: impl Fn(Step) -> bool) -> bool {
    WRITTEN.with_borrow(|all| {
        all.iter()
            .any(|(table, hash, step)| *table == codes.oid() && hash == code_hash && is_it(*step))
    })
}

/// Remembers a put, where the row alone may not tell that it is this transaction's.
pub fn note_put(codes: &Table<Code>, code_hash: &str) {
    if !codes.is_plain() {
        let put = Put {
            table: codes.oid(),
            code_hash: code_hash.to_owned(),
            // SAFETY: reads a variable of this backend.
            savepoint: unsafe { pg_sys::GetCurrentSubTransactionId() },
        };
        PUT.with_borrow_mut(|all| all.push(put));
    }
}

/// Whether this transaction put the code, and so has all there is of it.
pub fn is_own_put(codes: &Table<Code>, row: &Row<Code>, code_hash: &str) -> bool {
    let noted = |put: &Put| put.table == codes.oid() && put.code_hash == code_hash;
    row.is_new() || row.is_of_this_transaction() && PUT.with_borrow(|all| all.iter().any(noted))
}

/// Registers, once a backend, what writes again and forgets.
pub fn init() {
    // SAFETY: the callbacks live as long as the library, which is never unloaded.
    unsafe {
        pg_sys::RegisterXactCallback(Some(at_transaction_end), std::ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(at_savepoint_end), std::ptr::null_mut());
    }
}

/// What was put after a savepoint is gone with a rollback to it. Later ones have higher numbers.
#[pg_guard]
unsafe extern "C-unwind" fn at_savepoint_end(
    event: pg_sys::SubXactEvent::Type,
    savepoint: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _argument: *mut std::ffi::c_void,
) {
    if event == pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB {
        PUT.with_borrow_mut(|all| all.retain(|put| put.savepoint < savepoint));
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn at_transaction_end(
    event: pg_sys::XactEvent::Type,
    _argument: *mut std::ffi::c_void,
) {
    use pg_sys::XactEvent::*;
    let written = match event {
        XACT_EVENT_PRE_COMMIT | XACT_EVENT_PRE_PREPARE | XACT_EVENT_ABORT => WRITTEN.take(),
        _ => return,
    };
    PUT.take();
    if event != XACT_EVENT_ABORT && !written.is_empty() {
        write_again(&written);
    }
}

fn write_again(written: &[Written]) {
    // SAFETY: the transaction is still open, and user code has ended.
    unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot()) };
    for (table, code_hash, step) in written {
        let again = Table::with_oid(*table, |codes| {
            if step.write_by_hash(codes, code_hash, Rival::GiveUp)? != Update::Done {
                return Ok(());
            }
            // SAFETY: outside of any query. PostgreSQL itself has fired the deferred triggers of this
            // transaction already, and would forget those of this write.
            as_owner(codes.owner(), || unsafe {
                pg_sys::AfterTriggerFireDeferred()
            });
            match step.is_due(codes, code_hash) {
                true => Err(Error::Undone(Code::TABLE)),
                false => Ok(()),
            }
        });
        again.unwrap_or_else(|error| error.raise());
    }
    unsafe { pg_sys::PopActiveSnapshot() };
}
