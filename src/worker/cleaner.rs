//! Sweeps without preload. A session that puts codes looks now and then whether one has been due for
//! long, and then starts a cleaner, a worker that sweeps this database once. It does not wait for it.

use super::segment::{self, Segment};
use super::{PATIENCE, resident, worker};
use crate::codes::sweep::{Place, Sweep, Swept, due};
use crate::pg::backend::{
    Pace, at_exit, connect, database, database_name, extension_schema, is_database_wanted, pause,
    pid, schema_of,
};
use crate::pg::shared_counters::is_preloaded;
use crate::pg::transaction::in_transaction;
use crate::settings::SWEEP_INTERVAL;
use crate::table::Table;
use pgrx::{IntoDatum, log, pg_sys};
use std::time::Duration;

/// How long the cleaner sweeps before it looks whether its database is wanted.
const VISIT: Duration = Duration::from_millis(200);

thread_local! {
    /// How often this session looks.
    static LOOKED: Pace = const { Pace::new() };
}

/// Starts a cleaner if a code has been due for longer than sweep_interval. Looks at most once in that
/// time. `function` is one that has put a code.
pub fn look_after(function: pg_sys::FunctionCallInfo) {
    let interval = Duration::from_secs(SWEEP_INTERVAL.get().unsigned_abs().into());
    if interval.is_zero() || is_preloaded() {
        return;
    }
    // A sweep that is a moment too young must not cost the session its look, and the table another interval.
    let was_swept = |segment: &Segment| segment.cleaning.was_begun_within(interval);
    if segment::mine().is_some_and(was_swept) || !LOOKED.with(|looked| looked.is_due(interval)) {
        return;
    }
    let is_late = Table::glance(schema_of(function), |codes| due::is_late(codes, interval));
    if let Ok(Some(true)) = is_late {
        // Where no worker is free, a later look finds one.
        let _ = worker("attesto_codes_cleaner", database().into_datum()).load_dynamic();
    }
}

/// Sweeps a database, unless another cleaner does so.
pub fn clean(database: pg_sys::Oid) {
    connect(Some(database), PATIENCE);
    let Some(segment) = segment::look_or_make(extension_schema) else {
        log!(
            "attesto_codes does not sweep: authorization_queue is locked, or has a trigger or constraint, or shared memory is full"
        );
        return;
    };
    at_exit(leave);
    if segment.cleaning.begin(pid()) {
        sweep(database);
        segment.cleaning.end(pid());
    }
    // The segment may be new. The sessions that count in it have to find it first.
    if resident::enter(segment) {
        resident::work(segment);
    }
}

fn leave() {
    if let Some(segment) = segment::mine() {
        segment.cleaning.end(pid());
    }
}

/// Sweeps until nothing is left, or the database is wanted.
fn sweep(database: pg_sys::Oid) {
    let mut swept = Swept::default();
    let mut from = Some(Place::START);
    while let Some(place) = from.filter(|_| !is_database_wanted()) {
        swept = swept.and_then(Sweep::visit(database, VISIT, place).run());
        from = swept.stopped;
        pause(Duration::ZERO);
    }
    let name = in_transaction(database_name);
    swept.log_removed(&name);
    swept.log_rest(&name);
}
