//! Codes that one transaction both writes and presents. Nobody else can see what it wrote, so what
//! the presentation writes needs no transaction of its own: it vanishes with the rest. Only ROLLBACK
//! TO a savepoint between the two could undo it alone; so the transaction remembers its
//! presentations, and writes them again before it commits.

use crate::store::Step;
use crate::table::{Code, Rival, Row, Table, Update};
use pgrx::{pg_guard, pg_sys};
use std::cell::RefCell;

type Written = (pg_sys::Oid, String, Step);

thread_local! {
    /// Table, code_hash and step of every such presentation of the running transaction.
    static WRITTEN: RefCell<Vec<Written>> = const { RefCell::new(Vec::new()) };
}

/// Writes a step to a row of this transaction. `Gone`: it was written before, and rolled back.
pub fn write(step: Step, codes: &Table<Code>, row: &Row<Code>, code_hash: &str) -> Update {
    let update = step.write(codes, row, Rival::Wait);
    let written = (codes.oid(), code_hash.to_owned(), step);
    WRITTEN.with_borrow_mut(|all| {
        if all.contains(&written) {
            return Update::Gone;
        }
        all.push(written);
        update
    })
}

/// Whether this transaction presented a code after its take, even if that was rolled back.
pub fn remembers_replay(codes: &Table<Code>, code_hash: &str) -> bool {
    WRITTEN.with_borrow(|all| {
        all.iter().any(|(table, hash, step)| {
            *table == codes.oid() && hash == code_hash && *step != Step::Spend
        })
    })
}

/// Registers, once a backend, what writes again and forgets.
pub fn init() {
    // SAFETY: the callback lives as long as the library, which is never unloaded.
    unsafe { pg_sys::RegisterXactCallback(Some(at_transaction_end), std::ptr::null_mut()) };
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
    if event != XACT_EVENT_ABORT && !written.is_empty() {
        write_again(&written);
    }
}

fn write_again(written: &[Written]) {
    // SAFETY: the transaction is still open, and user code has ended.
    unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot()) };
    for (table, code_hash, step) in written {
        Table::with_oid(*table, |codes| {
            step.write_by_hash(codes, code_hash, Rival::GiveUp)
        });
    }
    unsafe { pg_sys::PopActiveSnapshot() };
}
