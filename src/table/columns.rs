//! The columns of each table, by position, as `sql/` creates them.

use pgrx::pg_sys::{BOOLOID, JSONBOID, Oid, TEXTARRAYOID, TEXTOID, TIMESTAMPTZOID};
use std::ffi::CStr;

/// The columns of one table, and so the table.
pub trait Columns: Copy + PartialEq + 'static {
    const TABLE: &'static CStr;
    const TYPES: &'static [Oid];
    /// Those that cannot be NULL.
    const NOT_NULL: &'static [Self];
    /// What the CHECK constraint says, if there is one.
    const CHECK: Option<&'static str> = None;
    /// The primary key.
    const KEY: Self;
    /// How often a row can change in its life.
    const CHANGES: usize;
    /// Whether a crash empties it.
    const IS_UNLOGGED: bool = false;
    fn position(self) -> usize;
}

/// `authorizations`: one row a code.
#[allow(clippy::enum_variant_names)] // They are the columns' names.
#[derive(Clone, Copy, PartialEq)]
pub enum Code {
    ExpiresAt,
    InsertedAt,
    ConsumedAt,
    ConsumedSuccess,
    CodeHash,
    ClientId,
    Subject,
    RedirectUri,
    Scope,
    Resource,
    CodeChallenge,
    CodeChallengeMethod,
    Cnf,
    Nonce,
    FamilyId,
    Claims,
    Extra,
    ConsumedMeta,
    ReplayedAt,
    ReusedAt,
    RetainFrom,
    Run,
}

/// `authorization_runs`: one row a run of the server, as a rule one.
#[derive(Clone, Copy, PartialEq)]
pub enum Run {
    StartedAt,
    Name,
}

/// `authorization_access_tokens`: one row a token.
#[derive(Clone, Copy, PartialEq)]
pub enum Token {
    ExpiresAt,
    RevokedAt,
    Jti,
    FamilyId,
}

/// `authorization_revoked_families`: one row a revoked family.
#[derive(Clone, Copy, PartialEq)]
pub enum Family {
    RevokedAt,
    FamilyId,
}

impl Columns for Code {
    const TABLE: &'static CStr = c"authorizations";
    const TYPES: &'static [Oid] = &[
        TIMESTAMPTZOID,
        TIMESTAMPTZOID,
        TIMESTAMPTZOID,
        BOOLOID,
        TEXTOID,
        TEXTOID,
        TEXTOID,
        TEXTOID,
        TEXTARRAYOID,
        TEXTARRAYOID,
        TEXTOID,
        TEXTOID,
        JSONBOID,
        TEXTOID,
        TEXTOID,
        JSONBOID,
        JSONBOID,
        JSONBOID,
        TIMESTAMPTZOID,
        TIMESTAMPTZOID,
        TIMESTAMPTZOID,
        TEXTOID,
    ];
    const NOT_NULL: &'static [Code] = &[
        Code::ExpiresAt,
        Code::InsertedAt,
        Code::ConsumedSuccess,
        Code::CodeHash,
        Code::ClientId,
        Code::Subject,
        Code::RedirectUri,
        Code::Scope,
        Code::Resource,
        Code::Claims,
    ];
    const CHECK: Option<&'static str> =
        Some("((consumed_at IS NOT NULL) OR (NOT consumed_success))");
    const KEY: Code = Code::CodeHash;
    /// Spent, replayed, redeemed, reused, retained. It may be retained for longer, but months later.
    const CHANGES: usize = 5;
    fn position(self) -> usize {
        self as usize
    }
}

impl Columns for Token {
    const TABLE: &'static CStr = c"authorization_access_tokens";
    const TYPES: &'static [Oid] = &[TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, TEXTOID];
    const NOT_NULL: &'static [Token] = &[Token::ExpiresAt, Token::Jti, Token::FamilyId];
    const KEY: Token = Token::Jti;
    /// Revoked.
    const CHANGES: usize = 1;
    fn position(self) -> usize {
        self as usize
    }
}

impl Columns for Family {
    const TABLE: &'static CStr = c"authorization_revoked_families";
    const TYPES: &'static [Oid] = &[TIMESTAMPTZOID, TEXTOID];
    const NOT_NULL: &'static [Family] = &[Family::RevokedAt, Family::FamilyId];
    const KEY: Family = Family::FamilyId;
    const CHANGES: usize = 0;
    fn position(self) -> usize {
        self as usize
    }
}

impl Columns for Run {
    const TABLE: &'static CStr = c"authorization_runs";
    const TYPES: &'static [Oid] = &[TIMESTAMPTZOID, TEXTOID];
    const NOT_NULL: &'static [Run] = &[Run::StartedAt, Run::Name];
    const KEY: Run = Run::Name;
    const CHANGES: usize = 0;
    const IS_UNLOGGED: bool = true;
    fn position(self) -> usize {
        self as usize
    }
}
