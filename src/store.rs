//! The life of a code: put makes it live, the first take spends it, mark makes it redeemed. A take
//! that comes later leaves a trace, once before the mark and once after it.

use crate::error::Error;
use crate::grant::{self, Grant};
use crate::jsonb::Jsonb;
use crate::numeric_date::{self, now};
use crate::reuse;
use crate::table::{Code, Rival, Row, Table, Update, Values};
use pgrx::check_for_interrupts;

type Codes = Table<Code>;

/// How often a take looks at a row that changes under its eyes. A code has few states to go through,
/// so that more than that means a row that only this transaction sees as it is.
const ATTEMPTS: usize = 10;

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

impl Taken {
    /// How much of it goes to the client, in bytes.
    pub fn size(&self) -> usize {
        match self {
            Taken::Ok(entry) => entry.data.0.len(),
            Taken::Consumed(meta) => meta.0.len(),
            Taken::Error => 0,
        }
    }
}

/// What a presentation writes: each at most once in the life of a code, so that who presents a code
/// again and again costs no more than two writes.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Step {
    /// The code was live.
    Spend,
    /// It was spent and not redeemed: code_mark_consumed is to answer `replayed`.
    Replay,
    /// It was redeemed: who listens is told.
    Reuse,
}

impl Step {
    /// What a presentation of this row has to write.
    pub fn of(row: &Row<Code>) -> Option<Step> {
        if is_live(row) {
            Some(Step::Spend)
        } else if is_redeemed(row) {
            (!row.has(Code::ReusedAt)).then_some(Step::Reuse)
        } else {
            (!row.has(Code::ReplayedAt)).then_some(Step::Replay)
        }
    }

    /// Writes it: the one place where a code is spent.
    pub fn write(self, codes: &Codes, row: &Row<Code>, rival: Rival) -> Update {
        let column = match self {
            Step::Spend => Code::ConsumedAt,
            Step::Replay => Code::ReplayedAt,
            Step::Reuse => Code::ReusedAt,
        };
        let update = codes.update(row, Values::default().set(column, now()), rival);
        if self == Step::Reuse && update == Update::Done {
            reuse::announce(row);
        }
        update
    }

    /// Finds a code and writes this step, if it is the one that is due.
    pub fn write_by_hash(self, codes: &Codes, code_hash: &str, rival: Rival) -> Update {
        match codes.find(code_hash) {
            Some(row) if Step::of(&row) == Some(self) => self.write(codes, &row, rival),
            _ => Update::Gone,
        }
    }
}

/// How a mark ended.
pub enum Marked {
    Ok,
    /// The code was presented again since it was taken: two parties hold it.
    Replayed,
    Missing,
}

/// Stores a live code.
pub fn put(codes: &Codes, code_hash: &str, grant: Grant, expires_at: i64) -> Result<(), Error> {
    let expires_at = numeric_date::to_timestamp(expires_at).ok_or(Error::ExpiresAt)?;
    let row = Values::default()
        .set(Code::ExpiresAt, expires_at)
        .set(Code::InsertedAt, now())
        .set(Code::ConsumedSuccess, false)
        .set(Code::CodeHash, code_hash)
        .set(Code::ClientId, grant.client_id)
        .set(Code::Subject, grant.subject)
        .set(Code::RedirectUri, grant.redirect_uri)
        .set(Code::Scope, grant.scope)
        .set(Code::Resource, grant.resource)
        .set(Code::CodeChallenge, grant.code_challenge)
        .set(Code::CodeChallengeMethod, grant.code_challenge_method)
        .set(Code::Cnf, grant.cnf.map(Jsonb))
        .set(Code::Nonce, grant.nonce)
        .set(Code::FamilyId, grant.family_id)
        .set(Code::Claims, Jsonb(grant.claims))
        .set(Code::Extra, grant.extra.map(Jsonb));
    match codes.insert(row) {
        true => Ok(()),
        false => Err(Error::Exists),
    }
}

