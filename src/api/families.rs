//! Access tokens and their families.

use super::{begin, identifier};
use crate::codes::families;
use crate::error::Error;
use crate::table::{Access, Family, Table, Token};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

/// Records an access token of a family in the caller's transaction. `expires_at` is in unix
/// seconds. Returns false if the family is revoked; the token is then revoked too.
///
/// Errors: 22004, 22023, 23505 if the jti is recorded already, 25006.
#[pg_extern]
fn code_record_access_token(
    family_id: Option<&str>,
    jti: Option<&str>,
    expires_at: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<bool, ErrorReport> {
    let family_id = identifier(family_id, "family_id")?;
    let jti = identifier(jti, "jti")?;
    let expires_at = expires_at.ok_or(Error::Null("expires_at"))?;
    begin(fcinfo, "code_record_access_token()")?;
    Ok(with_families(fcinfo, Access::Write, |families, tokens| {
        families::record(families, tokens, family_id, jti, expires_at)
    })?)
}

/// Revokes a family in the caller's transaction: all its tokens, and every token recorded for it
/// later, and its live codes (RFC 9700, section 4.2.4). Returns how many tokens that have not expired
/// were not revoked before.
///
/// Errors: 22004, 22023, 25006.
#[pg_extern]
fn code_revoke_family(
    family_id: Option<&str>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<i64, ErrorReport> {
    let family_id = identifier(family_id, "family_id")?;
    begin(fcinfo, "code_revoke_family()")?;
    Ok(with_families(fcinfo, Access::Write, |families, tokens| {
        families::revoke(families, tokens, family_id)
    })?)
}

/// Whether an access token is revoked and has not expired. Read-only.
///
/// Errors: 22004, 22023.
#[pg_extern(stable, name = "code_access_token_revoked")]
fn code_access_token_revoked_by_family(
    jti: Option<&str>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<bool, ErrorReport> {
    is_token_revoked(jti, fcinfo)
}

/// The entry point of databases that are not updated to 0.6.0 yet. Libraries before 0.6.0, as on a
/// standby that still has one, look only at the token and would miss that its family is revoked.
#[pg_extern(sql = false)]
fn code_access_token_revoked(
    jti: Option<&str>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<bool, ErrorReport> {
    is_token_revoked(jti, fcinfo)
}

fn is_token_revoked(
    jti: Option<&str>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<bool, ErrorReport> {
    let jti = identifier(jti, "jti")?;
    Ok(with_families(fcinfo, Access::Read, |families, tokens| {
        families::is_token_revoked(families, tokens, jti)
    })?)
}

/// Whether a family is revoked, for the endpoint that refreshes tokens. Read-only.
///
/// Errors: 22004, 22023.
#[pg_extern(stable)]
fn code_family_revoked(
    family_id: Option<&str>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<bool, ErrorReport> {
    let family_id = identifier(family_id, "family_id")?;
    Ok(Table::with(fcinfo, Access::Read, |families| {
        families::is_family_revoked(families, family_id)
    })?)
}

/// Opens the two tables of families.
fn with_families<T>(
    function: pg_sys::FunctionCallInfo,
    access: Access,
    work: impl FnOnce(&Table<Family>, &Table<Token>) -> Result<T, Error>,
) -> Result<T, Error> {
    Table::with(function, access, |families| {
        Table::with(function, access, |tokens| work(families, tokens))
    })
}
