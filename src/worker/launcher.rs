//! The process that sends a sweeper into each database in turn, every attesto_codes.sweep_interval.
//! It knows of databases by the list of them alone, and so of every new one; a sweeper that finds no
//! extension leaves.

use super::process::{connect, replication_role};
use super::{errand, in_transaction, pause, reload_settings};
use crate::counters;
use crate::error::Error;
use crate::settings::SWEEP_INTERVAL;
use crate::sweep::{Place, Sweep, Swept};
use pgrx::bgworkers::{BackgroundWorkerBuilder, BgWorkerStartTime};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgLogLevel, PgMemoryContexts, log, pg_guard, pg_sys};
use std::ffi::CStr;
use std::time::{Duration, Instant};

/// How long one visit to a database may last: DROP DATABASE waits for 5 s for others to leave.
const VISIT: Duration = Duration::from_secs(1);
/// Between two visits to a database with more to do: DROP DATABASE looks every 100 ms.
const LEAVE: Duration = Duration::from_millis(250);
/// How long a visit may take with all that comes before it. A sweeper waits where somebody is about
/// to rename its database.
const PATIENCE: Duration = Duration::from_secs(10);
/// Without sweeps there is nothing to wait for but a signal.
const FOREVER: Duration = Duration::from_secs(86_400);

struct Database {
    oid: pg_sys::Oid,
    name: String,
    /// What its sweep has done in the visits of this round.
    swept: Swept,
    /// One can connect to it, and it is no template: those must be free of connections to be copied.
    is_open: bool,
}

/// Registers the launcher, which runs on a primary for as long as the server does.
pub fn init() {
    // SAFETY: reads a variable of the postmaster.
    if unsafe { pg_sys::IsBinaryUpgrade } {
        return;
    }
    BackgroundWorkerBuilder::new("attesto_codes launcher")
        .set_type("attesto_codes launcher")
        .set_library("attesto_codes")
        .set_function("attesto_codes_launcher")
        .set_start_time(BgWorkerStartTime::RecoveryFinished)
        .set_restart_time(Some(Duration::from_secs(10)))
        .enable_spi_access()
        .load();
}

#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn attesto_codes_launcher(_argument: pg_sys::Datum) {
    connect(None);
    let mut round = PgMemoryContexts::new("attesto_codes round");
    let mut last = Instant::now();
    loop {
        let left = match SWEEP_INTERVAL.get() {
            0 => FOREVER,
            seconds => {
                Duration::from_secs(seconds.unsigned_abs().into()).saturating_sub(last.elapsed())
            }
        };
        if left.is_zero() {
            last = Instant::now();
            let databases = open_databases();
            // SAFETY: nothing of what PostgreSQL allocates for a round, the handles of workers, is
            // used after it.
            unsafe {
                round.switch_to(|_| sweep_all(databases));
                round.reset();
            }
        } else {
            pause(left);
        }
        reload_settings();
    }
}

/// The databases that may be swept. Of the others those that were dropped are counted no more.
fn open_databases() -> Vec<Database> {
    let counted = counters::databases();
    let mut databases = in_transaction(databases);
    // What was counted before the list was made, and is not in it, was dropped.
    counters::forget(|oid| counted.contains(&oid) && databases.iter().all(|d| d.oid != oid));
    databases.retain(|database| database.is_open);
    databases
}

/// Visits the databases in turn, those with more to do again, until all are through.
fn sweep_all(mut databases: Vec<Database>) {
    while !databases.is_empty() && SWEEP_INTERVAL.get() != 0 {
        databases.retain_mut(visit);
        if !databases.is_empty() {
            pause(LEAVE);
            reload_settings();
        }
    }
}

/// Sweeps a database for the time of a visit. True: there is more to do.
fn visit(database: &mut Database) -> bool {
    let sweep = Sweep {
        database: database.oid,
        schema: None,
        max_rows: i64::MAX,
        max_time: VISIT,
        retention: None,
        replication_role: replication_role(),
        from: database.swept.stopped.unwrap_or(Place::START),
    };
    let swept = match errand::sweep(sweep, Some(PATIENCE)) {
        Ok(swept) => swept,
        // The sweeper has said why, as one does that finds its database gone.
        Err(Error::SweepEnded) => return false,
        Err(error) => {
            say(database);
            ErrorReport::from(error).report(PgLogLevel::LOG);
            return false;
        }
    };
    if swept.removed > 0 {
        let (rows, name) = (swept.removed, &database.name);
        log!("attesto_codes swept {rows} rows from database \"{name}\"");
    }
    database.swept = database.swept.and_then(swept);
    let goes_on = swept.stopped.is_some();
    if !goes_on {
        tell(database);
    }
    goes_on
}

/// Says in the log what a sweep of a database left.
fn tell(database: &Database) {
    database.swept.log_refusal(&database.name);
    if let Some(failure) = database.swept.failure {
        say(database);
        failure.report(PgLogLevel::LOG);
    }
}

/// Says in the log what kept a database from being swept.
fn say(database: &Database) {
    log!(
        "attesto_codes could not sweep database \"{}\"",
        database.name
    );
}

/// All databases of the cluster.
fn databases() -> Vec<Database> {
    let mut databases = Vec::new();
    // SAFETY: reads a shared catalog from its first row to its last; each row is read before the
    // next one is fetched.
    unsafe {
        let rel = pg_sys::table_open(pg_sys::DatabaseRelationId, pg_sys::AccessShareLock as _);
        let scan = pg_sys::table_beginscan_catalog(rel, 0, std::ptr::null_mut());
        loop {
            let tuple = pg_sys::heap_getnext(scan, pg_sys::ScanDirection::ForwardScanDirection);
            if tuple.is_null() {
                break;
            }
            let row = &*pg_sys::heap_tuple_get_struct::<pg_sys::FormData_pg_database>(tuple);
            databases.push(Database {
                oid: row.oid,
                // In whatever encoding the session had that gave it.
                name: CStr::from_ptr(row.datname.data.as_ptr())
                    .to_string_lossy()
                    .into_owned(),
                // Below -1: a DROP DATABASE was interrupted.
                swept: Swept::default(),
                is_open: row.datallowconn && !row.datistemplate && row.datconnlimit >= -1,
            });
        }
        pg_sys::heap_endscan(scan);
        pg_sys::table_close(rel, pg_sys::AccessShareLock as _);
    }
    databases
}
