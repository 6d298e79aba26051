//! Which rows are due now, and how many codes wait for a sweep.
//!
//! A live or spent code is due when it has expired. A redeemed code is evidence: the first sweep
//! after its expiry writes `retain_from`, and the code is due attesto_codes.reuse_retention after
//! that.

use crate::error::Error;
use crate::oauth::numeric_date::{seconds, whole_second};
use crate::pg::backend::now;
use crate::table::{Code, Index, Key, Table, Walk};
use pgrx::datum::{DatumWithOid, TimestampWithTimeZone};
use std::ops::ControlFlow;

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
    /// Revocations before this instant are due. A transaction that records a token may be open for
    /// as long as an hour.
    pub revoked: i64,
}

/// Seconds for which a revocation is kept at least.
const REVOCATION: i32 = 3600;

impl Due {
    pub fn now(retention: i32) -> Due {
        let (expired, retention) = (whole_second(now()), seconds(retention));
        Due {
            expired,
            retained: expired - retention,
            retention,
            revoked: expired - retention.max(seconds(REVOCATION)),
        }
    }
}

impl Due {
    /// These instants as $1 and $2 of a query.
    pub fn arguments(self) -> [DatumWithOid<'static>; 2] {
        [self.expired, self.retained]
            .map(|timestamp| TimestampWithTimeZone::try_from(timestamp).ok().into())
    }
}

/// The codes that wait for a sweep to remove or retain them.
#[derive(Default)]
pub struct Waiting {
    /// How many. If this is the given limit, there may be more.
    pub number: i64,
    /// Since when the first of them has waited, as a timestamp.
    pub since: Option<i64>,
}

/// Counts the codes that wait, up to `limit`.
pub fn waiting(codes: &Table<Code>, due: Due, limit: i64) -> Result<Waiting, Error> {
    let expired = vec![Key::is_null(1), Key::before(2, due.expired)];
    let retained = vec![Key::before(1, due.retained)];
    let mut waiting = Waiting::default();
    for (keys, order, delay) in [
        (expired, Code::ExpiresAt, 0),
        (retained, Code::RetainFrom, due.retention),
    ] {
        let mut first = None;
        let _ = codes.walk(&CODES, keys, Walk::Forward, |code| {
            first = first.or_else(|| code.get::<i64>(order));
            waiting.number += 1;
            match waiting.number < limit {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        })?;
        let since = first.map(|first| first + delay);
        waiting.since = waiting.since.into_iter().chain(since).min();
    }
    waiting.number = waiting.number.min(limit);
    Ok(waiting)
}
