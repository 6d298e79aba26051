//! A worker for one errand, started by the caller. The errand and its answer lie in a piece of dynamic
//! shared memory that lives as long as one of the two looks at it.

use super::commit::commit_patiently;
use super::process::connect;
use super::{Order, Outcome, pause, start};
use crate::error::Error;
use crate::sweep::{Sweep, Swept};
use pgrx::bgworkers::{BackgroundWorkerStatus, DynamicBackgroundWorker};
use pgrx::{IntoDatum, log, pg_guard, pg_sys};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// This version of the library. A session that loaded another one, before that was replaced, lays out what it sends
/// as that one knows it.
const VERSION: [u8; 16] = {
    let (name, mut version, mut at) = (env!("CARGO_PKG_VERSION").as_bytes(), [0; 16], 0);
    while at < name.len() {
        version[at] = name[at];
        at += 1;
    }
    version
};

/// What a worker is sent for (`W`), and what it comes back with (`A`).
#[repr(C)]
struct Errand<W, A> {
    version: [u8; 16],
    work: W,
    caller: *mut pg_sys::Latch,
    answer: A,
    /// Whether the answer is there.
    answered: AtomicBool,
}

/// Writes a step of a code's life.
pub fn carry_out(order: Order) -> Result<Outcome, Error> {
    let answer = send(
        "attesto_codes_oneshot",
        order,
        Outcome::Unknown,
        Error::NoWorker,
        None,
    )?;
    Ok(answer.unwrap_or(Outcome::Unknown))
}

/// Removes what is due in a database.
pub fn sweep(sweep: Sweep, patience: Option<Duration>) -> Result<Swept, Error> {
    let nothing = Swept::default();
    let answer = send(
        "attesto_codes_sweeper",
        sweep,
        nothing,
        Error::NoSweeper,
        patience,
    )?;
    answer.ok_or(Error::SweepEnded)
}

/// Starts a worker and waits for its answer. `None`: it ended without one, or was ended when the
/// patience was.
fn send<W: Copy, A: Copy>(
    function: &str,
    work: W,
    answer: A,
    failure: Error,
    patience: Option<Duration>,
) -> Result<Option<A>, Error> {
    // SAFETY: the segment is as large as the errand, aligned by PostgreSQL, and mapped until it is
    // detached below, or by the resource owner after an ERROR. The answer is read after the worker
    // has said that it is there, and not written after that.
    unsafe {
        let segment = pg_sys::dsm_create(size_of::<Errand<W, A>>(), 0);
        let errand = pg_sys::dsm_segment_address(segment).cast::<Errand<W, A>>();
        errand.write(Errand {
            version: VERSION,
            work,
            caller: pg_sys::MyLatch,
            answer,
            answered: AtomicBool::new(false),
        });
        let handle = pg_sys::dsm_segment_handle(segment) as i32;
        let answer = start(function, handle.into_datum(), failure)
            .map(|worker| wait(worker, &(*errand).answered, patience).then(|| (*errand).answer));
        pg_sys::dsm_detach(segment);
        answer
    }
}

/// False: the worker ended without an answer.
fn wait(
    worker: DynamicBackgroundWorker,
    answered: &AtomicBool,
    patience: Option<Duration>,
) -> bool {
    let started = Instant::now();
    loop {
        // The status first: a worker that has ended by now had answered before.
        let ended = !matches!(
            worker.pid(),
            Ok(_) | Err(BackgroundWorkerStatus::NotYetStarted)
        );
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

#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn attesto_codes_oneshot(argument: pg_sys::Datum) {
    // SAFETY: the argument is the handle of a segment that `carry_out` made.
    unsafe {
        serve(argument, |order: &Order| {
            connect(Some(order.database));
            commit_patiently(*order)
        });
    }
}

#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn attesto_codes_sweeper(argument: pg_sys::Datum) {
    // SAFETY: the argument is the handle of a segment that `sweep` made.
    unsafe {
        serve(argument, |sweep: &Sweep| {
            connect(Some(sweep.database));
            sweep.run()
        });
    }
}

/// Does the work of an errand. The argument is the handle of a segment that holds one.
unsafe fn serve<W, A>(argument: pg_sys::Datum, work: impl FnOnce(&W) -> A) {
    // SAFETY: a segment that is not there means that the caller is gone: there is nothing to do. The
    // mapping is pinned because the transactions of the work come and go before it is read again.
    unsafe {
        pg_sys::CurrentResourceOwner =
            pg_sys::ResourceOwnerCreate(std::ptr::null_mut(), c"attesto_codes".as_ptr());
        let segment = pg_sys::dsm_attach(argument.value() as pg_sys::dsm_handle);
        if segment.is_null() {
            return;
        }
        pg_sys::dsm_pin_mapping(segment);
        let errand = pg_sys::dsm_segment_address(segment).cast::<Errand<W, A>>();
        if (*errand).version != VERSION {
            log!("attesto_codes was replaced: a session that loaded it before has to reconnect");
            return;
        }
        let answer = work(&(*errand).work);
        (*errand).answer = answer;
        (*errand).answered.store(true, Ordering::Release);
        pg_sys::SetLatch((*errand).caller);
    }
}
