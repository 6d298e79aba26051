//! The rows of `authorizations`, reached by their key. The only module that touches the table.
//!
//! It works on the table access method itself, as the executor does below its plans: no SQL text,
//! so no planner, no plan that was made for an empty table, no search_path and no operator that a
//! caller could plant. Privileges are those of the functions (EXECUTE), not of the table.
//!
//! Rows are read as they are at this instant (SnapshotSelf: committed, or written by this
//! transaction), whatever snapshot the caller's isolation level holds: whether a code is spent
//! must not depend on when a transaction began. Such a read takes no predicate lock either, so no
//! caller meets a serialization failure.

mod slot;
mod write;

use self::slot::Slot;
use self::write::{Entries, Indexes, insert_index_entries, update_tuple};
use crate::error::Error;
use pgrx::{FromDatum, IntoDatum, check_for_interrupts, pg_sys};
use std::marker::PhantomData;
use std::ptr;

/// The columns, by position, as `sql/authorizations.sql` creates them.
#[derive(Clone, Copy)]
pub enum Column {
    ExpiresAt,
    InsertedAt,
    ConsumedAt,
    ConsumedSuccess,
    CodeHash,
    ClientId,
    Subject,
    RedirectUri,
    Scope,
    Resource,
    CodeChallenge,
    CodeChallengeMethod,
    Cnf,
    Nonce,
    FamilyId,
    Claims,
    Extra,
    ConsumedMeta,
}

const COLUMNS: usize = Column::ConsumedMeta as usize + 1;

/// A row that is updated elsewhere while an index scan runs can be missed once: its old version
/// dies after the scan passed the place of its new one. A code's row is updated at most twice in
/// its life, so that a third miss means that there is no row.
const SCANS: usize = 3;

/// What a function is about to do with the table.
#[derive(Clone, Copy, PartialEq)]
pub enum Access {
    Read,
    Write,
}

/// What to do about an open transaction that holds the row.
#[derive(Clone, Copy, PartialEq)]
pub enum Rival {
    Wait,
    GiveUp,
}

/// How an update ended.
#[derive(Clone, Copy, PartialEq)]
pub enum Update {
    Done,
    /// A rival changed or deleted the row first: the caller has to find it again.
    Gone,
    /// An open transaction holds the row (only where the caller gives up on a rival).
    Busy,
}

/// The open table and its primary key.
pub struct Table {
    rel: pg_sys::Relation,
    pkey: pg_sys::Relation,
}

/// One row version, as it was found.
pub struct Row<'t> {
    slot: Slot,
    table: PhantomData<&'t Table>,
}

/// New values by column; what is left out is NULL in a new row, and as it was in an updated one.
#[derive(Default)]
pub struct Values(Vec<(Column, Option<pg_sys::Datum>)>);

impl Values {
    pub fn set<T: IntoDatum>(mut self, column: Column, value: T) -> Values {
        self.0.push((column, value.into_datum()));
        self
    }
}

impl Table {
    /// Opens the table for the time of `work`.
    ///
    /// It is the one in the schema of the called function: only who may replace the extension's own
    /// objects can put another one there.
    pub fn with<T>(
        function: pg_sys::FunctionCallInfo,
        access: Access,
        work: impl FnOnce(&Table) -> Result<T, Error>,
    ) -> Result<T, Error> {
        // SAFETY: fcinfo is that of the running function, whose flinfo is set.
        unsafe {
            let schema = pg_sys::get_func_namespace((*(*function).flinfo).fn_oid);
            let oid = pg_sys::get_relname_relid(c"authorizations".as_ptr(), schema);
            if oid == pg_sys::InvalidOid {
                return Err(Error::NoTable);
            }
            let mode = match access {
                Access::Read => pg_sys::AccessShareLock,
                Access::Write => pg_sys::RowExclusiveLock,
            } as pg_sys::LOCKMODE;
            Table::run(pg_sys::table_open(oid, mode), mode, work)
        }
    }

    /// Opens the table of this oid for writing. `None`: it is locked, or gone.
    pub fn with_oid<T>(oid: pg_sys::Oid, work: impl FnOnce(&Table) -> T) -> Option<T> {
        let mode = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;
        // SAFETY: the lock is held before the relation is opened.
        unsafe {
            if !pg_sys::ConditionalLockRelationOid(oid, mode) {
                return None;
            }
            let rel = pg_sys::try_relation_open(oid, pg_sys::NoLock as _);
            if rel.is_null() {
                return None;
            }
            Table::run(rel, mode, |table| Ok(work(table))).ok()
        }
    }

    /// Locks stay until the transaction ends, as the executor's do. After an ERROR nothing is closed
    /// here: PostgreSQL's resource owner does that.
    unsafe fn run<T>(
        rel: pg_sys::Relation,
        mode: pg_sys::LOCKMODE,
        work: impl FnOnce(&Table) -> Result<T, Error>,
    ) -> Result<T, Error> {
        // SAFETY: rel is open and locked. The relations are closed once, after the last use: `work`
        // cannot keep what borrows from the Table.
        unsafe {
            let pkey = primary_key(rel);
            let complete = (*(*rel).rd_att).natts as usize >= COLUMNS;
            let result = if complete && pkey != pg_sys::InvalidOid {
                let table = Table {
                    rel,
                    pkey: pg_sys::index_open(pkey, mode),
                };
                let result = work(&table);
                pg_sys::index_close(table.pkey, pg_sys::NoLock as _);
                result
            } else {
                Err(Error::NoTable)
            };
            pg_sys::table_close(rel, pg_sys::NoLock as _);
            result
        }
    }

