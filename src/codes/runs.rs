//! Runs of the server. A run lasts from one crash to the next. A code may belong to the run in
//! which it was put: a crash then spends it, so its take need not wait for the disk. Whether or not
//! the spend survives the crash, the code is no longer live.
//!
//! Runs are the rows of an unlogged table. PostgreSQL empties it after a crash and when a standby
//! is promoted, and keeps its rows across a clean shutdown. No dump contains them.

use crate::error::Error;
use crate::pg::backend::{is_in_recovery, now, random_bytes};
use crate::settings::CODES_SURVIVE_CRASH;
use crate::table::{Access, Code, Row, Run, Storage, Table, Values};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use std::cell::RefCell;

thread_local! {
    /// Committed runs, which last at least as long as this process: the table and the run's name.
    static KNOWN: RefCell<Vec<(Storage, String)>> = const { RefCell::new(Vec::new()) };
}

/// The run that a code put now belongs to, or `None` if the code survives crashes.
///
/// This reads the table each time: a TRUNCATE ends the run, and test suites truncate all tables.
pub fn of_a_new_code(codes: &Table<Code>) -> Result<Option<String>, Error> {
    if CODES_SURVIVE_CRASH.get() {
        return Ok(None);
    }
    let schema = codes.schema();
    let current = Table::in_schema(schema, Access::Read, |runs: &Table<Run>| {
        match runs.first() {
            Some(run) => run
                .text(Run::Name)
                .ok_or(Error::Damaged)
                .map(|name| Some(name.to_owned())),
            None => Ok(None),
        }
    })?;
    match current {
        Some(name) => Ok(Some(name)),
        None => Table::in_schema(schema, Access::Write, begin).map(Some),
    }
}

/// Whether a crash has spent the code, because its run is over. A standby cannot tell.
pub fn is_over(codes: &Table<Code>, row: &Row<Code>) -> Result<bool, Error> {
    let Some(name) = row.text(Code::Run) else {
        return Ok(false);
    };
    if is_known(codes, name) || is_in_recovery() {
        return Ok(false);
    }
    Table::in_schema(codes.schema(), Access::Read, |runs: &Table<Run>| {
        let run = runs.find(name);
        if let Some(run) = &run {
            remember(runs, run, name);
        }
        Ok(run.is_none())
    })
}

/// Concurrent first transactions may each begin a run. Either run is as good, and neither
/// transaction waits.
fn begin(runs: &Table<Run>) -> Result<String, Error> {
    let name = random_bytes::<8>().ok_or(Error::NoRandom)?;
    let name = URL_SAFE_NO_PAD.encode(name);
    let run = Values::default()
        .set(Run::StartedAt, now())
        .set(Run::Name, name.as_str());
    runs.insert(run, || Error::Damaged)?;
    Ok(name)
}

fn remember(runs: &Table<Run>, run: &Row<Run>, name: &str) {
    // A run that this transaction began may be rolled back.
    if !run.is_of_this_transaction()
        && let Some(storage) = Table::<Run>::storage_in(runs.schema())
    {
        KNOWN.with_borrow_mut(|known| known.push((storage, name.to_owned())));
    }
}

fn is_known(codes: &Table<Code>, name: &str) -> bool {
    KNOWN.with_borrow(|known| {
        // Most sessions know no run and need not look at the catalogs.
        let storage = (!known.is_empty()).then(|| Table::<Run>::storage_in(codes.schema()));
        let mut runs = known.iter();
        runs.any(|(of, known)| Some(Some(*of)) == storage && known == name)
    })
}
