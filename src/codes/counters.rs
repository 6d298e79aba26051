//! What happened since the server's start, for each database. It lies in shared memory, and so needs
//! shared_preload_libraries; a ROLLBACK does not undo it.

use pgrx::{PGRXSharedMemory, PgLwLock, pg_guard, pg_shmem_init, pg_sys};
use std::cell::OnceCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Databases beyond that many are not counted.
const DATABASES: usize = 64;
const COUNTERS: usize = Counter::SpendsJoined as usize + 1;

#[derive(Clone, Copy)]
pub enum Counter {
    Puts,
    TakesOk,
    TakesConsumed,
    TakesError,
    MarksOk,
    MarksReplayed,
    MarksMissing,
    /// Codes that were used again after their redemption, each once.
    Reuses,
    Sweeps,
    RowsSwept,
    SpendsStatement,
    SpendsOneshot,
    SpendsResident,
    SpendsJoined,
}

type Counts = [AtomicU64; COUNTERS];

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

// SAFETY: no other lock of this name.
static ENTRIES: PgLwLock<Entries> = unsafe { PgLwLock::new(c"attesto_codes_counters") };
static IN_SHARED_MEMORY: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Those of this process's database.
    static MINE: OnceCell<Option<&'static Counts>> = const { OnceCell::new() };
}

pub fn init() {
    // SAFETY: reads a variable of the postmaster.
    if unsafe { pg_sys::process_shared_preload_libraries_in_progress } {
        pg_shmem_init!(ENTRIES);
        IN_SHARED_MEMORY.store(true, Ordering::Relaxed);
    }
}

pub fn add(counter: Counter, number: u64) {
    if let Some(counts) = mine() {
        counts[counter as usize].fetch_add(number, Ordering::Relaxed);
    }
}

/// `None`: this database is not counted.
pub fn get(counter: Counter) -> Option<i64> {
    mine().map(|counts| counts[counter as usize].load(Ordering::Relaxed) as i64)
}

/// The databases that are counted.
pub fn databases() -> Vec<pg_sys::Oid> {
    ENTRIES
        .share()
        .0
        .iter()
        .map(|entry| entry.database)
        .collect()
}

/// Forgets databases that nobody can be connected to any more.
pub fn forget(is_dropped: impl Fn(pg_sys::Oid) -> bool) {
    for entry in &mut ENTRIES.exclusive().0 {
        if is_dropped(entry.database) {
            entry.database = pg_sys::InvalidOid;
        }
    }
}

fn mine() -> Option<&'static Counts> {
    match IN_SHARED_MEMORY.load(Ordering::Relaxed) {
        true => MINE.with(|mine| *mine.get_or_init(enter)),
        false => None,
    }
}

/// Finds or makes the entry of this process's database.
fn enter() -> Option<&'static Counts> {
    // SAFETY: reads a variable of this process.
    let database = unsafe { pg_sys::MyDatabaseId };
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
    // SAFETY: shared memory stays where it is for as long as the process lives, and the entry is this
    // database's for as long as somebody is connected to it. Atomics need no lock.
    unsafe { std::ptr::from_ref(&entry.counts).as_ref() }
}
