//! How a take's commit is made to last: by whom it is waited for, and that nothing comes between the write and the commit.

use super::client_output;
use crate::pg::session::set_local;
use crate::pg::transaction::{
    allow_interrupts, at_end, end_with_this_statement, set_synchronous_commit, synchronous_commit,
};
use pgrx::pg_sys;
use std::cell::Cell;

/// synchronous_commit = on.
const FLUSHED: i32 = pg_sys::SyncCommitLevel::SYNCHRONOUS_COMMIT_REMOTE_FLUSH as i32;

thread_local! {
    /// Whether this transaction is that of a take which nothing may undo.
    static AT_ONCE: Cell<bool> = const { Cell::new(false) };
    /// Whether its commit must be on disk.
    static FLUSH: Cell<bool> = const { Cell::new(false) };
    /// Whether it must be there on the synchronous standbys, too.
    static FLUSH_EVERYWHERE: Cell<bool> = const { Cell::new(false) };
    /// The synchronous_commit to go back to when it has ended.
    static SESSIONS: Cell<Option<i32>> = const { Cell::new(None) };
}

/// To be called after the spend where the statement is final: it commits as soon as it ends, even in a pipeline, and
/// cannot be cancelled before. Nor is the client told anything before. With `flush` the commit is on disk, whatever
/// synchronous_commit says.
pub fn commit_at_once(flush: bool) {
    FLUSH.set(flush || FLUSH.get());
    if !AT_ONCE.replace(true) {
        end_with_this_statement();
        client_output::hold();
    }
}

/// Makes the commit of this transaction wait as synchronous_commit = on does, for the standbys, too, whatever it is
/// set to until then.
pub fn flush_on_commit() {
    FLUSH_EVERYWHERE.set(true);
}

/// Registers, once a process, what watches the transactions.
pub fn init() {
    at_end(react);
}

fn react(event: pg_sys::XactEvent::Type) {
    use pg_sys::XactEvent::{XACT_EVENT_ABORT, XACT_EVENT_COMMIT, XACT_EVENT_PRE_COMMIT};
    match event {
        XACT_EVENT_PRE_COMMIT if FLUSH_EVERYWHERE.get() => flush_everywhere(),
        XACT_EVENT_PRE_COMMIT if FLUSH.get() => flush_this_commit(),
        XACT_EVENT_COMMIT if end() => {
            allow_interrupts();
            client_output::committed();
        }
        // The ERROR that led here has allowed interrupts again.
        XACT_EVENT_ABORT if end() => client_output::undone(),
        _ => {}
    }
}

/// Not before the commit: what a function sets, or has SET for it, ends with the function.
fn flush_this_commit() {
    SESSIONS.set(Some(synchronous_commit()));
    set_synchronous_commit(synchronous_commit().max(FLUSHED));
}

/// The standbys that are waited for go by the setting, and not by its variable alone.
fn flush_everywhere() {
    if synchronous_commit() < FLUSHED {
        set_local(c"synchronous_commit", c"on");
    }
}

/// Whether it was the transaction of a take which nothing may undo.
fn end() -> bool {
    FLUSH.set(false);
    FLUSH_EVERYWHERE.set(false);
    if let Some(sessions) = SESSIONS.take() {
        set_synchronous_commit(sessions);
    }
    AT_ONCE.replace(false)
}
