//! Sweeps: which rows are due, and their removal.
//!
//! A live code is due when it has expired, and a spent one not before ten minutes after it was
//! spent. A redeemed code is evidence: the first sweep after its expiry writes `retain_from`, and
//! the code is due attesto_codes.reuse_retention after that. If tokens of its family expire later,
//! the sweep moves `retain_from` on, and a later sweep looks at the code again. So a sweep reads by
//! its index only the rows that it removes or retains, and spent codes that are kept for their ten
//! minutes.
//!
//! A sweep commits in batches. It ends a batch as soon as another transaction waits for a row that
//! the batch holds. The sweep itself never waits. It leaves rows to the next sweep if they are
//! locked, or if a trigger, a foreign key or a publication refuses the change.
//!
//! When a sweep runs, and in which process, is not decided here, but in worker/.

mod care;
pub mod due;
mod fate;
mod pass;
mod place;
mod progress;

pub use self::place::Place;

use self::pass::check;
use self::place::{Pass, Refusal};
use self::progress::Progress;
use super::counters::{self, Counter};
use crate::pg::backend;
use crate::pg::report::Report;
use crate::pg::session::replication_role;
use crate::pg::transaction::{in_transaction, or_roll_back};
use pgrx::{PgLogLevel, log, pg_sys};
use std::ffi::c_int;
use std::time::Duration;

/// One sweep of a database, as stored in shared memory.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sweep {
    pub database: pg_sys::Oid,
    /// The schema of the tables. `None`: the schema of the extension, if the database has it.
    pub schema: Option<pg_sys::Oid>,
    pub max_rows: i64,
    pub max_time: Duration,
    /// In seconds. `None`: the setting of the database.
    pub retention: Option<i32>,
    /// The caller's session_replication_role.
    pub replication_role: c_int,
    /// Where an earlier sweep stopped.
    pub from: Place,
}

/// The result of a sweep.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Swept {
    /// How many rows were removed.
    pub removed: i64,
    /// Where the sweep stopped before it was finished, if it did.
    pub stopped: Option<Place>,
    /// The first refusal to let a row go.
    refusal: Option<Refusal>,
    /// The error that stopped the sweep.
    pub failure: Option<Report>,
}

impl Swept {
    /// Adds up the visits that one sweep of a database took.
    pub fn and_then(self, later: Swept) -> Swept {
        Swept {
            removed: self.removed + later.removed,
            stopped: later.stopped,
            refusal: self.refusal.or(later.refusal),
            failure: self.failure.or(later.failure),
        }
    }

    /// Logs how many rows were removed, if any were.
    pub fn log_removed(&self, database: &str) {
        let rows = self.removed;
        if rows > 0 {
            log!("attesto_codes swept {rows} rows from database \"{database}\"");
        }
    }

    /// Logs what the sweep left, and why.
    pub fn log_rest(&self, database: &str) {
        self.log_refusal(database);
        if let Some(failure) = self.failure {
            log!("attesto_codes could not sweep database \"{database}\"");
            failure.report(PgLogLevel::LOG);
        }
    }

    /// Logs that some rows were not let go.
    pub fn log_refusal(&self, database: &str) {
        let Some(Refusal { pass, sqlstate }) = self.refusal else {
            return;
        };
        let table = pass.table().to_string_lossy();
        let sqlstate = backend::sqlstate(sqlstate);
        log!(
            "attesto_codes left rows of {table} in database \"{database}\" that are due: a trigger, a foreign key or a publication does not let them go (SQLSTATE {sqlstate})"
        );
    }
}

impl Sweep {
    /// A part of a sweep by a worker of the server, which goes on from a place.
    pub fn visit(database: pg_sys::Oid, max_time: Duration, from: Place) -> Sweep {
        Sweep {
            database,
            schema: None,
            max_rows: i64::MAX,
            max_time,
            retention: None,
            replication_role: replication_role(),
            from,
        }
    }

    /// Sweeps in transactions of its own.
    pub fn run(&self) -> Swept {
        let schema = self
            .schema
            .or_else(|| in_transaction(backend::extension_schema));
        let Some(schema) = schema else {
            return Swept::default();
        };
        let mut progress = Progress::of(self);
        // If one of the three tables is refused, none is swept.
        let refused =
            or_roll_back(|| in_transaction(|| check(schema).unwrap_or_else(|error| error.raise())));
        if let Err(failure) = refused {
            return Swept {
                failure: Some(failure.into()),
                ..Swept::default()
            };
        }
        let passes = [Pass::Retained, Pass::Expired, Pass::Tokens, Pass::Families];
        let mut stopped = None;
        for pass in passes {
            let start = match self.from.pass == pass {
                true => self.from.position,
                false => i64::MIN,
            };
            if pass >= self.from.pass && stopped.is_none() {
                stopped = pass.run(schema, start, &mut progress);
            }
        }
        counters::add(Counter::Sweeps, 1);
        counters::add(Counter::RowsSwept, progress.removed as u64);
        Swept {
            removed: progress.removed,
            stopped,
            refusal: progress.refusal,
            failure: progress.failure,
        }
    }
}
