//! What is due, and its removal.
//!
//! A live or spent code is due when it has expired. A redeemed one is evidence: the first sweep after
//! its expiry writes `retain_from`, and it is due attesto_codes.reuse_retention after that. So a sweep
//! goes through nothing but what it removes or retains, by its index. Where tokens of the family
//! expire later, `retain_from` moves on so that the code is looked at again then.
//!
//! A sweep commits in batches, and ends a batch as soon as another transaction waits for a row that it
//! holds. It waits for nobody: what somebody else holds is left to the next sweep. So is what a trigger, a foreign
//! key or a publication does not let go.

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
use crate::pg::transaction::{in_transaction, or_roll_back};
use pgrx::{log, pg_sys};
use std::ffi::c_int;
use std::time::Duration;

/// One sweep of a database, as it lies in shared memory.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sweep {
    pub database: pg_sys::Oid,
    /// That of the tables; `None`: that of the extension, where there is one.
    pub schema: Option<pg_sys::Oid>,
    pub max_rows: i64,
    pub max_time: Duration,
    /// Seconds; `None`: as the database has it.
    pub retention: Option<i32>,
    /// The caller's session_replication_role.
    pub replication_role: c_int,
    /// Where an earlier one stopped.
    pub from: Place,
}

/// What a sweep did.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Swept {
    /// Rows.
    pub removed: i64,
    /// Where it stopped, if it did before it was through.
    pub stopped: Option<Place>,
    /// The first that did not let a row go.
    refusal: Option<Refusal>,
    /// What kept it from its work.
    pub failure: Option<Report>,
}

impl Swept {
    /// Adds up what the sweep of one database did in several visits.
    pub fn and_then(self, later: Swept) -> Swept {
        Swept {
            removed: self.removed + later.removed,
            stopped: later.stopped,
            refusal: self.refusal.or(later.refusal),
            failure: self.failure.or(later.failure),
        }
    }

    /// Says in the log that rows were not let go.
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
    /// Sweeps, in transactions of its own.
    pub fn run(&self) -> Swept {
        let schema = self
            .schema
            .or_else(|| in_transaction(backend::extension_schema));
        let Some(schema) = schema else {
            return Swept::default();
        };
        let mut progress = Progress::of(self);
        // Of three tables none is swept where one is refused.
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
