//! Checks whether a table is still as the extension made it. The code that reads and writes rows
//! relies on this. An administrator's addition is either honoured, or it is an obstacle and the
//! write is refused.

use super::Columns;
use crate::error::Obstacle;
use crate::pg::session::Owner;
use pgrx::{IntoDatum, direct_function_call, pg_sys};
use std::cell::RefCell;
use std::ffi::{CStr, CString};

/// The obstacle if the relation is not an ordinary table with storage of its own.
pub unsafe fn kind_obstacle(rel: pg_sys::Relation) -> Option<Obstacle> {
    // SAFETY: the relation is open.
    match unsafe { (*(*rel).rd_rel).relkind } as u8 {
        pg_sys::RELKIND_PARTITIONED_TABLE => Some(Obstacle::Partitioned),
        pg_sys::RELKIND_FOREIGN_TABLE => Some(Obstacle::ForeignTable),
        _ => None,
    }
}

/// The obstacle that prevents writes to an open table of C.
pub unsafe fn obstacle<C: Columns>(rel: pg_sys::Relation) -> Option<Obstacle> {
    // SAFETY: rel is open, and so are its descriptor and its rules.
    unsafe {
        let form = &*(*rel).rd_rel;
        let attributes = || (0..natts(rel)).map(|at| &*attribute((*rel).rd_att, at));
        if attributes().skip(C::TYPES.len()).any(|a| !a.attisdropped) {
            Some(Obstacle::Column)
        } else if (*rel)
            .rd_rules
            .as_ref()
            .is_some_and(|rules| rules.numLocks > 0)
        {
            Some(Obstacle::Rule)
        } else if form.relrowsecurity && form.relforcerowsecurity {
            Some(Obstacle::RowSecurity)
        } else if form.relispartition
            || attributes().any(|a| a.attinhcount > 0)
            // The flag stays set after the last child is gone.
            || form.relhassubclass && has_heirs((*rel).rd_id)
        {
            Some(Obstacle::Inheritance)
        } else {
            None
        }
    }
}

unsafe extern "C-unwind" {
    fn find_inheritance_children(parent: pg_sys::Oid, mode: pg_sys::LOCKMODE) -> *mut pg_sys::List;
}

unsafe fn has_heirs(oid: pg_sys::Oid) -> bool {
    // SAFETY: reads a catalog. An error in it jumps over no frame that owns anything.
    unsafe {
        let find = || find_inheritance_children(oid, pg_sys::NoLock as _);
        !pg_sys::ffi::pg_guard_ffi_boundary(find).is_null()
    }
}

/// Whether an open table has all columns of C in their places. It may have more.
pub unsafe fn is_table_of<C: Columns>(rel: pg_sys::Relation) -> bool {
    // SAFETY: the descriptor of an open relation has natts attributes.
    unsafe {
        let form = &*(*rel).rd_rel;
        form.relkind as u8 == pg_sys::RELKIND_RELATION
            && form.relam == pg_sys::HEAP_TABLE_AM_OID
            && (form.relpersistence as u8 == pg_sys::RELPERSISTENCE_UNLOGGED || !C::IS_UNLOGGED)
            && natts(rel) >= C::TYPES.len()
            && C::TYPES.iter().enumerate().all(|(at, of_type)| {
                let attribute = &*attribute((*rel).rd_att, at);
                attribute.atttypid == *of_type && !attribute.attisdropped
            })
    }
}

/// Whether a write to this table of C consists only of storing the row and its index entries. So
/// there must be no trigger, hence no foreign key, and no constraint but the extension's own, which
/// its writes always satisfy.
pub unsafe fn is_plain<C: Columns>(rel: pg_sys::Relation) -> bool {
    // SAFETY: rel is open, and so are its triggers and constraints.
    unsafe {
        let no_trigger = (*rel)
            .trigdesc
            .as_ref()
            .is_none_or(|all| all.numtriggers == 0);
        no_trigger && has_own_checks::<C>(rel) && has_own_not_nulls::<C>(rel)
    }
}

thread_local! {
    /// The stored form of the extension's only CHECK constraint, once it was read.
    static OWN_CHECK: RefCell<CString> = RefCell::default();
}

unsafe fn has_own_checks<C: Columns>(rel: pg_sys::Relation) -> bool {
    // SAFETY: rel is open, and so are its constraints.
    unsafe {
        let Some(constraints) = (*(*rel).rd_att).constr.as_ref() else {
            return true;
        };
        match (constraints.num_check, C::CHECK) {
            (0, _) => true,
            (1, Some(own)) => is_check(rel, CStr::from_ptr((*constraints.check).ccbin), own),
            _ => false,
        }
    }
}

