//! A code before it is presented, and its lookup key.

use super::{begin, key};
use crate::codes::counters::{self, Counter};
use crate::codes::lifecycle::{self, Grant, Inspected};
use crate::commit::savepoint::{note_put, own};
use crate::error::Error;
use crate::oauth::{Identifier, digest, grant, numeric_date};
use crate::pg::backend::{now, random_bytes};
use crate::pg::jsonb::Jsonb;
use crate::pg::result_row::ResultRow;
use crate::table::{Access, Table};
use crate::worker;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

/// Stores a live code (RFC 6749, section 4.1.2). `expires_at` is in unix seconds.
///
/// Errors: 22004, 22023, 23505 if the hash is stored in any state, 25006.
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
    let grant = grant(&data)?;
    begin(fcinfo, "code_put()")?;
    Ok(put(fcinfo, code_hash, grant, expires_at)?)
}

/// Returns the entry of a live code without spending it, or no row if there is no such code.
/// Read-only.
///
/// Errors: 22004, 22023.
#[pg_extern(sql = false)]
fn code_get(
    code_hash: Option<&str>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<ResultRow<2>, ErrorReport> {
    let code_hash = key(code_hash)?;
    let entry = Table::with(fcinfo, Access::Read, |table| {
        lifecycle::get(table, code_hash, own(table, code_hash))
    })?;
    Ok(match entry {
        Some(entry) => ResultRow::one([entry.data.into_datum(), entry.expires_at.into_datum()]),
        None => ResultRow::none(),
    })
}

/// Any stored code, without presenting it; no row where there is none. Looks neither at the expiry nor
/// at revocations. Read-only.
///
/// Errors: 22004, 22023.
#[pg_extern(sql = false)]
fn code_inspect(
    code_hash: Option<&str>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<ResultRow<4>, ErrorReport> {
    let code_hash = key(code_hash)?;
    let inspected = Table::with(fcinfo, Access::Read, |table| {
        lifecycle::inspect(table, code_hash, own(table, code_hash))
    })?;
    let row = |Inspected {
                   status,
                   entry,
                   meta,
               }| {
        ResultRow::one([
            status.into_datum(),
            entry.data.into_datum(),
            entry.expires_at.into_datum(),
            meta.into_datum(),
        ])
    };
    Ok(inspected.map_or_else(ResultRow::none, row))
}

/// Makes a code of 256 random bits, stores its hash as code_put does, and answers the code, which is
/// stored nowhere. `expires_in` is in seconds, 1 to 600 (RFC 6749, section 4.1.2). A grant without a
/// family gets a new one.
///
/// Errors: 22004, 22023, 25006.
#[pg_extern]
fn code_issue(
    data: Option<Jsonb>,
    expires_in: default!(Option<i32>, 60),
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<String, ErrorReport> {
    let data = data.ok_or(Error::Null("data"))?;
    let expires_in = expires_in.ok_or(Error::Null("expires_in"))?;
    if !(1..=600).contains(&expires_in) {
        return Err(Error::ExpiresIn.into());
    }
    let mut grant = grant(&data)?;
    begin(fcinfo, "code_issue()")?;
    let (code, family_id) = secrets()?;
    grant.family_id = grant.family_id.or(Identifier::new(&family_id));
    let code_hash = digest::hash(&code);
    let expires_at = numeric_date::from_timestamp_up(now()) + i64::from(expires_in);
    put(fcinfo, &code_hash, grant, expires_at)?;
    Ok(code)
}

/// The lookup key of a code: base64url without padding of SHA-256(code), 43 characters.
///
/// Errors: 22004.
#[pg_extern(immutable, parallel_safe)]
fn code_hash(code: Option<&str>) -> Result<String, ErrorReport> {
    Ok(digest::hash(code.ok_or(Error::Null("code"))?))
}

fn grant<'a>(data: &'a Jsonb) -> Result<Grant<'a>, Error> {
    match data.is_object_for_a_row() {
        true => Ok(grant::Grant::read(data.value())?),
        false => Err(Error::Data),
    }
}

fn put(
    function: pg_sys::FunctionCallInfo,
    code_hash: &str,
    grant: Grant,
    expires_at: i64,
) -> Result<(), Error> {
    Table::with(function, Access::Write, |table| {
        lifecycle::put(table, code_hash, grant, expires_at)?;
        note_put(table, code_hash);
        Ok(())
    })?;
    counters::add(Counter::Puts, 1);
    worker::look_after(function);
    Ok(())
}

/// A code of 256 random bits and a family of 128, as base64url without padding.
fn secrets() -> Result<(String, String), Error> {
    let random: [u8; 48] = random_bytes().ok_or(Error::NoRandom)?;
    let (code, family_id) = random.split_at(32);
    let text = |bytes| URL_SAFE_NO_PAD.encode(bytes);
    Ok((text(code), text(family_id)))
}
