//! Families of access tokens: the tokens that one redemption issued. They are revoked together when
//! the code is presented again (RFC 6749, section 4.1.2; RFC 9700, section 4.2.4).
//!
//! A revocation is one row. From it follows that the tokens and the live codes of the family are
//! revoked, so no other row is written. Revocations are only inserted and deleted, and the family
//! is no key of theirs. So no transaction waits for another one here, and a transaction that records
//! a token while its family is being revoked needs no lock: a later reader sees both rows.

use crate::error::Error;
use crate::oauth::numeric_date;
use crate::pg::backend::{now, random_bytes};
use crate::table::{Access, Code, Family, Index, Key, LockWait, Row, Table, Token, Values, Walk};
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
    let name = random_bytes::<16>().ok_or(Error::NoRandom)?;
    let revocation = Values::default()
        .set(Family::RevokedAt, now())
        .set(Family::FamilyId, family_id)
        .set(Family::Revocation, URL_SAFE_NO_PAD.encode(name));
    families.insert(revocation, || Error::Damaged)?;
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

/// Whether a family is revoked.
pub fn is_family_revoked(families: &Table<Family>, family_id: &str) -> Result<bool, Error> {
    let found = families.walk(
        &REVOCATIONS,
        vec![Key::text(1, family_id)],
        Walk::Forward,
        |_| ControlFlow::Break(()),
    )?;
    Ok(found.is_break())
}

/// Whether a live code is revoked: the family of its grant is, or its hash, which names the family of
/// a code without one.
pub fn is_code_revoked(
    codes: &Table<Code>,
    code: &Row<Code>,
    code_hash: &str,
) -> Result<bool, Error> {
    Table::in_schema(codes.schema(), Access::Read, |families| {
        // Most databases hold no revocation.
        if families.is_empty() {
            return Ok(false);
        }
        let names = [code.text(Code::FamilyId), Some(code_hash)];
        for name in names.into_iter().flatten() {
            if is_family_revoked(families, name)? {
                return Ok(true);
            }
        }
        Ok(false)
    })
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
