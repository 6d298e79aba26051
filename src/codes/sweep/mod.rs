//! What is due, and its removal.
//!
//! A live or spent code is due when it has expired. A redeemed one is evidence: the first sweep after
//! its expiry writes `retain_from`, and it is due attesto_codes.reuse_retention after that. So a sweep
//! goes through nothing but what it removes or retains, by its index. Where tokens of the family
//! expire later, `retain_from` moves on so that the code is looked at again then.
//!
//! A sweep commits in steps, and ends a step as soon as another transaction waits for a row that it
//! holds. It waits for nobody: what somebody else holds is left to the next sweep. So is what a trigger, a foreign
//! key or a publication does not let go.

use crate::care::Care;
use crate::counters::{self, Counter};
use crate::due::{CODES, Due};
use crate::error::Error;
use crate::failure::{Failure, catch};
use crate::fate::{Fate, forget, release, removal};
use crate::independent::{
    Report, in_transaction, in_transaction_of_owner, or_roll_back, set_replication_role,
    wait_at_most,
};
use crate::settings::REUSE_RETENTION;
use crate::table::{
    Code, Columns, Family, Index, Key, Owner, Row, Table, Token, Walk, is_awaited, triggers_at_once,
};
use crate::{extension, savepoint, undo};
use pgrx::{log, pg_sys};
use std::collections::HashSet;
use std::ffi::{CStr, c_int};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// How long a trigger of a table may wait for a lock.
const PATIENCE: Duration = Duration::from_millis(10);

const TOKENS: Index<Token> = Index {
    name: c"authorization_access_tokens_sweep",
    columns: &[Token::ExpiresAt],
};
const FAMILIES: Index<Family> = Index {
    name: c"authorization_revoked_families_sweep",
    columns: &[Family::RevokedAt],
};

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

/// How far a sweep is: the pass, and the position in its index.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub struct Place {
    pass: Pass,
    position: i64,
}

impl Place {
    pub const START: Place = Place {
        pass: Pass::Retained,
        position: i64::MIN,
    };
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

/// An error that a trigger, a foreign key or a publication raised where a row was to be removed or retained. Its
/// message may hold a value.
#[derive(Clone, Copy)]
struct Refusal {
    pass: Pass,
    sqlstate: i32,
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
        // SAFETY: answers a static C string.
        let sqlstate = unsafe { CStr::from_ptr(pg_sys::unpack_sql_state(sqlstate)) };
        let sqlstate = sqlstate.to_string_lossy();
        log!(
            "attesto_codes left rows of {table} in database \"{database}\" that are due: a trigger, a foreign key or a publication does not let them go (SQLSTATE {sqlstate})"
        );
    }
}

/// The rows that a sweep goes through, in this order.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
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
    care: Care,
    /// The keys of those that were refused at this position, not to be tried again and again.
    refused: HashSet<String>,
    refused_at: i64,
    /// The last row that was tried.
    tried: String,
    replication_role: c_int,
    /// Who owns the table of this step.
    owner: Option<Owner>,
    refusal: Option<Refusal>,
    failure: Option<Report>,
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
            care: Care::Bold,
            refused: HashSet::new(),
            refused_at: i64::MIN,
            tried: String::new(),
            replication_role: self.replication_role,
            owner: None,
            refusal: None,
            failure: None,
        };
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

