//! Transactions and savepoints: those of a worker, functions that run when one ends, and how its
//! commit waits.

use super::failure::{Failure, catch};
use super::session::{Owner, as_owner, set_local};
use crate::error::Error;
use pgrx::{pg_guard, pg_sys};
use std::cell::Cell;
use std::ffi::{CString, c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

// pgrx does not declare these.
unsafe extern "C-unwind" {
    fn enable_timeout_after(timeout: u32, milliseconds: c_int);
    fn disable_timeout(timeout: u32, keep_indicator: bool);
}

/// PostgreSQL's number of statement_timeout. scripts/declarations.h compares it with the headers.
const STATEMENT_TIMEOUT: u32 = 3;

// pgrx does not declare this. Before PostgreSQL 15, a worker must wake the listeners itself.
#[cfg(feature = "pg14")]
unsafe extern "C-unwind" {
    fn ProcessCompletedNotifies();
}

thread_local! {
    /// Whether the timer of `run_at_most` runs.
    static TIMED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a lock_timeout, or a user, may cancel the work of this worker. That is allowed inside a
/// transaction until its commit: a cancelled wait for a standby would look like a commit that the
/// standby has.
static CANCELLABLE: AtomicBool = AtomicBool::new(false);

/// Whether this worker may be cancelled now.
pub fn is_cancellable() -> bool {
    CANCELLABLE.load(Ordering::Relaxed)
}

/// Does `work` in a transaction, and commits it.
pub fn in_transaction<T>(work: impl FnOnce() -> T) -> T {
    in_transaction_of_owner(|| (work(), None))
}

/// Does `work` in a transaction, and commits it with the rights of the owner that `work` returns. A
/// trigger deferred to the commit then has those rights, and not the superuser's.
pub fn in_transaction_of_owner<T>(work: impl FnOnce() -> (T, Option<Owner>)) -> T {
    // SAFETY: begins and commits like PostgreSQL's own workers. An uncaught ERROR ends the process,
    // and the transaction with it.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
        // The database may have other defaults.
        pg_sys::XactIsoLevel = pg_sys::XACT_READ_COMMITTED as i32;
        pg_sys::XactReadOnly = false;
        let (result, owner) = with_snapshot(|| {
            CANCELLABLE.store(true, Ordering::Relaxed);
            work()
        });
        match owner {
            Some(owner) => as_owner(owner, || pg_sys::CommitTransactionCommand()),
            None => pg_sys::CommitTransactionCommand(),
        }
        #[cfg(feature = "pg14")]
        ProcessCompletedNotifies();
        result
    }
}

/// Does `work`, which begins and commits transactions. If an error ends one, it is rolled back.
pub fn or_roll_back<T>(work: impl FnOnce() -> T) -> Result<T, Failure> {
    catch(work).inspect_err(|_| {
        // SAFETY: PostgreSQL does the same after an error in a client's statement.
        unsafe {
            pg_sys::AbortCurrentTransaction();
            pg_sys::QueryCancelPending = 0;
        }
    })
}

/// Does `work` outside of any query, with a snapshot taken now.
pub fn with_snapshot<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: a transaction is open. An ERROR in `work` ends it, and the snapshot with it.
    unsafe {
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        let result = work();
        pg_sys::PopActiveSnapshot();
        result
    }
}

/// Does `work` inside a savepoint. An error that `work` returns or raises rolls back to it.
pub fn within_savepoint<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Failure> {
    // SAFETY: does what PL/pgSQL does for a block with an EXCEPTION clause. The memory context and
    // the resource owner are restored either way.
    unsafe {
        let (memory, owner) = (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner);
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::CurrentMemoryContext = memory;
        let result = catch(|| work().unwrap_or_else(|error| error.raise()));
        match result {
            Ok(_) => pg_sys::ReleaseCurrentSubTransaction(),
            Err(_) => pg_sys::RollbackAndReleaseCurrentSubTransaction(),
        }
        pg_sys::CurrentMemoryContext = memory;
        pg_sys::CurrentResourceOwner = owner;
        result
    }
}

/// The number of the innermost savepoint. Later savepoints have higher numbers.
pub fn savepoint() -> pg_sys::SubTransactionId {
    // SAFETY: reads a variable of this process.
    unsafe { pg_sys::GetCurrentSubTransactionId() }
}

/// Registers `react`, to be called when a transaction of this process ends. Functions registered
/// later are called earlier.
pub fn at_end(react: fn(pg_sys::XactEvent::Type)) {
    // SAFETY: the function lives as long as the library, which is never unloaded.
    unsafe { pg_sys::RegisterXactCallback(Some(transaction_ends), react as *mut c_void) };
}

#[pg_guard]
unsafe extern "C-unwind" fn transaction_ends(event: pg_sys::XactEvent::Type, react: *mut c_void) {
    // SAFETY: the argument is the function that `at_end` was given.
    let react = unsafe { std::mem::transmute::<*mut c_void, fn(pg_sys::XactEvent::Type)>(react) };
    react(event);
}

