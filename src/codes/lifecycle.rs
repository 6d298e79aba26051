//! The life of a code: put makes it live, the first presentation (presentation.rs) spends it, and
//! mark makes it redeemed.

use super::step::{Step, after_the_spend, is_live, is_redeemed};
use super::{meta, reuse, runs};
use crate::error::Error;
use crate::oauth::grant::{self, Confirmation};
use crate::oauth::{Identifier, List, Members, NonEmpty, S256, numeric_date};
use crate::pg::backend::now;
use crate::pg::jsonb::{Jsonb, Object, Value};
use crate::pg::texts::Texts;
use crate::table::{Code, LockWait, Row, Table, Update, Values};
use pgrx::check_for_interrupts;

type Codes = Table<Code>;

/// A grant whose opaque parts stay in a jsonb.
pub type Grant<'a> = grant::Grant<'a, Object<'a>, Value<'a>>;

/// What a live code stands for: the grant and when it expires.
pub struct Entry {
    pub data: Jsonb<'static>,
    /// Unix seconds.
    pub expires_at: i64,
}

/// What the running transaction has done with a code, including what it has rolled back to a
/// savepoint since. No other transaction can know this.
pub struct Own {
    /// The step that spent the code.
    pub spent: Option<Step>,
    /// The code was presented again after this transaction spent it, or was closed by it.
    pub presented_again: bool,
}

/// How a mark ended.
pub enum Marked {
    Ok,
    /// The code was presented again since it was spent, so two parties hold it. Or it is closed.
    Replayed,
    Missing,
}

/// Stores a live code.
pub fn put(codes: &Codes, code_hash: &str, grant: Grant, expires_at: i64) -> Result<(), Error> {
    let expires_at = numeric_date::to_timestamp(expires_at).ok_or(Error::ExpiresAt)?;
    let cnf = grant
        .dpop_jkt
        .map(|jkt| Jsonb::build(&Confirmation { jkt }));
    let extra = (!grant.extra.is_empty()).then(|| Jsonb::build(&grant.extra));
    let row = Values::default()
        .set(Code::ExpiresAt, expires_at)
        .set(Code::InsertedAt, now())
        .set(Code::ConsumedSuccess, false)
        .set(Code::CodeHash, code_hash)
        .set(Code::ClientId, grant.client_id.as_str())
        .set(Code::Subject, grant.subject.as_str())
        .set(Code::RedirectUri, grant.redirect_uri.as_str())
        .set(Code::Scope, Texts(grant.scope.into_vec()))
        .set(Code::Resource, Texts(grant.resource.into_vec()))
        .set(
            Code::CodeChallenge,
            grant.code_challenge.map(NonEmpty::as_str),
        )
        .set(
            Code::CodeChallengeMethod,
            grant.code_challenge_method.map(|_| S256::NAME),
        )
        .set(Code::Cnf, cnf.transpose()?)
        .set(Code::Nonce, grant.nonce.map(NonEmpty::as_str))
        .set(Code::FamilyId, grant.family_id.map(Identifier::as_str))
        .set(Code::Claims, Jsonb::from(grant.claims))
        .set(Code::Extra, extra.transpose()?)
        .set(Code::Run, runs::of_a_new_code(codes)?);
    codes.insert(row, || Error::Exists)
}

/// The entry of a live code.
pub fn get(codes: &Codes, code_hash: &str, own: Own) -> Result<Option<Entry>, Error> {
    match codes.find(code_hash) {
        Some(row) if is_live(&row) && own.spent.is_none() && !runs::is_over(codes, &row)? => {
            entry(&row).map(Some)
        }
        _ => Ok(None),
    }
}

/// The entry of any stored code, with its state.
pub struct Inspected {
    pub status: &'static str,
    pub entry: Entry,
    /// What is known of its redemption, if it is redeemed.
    pub meta: Option<Jsonb<'static>>,
}

/// Looks at a code without presenting it.
pub fn inspect(codes: &Codes, code_hash: &str, own: Own) -> Result<Option<Inspected>, Error> {
    let Some(row) = codes.find(code_hash) else {
        return Ok(None);
    };
    let (status, meta) = if is_redeemed(&row) {
        ("redeemed", Some(reuse::redemption(&row)?))
    } else if let Some(Step::Spend(Some(meta))) = &own.spent {
        ("redeemed", Some(reuse::redemption_with(&row, Some(meta))?))
    } else if is_live(&row) && own.spent.is_none() && !runs::is_over(codes, &row)? {
        ("live", None)
    } else {
        ("spent", None)
    };
    let entry = entry(&row)?;
    Ok(Some(Inspected {
        status,
        entry,
        meta,
    }))
}

