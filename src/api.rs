//! The SQL functions: arguments in, one call, result out. NULL is an error and never skipped, so
//! none of them is STRICT. sql/attesto_codes--VERSION.sql creates them, and a test compares it with what pgrx would write;
//! it knows no SQL for ResultRow (`sql = false`).

// pgrx keeps an SQLSTATE only where the error type is its own ErrorReport.
#![allow(clippy::result_large_err)]

use crate::codes::counters::{self, Counter};
use crate::codes::families;
use crate::codes::lifecycle::{self, Entry, Marked, Taken};
use crate::codes::statistics::{self, Statistics};
use crate::codes::sweep::{Place, Sweep};
use crate::commit::savepoint::{note_put, own};
use crate::error::Error;
use crate::oauth::grant::Grant;
use crate::oauth::{Identifier, digest};
use crate::pg::backend::{database, database_name, is_read_only, schema_of};
use crate::pg::jsonb::Jsonb;
use crate::pg::result_row::ResultRow;
use crate::pg::session::replication_role;
use crate::settings::session_retention;
use crate::table::{Access, Code, Family, Table, Token};
use crate::{commit, worker};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use std::time::Duration;

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
    if !data.is_object_for_a_row() {
        return Err(Error::Data.into());
    }
    let grant = Grant::read(data.value()).map_err(Error::from)?;
    writable("code_put()")?;
    Table::with(fcinfo, Access::Write, |table| {
        lifecycle::put(table, code_hash, grant, expires_at)?;
        note_put(table, code_hash);
        Ok(())
    })?;
    counters::add(Counter::Puts, 1);
    Ok(())
}

/// The entry of a live code, without spending it; no row where there is none. Read-only.
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

/// Presents a code and spends it: exactly one call ever is answered `ok` (RFC 6749, section 4.1.2;
/// RFC 9700, section 4.2.4). `expires_at` is in unix seconds, and the caller compares it.
///
/// The spend is committed and on disk when this returns, whatever becomes of the caller's
/// transaction, unless attesto_codes.take_in_transaction says otherwise.
///
/// Errors: 22004, 22023, 25001 where the setting refuses or a trigger of the tables calls, 25006, 53400 where no background worker
/// is free, 55P03 where an open transaction holds the row or the table, 57P01 where the worker
/// ended without an answer.
#[pg_extern(sql = false)]
fn code_take_of_run(
    code_hash: Option<&str>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<ResultRow<4>, ErrorReport> {
    present(code_hash, fcinfo)
}

/// What databases call that were not updated to 0.4.0. That they call another function than the others keeps an
/// older library, which knows of no runs, from taking codes that a crash has spent.
#[pg_extern(sql = false)]
fn code_take(
    code_hash: Option<&str>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<ResultRow<4>, ErrorReport> {
    present(code_hash, fcinfo)
}

fn present(
    code_hash: Option<&str>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<ResultRow<4>, ErrorReport> {
    let code_hash = key(code_hash)?;
    writable("code_take()")?;
    let (counter, row) = match commit::take(fcinfo, code_hash, worker::write)? {
        Taken::Ok(Entry { data, expires_at }) => {
            let (data, expires_at) = (data.into_datum(), expires_at.into_datum());
            (
                Counter::TakesOk,
                ["ok".into_datum(), data, expires_at, None],
            )
        }
        Taken::Consumed(meta) => {
            let meta = meta.into_datum();
            (
                Counter::TakesConsumed,
                ["consumed".into_datum(), None, None, meta],
            )
        }
        Taken::Error => (
            Counter::TakesError,
            ["error".into_datum(), None, None, None],
        ),
    };
    counters::add(counter, 1);
    Ok(ResultRow::one(row))
}

/// Records that the redemption of a spent code succeeded, in the caller's transaction: to be
/// called when the token response is built and before it is sent. `replayed`: it is recorded, but the
/// code was presented again since it was taken.
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
        lifecycle::mark_consumed(table, code_hash, meta, own(table, code_hash))
    })?;
    let (answer, counter) = match marked {
        Marked::Ok => ("ok", Counter::MarksOk),
        Marked::Replayed => ("replayed", Counter::MarksReplayed),
        Marked::Missing => ("missing", Counter::MarksMissing),
    };
    counters::add(counter, 1);
    Ok(answer)
}

/// Records an access token of a family, in the caller's transaction. `expires_at` is in unix seconds.
/// False: the family is revoked, and so is the token.
///
/// Errors: 22004, 22023, 23505 where the jti exists, 25006.
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
    writable("code_record_access_token()")?;
    Ok(with_families(fcinfo, |families, tokens| {
        families::record(families, tokens, family_id, jti, expires_at)
    })?)
}

