//! Writes rows by SQL, through the executor, if the table has what only the executor honours:
//! triggers, foreign keys, added constraints. A row is addressed by its tid, so table statistics do
//! not influence the plan.

use super::row::{Row, Values, text_of};
use super::trigger::Write;
use super::tuple::end_change;
use super::{Columns, Table, Update};
use crate::error::Error;
use crate::pg::session::as_owner_alone;
use crate::pg::statement::Statement;
use pgrx::pg_sys;

impl<C: Columns> Table<C> {
    pub(super) fn insert_by_executor(
        &self,
        values: &Values<C>,
        exists: fn() -> Error,
    ) -> Result<(), Error> {
        let written = values.of_a_row();
        let mut insert = Statement::default();
        let (mut names, mut parameters) = (Vec::new(), Vec::new());
        // Names every column, so that no default is used.
        for (at, value) in &written {
            names.push(self.column_name(*at));
            parameters.push(insert.bind(C::TYPES[*at], *value));
        }
        let (table, names, parameters) = (self.name(), names.join(", "), parameters.join(", "));
        insert.sql = format!("INSERT INTO {table} ({names}) VALUES ({parameters})");
        let key = written[C::KEY.position()].1.ok_or(Error::Damaged)?;
        let key = text_of(key).ok_or(Error::Damaged)?;
        let inserted = self.execute(insert, exists) == 1;
        match self.find(key) {
            Some(row) if inserted && row.has_all(&written) => Ok(()),
            _ => Err(Error::Undone(C::TABLE)),
        }
    }

    /// Updates a row that this transaction has locked.
    pub(super) fn update_by_executor(
        &self,
        row: &Row<C>,
        values: &Values<C>,
    ) -> Result<Update, Error> {
        let key = row.text(C::KEY).ok_or(Error::Damaged)?;
        let written = values.by_position();
        let mut update = Statement::default();
        let place = update.bind(pg_sys::TIDOID, Some(row.place()));
        let mut changes = Vec::new();
        for (at, value) in &written {
            let parameter = update.bind(C::TYPES[*at], *value);
            changes.push(format!("{} = {parameter}", self.column_name(*at)));
        }
        let (table, changes) = (self.name(), changes.join(", "));
        update.sql = format!("UPDATE ONLY {table} SET {changes} WHERE ctid = {place}");
        let updated = self.execute(update, || Error::Damaged) == 1;
        match self.find(key) {
            Some(row) if updated && row.has_all(&written) => Ok(Update::Done),
            _ => Err(Error::Undone(C::TABLE)),
        }
    }

    /// Deletes a row that this transaction has locked.
    pub(super) fn delete_by_executor(&self, row: &Row<C>) -> Result<Update, Error> {
        let key = row.text(C::KEY).ok_or(Error::Damaged)?;
        let mut delete = Statement::default();
        let place = delete.bind(pg_sys::TIDOID, Some(row.place()));
        delete.sql = format!("DELETE FROM ONLY {} WHERE ctid = {place}", self.name());
        match self.execute(delete, || Error::Damaged) == 1 && self.find(key).is_none() {
            true => Ok(Update::Done),
            false => Err(Error::Undone(C::TABLE)),
        }
    }

    /// Runs a statement, and everything that it sets off, with the rights of the table's owner.
    /// Returns how many rows it wrote.
    fn execute(&self, statement: Statement, exists: fn() -> Error) -> u64 {
        let _write = Write::begin();
        let written = self.constrained(exists, || as_owner_alone(self.owner(), || statement.run()));
        end_change();
        written
    }
}
