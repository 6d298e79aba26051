//! What a sweep does with a row that is due: it removes the row, or retains it as evidence.

use super::due::{Due, kept_until};
use crate::codes::step::is_redeemed;
use crate::codes::{families, meta};
use crate::error::Error;
use crate::table::{Code, Family, Row, Table, Token, Update, Values};

/// What became of a row.
#[derive(PartialEq)]
pub enum Fate {
    Removed,
    Retained,
    /// Another transaction holds the row, or the row is not to be changed, or not yet: a spent code
    /// whose completion may still come.
    Left,
}

pub fn removal(update: Update) -> Fate {
    match update {
        Update::Done => Fate::Removed,
        Update::Gone | Update::Busy => Fate::Left,
    }
}

/// Removes an expired code, or retains it for as long as it is evidence.
pub fn release(
    codes: &Table<Code>,
    tokens: &Table<Token>,
    code: &Row<Code>,
    due: Due,
) -> Result<Fate, Error> {
    if due.is_early(code) {
        return Ok(Fate::Left);
    }
    if !is_redeemed(code) {
        return codes.delete(code).map(removal);
    }
    let mut retain_from = retain_from(code);
    if let Some(kept_until) = kept_until(code) {
        retain_from = retain_from.max(kept_until - due.retention);
    }
    let of_meta = meta::family_of(code);
    for name in families::names(code, of_meta.as_deref()) {
        if let Some(last) = families::last_expiry(tokens, name)? {
            retain_from = retain_from.max(last - due.retention);
        }
    }
    if retain_from < due.retained {
        return codes.delete(code).map(removal);
    }
    let retained = Values::default().set(Code::RetainFrom, retain_from);
    Ok(match codes.rewrite(code, retained)? {
        Update::Done => Fate::Retained,
        Update::Gone | Update::Busy => Fate::Left,
    })
}

/// Removes a revocation once all tokens of its family have expired.
pub fn forget(
    revoked: &Table<Family>,
    tokens: &Table<Token>,
    family: &Row<Family>,
    due: Due,
) -> Result<Fate, Error> {
    let family_id: String = family.get(Family::FamilyId).unwrap_or_default();
    match families::last_expiry(tokens, &family_id)? {
        Some(last) if last >= due.expired => Ok(Fate::Left),
        _ => revoked.delete(family).map(removal),
    }
}

fn retain_from(code: &Row<Code>) -> i64 {
    let expires_at = || code.get(Code::ExpiresAt);
    code.get(Code::RetainFrom)
        .or_else(expires_at)
        .unwrap_or(i64::MAX)
}
