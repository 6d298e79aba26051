//! The queue of a database: a request for each backend, and the place of its resident worker. It lies
//! in shared memory without a lock. Whoever changes the state of a request owns its content until the
//! next change:
//!
//! | state | who may change it, and what comes next |
//! |---|---|
//! | idle, answered | its backend: waiting |
//! | waiting | the worker: fetched. Its backend: idle, when it withdraws |
//! | fetched | the worker: answered. Its backend: abandoned, when it gives up |
//! | abandoned | the worker: idle |
//!
//! A backend that dies leaves its request behind, and the next backend with the same number takes it
//! over.

use super::order::{Bytes, Head, Order};
use super::{Outcome, PATIENCE};
use crate::pg::backend::{Latch, now};
use crate::settings::META_BYTES;
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU32};
use std::time::Instant;

/// How many backends the queue has room for. Any others start a worker for each order.
pub const BACKENDS: usize = 1024;
/// How many metas may wait for the worker. For any others a worker is started.
const METAS: usize = 64;

/// How long a worker may take to start, in microseconds, before another caller starts one.
const START_MICROSECONDS: i64 = 5_000_000;

const IDLE: u32 = 0;
const WAITING: u32 = 1;
const FETCHED: u32 = 2;
const ANSWERED: u32 = 3;
const ABANDONED: u32 = 4;

/// Zeroed memory is an empty queue without a worker.
#[repr(C)]
pub struct Queue {
    worker: Worker,
    /// Apart from the requests, so that the worker reads few cache lines.
    states: [AtomicU32; BACKENDS],
    requests: [UnsafeCell<Request>; BACKENDS],
    metas: [Meta; METAS],
}

// SAFETY: the content of a request and of a meta belongs to one process at a time, as the states
// say.
unsafe impl Sync for Queue {}

/// The resident worker.
#[repr(C)]
struct Worker {
    /// 0: there is none.
    pid: AtomicI32,
    latch: UnsafeCell<Latch>,
    /// When a caller began to start a worker, or 0.
    starting: AtomicI64,
}

#[repr(C)]
struct Request {
    caller: Latch,
    head: Head,
    /// The place of its meta and one, or 0, while it waits.
    meta: usize,
    outcome: MaybeUninit<Outcome>,
}

#[repr(C)]
struct Meta {
    is_taken: AtomicBool,
    bytes: UnsafeCell<Bytes<META_BYTES>>,
}

/// The caller's next action.
#[allow(clippy::large_enum_variant)] // It holds what lies in shared memory.
pub enum Next {
    Answer(Outcome),
    Wait,
    Start,
}

/// An order that the worker has fetched.
pub struct Job {
    pub order: Order,
    pub deadline: Instant,
    pub backend: usize,
}

/// What a caller does.
impl Queue {
    /// Makes an order the request of a backend. Returns false if there is no place for it.
    pub fn submit(&self, backend: usize, order: &Order) -> bool {
        let Some(state) = self.states.get(backend) else {
            return false;
        };
        // What the last backend with this number left.
        self.withdraw(backend);
        if ![IDLE, ANSWERED].contains(&state.load(SeqCst)) {
            return false;
        }
        let Some(meta) = self.place(&order.meta) else {
            return false;
        };
        // SAFETY: the request is this backend's.
        unsafe {
            let request = self.requests[backend].get();
            (*request).caller = Latch::mine();
            (*request).head = order.head;
            (*request).meta = meta;
        }
        state.store(WAITING, SeqCst);
        true
    }

    /// Finds a place for a meta, and 0 for an empty one.
    fn place(&self, meta: &Bytes<META_BYTES>) -> Option<usize> {
        if meta.is_empty() {
            return Some(0);
        }
        let is_free = |place: &Meta| !place.is_taken.swap(true, SeqCst);
        let at = self.metas.iter().position(is_free)?;
        // SAFETY: whoever took the place owns it.
        unsafe { *self.metas[at].bytes.get() = *meta };
        Some(at + 1)
    }

    pub fn has_worker(&self) -> bool {
        self.worker.pid.load(SeqCst) != 0
    }

    /// The next action of a backend's caller. Wakes the worker if there is one.
    pub fn next(&self, backend: usize) -> Next {
        match self.states[backend].load(SeqCst) {
            ANSWERED => {
                // SAFETY: the request is this backend's, and was answered.
                let outcome = unsafe { (*self.requests[backend].get()).outcome.assume_init() };
                return Next::Answer(outcome);
            }
            WAITING | FETCHED => {}
            // Nobody will answer.
            _ => return Next::Answer(Outcome::Unknown),
        }
        if self.has_worker() {
            self.wake_worker();
            return Next::Wait;
        }
        let (now, starting) = (now(), self.worker.starting.load(SeqCst));
        let is_recent = starting != 0 && (now - starting).abs() < START_MICROSECONDS;
        let changed = |to| {
            self.worker
                .starting
                .compare_exchange(starting, to, SeqCst, SeqCst)
        };
        match !is_recent && changed(now).is_ok() {
            true => Next::Start,
            false => Next::Wait,
        }
    }

