//! One worker for each database, kept while there is work. Orders lie in shared memory, in one slot
//! for each backend, under one lock; whoever changes a slot sets the latch of the other side.
//!
//! A worker that finds nothing to do for IDLE leaves, so that an idle database can be dropped, and
//! the next order starts another one. A backend that dies leaves its slot behind: the next backend
//! in its place overwrites it, and the ticket keeps an answer from reaching the wrong order.

use super::{Order, Outcome, PATIENCE, PAUSE, commit, connect, pause};
use crate::error::Error;
use pgrx::bgworkers::BackgroundWorkerBuilder;
use pgrx::{IntoDatum, PGRXSharedMemory, PgLwLock, pg_guard, pg_shmem_init, pg_sys};
use std::cell::Cell;
use std::ptr;
use std::time::{Duration, Instant};

/// Backends beyond this many, and databases beyond that many, start a worker for each order.
const BACKENDS: usize = 1024;
const DATABASES: usize = 64;

/// How long, and how often, a caller gives a worker to start.
const START_MICROSECONDS: i64 = 5_000_000;
const STARTS: u32 = 3;

/// Well below the 5 s for which DROP DATABASE waits for others to leave.
const IDLE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, PartialEq)]
enum State {
    Idle,
    Waiting,
    /// In the hands of the worker with this pid.
    Taken(i32),
    Answered(Outcome),
}

#[derive(Clone, Copy)]
struct Slot {
    state: State,
    ticket: u64,
    caller: *mut pg_sys::Latch,
    order: Order,
}

/// A worker, or with the pid 0 the place of one that somebody is starting.
#[derive(Clone, Copy)]
struct Worker {
    database: pg_sys::Oid,
    pid: i32,
    latch: *mut pg_sys::Latch,
    since: pg_sys::TimestampTz,
}

/// What a caller has to do next.
#[derive(Clone, Copy, PartialEq)]
enum Next {
    Answer(Outcome),
    Wait,
    Start,
    NoPlace,
}

/// What all backends share.
struct Desk {
    slots: [Slot; BACKENDS],
    /// The slots in the state Waiting, in the order in which they came.
    queue: [u16; BACKENDS],
    queued: usize,
    workers: [Option<Worker>; DATABASES],
}

// SAFETY: plain data without pointers into a process; latches lie in shared memory themselves.
unsafe impl PGRXSharedMemory for Desk {}

// SAFETY: no other lock of this name.
static DESK: PgLwLock<Desk> = unsafe { PgLwLock::new(c"attesto_codes") };

thread_local! {
    static IN_SHARED_MEMORY: Cell<bool> = const { Cell::new(false) };
}

/// An order that a worker took.
struct Job {
    slot: usize,
    ticket: u64,
    order: Order,
    deadline: Instant,
}

impl Default for Desk {
    fn default() -> Desk {
        let slot = Slot {
            state: State::Idle,
            ticket: 0,
            caller: ptr::null_mut(),
            order: Order::NONE,
        };
        Desk {
            slots: [slot; BACKENDS],
            queue: [0; BACKENDS],
            queued: 0,
            workers: [None; DATABASES],
        }
    }
}

impl Desk {
    /// Puts an order into a slot. What the slot held is forgotten.
    fn submit(&mut self, slot: usize, order: Order) {
        let entry = &mut self.slots[slot];
        let queued = entry.state == State::Waiting;
        entry.state = State::Waiting;
        entry.ticket += 1;
        entry.order = order;
        // SAFETY: reads a variable of this backend.
        entry.caller = unsafe { pg_sys::MyLatch };
        if !queued {
            self.queue[self.queued] = slot as u16;
            self.queued += 1;
        }
    }

    /// What the caller of a slot does next; wakes the worker where there is one.
    fn next(&mut self, slot: usize) -> Next {
        if let State::Answered(outcome) = self.slots[slot].state {
            return Next::Answer(outcome);
        }
        let database = self.slots[slot].order.database;
        // SAFETY: reads the clock.
        let now = unsafe { pg_sys::GetCurrentTimestamp() };
        let place = Worker {
            database,
            pid: 0,
            latch: ptr::null_mut(),
            since: now,
        };
        match self.worker(database) {
            Some(worker) if worker.pid != 0 => {
                // SAFETY: as in `answer`.
                unsafe { pg_sys::SetLatch(worker.latch) };
                Next::Wait
            }
            Some(worker) if now - worker.since < START_MICROSECONDS => Next::Wait,
            Some(worker) => {
                *worker = place;
                Next::Start
            }
            None => match self.enter(place) {
                true => Next::Start,
                false => Next::NoPlace,
            },
        }
    }

    /// Takes an order back that no worker took. False: too late.
    fn withdraw(&mut self, slot: usize) -> bool {
        let waiting = self.slots[slot].state == State::Waiting;
        if waiting {
            self.unqueue(|s, _| s == slot);
            self.slots[slot].state = State::Idle;
        }
        waiting
    }

    /// Removes from the queue, and returns, the slots that `wanted` names.
    fn unqueue(&mut self, wanted: impl Fn(usize, &Order) -> bool) -> Vec<usize> {
        let (mut taken, mut kept) = (Vec::new(), 0);
        for at in 0..self.queued {
            let slot = usize::from(self.queue[at]);
            if wanted(slot, &self.slots[slot].order) {
                taken.push(slot);
            } else {
                self.queue[kept] = slot as u16;
                kept += 1;
            }
        }
        self.queued = kept;
        taken
    }

