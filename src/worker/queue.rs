//! The queue that callers and resident workers share: one request for each backend, the order of
//! those that wait, and the workers of the databases. It lies in shared memory, under one lock;
//! whoever changes a request wakes the other side.
//!
//! A backend that dies leaves its request behind: the next backend in its place overwrites it, and the
//! ticket keeps an answer from reaching the wrong order.

use super::{Order, Outcome, PATIENCE};
use crate::pg::backend::{Latch, now};
use pgrx::{PGRXSharedMemory, PgLwLock, pg_guard, pg_shmem_init, pg_sys};
use std::time::Instant;

/// Backends beyond this many, and databases beyond that many, start a worker for each order.
pub const BACKENDS: usize = 1024;
const DATABASES: usize = 64;

/// How long a worker may take to start before somebody else starts one.
const START_MICROSECONDS: i64 = 5_000_000;

#[allow(clippy::large_enum_variant)] // In shared memory there is no Box.
#[derive(Clone, Copy)]
enum State {
    Idle,
    Waiting,
    /// In the hands of the worker with this pid.
    Fetched(i32),
    Answered(Outcome),
}

#[derive(Clone, Copy)]
struct Request {
    state: State,
    ticket: u64,
    caller: Latch,
    order: Order,
}

/// A worker, or with the pid 0 the place of one that somebody is starting.
#[derive(Clone, Copy)]
pub struct Worker {
    pub database: pg_sys::Oid,
    pub pid: i32,
    pub latch: Latch,
    pub since: pg_sys::TimestampTz,
}

/// What a caller has to do next.
#[allow(clippy::large_enum_variant)] // It holds what lies in shared memory.
#[derive(Clone, Copy)]
pub enum Next {
    Answer(Outcome),
    Wait,
    Start,
    NoPlace,
}

/// What all backends share.
pub struct Queue {
    requests: [Request; BACKENDS],
    /// The backends whose requests are in the state Waiting, in the order in which they came.
    waiting: [u16; BACKENDS],
    /// How many.
    length: usize,
    workers: [Option<Worker>; DATABASES],
}

// SAFETY: plain data without pointers into a process; latches lie in shared memory themselves.
unsafe impl PGRXSharedMemory for Queue {}

// SAFETY: no other lock of this name.
pub static QUEUE: PgLwLock<Queue> = unsafe { PgLwLock::new(c"attesto_codes") };

/// While the server starts.
pub fn init() {
    pg_shmem_init!(QUEUE);
}

/// An order that a worker took.
pub struct Job {
    pub backend: usize,
    pub ticket: u64,
    pub order: Order,
    pub deadline: Instant,
}

impl Default for Queue {
    fn default() -> Queue {
        let request = Request {
            state: State::Idle,
            ticket: 0,
            caller: Latch::NONE,
            order: Order::NONE,
        };
        Queue {
            requests: [request; BACKENDS],
            waiting: [0; BACKENDS],
            length: 0,
            workers: [None; DATABASES],
        }
    }
}

impl Queue {
    /// Makes an order the request of a backend. What the request held is forgotten.
    pub fn submit(&mut self, backend: usize, order: Order) {
        let request = &mut self.requests[backend];
        let waits_already = matches!(request.state, State::Waiting);
        request.state = State::Waiting;
        request.ticket += 1;
        request.order = order;
        request.caller = Latch::mine();
        if !waits_already {
            self.waiting[self.length] = backend as u16;
            self.length += 1;
        }
    }

    /// What the caller of a backend does next; wakes the worker where there is one.
    pub fn next(&mut self, backend: usize) -> Next {
        if let State::Answered(outcome) = self.requests[backend].state {
            return Next::Answer(outcome);
        }
        let database = self.requests[backend].order.database;
        let now = now();
        let place = Worker {
            database,
            pid: 0,
            latch: Latch::NONE,
            since: now,
        };
        match self.worker(database) {
            Some(worker) if worker.pid != 0 => {
                worker.latch.wake();
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

    /// Takes an order back that no worker has. False: too late.
    pub fn withdraw(&mut self, backend: usize) -> bool {
        let waits = matches!(self.requests[backend].state, State::Waiting);
        if waits {
            self.unqueue(|b, _| b == backend);
            self.requests[backend].state = State::Idle;
        }
        waits
    }

    /// Removes from those that wait, and returns, the backends that `wanted` names.
    fn unqueue(&mut self, wanted: impl Fn(usize, &Order) -> bool) -> Vec<usize> {
        let (mut removed, mut kept) = (Vec::new(), 0);
        for at in 0..self.length {
            let backend = usize::from(self.waiting[at]);
            if wanted(backend, &self.requests[backend].order) {
                removed.push(backend);
            } else {
                self.waiting[kept] = backend as u16;
                kept += 1;
            }
        }
        self.length = kept;
        removed
    }

    /// Hands all orders of a database to its worker.
    pub fn fetch(&mut self, worker: &Worker) -> Vec<Job> {
        let deadline = Instant::now() + PATIENCE;
        self.unqueue(|_, order| order.database == worker.database)
            .into_iter()
            .map(|backend| {
                let request = &mut self.requests[backend];
                request.state = State::Fetched(worker.pid);
                Job {
                    backend,
                    ticket: request.ticket,
                    order: request.order,
                    deadline,
                }
            })
            .collect()
    }

    pub fn answer(&mut self, job: &Job, outcome: Outcome) {
        let request = &mut self.requests[job.backend];
        if request.ticket == job.ticket && matches!(request.state, State::Fetched(_)) {
            request.state = State::Answered(outcome);
            request.caller.wake();
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
    pub fn enter(&mut self, worker: Worker) -> bool {
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
    pub fn cancel_start(&mut self, database: pg_sys::Oid) {
        let starting = |worker: Worker| worker.database == database && worker.pid == 0;
        for place in &mut self.workers {
            if place.is_some_and(starting) {
                *place = None;
            }
        }
        self.wake_callers();
    }

    /// Strikes a worker out if nothing waits for it. False: it has to go on.
    pub fn leave_if_idle(&mut self, worker: &Worker) -> bool {
        let is_idle = self
            .waiting()
            .all(|request| request.order.database != worker.database);
        if is_idle {
            self.leave(worker.pid);
        }
        is_idle
    }

    /// Strikes a worker out. The callers whose orders it held are told that they get no answer; the
    /// others are woken, to start a new one.
    pub fn leave(&mut self, pid: i32) {
        for place in &mut self.workers {
            if place.is_some_and(|worker| worker.pid == pid) {
                *place = None;
            }
        }
        for request in &mut self.requests {
            if matches!(request.state, State::Fetched(by) if by == pid) {
                request.state = State::Answered(Outcome::Unknown);
                request.caller.wake();
            }
        }
        self.wake_callers();
    }

    fn wake_callers(&self) {
        self.waiting().for_each(|request| request.caller.wake());
    }

    fn waiting(&self) -> impl Iterator<Item = &Request> {
        let waiting = self.waiting[..self.length].iter();
        waiting.map(|backend| &self.requests[usize::from(*backend)])
    }
}
