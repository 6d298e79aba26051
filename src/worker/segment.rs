//! The segment of shared memory of a database: its queue and its counters. A worker makes it and
//! publishes its handle in a table. It lives as long as a session or a worker has it mapped, so a
//! published handle may be out of date.

use super::PAUSE;
use super::queue::Queue;
use crate::error::Error;
use crate::pg::backend::{
    Pace, database, is_in_recovery, now, pause, schema_of, schema_of_table, server_started_at,
};
use crate::pg::segment::{Mapped, Shared};
use crate::pg::shared_counters::{self, Counts};
use crate::pg::transaction::{in_transaction, or_roll_back, wait_for_nothing};
use crate::table::{Published, Row, Table, Values};
use pgrx::{log, pg_sys};
use std::cell::Cell;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU32};
use std::time::Duration;

/// The version of this library. A session may have loaded an older library, before it was replaced,
/// and would lay out a segment differently.
pub const VERSION: [u8; 16] = {
    let (name, mut version, mut at) = (env!("CARGO_PKG_VERSION").as_bytes(), [0; 16], 0);
    while at < name.len() {
        version[at] = name[at];
        at += 1;
    }
    version
};

#[repr(C)]
pub struct Segment {
    /// VERSION, of whoever made it. Every version of the library has it here.
    version: [AtomicU32; 4],
    database: AtomicU32,
    counts: Counts,
    pub cleaning: Cleaning,
    pub queue: Queue,
}

/// The sweeps that the database's sessions start.
#[repr(C)]
pub struct Cleaning {
    /// The cleaner, or 0.
    by: AtomicI32,
    /// When the last one began, as a timestamp.
    begun_at: AtomicI64,
}

impl Cleaning {
    /// Returns false if another worker cleans.
    pub fn begin(&self, pid: i32) -> bool {
        let begins = self.by.compare_exchange(0, pid, SeqCst, SeqCst).is_ok();
        if begins {
            self.begun_at.store(now(), SeqCst);
        }
        begins
    }

    pub fn end(&self, pid: i32) {
        let _ = self.by.compare_exchange(pid, 0, SeqCst, SeqCst);
    }

    /// Whether the last one began less than this ago.
    pub fn was_begun_within(&self, time: Duration) -> bool {
        let ago = now().abs_diff(self.begun_at.load(SeqCst));
        u128::from(ago) < time.as_micros()
    }
}

// SAFETY: everything in it is made for zeroed memory, and shared as it says.
unsafe impl Shared for Segment {}

thread_local! {
    /// The segment that this process uses.
    static MINE: Cell<Option<Mapped<Segment>>> = const { Cell::new(None) };
    /// Whether it serves that segment, and so keeps it: a trigger may call functions that look for one.
    static SERVED: Cell<bool> = const { Cell::new(false) };
    /// How often it looks for one.
    static LOOKED: Pace = const { Pace::new() };
}

/// How often a worker tries to publish a segment.
const ATTEMPTS: u32 = 10;

/// How often a session looks for the segment to count in it.
const LOOK: Duration = Duration::from_secs(1);

impl Segment {
    fn is_of_this_version(&self) -> bool {
        let mut parts = self.version.iter().zip(version_parts());
        parts.all(|(is, my)| is.load(SeqCst) == my)
    }

    pub fn database(&self) -> pg_sys::Oid {
        self.database.load(SeqCst).into()
    }

    fn of_this_database() -> Mapped<Segment> {
        let segment = Mapped::<Segment>::zeroed();
        let content = segment.content();
        for (part, value) in content.version.iter().zip(version_parts()) {
            part.store(value, SeqCst);
        }
        content.database.store(database().into(), SeqCst);
        segment
    }
}

fn version_parts() -> [u32; 4] {
    let part = |at: usize| [0, 1, 2, 3].map(|byte| VERSION[4 * at + byte]);
    [0, 1, 2, 3].map(|at| u32::from_ne_bytes(part(at)))
}