/// Whether a stored constraint has this text.
unsafe fn is_check(rel: pg_sys::Relation, stored: &CStr, own: &str) -> bool {
    if OWN_CHECK.with_borrow(|known| known.as_c_str() == stored) {
        return true;
    }
    // SAFETY: pg_get_expr takes an expression as text, and the table whose columns it names.
    let said: Option<String> = unsafe {
        let stored = stored.to_string_lossy().into_owned().into_datum();
        direct_function_call(pg_sys::pg_get_expr, &[stored, (*rel).rd_id.into_datum()])
    };
    let is_own = said.as_deref() == Some(own);
    if is_own {
        OWN_CHECK.set(stored.to_owned());
    }
    is_own
}

unsafe fn has_own_not_nulls<C: Columns>(rel: pg_sys::Relation) -> bool {
    unsafe {
        let not_null = |at: usize| (*attribute((*rel).rd_att, at)).attnotnull;
        let own = |at: usize| C::NOT_NULL.iter().any(|column| column.position() == at);
        (0..C::TYPES.len()).all(|at| own(at) || !not_null(at))
    }
}

/// Whether a publication or logical decoding follows the changes of the table.
pub unsafe fn is_followed(rel: pg_sys::Relation) -> bool {
    // SAFETY: rel is open.
    unsafe {
        let permanent = (*(*rel).rd_rel).relpersistence as u8 == pg_sys::RELPERSISTENCE_PERMANENT;
        permanent
            && (pg_sys::wal_level >= pg_sys::WalLevel::WAL_LEVEL_LOGICAL as i32
                || is_published(rel))
    }
}

#[cfg(feature = "pg14")]
unsafe fn is_published(rel: pg_sys::Relation) -> bool {
    let actions = unsafe { &*pg_sys::GetRelationPublicationActions(rel) };
    actions.pubinsert || actions.pubupdate || actions.pubdelete
}

#[cfg(not(feature = "pg14"))]
unsafe fn is_published(rel: pg_sys::Relation) -> bool {
    let mut all = pg_sys::PublicationDesc::default();
    unsafe { pg_sys::RelationBuildPublicationDesc(rel, &mut all) };
    all.pubactions.pubinsert || all.pubactions.pubupdate || all.pubactions.pubdelete
}

/// Whether an open primary key is that of C: on its one column, in byte order, and checked
/// immediately.
pub unsafe fn is_key_of<C: Columns>(pkey: pg_sys::Relation) -> bool {
    // SAFETY: rd_index names the columns of an open index, and rd_indcollation their collations.
    unsafe {
        let form = &*(*pkey).rd_index;
        form.indnkeyatts == 1
            && form.indkey.values.as_slice(1)[0] == C::KEY.position() as i16 + 1
            && form.indimmediate
            && form.indisvalid
            && *(*pkey).rd_indcollation == pg_sys::C_COLLATION_OID
    }
}

/// The quoted name of a column, for SQL text.
pub unsafe fn column_name(rel: pg_sys::Relation, at: usize) -> String {
    // SAFETY: the descriptor belongs to an open relation, and PostgreSQL quotes the name.
    unsafe {
        let name = (*attribute((*rel).rd_att, at)).attname.data.as_ptr();
        CStr::from_ptr(pg_sys::quote_identifier(name))
            .to_string_lossy()
            .into_owned()
    }
}

/// The role whose rights the code of its triggers and indexes has.
pub unsafe fn owner(rel: pg_sys::Relation) -> Owner {
    // SAFETY: rel is open.
    Owner::new(unsafe { (*(*rel).rd_rel).relowner })
}

unsafe fn natts(rel: pg_sys::Relation) -> usize {
    unsafe { (*(*rel).rd_att).natts as usize }
}

#[cfg(not(feature = "pg18"))]
pub unsafe fn attribute(
    descriptor: pg_sys::TupleDesc,
    at: usize,
) -> *const pg_sys::FormData_pg_attribute {
    unsafe { (*descriptor).attrs.as_ptr().add(at) }
}

#[cfg(feature = "pg18")]
pub unsafe fn attribute(
    descriptor: pg_sys::TupleDesc,
    at: usize,
) -> *const pg_sys::FormData_pg_attribute {
    // The attributes follow an array of compact forms. PostgreSQL's own TupleDescAttr is an inline
    // function.
    unsafe {
        let short_forms = (*descriptor).compact_attrs.as_ptr();
        let all = short_forms.add((*descriptor).natts as usize);
        all.cast::<pg_sys::FormData_pg_attribute>().add(at)
    }
}
