//! The tables of the extension, reached by their indexes. The only module that touches them.
//!
//! It works on the table access method itself, as the executor does below its plans: no SQL text,
//! so no planner, no plan that was made for an empty table, no search_path and no operator that a
//! caller could plant. Privileges are those of the functions (EXECUTE), not of the tables.
//!
//! Rows are read as they are at this instant (SnapshotSelf: committed, or written by this
//! transaction), whatever snapshot the caller's isolation level holds: whether a code is spent
//! must not depend on when a transaction began. Such a read takes no predicate lock either, so no
//! caller meets a serialization failure.

mod columns;
mod conflict;
mod index;
mod scan;
mod shape;
mod slot;
mod write;

pub use self::columns::{Code, Columns, Family, Run, Token};
pub use self::index::Index;
pub use self::scan::{Key, Walk};

use self::index::open_key;
use self::shape::is_table_of;
use self::slot::Slot;
use self::write::{Reason, delete_tuple, insert_tuple, update_tuple};
use crate::error::Error;
use crate::memory::room;
use crate::secret;
use pgrx::{FromDatum, IntoDatum, pg_sys};
use std::marker::PhantomData;
use std::ptr;

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

/// How a change of a row ended.
#[derive(Clone, Copy, PartialEq)]
pub enum Update {
    Done,
    /// A rival changed or deleted the row first: the caller has to find it again.
    Gone,
    /// An open transaction holds the row (only where the caller gives up on a rival).
    Busy,
}

/// An open table and its primary key.
pub struct Table<C: Columns> {
    rel: pg_sys::Relation,
    pkey: pg_sys::Relation,
    columns: PhantomData<C>,
}

/// One row version, as it was found.
pub struct Row<'t, C: Columns> {
    slot: Slot,
    table: PhantomData<&'t Table<C>>,
}

/// New values by column; what is left out is NULL in a new row, and as it was in an updated one.
pub struct Values<C>(Vec<(C, Option<pg_sys::Datum>)>);

impl<C> Default for Values<C> {
    fn default() -> Values<C> {
        Values(Vec::new())
    }
}

impl<C> Values<C> {
    pub fn set<T: IntoDatum>(mut self, column: C, value: T) -> Values<C> {
        self.0.push((column, value.into_datum()));
        self
    }
}

/// The schema of the called function, which is that of the tables: only who may replace the
/// extension's own objects can put others there.
pub fn schema_of(function: pg_sys::FunctionCallInfo) -> pg_sys::Oid {
    // SAFETY: fcinfo is that of the running function, whose flinfo is set.
    unsafe { pg_sys::get_func_namespace((*(*function).flinfo).fn_oid) }
}

