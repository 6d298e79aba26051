//! The tables of the extension. No other folder touches their rows, except that statistics in
//! codes/ counts them. The meaning of a column in the life of a code is not known here, but in
//! codes/.
//!
//! The code here calls the table access method directly, as the executor does. There is no SQL
//! text, and so no planner, no plan made for an empty table, no search_path, and no operator that a
//! caller could plant. The privileges are those of the functions (EXECUTE), not those of the
//! tables. If an administrator has added something that only the executor can honour, such as a
//! trigger, the executor writes (docs/writes.md).
//!
//! Rows are read as they are now (SnapshotSelf: committed, or written by this transaction),
//! whatever snapshot the caller's isolation level holds. Otherwise the time at which a transaction
//! began would decide whether a code is spent. Such a read takes no predicate lock, so no caller
//! gets a serialization failure.

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

pub use self::columns::{Code, Columns, Family, Published, Run, Token};
pub use self::lock::is_awaited;
pub use self::row::{Row, Values, Version};
pub use self::scan::{Index, Key, Walk};
pub use self::trigger::is_in_trigger;

use self::scan::{open_key, primary_key};
use crate::error::Error;
use crate::pg::backend::schema_of;
use crate::pg::session::Owner;
use pgrx::pg_sys;
use std::ffi::CStr;
use std::marker::PhantomData;

/// What a function will do with the table.
#[derive(Clone, Copy, PartialEq)]
pub enum Access {
    Read,
    Write,
}

/// What to do if an open transaction holds the row.
#[derive(Clone, Copy, PartialEq)]
pub enum LockWait {
    Wait,
    GiveUp,
}

/// The result of changing a row.
#[derive(Clone, Copy, PartialEq)]
pub enum Update {
    Done,
    /// Another transaction changed or deleted the row first. The caller has to find it again.
    Gone,
    /// An open transaction holds the row. Occurs only with GiveUp.
    Busy,
}

/// The storage of a table: its oid, and its file, which TRUNCATE replaces.
#[derive(Clone, Copy, PartialEq)]
pub struct Storage(pg_sys::Oid, pg_sys::Oid);

/// The locks on a table opened for writing and on its primary key.
pub struct Locks {
    pub table: pg_sys::Oid,
    key: pg_sys::Oid,
}

