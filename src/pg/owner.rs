//! Doing something as the owner of a table: what an administrator added to it, a trigger for one, runs with the
//! owner's rights and never with more, and under settings that no caller chose.

use super::{Columns, Table};
use pgrx::pg_sys;
use std::cell::Cell;
use std::ffi::CStr;

/// The role that owns a table.
#[derive(Clone, Copy)]
pub struct Owner(pg_sys::Oid);

impl<C: Columns> Table<C> {
    pub fn owner(&self) -> Owner {
        // SAFETY: rel is open.
        unsafe { Owner::of(self.rel) }
    }
}

impl Owner {
    pub(super) unsafe fn of(rel: pg_sys::Relation) -> Owner {
        // SAFETY: an open relation.
        Owner(unsafe { (*(*rel).rd_rel).relowner })
    }
}

/// Does `work` with the rights of `owner`, from which no SET ROLE leads back to those of the session. An ERROR in
/// it ends the transaction or the savepoint, and with that all that is set here.
pub fn as_owner<T>(owner: Owner, work: impl FnOnce() -> T) -> T {
    let (mut user, mut context) = (pg_sys::InvalidOid, 0);
    // SAFETY: sets what PostgreSQL itself sets for a SECURITY DEFINER function, and puts it back.
    unsafe {
        pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
        let inside = context | pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32;
        pg_sys::SetUserIdAndSecContext(owner.0, inside);
        let result = work();
        pg_sys::SetUserIdAndSecContext(user, context);
        result
    }
}

thread_local! {
    static FOREIGN_CODE_RAN: Cell<bool> = const { Cell::new(false) };
}

/// Whether code of an administrator, that of a trigger or of an index, ran in this process since this was asked last.
pub fn foreign_code_ran() -> bool {
    FOREIGN_CODE_RAN.replace(false)
}

/// Does `work` as `as_owner` does, and with a search_path that nobody but superusers can put something on.
pub fn as_owner_alone<T>(owner: Owner, work: impl FnOnce() -> T) -> T {
    FOREIGN_CODE_RAN.set(true);
    as_owner(owner, || {
        // SAFETY: what is set here ends with this level.
        let level = unsafe { pg_sys::NewGUCNestLevel() };
        let inside = pg_sys::GucAction::GUC_ACTION_SAVE;
        set(c"search_path", c"pg_catalog, pg_temp", inside);
        // A row is reached by its place.
        set(c"enable_tidscan", c"on", inside);
        let result = work();
        unsafe { pg_sys::AtEOXact_GUC(true, level) };
        result
    })
}

/// SET LOCAL of a setting, with the rights of this extension.
pub fn set_local(name: &CStr, value: &CStr) {
    set(name, value, pg_sys::GucAction::GUC_ACTION_LOCAL);
}

/// Gives this process a setting that is in the place of any other one, and that RESET goes back to.
pub fn set_for_good(name: &CStr, value: &CStr) {
    let (source, action) = (
        pg_sys::GucSource::PGC_S_OVERRIDE,
        pg_sys::GucAction::GUC_ACTION_SET,
    );
    set_from(source, name, value, action);
}

fn set(name: &CStr, value: &CStr, action: pg_sys::GucAction::Type) {
    set_from(pg_sys::GucSource::PGC_S_SESSION, name, value, action);
}

fn set_from(
    source: pg_sys::GucSource::Type,
    name: &CStr,
    value: &CStr,
    action: pg_sys::GucAction::Type,
) {
    // SAFETY: both are C strings, which the call copies.
    unsafe {
        pg_sys::set_config_option(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_SUSET,
            source,
            action,
            true,
            0,
            false,
        );
    }
}
