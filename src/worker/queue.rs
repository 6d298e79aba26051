//! The queue that callers and resident workers share: one request per backend, the sequence of the
//! waiting requests, and one worker per database. It is in shared memory, under a single lock. Each
//! change to a request wakes the other side.
//!
//! A backend that dies leaves its request behind, and the next backend with the same number
//! overwrites it. The ticket keeps an answer from reaching the wrong order.

use super::order::{Bytes, Head, Order};
use super::{Outcome, PATIENCE};
use crate::pg::backend::{Latch, now};
use crate::settings::META_BYTES;
use pgrx::{PGRXSharedMemory, PgLwLock, pg_guard, pg_shmem_init, pg_sys};
use std::time::Instant;

/// How many backends and databases the queue has room for. Any others start a worker for each
/// order.
pub const BACKENDS: usize = 1024;
const DATABASES: usize = 64;
/// How many metas may wait for a worker. For any others a worker is started.
const METAS: usize = 64;

/// How long a worker may take to start, in microseconds, before another caller starts one.
const START_MICROSECONDS: i64 = 5_000_000;

#[allow(clippy::large_enum_variant)] // In shared memory there is no Box.
#[derive(Clone, Copy)]
enum State {
    Idle,
    Waiting,
    /// The worker with this pid has it.
    Fetched(i32),
    Answered(Outcome),
}

#[derive(Clone, Copy)]
struct Request {
    state: State,
    ticket: u64,
    caller: Latch,
    head: Head,
    /// The place of its meta, which it has while it waits.
    meta: Option<usize>,
}

/// A worker. The pid 0 reserves the place of a worker that is being started.
#[derive(Clone, Copy)]
pub struct Worker {
    pub database: pg_sys::Oid,
    pub pid: i32,
    pub latch: Latch,
    pub since: pg_sys::TimestampTz,
}

/// The caller's next action.
#[allow(clippy::large_enum_variant)] // It holds what lies in shared memory.
#[derive(Clone, Copy)]
pub enum Next {
    Answer(Outcome),
    Wait,
    Start,
    NoPlace,
}

/// The state that all backends share.
pub struct Queue {
    requests: [Request; BACKENDS],
    /// The backends with a request in the state Waiting, in the sequence of arrival.
    waiting: [u16; BACKENDS],
    /// The number of waiting backends.
    length: usize,
    workers: [Option<Worker>; DATABASES],
    metas: [Option<Bytes<META_BYTES>>; METAS],
}

// SAFETY: plain data without pointers into a process. Latches are in shared memory themselves.
unsafe impl PGRXSharedMemory for Queue {}

// SAFETY: no other lock has this name.
pub static QUEUE: PgLwLock<Queue> = unsafe { PgLwLock::new(c"attesto_codes") };

/// Runs while the server starts.
pub fn init() {
    pg_shmem_init!(QUEUE);
}

/// An order that a worker has fetched.
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
            head: Head::NONE,
            meta: None,
        };
        Queue {
            requests: [request; BACKENDS],
            waiting: [0; BACKENDS],
            length: 0,
            workers: [None; DATABASES],
            metas: [None; METAS],
        }
    }
}

impl Queue {
    /// Makes an order the request of a backend, and forgets the previous request. Returns false if
    /// there is no place for its meta.
    pub fn submit(&mut self, backend: usize, order: &Order) -> bool {
        self.withdraw(backend);
        let meta = match order.meta.is_empty() {
            true => None,
            false => match self.metas.iter().position(Option::is_none) {
                Some(place) => Some(place),
                None => return false,
            },
        };
        if let Some(place) = meta {
            self.metas[place] = Some(order.meta);
        }
        let request = &mut self.requests[backend];
        request.state = State::Waiting;
        request.ticket += 1;
        request.head = order.head;
        request.meta = meta;
        request.caller = Latch::mine();
        self.waiting[self.length] = backend as u16;
        self.length += 1;
        true
    }

    /// The next action of a backend's caller. Wakes the worker if there is one.
    pub fn next(&mut self, backend: usize) -> Next {
        if let State::Answered(outcome) = self.requests[backend].state {
            return Next::Answer(outcome);
        }
        let database = self.requests[backend].head.database;
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

    /// Withdraws an order unless a worker has it. Returns false if it is too late.
    pub fn withdraw(&mut self, backend: usize) -> bool {
        let waits = matches!(self.requests[backend].state, State::Waiting);
        if waits {
            self.unqueue(|b, _| b == backend);
            self.requests[backend].state = State::Idle;
            self.take_meta(backend);
        }
        waits
    }

    /// Removes the backends that `wanted` selects from the waiting ones, and returns them.
    fn unqueue(&mut self, wanted: impl Fn(usize, &Head) -> bool) -> Vec<usize> {
        let (mut removed, mut kept) = (Vec::new(), 0);
        for at in 0..self.length {
            let backend = usize::from(self.waiting[at]);
            if wanted(backend, &self.requests[backend].head) {
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
        self.unqueue(|_, head| head.database == worker.database)
            .into_iter()
            .map(|backend| {
                let meta = self.take_meta(backend);
                let request = &mut self.requests[backend];
                request.state = State::Fetched(worker.pid);
                Job {
                    backend,
                    ticket: request.ticket,
                    order: Order {
                        head: request.head,
                        meta,
                    },
                    deadline,
                }
            })
            .collect()
    }

    /// The meta of a request, whose place becomes free.
    fn take_meta(&mut self, backend: usize) -> Bytes<META_BYTES> {
        let place = self.requests[backend].meta.take();
        let meta = place.and_then(|place| self.metas[place].take());
        meta.unwrap_or(Bytes::NONE)
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

    /// Enters a worker in its reserved place. Returns false if the database has a worker already,
    /// or there is no place.
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

    /// Gives up the place of a worker that did not start, and wakes the other callers.
    pub fn cancel_start(&mut self, database: pg_sys::Oid) {
        let starting = |worker: Worker| worker.database == database && worker.pid == 0;
        for place in &mut self.workers {
            if place.is_some_and(starting) {
                *place = None;
            }
        }
        self.wake_callers();
    }

    /// Removes a worker if nothing waits for it. Returns false if it has to go on.
    pub fn leave_if_idle(&mut self, worker: &Worker) -> bool {
        let is_idle = self
            .waiting()
            .all(|request| request.head.database != worker.database);
        if is_idle {
            self.leave(worker.pid);
        }
        is_idle
    }

    /// Removes a worker. The callers whose orders it held learn that there is no answer. The others
    /// are woken and start a new worker.
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
