//! Background workers. They write the steps that no caller may undo, in transactions of their own,
//! and they make sweeps. What a step or a sweep writes is not decided here, but in codes/.
//!
//! The protocol, seen from the backend that called code_take or code_redeem (the caller):
//!
//! 1. The caller reads the row and checks what the client sent. If the presentation has no step to
//!    write, the caller answers at once. Only the spend, the first replay, the first reuse and a
//!    revocation need a worker. If an open transaction has written the row, the caller itself waits
//!    for that transaction and looks again.
//! 2. The caller sends an order (database, table, code_hash, the step with its meta, and the settings
//!    that decide what it writes) and waits on its latch. The wait can be cancelled.
//! 3. A worker connected to that database finds the row again, writes the step if it is still due,
//!    and commits. The commit is flushed to disk and to the synchronous standbys. Then the worker
//!    answers:
//!    - `Done`: this order, and no other, wrote the step. The caller returns its answer.
//!    - `Gone`: another presentation was first. The caller looks again and finds another state.
//!    - `Busy`: an open transaction held the row or the table for one second. Nothing was written.
//!      A caller that holds such a lock itself gets this answer and never hangs, because a worker
//!      never waits for a lock of ours.
//!    - `Failed`: a trigger or constraint that was added to the table raised an error, which the
//!      caller raises again. Nothing was written.
//!
//! If triggers or constraints were added to the table, an order has a transaction of its own. That
//! transaction has the rights of the table's owner until its end, and waits for the locks of others
//! for the rest of the second.
//!
//! The row's update decides which order wins. Only one of two transactions can replace a row
//! version, and only the order of that transaction is answered `Done`.
//!
//! Failures:
//! - No worker is free within three seconds: error 53400. The order is withdrawn and nothing is
//!   written.
//! - The caller is cancelled while it waits: it withdraws the order unless a worker has it already.
//! - The caller dies: the order may still be carried out. The code is then spent and nobody got the
//!   entry, as after a presentation that failed.
//! - The worker dies before its commit: PostgreSQL rolls back and the code is unchanged. Error
//!   57P01 asks the caller to try again.
//! - The worker dies after its commit: the caller gets the same error, but the step is written. The
//!   caller cannot tell the two cases apart, and returns no entry in either.
//! - The server crashes: every step answered `Done` was flushed before.
//!
//! There are two kinds of workers for orders. `resident` keeps one for each database while there is
//! work, and commits the waiting orders together. The orders are in a `queue`, in a `segment` of
//! shared memory. Where there is no queue yet, a caller has a worker publish one, which stays as the
//! resident one. `oneshot` starts a worker for one order, where no queue can be had or there is no
//! place in it.
//!
//! - The resident worker ends, whatever ends it: callers whose orders wait start another one for the
//!   same segment. Those whose orders it had learn that there is no answer, as above.
//! - Two are started at once: the first one enters the queue, and the other one ends.
//! - A caller that starts one dies or finds no place: another caller starts one.
//! - Another segment was published meanwhile, after DROP EXTENSION, TRUNCATE or by another version of
//!   the library: a caller that finds no worker looks again before it starts one. Until then the two
//!   have a worker each, which harms nothing: the row's update decides.
//! - The published segment is gone, or of another run of the server, database or version: the caller
//!   has a worker publish another one.
//! - The worker that published a segment gives its place away before its caller has found the segment:
//!   the segment is gone, and the caller has another one published, three times at most.
//! - A session that has loaded another version of the library starts a worker: the worker sees the
//!   version in the segment and ends. The caller gets 57P01 and has to reconnect.
//!
//! A sweep has a one-shot worker as well, so that it can commit in small batches and hold no row
//! for long. With shared_preload_libraries, `launcher` starts the sweepers. Without, a session that
//! puts codes starts a `cleaner` now and then.

mod cleaner;
mod entry;
mod launcher;
mod oneshot;
mod order;
mod orders;
mod queue;
mod resident;
mod segment;

