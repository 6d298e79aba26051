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
    Code, Columns, Family, Index, Key, Row, Table, Token, Update, Values, Walk, is_awaited,
};
use crate::{extension, families, reuse, store, undo};
use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;
use std::ffi::CStr;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// Rows that one transaction removes or retains at most.
const STEP: usize = 10_000;

const CODES: Index<Code> = Index {
    name: c"authorizations_sweep",
    columns: &[Code::RetainFrom, Code::ExpiresAt],
};
const TOKENS: Index<Token> = Index {
    name: c"authorization_access_tokens_sweep",
    columns: &[Token::ExpiresAt],
};
const FAMILIES: Index<Family> = Index {
    name: c"authorization_revoked_families_sweep",
    columns: &[Family::RevokedAt],
};

/// All that a sweep needs.
const RELATIONS: [&CStr; 6] = [
    Code::TABLE,
    Token::TABLE,
    Family::TABLE,
    CODES.name,
    TOKENS.name,
    FAMILIES.name,
];

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
    /// The place in RELATIONS of what it did not find.
    missing: Option<usize>,
}

impl Swept {
    /// What kept it from its work.
    pub fn failure(&self) -> Option<Error> {
        self.missing
            .and_then(|at| RELATIONS.get(at))
            .map(|name| Error::NoTable(name))
    }
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
        let mut failure = None;
        for pass in passes {
            failure = failure.or(pass.run(schema, &mut progress).err());
        }
        counters::add(Counter::Sweeps, 1);
        counters::add(Counter::RowsSwept, progress.removed as u64);
        Swept {
            removed: progress.removed,
            stopped: progress.is_over(),
            missing: match failure {
                Some(Error::NoTable(name)) => RELATIONS.iter().position(|r| *r == name),
                _ => None,
            },
        }
    }
}

impl Pass {
    /// Takes steps until there is nothing more, or the sweep is over.
    fn run(self, schema: pg_sys::Oid, progress: &mut Progress) -> Result<(), Error> {
        let mut from = Some(i64::MIN);
        while let Some(position) = from
            && !progress.is_over()
        {
            progress.changed = 0;
            from = in_transaction(|| {
                undo::flush_later();
                self.step(schema, position, progress)
            })?;
        }
        Ok(())
    }

    /// Goes on from a position in the index. `None`: there is nothing more.
    fn step(
        self,
        schema: pg_sys::Oid,
        position: i64,
        progress: &mut Progress,
    ) -> Result<Option<i64>, Error> {
        with(schema, |tokens: &Table<Token>| {
            let due = progress.due;
            match self {
                Pass::Retained => with(schema, |codes| {
                    let keys = vec![Key::from(1, position), Key::before(1, due.retained)];
                    progress.walk(codes, &CODES, keys, Code::RetainFrom, |code| {
                        release(codes, tokens, code, due)
                    })
                }),
                Pass::Expired => with(schema, |codes| {
                    let keys = vec![
                        Key::is_null(1),
                        Key::from(2, position),
                        Key::before(2, due.expired),
                    ];
                    progress.walk(codes, &CODES, keys, Code::ExpiresAt, |code| {
                        release(codes, tokens, code, due)
                    })
                }),
                Pass::Tokens => {
                    let keys = vec![Key::from(1, position), Key::before(1, due.expired)];
                    progress.walk(tokens, &TOKENS, keys, Token::ExpiresAt, |token| {
                        Ok(removal(tokens.delete(token)))
                    })
                }
                Pass::Families => with(schema, |revoked| {
                    let keys = vec![Key::from(1, position), Key::before(1, due.retained)];
                    progress.walk(revoked, &FAMILIES, keys, Family::RevokedAt, |family| {
                        forget(revoked, tokens, family, due)
                    })
                }),
            }
        })
    }
}

/// Opens a table. `None` where it is locked: a sweep waits for nobody.
fn with<C: Columns, T>(
    schema: pg_sys::Oid,
    work: impl FnOnce(&Table<C>) -> Result<Option<T>, Error>,
) -> Result<Option<T>, Error> {
    let oid = Table::<C>::oid_in(schema).ok_or(Error::NoTable(C::TABLE))?;
    Table::with_oid(oid, work).unwrap_or(Ok(None))
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
        index: &Index<C>,
        keys: Vec<Key>,
        order: C,
        fate: impl Fn(&Row<C>) -> Result<Fate, Error>,
    ) -> Result<Option<i64>, Error> {
        let walked = table.walk(index, keys, Walk::Forward, |row| {
            let position = row.get(order);
            match fate(row) {
                Ok(Fate::Removed) => self.removed += 1,
                Ok(Fate::Retained) => {}
                Ok(Fate::Left) if self.is_over() => return ControlFlow::Break(Ok(position)),
                Ok(Fate::Left) => return ControlFlow::Continue(()),
                Err(error) => return ControlFlow::Break(Err(error)),
            }
            self.changed += 1;
            match self.changed >= STEP || self.is_over() || is_awaited() {
                true => ControlFlow::Break(Ok(position)),
                false => ControlFlow::Continue(()),
            }
        });
        walked?.break_value().unwrap_or(Ok(None))
    }
}

/// The codes that wait for a sweep, which removes them or retains them.
#[derive(Default)]
pub struct Waiting {
    /// How many; at the limit that was given there may be more.
    pub number: i64,
    /// Since when the first of them has, as a timestamp.
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
