//! Counts events in this database since the server started. A ROLLBACK does not undo a count.

use crate::pg::shared_counters::{COUNTERS, counter};
use std::sync::atomic::Ordering;

#[derive(Clone, Copy)]
pub enum Counter {
    Puts,
    TakesOk,
    TakesConsumed,
    TakesError,
    MarksOk,
    MarksReplayed,
    MarksMissing,
    /// Redeemed codes that were presented again. Each code counts once.
    Reuses,
    Sweeps,
    RowsSwept,
    SpendsStatement,
    SpendsOneshot,
    SpendsResident,
    SpendsJoined,
}

const _: () = assert!((Counter::SpendsJoined as usize) < COUNTERS);

pub fn add(which: Counter, number: u64) {
    if let Some(counter) = counter(which as usize) {
        counter.fetch_add(number, Ordering::Relaxed);
    }
}

/// `None` if this database is not counted.
pub fn get(which: Counter) -> Option<i64> {
    counter(which as usize).map(|counter| counter.load(Ordering::Relaxed) as i64)
}
