//! What is due, and its removal.
//!
//! A live or spent code is due when it has expired. A redeemed one is evidence: the first sweep after
//! its expiry writes `retain_from`, and it is due attesto_codes.reuse_retention after that. So a sweep
//! goes through nothing but what it removes or retains, by its index. Where tokens of the family
//! expire later, `retain_from` moves on so that the code is looked at again then.
//!
//! A sweep commits in steps, and ends a step as soon as another transaction waits for a row that it
//! holds. It waits for nobody: what somebody else holds is left to the next sweep.

use crate::counters::{self, Counter};
use crate::error::Error;
use crate::independent::in_transaction;
use crate::numeric_date::{seconds, this_second};
use crate::settings::REUSE_RETENTION;
use crate::table::{
    Code, Columns, Family, Key, Row, Table, Token, Update, Values, Walk, is_awaited,
};
use crate::{extension, families, reuse, store, undo};
use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;
use std::ffi::CStr;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// Rows that one transaction removes or retains at most.
const STEP: usize = 10_000;

const CODES: &CStr = c"authorizations_sweep";
const TOKENS: &CStr = c"authorization_access_tokens_sweep";
const FAMILIES: &CStr = c"authorization_revoked_families_sweep";

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
}

/// What a sweep did.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Swept {
    /// Rows.
    pub removed: i64,
    /// Whether it stopped before it was through.
    pub stopped: bool,
}

/// The instants that decide.
#[derive(Clone, Copy)]
pub struct Due {
    /// What has expired before it is due: the first instant of this second.
    pub expired: i64,
    /// What was to be retained from before it is due.
    pub retained: i64,
    retention: i64,
}

impl Due {
    pub fn now(retention: i32) -> Due {
        let (expired, retention) = (this_second(), seconds(retention));
        Due {
            expired,
            retained: expired - retention,
            retention,
        }
    }
}

impl Due {
    /// As $1 and $2 of a query.
    pub fn arguments(self) -> [DatumWithOid<'static>; 2] {
        [self.expired, self.retained].map(|timestamp| {
            // SAFETY: a timestamptz is its microseconds.
            unsafe { DatumWithOid::new(timestamp, pg_sys::TIMESTAMPTZOID) }
        })
    }
}

/// The rows that a sweep goes through, in this order.
#[derive(Clone, Copy)]
enum Pass {
    Retained,
    Expired,
    Tokens,
    Families,
}

/// How far a sweep is.
struct Progress {
    due: Due,
    removed: i64,
    max_rows: i64,
    deadline: Instant,
    /// Rows that this step has removed or retained.
    changed: usize,
}

impl Sweep {
    /// Sweeps, in transactions of its own.
    pub fn run(&self) -> Swept {
        let started = Instant::now();
        let schema = self.schema.or_else(|| in_transaction(extension::schema));
        let Some(schema) = schema else {
            return Swept::default();
        };
        let mut progress = Progress {
            due: Due::now(self.retention.unwrap_or(REUSE_RETENTION.get())),
            removed: 0,
            max_rows: self.max_rows,
            deadline: started + self.max_time,
            changed: 0,
        };
        let passes = [Pass::Retained, Pass::Expired, Pass::Tokens, Pass::Families];
        for pass in passes {
            let mut from = Some(i64::MIN);
            while let Some(position) = from
                && !progress.is_over()
            {
                progress.changed = 0;
                from = in_transaction(|| {
                    undo::flush_later();
                    pass.step(schema, position, &mut progress)
                });
            }
        }
        counters::add(Counter::Sweeps, 1);
        counters::add(Counter::RowsSwept, progress.removed as u64);
        Swept {
            removed: progress.removed,
            stopped: progress.is_over(),
        }
    }
}

impl Pass {
    /// Goes on from a position in the index. `None`: there is nothing more, or no way to it.
    fn step(self, schema: pg_sys::Oid, position: i64, progress: &mut Progress) -> Option<i64> {
        with(schema, |tokens: &Table<Token>| {
            let due = progress.due;
            match self {
                Pass::Retained => with(schema, |codes| {
                    let keys = vec![Key::from(1, position), Key::before(1, due.retained)];
                    progress.walk(codes, CODES, keys, Code::RetainFrom, |code| {
                        release(codes, tokens, code, due)
                    })
                }),
                Pass::Expired => with(schema, |codes| {
                    let keys = vec![
                        Key::is_null(1),
                        Key::from(2, position),
                        Key::before(2, due.expired),
                    ];
                    progress.walk(codes, CODES, keys, Code::ExpiresAt, |code| {
                        release(codes, tokens, code, due)
                    })
                }),
                Pass::Tokens => {
                    let keys = vec![Key::from(1, position), Key::before(1, due.expired)];
                    progress.walk(tokens, TOKENS, keys, Token::ExpiresAt, |token| {
                        Ok(removal(tokens.delete(token)))
                    })
                }
                Pass::Families => with(schema, |revoked| {
                    let keys = vec![Key::from(1, position), Key::before(1, due.retained)];
                    progress.walk(revoked, FAMILIES, keys, Family::RevokedAt, |family| {
                        forget(revoked, tokens, family, due)
                    })
                }),
            }
        })
    }
}

