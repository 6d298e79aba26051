//! Every error that a caller can meet, and the one place that knows SQLSTATE, DETAIL and HINT.
//! None of them holds a code, a hash or a member's value.

use crate::grant::Invalid;
use pgrx::PgSqlErrorCode;
use pgrx::pg_sys::panic::ErrorReport;

#[derive(Debug)]
pub enum Error {
    /// An argument is NULL.
    Null(&'static str),
    /// The code_hash is empty or over 255 bytes.
    CodeHash,
    /// expires_at is outside of what a timestamptz can hold.
    ExpiresAt,
    /// data breaks a rule of the grant.
    Grant(Invalid),
    /// meta is not an object.
    Meta,
    /// The code_hash is stored already.
    Exists,
    /// The code to be marked was never taken.
    NotTaken,
    /// The transaction, or the whole server, is read-only.
    ReadOnly(&'static str),
    /// The table is not where the function is.
    NoTable,
    /// The row holds what this extension would never write.
    Damaged,
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
            "The argument \"expires_at\" must be a time that a timestamptz can hold.".into(),
            "Pass unix seconds, not milliseconds.",
        ),
        Error::Grant(Invalid { member: None, must_be }) => (
            ERRCODE_INVALID_PARAMETER_VALUE,
            "invalid grant".into(),
            format!("The argument \"data\" must be {must_be}."),
            "Pass the grant as one JSON object.",
        ),
        Error::Grant(Invalid { member: Some(member), must_be }) => (
            ERRCODE_INVALID_PARAMETER_VALUE,
            "invalid grant".into(),
            format!("The member \"{member}\" of data must be {must_be}."),
            "Correct this member of data; nothing was stored.",
        ),
        Error::Meta => (
            ERRCODE_INVALID_PARAMETER_VALUE,
            "invalid meta".into(),
            "The argument \"meta\" must be a JSON object.".into(),
            "Pass an object, or leave the argument out.",
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
        Error::NoTable => (
            ERRCODE_UNDEFINED_TABLE,
            "table authorizations is missing".into(),
            "The schema of this function holds no table \"authorizations\" as attesto_codes made it.".into(),
            "Run ALTER EXTENSION attesto_codes UPDATE, or create the extension anew.",
        ),
        Error::Damaged => (
            ERRCODE_DATA_CORRUPTED,
            "stored grant cannot be read".into(),
            "A column of the row holds a value that attesto_codes does not write.".into(),
            "Find out who else writes to the table authorizations.",
        ),
    }
}