/// The segment that this process uses, if it does. `'static` ends where it looks for another one,
/// before it uses any.
pub fn mine() -> Option<&'static Segment> {
    MINE.get().map(Mapped::content)
}

/// Looks for the published segment, and uses it from now on.
pub fn look(schema: pg_sys::Oid) -> Option<&'static Segment> {
    if SERVED.get() {
        return mine();
    }
    // A standby cannot read unlogged tables.
    if is_in_recovery() {
        return None;
    }
    let published = Table::glance(schema, |published: &Table<Published>| {
        Ok(published.first().as_ref().and_then(handle))
    });
    let published = published.ok().flatten().flatten()?;
    if MINE.get().is_none_or(|mine| mine.handle() != published) {
        // A database may be a copy of another one, with its table.
        let is_mine = |it: &Segment| it.is_of_this_version() && it.database() == database();
        use_from_now_on(Mapped::attach(published, is_mine));
    }
    mine()
}

/// The same, from the oid of another table of the extension.
pub fn look_beside(table: pg_sys::Oid) -> Option<&'static Segment> {
    schema_of_table(table).and_then(look)
}

/// Looks for the published segment, unless it did a short time ago. The one that this process uses may have been
/// replaced.
pub fn look_now_and_then(function: pg_sys::FunctionCallInfo) {
    if LOOKED.with(|looked| looked.is_due(LOOK)) {
        look(schema_of(function));
    }
}

/// The handle in a row that was written since the server started.
fn handle(row: &Row<Published>) -> Option<u32> {
    let is_current = row.get(Published::ServerStartedAt) == Some(server_started_at());
    let handle = row.text(Published::Segment)?;
    is_current.then(|| handle.parse().ok()).flatten()
}

fn use_from_now_on(segment: Option<Mapped<Segment>>) {
    if let Some(before) = MINE.replace(segment) {
        before.detach();
    }
    shared_counters::lend(segment.map(|segment| &segment.content().counts));
}

/// Serves the segment with this handle, from before this process is connected to a database.
pub fn attach(handle: u32) -> Option<&'static Segment> {
    use_from_now_on(Mapped::attach(handle, |segment: &Segment| {
        let is_known = segment.is_of_this_version();
        if !is_known {
            log!("attesto_codes was replaced: a session that loaded it before has to reconnect");
        }
        is_known
    }));
    serve_mine()
}

fn serve_mine() -> Option<&'static Segment> {
    SERVED.set(mine().is_some());
    mine()
}

/// The handle of the segment that this process uses.
pub fn my_handle() -> Option<u32> {
    MINE.get().map(|segment| segment.handle())
}

/// Serves the published segment, or makes and publishes one. Returns `None` if the table is locked or cannot be
/// used, or `schema` finds no schema.
pub fn look_or_make(schema: impl Fn() -> Option<pg_sys::Oid>) -> Option<&'static Segment> {
    for _ in 0..ATTEMPTS {
        let made = or_roll_back(|| {
            in_transaction(|| {
                // The table is unlogged, but whoever reads a catalog may write WAL, and would wait for standbys.
                wait_for_nothing();
                schema().map(publish)
            })
        });
        if made.ok().flatten().and_then(Result::ok).flatten().is_some() {
            return serve_mine();
        }
        // Another worker may be at it.
        pause(PAUSE);
    }
    None
}

/// Others see what this publishes after the commit.
fn publish(schema: pg_sys::Oid) -> Result<Option<&'static Segment>, Error> {
    let segment = Table::alone(schema, |published: &Table<Published>| {
        if !published.is_plain() {
            return Ok(None);
        }
        if let Some(segment) = look(schema) {
            return Ok(Some(segment));
        }
        while let Some(row) = published.first() {
            published.delete(&row)?;
        }
        let segment = Segment::of_this_database();
        let row = Values::default()
            .set(Published::ServerStartedAt, server_started_at())
            .set(Published::Segment, segment.handle().to_string());
        published.insert(row, || Error::Damaged)?;
        use_from_now_on(Some(segment));
        Ok(mine())
    });
    segment.map(Option::flatten)
}