/// Registers `react`, to be called with the number of each savepoint that is rolled back to.
pub fn at_rollback_to_savepoint(react: fn(pg_sys::SubTransactionId)) {
    // SAFETY: as in `at_end`.
    unsafe { pg_sys::RegisterSubXactCallback(Some(savepoint_ends), react as *mut c_void) };
}

#[pg_guard]
unsafe extern "C-unwind" fn savepoint_ends(
    event: pg_sys::SubXactEvent::Type,
    savepoint: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    react: *mut c_void,
) {
    if event == pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB {
        // SAFETY: the argument is the function that `at_rollback_to_savepoint` was given.
        let react =
            unsafe { std::mem::transmute::<*mut c_void, fn(pg_sys::SubTransactionId)>(react) };
        react(savepoint);
    }
}

/// Keeps triggers of this transaction from being deferred to its end, where the outcome of a write
/// could no longer be reported.
pub fn triggers_at_once() {
    let mut all = pg_sys::ConstraintsSetStmt {
        type_: pg_sys::NodeTag::T_ConstraintsSetStmt,
        ..Default::default()
    };
    // SAFETY: this is SET CONSTRAINTS ALL IMMEDIATE.
    unsafe { pg_sys::AfterTriggerSetState(&mut all) };
}

/// Fires the triggers that are deferred to the commit of this transaction, with the rights of this
/// owner. PostgreSQL has fired them once before it calls the functions of `at_end`, and would
/// forget triggers that were deferred since then.
pub fn fire_deferred_triggers(owner: Owner) {
    // SAFETY: no query is running.
    as_owner(owner, || unsafe { pg_sys::AfterTriggerFireDeferred() });
}

/// Limits each wait for a lock, until the transaction ends.
pub fn wait_at_most(time: Duration) {
    set_local(c"lock_timeout", &milliseconds(time));
}

/// A duration in the form that lock_timeout takes.
pub fn milliseconds(time: Duration) -> CString {
    // 0 would mean no limit.
    CString::new(time.as_millis().max(1).to_string()).unwrap_or_default()
}

/// Cancels the transaction if it takes longer than this from now until its commit.
pub fn run_at_most(time: Duration) {
    let time = time.as_millis() as c_int;
    // SAFETY: starts a timer of this process, as for a client's statement, and notes that it runs.
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| enable_timeout_after(STATEMENT_TIMEOUT, time)) };
    TIMED.set(true);
}

/// Lets the commit of this transaction wait for the disk, and for no standby.
pub fn flush_here() {
    set_local(c"synchronous_commit", c"local");
}

/// Lets the commit of this transaction wait for nothing: what it writes need not outlive a crash.
pub fn wait_for_nothing() {
    set_local(c"synchronous_commit", c"off");
}

/// How many bytes of WAL this process has written since it was started.
pub fn wal_written() -> u64 {
    // SAFETY: reads a variable of this process.
    unsafe { pg_sys::pgWalUsage.wal_bytes }
}

/// Makes the end of the statement commit the transaction, even in a pipeline, and prevents
/// cancellation until then.
pub fn end_with_this_statement() {
    // SAFETY: sets variables of this process. An ERROR resets the counter.
    unsafe {
        pg_sys::MyXactFlags |= pg_sys::XACT_FLAGS_NEEDIMMEDIATECOMMIT as i32;
        pg_sys::InterruptHoldoffCount += 1;
    }
}

/// Called when the transaction of `end_with_this_statement` is committed.
pub fn allow_interrupts() {
    // SAFETY: `end_with_this_statement` has counted up.
    unsafe { pg_sys::InterruptHoldoffCount -= 1 };
}

/// The current level of synchronous_commit.
pub fn synchronous_commit() -> i32 {
    // SAFETY: reads a variable of this process.
    unsafe { pg_sys::synchronous_commit }
}

/// Sets only the variable, which costs nothing. SET LOCAL costs as much as the write of a spend.
/// The caller restores the level when the transaction ends.
pub fn set_synchronous_commit(level: i32) {
    // SAFETY: sets a variable of this process to a valid level.
    unsafe { pg_sys::synchronous_commit = level };
}

/// Registers the function below, once in each process. It is registered before all others so that
/// it is called after them: they may still run triggers.
pub fn init() {
    at_end(stop_being_cancellable);
}

/// Nothing is cancelled once the commit begins.
fn stop_being_cancellable(event: pg_sys::XactEvent::Type) {
    use pg_sys::XactEvent::{XACT_EVENT_ABORT, XACT_EVENT_PRE_COMMIT};
    if event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_ABORT {
        let was_cancellable = CANCELLABLE.swap(false, Ordering::Relaxed);
        if TIMED.replace(false) {
            // SAFETY: stops the timer.
            unsafe {
                pg_sys::ffi::pg_guard_ffi_boundary(|| disable_timeout(STATEMENT_TIMEOUT, false))
            };
        }
        if was_cancellable && event == XACT_EVENT_PRE_COMMIT {
            pgrx::check_for_interrupts!();
        }
    }
}