/// Records that the redemption of a spent code succeeded. The first meta stays.
pub fn mark_consumed(
    codes: &Codes,
    code_hash: &str,
    meta: Jsonb,
    own: Own,
) -> Result<Marked, Error> {
    if !meta.is_object_for_a_row() {
        return Err(Error::Meta);
    }
    loop {
        check_for_interrupts!();
        let Some(row) = codes.find(code_hash) else {
            return Ok(Marked::Missing);
        };
        // A crash may have lost the spend, and a replay after it.
        let uncertain = !is_redeemed(&row) && runs::is_over(codes, &row)?;
        if is_live(&row) && !uncertain {
            let spent = own.spent.as_ref().ok_or(Error::NotTaken)?;
            spent.write(codes, &row, LockWait::Wait)?;
            continue;
        }
        let forgotten = !row.has(Code::ReplayedAt) && own.presented_again;
        let replayed =
            uncertain || forgotten || row.has(Code::ReplayedAt) || row.has(Code::ReusedAt);
        let marked = match replayed {
            true => Marked::Replayed,
            false => Marked::Ok,
        };
        if is_redeemed(&row) {
            return Ok(marked);
        }
        let mut redeemed = Values::default()
            .set(Code::ConsumedSuccess, true)
            .set(Code::ConsumedMeta, meta::column(&meta));
        let spent_at = row.get(Code::ConsumedAt).unwrap_or_else(now);
        if uncertain {
            redeemed = redeemed.set(Code::ConsumedAt, spent_at);
        }
        if (uncertain || forgotten) && !row.has(Code::ReplayedAt) {
            // A code that a crash has spent is closed.
            let replayed_at = match is_live(&row) {
                true => spent_at,
                false => after_the_spend(&row, now()),
            };
            redeemed = redeemed.set(Code::ReplayedAt, replayed_at);
        }
        // The update succeeds only on the newest version of the row, so no replay came in between.
        if codes.update(&row, redeemed, LockWait::Wait)? == Update::Done {
            return Ok(marked);
        }
    }
}

/// The grant as one object: what `put` was given, with every default filled in.
pub fn entry(row: &Row<Code>) -> Result<Entry, Error> {
    let optional = |column| {
        let text = row.text(column).map(NonEmpty::new);
        text.map(|text| text.ok_or(Error::Damaged)).transpose()
    };
    let text = |column| optional(column)?.ok_or(Error::Damaged);
    let list = |column| row.texts(column).map(List::stored).ok_or(Error::Damaged);
    let method = row.text(Code::CodeChallengeMethod).map(S256::new);
    let method = method.map(|method| method.ok_or(Error::Damaged));
    let claims = row.jsonb(Code::Claims).ok_or(Error::Damaged)?;
    let (cnf, extra) = (row.jsonb(Code::Cnf), row.jsonb(Code::Extra));
    let confirmation: Option<Confirmation> = cnf.as_ref().map(Jsonb::read).transpose()?;
    let extra = extra.as_ref().map(Jsonb::read).transpose()?;
    let grant: Grant = grant::Grant {
        client_id: text(Code::ClientId)?,
        subject: text(Code::Subject)?,
        redirect_uri: text(Code::RedirectUri)?,
        scope: list(Code::Scope)?,
        resource: list(Code::Resource)?,
        code_challenge: optional(Code::CodeChallenge)?,
        code_challenge_method: method.transpose()?,
        dpop_jkt: confirmation.map(|confirmation| confirmation.jkt),
        nonce: optional(Code::Nonce)?,
        family_id: row.text(Code::FamilyId).map(Identifier::stored),
        claims: claims.read()?,
        extra: extra.unwrap_or_else(Members::none),
    };
    Ok(Entry {
        data: Jsonb::build(&grant)?,
        expires_at: row
            .get(Code::ExpiresAt)
            .map(numeric_date::from_timestamp)
            .ok_or(Error::Damaged)?,
    })
}
