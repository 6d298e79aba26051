//! The entry points of the workers. PostgreSQL starts each kind by the name of its function.

use super::{cleaner, launcher, oneshot, resident};
use pgrx::{pg_guard, pg_sys};

/// Writes one step. The argument is the handle of the segment with the order.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn attesto_codes_oneshot(argument: pg_sys::Datum) {
    // SAFETY: the worker was started with the handle of such a segment.
    unsafe { oneshot::write(argument) };
}

/// Makes a queue. The argument is the handle of the segment that says for which database.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn attesto_codes_publisher(argument: pg_sys::Datum) {
    // SAFETY: the worker was started with the handle of such a segment.
    unsafe { oneshot::make_queue(argument) };
}

/// Makes one sweep. The argument is the handle of the segment that describes it.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn attesto_codes_sweeper(argument: pg_sys::Datum) {
    // SAFETY: the worker was started with the handle of such a segment.
    unsafe { oneshot::remove(argument) };
}

/// Writes steps as long as there are any. The argument is the handle of the database's segment.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn attesto_codes_resident(argument: pg_sys::Datum) {
    resident::serve(argument.value() as u32);
}

/// Sweeps a database whose sessions found that it is late. The argument is its oid.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn attesto_codes_cleaner(argument: pg_sys::Datum) {
    cleaner::clean(pg_sys::Oid::from(argument.value() as u32));
}

#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn attesto_codes_launcher(_argument: pg_sys::Datum) {
    launcher::launch();
}
