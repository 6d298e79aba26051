//! The states of a code (live, spent, redeemed) and the steps that presentations write. The first
//! presentation spends the code. Later ones leave at most two traces in its row: one before the
//! mark, one after it.

use super::{families, meta, reuse};
use crate::error::Error;
use crate::pg::backend::now;
use crate::pg::jsonb::Jsonb;
use crate::table::{Access, Code, Columns, Family, LockWait, Row, Table, Update, Values};
use pgrx::pg_sys::Oid;

type Codes = Table<Code>;

/// What a presentation writes. Each step is written at most once in the life of a code, so
/// presenting it again and again costs no more than a few writes.
#[derive(Clone, PartialEq, Debug)]
pub enum Step {
    /// The code was live. With a meta it is redeemed in the same write.
    Spend(Option<Jsonb<'static>>),
    /// The code was live, and nothing is handed out: a check failed, or it is revoked. It is closed:
    /// code_complete will raise, code_mark_consumed will answer `replayed`, and later presentations
    /// write nothing.
    Close,
    /// The code was spent and not redeemed. code_mark_consumed will answer `replayed`.
    Replay { revokes: bool },
    /// The code was redeemed. Listeners are notified.
    Reuse { revokes: bool },
    /// An earlier presentation left its trace and did not revoke the code's names.
    Revoke,
}

impl Step {
    /// The step that is due when a code that is not live is presented again. `revokes`: whether the
    /// code's names are to be revoked.
    pub fn of_another(
        codes: &Codes,
        row: &Row<Code>,
        revokes: bool,
    ) -> Result<Option<Step>, Error> {
        let trace = match is_redeemed(row) {
            true => Step::Reuse { revokes },
            false => Step::Replay { revokes },
        };
        if is_closed(row) {
            Ok(None)
        } else if trace.is_due_on(row) {
            Ok(Some(trace))
        } else if revokes && !families::are_revoked_for_good(codes, row)? {
            Ok(Some(Step::Revoke))
        } else {
            Ok(None)
        }
    }

    /// Whether this is a presentation of a live code.
    pub fn spends(&self) -> bool {
        matches!(self, Step::Spend(_) | Step::Close)
    }

    /// Whether the names of the code are revoked in the same write.
    pub fn revokes(&self) -> bool {
        matches!(
            self,
            Step::Replay { revokes: true } | Step::Reuse { revokes: true } | Step::Revoke
        )
    }

    pub fn is_due_on(&self, row: &Row<Code>) -> bool {
        match self {
            Step::Spend(_) | Step::Close => is_live(row),
            Step::Replay { .. } => !is_live(row) && !is_redeemed(row) && !row.has(Code::ReplayedAt),
            Step::Reuse { .. } => is_redeemed(row) && !row.has(Code::ReusedAt),
            Step::Revoke => !is_live(row),
        }
    }

    /// Writes the step. This is the only place where a code is spent.
    pub fn write(&self, codes: &Codes, row: &Row<Code>, wait: LockWait) -> Result<Update, Error> {
        if !self.revokes() {
            return self.write_row(codes, row, wait);
        }
        // The row is written, so an error must end the transaction, also in a worker.
        let revoke = |families: &Table<Family>| {
            families::revoke_names(families, row).unwrap_or_else(|error| error.raise());
            Ok(Update::Done)
        };
        match wait {
            // Who waits for the row must not keep others from the revocations: it may go to a worker
            // afterwards, which would wait behind them.
            LockWait::Wait => match self.write_row(codes, row, wait)? {
                Update::Done => Table::in_schema(codes.schema(), Access::Write, revoke),
                update => Ok(update),
            },
            LockWait::GiveUp => {
                let write = |families: &Table<Family>| match self.write_row(codes, row, wait)? {
                    Update::Done => revoke(families),
                    update => Ok(update),
                };
                Ok(Table::with_oid(families_of(codes)?, write)?.unwrap_or(Update::Busy))
            }
        }
    }

