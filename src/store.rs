//! The life of a code: put makes it live, the first take spends it, mark makes it redeemed.

use crate::error::Error;
use crate::grant::{self, Grant};
use crate::jsonb::Jsonb;
use crate::numeric_date;
use crate::table::{Column, Rival, Row, Table, Update, Values};
use pgrx::{check_for_interrupts, pg_sys};

/// How often a take looks at a row that changes under its eyes. Once is what the life of a code
/// needs: who finds it live and loses, finds it spent.
const ATTEMPTS: usize = 3;

/// What a live code stands for.
pub struct Entry {
    pub data: Jsonb,
    /// Unix seconds.
    pub expires_at: i64,
}

/// How a presentation ended.
pub enum Taken {
    /// The code was live, and this call spent it.
    Ok(Entry),
    /// The code was redeemed before (RFC 6749, section 4.1.2); what was said of that redemption.
    Consumed(Jsonb),
    /// Never issued, swept, or spent and not redeemed.
    Error,
}

/// How a mark ended.
pub enum Marked {
    Ok,
    Missing,
}

/// Stores a live code.
pub fn put(table: &Table, code_hash: &str, grant: Grant, expires_at: i64) -> Result<(), Error> {
    let expires_at = numeric_date::to_timestamp(expires_at).ok_or(Error::ExpiresAt)?;
    let row = Values::default()
        .set(Column::ExpiresAt, expires_at)
        .set(Column::InsertedAt, now())
        .set(Column::ConsumedSuccess, false)
        .set(Column::CodeHash, code_hash)
        .set(Column::ClientId, grant.client_id)
        .set(Column::Subject, grant.subject)
        .set(Column::RedirectUri, grant.redirect_uri)
        .set(Column::Scope, grant.scope)
        .set(Column::Resource, grant.resource)
        .set(Column::CodeChallenge, grant.code_challenge)
        .set(Column::CodeChallengeMethod, grant.code_challenge_method)
        .set(Column::Cnf, grant.cnf.map(Jsonb))
        .set(Column::Nonce, grant.nonce)
        .set(Column::FamilyId, grant.family_id)
        .set(Column::Claims, Jsonb(grant.claims))
        .set(Column::Extra, grant.extra.map(Jsonb));
    match table.insert(row) {
        true => Ok(()),
        false => Err(Error::Exists),
    }
}

/// The entry of a live code.
pub fn get(table: &Table, code_hash: &str) -> Result<Option<Entry>, Error> {
    match table.find(code_hash) {
        Some(row) if is_live(&row) => entry(&row).map(Some),
        _ => Ok(None),
    }
}

/// Presents a code. `spend` is called with a live row, to make it a spent one.
pub fn take(
    table: &Table,
    code_hash: &str,
    spend: impl Fn(&Row, &Entry) -> Result<Update, Error>,
) -> Result<Taken, Error> {
    for _ in 0..ATTEMPTS {
        check_for_interrupts!();
        let Some(row) = table.find(code_hash) else {
            return Ok(Taken::Error);
        };
        if is_redeemed(&row) {
            return redemption(&row).map(Taken::Consumed);
        }
        if !is_live(&row) {
            return Ok(Taken::Error);
        }
        let entry = entry(&row)?;
        match spend(&row, &entry)? {
            Update::Done => return Ok(Taken::Ok(entry)),
            Update::Gone => {}
            Update::Busy => return Err(Error::Locked),
        }
    }
    Err(Error::Locked)
}

/// Marks a live row as spent: the one place where that happens.
pub fn spend(table: &Table, row: &Row, rival: Rival) -> Update {
    table.update(row, Values::default().set(Column::ConsumedAt, now()), rival)
}

/// Finds a code and spends it, if it is live.
pub fn spend_by_hash(table: &Table, code_hash: &str, rival: Rival) -> Update {
    match table.find(code_hash) {
        Some(row) if is_live(&row) => spend(table, &row, rival),
        _ => Update::Gone,
    }
}

/// Records that the redemption of a spent code succeeded. The first meta stays.
pub fn mark_consumed(table: &Table, code_hash: &str, meta: Jsonb) -> Result<Marked, Error> {
    if !grant::is_object(&meta.0) {
        return Err(Error::Meta);
    }
    loop {
        check_for_interrupts!();
        let Some(row) = table.find(code_hash) else {
            return Ok(Marked::Missing);
        };
        if is_live(&row) {
            return Err(Error::NotTaken);
        }
        if is_redeemed(&row) {
            return Ok(Marked::Ok);
        }
        let redeemed = Values::default()
            .set(Column::ConsumedSuccess, true)
            .set(Column::ConsumedMeta, Jsonb(meta.0.clone()));
        if table.update(&row, redeemed, Rival::Wait) == Update::Done {
            return Ok(Marked::Ok);
        }
    }
}

fn is_live(row: &Row) -> bool {
    row.get::<i64>(Column::ConsumedAt).is_none()
}

fn is_redeemed(row: &Row) -> bool {
    row.get(Column::ConsumedSuccess) == Some(true)
}

fn entry(row: &Row) -> Result<Entry, Error> {
    let text = |column| row.get::<String>(column).ok_or(Error::Damaged);
    let texts = |column| row.get(column).ok_or(Error::Damaged);
    let json = |column| row.get::<Jsonb>(column).map(|jsonb| jsonb.0);
    let grant = Grant {
        client_id: text(Column::ClientId)?,
        subject: text(Column::Subject)?,
        redirect_uri: text(Column::RedirectUri)?,
        scope: texts(Column::Scope)?,
        resource: texts(Column::Resource)?,
        code_challenge: row.get(Column::CodeChallenge),
        code_challenge_method: row.get(Column::CodeChallengeMethod),
        cnf: json(Column::Cnf),
        nonce: row.get(Column::Nonce),
        family_id: row.get(Column::FamilyId),
        claims: json(Column::Claims).ok_or(Error::Damaged)?,
        extra: json(Column::Extra),
    };
    Ok(Entry {
        data: grant.to_json().map(Jsonb).map_err(|_| Error::Damaged)?,
        expires_at: row
            .get(Column::ExpiresAt)
            .map(numeric_date::from_timestamp)
            .ok_or(Error::Damaged)?,
    })
}

/// What a replay is told of the redemption that it repeats.
fn redemption(row: &Row) -> Result<Jsonb, Error> {
    let subject: String = row.get(Column::Subject).ok_or(Error::Damaged)?;
    let family_id: Option<String> = row.get(Column::FamilyId);
    let Jsonb(meta) = row.get(Column::ConsumedMeta).ok_or(Error::Damaged)?;
    grant::redemption(family_id.as_deref(), &subject, &meta)
        .map(Jsonb)
        .map_err(|_| Error::Damaged)
}

/// This instant, in PostgreSQL's microseconds.
fn now() -> i64 {
    // SAFETY: reads the clock.
    unsafe { pg_sys::GetCurrentTimestamp() }
}
