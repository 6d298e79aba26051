//! Sweeps and statistics.

use super::begin;
use crate::codes::counters::{self, Counter};
use crate::codes::statistics::{self, Statistics};
use crate::codes::sweep::{Place, Sweep};
use crate::error::Error;
use crate::pg::backend::{database, database_name, schema_of};
use crate::pg::result_row::ResultRow;
use crate::pg::session::replication_role;
use crate::settings::session_retention;
use crate::table::{Code, Table};
use crate::worker;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use std::time::Duration;

/// Removes at most `max_rows` rows that are due, in transactions of its own. Returns how many.
///
/// Errors: 22004, 22023, 25006, 53400 if no background worker is free, 57P01 if the worker ended
/// without an answer.
#[pg_extern]
fn code_sweep(
    max_rows: default!(Option<i32>, 10000),
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<i64, ErrorReport> {
    let max_rows = max_rows.ok_or(Error::Null("max_rows"))?;
    if max_rows < 1 {
        return Err(Error::MaxRows.into());
    }
    begin(fcinfo, "code_sweep()")?;
    let sweep = Sweep {
        database: database(),
        schema: Some(schema_of(fcinfo)),
        max_rows: max_rows.into(),
        max_time: Duration::from_secs(86_400),
        retention: session_retention(),
        replication_role: replication_role(),
        from: Place::START,
    };
    let swept = worker::sweep(sweep, None)?;
    swept.log_refusal(&database_name());
    match swept.failure {
        // The sweeper cannot see the tables of an open transaction, such as that of CREATE
        // EXTENSION.
        Some(_) if is_made_here(fcinfo)? => Ok(0),
        Some(failure) => {
            failure.report(PgLogLevel::ERROR);
            Ok(0)
        }
        None => Ok(swept.removed),
    }
}

/// Whether this transaction created the tables.
fn is_made_here(function: pg_sys::FunctionCallInfo) -> Result<bool, Error> {
    match Table::<Code>::oid_in(schema_of(function)) {
        Some(oid) => {
            Ok(Table::with_oid(oid, |codes: &Table<Code>| Ok(codes.is_new()))? == Some(true))
        }
        None => Ok(false),
    }
}

/// Counts the codes and families in the tables and, with shared_preload_libraries, the events since
/// the server started.
#[pg_extern(sql = false)]
fn code_stats_of_redeems(fcinfo: pg_sys::FunctionCallInfo) -> Result<ResultRow<34>, ErrorReport> {
    Ok(statistics(fcinfo)?)
}

/// The entry point of databases that are not updated to 0.6.0 yet. It has no columns for
/// code_redeem.
#[pg_extern(sql = false)]
fn code_stats(fcinfo: pg_sys::FunctionCallInfo) -> Result<ResultRow<21>, ErrorReport> {
    Ok(statistics(fcinfo)?)
}

/// The first N columns of code_stats, in the order of the script.
fn statistics<const N: usize>(fcinfo: pg_sys::FunctionCallInfo) -> Result<ResultRow<N>, Error> {
    use Counter::*;
    worker::find_counters(schema_of(fcinfo));
    let contents: Statistics = statistics::read(fcinfo)?;
    let contents = [
        contents.live.into_datum(),
        contents.spent.into_datum(),
        contents.redeemed.into_datum(),
        contents.due.into_datum(),
        contents.oldest_due_age.into_datum(),
        contents.families_revoked.into_datum(),
        contents.sampled.into_datum(),
    ];
    let events = [
        Puts,
        TakesOk,
        TakesConsumed,
        TakesError,
        MarksOk,
        MarksReplayed,
        MarksMissing,
        Reuses,
        Sweeps,
        RowsSwept,
        SpendsStatement,
        SpendsOneshot,
        SpendsResident,
        SpendsJoined,
        RedeemsOk,
        RedeemsConsumed,
        RedeemsUnknown,
        RedeemsExpired,
        RedeemsClientMismatch,
        RedeemsRedirectUriMismatch,
        RedeemsPkceFailed,
        RedeemsDpopProofRequired,
        RedeemsDpopBindingMismatch,
        RedeemsRevoked,
        RedeemsSpent,
        Completes,
        RevocationsByReuse,
    ];
    let events = events.map(|event| counters::get(event).into_datum());
    let mut columns = contents.into_iter().chain(events);
    Ok(ResultRow::one(std::array::from_fn(|_| {
        columns.next().flatten()
    })))
}
