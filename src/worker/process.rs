//! What a worker process is: its signals, its connection, its transactions.

use super::PATIENCE;
use crate::failure::{Failure, catch};
use crate::table::{Owner, as_owner, set_for_good, set_local};
use pgrx::{pg_guard, pg_sys};
use std::cell::Cell;
use std::ffi::{CString, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

// pgrx's own declarations are wrapped in a guard that has no place in a signal handler.
unsafe extern "C-unwind" {
    fn die(signal: c_int);
    fn SignalHandlerForConfigReload(signal: c_int);
    fn StatementCancelHandler(signal: c_int);
}

// Not among pgrx's bindings.
unsafe extern "C-unwind" {
    fn enable_timeout_after(timeout: u32, milliseconds: c_int);
    fn disable_timeout(timeout: u32, keep_indicator: bool);
}

/// PostgreSQL's number of statement_timeout, which scripts/declarations.h compares with its headers.
const STATEMENT_TIMEOUT: u32 = 3;

// Not among pgrx's bindings. Before PostgreSQL 15 a worker wakes the listeners itself.
#[cfg(feature = "pg14")]
unsafe extern "C-unwind" {
    fn ProcessCompletedNotifies();
}

thread_local! {
    /// Whether the timer of `run_at_most` runs.
    static TIMED: Cell<bool> = const { Cell::new(false) };
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
}

/// Whether this process is a worker. Nothing that runs in one, as a trigger, may wait for another one.
pub fn is_worker() -> bool {
    IS_WORKER.get()
}

/// Whether a lock_timeout, or somebody else, may cancel what this worker does: in a transaction until its commit. A
/// cancelled wait for a standby would look like a commit that the standby has.
static CANCELLABLE: AtomicBool = AtomicBool::new(false);

unsafe extern "C-unwind" fn cancel(signal: c_int) {
    if CANCELLABLE.load(Ordering::Relaxed) {
        // SAFETY: called as PostgreSQL calls it.
        unsafe { StatementCancelHandler(signal) };
    }
}

/// From here on, until the transaction ends, no lock is waited for any longer than this.
pub fn wait_at_most(time: Duration) {
    set_local(c"lock_timeout", &milliseconds(time));
}

/// From here on the transaction is cancelled where it takes longer than this, until it commits.
pub fn run_at_most(time: Duration) {
    let time = time.as_millis() as c_int;
    // SAFETY: starts a timer of this process, as a statement of a client does, and notes that it runs.
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| enable_timeout_after(STATEMENT_TIMEOUT, time)) };
    TIMED.set(true);
}

/// What triggers there are for this transaction: those of the caller's session_replication_role.
pub fn set_replication_role(role: c_int) {
    if role != replication_role() {
        let names = [c"origin", c"replica", c"local"];
        let name = usize::try_from(role).ok().and_then(|at| names.get(at));
        set_local(c"session_replication_role", name.unwrap_or(&c"origin"));
    }
}

/// That of this process.
pub fn replication_role() -> c_int {
    // SAFETY: reads a variable of this process.
    unsafe { pg_sys::SessionReplicationRole }
}

fn milliseconds(time: Duration) -> CString {
    // 0 would be for ever.
    CString::new(time.as_millis().max(1).to_string()).unwrap_or_default()
}

/// Nothing is cancelled from the commit on.
#[pg_guard]
unsafe extern "C-unwind" fn at_transaction_end(
    event: pg_sys::XactEvent::Type,
    _argument: *mut c_void,
) {
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

/// Registered before the others are, so that it comes after them: they may still run triggers.
pub fn init() {
    // SAFETY: the callback lives as long as the library, which is never unloaded.
    unsafe { pg_sys::RegisterXactCallback(Some(at_transaction_end), ptr::null_mut()) };
}

/// Connects this worker process, as the superuser that owns the cluster: to a database, or without
/// one to the shared catalogs alone.
pub fn connect(database: Option<pg_sys::Oid>) {
    IS_WORKER.set(true);
    // SAFETY: the process was started as a background worker with access to databases. `die` makes
    // SIGTERM end it at the next safe point, where the default would end it anywhere.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        let set = pg_sys::pqsignal;
        #[cfg(feature = "pg18")]
        let set = pg_sys::pqsignal_be;
        set(pg_sys::SIGTERM as i32, Some(die));
        set(pg_sys::SIGINT as i32, Some(cancel));
        set(pg_sys::SIGHUP as i32, Some(SignalHandlerForConfigReload));
        pg_sys::BackgroundWorkerUnblockSignals();
        match database {
            Some(oid) => {
                pg_sys::BackgroundWorkerInitializeConnectionByOid(oid, pg_sys::InvalidOid, 0)
            }
            None => pg_sys::BackgroundWorkerInitializeConnection(ptr::null(), ptr::null(), 0),
        }
    }
    // Whatever is waited for, as a unique index of an administrator's, others wait for this worker.
    set_for_good(c"lock_timeout", &milliseconds(PATIENCE));
}

/// Does `work` in a transaction, and commits it.
pub fn in_transaction<T>(work: impl FnOnce() -> T) -> T {
    in_transaction_of_owner(|| (work(), None))
}

/// Does `work` in a transaction, and commits it with the rights of the owner that it names: a trigger that was
/// deferred to the commit has those, and not the superuser's.
pub fn in_transaction_of_owner<T>(work: impl FnOnce() -> (T, Option<Owner>)) -> T {
    // SAFETY: a worker's transaction, as every one of PostgreSQL's own workers has it. An ERROR that nobody
    // catches ends the process, and with it the transaction.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
        // The database may have other defaults.
        pg_sys::XactIsoLevel = pg_sys::XACT_READ_COMMITTED as i32;
        pg_sys::XactReadOnly = false;
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        CANCELLABLE.store(true, Ordering::Relaxed);
        let (result, owner) = work();
        pg_sys::PopActiveSnapshot();
        match owner {
            Some(owner) => as_owner(owner, || pg_sys::CommitTransactionCommand()),
            None => pg_sys::CommitTransactionCommand(),
        }
        #[cfg(feature = "pg14")]
        ProcessCompletedNotifies();
        result
    }
}

/// Does `work`, which begins and commits transactions. The one that an error ends is rolled back.
pub fn or_roll_back<T>(work: impl FnOnce() -> T) -> Result<T, Failure> {
    catch(work).inspect_err(|_| {
        // SAFETY: as after an error of a client's statement.
        unsafe {
            pg_sys::AbortCurrentTransaction();
            pg_sys::QueryCancelPending = 0;
        }
    })
}