impl Pass {
    /// Takes steps until there is nothing more. The place where it stopped, if the sweep was over before.
    fn run(self, schema: pg_sys::Oid, start: i64, progress: &mut Progress) -> Option<Place> {
        let mut from = start;
        let mut changed = false;
        progress.care = Care::Bold;
        progress.refused.clear();
        while !progress.is_over() {
            progress.changed = 0;
            progress.tried.clear();
            let before = progress.removed;
            let step = or_roll_back(|| {
                in_transaction_of_owner(|| {
                    undo::flush_later();
                    progress.owner = None;
                    (self.step(schema, from, progress), progress.owner)
                })
            });
            match step {
                Ok(Ok(Some(next))) => {
                    changed |= progress.changed > 0;
                    from = next;
                }
                Ok(Ok(None)) => return None,
                Ok(Err(error)) => {
                    progress.fail(error);
                    return None;
                }
                Err(failure) => {
                    progress.removed = before;
                    let hopeless = progress.tried.is_empty();
                    if progress.care == Care::Single {
                        progress.refuse(self, failure);
                        if hopeless {
                            return None;
                        }
                    }
                    progress.care = progress.care.more();
                }
            }
        }
        // A sweep that goes on from here must come further.
        let stuck = from == start && !changed;
        Some(Place {
            pass: self,
            position: from.saturating_add(stuck.into()),
        })
    }

    fn table(self) -> &'static CStr {
        match self {
            Pass::Retained | Pass::Expired => Code::TABLE,
            Pass::Tokens => Token::TABLE,
            Pass::Families => Family::TABLE,
        }
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
                    progress.walk(self, codes, &CODES, keys, Code::RetainFrom, |code| {
                        release(codes, tokens, code, due)
                    })
                }),
                Pass::Expired => with(schema, |codes| {
                    let keys = vec![
                        Key::is_null(1),
                        Key::from(2, position),
                        Key::before(2, due.expired),
                    ];
                    progress.walk(self, codes, &CODES, keys, Code::ExpiresAt, |code| {
                        release(codes, tokens, code, due)
                    })
                }),
                Pass::Tokens => {
                    let keys = vec![Key::from(1, position), Key::before(1, due.expired)];
                    progress.walk(self, tokens, &TOKENS, keys, Token::ExpiresAt, |token| {
                        tokens.delete(token).map(removal)
                    })
                }
                Pass::Families => with(schema, |revoked| {
                    let keys = vec![Key::from(1, position), Key::before(1, due.retained)];
                    progress.walk(
                        self,
                        revoked,
                        &FAMILIES,
                        keys,
                        Family::RevokedAt,
                        |family| forget(revoked, tokens, family, due),
                    )
                }),
            }
        })
    }
}

/// Whether all tables can be written, or are locked.
fn check(schema: pg_sys::Oid) -> Result<(), Error> {
    with(schema, |_: &Table<Code>| Ok(Some(())))?;
    with(schema, |_: &Table<Token>| Ok(Some(())))?;
    with(schema, |_: &Table<Family>| Ok(Some(())))?;
    Ok(())
}

/// Opens a table. `None` where it is locked: a sweep waits for nobody.
fn with<C: Columns, T>(
    schema: pg_sys::Oid,
    work: impl FnOnce(&Table<C>) -> Result<Option<T>, Error>,
) -> Result<Option<T>, Error> {
    let oid = Table::<C>::oid_in(schema).ok_or(Error::NoTable(C::TABLE))?;
    Table::with_oid(oid, work).map(Option::flatten)
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
            match self.changed >= care.step() || self.is_over() || is_awaited() {
                true => ControlFlow::Break(Ok(position)),
                false => ControlFlow::Continue(()),
            }
        });
        walked?.break_value().unwrap_or(Ok(None))
    }

    /// Lets `fate` decide after a savepoint. What was refused in this sweep is left.
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
        savepoint::within(|| fate(row)).or_else(|failure| {
            self.refuse(pass, failure);
            Ok(Fate::Left)
        })
    }

    /// Leaves the row that was tried last, and keeps the first refusal, to be told of.
    fn refuse(&mut self, pass: Pass, failure: Failure) {
        let sqlstate = failure.sqlstate();
        self.refused.insert(std::mem::take(&mut self.tried));
        self.refusal.get_or_insert(Refusal { pass, sqlstate });
    }

    /// Keeps the first failure, to be told of.
    fn fail(&mut self, error: Error) {
        if let (None, Err(failure)) = (self.failure, catch(|| error.raise())) {
            let failure: Failure = failure;
            self.failure = Some(failure.into());
        }
    }
}
