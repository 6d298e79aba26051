//! Writes that no caller can undo: a background worker commits them in a transaction of its own.
//!
//! The protocol, seen from the backend that called code_take (the caller):
//!
//! 1. The caller reads the row. Only where the presentation has something to write (a step: the code
//!    is live, or replayed or reused for the first time) does it go on: every later replay costs no
//!    worker, no write and no wait. Where an open transaction has written the row it waits for that
//!    one first, in its own name, and looks again.
//! 2. It sends an order (database, table, code_hash, step) and waits on its latch, open to cancellation.
//! 3. A worker, connected to that database, finds the row anew, writes the step if it is still the one
//!    that is due, and commits, flushed to disk and to the synchronous standbys. Then it answers:
//!    - `Done`: this order, and no other ever, wrote the step. The caller hands out its answer.
//!    - `Gone`: somebody else was first. The caller looks again, at what is now another state.
//!    - `Busy`: an open transaction held the row or the table for one second. Nothing happened.
//!      This is what a caller gets that holds such a lock itself: never a hang, since a worker never
//!      waits for a lock of ours.
//!    - `Failed`: an error of a trigger or a constraint that was added to the table, which the caller raises.
//!      Nothing happened. Where there may be such things an order has a transaction of its own, with the rights
//!      of the table's owner to its end, and waits for locks of others for the rest of the second.
//!
//! The winner is told apart by the row's own update: of two transactions only one can replace a row
//! version, and the answer goes to the one whose order did it.
//!
//! Where things fail:
//! - No worker can be had within three seconds: error 53400. The order is withdrawn, nothing is written.
//! - The caller is cancelled while it waits: it takes the order back, unless a worker has it already.
//!   It dies: the order may still be carried out. The code is spent then, and nobody got the entry: a
//!   presentation that failed.
//! - The worker dies before its commit: PostgreSQL rolls back, the code stays as it was, error 57P01
//!   asks the caller to try again. It dies after: the same error, the step is written. The caller
//!   cannot tell the two apart, and nothing is handed out in either.
//! - The server crashes: what was answered `Done` was flushed before.
//!
//! There are two ways to a worker. `oneshot` starts one for each order and needs no configuration;
//! `resident` keeps one for each database while there is work, which needs the queue in shared memory and so
//! shared_preload_libraries, and commits the orders that wait together in one transaction.
//!
//! A sweep has a one-shot worker, too, so that it commits in small batches and holds no row for long. With preload
//! `launcher` starts them.

mod entry;
mod launcher;
mod oneshot;
mod orders;
mod queue;
mod resident;

pub use self::oneshot::sweep;

use crate::codes::counters::Counter;
use crate::codes::step::Step;
use crate::error::Error;
use crate::pg::backend::{database, is_preloading, pause, pid};
use crate::pg::report::Report;
use crate::pg::session::replication_role;
use crate::table::Update;
use pgrx::bgworkers::{BackgroundWorkerBuilder, DynamicBackgroundWorker};
use pgrx::{PgLogLevel, pg_sys};
use std::ffi::c_int;
use std::time::{Duration, Instant};

/// How long an order may find the row or the table locked.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a caller waits for a place among max_worker_processes. A place is free again a moment
/// after its worker ended, so that a busy server is short of them for a moment only.
const START_PATIENCE: Duration = Duration::from_secs(3);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(5);

const CODE_HASH_BYTES: usize = 255;

/// One step in the life of a code, as it lies in shared memory.
#[repr(C)]
#[derive(Clone, Copy)]
struct Order {
    database: pg_sys::Oid,
    table: pg_sys::Oid,
    step: Step,
    /// The caller's session_replication_role, which says what triggers there are.
    replication_role: c_int,
    length: u8,
    code_hash: [u8; CODE_HASH_BYTES],
}

impl Order {
    const NONE: Order = Order {
        database: pg_sys::InvalidOid,
        table: pg_sys::InvalidOid,
        step: Step::Spend,
        replication_role: 0,
        length: 0,
        code_hash: [0; CODE_HASH_BYTES],
    };

    fn new(step: Step, table: pg_sys::Oid, hash: &str) -> Result<Order, Error> {
        let mut order = Order {
            database: database(),
            replication_role: replication_role(),
            table,
            step,
            length: u8::try_from(hash.len()).map_err(|_| Error::CodeHash)?,
            ..Order::NONE
        };
        order.code_hash[..hash.len()].copy_from_slice(hash.as_bytes());
        Ok(order)
    }

    fn code_hash(&self) -> &str {
        std::str::from_utf8(&self.code_hash[..usize::from(self.length)]).unwrap_or_default()
    }
}

/// How an order ended.
#[allow(clippy::large_enum_variant)] // In shared memory there is no Box.
#[derive(Clone, Copy)]
pub enum Outcome {
    Done,
    Gone,
    Busy,
    /// It cannot be carried out together with others.
    Alone,
    Failed(Report),
    /// The worker ended without an answer.
    Unknown,
}

/// Before the server starts its first backend, or when a session loads the library.
pub fn init() {
    if is_preloading() {
        resident::init();
        launcher::init();
    }
}

/// Writes a step in a transaction of its own, and tells which way it went.
pub fn write(step: Step, table: pg_sys::Oid, code_hash: &str) -> Result<(Update, Counter), Error> {
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

/// Starts a worker that runs `function` with this argument; `failure`: none is to be had.
fn start(
    function: &str,
    argument: Option<pg_sys::Datum>,
    failure: Error,
) -> Result<DynamicBackgroundWorker, Error> {
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        let worker = BackgroundWorkerBuilder::new(function)
            .set_type(function)
            .set_library("attesto_codes")
            .set_function(function)
            .set_argument(argument)
            .set_restart_time(None)
            .set_notify_pid(pid())
            .enable_spi_access()
            .load_dynamic();
        match worker {
            Ok(worker) => return Ok(worker),
            Err(_) if Instant::now() < deadline => {
                pause(PAUSE);
            }
            Err(_) => return Err(failure),
        }
    }
}
