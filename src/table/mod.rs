//! The tables of the extension, reached by their indexes. The only module that touches them.
//!
//! It works on the table access method itself, as the executor does below its plans: no SQL text,
//! so no planner, no plan that was made for an empty table, no search_path and no operator that a
//! caller could plant. Privileges are those of the functions (EXECUTE), not of the tables. Where an
//! administrator has added what only the executor can honour, as a trigger, it is the executor that writes
//! (docs/writes.md).
//!
//! Rows are read as they are at this instant (SnapshotSelf: committed, or written by this
//! transaction), whatever snapshot the caller's isolation level holds: whether a code is spent
//! must not depend on when a transaction began. Such a read takes no predicate lock either, so no
//! caller meets a serialization failure.

mod columns;
mod conflict;
mod executor;
mod lock;
mod row;
mod scan;
mod shape;
mod trigger;
mod tuple;
mod write;

pub use self::columns::{Code, Columns, Family, Run, Token};
pub use self::lock::{is_awaited, lock_key};
pub use self::row::{Row, Values};
pub use self::scan::{Index, Key, Walk};
pub use self::trigger::is_in_trigger;

use self::scan::open_key;
use crate::error::Error;
use crate::pg::backend::schema_of;
use crate::pg::session::Owner;
use pgrx::pg_sys;
use std::ffi::CStr;
use std::marker::PhantomData;

/// What a function is about to do with the table.
#[derive(Clone, Copy, PartialEq)]
pub enum Access {
    Read,
    Write,
}

/// What to do about an open transaction that holds the row.
#[derive(Clone, Copy, PartialEq)]
pub enum LockWait {
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

/// Where the rows of a table are: the table, and its file, which TRUNCATE replaces.
#[derive(Clone, Copy, PartialEq)]
pub struct Storage(pg_sys::Oid, pg_sys::Oid);

/// The locks of a table that was opened for writing, and of its primary key.
pub struct Locks {
    pub table: pg_sys::Oid,
    key: pg_sys::Oid,
}

impl Locks {
    /// Gives them back before the transaction ends, where nothing was written. What the transaction held before it
    /// goes on holding.
    pub fn release(&self) {
        let mode = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;
        // SAFETY: each was taken once, by the call that is running.
        unsafe {
            pg_sys::UnlockRelationOid(self.key, mode);
            pg_sys::UnlockRelationOid(self.table, mode);
        }
    }
}

/// An open table and its primary key.
pub struct Table<C: Columns> {
    rel: pg_sys::Relation,
    pkey: pg_sys::Relation,
    is_plain: bool,
    columns: PhantomData<C>,
}

impl<C: Columns> Table<C> {
    /// Opens the table beside the called function for the time of `work`: only who may replace the extension's own
    /// objects can put others there.
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

    /// Opens the table of this oid for writing. `None`: it is locked, or gone.
    pub fn with_oid<T>(
        oid: pg_sys::Oid,
        work: impl FnOnce(&Table<C>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let mode = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;
        // SAFETY: the lock is held before the relation is opened.
        unsafe {
            if !pg_sys::ConditionalLockRelationOid(oid, mode) {
                return Ok(None);
            }
            let rel = pg_sys::try_relation_open(oid, pg_sys::NoLock as _);
            if rel.is_null() {
                return Ok(None);
            }
            Self::run(rel, mode, work).map(Some)
        }
    }

    pub fn oid_in(schema: pg_sys::Oid) -> Option<pg_sys::Oid> {
        // SAFETY: looks a name up.
        let oid = unsafe { pg_sys::get_relname_relid(C::TABLE.as_ptr(), schema) };
        (oid != pg_sys::InvalidOid).then_some(oid)
    }

    pub fn storage_in(schema: pg_sys::Oid) -> Option<Storage> {
        let oid = Self::oid_in(schema)?;
        // SAFETY: the row of the catalog is read before it is let go.
        unsafe {
            let cache = pg_sys::SysCacheIdentifier::RELOID as i32;
            let tuple = pg_sys::SearchSysCache1(cache, oid.into());
            if tuple.is_null() {
                return None;
            }
            let row = &*pg_sys::heap_tuple_get_struct::<pg_sys::FormData_pg_class>(tuple);
            let file = row.relfilenode;
            pg_sys::ReleaseSysCache(tuple);
            Some(Storage(oid, file))
        }
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
            let result = match Self::check(rel, mode) {
                Ok(()) => Self::run_with_key(rel, mode, work),
                Err(error) => Err(error),
            };
            pg_sys::table_close(rel, pg_sys::NoLock as _);
            result
        }
    }

