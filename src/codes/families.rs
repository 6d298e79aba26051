//! Families of access tokens: the tokens that one redemption issued. They are revoked together when
//! the code is presented again (RFC 6749, section 4.1.2; RFC 9700, section 4.2.4).
//!
//! A transaction that records a token holds a shared lock on the family until it ends. A
//! transaction that revokes the family holds an exclusive lock. So a revocation sees every token
//! recorded before it, and a token recorded after it sees the revocation.

use crate::error::Error;
use crate::oauth::numeric_date;
use crate::pg::backend::now;
use crate::table::{
    Family, Index, Key, LockWait, Row, Table, Token, Update, Values, Walk, lock_key,
};
use pgrx::pg_sys;
use std::ops::ControlFlow;

const BY_FAMILY: Index<Token> = Index {
    name: c"authorization_access_tokens_family",
    columns: &[Token::FamilyId, Token::ExpiresAt],
};

/// Records a token. Returns false if its family was revoked before; the token is then revoked too.
pub fn record(
    families: &Table<Family>,
    tokens: &Table<Token>,
    family_id: &str,
    jti: &str,
    expires_at: i64,
) -> Result<bool, Error> {
    let expires_at = numeric_date::to_timestamp(expires_at).ok_or(Error::ExpiresAt)?;
    lock_key(families, family_id, pg_sys::ShareLock);
    let is_revoked = families.find(family_id).is_some();
    let token = Values::default()
        .set(Token::ExpiresAt, expires_at)
        .set(Token::RevokedAt, is_revoked.then(now))
        .set(Token::Jti, jti)
        .set(Token::FamilyId, family_id);
    tokens.insert(token, || Error::TokenExists)?;
    Ok(!is_revoked)
}

/// Revokes a family: its tokens, and those recorded for it later. Returns how many of its tokens
/// were not revoked before.
pub fn revoke(
    families: &Table<Family>,
    tokens: &Table<Token>,
    family_id: &str,
) -> Result<i64, Error> {
    lock_key(families, family_id, pg_sys::ExclusiveLock);
    if families.find(family_id).is_none() {
        let revocation = Values::default()
            .set(Family::RevokedAt, now())
            .set(Family::FamilyId, family_id);
        families.insert(revocation, || Error::Damaged)?;
    }
    let mut revoked = 0;
    let failed: ControlFlow<Error> = tokens.walk(
        &BY_FAMILY,
        vec![Key::text(1, family_id)],
        Walk::Forward,
        |token| {
            let now = Values::default().set(Token::RevokedAt, now());
            if token.has(Token::RevokedAt) {
                return ControlFlow::Continue(());
            }
            match tokens.update(token, now, LockWait::Wait) {
                Ok(Update::Done) => revoked += 1,
                // A sweep removed the token.
                Ok(_) => {}
                Err(error) => return ControlFlow::Break(error),
            }
            ControlFlow::Continue(())
        },
    )?;
    failed.break_value().map_or(Ok(revoked), Err)
}

/// Whether a token is revoked and has not expired.
pub fn is_revoked(tokens: &Table<Token>, jti: &str) -> bool {
    // A token whose revocation is not committed yet may still count as not revoked.
    tokens
        .glance(jti)
        .is_some_and(|token| token.has(Token::RevokedAt) && expires_at(&token) > now())
}

/// When the last token of a family expires, as a timestamp.
pub fn last_expiry(tokens: &Table<Token>, family_id: &str) -> Result<Option<i64>, Error> {
    let last = tokens.walk(
        &BY_FAMILY,
        vec![Key::text(1, family_id)],
        Walk::Backward,
        |token| ControlFlow::Break(expires_at(token)),
    )?;
    Ok(last.break_value())
}

fn expires_at(token: &Row<Token>) -> i64 {
    token.get(Token::ExpiresAt).unwrap_or(i64::MIN)
}
