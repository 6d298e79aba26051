//! The desk that callers and resident workers share: orders in one slot for each backend, the queue of
//! those that wait, and the workers of the databases. It lies in shared memory, under one lock;
//! whoever changes a slot sets the latch of the other side.
//!
//! A backend that dies leaves its slot behind: the next backend in its place overwrites it, and the
//! ticket keeps an answer from reaching the wrong order.

use super::{Order, Outcome, PATIENCE};
use pgrx::{PGRXSharedMemory, pg_sys};
use std::ptr;
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
pub struct Worker {
    pub database: pg_sys::Oid,
    pub pid: i32,
    pub latch: *mut pg_sys::Latch,
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
pub struct Desk {
    slots: [Slot; BACKENDS],
    /// The slots in the state Waiting, in the order in which they came.
    queue: [u16; BACKENDS],
    queued: usize,
    workers: [Option<Worker>; DATABASES],
}

// SAFETY: plain data without pointers into a process; latches lie in shared memory themselves.
unsafe impl PGRXSharedMemory for Desk {}

/// An order that a worker took.
pub struct Job {
    pub slot: usize,
    pub ticket: u64,
    pub order: Order,
    pub deadline: Instant,
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
    pub fn submit(&mut self, slot: usize, order: Order) {
        let entry = &mut self.slots[slot];
        let queued = matches!(entry.state, State::Waiting);
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
    pub fn next(&mut self, slot: usize) -> Next {
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
    pub fn withdraw(&mut self, slot: usize) -> bool {
        let waiting = matches!(self.slots[slot].state, State::Waiting);
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
    pub fn take(&mut self, worker: &Worker) -> Vec<Job> {
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

    pub fn answer(&mut self, slot: usize, ticket: u64, outcome: Outcome) {
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
    pub fn leave(&mut self, pid: i32) {
        for place in &mut self.workers {
            if place.is_some_and(|worker| worker.pid == pid) {
                *place = None;
            }
        }
        for slot in &mut self.slots {
            if matches!(slot.state, State::Taken(by) if by == pid) {
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
