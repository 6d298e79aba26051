//! Errors that others raise below a call of ours, as an administrator's trigger does: caught, and raised again as
//! they were. pgrx alone would not keep the SQLSTATE of an error that it has no name for.

use pgrx::pg_sys::panic::CaughtError;
use pgrx::{PgSqlErrorCode, PgTryBuilder, pg_sys};
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::panic::AssertUnwindSafe;
use std::ptr;

/// An error that was caught. Nothing but the end of the transaction, or of a savepoint around it, undoes what it
/// left half done.
pub struct Failure {
    error: Box<CaughtError>,
    sqlstate: i32,
}

// pgrx has no declarations of these, or wraps them in a guard that has no place in an error that is being raised.
unsafe extern "C-unwind" {
    fn errcode(sqlstate: c_int) -> c_int;
    fn geterrcode() -> c_int;
}

/// Does `work`, and catches the error that it ends with.
pub fn catch<T>(work: impl FnOnce() -> T) -> Result<T, Failure> {
    let seen = Cell::new(0);
    let mut note = pg_sys::ErrorContextCallback {
        // SAFETY: reads a variable of this backend.
        previous: unsafe { pg_sys::error_context_stack },
        callback: Some(note_sqlstate),
        arg: ptr::from_ref(&seen).cast_mut().cast(),
    };
    // SAFETY: the callback is taken off again below, whichever way `work` ends.
    unsafe { pg_sys::error_context_stack = &raw mut note };
    let result = PgTryBuilder::new(AssertUnwindSafe(|| Ok(work())))
        .catch_others(|error| Err(Box::new(error)))
        .execute();
    unsafe { pg_sys::error_context_stack = note.previous };
    result.map_err(|error| {
        let named = report(&error).sql_error_code();
        // What has no name is an internal error to pgrx.
        let sqlstate = match named == PgSqlErrorCode::ERRCODE_INTERNAL_ERROR && seen.get() != 0 {
            true => seen.get(),
            false => named as i32,
        };
        Failure { error, sqlstate }
    })
}

unsafe extern "C-unwind" fn note_sqlstate(seen: *mut c_void) {
    // SAFETY: the cell of the `catch` that is under way; PostgreSQL calls this while it raises an error.
    unsafe { (*seen.cast::<Cell<i32>>()).set(geterrcode()) };
}

impl Failure {
    /// As PostgreSQL packs it into a number.
    pub fn sqlstate(&self) -> i32 {
        self.sqlstate
    }

    /// The first two characters of the SQLSTATE, packed in the same way.
    pub fn class(&self) -> i32 {
        self.sqlstate & 0xfff
    }

    pub fn message(&self) -> &str {
        report(&self.error).message()
    }

    pub fn detail(&self) -> Option<&str> {
        report(&self.error).detail()
    }

    pub fn hint(&self) -> Option<&str> {
        report(&self.error).hint()
    }

    /// Goes on with the error, as if it had not been caught.
    pub fn raise(self) -> ! {
        keep_sqlstate(self.sqlstate);
        self.error.rethrow()
    }
}

fn report(error: &CaughtError) -> &pg_sys::panic::ErrorReportWithLevel {
    match error {
        CaughtError::PostgresError(report) | CaughtError::ErrorReport(report) => report,
        CaughtError::RustPanic { ereport, .. } => ereport,
    }
}

thread_local! {
    static RAISED: Cell<i32> = const { Cell::new(0) };
}

static mut KEEP: pg_sys::ErrorContextCallback = pg_sys::ErrorContextCallback {
    previous: ptr::null_mut(),
    callback: Some(set_sqlstate),
    arg: ptr::null_mut(),
};

/// Gives the next error this SQLSTATE, when pgrx hands it to PostgreSQL. To be called just before it is raised.
pub fn keep_sqlstate(sqlstate: i32) {
    RAISED.set(sqlstate);
    // SAFETY: a callback that lives as long as the process. Who catches the error puts back the stack that was
    // there before it.
    unsafe {
        let keep = &raw mut KEEP;
        if pg_sys::error_context_stack != keep {
            (*keep).previous = pg_sys::error_context_stack;
            pg_sys::error_context_stack = keep;
        }
    }
}

unsafe extern "C-unwind" fn set_sqlstate(_: *mut c_void) {
    // SAFETY: PostgreSQL calls this while it raises an error.
    unsafe { errcode(RAISED.get()) };
}
