//! One worker for each database, kept while there is work. A worker without work ends after IDLE, and
//! at once if its database is to be dropped, renamed or copied, or if another worker has no place.
//! The next order starts another one.

use super::order::Head;
use super::orders::commit;
use super::queue::{BACKENDS, Job, Next, Queue};
use super::segment::{self, Segment};
use super::{Order, Outcome, PATIENCE, PAUSE, START_PATIENCE, has_ended, oneshot, start};
use crate::error::Error;
use crate::pg::backend::{self, Pace, connect, is_database_wanted, is_place_wanted, pause, pid};
use crate::pg::session::{reload, set_for_good};
use pgrx::bgworkers::DynamicBackgroundWorker;
use pgrx::{IntoDatum, check_for_interrupts};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// How often a caller starts a worker before it gives up.
const STARTS_AT_MOST: u32 = 3;

/// How long a worker stays without work.
const IDLE: Duration = Duration::from_secs(10);
/// How often a worker without work looks whether its database, or its place, is wanted. DROP DATABASE looks every
/// 100 ms whether all have left.
const LOOK: Duration = Duration::from_millis(50);

thread_local! {
    /// Whether the end of this process withdraws its order.
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
    /// Whether this process is about to start a worker, for which others wait.
    static STARTS: Cell<bool> = const { Cell::new(false) };
    /// How often it asks for a queue.
    static ASKED: Pace = const { Pace::new() };
}

/// How often a session asks for a queue. Where none can be had, each order has a worker of its own.
const ASK: Duration = Duration::from_secs(1);
/// How often a caller without a place looks for a queue.
const GLANCE: Duration = Duration::from_millis(100);

/// A waiting caller. If it is cancelled, it withdraws its order.
struct Waiting<'q>(&'q Queue, usize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        give_up(self.0, self.1);
    }
}

fn give_up(queue: &Queue, backend: usize) {
    queue.withdraw(backend);
    if STARTS.replace(false) {
        queue.cancel_start();
    }
}

/// A caller that is terminated leaves nothing behind.
fn leave_nothing() {
    if let Some(segment) = segment::mine() {
        let backend = backend::number();
        if backend < BACKENDS {
            give_up(&segment.queue, backend);
        }
    }
}

/// Finds the queue of the database, or has it made.
fn find(head: &Head) -> Result<Option<&'static Queue>, Error> {
    let usual = segment::mine().filter(|segment| segment.queue.has_worker());
    // Without a worker the segment may be out of date: another one was published since.
    let found = match usual.or_else(|| segment::look_beside(head.table)) {
        None if ASKED.with(|asked| asked.is_due(ASK)) => have_made(head)?,
        found => found,
    };
    Ok(found.map(|segment| &segment.queue))
}

/// Has a worker publish a segment. Where there is no place for it, the worker of another caller may have the place, and
/// publish one. Where the worker has given its place away before this caller found the segment, the segment is gone with
/// it, and the caller asks again.
fn have_made(head: &Head) -> Result<Option<&'static Segment>, Error> {
    let (mut deadline, mut asked) = (Instant::now() + START_PATIENCE, 0);
    loop {
        let now = Instant::now();
        let made = oneshot::publish(head, deadline.min(now + GLANCE));
        if let Some(segment) = segment::look_beside(head.table) {
            return Ok(Some(segment));
        }
        match made {
            Ok(true) if asked < STARTS_AT_MOST => {
                asked += 1;
                deadline = Instant::now() + START_PATIENCE;
            }
            Err(_) if now < deadline => {}
            made => return made.map(|_| None),
        }
    }
}