    unsafe fn check(rel: pg_sys::Relation, mode: pg_sys::LOCKMODE) -> Result<(), Error> {
        // SAFETY: as above.
        unsafe {
            let obstacle = match shape::kind_obstacle(rel) {
                None if !shape::is_table_of::<C>(rel) => return Err(Error::NoTable(C::TABLE)),
                None if is_written(mode) => shape::obstacle::<C>(rel),
                kind => kind,
            };
            obstacle.map_or(Ok(()), |obstacle| Err(Error::Obstacle(C::TABLE, obstacle)))
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
                is_plain: is_written(mode) && shape::is_plain::<C>(rel),
                columns: PhantomData,
            };
            let result = work(&table);
            pg_sys::index_close(table.pkey, pg_sys::NoLock as _);
            result
        }
    }

    /// The locks that opening it for writing took.
    pub fn locks(&self) -> Locks {
        // SAFETY: pkey is open.
        let key = unsafe { (*self.pkey).rd_id };
        Locks {
            table: self.oid(),
            key,
        }
    }

    /// Names the table to another process.
    pub fn oid(&self) -> pg_sys::Oid {
        // SAFETY: rel is open.
        unsafe { (*self.rel).rd_id }
    }

    /// Of a table that is open for writing, whether there is nothing but its indexes that a write has to see to: no
    /// trigger, no foreign key, and no constraint that was added.
    pub fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// Whether somebody follows its changes.
    fn is_followed(&self) -> bool {
        // SAFETY: rel is open.
        unsafe { shape::is_followed(self.rel) }
    }

    /// Whether this transaction made it, so that nobody else can see it.
    pub fn is_new(&self) -> bool {
        // SAFETY: rel is open. It names the subtransaction that made it, 0 for none.
        unsafe { (*self.rel).rd_createSubid != 0 }
    }

    /// Where the other tables are, too.
    pub fn schema(&self) -> pg_sys::Oid {
        // SAFETY: rel is open.
        unsafe { (*(*self.rel).rd_rel).relnamespace }
    }

    /// Its name, qualified, as SQL text has it.
    pub fn name(&self) -> String {
        // SAFETY: names of an open table, quoted by PostgreSQL.
        unsafe {
            let schema = pg_sys::get_namespace_name(self.schema());
            let name = (*(*self.rel).rd_rel).relname.data.as_ptr();
            let name = pg_sys::quote_qualified_identifier(schema, name);
            CStr::from_ptr(name).to_string_lossy().into_owned()
        }
    }

    /// Those of its schema, of itself and of its primary key.
    fn names(&self) -> [String; 3] {
        // SAFETY: names of open relations, each with a NUL byte at its end.
        unsafe {
            let of = |rel: pg_sys::Relation| (*(*rel).rd_rel).relname.data.as_ptr();
            [
                pg_sys::get_namespace_name(self.schema()).cast_const(),
                of(self.rel),
                of(self.pkey),
            ]
            .map(|name| CStr::from_ptr(name).to_string_lossy().into_owned())
        }
    }

    fn column_name(&self, at: usize) -> String {
        // SAFETY: rel is open, and has all columns of C.
        unsafe { shape::column_name(self.rel, at) }
    }

    /// Whose rights the code of its triggers and indexes has.
    pub fn owner(&self) -> Owner {
        // SAFETY: rel is open.
        unsafe { shape::owner(self.rel) }
    }

    /// Its size, in blocks.
    pub fn blocks(&self) -> u32 {
        // SAFETY: rel is open.
        unsafe {
            pg_sys::RelationGetNumberOfBlocksInFork(self.rel, pg_sys::ForkNumber::MAIN_FORKNUM)
        }
    }
}

fn is_written(mode: pg_sys::LOCKMODE) -> bool {
    mode == pg_sys::RowExclusiveLock as pg_sys::LOCKMODE
}
