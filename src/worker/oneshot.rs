//! A worker for one piece of work, started by the caller. The work and its answer are in a segment
//! of dynamic shared memory, which lives as long as the caller or the worker has it attached.

use super::order::Head;
use super::orders::commit_patiently;
use super::segment::{self, VERSION};
use super::{Order, Outcome, PATIENCE, START_PATIENCE, find_counters, has_ended, resident, start};
use crate::codes::sweep::{Sweep, Swept};
use crate::error::Error;
use crate::pg::backend::{Latch, connect, pause, schema_of_table};
use crate::pg::transaction::in_transaction;
use pgrx::bgworkers::DynamicBackgroundWorker;
use pgrx::{IntoDatum, log, pg_sys};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The work for a worker (`W`), and its answer (`A`).
#[repr(C)]
struct Segment<W, A> {
    version: [u8; 16],
    work: W,
    caller: Latch,
    answer: A,
    /// Whether the answer is present.
    answered: AtomicBool,
}

/// Carries out an order in a worker of its own.
pub fn carry_out(order: Order) -> Result<Outcome, Error> {
    let answer = send(
        "attesto_codes_oneshot",
        order,
        Outcome::Unknown,
        Instant::now() + START_PATIENCE,
        Error::NoWorker,
        None,
    )?;
    Ok(answer.unwrap_or(Outcome::Unknown))
}

/// Has a worker make a queue for the database of an order, or find it. That worker stays as the resident one, if the
/// database has none. Returns false if no queue can be had, and an error if there is no place for the worker until the
/// deadline.
pub fn publish(head: &Head, deadline: Instant) -> Result<bool, Error> {
    let answer = send(
        "attesto_codes_publisher",
        *head,
        false,
        deadline,
        Error::NoWorker,
        None,
    )?;
    Ok(answer.unwrap_or(false))
}

/// Sweeps a database in a worker.
pub fn sweep(sweep: Sweep, patience: Option<Duration>) -> Result<Swept, Error> {
    let nothing = Swept::default();
    let answer = send(
        "attesto_codes_sweeper",
        sweep,
        nothing,
        Instant::now() + START_PATIENCE,
        Error::NoSweeper,
        patience,
    )?;
    answer.ok_or(Error::SweepEnded)
}

/// Starts a worker and waits for its answer. Returns `None` if the worker ended without one, or was
/// terminated when `patience` ran out.
fn send<W: Copy, A: Copy>(
    function: &str,
    work: W,
    answer: A,
    deadline: Instant,
    failure: Error,
    patience: Option<Duration>,
) -> Result<Option<A>, Error> {
    // SAFETY: the segment is large enough, aligned by PostgreSQL, and mapped until it is detached
    // below, or by the resource owner after an ERROR. The answer is read only after the worker has
    // set the flag, and not written after that.
    unsafe {
        let memory = pg_sys::dsm_create(size_of::<Segment<W, A>>(), 0);
        let segment = pg_sys::dsm_segment_address(memory).cast::<Segment<W, A>>();
        segment.write(Segment {
            version: VERSION,
            work,
            caller: Latch::mine(),
            answer,
            answered: AtomicBool::new(false),
        });
        let handle = pg_sys::dsm_segment_handle(memory) as i32;
        let answer = start(function, handle.into_datum(), deadline, failure)
            .map(|worker| wait(worker, &(*segment).answered, patience).then(|| (*segment).answer));
        pg_sys::dsm_detach(memory);
        answer
    }
}

/// Returns false if the worker ended without an answer.
fn wait(
    worker: DynamicBackgroundWorker,
    answered: &AtomicBool,
    patience: Option<Duration>,
) -> bool {
    let started = Instant::now();
    loop {
        // The status is read first: a worker that has ended by now set the flag earlier, if ever.
        let ended = has_ended(&worker);
        if answered.load(Ordering::Acquire) {
            return true;
        }
        if ended {
            return false;
        }
        if patience.is_some_and(|patience| started.elapsed() > patience) {
            worker.terminate();
            return false;
        }
        pause(Duration::from_secs(1));
    }
}

/// The worker of `carry_out`. The argument is the handle of its segment.
pub unsafe fn write(argument: pg_sys::Datum) {
    // SAFETY: as the caller says.
    unsafe {
        serve(argument, |order: &Order| {
            connect(Some(order.head.database), PATIENCE);
            commit_patiently(*order)
        });
    }
}

/// The worker of `publish`. The argument is the handle of its segment.
pub unsafe fn make_queue(argument: pg_sys::Datum) {
    let mut entered = None;
    // SAFETY: as the caller says.
    unsafe {
        serve(argument, |head: &Head| {
            connect(Some(head.database), PATIENCE);
            let segment = segment::look_or_make(|| schema_of_table(head.table));
            // Before the caller looks for the queue, so that it starts no other worker.
            entered = segment.filter(|segment| resident::enter(segment));
            segment.is_some()
        });
    }
    if let Some(segment) = entered {
        resident::work(segment);
    }
}

/// The worker of `sweep`. The argument is the handle of its segment.
pub unsafe fn remove(argument: pg_sys::Datum) {
    // SAFETY: as the caller says.
    unsafe {
        serve(argument, |sweep: &Sweep| {
            connect(Some(sweep.database), PATIENCE);
            if let Some(schema) = sweep.schema {
                in_transaction(|| find_counters(schema));
            }
            sweep.run()
        });
    }
}

/// Does the work in a segment.
unsafe fn serve<W, A>(argument: pg_sys::Datum, work: impl FnOnce(&W) -> A) {
    // SAFETY: if the segment is gone, so is the caller, and there is nothing to do. The mapping is
    // pinned because transactions come and go before it is read again.
    unsafe {
        pg_sys::CurrentResourceOwner =
            pg_sys::ResourceOwnerCreate(std::ptr::null_mut(), c"attesto_codes".as_ptr());
        let memory = pg_sys::dsm_attach(argument.value() as pg_sys::dsm_handle);
        if memory.is_null() {
            return;
        }
        pg_sys::dsm_pin_mapping(memory);
        let segment = pg_sys::dsm_segment_address(memory).cast::<Segment<W, A>>();
        if (*segment).version != VERSION {
            log!("attesto_codes was replaced: a session that loaded it before has to reconnect");
            return;
        }
        let caller = (*segment).caller;
        let answer = work(&(*segment).work);
        (*segment).answer = answer;
        (*segment).answered.store(true, Ordering::Release);
        caller.wake();
        pg_sys::dsm_detach(memory);
    }
}
