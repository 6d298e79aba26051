//! The passes of a sweep: which rows each pass reads, by which index. The rows of a batch share a
//! transaction.

use super::care::Care;
use super::due::CODES;
use super::fate::{forget, release, removal};
use super::place::{Pass, Place};
use super::progress::Progress;
use crate::error::Error;
use crate::pg::transaction::{flush_here, in_transaction_of_owner, or_roll_back};
use crate::table::{Code, Columns, Family, Index, Key, Table, Token};
use pgrx::pg_sys;

const TOKENS: Index<Token> = Index {
    name: c"authorization_access_tokens_sweep",
    columns: &[Token::ExpiresAt],
};
const FAMILIES: Index<Family> = Index {
    name: c"authorization_revoked_families_sweep",
    columns: &[Family::RevokedAt],
};

impl Pass {
    /// Goes on batch by batch until nothing is left. Returns the place where it stopped if the
    /// sweep ended earlier.
    pub fn run(self, schema: pg_sys::Oid, start: i64, progress: &mut Progress) -> Option<Place> {
        let mut from = start;
        let mut changed = false;
        progress.care = Care::Bold;
        progress.refused.clear();
        while !progress.is_over() {
            progress.begin_batch();
            let before = progress.removed;
            let batch = or_roll_back(|| {
                in_transaction_of_owner(|| {
                    flush_here();
                    progress.owner = None;
                    (self.batch(schema, from, progress), progress.owner)
                })
            });
            match batch {
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
        // The next sweep starts here and must get further.
        let stuck = from == start && !changed;
        Some(Place {
            pass: self,
            position: from.saturating_add(stuck.into()),
        })
    }

    /// Goes on from a position in the index. Returns `None` when nothing is left.
    fn batch(
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
                    let keys = vec![Key::from(1, position), Key::before(1, due.revoked)];
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

/// Checks that every table is either fit for writing or locked.
pub fn check(schema: pg_sys::Oid) -> Result<(), Error> {
    with(schema, |_: &Table<Code>| Ok(Some(())))?;
    with(schema, |_: &Table<Token>| Ok(Some(())))?;
    with(schema, |_: &Table<Family>| Ok(Some(())))?;
    Ok(())
}

/// Opens a table. Returns `None` if it is locked, because a sweep never waits.
fn with<C: Columns, T>(
    schema: pg_sys::Oid,
    work: impl FnOnce(&Table<C>) -> Result<Option<T>, Error>,
) -> Result<Option<T>, Error> {
    let oid = Table::<C>::oid_in(schema).ok_or(Error::NoTable(C::TABLE))?;
    Table::with_oid(oid, work).map(Option::flatten)
}