    fn write_row(&self, codes: &Codes, row: &Row<Code>, wait: LockWait) -> Result<Update, Error> {
        let (values, now) = (Values::default(), now());
        let values = match self {
            Step::Spend(None) => values.set(Code::ConsumedAt, now),
            Step::Spend(Some(meta)) => values
                .set(Code::ConsumedAt, now)
                .set(Code::ConsumedSuccess, true)
                .set(Code::ConsumedMeta, meta::column(meta)),
            Step::Close => values.set(Code::ConsumedAt, now).set(Code::ReplayedAt, now),
            Step::Replay { .. } => values.set(Code::ReplayedAt, after_the_spend(row, now)),
            Step::Reuse { .. } => values.set(Code::ReusedAt, now),
            // Those who find a name missing at the same time revoke it once.
            Step::Revoke => return Ok(codes.lock(row, wait)),
        };
        let update = codes.update(row, values, wait)?;
        if matches!(self, Step::Reuse { .. }) && update == Update::Done {
            reuse::announce(row);
        }
        Ok(update)
    }

    /// The step that leaves the same trace on this row. A reuse of a code whose mark was rolled back
    /// since is a replay.
    pub fn on(&self, row: &Row<Code>) -> Step {
        match self {
            Step::Reuse { revokes } if !is_redeemed(row) => Step::Replay { revokes: *revokes },
            step => step.clone(),
        }
    }

    /// Whether this step, or a part of it, is missing.
    pub fn is_missing(&self, codes: &Codes, row: &Row<Code>) -> Result<bool, Error> {
        // Revoke is due on any code that is not live, whether its names are revoked or not.
        let is_trace_missing = *self != Step::Revoke && self.is_due_on(row);
        Ok(is_trace_missing || self.revokes() && !families::are_revoked(codes, row)?)
    }

    /// Finds a code and writes this step if it is due.
    pub fn write_by_hash(
        &self,
        codes: &Codes,
        code_hash: &str,
        wait: LockWait,
    ) -> Result<Update, Error> {
        match codes.find(code_hash) {
            Some(row) if self.is_due_on(&row) => self.write(codes, &row, wait),
            _ => Ok(Update::Gone),
        }
    }

    /// Whether no foreign code runs when the step is written: no table that it writes to has
    /// triggers or constraints that an administrator added. `None`: a table is locked, and `wait`
    /// says to give up.
    pub fn is_plain(&self, codes: &Codes, wait: LockWait) -> Result<Option<bool>, Error> {
        if !codes.is_plain() || !self.revokes() {
            return Ok(Some(codes.is_plain()));
        }
        match wait {
            LockWait::Wait => Table::briefly(codes.schema(), |families: &Table<Family>| {
                Ok(Some(families.is_plain_to_write()))
            }),
            LockWait::GiveUp => Table::with_oid(families_of(codes)?, |families: &Table<Family>| {
                Ok(families.is_plain())
            }),
        }
    }
}

fn families_of(codes: &Codes) -> Result<Oid, Error> {
    Table::<Family>::oid_in(codes.schema()).ok_or(Error::NoTable(Family::TABLE))
}

/// A time after the spend, even if the clock was set back, so that the code does not look closed.
pub fn after_the_spend(row: &Row<Code>, now: i64) -> i64 {
    let spent_at: Option<i64> = row.get(Code::ConsumedAt);
    spent_at.map_or(now, |spent_at| now.max(spent_at + 1))
}

pub fn is_live(row: &Row<Code>) -> bool {
    !row.has(Code::ConsumedAt)
}

pub fn is_redeemed(row: &Row<Code>) -> bool {
    row.get(Code::ConsumedSuccess) == Some(true)
}

/// Whether the presentation that spent the code handed nothing out: it wrote both times at once.
pub fn is_closed(row: &Row<Code>) -> bool {
    let spent_at: Option<i64> = row.get(Code::ConsumedAt);
    spent_at.is_some() && spent_at == row.get(Code::ReplayedAt)
}
