//! Codes that one transaction both puts and takes. Nobody else can see them, so the spend needs no
//! transaction of its own: it vanishes with the put. Only ROLLBACK TO a savepoint between the two
//! could undo it alone; so the transaction remembers its takes, and spends them again.

use crate::store;
use crate::table::{Rival, Row, Table, Update};
use pgrx::{pg_guard, pg_sys};
use std::cell::RefCell;

thread_local! {
    /// Table and code_hash of every such take of the running transaction.
    static TAKEN: RefCell<Vec<(pg_sys::Oid, String)>> = const { RefCell::new(Vec::new()) };
}

/// Spends a row of this transaction. `Gone`: it was taken before, and the spend rolled back.
pub fn spend(table: &Table, row: &Row, code_hash: &str) -> Update {
    let update = store::spend(table, row, Rival::Wait);
    let taken = (table.oid(), code_hash.to_owned());
    TAKEN.with_borrow_mut(|all| {
        if all.contains(&taken) {
            return Update::Gone;
        }
        all.push(taken);
        update
    })
}

/// Registers, once a backend, what spends again and forgets.
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
    let taken = match event {
        XACT_EVENT_PRE_COMMIT | XACT_EVENT_PRE_PREPARE | XACT_EVENT_ABORT => TAKEN.take(),
        _ => return,
    };
    if event != XACT_EVENT_ABORT && !taken.is_empty() {
        spend_again(&taken);
    }
}

fn spend_again(taken: &[(pg_sys::Oid, String)]) {
    // SAFETY: the transaction is still open, and user code has ended.
    unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot()) };
    for (table, code_hash) in taken {
        Table::with_oid(*table, |table| {
            store::spend_by_hash(table, code_hash, Rival::GiveUp)
        });
    }
    unsafe { pg_sys::PopActiveSnapshot() };
}
