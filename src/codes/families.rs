//! Families of access tokens: the tokens that one redemption issued. They are revoked together when
//! the code is presented again (RFC 6749, section 4.1.2; RFC 9700, section 4.2.4).
//!
//! A revocation is one row. From it follows that the tokens and the live codes of the family are
//! revoked, so no other row is written. Revocations are only inserted and deleted, and the family
//! is no key of theirs. So no transaction waits for another one here, and a transaction that records
//! a token while its family is being revoked needs no lock: a later reader sees both rows.

use super::meta;
use crate::error::Error;
use crate::oauth::{Identifier, numeric_date};
use crate::pg::backend::{now, random_bytes};
use crate::table::{Code, Family, Index, Key, LockWait, Row, Table, Token, Values, Walk};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use std::ops::ControlFlow;

const TOKENS: Index<Token> = Index {
    name: c"authorization_access_tokens_family",
    columns: &[Token::FamilyId, Token::ExpiresAt],
};

const REVOCATIONS: Index<Family> = Index {
    name: c"authorization_revoked_families_family",
    columns: &[Family::FamilyId],
};

/// Records a token. Returns false if its family is revoked. The token is then stored revoked, so
/// that it stays revoked when the revocation has been swept.
pub fn record(
    families: &Table<Family>,
    tokens: &Table<Token>,
    family_id: &str,
    jti: &str,
    expires_at: i64,
) -> Result<bool, Error> {
    let expires_at = numeric_date::to_timestamp(expires_at).ok_or(Error::ExpiresAt)?;
    let token = |is_revoked: bool| {
        Values::default()
            .set(Token::ExpiresAt, expires_at)
            .set(Token::RevokedAt, is_revoked.then(now))
            .set(Token::Jti, jti)
            .set(Token::FamilyId, family_id)
    };
    let was_revoked = is_family_revoked(families, family_id)?;
    tokens.insert(token(was_revoked), || Error::TokenExists)?;
    // A revocation may have been committed since the first look. A later one finds the token.
    let is_revoked = was_revoked || is_family_revoked(families, family_id)?;
    if is_revoked
        && !was_revoked
        && let Some(row) = tokens.find(jti)
    {
        tokens.update(&row, token(true), LockWait::Wait)?;
    }
    Ok(!is_revoked)
}

/// Revokes a family: its tokens, those recorded for it later, and its live codes. Returns how many
/// tokens that have not expired were not revoked before.
pub fn revoke(
    families: &Table<Family>,
    tokens: &Table<Token>,
    family_id: &str,
) -> Result<i64, Error> {
    if is_family_revoked(families, family_id)? {
        return Ok(0);
    }
    insert_revocation(families, family_id)?;
    let (mut revoked, now) = (0, now());
    let _: ControlFlow<()> = tokens.walk(
        &TOKENS,
        vec![Key::text(1, family_id), Key::from(2, now)],
        Walk::Forward,
        |token| {
            revoked += i64::from(!token.has(Token::RevokedAt));
            ControlFlow::Continue(())
        },
    )?;
    Ok(revoked)
}

fn insert_revocation(families: &Table<Family>, family_id: &str) -> Result<(), Error> {
    let name = random_bytes::<16>().ok_or(Error::NoRandom)?;
    let revocation = Values::default()
        .set(Family::RevokedAt, now())
        .set(Family::FamilyId, family_id)
        .set(Family::Revocation, URL_SAFE_NO_PAD.encode(name));
    families.insert(revocation, || Error::Damaged)
}

/// Whether a family is revoked.
pub fn is_family_revoked(families: &Table<Family>, family_id: &str) -> Result<bool, Error> {
    has_revocation(families, family_id, |_| true)
}

/// Whether a family has a revocation that counts.
fn has_revocation(
    families: &Table<Family>,
    family_id: &str,
    counts: fn(&Row<Family>) -> bool,
) -> Result<bool, Error> {
    let found = families.walk(
        &REVOCATIONS,
        vec![Key::text(1, family_id)],
        Walk::Forward,
        |revocation| match counts(revocation) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        },
    )?;
    Ok(found.is_break())
}

/// The names of a code, which are families: that of the meta it is marked with, that of its grant,
/// and its hash. The first is the code's family. An older version may have stored a family that is
/// too long to be one.
pub fn names<'a>(code: &'a Row<Code>, of_meta: Option<&'a str>) -> impl Iterator<Item = &'a str> {
    let names = [
        of_meta,
        code.text(Code::FamilyId),
        code.text(Code::CodeHash),
    ];
    let names = names.into_iter().flatten();
    names.filter(|name| Identifier::new(name).is_some())
}

/// Whether a code is revoked: one of its names is. `of_meta`: the family of its meta.
pub fn is_code_revoked(
    codes: &Table<Code>,
    code: &Row<Code>,
    of_meta: Option<&str>,
) -> Result<bool, Error> {
    Table::briefly(codes.schema(), |families| {
        // Most databases hold no revocation.
        if families.is_empty() {
            return Ok(false);
        }
        for name in names(code, of_meta) {
            if is_family_revoked(families, name)? {
                return Ok(true);
            }
        }
        Ok(false)
    })
}

/// Whether all names of a code are revoked.
pub fn are_revoked(codes: &Table<Code>, code: &Row<Code>) -> Result<bool, Error> {
    all_names(codes, code, |_| true)
}

/// Whether all names of a code are revoked, and neither a rollback nor a crash can undo that.
pub fn are_revoked_for_good(codes: &Table<Code>, code: &Row<Code>) -> Result<bool, Error> {
    all_names(codes, code, |revocation| revocation.is_for_good())
}

fn all_names(
    codes: &Table<Code>,
    code: &Row<Code>,
    counts: fn(&Row<Family>) -> bool,
) -> Result<bool, Error> {
    Table::briefly(codes.schema(), |families| {
        let of_meta = meta::family_of(code);
        for name in names(code, of_meta.as_deref()) {
            if !has_revocation(families, name, counts)? {
                return Ok(false);
            }
        }
        Ok(true)
    })
}

/// Revokes those names of a code that are not revoked yet.
pub fn revoke_names(families: &Table<Family>, code: &Row<Code>) -> Result<(), Error> {
    let of_meta = meta::family_of(code);
    for name in names(code, of_meta.as_deref()) {
        if !is_family_revoked(families, name)? {
            insert_revocation(families, name)?;
        }
    }
    Ok(())
}

/// Whether a token is revoked and has not expired.
pub fn is_token_revoked(
    families: &Table<Family>,
    tokens: &Table<Token>,
    jti: &str,
) -> Result<bool, Error> {
    let Some(token) = tokens.find(jti) else {
        return Ok(false);
    };
    if expires_at(&token) <= now() {
        return Ok(false);
    }
    let family_id = token.text(Token::FamilyId).ok_or(Error::Damaged)?;
    Ok(token.has(Token::RevokedAt) || is_family_revoked(families, family_id)?)
}

/// When the last token of a family expires, as a timestamp.
pub fn last_expiry(tokens: &Table<Token>, family_id: &str) -> Result<Option<i64>, Error> {
    let last = tokens.walk(
        &TOKENS,
        vec![Key::text(1, family_id)],
        Walk::Backward,
        |token| ControlFlow::Break(expires_at(token)),
    )?;
    Ok(last.break_value())
}

fn expires_at(token: &Row<Token>) -> i64 {
    token.get(Token::ExpiresAt).unwrap_or(i64::MIN)
}
