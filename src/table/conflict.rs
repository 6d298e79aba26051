//! What a constraint refuses. PostgreSQL's own error would tell the client and the log the key, or the whole row.

use super::row::Slot;
use super::tuple::{Reason, insert_index_entries};
use super::{Columns, Table};
use crate::error::Error;
use crate::pg::failure::{Constraint, Failure, catch};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgLogLevel, PgSqlErrorCode};

impl<C: Columns> Table<C> {
    /// Inserts the index entries of a stored row; where its primary key exists, `exists` is raised.
    pub(super) fn insert_index_entries(&self, slot: &Slot, reason: Reason, exists: fn() -> Error) {
        self.constrained(exists, || insert_index_entries(self.rel, slot, reason));
    }

    /// Writes what a constraint may refuse; where the primary key exists, `exists` is raised.
    pub(super) fn constrained<T>(&self, exists: fn() -> Error, write: impl FnOnce() -> T) -> T {
        // What PostgreSQL raises is undone with the transaction; it holds no lock of a page.
        catch(write).unwrap_or_else(|failure| match failure.constraint() {
            Some(constraint) if self.is_own_key(constraint) => exists().raise(),
            Some(_) => refuse(&failure),
            None => failure.raise(),
        })
    }

    /// Whether it is the primary key that was violated, or its twin in REINDEX CONCURRENTLY.
    fn is_own_key(&self, constraint: &Constraint) -> bool {
        let [schema, table, key] = self.names();
        constraint.schema == schema
            && constraint.table == table
            && without_twin(&constraint.name) == without_twin(&key)
    }
}

/// Raises what PostgreSQL says of a violated constraint without its detail, which has values.
fn refuse(failure: &Failure) -> ! {
    let code = PgSqlErrorCode::from(failure.sqlstate());
    ErrorReport::new(code, failure.message().to_owned(), "attesto_codes")
        .set_hint("What refuses the row was added to the tables of attesto_codes.")
        .report(PgLogLevel::ERROR);
    unreachable!()
}

/// The name of an index, where REINDEX CONCURRENTLY has given it another one for a while.
fn without_twin(name: &str) -> &str {
    let number = |rest: &str| rest.chars().all(|c| c.is_ascii_digit());
    ["_ccold", "_ccnew"]
        .iter()
        .find_map(|twin| name.rsplit_once(twin).filter(|(_, rest)| number(rest)))
        .map_or(name, |(name, _)| name)
}
