//! Errors of violated constraints. PostgreSQL's own error would show the key or the whole row to
//! the client and the log.

use super::row::Slot;
use super::tuple::{Reason, insert_index_entries};
use super::{Columns, Table};
use crate::error::Error;
use crate::pg::failure::{Constraint, Failure, catch};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgLogLevel, PgSqlErrorCode};

impl<C: Columns> Table<C> {
    /// Inserts the index entries of a stored row. Raises `exists` if the primary key exists
    /// already.
    pub(super) fn insert_index_entries(&self, slot: &Slot, reason: Reason, exists: fn() -> Error) {
        self.constrained(exists, || insert_index_entries(self.rel, slot, reason));
    }

    /// Does a write that a constraint may refuse. Raises `exists` if the primary key exists
    /// already.
    pub(super) fn constrained<T>(&self, exists: fn() -> Error, write: impl FnOnce() -> T) -> T {
        // The transaction undoes what PostgreSQL's error interrupted. No page lock is held at this
        // point.
        catch(write).unwrap_or_else(|failure| match failure.constraint() {
            Some(constraint) if self.is_own_key(constraint) => exists().raise(),
            Some(_) => refuse(&failure),
            None => failure.raise(),
        })
    }

    /// Whether the primary key was violated, or its twin during REINDEX CONCURRENTLY.
    fn is_own_key(&self, constraint: &Constraint) -> bool {
        let [schema, table, key] = self.names();
        constraint.schema == schema
            && constraint.table == table
            && without_twin(&constraint.name) == without_twin(&key)
    }
}

/// Raises PostgreSQL's error of a violated constraint without its detail, which contains values.
fn refuse(failure: &Failure) -> ! {
    let code = PgSqlErrorCode::from(failure.sqlstate());
    ErrorReport::new(code, failure.message().to_owned(), "attesto_codes")
        .set_hint(
            "The constraint or index that refuses the row was added to a table of attesto_codes.",
        )
        .report(PgLogLevel::ERROR);
    unreachable!()
}

/// The name of an index without the suffix that REINDEX CONCURRENTLY gives it for a while.
fn without_twin(name: &str) -> &str {
    let number = |rest: &str| rest.chars().all(|c| c.is_ascii_digit());
    ["_ccold", "_ccnew"]
        .iter()
        .find_map(|twin| name.rsplit_once(twin).filter(|(_, rest)| number(rest)))
        .map_or(name, |(name, _)| name)
}