/// Revokes a family, in the caller's transaction: all its tokens, and every token that is recorded for
/// it later (RFC 9700, section 4.2.4). How many tokens were not revoked before.
///
/// Errors: 22004, 22023, 25006.
#[pg_extern]
fn code_revoke_family(
    family_id: Option<&str>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<i64, ErrorReport> {
    let family_id = identifier(family_id, "family_id")?;
    writable("code_revoke_family()")?;
    Ok(with_families(fcinfo, |families, tokens| {
        families::revoke(families, tokens, family_id)
    })?)
}

/// Whether an access token is revoked and has not expired. Read-only.
///
/// Errors: 22004, 22023.
#[pg_extern(stable)]
fn code_access_token_revoked(
    jti: Option<&str>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<bool, ErrorReport> {
    let jti = identifier(jti, "jti")?;
    Ok(Table::with(fcinfo, Access::Read, |tokens| {
        Ok(families::is_revoked(tokens, jti))
    })?)
}

/// Removes what is due, at most `max_rows` rows, in transactions of its own: how many rows.
///
/// Errors: 22004, 22023, 25006, 53400 where no background worker is free, 57P01 where it ended
/// without an answer.
#[pg_extern]
fn code_sweep(
    max_rows: default!(Option<i32>, 10000),
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<i64, ErrorReport> {
    let max_rows = max_rows.ok_or(Error::Null("max_rows"))?;
    if max_rows < 1 {
        return Err(Error::MaxRows.into());
    }
    writable("code_sweep()")?;
    let sweep = Sweep {
        database: database(),
        schema: Some(schema_of(fcinfo)),
        max_rows: max_rows.into(),
        max_time: Duration::from_secs(86_400),
        retention: session_retention(),
        replication_role: replication_role(),
        from: Place::START,
    };
    let swept = worker::sweep(sweep, None)?;
    swept.log_refusal(&database_name());
    match swept.failure {
        // The sweeper sees nothing of a transaction that is open, as that of CREATE EXTENSION.
        Some(_) if is_made_here(fcinfo)? => Ok(0),
        Some(failure) => {
            failure.report(PgLogLevel::ERROR);
            Ok(0)
        }
        None => Ok(swept.removed),
    }
}

/// Whether this transaction has made the tables.
fn is_made_here(function: pg_sys::FunctionCallInfo) -> Result<bool, Error> {
    match Table::<Code>::oid_in(schema_of(function)) {
        Some(oid) => {
            Ok(Table::with_oid(oid, |codes: &Table<Code>| Ok(codes.is_new()))? == Some(true))
        }
        None => Ok(false),
    }
}

/// What is in the tables, and with shared_preload_libraries what happened since the server's start.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn code_stats(
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<
    TableIterator<
        'static,
        (
            name!(live, i64),
            name!(spent, i64),
            name!(redeemed, i64),
            name!(due, i64),
            name!(oldest_due_age, Option<f64>),
            name!(families_revoked, i64),
            name!(sampled, bool),
            name!(puts, Option<i64>),
            name!(takes_ok, Option<i64>),
            name!(takes_consumed, Option<i64>),
            name!(takes_error, Option<i64>),
            name!(marks_ok, Option<i64>),
            name!(marks_replayed, Option<i64>),
            name!(marks_missing, Option<i64>),
            name!(reuses, Option<i64>),
            name!(sweeps, Option<i64>),
            name!(rows_swept, Option<i64>),
            name!(spends_statement, Option<i64>),
            name!(spends_oneshot, Option<i64>),
            name!(spends_resident, Option<i64>),
            name!(spends_joined, Option<i64>),
        ),
    >,
    ErrorReport,
> {
    use Counter::*;
    let stats: Statistics = statistics::read(fcinfo)?;
    Ok(TableIterator::once((
        stats.live,
        stats.spent,
        stats.redeemed,
        stats.due,
        stats.oldest_due_age,
        stats.families_revoked,
        stats.sampled,
        counters::get(Puts),
        counters::get(TakesOk),
        counters::get(TakesConsumed),
        counters::get(TakesError),
        counters::get(MarksOk),
        counters::get(MarksReplayed),
        counters::get(MarksMissing),
        counters::get(Reuses),
        counters::get(Sweeps),
        counters::get(RowsSwept),
        counters::get(SpendsStatement),
        counters::get(SpendsOneshot),
        counters::get(SpendsResident),
        counters::get(SpendsJoined),
    )))
}

/// The lookup key of a code: base64url without padding of SHA-256(code), 43 characters.
///
/// Errors: 22004.
#[pg_extern(immutable, parallel_safe)]
fn code_hash(code: Option<&str>) -> Result<String, ErrorReport> {
    Ok(digest::hash(code.ok_or(Error::Null("code"))?))
}

/// To the store a code_hash is any string of 1 to 255 bytes.
fn key(code_hash: Option<&str>) -> Result<&str, Error> {
    let code_hash = code_hash.ok_or(Error::Null("code_hash"))?;
    match code_hash.len() {
        1..=255 => Ok(code_hash),
        _ => Err(Error::CodeHash),
    }
}

/// Opens the two tables of families for writing.
fn with_families<T>(
    function: pg_sys::FunctionCallInfo,
    work: impl FnOnce(&Table<Family>, &Table<Token>) -> Result<T, Error>,
) -> Result<T, Error> {
    Table::with(function, Access::Write, |families| {
        Table::with(function, Access::Write, |tokens| work(families, tokens))
    })
}

fn identifier<'a>(value: Option<&'a str>, argument: &'static str) -> Result<&'a str, Error> {
    let value = value.ok_or(Error::Null(argument))?;
    match Identifier::new(value) {
        Some(identifier) => Ok(identifier.as_str()),
        None => Err(Error::Identifier(argument)),
    }
}

/// The table access functions do not check this themselves. True on a standby, too.
fn writable(function: &'static str) -> Result<(), Error> {
    match is_read_only() {
        true => Err(Error::ReadOnly(function)),
        false => Ok(()),
    }
}
