//! The completion of a redemption: in the transaction that stores the tokens, the access token is
//! recorded in the code's family, and the code is marked. Where no tokens may be sent this raises an
//! error, so the tokens are not stored either.

use super::lifecycle::Own;
use super::meta::{self, Meta};
use super::step::{Step, is_closed, is_live, is_redeemed};
use super::{families, runs};
use crate::error::{Error, NoTokens};
use crate::oauth::numeric_date;
use crate::table::{Code, LockWait, Row, Table, Token, Update, Values};
use pgrx::check_for_interrupts;

/// The access token to be recorded.
pub struct AccessToken<'a> {
    pub jti: &'a str,
    /// A timestamp.
    pub expires_at: i64,
}

impl<'a> AccessToken<'a> {
    /// `expires_at` is in unix seconds.
    pub fn new(jti: &'a str, expires_at: i64) -> Result<AccessToken<'a>, Error> {
        let expires_at = numeric_date::to_timestamp(expires_at).ok_or(Error::ExpiresAt)?;
        Ok(AccessToken { jti, expires_at })
    }
}

/// Completes the redemption of a code.
pub fn complete(
    codes: &Table<Code>,
    tokens: &Table<Token>,
    code_hash: &str,
    token: Option<AccessToken>,
    meta: &Meta,
    own: &Own,
) -> Result<(), Error> {
    loop {
        check_for_interrupts!();
        let row = codes.find(code_hash).ok_or(Error::NoCode)?;
        if let Some(why) = obstacle(codes, &row, own)? {
            return Err(Error::NoTokens(why));
        }
        let was_redeemed = is_redeemed(&row);
        // The row is written also where there is nothing to mark: presentations wait until the transaction
        // that wrote it ends, wherever they are called. For one that only locks it they wait a second.
        let update = match was_redeemed {
            true => {
                let as_it_is = Values::default().set(Code::ConsumedSuccess, true);
                codes.update(&row, as_it_is, LockWait::Wait)?
            }
            false => mark(codes, &row, meta, own)?,
        };
        if update != Update::Done {
            continue;
        }
        let of_meta = match was_redeemed {
            true => meta::family_of(&row),
            false => meta.family_id.clone(),
        };
        return finish(codes, tokens, &row, of_meta.as_deref(), token, was_redeemed);
    }
}

/// Why no tokens may be sent, as far as the code's row tells.
fn obstacle(codes: &Table<Code>, row: &Row<Code>, own: &Own) -> Result<Option<NoTokens>, Error> {
    let spent_by_crash = !is_redeemed(row) && runs::is_over(codes, row)?;
    Ok(
        if spent_by_crash || is_closed(row) || own.spent == Some(Step::Close) {
            Some(NoTokens::Closed)
        } else if own.presented_again || row.has(Code::ReplayedAt) || row.has(Code::ReusedAt) {
            Some(NoTokens::Replayed)
        } else if is_live(row) && own.spent.is_none() {
            Some(NoTokens::Live)
        } else {
            None
        },
    )
}

fn mark(codes: &Table<Code>, row: &Row<Code>, meta: &Meta, own: &Own) -> Result<Update, Error> {
    if let Some(spent) = own.spent.as_ref().filter(|_| is_live(row)) {
        // Rolled back to a savepoint since.
        spent.write(codes, row, LockWait::Wait)?;
        return Ok(Update::Gone);
    }
    let redeemed = Values::default()
        .set(Code::ConsumedSuccess, true)
        .set(Code::ConsumedMeta, meta::column(&meta.jsonb));
    codes.update(row, redeemed, LockWait::Wait)
}

/// Records the token. Looks for revocations after that, so that one that is committed meanwhile is
/// seen, and a later one finds the token.
fn finish(
    codes: &Table<Code>,
    tokens: &Table<Token>,
    row: &Row<Code>,
    of_meta: Option<&str>,
    token: Option<AccessToken>,
    was_redeemed: bool,
) -> Result<(), Error> {
    let family_id = families::names(row, of_meta).next().ok_or(Error::Damaged)?;
    if let Some(token) = token {
        record(tokens, family_id, &token, was_redeemed)?;
    }
    match families::is_code_revoked(codes, row, of_meta)? {
        true => Err(Error::NoTokens(NoTokens::Revoked)),
        false => Ok(()),
    }
}

/// Records a token, unless an earlier call for the same code did.
fn record(
    tokens: &Table<Token>,
    family_id: &str,
    token: &AccessToken,
    was_redeemed: bool,
) -> Result<(), Error> {
    let AccessToken { jti, expires_at } = *token;
    if let Some(stored) = tokens.find(jti).filter(|_| was_redeemed) {
        let is_same = stored.text(Token::FamilyId) == Some(family_id)
            && stored.get(Token::ExpiresAt) == Some(expires_at);
        return match (is_same, stored.has(Token::RevokedAt)) {
            (false, _) => Err(Error::TokenExists),
            (true, true) => Err(Error::NoTokens(NoTokens::Revoked)),
            (true, false) => Ok(()),
        };
    }
    let token = Values::default()
        .set(Token::ExpiresAt, expires_at)
        .set(Token::Jti, jti)
        .set(Token::FamilyId, family_id);
    tokens.insert(token, || Error::TokenExists)
}
