//! The SQL functions. Each one reads its arguments, makes one call and returns the result.
//!
//! NULL is an error and is never skipped, so no function with arguments is STRICT.
//! sql/attesto_codes--VERSION.sql creates the functions, and a test compares it with the SQL that
//! pgrx would write. pgrx has no SQL for ResultRow, hence `sql = false`.

// pgrx keeps the SQLSTATE only if the error type is its own ErrorReport.
#![allow(clippy::result_large_err)]

mod codes;
mod families;
mod presentations;
mod upkeep;

use crate::error::Error;
use crate::oauth::Identifier;
use crate::pg::backend::is_read_only;
use crate::worker;
use pgrx::pg_sys;

/// To the store, a code_hash is any string of 1 to 255 bytes.
fn key(code_hash: Option<&str>) -> Result<&str, Error> {
    let code_hash = code_hash.ok_or(Error::Null("code_hash"))?;
    match code_hash.len() {
        1..=255 => Ok(code_hash),
        _ => Err(Error::CodeHash),
    }
}

fn identifier<'a>(value: Option<&'a str>, argument: &'static str) -> Result<&'a str, Error> {
    let value = value.ok_or(Error::Null(argument))?;
    match Identifier::new(value) {
        Some(identifier) => Ok(identifier.as_str()),
        None => Err(Error::Identifier(argument)),
    }
}

/// What every function that writes begins with. The table access functions do not check whether it
/// may. A standby is read-only, too.
fn begin(function: pg_sys::FunctionCallInfo, name: &'static str) -> Result<(), Error> {
    if is_read_only() {
        return Err(Error::ReadOnly(name));
    }
    worker::find_counters_now_and_then(function);
    Ok(())
}
