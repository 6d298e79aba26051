//! The SQL functions. Each one reads its arguments, makes one call and returns the result.
//!
//! NULL is an error and is never skipped, so no function with arguments is STRICT.
//! sql/attesto_codes--VERSION.sql creates the functions, and a test compares it with the SQL that
//! pgrx would write. pgrx has no SQL for ResultRow, hence `sql = false`.

// pgrx keeps the SQLSTATE only if the error type is its own ErrorReport.
#![allow(clippy::result_large_err)]

use crate::codes::completion::{self, AccessToken};
use crate::codes::counters::{self, Counter};
use crate::codes::families;
use crate::codes::lifecycle::{self, Entry, Grant, Inspected, Marked};
use crate::codes::meta::Meta;
use crate::codes::presentation::{Answer, Presentation, Redemption};
use crate::codes::statistics::{self, Statistics};
use crate::codes::sweep::{Place, Sweep};
use crate::commit::savepoint::{note_put, own};
use crate::error::Error;
use crate::oauth::redemption::Sent;
use crate::oauth::{Identifier, digest, grant, numeric_date};
use crate::pg::backend::{database, database_name, is_read_only, now, random_bytes, schema_of};
use crate::pg::jsonb::Jsonb;
use crate::pg::result_row::ResultRow;
use crate::pg::session::replication_role;
use crate::settings::{META_BYTES, session_retention};
use crate::table::{Access, Code, Family, Table, Token};
use crate::{commit, worker};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use std::time::Duration;

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