impl Locks {
    /// Releases the locks before the transaction ends, if nothing was written. Locks that the
    /// transaction held before stay.
    pub fn release(&self) {
        let mode = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;
        // SAFETY: the running call took each of them once.
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
    /// The lock that is released when the table is closed, or NoLock.
    released: pg_sys::LOCKMODE,
    columns: PhantomData<C>,
}

/// The lock that closing a table keeps until the transaction ends.
const NONE: pg_sys::LOCKMODE = pg_sys::NoLock as pg_sys::LOCKMODE;

impl<C: Columns> Table<C> {
    /// Opens the table in the schema of the called function while `work` runs. Only a role that may
    /// replace the extension's own objects can put another table there.
    pub fn with<T>(
        function: pg_sys::FunctionCallInfo,
        access: Access,
        work: impl FnOnce(&Table<C>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        Self::in_schema(schema_of(function), access, work)
    }

    /// Opens the table of a schema while `work` runs.
    pub fn in_schema<T>(
        schema: pg_sys::Oid,
        access: Access,
        work: impl FnOnce(&Table<C>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mode = match access {
            Access::Read => pg_sys::AccessShareLock,
            Access::Write => pg_sys::RowExclusiveLock,
        } as pg_sys::LOCKMODE;
        Self::open(schema, mode, NONE, work)
    }

    /// Opens the table of a schema for reading while `work` runs, and holds no lock on it afterwards.
    /// A caller that waits for a worker must not keep others from the table, behind whom the worker
    /// would wait.
    pub fn briefly<T>(
        schema: pg_sys::Oid,
        work: impl FnOnce(&Table<C>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mode = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
        Self::open(schema, mode, mode, work)
    }

    fn open<T>(
        schema: pg_sys::Oid,
        mode: pg_sys::LOCKMODE,
        released: pg_sys::LOCKMODE,
        work: impl FnOnce(&Table<C>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let oid = Self::oid_in(schema).ok_or(Error::NoTable(C::TABLE))?;
        // SAFETY: opened and locked in this mode. The table may have been dropped while this waited
        // for the lock.
        unsafe {
            let rel = pg_sys::try_table_open(oid, mode);
            if rel.is_null() {
                return Err(Error::NoTable(C::TABLE));
            }
            Self::run(rel, mode, released, work)
        }
    }

    /// Opens the table with this oid for writing. Returns `None` if it is locked or was dropped.
    pub fn with_oid<T>(
        oid: pg_sys::Oid,
        work: impl FnOnce(&Table<C>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        Self::unless_locked(oid, pg_sys::RowExclusiveLock, NONE, work)
    }

    /// Opens the table of a schema for reading, and holds no lock on it afterwards. Returns `None` if it
    /// is locked or does not exist.
    pub fn glance<T>(
        schema: pg_sys::Oid,
        work: impl FnOnce(&Table<C>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let mode = pg_sys::AccessShareLock;
        let glance = |oid| Self::unless_locked(oid, mode, mode as pg_sys::LOCKMODE, work);
        Self::oid_in(schema).map_or(Ok(None), glance)
    }

    /// Opens the table for writing, unless another transaction does the same or holds another lock on
    /// it. Returns `None` then, or if it does not exist.
    pub fn alone<T>(
        schema: pg_sys::Oid,
        work: impl FnOnce(&Table<C>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let mode = pg_sys::ShareRowExclusiveLock as pg_sys::LOCKMODE;
        // SAFETY: takes a lock, which is held until the transaction ends.
        let is_alone = |oid: &_| unsafe { pg_sys::ConditionalLockRelationOid(*oid, mode) };
        let oid = Self::oid_in(schema).filter(is_alone);
        oid.map_or(Ok(None), |oid| Self::with_oid(oid, work))
    }

    fn unless_locked<T>(
        oid: pg_sys::Oid,
        mode: u32,
        released: pg_sys::LOCKMODE,
        work: impl FnOnce(&Table<C>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let mode = mode as pg_sys::LOCKMODE;
        // SAFETY: the lock is held before the relation is opened.
        unsafe {
            if !pg_sys::ConditionalLockRelationOid(oid, mode) {
                return Ok(None);
            }
            let rel = pg_sys::try_relation_open(oid, pg_sys::NoLock as _);
            if rel.is_null() {
                return Ok(None);
            }
            if released == NONE {
                return Self::run(rel, mode, released, work).map(Some);
            }
            // Who only looks does not wait for the index either, as for a REINDEX.
            let key = primary_key(rel);
            if key.is_some_and(|key| !pg_sys::ConditionalLockRelationOid(key, mode)) {
                pg_sys::relation_close(rel, released);
                return Ok(None);
            }
            let result = Self::run(rel, mode, released, work).map(Some);
            if let Some(key) = key {
                pg_sys::UnlockRelationOid(key, mode);
            }
            result
        }
    }

    pub fn oid_in(schema: pg_sys::Oid) -> Option<pg_sys::Oid> {
        // SAFETY: looks up a name.
        let oid = unsafe { pg_sys::get_relname_relid(C::TABLE.as_ptr(), schema) };
        (oid != pg_sys::InvalidOid).then_some(oid)
    }

    pub fn storage_in(schema: pg_sys::Oid) -> Option<Storage> {
        let oid = Self::oid_in(schema)?;
        // SAFETY: the catalog row is read before it is released.
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

    /// Locks that are not released stay until the transaction ends, as the executor's do. After an
    /// ERROR, PostgreSQL's resource owner closes the relations.
    unsafe fn run<T>(
        rel: pg_sys::Relation,
        mode: pg_sys::LOCKMODE,
        released: pg_sys::LOCKMODE,
        work: impl FnOnce(&Table<C>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        // SAFETY: rel is open and locked. The relations are closed once, after their last use:
        // `work` cannot keep anything borrowed from the Table.
        unsafe {
            let result = match Self::check(rel, mode) {
                Ok(()) => Self::run_with_key(rel, mode, released, work),
                Err(error) => Err(error),
            };
            pg_sys::table_close(rel, released);
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
        released: pg_sys::LOCKMODE,
        work: impl FnOnce(&Table<C>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        // SAFETY: as above.
        unsafe {
            let pkey = open_key::<C>(rel, mode).ok_or(Error::NoTable(C::TABLE))?;
            let table = Table {
                rel,
                pkey,
                is_plain: is_written(mode) && shape::is_plain::<C>(rel),
                released,
                columns: PhantomData,
            };
            let result = work(&table);
            pg_sys::index_close(table.pkey, released);
            result
        }
    }

    /// The locks taken by opening the table for writing.
    pub fn locks(&self) -> Locks {
        // SAFETY: pkey is open.
        let key = unsafe { (*self.pkey).rd_id };
        Locks {
            table: self.oid(),
            key,
        }
    }

    /// The oid, which names the table to another process.
    pub fn oid(&self) -> pg_sys::Oid {
        // SAFETY: rel is open.
        unsafe { (*self.rel).rd_id }
    }

    /// For a table opened for writing: whether a write concerns only the indexes, with no trigger,
    /// no foreign key and no added constraint.
    pub fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// The same for a table opened for reading.
    pub fn is_plain_to_write(&self) -> bool {
        // SAFETY: rel is open.
        unsafe { shape::is_plain::<C>(self.rel) }
    }

    /// Whether a publication or logical decoding follows the table's changes.
    fn is_followed(&self) -> bool {
        // SAFETY: rel is open.
        unsafe { shape::is_followed(self.rel) }
    }

    /// Whether this transaction created the table, so that no other transaction can see it.
    pub fn is_new(&self) -> bool {
        // SAFETY: rel is open. It names the subtransaction that created it, or 0.
        unsafe { (*self.rel).rd_createSubid != 0 }
    }

    /// The schema, which also holds the other tables.
    pub fn schema(&self) -> pg_sys::Oid {
        // SAFETY: rel is open.
        unsafe { (*(*self.rel).rd_rel).relnamespace }
    }

    /// The qualified and quoted name, for SQL text.
    pub fn name(&self) -> String {
        // SAFETY: names of an open table, quoted by PostgreSQL.
        unsafe {
            let schema = pg_sys::get_namespace_name(self.schema());
            let name = (*(*self.rel).rd_rel).relname.data.as_ptr();
            let name = pg_sys::quote_qualified_identifier(schema, name);
            CStr::from_ptr(name).to_string_lossy().into_owned()
        }
    }

    /// The names of the schema, the table and the primary key.
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
        // SAFETY: rel is open and has all columns of C.
        unsafe { shape::column_name(self.rel, at) }
    }

    /// The role whose rights the code of its triggers and indexes has.
    pub fn owner(&self) -> Owner {
        // SAFETY: rel is open.
        unsafe { shape::owner(self.rel) }
    }

    /// Whether it has no block, and so no row.
    pub fn is_empty(&self) -> bool {
        self.blocks() == 0
    }

    /// The size in blocks.
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
