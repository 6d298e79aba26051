//! The columns of each table by position, in the order in which `sql/` creates them.
//!
//! The names consumed_at and consumed_success, and the status `consumed`, come from the project
//! that this one grew from. consumed_at says when the code was spent. consumed_success, like the
//! status `consumed`, says that it was redeemed.

use pgrx::pg_sys::{BOOLOID, JSONBOID, Oid, TEXTARRAYOID, TEXTOID, TIMESTAMPTZOID};
use std::ffi::CStr;

/// The columns of a table. The type also stands for the table.
pub trait Columns: Copy + PartialEq + 'static {
    const TABLE: &'static CStr;
    const TYPES: &'static [Oid];
    /// The columns that are NOT NULL.
    const NOT_NULL: &'static [Self];
    /// The text of the CHECK constraint, if there is one.
    const CHECK: Option<&'static str> = None;
    /// The primary key.
    const KEY: Self;
    /// How often a row can change.
    const CHANGES: usize;
    /// Whether a crash empties the table.
    const IS_UNLOGGED: bool = false;
    fn position(self) -> usize;
}

/// `authorizations`: one row per code.
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

/// `authorization_runs`: one row per run of the server. Concurrent first transactions may add more.
#[derive(Clone, Copy, PartialEq)]
pub enum Run {
    StartedAt,
    Name,
}

/// `authorization_queue`: one row, which names the segment of shared memory with the queue of the
/// resident worker.
#[derive(Clone, Copy, PartialEq)]
pub enum Published {
    ServerStartedAt,
    Segment,
}

/// `authorization_access_tokens`: one row per token.
#[derive(Clone, Copy, PartialEq)]
pub enum Token {
    ExpiresAt,
    RevokedAt,
    Jti,
    FamilyId,
}

/// `authorization_revoked_families`: one row per revoked family.
#[allow(clippy::enum_variant_names)] // These are the names of the columns.
#[derive(Clone, Copy, PartialEq)]
pub enum Family {
    RevokedAt,
    FamilyId,
    Revocation,
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
    /// Spent, replayed, redeemed, reused, retained. The retention may be extended again, but months
    /// later. A completion of a redeemed code changes nothing in the row, but writes it, too. Of these
    /// there is seldom more than one.
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
    const TYPES: &'static [Oid] = &[TIMESTAMPTZOID, TEXTOID, TEXTOID];
    const NOT_NULL: &'static [Family] = &[Family::RevokedAt, Family::FamilyId, Family::Revocation];
    const KEY: Family = Family::Revocation;
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

impl Columns for Published {
    const TABLE: &'static CStr = c"authorization_queue";
    const TYPES: &'static [Oid] = &[TIMESTAMPTZOID, TEXTOID];
    const NOT_NULL: &'static [Published] = &[Published::ServerStartedAt, Published::Segment];
    const KEY: Published = Published::Segment;
    const CHANGES: usize = 0;
    const IS_UNLOGGED: bool = true;
    fn position(self) -> usize {
        self as usize
    }
}
