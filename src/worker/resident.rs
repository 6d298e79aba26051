//! One worker for each database, kept while there is work. A worker that finds nothing to do for IDLE
//! leaves, so that an idle database can be dropped, and the next order starts another one.

use super::commit::commit;
use super::desk::{BACKENDS, Desk, Job, Next, Worker};
use super::process::connect;
use super::{Order, Outcome, PAUSE, pause, reload_settings, start};
use crate::error::Error;
use pgrx::{IntoDatum, PgLwLock, pg_guard, pg_shmem_init, pg_sys};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// How often a caller starts a worker before it gives up.
const STARTS: u32 = 3;

/// Well below the 5 s for which DROP DATABASE waits for others to leave.
const IDLE: Duration = Duration::from_secs(2);

// SAFETY: no other lock of this name.
static DESK: PgLwLock<Desk> = unsafe { PgLwLock::new(c"attesto_codes") };

thread_local! {
    static IN_SHARED_MEMORY: Cell<bool> = const { Cell::new(false) };
}

pub fn init() {
    pg_shmem_init!(DESK);
    IN_SHARED_MEMORY.set(true);
}

/// A caller's place at the desk: one that is cancelled while it waits takes its order back.
struct Place(usize);

impl Drop for Place {
    fn drop(&mut self) {
        DESK.exclusive().withdraw(self.0);
    }
}

/// Sends an order to the database's worker and waits for the answer. `None`: there is no shared
/// memory, or no place in it.
pub fn send(order: Order) -> Result<Option<Outcome>, Error> {
    let slot = backend_number();
    if !IN_SHARED_MEMORY.get() || slot >= BACKENDS {
        return Ok(None);
    }
    DESK.exclusive().submit(slot, order);
    let _place = Place(slot);
    let mut starts = 0;
    loop {
        // The guard must be gone before the next step takes the lock again.
        let next = DESK.exclusive().next(slot);
        match next {
            Next::Answer(outcome) => return Ok(Some(outcome)),
            Next::Wait => {
                pause(Duration::from_secs(1));
            }
            Next::Start if starts < STARTS => {
                starts += 1;
                if let Err(error) = start(
                    "attesto_codes_resident",
                    order.database.into_datum(),
                    Error::NoWorker,
                ) {
                    DESK.exclusive().cancel_start(order.database);
                    if DESK.exclusive().withdraw(slot) {
                        return Err(error);
                    }
                }
            }
            Next::Start | Next::NoPlace => {
                DESK.exclusive().cancel_start(order.database);
                if DESK.exclusive().withdraw(slot) {
                    let gave_up = matches!(next, Next::Start);
                    return Ok(gave_up.then_some(Outcome::Unknown));
                }
            }
        }
    }
}

/// The place of this backend among all that can run at once.
fn backend_number() -> usize {
    // SAFETY: reads variables of this backend.
    unsafe {
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        return pg_sys::MyProcNumber as usize;
        #[cfg(not(any(feature = "pg17", feature = "pg18")))]
        return (*pg_sys::MyProc).pgprocno as usize;
    }
}

#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn attesto_codes_resident(argument: pg_sys::Datum) {
    let database = pg_sys::Oid::from(argument.value() as u32);
    connect(Some(database));
    // SAFETY: reads variables of this process; the callback runs while shared memory is mapped.
    let me = unsafe {
        let me = Worker {
            database,
            pid: pg_sys::MyProcPid,
            latch: pg_sys::MyLatch,
            since: pg_sys::GetCurrentTimestamp(),
        };
        pg_sys::before_shmem_exit(Some(at_exit), pg_sys::Datum::from(0));
        me
    };
    if DESK.exclusive().enter(me) {
        work(&me);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn at_exit(_code: i32, _argument: pg_sys::Datum) {
    // SAFETY: reads a variable of this process. Nothing raises an ERROR while it holds the lock, so that
    // this cannot wait for itself.
    DESK.exclusive().leave(unsafe { pg_sys::MyProcPid });
}

/// Carries out orders until there were none for IDLE.
fn work(me: &Worker) {
    let mut jobs: Vec<Job> = Vec::new();
    loop {
        jobs.extend(DESK.exclusive().take(me));
        if jobs.is_empty() {
            if !pause(IDLE) && DESK.exclusive().leave_if_idle(me) {
                return;
            }
            reload_settings();
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

/// Answers what is decided, and returns the orders that are to be tried again.
fn answer(jobs: Vec<Job>, outcomes: &[Outcome]) -> Vec<Job> {
    let mut desk = DESK.exclusive();
    let mut again = Vec::new();
    for (job, outcome) in jobs.into_iter().zip(outcomes) {
        if matches!(outcome, Outcome::Busy) && Instant::now() < job.deadline {
            again.push(job);
        } else {
            desk.answer(job.slot, job.ticket, *outcome);
        }
    }
    again
}