/// Opens a table. `None`, too, where it is locked: a sweep waits for nobody.
fn with<C: Columns, T>(
    schema: pg_sys::Oid,
    work: impl FnOnce(&Table<C>) -> Option<T>,
) -> Option<T> {
    Table::with_oid(Table::<C>::oid_in(schema)?, work).flatten()
}

/// What became of a row.
#[derive(PartialEq)]
enum Fate {
    Removed,
    Retained,
    /// Somebody holds it, or it stays as it is.
    Left,
}

fn removal(update: Update) -> Fate {
    match update {
        Update::Done => Fate::Removed,
        Update::Gone | Update::Busy => Fate::Left,
    }
}

/// Removes an expired code, or retains it for as long as it is evidence.
fn release(
    codes: &Table<Code>,
    tokens: &Table<Token>,
    code: &Row<Code>,
    due: Due,
) -> Result<Fate, Error> {
    if !store::is_redeemed(code) {
        return Ok(removal(codes.delete(code)));
    }
    let retain_from = retain_from(code);
    let last_token = match reuse::family_id(code) {
        Some(family_id) => families::last_expiry(tokens, &family_id)?,
        None => None,
    };
    let retain_from = match last_token {
        Some(last) => retain_from.max(last - due.retention),
        None => retain_from,
    };
    if retain_from < due.retained {
        return Ok(removal(codes.delete(code)));
    }
    let retained = Values::default().set(Code::RetainFrom, retain_from);
    Ok(match codes.relocate(code, retained) {
        Update::Done => Fate::Retained,
        Update::Gone | Update::Busy => Fate::Left,
    })
}

/// Removes the memory of a revoked family that has no more tokens to come to an end.
fn forget(
    revoked: &Table<Family>,
    tokens: &Table<Token>,
    family: &Row<Family>,
    due: Due,
) -> Result<Fate, Error> {
    let family_id: String = family.get(Family::FamilyId).unwrap_or_default();
    match families::last_expiry(tokens, &family_id)? {
        Some(last) if last >= due.expired => Ok(Fate::Left),
        _ => Ok(removal(revoked.delete(family))),
    }
}

fn retain_from(code: &Row<Code>) -> i64 {
    let expires_at = || code.get(Code::ExpiresAt);
    code.get(Code::RetainFrom)
        .or_else(expires_at)
        .unwrap_or(i64::MAX)
}

impl Progress {
    /// Whether the sweep has to stop.
    fn is_over(&self) -> bool {
        self.removed >= self.max_rows || Instant::now() >= self.deadline
    }

    /// Lets `fate` decide about the rows that `keys` name. The position at which this step ended, if
    /// it ended before the last of them.
    fn walk<C: Columns>(
        &mut self,
        table: &Table<C>,
        index: &'static CStr,
        keys: Vec<Key>,
        order: C,
        fate: impl Fn(&Row<C>) -> Result<Fate, Error>,
    ) -> Option<i64> {
        let walked = table.walk(index, keys, Walk::Forward, |row| {
            let position = row.get(order);
            match fate(row) {
                Ok(Fate::Removed) => self.removed += 1,
                Ok(Fate::Retained) => {}
                Ok(Fate::Left) => return ControlFlow::Continue(()),
                Err(_) => return ControlFlow::Break(None),
            }
            self.changed += 1;
            match self.changed >= STEP || self.is_over() || is_awaited() {
                true => ControlFlow::Break(position),
                false => ControlFlow::Continue(()),
            }
        });
        walked.ok().and_then(ControlFlow::break_value).flatten()
    }
}

/// When the code that has been due for longest was, as a timestamp.
pub fn oldest_due(codes: &Table<Code>, due: Due) -> Result<Option<i64>, Error> {
    /// Codes that the next sweep retains come before it, if there was no sweep for long.
    const LOOK: usize = 1000;
    let mut looked = 0;
    let expired = vec![Key::is_null(1), Key::before(2, due.expired)];
    let expired = codes.walk(CODES, expired, Walk::Forward, |code| {
        looked += 1;
        match due_since(code, due) {
            Some(since) => ControlFlow::Break(Some(since)),
            None if looked == LOOK => ControlFlow::Break(None),
            None => ControlFlow::Continue(()),
        }
    })?;
    let retained = vec![Key::before(1, due.retained)];
    let retained = codes.walk(CODES, retained, Walk::Forward, |code| {
        ControlFlow::Break(due_since(code, due))
    })?;
    let both = [expired, retained].map(|flow| flow.break_value().flatten());
    Ok(both.into_iter().flatten().min())
}

fn due_since(code: &Row<Code>, due: Due) -> Option<i64> {
    match store::is_redeemed(code) {
        true => {
            let retain_from = retain_from(code);
            (retain_from < due.retained).then_some(retain_from + due.retention)
        }
        false => code
            .get(Code::ExpiresAt)
            .filter(|expires_at| *expires_at < due.expired),
    }
}
