//! What a unique index refuses. PostgreSQL's own error would tell the client and the log the key.

use super::slot::Slot;
use super::write::{Reason, insert_index_entries};
use super::{Columns, Table};
use crate::error::Error;
use pgrx::pg_sys::panic::{CaughtError, ErrorReport};
use pgrx::{PgLogLevel, PgSqlErrorCode, PgTryBuilder};
use std::ffi::CStr;
use std::panic::AssertUnwindSafe;

impl<C: Columns> Table<C> {
    /// Inserts the index entries of a stored row; where its primary key exists, `exists` is raised.
    pub(super) fn insert_index_entries(&self, slot: &Slot, reason: Reason, exists: fn() -> Error) {
        // What PostgreSQL raises this after is undone with the transaction; it holds no lock of a page.
        let caught = PgTryBuilder::new(AssertUnwindSafe(|| {
            insert_index_entries(self.rel, slot, reason);
            None
        }))
        .catch_when(PgSqlErrorCode::ERRCODE_UNIQUE_VIOLATION, Some)
        .catch_when(PgSqlErrorCode::ERRCODE_EXCLUSION_VIOLATION, Some)
        .execute();
        match caught {
            None => {}
            Some(CaughtError::PostgresError(report)) => {
                let (code, message) = (report.sql_error_code(), report.message());
                let error = match names(message, &self.name_of_key()) {
                    true => exists().into(),
                    false => ErrorReport::new(code, message.to_owned(), "attesto_codes")
                        .set_hint("The index was added to the table of attesto_codes."),
                };
                error.report(PgLogLevel::ERROR);
            }
            Some(error) => error.rethrow(),
        }
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
