//! The states of a code (live, spent, redeemed) and the steps that presentations write. The first
//! presentation spends the code. Later ones leave at most two traces: one before the mark, one
//! after it.

use super::reuse;
use crate::error::Error;
use crate::pg::backend::now;
use crate::table::{Code, LockWait, Row, Table, Update, Values};

type Codes = Table<Code>;

/// What a presentation writes. Each step is written at most once in the life of a code, so
/// presenting it again and again costs no more than two more writes.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Step {
    /// The code was live.
    Spend,
    /// The code was live, and nothing is handed out since it is revoked. code_mark_consumed will answer
    /// `replayed`, and later presentations write nothing.
    Close,
    /// The code was spent and not redeemed. code_mark_consumed will answer `replayed`.
    Replay,
    /// The code was redeemed. Listeners are notified.
    Reuse,
}

impl Step {
    /// The step that a presentation of this row has to write, if any. Instead of `Spend` it may be `Close`.
    pub fn of(row: &Row<Code>) -> Option<Step> {
        if is_live(row) {
            Some(Step::Spend)
        } else if is_redeemed(row) {
            (!row.has(Code::ReusedAt)).then_some(Step::Reuse)
        } else {
            (!row.has(Code::ReplayedAt)).then_some(Step::Replay)
        }
    }

    /// Whether this is a presentation of a live code.
    pub fn spends(self) -> bool {
        matches!(self, Step::Spend | Step::Close)
    }

    fn is_due_on(self, row: &Row<Code>) -> bool {
        match Step::of(row) {
            Some(Step::Spend) => self.spends(),
            due => due == Some(self),
        }
    }

    /// Writes the step. This is the only place where a code is spent.
    pub fn write(self, codes: &Codes, row: &Row<Code>, wait: LockWait) -> Result<Update, Error> {
        let columns: &[Code] = match self {
            Step::Spend => &[Code::ConsumedAt],
            Step::Close => &[Code::ConsumedAt, Code::ReplayedAt],
            Step::Replay => &[Code::ReplayedAt],
            Step::Reuse => &[Code::ReusedAt],
        };
        let now = now();
        let values = columns
            .iter()
            .fold(Values::default(), |values, column| values.set(*column, now));
        let update = codes.update(row, values, wait)?;
        if self == Step::Reuse && update == Update::Done {
            reuse::announce(row);
        }
        Ok(update)
    }

    /// Whether the code exists and this step is due.
    pub fn is_due(self, codes: &Codes, code_hash: &str) -> bool {
        let row = codes.find(code_hash);
        row.is_some_and(|row| self.is_due_on(&row))
    }

    /// Finds a code and writes this step if it is due.
    pub fn write_by_hash(
        self,
        codes: &Codes,
        code_hash: &str,
        wait: LockWait,
    ) -> Result<Update, Error> {
        match codes.find(code_hash) {
            Some(row) if self.is_due_on(&row) => self.write(codes, &row, wait),
            _ => Ok(Update::Gone),
        }
    }
}

pub fn is_live(row: &Row<Code>) -> bool {
    !row.has(Code::ConsumedAt)
}

pub fn is_redeemed(row: &Row<Code>) -> bool {
    row.get(Code::ConsumedSuccess) == Some(true)
}
