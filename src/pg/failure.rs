//! Errors raised below one of our calls, for example by an administrator's trigger. They are caught
//! and raised again unchanged. pgrx alone would lose any SQLSTATE that it has no name for.

use pgrx::pg_sys::panic::CaughtError;
use pgrx::{PgSqlErrorCode, PgTryBuilder, pg_sys};
use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::AssertUnwindSafe;
use std::ptr;

/// A caught error. Only the end of the transaction, or of a savepoint around it, undoes the work
/// that the error interrupted.
pub struct Failure {
    error: Box<CaughtError>,
    sqlstate: i32,
    constraint: Option<Constraint>,
}

/// The violated constraint, if PostgreSQL itself raised the error.
#[derive(Clone, PartialEq)]
pub struct Constraint {
    pub schema: String,
    pub table: String,
    /// Empty for NOT NULL, which has no name.
    pub name: String,
}

/// The parts of an error that pgrx does not keep.
#[derive(Default)]
struct Seen {
    sqlstate: i32,
    constraint: Option<Constraint>,
}

/// The SQLSTATE class 23 of violated constraints, in PostgreSQL's packing of the two characters.
const VIOLATION: i32 = CLASS & PgSqlErrorCode::ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION as i32;
const CLASS: i32 = 0xfff;

// pgrx does not declare these, or wraps them in a guard that must not run while an error is being
// raised.
unsafe extern "C-unwind" {
    fn errcode(sqlstate: c_int) -> c_int;
    fn geterrcode() -> c_int;
}

/// Does `work` and catches its error.
pub fn catch<T>(work: impl FnOnce() -> T) -> Result<T, Failure> {
    let mut seen = Seen::default();
    let mut note = pg_sys::ErrorContextCallback {
        // SAFETY: reads a variable of this backend.
        previous: unsafe { pg_sys::error_context_stack },
        callback: Some(see),
        arg: (&raw mut seen).cast(),
    };
    // SAFETY: the callback is removed again below, however `work` ends.
    unsafe { pg_sys::error_context_stack = &raw mut note };
    let result = PgTryBuilder::new(AssertUnwindSafe(|| Ok(work())))
        .catch_others(|error| Err(Box::new(error)))
        .execute();
    unsafe { pg_sys::error_context_stack = note.previous };
    result.map_err(|error| {
        let named = report(&error).sql_error_code();
        // pgrx reports an SQLSTATE that it has no name for as an internal error.
        let sqlstate = match named == PgSqlErrorCode::ERRCODE_INTERNAL_ERROR && seen.sqlstate != 0 {
            true => seen.sqlstate,
            false => named as i32,
        };
        Failure {
            error,
            sqlstate,
            constraint: seen.constraint.take(),
        }
    })
}

unsafe extern "C-unwind" fn see(seen: *mut c_void) {
    // SAFETY: `seen` belongs to the `catch` that is running. PostgreSQL calls this while it raises
    // an error.
    unsafe {
        let sqlstate = geterrcode();
        *seen.cast::<Seen>() = Seen {
            sqlstate,
            constraint: (sqlstate & CLASS == VIOLATION).then(constraint).flatten(),
        };
    }
}

/// The constraint of the error that is being raised.
fn constraint() -> Option<Constraint> {
    // SAFETY: copies the error to outside of the memory context in which it lies.
    unsafe {
        let context = pg_sys::CurrentMemoryContext;
        pg_sys::CurrentMemoryContext = pg_sys::TopTransactionContext;
        let error = pg_sys::CopyErrorData();
        let text = |text: *const c_char| match text.is_null() {
            true => None,
            false => Some(CStr::from_ptr(text).to_string_lossy().into_owned()),
        };
        let constraint = text((*error).table_name).map(|table| Constraint {
            schema: text((*error).schema_name).unwrap_or_default(),
            table,
            name: text((*error).constraint_name).unwrap_or_default(),
        });
        pg_sys::FreeErrorData(error);
        pg_sys::CurrentMemoryContext = context;
        constraint
    }
}

impl Failure {
    /// In PostgreSQL's packing, as a number.
    pub fn sqlstate(&self) -> i32 {
        self.sqlstate
    }

    /// The violated constraint, if PostgreSQL itself names it.
    pub fn constraint(&self) -> Option<&Constraint> {
        self.constraint.as_ref()
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

    /// Raises the error as if it had not been caught.
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

/// Gives the next error this SQLSTATE when pgrx passes it to PostgreSQL. Call this just before the
/// error is raised.
pub fn keep_sqlstate(sqlstate: i32) {
    RAISED.set(sqlstate);
    // SAFETY: the callback lives as long as the process. Catching the error restores the previous
    // stack.
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