/// Sends an order to the database's worker and waits for the answer. Returns `None` if the database
/// has no queue, or no place in it.
pub fn send(order: Order) -> Result<Option<Outcome>, Error> {
    let Some(queue) = find(&order.head)? else {
        return Ok(None);
    };
    let backend = backend::number();
    if !REGISTERED.replace(true) {
        backend::at_exit(leave_nothing);
    }
    if !queue.submit(backend, &order) {
        return Ok(None);
    }
    let _waiting = Waiting(queue, backend);
    // The time for which others tried to start a worker counts.
    let mut deadline = Instant::now() + START_PATIENCE;
    let (mut starts, mut started) = (0, None);
    loop {
        check_for_interrupts!();
        let next = queue.next(backend);
        let now = Instant::now();
        if queue.has_worker() {
            deadline = now + START_PATIENCE;
        }
        match next {
            Next::Answer(outcome) => return Ok(Some(outcome)),
            Next::Wait if now >= deadline && queue.take_back(backend) => {
                return Err(Error::NoWorker);
            }
            Next::Wait => {
                let left = deadline.saturating_duration_since(now);
                pause(left.clamp(PAUSE, Duration::from_secs(1)));
                // A worker of another version does not even look at the queue.
                if started.take_if(|worker| has_ended(worker)).is_some() && !queue.has_worker() {
                    queue.cancel_start();
                }
            }
            Next::Start if starts < STARTS_AT_MOST => {
                starts += 1;
                STARTS.set(true);
                let start = start_worker(deadline);
                STARTS.set(false);
                match start {
                    Ok(worker) => started = Some(worker),
                    Err(error) => {
                        queue.cancel_start();
                        if queue.take_back(backend) {
                            return Err(error);
                        }
                    }
                }
            }
            Next::Start => {
                queue.cancel_start();
                if queue.take_back(backend) {
                    return Ok(Some(Outcome::Unknown));
                }
            }
        }
    }
}

fn start_worker(deadline: Instant) -> Result<DynamicBackgroundWorker, Error> {
    let handle = segment::my_handle().map(|handle| handle as i32);
    start(
        "attesto_codes_resident",
        handle.into_datum(),
        deadline,
        Error::NoWorker,
    )
}

/// The worker of the segment with this handle.
pub fn serve(handle: u32) {
    if let Some(segment) = segment::attach(handle) {
        // Also where it cannot connect, because the database is being renamed or was dropped.
        backend::at_exit(leave);
        connect(Some(segment.database()), PATIENCE);
        if segment.queue.enter(pid()) {
            work(segment);
        }
    }
}

/// Makes this process the resident worker, unless the database has one. Then it has to `work`.
pub fn enter(segment: &Segment) -> bool {
    let entered = segment.queue.enter(pid());
    if entered {
        backend::at_exit(leave);
    }
    entered
}

/// A worker that comes no further lets another one be started.
fn leave() {
    if let Some(segment) = segment::mine()
        && !segment.queue.leave(pid())
    {
        segment.queue.cancel_start();
    }
}

/// Carries out orders until none came for IDLE.
pub fn work(segment: &Segment) {
    let queue = &segment.queue;
    // The process may have been started as another kind of worker.
    set_for_good(c"application_name", c"attesto_codes resident");
    let mut jobs: Vec<Job> = Vec::new();
    let mut last = Instant::now();
    // Whoever had the queue made has yet to find it.
    let mut is_new = true;
    loop {
        jobs.extend(queue.fetch());
        if jobs.is_empty() {
            let is_over = last.elapsed() >= IDLE || is_database_wanted() || is_place_wanted();
            if !is_new && is_over && queue.leave_if_idle(pid()) {
                return;
            }
            is_new &= pause(LOOK);
            reload();
            continue;
        }
        is_new = false;
        let orders: Vec<_> = jobs.iter().map(|job| (job.order, job.deadline)).collect();
        let outcomes = commit(&orders);
        jobs = answer(queue, jobs, &outcomes);
        last = Instant::now();
        if !jobs.is_empty() {
            pause(PAUSE);
        }
    }
}

/// Answers the decided orders, and returns those to try again.
fn answer(queue: &Queue, jobs: Vec<Job>, outcomes: &[Outcome]) -> Vec<Job> {
    let mut again = Vec::new();
    for (job, outcome) in jobs.into_iter().zip(outcomes) {
        if matches!(outcome, Outcome::Busy) && Instant::now() < job.deadline {
            again.push(job);
        } else {
            queue.answer(job.backend, *outcome);
        }
    }
    again
}