    fn wake_worker(&self) {
        // SAFETY: a latch of some process, or none. One that is out of date does no harm: a worker
        // looks for orders after it has entered its own.
        unsafe { self.worker.latch.get().read_volatile() }.wake();
    }

    /// Takes an order back unless the worker has it. Returns false if there is an answer to wait for.
    pub fn take_back(&self, backend: usize) -> bool {
        let state = &self.states[backend];
        let is_back = state
            .compare_exchange(WAITING, IDLE, SeqCst, SeqCst)
            .is_ok();
        if is_back {
            // SAFETY: the request is this backend's again.
            self.free(unsafe { (*self.requests[backend].get()).meta });
        }
        is_back
    }

    /// Gives an order up. If the worker has it, it may be carried out, and nobody gets the answer.
    pub fn withdraw(&self, backend: usize) {
        if !self.take_back(backend) {
            let state = &self.states[backend];
            let _ = state.compare_exchange(FETCHED, ABANDONED, SeqCst, SeqCst);
        }
    }

    fn free(&self, meta: usize) {
        if let Some(at) = meta.checked_sub(1) {
            self.metas[at].is_taken.store(false, SeqCst);
        }
    }

    /// Lets another caller start a worker: one that was to be started did not come.
    pub fn cancel_start(&self) {
        self.worker.starting.store(0, SeqCst);
        self.wake_callers();
    }

    fn wake_callers(&self) {
        for (state, request) in self.states.iter().zip(&self.requests) {
            if state.load(SeqCst) == WAITING {
                // SAFETY: a latch of some process, which may wake for nothing.
                unsafe { (&raw const (*request.get()).caller).read_volatile() }.wake();
            }
        }
    }
}

/// What the worker does.
impl Queue {
    /// Enters a worker. Returns false if there is one.
    pub fn enter(&self, pid: i32) -> bool {
        let entered = self.worker.pid.compare_exchange(0, pid, SeqCst, SeqCst);
        if entered.is_ok() {
            // SAFETY: only the worker that entered writes it.
            unsafe { self.worker.latch.get().write_volatile(Latch::mine()) };
            self.worker.starting.store(0, SeqCst);
        }
        entered.is_ok()
    }

    /// Fetches all orders that wait.
    pub fn fetch(&self) -> Vec<Job> {
        let deadline = Instant::now() + PATIENCE;
        let mut jobs = Vec::new();
        for (backend, state) in self.states.iter().enumerate() {
            if state.load(SeqCst) == WAITING
                && state
                    .compare_exchange(WAITING, FETCHED, SeqCst, SeqCst)
                    .is_ok()
            {
                let order = self.order(backend);
                jobs.push(Job {
                    order,
                    deadline,
                    backend,
                });
            }
        }
        jobs
    }

    /// The order of a fetched request. Frees the place of its meta.
    fn order(&self, backend: usize) -> Order {
        // SAFETY: the request is the worker's, and so is its meta.
        unsafe {
            let request = self.requests[backend].get();
            let place = (*request).meta;
            let meta = place.checked_sub(1).map(|at| *self.metas[at].bytes.get());
            self.free(place);
            Order {
                head: (*request).head,
                meta: meta.unwrap_or(Bytes::NONE),
            }
        }
    }

    /// Answers a fetched request, or gives it back if its caller has abandoned it.
    pub fn answer(&self, backend: usize, outcome: Outcome) {
        let (state, request) = (&self.states[backend], self.requests[backend].get());
        // SAFETY: the request is the worker's until its state changes. After that only the latch is
        // used, which was read before.
        let caller = unsafe {
            (*request).outcome.write(outcome);
            (*request).caller
        };
        match state.compare_exchange(FETCHED, ANSWERED, SeqCst, SeqCst) {
            Ok(_) => caller.wake(),
            Err(_) => state.store(IDLE, SeqCst),
        }
    }

    /// Removes a worker if nothing waits for it. Returns false if it has to go on.
    pub fn leave_if_idle(&self, pid: i32) -> bool {
        self.worker.pid.store(0, SeqCst);
        // An order that came before that is still this worker's. Those that come now start another
        // one, which may have entered already.
        let waits = |state: &AtomicU32| state.load(SeqCst) == WAITING;
        !(self.states.iter().any(waits) && self.enter(pid))
    }

    /// Removes a worker that ends. The callers whose orders it held learn that there is no answer. The
    /// others are woken and start a new worker. Returns false if it was not the worker.
    pub fn leave(&self, pid: i32) -> bool {
        if self.worker.pid.load(SeqCst) != pid {
            return false;
        }
        for (backend, state) in self.states.iter().enumerate() {
            if [FETCHED, ABANDONED].contains(&state.load(SeqCst)) {
                self.answer(backend, Outcome::Unknown);
            }
        }
        self.worker.pid.store(0, SeqCst);
        self.wake_callers();
        true
    }
}