pub use self::cleaner::look_after;
pub use self::oneshot::sweep;

use self::order::Order;
use crate::codes::counters::Counter;
use crate::codes::step::Step;
use crate::error::Error;
use crate::pg::backend::{WantsPlace, is_preloading, pause, pid};
use crate::pg::report::Report;
use crate::pg::shared_counters::is_preloaded;
use crate::table::Update;
use pgrx::bgworkers::{BackgroundWorkerBuilder, BackgroundWorkerStatus, DynamicBackgroundWorker};
use pgrx::{PgLogLevel, pg_sys};
use std::time::{Duration, Instant};

/// How long an order retries while the row or the table is locked.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a caller waits for a free place among max_worker_processes. A worker's place becomes
/// free a moment after it ends, so a busy server runs short only briefly.
const START_PATIENCE: Duration = Duration::from_secs(3);
/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(5);

/// The result of an order.
#[allow(clippy::large_enum_variant)] // In shared memory there is no Box.
#[derive(Clone, Copy)]
pub enum Outcome {
    Done,
    Gone,
    Busy,
    /// The order cannot share a transaction with others.
    Alone,
    Failed(Report),
    /// The worker ended without an answer.
    Unknown,
}

/// Runs before the server starts its first backend, or when a session loads the library.
pub fn init() {
    if is_preloading() {
        launcher::init();
    }
}

/// Finds the counters of the database, if there are any.
pub fn find_counters(schema: pg_sys::Oid) {
    if !is_preloaded() && segment::mine().is_none() {
        segment::look(schema);
    }
}

/// The same, but not again where it was in vain a short time ago.
pub fn find_counters_now_and_then(function: pg_sys::FunctionCallInfo) {
    if !is_preloaded() {
        segment::look_now_and_then(function);
    }
}

/// Writes a step in a transaction of its own. Returns the result, and the counter of the worker
/// that wrote it.
pub fn write(step: &Step, table: pg_sys::Oid, code_hash: &str) -> Result<(Update, Counter), Error> {
    let order = Order::new(step, table, code_hash)?;
    let (outcome, way) = match resident::send(order)? {
        Some(outcome) => (outcome, Counter::SpendsResident),
        None => (oneshot::carry_out(order)?, Counter::SpendsOneshot),
    };
    match outcome {
        Outcome::Done => Ok((Update::Done, way)),
        Outcome::Gone => Ok((Update::Gone, way)),
        Outcome::Busy => Ok((Update::Busy, way)),
        Outcome::Failed(report) => {
            report.report(PgLogLevel::ERROR);
            Err(Error::NoAnswer)
        }
        Outcome::Alone | Outcome::Unknown => Err(Error::NoAnswer),
    }
}

/// A worker that runs `function` once.
fn worker(function: &str, argument: Option<pg_sys::Datum>) -> BackgroundWorkerBuilder {
    BackgroundWorkerBuilder::new(function)
        .set_type(function)
        .set_library("attesto_codes")
        .set_function(function)
        .set_argument(argument)
        .set_restart_time(None)
        .enable_spi_access()
}

/// Starts a worker that runs `function` with this argument. Returns `failure` if none is free until
/// the deadline.
fn start(
    function: &str,
    argument: Option<pg_sys::Datum>,
    deadline: Instant,
    failure: Error,
) -> Result<DynamicBackgroundWorker, Error> {
    let mut wants_place = WantsPlace::default();
    loop {
        let worker = worker(function, argument).set_notify_pid(pid());
        match worker.load_dynamic() {
            Ok(worker) => return Ok(worker),
            Err(_) if Instant::now() < deadline => {
                wants_place.show();
                pause(PAUSE);
            }
            Err(_) => return Err(failure),
        }
    }
}

fn has_ended(worker: &DynamicBackgroundWorker) -> bool {
    !matches!(
        worker.pid(),
        Ok(_) | Err(BackgroundWorkerStatus::NotYetStarted)
    )
}
