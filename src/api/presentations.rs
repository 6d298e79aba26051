//! The presentation of a code, and what ends its redemption.

use super::{begin, identifier, key};
use crate::codes::completion::{self, AccessToken};
use crate::codes::counters::{self, Counter};
use crate::codes::lifecycle::{self, Entry, Marked};
use crate::codes::meta::Meta;
use crate::codes::presentation::{Answer, Presentation, Redemption};
use crate::commit::savepoint::own;
use crate::error::Error;
use crate::oauth::redemption::Sent;
use crate::pg::backend::now;
use crate::pg::jsonb::Jsonb;
use crate::pg::result_row::ResultRow;
use crate::settings::META_BYTES;
use crate::table::{Access, Table};
use crate::{commit, worker};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

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
