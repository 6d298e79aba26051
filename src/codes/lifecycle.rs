//! The life of a code: put makes it live, the first take spends it, and mark makes it redeemed.

use super::step::{Step, is_live, is_redeemed};
use super::{families, reuse, runs};
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

/// How often a take looks at a row that keeps changing. A code has only a few states, so after this
/// many attempts it is clear that only this transaction sees the row in its present state.
pub const ATTEMPTS: usize = 10;

/// What a live code stands for: the grant and when it expires.
pub struct Entry {
    pub data: Jsonb<'static>,
    /// Unix seconds.
    pub expires_at: i64,
}

/// How a presentation ended.
pub enum Taken {
    /// The code was live, and this call spent it.
    Ok(Entry),
    /// The code was redeemed before (RFC 6749, section 4.1.2). Holds the meta to return.
    Consumed(Jsonb<'static>),
    /// The code was never issued, was swept, is spent and not redeemed, or was live and is revoked.
    Error,
}

impl Taken {
    /// How many bytes of it go to the client.
    pub fn size(&self) -> usize {
        match self {
            Taken::Ok(entry) => entry.data.size(),
            Taken::Consumed(meta) => meta.size(),
            Taken::Error => 0,
        }
    }
}

/// What the running transaction has done with a code, including what it has rolled back to a
/// savepoint since. No other transaction can know this.
#[derive(Clone, Copy)]
pub struct Own {
    pub spent: bool,
    /// The code was presented again after this transaction spent it, or was closed by it.
    pub presented_again: bool,
}

/// How a mark ended.
pub enum Marked {
    Ok,
    /// The code was presented again since it was taken, so two parties hold it. Or its take handed
    /// nothing out.
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
        Some(row) if is_live(&row) && !own.spent && !runs::is_over(codes, &row)? => {
            entry(&row).map(Some)
        }
        _ => Ok(None),
    }
}

/// The result of writing a presentation's step.
pub enum Write {
    Ended(Update),
    /// A worker has to write it, after this backend has let go of the table.
    Ordered,
}

/// How far a presentation has come.
pub enum Presented {
    Answered(Taken),
    /// The answer is valid only after this step is written.
    Ordered(Step, Taken),
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
    } else if is_live(&row) && !own.spent && !runs::is_over(codes, &row)? {
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

/// Presents a code. Calls `write` with the step that is due, and `write` makes it last. An answer
/// is given only when nothing is left to write.
pub fn take(
    codes: &Codes,
    code_hash: &str,
    write: impl Fn(Step, &Row<Code>, &Taken) -> Result<Write, Error>,
) -> Result<Presented, Error> {
    for _ in 0..ATTEMPTS {
        check_for_interrupts!();
        let Some(row) = codes.find(code_hash) else {
            return Ok(Presented::Answered(Taken::Error));
        };
        if is_live(&row) && runs::is_over(codes, &row)? {
            return Ok(Presented::Answered(Taken::Error));
        }
        let answer = answer(codes, &row, code_hash)?;
        let step = match (Step::of(&row), &answer) {
            (None, _) => return Ok(Presented::Answered(answer)),
            (Some(Step::Spend), Taken::Error) => Step::Close,
            (Some(step), _) => step,
        };
        match write(step, &row, &answer)? {
            Write::Ended(Update::Done) => return Ok(Presented::Answered(answer)),
            Write::Ended(Update::Gone) => {}
            Write::Ended(Update::Busy) => return Err(Error::Locked),
            Write::Ordered => return Ok(Presented::Ordered(step, answer)),
        }
    }
    Err(Error::Locked)
}

fn answer(codes: &Codes, row: &Row<Code>, code_hash: &str) -> Result<Taken, Error> {
    if is_live(row) {
        match families::is_code_revoked(codes, row, code_hash)? {
            true => Ok(Taken::Error),
            false => entry(row).map(Taken::Ok),
        }
    } else if is_redeemed(row) {
        reuse::redemption(row).map(Taken::Consumed)
    } else {
        Ok(Taken::Error)
    }
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
            if !own.spent {
                return Err(Error::NotTaken);
            }
            Step::Spend.write(codes, &row, LockWait::Wait)?;
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
        // NULL means the same as an empty object and takes no room. The row keeps its length, so
        // the WAL gets only the part that differs.
        let told = (!meta.is_empty()).then(|| meta.clone());
        let mut redeemed = Values::default()
            .set(Code::ConsumedSuccess, true)
            .set(Code::ConsumedMeta, told);
        let already = |column| row.get(column).unwrap_or_else(now);
        if uncertain {
            redeemed = redeemed.set(Code::ConsumedAt, already(Code::ConsumedAt));
        }
        if uncertain || forgotten {
            redeemed = redeemed.set(Code::ReplayedAt, already(Code::ReplayedAt));
        }
        // The update succeeds only on the newest version of the row, so no replay came in between.
        if codes.update(&row, redeemed, LockWait::Wait)? == Update::Done {
            return Ok(marked);
        }
    }
}

/// The grant as one object: what `put` was given, with every default filled in.
fn entry(row: &Row<Code>) -> Result<Entry, Error> {
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
