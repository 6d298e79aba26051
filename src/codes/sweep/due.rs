//! Which rows are due now, and how many codes wait for a sweep.
//!
//! A live code is due when it has expired. A spent code is due then, too, but not within ten minutes
//! after it was spent: its completion may come after its expiry. A redeemed code is evidence: the
//! first sweep after its expiry writes `retain_from`, and the code is due
//! attesto_codes.reuse_retention after that.

use crate::codes::step::is_redeemed;
use crate::error::Error;
use crate::oauth::numeric_date::{seconds, whole_second};
use crate::pg::backend::now;
use crate::settings::REUSE_RETENTION;
use crate::table::{Code, Index, Key, Row, Table, Walk};
use pgrx::datum::{DatumWithOid, TimestampWithTimeZone};
use std::ops::ControlFlow;
use std::time::Duration;

/// First the codes that no sweep has seen yet, by expiry, then those that a sweep has retained.
pub const CODES: Index<Code> = Index {
    name: c"authorizations_sweep",
    columns: &[Code::RetainFrom, Code::ExpiresAt],
};

/// The instants that decide whether a row is due.
#[derive(Clone, Copy)]
pub struct Due {
    /// Rows that expired before this instant are due. It is the start of the current second.
    pub expired: i64,
    /// Rows whose retention began before this instant are due.
    pub retained: i64,
    pub retention: i64,
    /// Codes that were spent after this instant and not redeemed are not due.
    pub spent: i64,
    /// Revocations before this instant are due. A transaction that records a token may be open for
    /// as long as an hour.
    pub revoked: i64,
}

/// How long a revocation is kept at least, in seconds.
const REVOCATION: i32 = 3600;

/// How long a spent code is kept at least, in seconds.
const SPENT: i32 = 600;

impl Due {
    pub fn now(retention: i32) -> Due {
        let (expired, retention) = (whole_second(now()), seconds(retention));
        Due {
            expired,
            retained: expired - retention,
            retention,
            spent: expired - seconds(SPENT),
            revoked: expired - retention.max(seconds(REVOCATION)),
        }
    }

    /// Whether the code is spent and not redeemed, and was spent too short a time ago.
    pub fn is_early(&self, code: &Row<Code>) -> bool {
        early_until(code) > Some(self.expired)
    }

    /// `expired`, `retained` and `spent` as $1, $2 and $3 of a query.
    pub fn arguments(self) -> [DatumWithOid<'static>; 3] {
        [self.expired, self.retained, self.spent]
            .map(|timestamp| TimestampWithTimeZone::try_from(timestamp).ok().into())
    }
}

/// Until when a spent code is kept at least, redeemed or not.
pub fn kept_until(code: &Row<Code>) -> Option<i64> {
    let spent_at = code.get(Code::ConsumedAt);
    spent_at.map(|spent_at: i64| spent_at + seconds(SPENT))
}

/// Until when a code that is spent and not redeemed is kept at least.
fn early_until(code: &Row<Code>) -> Option<i64> {
    kept_until(code).filter(|_| !is_redeemed(code))
}

/// How many expired codes `is_late` looks at. If all of them were spent a short time ago, a sweep has to
/// find out what is behind them.
const LOOKED_AT: usize = 100;

/// Whether a code has been due for longer than this.
pub fn is_late(codes: &Table<Code>, time: Duration) -> Result<bool, Error> {
    let due = now() - i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    let expired = vec![Key::is_null(1), Key::before(2, due)];
    let retained = vec![Key::before(1, due - seconds(REUSE_RETENTION.get()))];
    for keys in [expired, retained] {
        let mut looked_at = 0;
        let late = codes.walk(&CODES, keys, Walk::Forward, |code| {
            looked_at += 1;
            let is_late = code.has(Code::RetainFrom) || early_until(code) <= Some(due);
            match is_late || looked_at == LOOKED_AT {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })?;
        if late.is_break() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The codes that wait for a sweep to remove or retain them.
#[derive(Default)]
pub struct Waiting {
    pub number: i64,
    /// Whether there are no more of them than `number`.
    pub is_all: bool,
    /// Since when the first of them has waited, as a timestamp.
    pub since: Option<i64>,
}

/// Counts the codes that wait. Looks at no more than about `limit` of the expired ones.
pub fn waiting(codes: &Table<Code>, due: Due, limit: i64) -> Result<Waiting, Error> {
    let expired = vec![Key::is_null(1), Key::before(2, due.expired)];
    let retained = vec![Key::before(1, due.retained)];
    let (mut waiting, mut visited) = (Waiting::default(), 0);
    for (keys, order, delay) in [
        (expired, Code::ExpiresAt, 0),
        (retained, Code::RetainFrom, due.retention),
    ] {
        let mut first = None;
        let _ = codes.walk(&CODES, keys, Walk::Forward, |code| {
            if !due.is_early(code) {
                let since = code.get::<i64>(order).max(early_until(code));
                first = first.into_iter().chain(since).min();
                waiting.number += 1;
            }
            visited += 1;
            match visited < limit {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        })?;
        let since = first.map(|first| first + delay);
        waiting.since = waiting.since.into_iter().chain(since).min();
    }
    waiting.is_all = visited < limit;
    Ok(waiting)
}
