//! The SQL functions: arguments in, one call, result out. NULL is an error and never skipped, so
//! none of them is STRICT.

// pgrx keeps an SQLSTATE only where the error type is its own ErrorReport.
#![allow(clippy::result_large_err)]

use crate::error::Error;
use crate::grant::Grant;
use crate::jsonb::Jsonb;
use crate::store::{self, Marked, Taken};
use crate::table::{Access, Table};
use crate::{secret, take};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

/// Stores a live code (RFC 6749, section 4.1.2). `expires_at` is in unix seconds.
///
/// Errors: 22004, 22023, 23505 where the hash exists in any state, 25006.
#[pg_extern]
fn code_put(
    code_hash: Option<&str>,
    data: Option<Jsonb>,
    expires_at: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let code_hash = key(code_hash)?;
    let data = data.ok_or(Error::Null("data"))?;
    let expires_at = expires_at.ok_or(Error::Null("expires_at"))?;
    let grant = Grant::parse(&data.0).map_err(Error::Grant)?;
    writable("code_put()")?;
    Table::with(fcinfo, Access::Write, |table| {
        store::put(table, code_hash, grant, expires_at)
    })?;
    Ok(())
}

/// The entry of a live code, without spending it; no row where there is none. Read-only.
///
/// Errors: 22004, 22023.
#[pg_extern]
fn code_get(
    code_hash: Option<&str>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<TableIterator<'static, (name!(data, Jsonb), name!(expires_at, i64))>, ErrorReport> {
    let code_hash = key(code_hash)?;
    let entry = Table::with(fcinfo, Access::Read, |table| store::get(table, code_hash))?;
    Ok(TableIterator::new(entry.map(|e| (e.data, e.expires_at))))
}

/// Presents a code and spends it: exactly one call ever is answered `ok` (RFC 6749, section 4.1.2;
/// RFC 9700, section 4.2.4). `expires_at` is in unix seconds, and the caller compares it.
///
/// The spend is committed and on disk when this returns, whatever becomes of the caller's
/// transaction, unless attesto_codes.take_in_transaction says otherwise.
///
/// Errors: 22004, 22023, 25001 where the setting refuses, 25006, 53400 where no background worker
/// is free, 55P03 where an open transaction holds the row or the table, 57P01 where the worker
/// ended without an answer.
#[pg_extern]
#[allow(clippy::type_complexity)]
fn code_take(
    code_hash: Option<&str>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<
    TableIterator<
        'static,
        (
            name!(status, &'static str),
            name!(data, Option<Jsonb>),
            name!(expires_at, Option<i64>),
            name!(meta, Option<Jsonb>),
        ),
    >,
    ErrorReport,
> {
    let code_hash = key(code_hash)?;
    writable("code_take()")?;
    Ok(TableIterator::once(match take::take(fcinfo, code_hash)? {
        Taken::Ok(entry) => ("ok", Some(entry.data), Some(entry.expires_at), None),
        Taken::Consumed(meta) => ("consumed", None, None, Some(meta)),
        Taken::Error => ("error", None, None, None),
    }))
}

/// Records that the redemption of a spent code succeeded, in the caller's transaction: to be
/// called when the token response is built and before it is sent.
///
/// Errors: 22004, 22023 where meta is not an object, 25006, 55000 where the code is live.
#[pg_extern]
fn code_mark_consumed(
    code_hash: Option<&str>,
    meta: default!(Option<Jsonb>, "'{}'"),
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<&'static str, ErrorReport> {
    let code_hash = key(code_hash)?;
    let meta = meta.ok_or(Error::Null("meta"))?;
    writable("code_mark_consumed()")?;
    let marked = Table::with(fcinfo, Access::Write, |table| {
        store::mark_consumed(table, code_hash, meta)
    })?;
    Ok(match marked {
        Marked::Ok => "ok",
        Marked::Missing => "missing",
    })
}

/// The lookup key of a code: base64url without padding of SHA-256(code), 43 characters.
///
/// Errors: 22004.
#[pg_extern(immutable, parallel_safe)]
fn code_hash(code: Option<&str>) -> Result<String, ErrorReport> {
    Ok(secret::hash(code.ok_or(Error::Null("code"))?))
}

/// To the store a code_hash is any string of 1 to 255 bytes.
fn key(code_hash: Option<&str>) -> Result<&str, Error> {
    let code_hash = code_hash.ok_or(Error::Null("code_hash"))?;
    match code_hash.len() {
        1..=255 => Ok(code_hash),
        _ => Err(Error::CodeHash),
    }
}

/// The table access functions do not check this themselves. True on a standby, too.
fn writable(function: &'static str) -> Result<(), Error> {
    // SAFETY: reads a variable of this backend.
    match unsafe { pg_sys::XactReadOnly } {
        true => Err(Error::ReadOnly(function)),
        false => Ok(()),
    }
}
