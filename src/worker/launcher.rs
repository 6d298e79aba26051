//! The launcher: it sends a sweeper into each database in turn, every attesto_codes.sweep_interval.
//! It reads the list of databases for each round, and so finds every new one. A sweeper that finds
//! no extension ends.

use super::{PATIENCE, oneshot};
use crate::codes::sweep::{Place, Sweep, Swept};
use crate::error::Error;
use crate::pg::backend::{self, Scratch, connect, is_in_binary_upgrade, pause};
use crate::pg::session::reload;
use crate::pg::shared_counters;
use crate::pg::transaction::in_transaction;
use crate::settings::SWEEP_INTERVAL;
use pgrx::bgworkers::{BackgroundWorkerBuilder, BgWorkerStartTime};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgLogLevel, log};
use std::time::{Duration, Instant};

/// How long one visit to a database may last. DROP DATABASE waits 5 s for other processes to leave.
const VISIT: Duration = Duration::from_secs(1);
/// The pause between two visits to a database with more to do. DROP DATABASE looks every 100 ms.
const LEAVE: Duration = Duration::from_millis(250);
/// How long a visit may take, including the sweeper's start. The sweeper has to wait while its
/// database is being renamed.
const LONGEST_VISIT: Duration = Duration::from_secs(10);
/// Without sweeps, the launcher only waits for a signal.
const FOREVER: Duration = Duration::from_secs(86_400);

/// A database in a round of sweeps.
struct Visited {
    database: backend::Database,
    /// What the visits of this round have done.
    swept: Swept,
}

/// Registers the launcher, which runs on a primary as long as the server does.
pub fn init() {
    if is_in_binary_upgrade() {
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

/// Sends sweepers as long as the process lives.
pub fn launch() {
    connect(None, PATIENCE);
    let mut round = Scratch::new();
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
            round.freed_afterwards(|| sweep_all(databases));
        } else {
            pause(left);
        }
        reload();
    }
}

/// The databases that may be swept. Forgets the counters of databases that were dropped.
fn open_databases() -> Vec<Visited> {
    let counted = shared_counters::databases();
    let databases = in_transaction(backend::databases);
    // A database that was counted before the list was made, and is not in it, was dropped.
    shared_counters::forget(|oid| counted.contains(&oid) && databases.iter().all(|d| d.oid != oid));
    let open = databases.into_iter().filter(|database| database.is_open);
    let unswept = |database| Visited {
        database,
        swept: Swept::default(),
    };
    open.map(unswept).collect()
}

/// Visits the databases in turn, and again those with more to do, until all are finished.
fn sweep_all(mut databases: Vec<Visited>) {
    while !databases.is_empty() && SWEEP_INTERVAL.get() != 0 {
        databases.retain_mut(visit);
        if !databases.is_empty() {
            pause(LEAVE);
            reload();
        }
    }
}

/// Sweeps a database for the duration of a visit. Returns whether there is more to do.
fn visit(
    Visited {
        database,
        swept: before,
    }: &mut Visited,
) -> bool {
    let from = before.stopped.unwrap_or(Place::START);
    let sweep = Sweep::visit(database.oid, VISIT, from);
    let swept = match oneshot::sweep(sweep, Some(LONGEST_VISIT)) {
        Ok(swept) => swept,
        // The sweeper has logged the reason itself, for example that its database is gone.
        Err(Error::SweepEnded) => return false,
        Err(error) => {
            let name = &database.name;
            log!("attesto_codes could not sweep database \"{name}\"");
            ErrorReport::from(error).report(PgLogLevel::LOG);
            return false;
        }
    };
    swept.log_removed(&database.name);
    *before = before.and_then(swept);
    let goes_on = swept.stopped.is_some();
    if !goes_on {
        before.log_rest(&database.name);
    }
    goes_on
}
