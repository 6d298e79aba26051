//! What a constraint refuses. PostgreSQL's own error would tell the client and the log the key, or the whole row.

use super::slot::Slot;
use super::tuple::{Reason, insert_index_entries};
use super::{Columns, Table};
use crate::error::Error;
use crate::failure::{Failure, catch, keep_sqlstate};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgLogLevel, PgSqlErrorCode};
use std::ffi::CStr;

/// The class of SQLSTATEs of violated constraints, 23.
const VIOLATION: i32 = PgSqlErrorCode::ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION as i32 & 0xfff;

impl<C: Columns> Table<C> {
    /// Inserts the index entries of a stored row; where its primary key exists, `exists` is raised.
    pub(super) fn insert_index_entries(&self, slot: &Slot, reason: Reason, exists: fn() -> Error) {
        self.constrained(exists, || insert_index_entries(self.rel, slot, reason));
    }

    /// Writes what a constraint may refuse; where the primary key exists, `exists` is raised.
    pub(super) fn constrained<T>(&self, exists: fn() -> Error, write: impl FnOnce() -> T) -> T {
        // What PostgreSQL raises is undone with the transaction; it holds no lock of a page.
        match catch(write) {
            Ok(written) => written,
            Err(failure) if failure.class() == VIOLATION => self.refuse(failure, exists),
            Err(failure) => failure.raise(),
        }
    }

    fn refuse(&self, failure: Failure, exists: fn() -> Error) -> ! {
        let code = PgSqlErrorCode::from(failure.sqlstate());
        let message = failure.message();
        let own_key =
            code == PgSqlErrorCode::ERRCODE_UNIQUE_VIOLATION && names(message, &self.name_of_key());
        let error: ErrorReport = match own_key {
            true => exists().into(),
            false => ErrorReport::new(code, message.to_owned(), "attesto_codes")
                .set_hint("What refuses the row was added to the tables of attesto_codes."),
        };
        keep_sqlstate(failure.sqlstate());
        error.report(PgLogLevel::ERROR);
        unreachable!()
    }

    fn name_of_key(&self) -> String {
        // SAFETY: pkey is open; its name ends with a NUL byte.
        let name = unsafe { CStr::from_ptr((*(*self.pkey).rd_rel).relname.data.as_ptr()) };
        name.to_string_lossy().into_owned()
    }
}

/// Whether it is the primary key that a message speaks of, or its twin in REINDEX CONCURRENTLY, and not
/// an index that an administrator added. In every language the message names the index.
fn names(message: &str, index: &str) -> bool {
    let goes_on = |char: Option<char>| char.is_some_and(|c| c.is_alphanumeric() || c == '_');
    message.match_indices(index).any(|(at, _)| {
        let (before, after) = (&message[..at], &message[at + index.len()..]);
        let after = ["_ccold", "_ccnew"]
            .iter()
            .find_map(|twin| after.strip_prefix(twin))
            .map_or(after, |rest| rest.trim_start_matches(char::is_numeric));
        !goes_on(before.chars().next_back()) && !goes_on(after.chars().next())
    })
}
