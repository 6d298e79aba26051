//! What a worker process is: where PostgreSQL starts each kind of them, its signals and its connection.

use super::{PATIENCE, launcher, oneshot, resident};
use crate::pg::backend::become_worker;
use crate::pg::session::set_for_good;
use crate::pg::transaction::{is_cancellable, milliseconds};
use pgrx::{pg_guard, pg_sys};
use std::ffi::c_int;
use std::ptr;

pub const ONESHOT: &str = "attesto_codes_oneshot";
pub const SWEEPER: &str = "attesto_codes_sweeper";
pub const RESIDENT: &str = "attesto_codes_resident";
pub const LAUNCHER: &str = "attesto_codes_launcher";

/// Writes one step. The argument is the handle of the segment that has it.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn attesto_codes_oneshot(argument: pg_sys::Datum) {
    // SAFETY: it was started with the handle of such a segment.
    unsafe { oneshot::write(argument) };
}

/// Sweeps once. The argument is the handle of the segment that says what.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn attesto_codes_sweeper(argument: pg_sys::Datum) {
    // SAFETY: it was started with the handle of such a segment.
    unsafe { oneshot::remove(argument) };
}

/// Writes steps for as long as there are some. The argument is the oid of the database.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn attesto_codes_resident(argument: pg_sys::Datum) {
    resident::serve(pg_sys::Oid::from(argument.value() as u32));
}

#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn attesto_codes_launcher(_argument: pg_sys::Datum) {
    launcher::launch();
}

// pgrx's own declarations are wrapped in a guard that has no place in a signal handler.
unsafe extern "C-unwind" {
    fn die(signal: c_int);
    fn SignalHandlerForConfigReload(signal: c_int);
    fn StatementCancelHandler(signal: c_int);
}

unsafe extern "C-unwind" fn cancel(signal: c_int) {
    if is_cancellable() {
        // SAFETY: called as PostgreSQL calls it.
        unsafe { StatementCancelHandler(signal) };
    }
}

/// Connects this worker process, as the superuser that owns the cluster: to a database, or without
/// one to the shared catalogs alone.
pub fn connect(database: Option<pg_sys::Oid>) {
    become_worker();
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
