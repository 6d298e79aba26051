//! All errors that a caller can get. This is the only file that knows SQLSTATE, DETAIL and HINT. No
//! error contains a code, a hash or a member's value.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgLogLevel, PgSqlErrorCode};
use std::ffi::CStr;

#[derive(Debug)]
pub enum Error {
    /// An argument is NULL.
    Null(&'static str),
    /// The code_hash is empty or over 255 bytes.
    CodeHash,
    /// expires_at is after the year 9999, or before the first timestamptz.
    ExpiresAt,
    /// data is not an object, or too large.
    Data,
    /// A member of data is invalid.
    Grant(&'static str, String),
    /// meta is not an object, or too large.
    Meta,
    /// The family in meta is not an identifier.
    MetaFamily,
    /// meta is too large for code_redeem.
    RedeemMeta,
    /// The code_hash is stored already.
    Exists,
    /// The code to be marked is still live.
    NotTaken,
    /// There is no such code.
    NoCode,
    /// No tokens may be sent for the code.
    NoTokens(NoTokens),
    /// The transaction, or the whole server, is read-only.
    ReadOnly(&'static str),
    /// The surrounding transaction could undo the spend, and the settings refuse that.
    InTransaction(&'static str),
    /// A trigger on one of the tables calls code_take or code_redeem.
    InTrigger(&'static str),
    /// An open transaction, perhaps the caller's own, holds the row or the table.
    Locked,
    /// No background worker is free for a presentation.
    NoWorker,
    /// The background worker of a presentation ended without an answer.
    NoAnswer,
    /// No background worker is free for code_sweep.
    NoSweeper,
    /// The background worker of code_sweep ended without an answer.
    SweepEnded,
    /// expires_in is not 1 to 600 seconds.
    ExpiresIn,
    /// The server has no source of random bytes.
    NoRandom,
    /// max_rows is not positive.
    MaxRows,
    /// An identifier is empty or over 1024 bytes.
    Identifier(&'static str),
    /// The access token is recorded already.
    TokenExists,
    /// A function that returns a table is called where a single value is expected.
    NoRowsHere,
    /// A table or index is missing from the schema of the function, or is not as the extension made
    /// it.
    NoTable(&'static CStr),
    /// The table has a feature that no write could honour.
    Obstacle(&'static CStr, Obstacle),
    /// A trigger of the table skipped the write, or undid it.
    Undone(&'static CStr),
    /// The row holds a value that this extension never writes.
    Damaged,
    /// The operating system gives no more memory.
    Memory,
}

/// A feature of a table that no write could honour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Obstacle {
    /// A column that the extension did not make. A dump names every column, and the table that
    /// CREATE EXTENSION makes for the restore does not have this one.
    Column,
    /// A rule that replaces a write.
    Rule,
    /// Row-level security that also applies to the owner.
    RowSecurity,
    Partitioned,
    ForeignTable,
    /// Another table inherits from this one, or this one from another.
    Inheritance,
}

/// Why no tokens may be sent for a code.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NoTokens {
    /// Nobody has presented the code yet.
    Live,
    /// The presentation that spent the code failed, or a crash has spent it.
    Closed,
    /// The code was presented again since it was spent.
    Replayed,
    /// One of the code's names is revoked.
    Revoked,
}

impl Error {
    /// Raises the error at once, where no caller can return it.
    pub fn raise(self) -> ! {
        ErrorReport::from(self).report(PgLogLevel::ERROR);
        unreachable!()
    }
}

impl From<Error> for ErrorReport {
    fn from(error: Error) -> ErrorReport {
        let (code, message, detail, hint) = describe(error);
        ErrorReport::new(code, message, "attesto_codes")
            .set_detail(detail)
            .set_hint(hint)
    }
}

fn describe(error: Error) -> (PgSqlErrorCode, String, String, &'static str) {
    use PgSqlErrorCode::*;
    match error {
        Error::Null(argument) => (
            ERRCODE_NULL_VALUE_NOT_ALLOWED,
            format!("argument {argument} must not be null"),
            format!("The argument \"{argument}\" is NULL."),
            "Pass a value; nothing is skipped silently.",
        ),
        Error::CodeHash => (
            ERRCODE_INVALID_PARAMETER_VALUE,
            "invalid code_hash".into(),
            "The argument \"code_hash\" must be a string of 1 to 255 bytes.".into(),
            "Pass code_hash(code), or a digest of the code that you made yourself.",
        ),
        Error::ExpiresAt => (
            ERRCODE_INVALID_PARAMETER_VALUE,
            "invalid expires_at".into(),
            "The argument \"expires_at\" must be a time from 4714 BC to the end of the year 9999.".into(),
            "Pass unix seconds, not milliseconds.",
        ),
        Error::Data => (
            ERRCODE_INVALID_PARAMETER_VALUE,
            "invalid grant".into(),
            "The argument \"data\" must be a JSON object of at most 64 MB.".into(),
            "Pass the grant as one JSON object.",
        ),
        Error::Grant(member, must_be) => (
            ERRCODE_INVALID_PARAMETER_VALUE,
            "invalid grant".into(),
            format!("The member \"{member}\" of data must be {must_be}."),
            "Correct this member of data; nothing was stored.",
        ),
        Error::Meta => (
            ERRCODE_INVALID_PARAMETER_VALUE,
            "invalid meta".into(),
            "The argument \"meta\" must be a JSON object of at most 64 MB.".into(),
            "Pass an object, or leave the argument out.",
        ),
        Error::MetaFamily => (
            ERRCODE_INVALID_PARAMETER_VALUE,
            "invalid meta".into(),
            "The member \"family_id\" of meta must be a string of 1 to 1024 bytes or null.".into(),
            "Pass the identifier of the family, or leave the member out; nothing was written.",
        ),
        Error::RedeemMeta => (
            ERRCODE_INVALID_PARAMETER_VALUE,
            "invalid meta".into(),
            "The argument \"meta\" of code_redeem must be a JSON object of at most 4096 bytes, stored as jsonb.".into(),
            "Pass a smaller object, or pass it to code_complete; the code was not presented.",
        ),
        Error::Exists => (
            ERRCODE_UNIQUE_VIOLATION,
            "authorization code already exists".into(),
            "The argument \"code_hash\" is stored already; the stored code was not changed.".into(),
            "Generate a fresh random code for every authorization response.",
        ),
        Error::NotTaken => (
            ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "authorization code is still live".into(),
            "The argument \"code_hash\" names a code that was not taken.".into(),
            "Call code_take first, and code_mark_consumed only after its answer ok.",
        ),
        Error::ReadOnly(function) => (
            ERRCODE_READ_ONLY_SQL_TRANSACTION,
            format!("cannot execute {function} in a read-only transaction"),
            "The transaction is READ ONLY, or the server is a standby.".into(),
            "Call it on the primary, in a READ WRITE transaction.",
        ),
        Error::NoCode => (
            ERRCODE_NO_DATA_FOUND,
            "no such authorization code".into(),
            "The argument \"code_hash\" names no code: it was never issued, or was swept.".into(),
            "Send no tokens; answer invalid_grant.",
        ),
        Error::NoTokens(why) => (
            ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "no tokens may be sent for this authorization code".into(),
            describe_no_tokens(why).into(),
            match why {
                NoTokens::Live => "Call code_redeem first, and code_complete only after its answer ok.",
                _ => "Roll back, send no tokens, and answer invalid_grant.",
            },
        ),
        Error::InTransaction(function) => (
            ERRCODE_ACTIVE_SQL_TRANSACTION,
            format!("{function} cannot run in a transaction that could still be rolled back"),
            "The setting attesto_codes.take_in_transaction is \"refuse\".".into(),
            "Call it outside of a transaction block, as the only item in FROM of a SELECT, before the transaction begins.",
        ),
        Error::InTrigger(function) => (
            ERRCODE_ACTIVE_SQL_TRANSACTION,
            format!("{function} cannot run inside a trigger on a table of attesto_codes"),
            "The transaction that commits the spend might have to wait for the one that runs the trigger.".into(),
            "Call it outside of the trigger.",
        ),
        Error::Locked => (
            ERRCODE_LOCK_NOT_AVAILABLE,
            "authorization code is locked".into(),
            "An open transaction, perhaps this one, has held the code's row or table for one second; this call did not spend the code.".into(),
            "End the transaction that holds the lock, and present the code again.",
        ),
        Error::NoWorker => (
            ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
            "no background worker is free to commit the presentation".into(),
            "Nothing was written; a live code is still live.".into(),
            "Raise max_worker_processes, or call it outside of a transaction block, as the only item in FROM of a SELECT.",
        ),
        Error::NoAnswer => (
            ERRCODE_ADMIN_SHUTDOWN,
            "the background worker that commits the presentation ended without an answer".into(),
            "The code may be spent; its entry was not handed out.".into(),
            "Present the code again; an answer other than ok means that it is spent.",
        ),
        Error::NoSweeper => (
            ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
            "no background worker is free to sweep".into(),
            "Nothing was removed.".into(),
            "Raise max_worker_processes.",
        ),
        Error::SweepEnded => (
            ERRCODE_ADMIN_SHUTDOWN,
            "the background worker that sweeps ended without an answer".into(),
            "Some rows may have been removed.".into(),
            "Call code_sweep again.",
        ),
        Error::ExpiresIn => (
            ERRCODE_INVALID_PARAMETER_VALUE,
            "invalid expires_in".into(),
            "The argument \"expires_in\" must be 1 to 600 seconds.".into(),
            "Pass how long the code is to live; a minute is plenty.",
        ),
        Error::NoRandom => (
            ERRCODE_INTERNAL_ERROR,
            "the server has no random bytes".into(),
            "The operating system gave none.".into(),
            "Try again; if it goes on, look at the operating system's source of randomness.",
        ),
        Error::MaxRows => (
            ERRCODE_INVALID_PARAMETER_VALUE,
            "invalid max_rows".into(),
            "The argument \"max_rows\" must be at least 1.".into(),
            "Pass the number of rows that one call may remove, or leave the argument out.",
        ),
        Error::Identifier(argument) => (
            ERRCODE_INVALID_PARAMETER_VALUE,
            format!("invalid {argument}"),
            format!("The argument \"{argument}\" must be a string of 1 to 1024 bytes."),
            "Pass the identifier itself, not the token.",
        ),
        Error::TokenExists => (
            ERRCODE_UNIQUE_VIOLATION,
            "access token already recorded".into(),
            "The argument \"jti\" is stored already; the stored token was not changed.".into(),
            "Generate a fresh jti for every access token.",
        ),
        Error::NoRowsHere => (
            ERRCODE_FEATURE_NOT_SUPPORTED,
            "a function that returns a table cannot be called here".into(),
            "The caller expects a single value.".into(),
            "Call it as SELECT * FROM the function.",
        ),
        Error::NoTable(name) => (
            ERRCODE_UNDEFINED_TABLE,
            format!("{} is missing or was changed", name.to_string_lossy()),
            "The schema of this function does not contain it in the form that attesto_codes created.".into(),
            "Undo the change, or run ALTER EXTENSION attesto_codes UPDATE.",
        ),
        Error::Obstacle(table, obstacle) => {
            let (detail, hint) = describe_obstacle(obstacle);
            (
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("{} has a feature that attesto_codes cannot honour", table.to_string_lossy()),
                detail.into(),
                hint,
            )
        }
        Error::Undone(table) => (
            ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("a trigger keeps attesto_codes from writing to {}", table.to_string_lossy()),
            "A trigger on the table skipped the write or changed its values; nothing was written.".into(),
            "Drop the trigger, or change it so that it leaves the row as it is or raises an error of its own.",
        ),
        Error::Memory => (
            ERRCODE_OUT_OF_MEMORY,
            "out of memory".into(),
            "The members of this grant need more memory than the system provides.".into(),
            "Store less in the grant, or raise the limit on the memory of the server's processes.",
        ),
        Error::Damaged => (
            ERRCODE_DATA_CORRUPTED,
            "stored grant cannot be read".into(),
            "A column of the row holds a value that attesto_codes does not write.".into(),
            "Find out who else writes to the tables of attesto_codes.",
        ),
    }
}

fn describe_no_tokens(why: NoTokens) -> &'static str {
    match why {
        NoTokens::Live => "The code is live: nobody has presented it.",
        NoTokens::Closed => {
            "The code is closed: the presentation that spent it failed, or a crash has spent it."
        }
        NoTokens::Replayed => {
            "The code was presented again since it was spent, so two parties may hold it."
        }
        NoTokens::Revoked => "The code's family, or another of its names, is revoked.",
    }
}

fn describe_obstacle(obstacle: Obstacle) -> (&'static str, &'static str) {
    match obstacle {
        Obstacle::Column => (
            "A column was added to the table. A restored dump would not find that column.",
            "Use ALTER TABLE ... DROP COLUMN. Pass the value as a member of data, which the column extra keeps, or store it in a table of your own that references this one.",
        ),
        Obstacle::Rule => (
            "The table has a rule.",
            "Use DROP RULE. A trigger can do the work of the rule.",
        ),
        Obstacle::RowSecurity => (
            "Row-level security is forced on the owner of the table.",
            "Use ALTER TABLE ... NO FORCE ROW LEVEL SECURITY. Only the owner has rights on the table.",
        ),
        Obstacle::Partitioned => (
            "The table is partitioned.",
            "Replace it by an ordinary table, as CREATE EXTENSION makes it.",
        ),
        Obstacle::ForeignTable => (
            "The table is a foreign table.",
            "Replace it by an ordinary table, as CREATE EXTENSION makes it.",
        ),
        Obstacle::Inheritance => (
            "Another table inherits from this table, or this table inherits from another one.",
            "Use ALTER TABLE ... NO INHERIT or DETACH PARTITION.",
        ),
    }
}