/// The entry of a live code.
pub fn get(codes: &Codes, code_hash: &str) -> Result<Option<Entry>, Error> {
    match codes.find(code_hash) {
        Some(row) if is_live(&row) => entry(&row).map(Some),
        _ => Ok(None),
    }
}

/// Presents a code. `write` is called with the step that is due, to make it last; an answer is given
/// only when nothing is left to write.
pub fn take(
    codes: &Codes,
    code_hash: &str,
    write: impl Fn(Step, &Row<Code>, &Taken) -> Result<Update, Error>,
) -> Result<Taken, Error> {
    for _ in 0..ATTEMPTS {
        check_for_interrupts!();
        let Some(row) = codes.find(code_hash) else {
            return Ok(Taken::Error);
        };
        let answer = answer(&row)?;
        let Some(step) = Step::of(&row) else {
            return Ok(answer);
        };
        match write(step, &row, &answer)? {
            Update::Done => return Ok(answer),
            Update::Gone => {}
            Update::Busy => return Err(Error::Locked),
        }
    }
    Err(Error::Locked)
}

fn answer(row: &Row<Code>) -> Result<Taken, Error> {
    if is_live(row) {
        entry(row).map(Taken::Ok)
    } else if is_redeemed(row) {
        reuse::redemption(row).map(Taken::Consumed)
    } else {
        Ok(Taken::Error)
    }
}

/// Records that the redemption of a spent code succeeded. The first meta stays.
pub fn mark_consumed(codes: &Codes, code_hash: &str, meta: Jsonb) -> Result<Marked, Error> {
    if !grant::is_object(&meta.0) {
        return Err(Error::Meta);
    }
    loop {
        check_for_interrupts!();
        let Some(row) = codes.find(code_hash) else {
            return Ok(Marked::Missing);
        };
        if is_live(&row) {
            return Err(Error::NotTaken);
        }
        let marked = match row.has(Code::ReplayedAt) || row.has(Code::ReusedAt) {
            true => Marked::Replayed,
            false => Marked::Ok,
        };
        if is_redeemed(&row) {
            return Ok(marked);
        }
        let redeemed = Values::default()
            .set(Code::ConsumedSuccess, true)
            .set(Code::ConsumedMeta, Jsonb(meta.0.clone()));
        // Done only for the newest version of the row: no replay came between.
        if codes.update(&row, redeemed, Rival::Wait) == Update::Done {
            return Ok(marked);
        }
    }
}

fn is_live(row: &Row<Code>) -> bool {
    !row.has(Code::ConsumedAt)
}

pub fn is_redeemed(row: &Row<Code>) -> bool {
    row.get(Code::ConsumedSuccess) == Some(true)
}

fn entry(row: &Row<Code>) -> Result<Entry, Error> {
    let text = |column| row.get::<String>(column).ok_or(Error::Damaged);
    let texts = |column| row.get(column).ok_or(Error::Damaged);
    let json = |column| row.get::<Jsonb>(column).map(|jsonb| jsonb.0);
    let grant = Grant {
        client_id: text(Code::ClientId)?,
        subject: text(Code::Subject)?,
        redirect_uri: text(Code::RedirectUri)?,
        scope: texts(Code::Scope)?,
        resource: texts(Code::Resource)?,
        code_challenge: row.get(Code::CodeChallenge),
        code_challenge_method: row.get(Code::CodeChallengeMethod),
        cnf: json(Code::Cnf),
        nonce: row.get(Code::Nonce),
        family_id: row.get(Code::FamilyId),
        claims: json(Code::Claims).ok_or(Error::Damaged)?,
        extra: json(Code::Extra),
    };
    Ok(Entry {
        data: grant.to_json().map(Jsonb).map_err(|_| Error::Damaged)?,
        expires_at: row
            .get(Code::ExpiresAt)
            .map(numeric_date::from_timestamp)
            .ok_or(Error::Damaged)?,
    })
}