/// Presents a code and spends it. Only one call ever gets `ok` (RFC 6749, section 4.1.2; RFC 9700,
/// section 4.2.4). `expires_at` is in unix seconds, and the caller compares it with the clock.
///
/// The spend is committed and on disk when this returns, whatever happens to the caller's
/// transaction, unless attesto_codes.take_in_transaction says otherwise.
///
/// Errors: 22004, 22023, 25001 if the setting refuses the take or a trigger on the tables makes it,
/// 25006, 53400 if no background worker is free, 55P03 if an open transaction holds the row or the
/// table, 57P01 if the worker ended without an answer.
#[pg_extern(sql = false)]
fn code_take_unless_revoked(
    code_hash: Option<&str>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<ResultRow<4>, ErrorReport> {
    take(code_hash, fcinfo)
}

/// The entry point of databases that are not updated to 0.6.0 yet. Since 0.6.0 the script names a
/// newer one, which older libraries lack. They would take codes that are revoked.
#[pg_extern(sql = false)]
fn code_take_of_run(
    code_hash: Option<&str>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<ResultRow<4>, ErrorReport> {
    take(code_hash, fcinfo)
}

/// The entry point of databases that are not updated to 0.4.0 yet. Libraries before 0.4.0 know
/// nothing of runs and would take codes that a crash has spent.
#[pg_extern(sql = false)]
fn code_take(
    code_hash: Option<&str>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<ResultRow<4>, ErrorReport> {
    take(code_hash, fcinfo)
}

fn take(
    code_hash: Option<&str>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<ResultRow<4>, ErrorReport> {
    let code_hash = key(code_hash)?;
    begin(fcinfo, "code_take()")?;
    let answer = commit::present(fcinfo, code_hash, &Presentation::Take, worker::write)?;
    counters::add(Counter::of_take(&answer), 1);
    let [status, _, data, expires_at, meta] = columns(answer);
    Ok(ResultRow::one([status, data, expires_at, meta]))
}

/// Presents a code with what the client sent, and checks it (RFC 6749, section 4.1.3; RFC 7636,
/// section 4.6; RFC 9449, section 10). Only one call ever gets `ok`. A live code is spent by any
/// call, whatever the checks say. With `meta` a success is marked in the same write. A reuse by a
/// client that passes every check revokes the names of the code, unless
/// attesto_codes.revoke_on_reuse is off (RFC 9700, section 4.2.4).
///
/// NULL means that the client sent no such parameter. `client_id` is that of the authenticated
/// client, `dpop_jkt` that of a verified proof. `expires_at` is in unix seconds. `reason` is for
/// logs: the client gets `invalid_grant`, whatever it is.
///
/// Errors: as code_take; 22023 if meta is not an object of at most 4096 bytes, or names a family
/// that is not an identifier.
#[pg_extern(sql = false)]
fn code_redeem(
    code_hash: Option<&str>,
    client_id: Option<&str>,
    redirect_uri: default!(Option<&str>, "NULL"),
    code_verifier: default!(Option<&str>, "NULL"),
    dpop_jkt: default!(Option<&str>, "NULL"),
    meta: default!(Option<Jsonb>, "NULL"),
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<ResultRow<5>, ErrorReport> {
    let code_hash = key(code_hash)?;
    let client_id = client_id.ok_or(Error::Null("client_id"))?;
    let is_refused = |meta: &Jsonb| !meta.is_object_for_a_row() || meta.bytes().len() > META_BYTES;
    if meta.as_ref().is_some_and(is_refused) {
        return Err(Error::RedeemMeta.into());
    }
    let meta = meta.map(Meta::check).transpose()?;
    begin(fcinfo, "code_redeem()")?;
    let sent = Sent {
        client_id,
        redirect_uri,
        code_verifier,
        dpop_jkt,
    };
    let presentation = Presentation::Redeem(Redemption {
        sent,
        meta,
        now: now(),
    });
    let answer = commit::present(fcinfo, code_hash, &presentation, worker::write)?;
    counters::add(Counter::of_redeem(&answer), 1);
    Ok(ResultRow::one(columns(answer)))
}

/// status, reason, data, expires_at and meta.
fn columns(answer: Answer) -> [Option<pg_sys::Datum>; 5] {
    match answer {
        Answer::Ok(Entry { data, expires_at }) => {
            let (data, expires_at) = (data.into_datum(), expires_at.into_datum());
            ["ok".into_datum(), None, data, expires_at, None]
        }
        Answer::Consumed(meta) => ["consumed".into_datum(), None, None, None, meta.into_datum()],
        Answer::Error(reason) => {
            let reason = reason.name().into_datum();
            ["error".into_datum(), reason, None, None, None]
        }
    }
}

/// Completes a redemption in the transaction that stores the tokens: records the access token in the
/// code's family, and marks the code. Raises an error where no tokens may be sent, so that the
/// transaction cannot commit (RFC 9700, section 4.2.4). `expires_at` is in unix seconds, and is
/// ignored if jti is NULL.
///
/// Errors: 22004, 22023, 23505 if the jti is recorded already, other than by the same call, 25006,
/// 55000 if the code is live, closed, was presented again or is revoked, P0002 if there is no such
/// code.
#[pg_extern]
fn code_complete(
    code_hash: Option<&str>,
    jti: default!(Option<&str>, "NULL"),
    expires_at: default!(Option<i64>, "NULL"),
    meta: default!(Option<Jsonb>, "'{}'"),
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<&'static str, ErrorReport> {
    let code_hash = key(code_hash)?;
    let token = match jti {
        None => None,
        Some(_) => {
            let jti = identifier(jti, "jti")?;
            let expires_at = expires_at.ok_or(Error::Null("expires_at"))?;
            Some(AccessToken::new(jti, expires_at)?)
        }
    };
    let meta = Meta::check(meta.ok_or(Error::Null("meta"))?)?;
    begin(fcinfo, "code_complete()")?;
    Table::with(fcinfo, Access::Write, |codes| {
        Table::with(fcinfo, Access::Write, |tokens| {
            let own = own(codes, code_hash);
            completion::complete(codes, tokens, code_hash, token, &meta, &own)
        })
    })?;
    counters::add(Counter::Completes, 1);
    Ok("ok")
}

/// Records in the caller's transaction that the redemption of a spent code succeeded. The caller
/// calls it when the token response is built, before it is sent. `replayed`: the redemption is
/// recorded, but the code was presented again since it was spent, or is closed.
///
/// Errors: 22004, 22023 if meta is not an object of at most 64 MB, 25006, 55000 if the code is live.
#[pg_extern]
fn code_mark_consumed(
    code_hash: Option<&str>,
    meta: default!(Option<Jsonb>, "'{}'"),
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<&'static str, ErrorReport> {
    let code_hash = key(code_hash)?;
    let meta = meta.ok_or(Error::Null("meta"))?;
    begin(fcinfo, "code_mark_consumed()")?;
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

/// Removes at most `max_rows` rows that are due, in transactions of its own. Returns how many.
///
/// Errors: 22004, 22023, 25006, 53400 if no background worker is free, 57P01 if the worker ended
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
    begin(fcinfo, "code_sweep()")?;
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
        // The sweeper cannot see the tables of an open transaction, such as that of CREATE
        // EXTENSION.
        Some(_) if is_made_here(fcinfo)? => Ok(0),
        Some(failure) => {
            failure.report(PgLogLevel::ERROR);
            Ok(0)
        }
        None => Ok(swept.removed),
    }
}

/// Whether this transaction created the tables.
fn is_made_here(function: pg_sys::FunctionCallInfo) -> Result<bool, Error> {
    match Table::<Code>::oid_in(schema_of(function)) {
        Some(oid) => {
            Ok(Table::with_oid(oid, |codes: &Table<Code>| Ok(codes.is_new()))? == Some(true))
        }
        None => Ok(false),
    }
}

/// Counts the codes and families in the tables and, with shared_preload_libraries, the events since
/// the server started.
#[pg_extern(sql = false)]
fn code_stats_of_redeems(fcinfo: pg_sys::FunctionCallInfo) -> Result<ResultRow<34>, ErrorReport> {
    Ok(statistics(fcinfo)?)
}

/// The entry point of databases that are not updated to 0.6.0 yet. It has no columns for
/// code_redeem.
#[pg_extern(sql = false)]
fn code_stats(fcinfo: pg_sys::FunctionCallInfo) -> Result<ResultRow<21>, ErrorReport> {
    Ok(statistics(fcinfo)?)
}

/// The first N columns of code_stats, in the order of the script.
fn statistics<const N: usize>(fcinfo: pg_sys::FunctionCallInfo) -> Result<ResultRow<N>, Error> {
    use Counter::*;
    worker::find_counters(schema_of(fcinfo));
    let contents: Statistics = statistics::read(fcinfo)?;
    let contents = [
        contents.live.into_datum(),
        contents.spent.into_datum(),
        contents.redeemed.into_datum(),
        contents.due.into_datum(),
        contents.oldest_due_age.into_datum(),
        contents.families_revoked.into_datum(),
        contents.sampled.into_datum(),
    ];
    let events = [
        Puts,
        TakesOk,
        TakesConsumed,
        TakesError,
        MarksOk,
        MarksReplayed,
        MarksMissing,
        Reuses,
        Sweeps,
        RowsSwept,
        SpendsStatement,
        SpendsOneshot,
        SpendsResident,
        SpendsJoined,
        RedeemsOk,
        RedeemsConsumed,
        RedeemsUnknown,
        RedeemsExpired,
        RedeemsClientMismatch,
        RedeemsRedirectUriMismatch,
        RedeemsPkceFailed,
        RedeemsDpopProofRequired,
        RedeemsDpopBindingMismatch,
        RedeemsRevoked,
        RedeemsSpent,
        Completes,
        RevocationsByReuse,
    ];
    let events = events.map(|event| counters::get(event).into_datum());
    let mut columns = contents.into_iter().chain(events);
    Ok(ResultRow::one(std::array::from_fn(|_| {
        columns.next().flatten()
    })))
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
    worker::look_after(schema_of(function));
    Ok(())
}

/// A code of 256 random bits and a family of 128, as base64url without padding.
fn secrets() -> Result<(String, String), Error> {
    let random: [u8; 48] = random_bytes().ok_or(Error::NoRandom)?;
    let (code, family_id) = random.split_at(32);
    let text = |bytes| URL_SAFE_NO_PAD.encode(bytes);
    Ok((text(code), text(family_id)))
}

/// To the store, a code_hash is any string of 1 to 255 bytes.
fn key(code_hash: Option<&str>) -> Result<&str, Error> {
    let code_hash = code_hash.ok_or(Error::Null("code_hash"))?;
    match code_hash.len() {
        1..=255 => Ok(code_hash),
        _ => Err(Error::CodeHash),
    }
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
    worker::find_counters_now_and_then(schema_of(function));
    Ok(())
}
