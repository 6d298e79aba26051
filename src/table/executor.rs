//! Writing rows the executor's way, where a table has what only the executor honours: triggers, foreign keys,
//! constraints that were added. A row is reached by its place, so that no statistics decide how.

use super::row::{Row, Values};
use super::shape::column_name;
use super::trigger::Write;
use super::tuple::end_change;
use super::{Columns, Table, Update};
use crate::error::Error;
use crate::pg::owner::as_owner_alone;
use pgrx::{FromDatum, pg_sys};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CString, c_char};

thread_local! {
    /// The plan of each statement, which PostgreSQL makes anew where the table has changed.
    static PLANS: RefCell<HashMap<String, pg_sys::SPIPlanPtr>> = RefCell::default();
}

/// A statement and its parameters.
struct Statement {
    sql: String,
    types: Vec<pg_sys::Oid>,
    values: Vec<pg_sys::Datum>,
    /// For each value `n` where it is NULL, else a blank.
    nulls: Vec<c_char>,
}

impl Statement {
    /// Adds a parameter, and answers how the SQL text names it.
    fn bind(&mut self, of_type: pg_sys::Oid, value: Option<pg_sys::Datum>) -> String {
        self.types.push(of_type);
        self.values.push(value.unwrap_or(pg_sys::Datum::null()));
        self.nulls
            .push(if value.is_some() { b' ' } else { b'n' } as c_char);
        format!("${}", self.types.len())
    }
}

impl<C: Columns> Table<C> {
    pub(super) fn insert_by_executor(
        &self,
        values: &Values<C>,
        exists: fn() -> Error,
    ) -> Result<(), Error> {
        let written = values.of_a_row();
        let mut insert = self.statement();
        let (mut names, mut parameters) = (Vec::new(), Vec::new());
        // All of them, so that no default has a say.
        for (at, value) in &written {
            names.push(self.name_of(*at));
            parameters.push(insert.bind(C::TYPES[*at], *value));
        }
        let (table, names, parameters) = (self.name(), names.join(", "), parameters.join(", "));
        insert.sql = format!("INSERT INTO {table} ({names}) VALUES ({parameters})");
        let key = written[C::KEY.position()].1.ok_or(Error::Damaged)?;
        // SAFETY: the key is a text.
        let key: &str = unsafe { FromDatum::from_datum(key, false) }.ok_or(Error::Damaged)?;
        let inserted = self.execute(insert, exists) == 1;
        match self.find(key) {
            Some(row) if inserted && row.has_all(&written) => Ok(()),
            _ => Err(Error::Undone(C::TABLE)),
        }
    }

    /// Of a row that this transaction has locked.
    pub(super) fn update_by_executor(
        &self,
        row: &Row<C>,
        values: &Values<C>,
    ) -> Result<Update, Error> {
        let key = row.text(C::KEY).ok_or(Error::Damaged)?;
        let written = values.by_position();
        let mut update = self.statement();
        let place = update.bind(pg_sys::TIDOID, Some(row.place()));
        let mut changes = Vec::new();
        for (at, value) in &written {
            let parameter = update.bind(C::TYPES[*at], *value);
            changes.push(format!("{} = {parameter}", self.name_of(*at)));
        }
        let (table, changes) = (self.name(), changes.join(", "));
        update.sql = format!("UPDATE ONLY {table} SET {changes} WHERE ctid = {place}");
        let updated = self.execute(update, || Error::Damaged) == 1;
        match self.find(key) {
            Some(row) if updated && row.has_all(&written) => Ok(Update::Done),
            _ => Err(Error::Undone(C::TABLE)),
        }
    }

    /// Of a row that this transaction has locked.
    pub(super) fn delete_by_executor(&self, row: &Row<C>) -> Result<Update, Error> {
        let key = row.text(C::KEY).ok_or(Error::Damaged)?;
        let mut delete = self.statement();
        let place = delete.bind(pg_sys::TIDOID, Some(row.place()));
        delete.sql = format!("DELETE FROM ONLY {} WHERE ctid = {place}", self.name());
        match self.execute(delete, || Error::Damaged) == 1 && self.find(key).is_none() {
            true => Ok(Update::Done),
            false => Err(Error::Undone(C::TABLE)),
        }
    }

    fn statement(&self) -> Statement {
        Statement {
            sql: String::new(),
            types: Vec::new(),
            values: Vec::new(),
            nulls: Vec::new(),
        }
    }

    /// Runs a statement with the rights of the table's owner, and all that it sets off. How many rows it wrote.
    fn execute(&self, statement: Statement, exists: fn() -> Error) -> u64 {
        let _write = Write::begin();
        let written = self.constrained(exists, || as_owner_alone(self.owner(), || run(&statement)));
        end_change();
        written
    }

    fn name_of(&self, at: usize) -> String {
        // SAFETY: rel is open, and has all columns of C.
        unsafe { column_name(self.rel, at) }
    }
}

/// It sees the rows as they are now, whatever snapshot the caller's isolation level holds.
fn run(statement: &Statement) -> u64 {
    // SAFETY: each call is checked. The parameters have the types that the plan was made for, and live until it
    // has run; SPI copies the snapshot.
    unsafe {
        expect(pg_sys::SPI_connect(), pg_sys::SPI_OK_CONNECT);
        let plan = plan(statement);
        let result = pg_sys::SPI_execute_snapshot(
            plan,
            statement.values.as_ptr().cast_mut(),
            statement.nulls.as_ptr(),
            pg_sys::GetLatestSnapshot(),
            std::ptr::null_mut(),
            false,
            true,
            0,
        );
        if result < 0 {
            fail(result);
        }
        let written = pg_sys::SPI_processed;
        expect(pg_sys::SPI_finish(), pg_sys::SPI_OK_FINISH);
        written
    }
}

unsafe fn plan(statement: &Statement) -> pg_sys::SPIPlanPtr {
    let known = PLANS.with_borrow(|plans| plans.get(&statement.sql).copied());
    if let Some(plan) = known {
        return plan;
    }
    // A name of the catalog holds no NUL byte.
    let sql = CString::new(statement.sql.as_str()).unwrap_or_default();
    // SAFETY: SPI is connected. A plan that is kept lives as long as the process.
    unsafe {
        let types = statement.types.as_ptr().cast_mut();
        let plan = pg_sys::SPI_prepare(sql.as_ptr(), statement.types.len() as i32, types);
        if plan.is_null() {
            fail(pg_sys::SPI_result);
        }
        expect(pg_sys::SPI_keepplan(plan), 0);
        PLANS.with_borrow_mut(|plans| plans.insert(statement.sql.clone(), plan));
        plan
    }
}

fn expect(result: i32, expected: u32) {
    if result != expected as i32 {
        fail(result);
    }
}

fn fail(result: i32) -> ! {
    pgrx::error!("attesto_codes cannot run a statement: SPI answered {result}")
}
