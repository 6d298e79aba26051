//! A worker for one order, started by the caller. The order and its answer lie in a piece of dynamic
//! shared memory that lives as long as one of the two looks at it.

use super::{Order, Outcome, commit_patiently, connect, pause, start};
use crate::error::Error;
use pgrx::bgworkers::{BackgroundWorkerStatus, DynamicBackgroundWorker};
use pgrx::{IntoDatum, pg_guard, pg_sys};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

#[repr(C)]
struct Errand {
    order: Order,
    caller: *mut pg_sys::Latch,
    /// 0 until it is answered.
    outcome: AtomicU32,
}

/// Starts a worker for the order and waits for its answer.
pub fn send(order: Order) -> Result<Outcome, Error> {
    // SAFETY: the segment is as large as an Errand, aligned by PostgreSQL, and mapped until it is
    // detached below, or by the resource owner after an ERROR. Only the outcome is shared while the
    // worker runs, and it is atomic.
    unsafe {
        let segment = pg_sys::dsm_create(size_of::<Errand>(), 0);
        let errand = pg_sys::dsm_segment_address(segment).cast::<Errand>();
        errand.write(Errand {
            order,
            caller: pg_sys::MyLatch,
            outcome: AtomicU32::new(0),
        });
        let handle = pg_sys::dsm_segment_handle(segment) as i32;
        let outcome = start("attesto_codes_oneshot", handle.into_datum())
            .map(|worker| wait(&worker, &(*errand).outcome));
        pg_sys::dsm_detach(segment);
        outcome
    }
}

fn wait(worker: &DynamicBackgroundWorker, outcome: &AtomicU32) -> Outcome {
    loop {
        // The status first: a worker that has ended by now had answered before.
        let ended = !matches!(
            worker.pid(),
            Ok(_) | Err(BackgroundWorkerStatus::NotYetStarted)
        );
        if let Some(outcome) = Outcome::from_number(outcome.load(Ordering::Acquire)) {
            return outcome;
        }
        if ended {
            return Outcome::Unknown;
        }
        pause(Duration::from_secs(1));
    }
}

#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn attesto_codes_oneshot(argument: pg_sys::Datum) {
    // SAFETY: the argument is the handle of a segment that holds an Errand. A NULL answer means that
    // the caller is gone: there is nothing to do. The mapping is pinned because the transactions of
    // `commit` come and go before it is read again.
    unsafe {
        pg_sys::CurrentResourceOwner =
            pg_sys::ResourceOwnerCreate(std::ptr::null_mut(), c"attesto_codes".as_ptr());
        let segment = pg_sys::dsm_attach(argument.value() as pg_sys::dsm_handle);
        if segment.is_null() {
            return;
        }
        pg_sys::dsm_pin_mapping(segment);
        let errand = &*pg_sys::dsm_segment_address(segment).cast::<Errand>();
        connect(errand.order.database);
        let outcome = commit_patiently(errand.order);
        errand.outcome.store(outcome as u32, Ordering::Release);
        pg_sys::SetLatch(errand.caller);
    }
}
