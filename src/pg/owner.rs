//! Doing something as the owner of a table: what an administrator added to it, a trigger for one, runs with the
//! owner's rights and never with more, and under settings that no caller chose.

use super::setting::with_settings;
use pgrx::pg_sys;
use std::cell::Cell;

/// The role that owns a table.
#[derive(Clone, Copy)]
pub struct Owner(pg_sys::Oid);

impl Owner {
    pub fn new(role: pg_sys::Oid) -> Owner {
        Owner(role)
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
    // A row is reached by its place, and so by a tid scan.
    let settings = [
        (c"search_path", c"pg_catalog, pg_temp"),
        (c"enable_tidscan", c"on"),
    ];
    as_owner(owner, || with_settings(&settings, work))
}
