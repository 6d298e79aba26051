//! Counters shared by all processes, with a set for each database. With shared_preload_libraries they
//! are in shared memory of their own, and count from the server's start.

use super::backend::{database, is_preloading};
use pgrx::{PGRXSharedMemory, PgLwLock, pg_guard, pg_shmem_init, pg_sys};
use std::cell::{Cell, OnceCell};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Further databases are not counted.
const DATABASES: usize = 64;
/// The number of counters of a database.
pub const COUNTERS: usize = 32;

pub type Counts = [AtomicU64; COUNTERS];

struct Entry {
    database: pg_sys::Oid,
    counts: Counts,
}

struct Entries([Entry; DATABASES]);

// SAFETY: plain data without pointers.
unsafe impl PGRXSharedMemory for Entries {}

impl Default for Entries {
    fn default() -> Entries {
        Entries(std::array::from_fn(|_| Entry {
            database: pg_sys::InvalidOid,
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
        }))
    }
}

// SAFETY: no other lock has this name.
static ENTRIES: PgLwLock<Entries> = unsafe { PgLwLock::new(c"attesto_codes_counters") };
static IN_SHARED_MEMORY: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The counters of this process's database.
    static MINE: OnceCell<Option<&'static Counts>> = const { OnceCell::new() };
    /// Those that were lent to it.
    static LENT: Cell<Option<&'static Counts>> = const { Cell::new(None) };
}

/// Counts in other shared memory from now on, or not at all. Without effect where the library is
/// preloaded.
pub fn lend(counts: Option<&'static Counts>) {
    LENT.set(counts);
}

pub fn init() {
    if is_preloading() {
        pg_shmem_init!(ENTRIES);
        IN_SHARED_MEMORY.store(true, Ordering::Relaxed);
    }
}

/// Whether the library is in shared_preload_libraries.
pub fn is_preloaded() -> bool {
    IN_SHARED_MEMORY.load(Ordering::Relaxed)
}

/// The counter with this index, or `None` if this database is not counted.
pub fn counter(at: usize) -> Option<&'static AtomicU64> {
    mine().and_then(|counts| counts.get(at))
}

/// The databases that are counted.
pub fn databases() -> Vec<pg_sys::Oid> {
    let entries = ENTRIES.share();
    entries.0.iter().map(|entry| entry.database).collect()
}

/// Forgets databases that have been dropped, to which no process can be connected.
pub fn forget(is_dropped: impl Fn(pg_sys::Oid) -> bool) {
    for entry in &mut ENTRIES.exclusive().0 {
        if is_dropped(entry.database) {
            entry.database = pg_sys::InvalidOid;
        }
    }
}

fn mine() -> Option<&'static Counts> {
    match is_preloaded() {
        true => MINE.with(|mine| *mine.get_or_init(enter)),
        false => LENT.get(),
    }
}

/// Finds or makes the entry of this process's database.
fn enter() -> Option<&'static Counts> {
    let database = database();
    let mut entries = ENTRIES.exclusive();
    let entry = match entries
        .0
        .iter()
        .position(|entry| entry.database == database)
    {
        Some(at) => &mut entries.0[at],
        None => {
            let free = |entry: &&mut Entry| entry.database == pg_sys::InvalidOid;
            let entry = entries.0.iter_mut().find(free)?;
            entry.database = database;
            entry.counts = Default::default();
            entry
        }
    };
    // SAFETY: shared memory stays mapped while the process lives, and the entry belongs to this
    // database while anyone is connected to it. Atomics need no lock.
    unsafe { std::ptr::from_ref(&entry.counts).as_ref() }
}
