//! SQL statements: the client's statement that is running now, and our own.

use pgrx::{direct_function_call, pg_sys};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CString, c_char};

thread_local! {
    /// The plan of each statement. PostgreSQL makes it anew if the table has changed.
    static PLANS: RefCell<HashMap<String, pg_sys::SPIPlanPtr>> = RefCell::default();
}

/// The tables that the client's statement writes. `None` if it is a utility statement such as
/// COMMIT, or is over: deferred triggers run then.
pub fn written_by_client() -> Option<Vec<pg_sys::Oid>> {
    // SAFETY: reads the client's statement. The tables of its plan are counted from 1.
    unsafe {
        let portal = pg_sys::ActivePortal.as_ref()?;
        let mut written = Vec::new();
        for statement in elements(portal.stmts) {
            let statement = &*statement.ptr_value.cast::<pg_sys::PlannedStmt>();
            if statement.commandType == pg_sys::CmdType::CMD_UTILITY {
                return None;
            }
            let tables = elements(statement.rtable);
            for place in elements(statement.resultRelations) {
                let table = tables.get(place.int_value as usize - 1)?;
                written.push((*table.ptr_value.cast::<pg_sys::RangeTblEntry>()).relid);
            }
        }
        Some(written)
    }
}

/// How many triggers of any tables are running, nested in each other.
pub fn trigger_depth() -> i32 {
    // SAFETY: takes no arguments.
    unsafe { direct_function_call(pg_sys::pg_trigger_depth, &[]) }.unwrap_or(0)
}

/// Whether a trigger of this table is deferred to the end of this transaction.
pub fn is_trigger_pending(table: pg_sys::Oid) -> bool {
    // SAFETY: reads the queue of pending triggers.
    unsafe { pg_sys::AfterTriggerPendingOnRel(table) }
}

/// The elements of a list that lives as long as the slice. A null pointer is an empty list.
pub unsafe fn elements<'a>(list: *mut pg_sys::List) -> &'a [pg_sys::ListCell] {
    // SAFETY: a list states how many elements it has.
    match unsafe { list.as_ref() } {
        Some(list) => unsafe { std::slice::from_raw_parts(list.elements, list.length as usize) },
        None => &[],
    }
}

/// One of our own statements, with its parameters.
#[derive(Default)]
pub struct Statement {
    pub sql: String,
    types: Vec<pg_sys::Oid>,
    values: Vec<pg_sys::Datum>,
    /// For each value: `n` if it is NULL, otherwise a blank.
    nulls: Vec<c_char>,
}

impl Statement {
    /// Adds a parameter and returns its name in the SQL text.
    pub fn bind(&mut self, of_type: pg_sys::Oid, value: Option<pg_sys::Datum>) -> String {
        self.types.push(of_type);
        self.values.push(value.unwrap_or(pg_sys::Datum::null()));
        self.nulls
            .push(if value.is_some() { b' ' } else { b'n' } as c_char);
        format!("${}", self.types.len())
    }

    /// Runs the statement and returns how many rows it wrote. It sees the rows as they are now,
    /// whatever snapshot the caller's isolation level holds.
    pub fn run(&self) -> u64 {
        // SAFETY: each call is checked. The parameters have the types that the plan was made for
        // and live until it has run. SPI copies the snapshot.
        unsafe {
            expect(pg_sys::SPI_connect(), pg_sys::SPI_OK_CONNECT);
            let plan = plan(self);
            let result = pg_sys::SPI_execute_snapshot(
                plan,
                self.values.as_ptr().cast_mut(),
                self.nulls.as_ptr(),
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
}

unsafe fn plan(statement: &Statement) -> pg_sys::SPIPlanPtr {
    let known = PLANS.with_borrow(|plans| plans.get(&statement.sql).copied());
    if let Some(plan) = known {
        return plan;
    }
    // A name in the catalogs contains no NUL byte.
    let sql = CString::new(statement.sql.as_str()).unwrap_or_default();
    // SAFETY: SPI is connected. A kept plan lives as long as the process.
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
    pgrx::error!("attesto_codes cannot run a statement: SPI returned {result}")
}
