//! Opening the indexes of a table.

use super::shape::is_key_of;
use super::{Columns, Table};
use pgrx::pg_sys;
use std::ffi::CStr;

/// An index of a table, by its name and the columns that it begins with.
pub struct Index<C: 'static> {
    pub name: &'static CStr,
    pub columns: &'static [C],
}

impl<C: Columns> Index<C> {
    /// `None`: the table has no such index.
    pub(super) unsafe fn open(&self, table: &Table<C>) -> Option<pg_sys::Relation> {
        // SAFETY: looks a name up.
        let named = || unsafe {
            let oid = pg_sys::get_relname_relid(self.name.as_ptr(), table.schema());
            (pg_sys::IndexGetRelation(oid, true) == table.oid()).then_some(oid)
        };
        // SAFETY: the table is open.
        unsafe { open(named, pg_sys::AccessShareLock as _, |index| self.is(index)) }
    }

    /// Whether this is it, and leads to every row.
    unsafe fn is(&self, index: pg_sys::Relation) -> bool {
        // SAFETY: an open index, of which rd_index names the columns.
        unsafe {
            let form = &*(*index).rd_index;
            let columns = form.indkey.values.as_slice(form.indnkeyatts as usize);
            let wanted = self
                .columns
                .iter()
                .map(|column| column.position() as i16 + 1);
            (*(*index).rd_rel).relam == pg_sys::BTREE_AM_OID
                && form.indisvalid
                && pg_sys::RelationGetIndexPredicate(index).is_null()
                && wanted.eq(columns.iter().copied())
        }
    }
}

/// Opens the primary key of an open table. `None`: it has none, or not that of C.
pub unsafe fn open_key<C: Columns>(
    rel: pg_sys::Relation,
    mode: pg_sys::LOCKMODE,
) -> Option<pg_sys::Relation> {
    // SAFETY: rel is open, and so is the index.
    unsafe { open(|| primary_key(rel), mode, |index| is_key_of::<C>(index)) }
}

/// Opens the index that `find` names. Before it is locked, REINDEX CONCURRENTLY may have put another one
/// in its place: then that one is it. The lock of the table keeps both from being dropped.
unsafe fn open(
    find: impl Fn() -> Option<pg_sys::Oid>,
    mode: pg_sys::LOCKMODE,
    is_it: impl Fn(pg_sys::Relation) -> bool,
) -> Option<pg_sys::Relation> {
    let mut found = find();
    while let Some(oid) = found {
        // SAFETY: an index of a table that is locked.
        let index = unsafe { pg_sys::index_open(oid, mode) };
        if is_it(index) {
            return Some(index);
        }
        // SAFETY: opened above.
        unsafe { pg_sys::index_close(index, pg_sys::NoLock as _) };
        found = find().filter(|now| *now != oid);
    }
    None
}

unsafe fn primary_key(rel: pg_sys::Relation) -> Option<pg_sys::Oid> {
    // SAFETY: rel is open.
    let oid = unsafe {
        pg_sys::RelationGetPrimaryKeyIndex(
            rel,
            #[cfg(feature = "pg18")]
            false,
        )
    };
    (oid != pg_sys::InvalidOid).then_some(oid)
}