    /// Hands all orders of a database to its worker.
    fn take(&mut self, worker: &Worker) -> Vec<Job> {
        let deadline = Instant::now() + PATIENCE;
        self.unqueue(|_, order| order.database == worker.database)
            .into_iter()
            .map(|slot| {
                self.slots[slot].state = State::Taken(worker.pid);
                Job {
                    slot,
                    ticket: self.slots[slot].ticket,
                    order: self.slots[slot].order,
                    deadline,
                }
            })
            .collect()
    }

    fn answer(&mut self, slot: usize, ticket: u64, outcome: Outcome) {
        let entry = &mut self.slots[slot];
        if entry.ticket == ticket && matches!(entry.state, State::Taken(_)) {
            entry.state = State::Answered(outcome);
            // SAFETY: a latch in shared memory, which outlives every backend.
            unsafe { pg_sys::SetLatch(entry.caller) };
        }
    }

    fn worker(&mut self, database: pg_sys::Oid) -> Option<&mut Worker> {
        self.workers
            .iter_mut()
            .flatten()
            .find(|worker| worker.database == database)
    }

    /// Enters a worker, in the place that was kept for it. False: the database has one, or there is
    /// no place.
    fn enter(&mut self, worker: Worker) -> bool {
        let kept =
            |place: &&mut Option<Worker>| place.is_some_and(|w| w.database == worker.database);
        let place = match self.workers.iter_mut().find(kept) {
            Some(Some(other)) if other.pid != 0 => return false,
            Some(place) => Some(place),
            None => self.workers.iter_mut().find(|place| place.is_none()),
        };
        match place {
            Some(place) => {
                *place = Some(worker);
                true
            }
            None => false,
        }
    }

    /// Gives up the place of a worker that did not start, and lets the others who wait see that.
    fn cancel_start(&mut self, database: pg_sys::Oid) {
        let starting = |worker: Worker| worker.database == database && worker.pid == 0;
        for place in &mut self.workers {
            if place.is_some_and(starting) {
                *place = None;
            }
        }
        self.wake_callers();
    }

    /// Strikes a worker out if nothing waits for it. False: it has to go on.
    fn leave_if_idle(&mut self, worker: &Worker) -> bool {
        let mut queue = self.queue[..self.queued].iter();
        let idle =
            !queue.any(|slot| self.slots[usize::from(*slot)].order.database == worker.database);
        if idle {
            self.leave(worker.pid);
        }
        idle
    }

    /// Strikes a worker out. The callers whose orders it held are told that they get no answer; the
    /// others are woken, to start a new one.
    fn leave(&mut self, pid: i32) {
        for place in &mut self.workers {
            if place.is_some_and(|worker| worker.pid == pid) {
                *place = None;
            }
        }
        for slot in &mut self.slots {
            if slot.state == State::Taken(pid) {
                slot.state = State::Answered(Outcome::Unknown);
                // SAFETY: as in `answer`.
                unsafe { pg_sys::SetLatch(slot.caller) };
            }
        }
        self.wake_callers();
    }

    fn wake_callers(&self) {
        for slot in &self.queue[..self.queued] {
            // SAFETY: as in `answer`.
            unsafe { pg_sys::SetLatch(self.slots[usize::from(*slot)].caller) };
        }
    }
}

pub fn init() {
    // SAFETY: reads a variable of the postmaster.
    if unsafe { pg_sys::process_shared_preload_libraries_in_progress } {
        pg_shmem_init!(DESK);
        IN_SHARED_MEMORY.set(true);
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
                if let Err(error) = start(order.database) {
                    DESK.exclusive().cancel_start(order.database);
                    if DESK.exclusive().withdraw(slot) {
                        return Err(error);
                    }
                }
            }
            Next::Start | Next::NoPlace => {
                DESK.exclusive().cancel_start(order.database);
                if DESK.exclusive().withdraw(slot) {
                    return Ok((next == Next::Start).then_some(Outcome::Unknown));
                }
            }
        }
    }
}

fn start(database: pg_sys::Oid) -> Result<(), Error> {
    BackgroundWorkerBuilder::new("attesto_codes resident")
        .set_type("attesto_codes resident")
        .set_library("attesto_codes")
        .set_function("attesto_codes_resident")
        .set_argument(database.into_datum())
        .set_restart_time(None)
        // SAFETY: reads a variable of this backend.
        .set_notify_pid(unsafe { pg_sys::MyProcPid })
        .enable_spi_access()
        .load_dynamic()
        .map(drop)
        .map_err(|_| Error::NoWorker)
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
    connect(database);
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
    // SAFETY: reads a variable of this process. An ERROR in the middle of a commit may have left
    // the lock held, and no one else would release it: this callback comes after that clean-up.
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
        let orders: Vec<Order> = jobs.iter().map(|job| job.order).collect();
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
        if *outcome == Outcome::Busy && Instant::now() < job.deadline {
            again.push(job);
        } else {
            desk.answer(job.slot, job.ticket, *outcome);
        }
    }
    again
}

fn reload_settings() {
    // SAFETY: what every process of PostgreSQL does after SIGHUP, outside of a transaction.
    unsafe {
        if pg_sys::ConfigReloadPending != 0 {
            pg_sys::ConfigReloadPending = 0;
            pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
        }
    }
}
