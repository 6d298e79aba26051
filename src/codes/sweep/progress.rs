//! The progress of a sweep, and its work on the current row.

use super::Sweep;
use super::care::Care;
use super::due::Due;
use super::fate::Fate;
use super::place::{Pass, Refusal};
use crate::error::Error;
use crate::pg::failure::{Failure, catch};
use crate::pg::report::Report;
use crate::pg::session::{Owner, set_replication_role};
use crate::pg::transaction::{triggers_at_once, wait_at_most, wal_written, within_savepoint};
use crate::settings::REUSE_RETENTION;
use crate::table::{Columns, Index, Key, Row, Table, Walk, is_awaited};
use std::collections::HashSet;
use std::ffi::c_int;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// How long a trigger on a table may wait for a lock.
const PATIENCE: Duration = Duration::from_millis(10);

/// How much WAL a batch writes before its commit waits for the disk, in bytes. The commits of others
/// wait for this WAL, too. After a checkpoint each page that a sweep touches is written as a whole.
const WAL: u64 = 256 * 1024;

pub struct Progress {
    pub due: Due,
    pub removed: i64,
    pub max_rows: i64,
    deadline: Instant,
    /// How many rows this batch has removed or retained.
    pub changed: usize,
    /// The WAL that this process had written when the batch began, in bytes.
    wal_before: u64,
    pub care: Care,
    /// The keys of the rows that were refused at this position. They are not tried again.
    pub refused: HashSet<String>,
    refused_at: i64,
    /// The last row that was tried.
    pub tried: String,
    replication_role: c_int,
    /// The owner of this batch's table.
    pub owner: Option<Owner>,
    pub refusal: Option<Refusal>,
    pub failure: Option<Report>,
}

impl Progress {
    /// The state at the start of a sweep.
    pub fn of(sweep: &Sweep) -> Progress {
        Progress {
            due: Due::now(sweep.retention.unwrap_or(REUSE_RETENTION.get())),
            removed: 0,
            max_rows: sweep.max_rows,
            deadline: Instant::now() + sweep.max_time,
            changed: 0,
            wal_before: 0,
            care: Care::Bold,
            refused: HashSet::new(),
            refused_at: i64::MIN,
            tried: String::new(),
            replication_role: sweep.replication_role,
            owner: None,
            refusal: None,
            failure: None,
        }
    }

    /// Whether the sweep has to stop.
    pub fn is_over(&self) -> bool {
        self.removed >= self.max_rows || Instant::now() >= self.deadline
    }

    pub fn begin_batch(&mut self) {
        self.changed = 0;
        self.wal_before = wal_written();
        self.tried.clear();
    }

    /// Whether the batch has to be committed.
    fn is_full(&self) -> bool {
        self.changed >= self.care.batch()
            || wal_written() - self.wal_before >= WAL
            || self.is_over()
            || is_awaited()
    }

    /// Calls `fate` for the rows that `keys` name. Returns the position at which this batch ended,
    /// if it ended before the last of them.
    pub fn walk<C: Columns>(
        &mut self,
        pass: Pass,
        table: &Table<C>,
        index: &Index<C>,
        keys: Vec<Key>,
        order: C,
        fate: impl Fn(&Row<C>) -> Result<Fate, Error>,
    ) -> Result<Option<i64>, Error> {
        if !table.is_plain() && self.care == Care::Bold {
            self.care = Care::Careful;
        }
        let care = self.care;
        self.owner = Some(table.owner());
        if care > Care::Bold {
            set_replication_role(self.replication_role);
            triggers_at_once();
            wait_at_most(PATIENCE);
        }
        let walked = table.walk(index, keys, Walk::Forward, |row| {
            let position = row.get(order);
            let decided = match care {
                Care::Bold => fate(row),
                _ => self.carefully(pass, row, position, &fate),
            };
            match decided {
                Ok(Fate::Removed) => self.removed += 1,
                Ok(Fate::Retained) => {}
                Ok(Fate::Left) if self.is_over() => return ControlFlow::Break(Ok(position)),
                Ok(Fate::Left) => return ControlFlow::Continue(()),
                Err(error) => return ControlFlow::Break(Err(error)),
            }
            self.changed += 1;
            match self.is_full() {
                true => ControlFlow::Break(Ok(position)),
                false => ControlFlow::Continue(()),
            }
        });
        walked?.break_value().unwrap_or(Ok(None))
    }

    /// Calls `fate` inside a savepoint. Leaves a row that this sweep was refused before.
    fn carefully<C: Columns>(
        &mut self,
        pass: Pass,
        row: &Row<C>,
        position: Option<i64>,
        fate: impl Fn(&Row<C>) -> Result<Fate, Error>,
    ) -> Result<Fate, Error> {
        let position = position.unwrap_or(i64::MIN);
        if position > self.refused_at {
            self.refused.clear();
            self.refused_at = position;
        }
        self.tried = row.text(C::KEY).unwrap_or_default().to_owned();
        if self.refused.contains(&self.tried) {
            return Ok(Fate::Left);
        }
        within_savepoint(|| fate(row)).or_else(|failure| {
            self.refuse(pass, failure);
            Ok(Fate::Left)
        })
    }

    /// Leaves the row that was tried last, and keeps the first refusal for the log.
    pub fn refuse(&mut self, pass: Pass, failure: Failure) {
        let sqlstate = failure.sqlstate();
        self.refused.insert(std::mem::take(&mut self.tried));
        self.refusal.get_or_insert(Refusal { pass, sqlstate });
    }

    /// Keeps the first failure for the caller or the log.
    pub fn fail(&mut self, error: Error) {
        if let (None, Err(failure)) = (self.failure, catch(|| error.raise())) {
            let failure: Failure = failure;
            self.failure = Some(failure.into());
        }
    }
}