impl<C: Columns> Table<C> {
    /// Opens the table beside the called function for the time of `work`.
    pub fn with<T>(
        function: pg_sys::FunctionCallInfo,
        access: Access,
        work: impl FnOnce(&Table<C>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        Self::in_schema(schema_of(function), access, work)
    }

    /// Opens the table of a schema for the time of `work`.
    pub fn in_schema<T>(
        schema: pg_sys::Oid,
        access: Access,
        work: impl FnOnce(&Table<C>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let oid = Self::oid_in(schema).ok_or(Error::NoTable(C::TABLE))?;
        let mode = match access {
            Access::Read => pg_sys::AccessShareLock,
            Access::Write => pg_sys::RowExclusiveLock,
        } as pg_sys::LOCKMODE;
        // SAFETY: opened and locked in this mode. Who waited for the lock may find the table dropped.
        unsafe {
            let rel = pg_sys::try_table_open(oid, mode);
            if rel.is_null() {
                return Err(Error::NoTable(C::TABLE));
            }
            Self::run(rel, mode, work)
        }
    }

    /// Opens the table of this oid for writing. `None`: it is locked, gone, or not as it should be.
    pub fn with_oid<T>(oid: pg_sys::Oid, work: impl FnOnce(&Table<C>) -> T) -> Option<T> {
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
            Self::run(rel, mode, |table| Ok(work(table))).ok()
        }
    }

    pub fn oid_in(schema: pg_sys::Oid) -> Option<pg_sys::Oid> {
        // SAFETY: looks a name up.
        let oid = unsafe { pg_sys::get_relname_relid(C::TABLE.as_ptr(), schema) };
        (oid != pg_sys::InvalidOid).then_some(oid)
    }

    /// Locks stay until the transaction ends, as the executor's do. After an ERROR nothing is closed
    /// here: PostgreSQL's resource owner does that.
    unsafe fn run<T>(
        rel: pg_sys::Relation,
        mode: pg_sys::LOCKMODE,
        work: impl FnOnce(&Table<C>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        // SAFETY: rel is open and locked. The relations are closed once, after the last use: `work`
        // cannot keep what borrows from the Table.
        unsafe {
            let result = match is_table_of::<C>(rel) {
                true => Self::run_with_key(rel, mode, work),
                false => Err(Error::NoTable(C::TABLE)),
            };
            pg_sys::table_close(rel, pg_sys::NoLock as _);
            result
        }
    }

    unsafe fn run_with_key<T>(
        rel: pg_sys::Relation,
        mode: pg_sys::LOCKMODE,
        work: impl FnOnce(&Table<C>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        // SAFETY: as above.
        unsafe {
            let pkey = open_key::<C>(rel, mode).ok_or(Error::NoTable(C::TABLE))?;
            let table = Table {
                rel,
                pkey,
                columns: PhantomData,
            };
            let result = work(&table);
            pg_sys::index_close(table.pkey, pg_sys::NoLock as _);
            result
        }
    }

    /// Names the table to another process.
    pub fn oid(&self) -> pg_sys::Oid {
        // SAFETY: rel is open.
        unsafe { (*self.rel).rd_id }
    }

    /// Where the other tables are, too.
    pub fn schema(&self) -> pg_sys::Oid {
        // SAFETY: rel is open.
        unsafe { (*(*self.rel).rd_rel).relnamespace }
    }

    /// Its size, in blocks.
    pub fn blocks(&self) -> u32 {
        // SAFETY: rel is open.
        unsafe {
            pg_sys::RelationGetNumberOfBlocksInFork(self.rel, pg_sys::ForkNumber::MAIN_FORKNUM)
        }
    }

    /// Inserts a row. Waits for a rival insertion of the same key to commit or abort; where the key
    /// exists, `exists` is raised.
    pub fn insert(&self, values: Values<C>, exists: fn() -> Error) {
        let slot = Slot::of(self.rel);
        slot.fill(None, values);
        insert_tuple(self.rel, &slot);
        self.insert_index_entries(&slot, Reason::Inserted, exists);
        self.end_change();
    }

    /// Replaces a row version by a newer one.
    pub fn update(&self, row: &Row<C>, values: Values<C>, rival: Rival) -> Update {
        let slot = Slot::of(self.rel);
        slot.fill(Some(&row.slot), values);
        match update_tuple(self.rel, &row.slot, &slot, rival) {
            Ok(None) => {}
            Ok(Some(reason)) => self.insert_index_entries(&slot, reason, || Error::Damaged),
            Err(update) => return update,
        }
        self.end_change();
        Update::Done
    }

    /// Removes a row that nobody holds.
    pub fn delete(&self, row: &Row<C>) -> Update {
        let update = delete_tuple(self.rel, &row.slot);
        if update == Update::Done {
            self.end_change();
        }
        update
    }

    /// Writes a row that nobody holds anew, at another place: an update would fill the room that
    /// its page keeps for heap-only updates.
    pub fn relocate(&self, row: &Row<C>, values: Values<C>) -> Update {
        let slot = Slot::of(self.rel);
        slot.fill(Some(&row.slot), values);
        let update = delete_tuple(self.rel, &row.slot);
        if update == Update::Done {
            insert_tuple(self.rel, &slot);
            self.insert_index_entries(&slot, Reason::Updated, || Error::Damaged);
            self.end_change();
        }
        update
    }

    /// Lets later statements, and later calls in this one, see what was written.
    fn end_change(&self) {
        // SAFETY: as the executor does after each statement.
        unsafe { pg_sys::CommandCounterIncrement() };
    }
}

impl<C: Columns> Row<'_, C> {
    /// Whether this transaction wrote this row version: nobody else can see it.
    pub fn is_of_this_transaction(&self) -> bool {
        // SAFETY: the header's inserting transaction is always set.
        unsafe {
            let xmin = (*self.header()).t_choice.t_heap.t_xmin;
            pg_sys::TransactionIdIsCurrentTransactionId(xmin)
        }
    }

    /// Whether this transaction inserted the row, and so has all there is of it.
    pub fn is_new(&self) -> bool {
        // SAFETY: as above.
        let flags = u32::from(unsafe { (*self.header()).t_infomask });
        flags & pg_sys::HEAP_UPDATED == 0 && self.is_of_this_transaction()
    }

    fn header(&self) -> *const pg_sys::HeapTupleHeaderData {
        // SAFETY: the slot holds a stored row; the tuple that it answers lies in its pinned page.
        unsafe {
            let mut copied = false;
            (*pg_sys::ExecFetchSlotHeapTuple(self.slot.0, false, &mut copied)).t_data
        }
    }

    /// Whether a column is not NULL.
    pub fn has(&self, column: C) -> bool {
        !self.datum(column).1
    }

    /// A column's value, `None` where it is NULL.
    pub fn get<T: FromDatum>(&self, column: C) -> Option<T> {
        let (datum, is_null) = self.datum(column);
        // SAFETY: T is the Rust type of the column.
        unsafe { T::from_datum(datum, is_null) }
    }

    /// That of a text column.
    pub fn text(&self, column: C) -> Option<&str> {
        self.get(column)
    }

    /// That of a text[] column, of which no element is NULL.
    pub fn texts(&self, column: C) -> Option<Vec<&str>> {
        let (datum, is_null) = self.datum(column);
        let (mut elements, mut nulls, mut number) = (ptr::null_mut(), ptr::null_mut(), 0);
        // SAFETY: the column is a text[]. What it is detoasted into lives as long as the memory
        // context of the call, and so longer than the row.
        unsafe {
            if is_null {
                return None;
            }
            let array = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast();
            let align = pg_sys::TYPALIGN_INT as std::ffi::c_char;
            pg_sys::deconstruct_array(
                array,
                pg_sys::TEXTOID,
                -1,
                false,
                align,
                &mut elements,
                &mut nulls,
                &mut number,
            );
            let mut texts = room(number as usize);
            for at in 0..number as usize {
                texts.push(FromDatum::from_datum(*elements.add(at), *nulls.add(at))?);
            }
            Some(texts)
        }
    }

    fn datum(&self, column: C) -> (pg_sys::Datum, bool) {
        let attribute = column.position();
        // SAFETY: the table has C::TYPES.len() attributes, checked when it was opened, and the slot holds
        // a stored row of it.
        unsafe {
            let slot = self.slot.0;
            if ((*slot).tts_nvalid as usize) <= attribute {
                pg_sys::slot_getsomeattrs_int(slot, attribute as i32 + 1);
            }
            (
                *(*slot).tts_values.add(attribute),
                *(*slot).tts_isnull.add(attribute),
            )
        }
    }
}

/// Whether another transaction waits for the end of this one, as who wants a row does that this one
/// holds.
pub fn is_awaited() -> bool {
    // SAFETY: the tag of the lock that a transaction with an id holds on it to its end.
    unsafe {
        let xid = pg_sys::GetTopTransactionIdIfAny();
        let tag = pg_sys::LOCKTAG {
            locktag_field1: xid.into_inner(),
            locktag_field2: 0,
            locktag_field3: 0,
            locktag_field4: 0,
            locktag_type: pg_sys::LockTagType::LOCKTAG_TRANSACTION as u8,
            locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
        };
        xid != pg_sys::InvalidTransactionId
            && pg_sys::LockHasWaiters(&tag, pg_sys::ExclusiveLock as _, false)
    }
}

/// Keeps others from locking the same key of the table in a conflicting way until this transaction
/// ends, whether there is a row or not. Two keys may share a lock.
pub fn lock_key<C: Columns>(table: &Table<C>, key: &str, mode: u32) {
    let number = pg_sys::Oid::from(secret::number(key));
    // SAFETY: object locks of a table's own oid are nobody else's.
    unsafe { pg_sys::LockDatabaseObject(table.oid(), number, 0, mode as pg_sys::LOCKMODE) };
}
