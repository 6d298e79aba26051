//! One worker for each database, kept while there is work. A worker without work ends after IDLE,
//! so that an idle database can be dropped. The next order starts another one.

use super::orders::commit;
use super::queue::{self, BACKENDS, Job, Next, QUEUE, Worker};
use super::{Order, Outcome, PATIENCE, PAUSE, start};
use crate::error::Error;
use crate::pg::backend::{self, Latch, connect, now, pause, pid};
use crate::pg::session::reload;
use pgrx::{IntoDatum, pg_sys};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// How often a caller starts a worker before it gives up.
const STARTS: u32 = 3;

/// Well below the 5 s that DROP DATABASE waits for other processes to leave.
const IDLE: Duration = Duration::from_secs(2);

thread_local! {
    static IN_SHARED_MEMORY: Cell<bool> = const { Cell::new(false) };
}

pub fn init() {
    queue::init();
    IN_SHARED_MEMORY.set(true);
}

/// A waiting caller. If it is cancelled, it withdraws its order.
struct Waiting(usize);

impl Drop for Waiting {
    fn drop(&mut self) {
        QUEUE.exclusive().withdraw(self.0);
    }
}

/// Sends an order to the database's worker and waits for the answer. Returns `None` if there is no
/// shared memory, or no place in it.
pub fn send(order: Order) -> Result<Option<Outcome>, Error> {
    let backend = backend::number();
    let has_place = IN_SHARED_MEMORY.get() && backend < BACKENDS;
    if !has_place || !QUEUE.exclusive().submit(backend, &order) {
        return Ok(None);
    }
    let _waiting = Waiting(backend);
    let mut starts = 0;
    loop {
        // The guard must be dropped before the next step takes the lock again.
        let next = QUEUE.exclusive().next(backend);
        match next {
            Next::Answer(outcome) => return Ok(Some(outcome)),
            Next::Wait => {
                pause(Duration::from_secs(1));
            }
            Next::Start if starts < STARTS => {
                starts += 1;
                if let Err(error) = start(
                    "attesto_codes_resident",
                    order.head.database.into_datum(),
                    Error::NoWorker,
                ) {
                    QUEUE.exclusive().cancel_start(order.head.database);
                    if QUEUE.exclusive().withdraw(backend) {
                        return Err(error);
                    }
                }
            }
            Next::Start | Next::NoPlace => {
                QUEUE.exclusive().cancel_start(order.head.database);
                if QUEUE.exclusive().withdraw(backend) {
                    let gave_up = matches!(next, Next::Start);
                    return Ok(gave_up.then_some(Outcome::Unknown));
                }
            }
        }
    }
}

/// Enters this process as the worker of a database, unless there is one, and works.
pub fn serve(database: pg_sys::Oid) {
    connect(Some(database), PATIENCE);
    let me = Worker {
        database,
        pid: pid(),
        latch: Latch::mine(),
        since: now(),
    };
    // Nothing raises an ERROR while it holds the lock, so this cannot wait for itself.
    backend::at_exit(|| QUEUE.exclusive().leave(pid()));
    if QUEUE.exclusive().enter(me) {
        work(&me);
    }
}

/// Carries out orders until none came for IDLE.
fn work(me: &Worker) {
    let mut jobs: Vec<Job> = Vec::new();
    loop {
        jobs.extend(QUEUE.exclusive().fetch(me));
        if jobs.is_empty() {
            if !pause(IDLE) && QUEUE.exclusive().leave_if_idle(me) {
                return;
            }
            reload();
            continue;
        }
        let orders: Vec<_> = jobs.iter().map(|job| (job.order, job.deadline)).collect();
        let outcomes = commit(&orders);
        jobs = answer(jobs, &outcomes);
        if !jobs.is_empty() {
            pause(PAUSE);
        }
    }
}

/// Answers the decided orders, and returns those to try again.
fn answer(jobs: Vec<Job>, outcomes: &[Outcome]) -> Vec<Job> {
    let mut queue = QUEUE.exclusive();
    let mut again = Vec::new();
    for (job, outcome) in jobs.into_iter().zip(outcomes) {
        if matches!(outcome, Outcome::Busy) && Instant::now() < job.deadline {
            again.push(job);
        } else {
            queue.answer(&job, *outcome);
        }
    }
    again
}
