//! Makes the commit of a presentation last. Decides what the commit waits for, and lets nothing come
//! between the write and the commit.

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
    /// Whether this transaction contains a presentation that nothing may undo.
    static AT_ONCE: Cell<bool> = const { Cell::new(false) };
    /// Whether its commit must be on disk.
    static FLUSH: Cell<bool> = const { Cell::new(false) };
    /// Whether its commit must also be on the synchronous standbys.
    static FLUSH_EVERYWHERE: Cell<bool> = const { Cell::new(false) };
    /// The synchronous_commit to restore when the transaction has ended.
    static SESSIONS: Cell<Option<i32>> = const { Cell::new(None) };
}

/// Called after the write of a presentation in a final statement. The statement then commits as soon as it ends, even
/// in a pipeline. Until then it cannot be cancelled and the client is told nothing. If `is_flushed`
/// the commit is on disk, whatever synchronous_commit says.
pub fn commit_at_once(is_flushed: bool) {
    if is_flushed {
        flush();
    }
    if !AT_ONCE.replace(true) {
        end_with_this_statement();
        client_output::hold();
    }
}

/// Makes the commit of this transaction wait for the disk, whatever synchronous_commit is by then.
pub fn flush() {
    FLUSH.set(true);
}

/// Makes the commit of this transaction wait for the disk and the standbys, as synchronous_commit =
/// on does, whatever the setting is by then.
pub fn flush_on_commit() {
    FLUSH_EVERYWHERE.set(true);
}

/// Registers the function that watches transactions, once in each process.
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
        // The ERROR that led here has already allowed interrupts again.
        XACT_EVENT_ABORT if end() => client_output::undone(),
        _ => {}
    }
}

/// Sets it only at the commit: a value that a function sets, or has in its SET clause, ends with
/// the function.
fn flush_this_commit() {
    SESSIONS.set(Some(synchronous_commit()));
    set_synchronous_commit(synchronous_commit().max(FLUSHED));
}

/// PostgreSQL chooses the standbys by the setting, so setting the variable is not enough.
fn flush_everywhere() {
    if synchronous_commit() < FLUSHED {
        set_local(c"synchronous_commit", c"on");
    }
}

/// Returns whether the transaction contained a presentation that nothing may undo.
fn end() -> bool {
    FLUSH.set(false);
    FLUSH_EVERYWHERE.set(false);
    if let Some(sessions) = SESSIONS.take() {
        set_synchronous_commit(sessions);
    }
    AT_ONCE.replace(false)
}