    /// Names the table to another process.
    pub fn oid(&self) -> pg_sys::Oid {
        // SAFETY: rel is open.
        unsafe { (*self.rel).rd_id }
    }

    /// The newest committed version of a row, or this transaction's own.
    pub fn find(&self, code_hash: &str) -> Option<Row<'_>> {
        (0..SCANS).find_map(|_| self.scan(code_hash))
    }

    fn scan(&self, code_hash: &str) -> Option<Row<'_>> {
        let slot = Slot::of(self.rel);
        // SAFETY: the key's datum outlives the scan; the slot holds its own pin on the row's page,
        // so that it stays readable after the scan ended.
        let found = unsafe {
            let mut key = pg_sys::ScanKeyData::default();
            pg_sys::ScanKeyInit(
                &mut key,
                1,
                pg_sys::BTEqualStrategyNumber as _,
                pg_sys::F_TEXTEQ.into(),
                code_hash.into_datum()?,
            );
            let scan = begin_scan(self.rel, self.pkey);
            pg_sys::index_rescan(scan, &mut key, 1, ptr::null_mut(), 0);
            let forward = pg_sys::ScanDirection::ForwardScanDirection;
            let found = pg_sys::index_getnext_slot(scan, forward, slot.0);
            pg_sys::index_endscan(scan);
            found
        };
        found.then_some(Row {
            slot,
            table: PhantomData,
        })
    }

    /// Inserts a row unless its key exists: the steps of INSERT … ON CONFLICT DO NOTHING, because a
    /// plain insertion would report the key in its error. Waits for a rival insertion of the same
    /// key to commit or abort. False: the key exists.
    pub fn insert(&self, values: Values) -> bool {
        let slot = Slot::of(self.rel);
        slot.fill(None, values);
        let indexes = Indexes::open(self.rel, true);
        let inserted = loop {
            check_for_interrupts!();
            if indexes.conflict(&slot) {
                break false;
            }
            if indexes.insert_speculatively(&slot) {
                break true;
            }
        };
        indexes.close();
        // Later statements, and later calls in this one, see the row.
        unsafe { pg_sys::CommandCounterIncrement() };
        inserted
    }

    /// Replaces a row version by a newer one.
    pub fn update(&self, row: &Row, values: Values, rival: Rival) -> Update {
        let slot = Slot::of(self.rel);
        slot.fill(Some(&row.slot), values);
        let indexes = match update_tuple(self.rel, &row.slot, &slot, rival) {
            Ok(indexes) => indexes,
            Err(update) => return update,
        };
        match indexes {
            Entries::None => {}
            #[cfg(not(any(feature = "pg14", feature = "pg15")))]
            Entries::Summarizing => insert_index_entries(self.rel, &slot, true),
            Entries::All => insert_index_entries(self.rel, &slot, false),
        }
        unsafe { pg_sys::CommandCounterIncrement() };
        Update::Done
    }
}

impl Row<'_> {
    /// Whether this transaction inserted the row: nobody else can see it.
    pub fn is_of_this_transaction(&self) -> bool {
        // SAFETY: the slot holds a stored row; the tuple that it answers lies in its pinned page.
        unsafe {
            let mut copied = false;
            let tuple = pg_sys::ExecFetchSlotHeapTuple(self.slot.0, false, &mut copied);
            let header = (*tuple).t_data;
            let updated = u32::from((*header).t_infomask) & pg_sys::HEAP_UPDATED != 0;
            !updated
                && pg_sys::TransactionIdIsCurrentTransactionId((*header).t_choice.t_heap.t_xmin)
        }
    }

    /// A column's value, `None` where it is NULL.
    pub fn get<T: FromDatum>(&self, column: Column) -> Option<T> {
        let attribute = column as usize;
        // SAFETY: the table has COLUMNS attributes, checked when it was opened, and the slot holds
        // a stored row of it. T is the Rust type of the column.
        unsafe {
            let slot = self.slot.0;
            if ((*slot).tts_nvalid as usize) <= attribute {
                pg_sys::slot_getsomeattrs_int(slot, attribute as i32 + 1);
            }
            let is_null = *(*slot).tts_isnull.add(attribute);
            T::from_datum(*(*slot).tts_values.add(attribute), is_null)
        }
    }
}

unsafe fn primary_key(rel: pg_sys::Relation) -> pg_sys::Oid {
    unsafe {
        pg_sys::RelationGetPrimaryKeyIndex(
            rel,
            #[cfg(feature = "pg18")]
            false,
        )
    }
}

unsafe fn begin_scan(rel: pg_sys::Relation, index: pg_sys::Relation) -> pg_sys::IndexScanDesc {
    unsafe {
        pg_sys::index_beginscan(
            rel,
            index,
            &raw mut pg_sys::SnapshotSelfData,
            #[cfg(feature = "pg18")]
            ptr::null_mut(),
            1,
            0,
        )
    }
}
