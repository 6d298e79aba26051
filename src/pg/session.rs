//! Whose rights this session has at a moment, and which settings.
//!
//! What an administrator added to a table, a trigger for one, runs with the rights of the table's owner and never with
//! more, and under settings that no caller chose.

use pgrx::pg_sys;
use pgrx::pg_sys::GucAction::{GUC_ACTION_LOCAL, GUC_ACTION_SAVE, GUC_ACTION_SET};
use pgrx::pg_sys::GucSource::{PGC_S_OVERRIDE, PGC_S_SESSION};
use std::cell::Cell;
use std::ffi::{CStr, c_int};

// Not among pgrx's bindings.
unsafe extern "C-unwind" {
    fn Async_UnlistenAll();
}

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

/// As DISCARD ALL, but for the plans. To drop what is there may run code of the owner's.
pub fn discard_session(owner: Owner) {
    // SAFETY: as DISCARD ALL does it, in a transaction.
    as_owner(owner, || unsafe {
        pg_sys::PortalHashTableDeleteAll();
        pg_sys::ResetAllOptions();
        pg_sys::DropAllPreparedStatements();
        pg_sys::ffi::pg_guard_ffi_boundary(|| Async_UnlistenAll());
        pg_sys::LockReleaseAll(pg_sys::USER_LOCKMETHOD as u16, true);
        pg_sys::ResetTempTableNamespace();
    });
}

/// What triggers there are for this transaction: those of the caller's session_replication_role.
pub fn set_replication_role(role: c_int) {
    if role != replication_role() {
        let names = [c"origin", c"replica", c"local"];
        let name = usize::try_from(role).ok().and_then(|at| names.get(at));
        set_local(c"session_replication_role", name.unwrap_or(&c"origin"));
    }
}

/// That of this process.
pub fn replication_role() -> c_int {
    // SAFETY: reads a variable of this process.
    unsafe { pg_sys::SessionReplicationRole }
}

/// SET LOCAL.
pub fn set_local(name: &CStr, value: &CStr) {
    set(name, value, PGC_S_SESSION, GUC_ACTION_LOCAL);
}

/// Gives this process a setting that is in the place of any other one, and that RESET goes back to.
pub fn set_for_good(name: &CStr, value: &CStr) {
    set(name, value, PGC_S_OVERRIDE, GUC_ACTION_SET);
}

/// Does `work` with these settings, which end with it.
pub fn with_settings<T>(settings: &[(&CStr, &CStr)], work: impl FnOnce() -> T) -> T {
    // SAFETY: what is set after this level ends with it, also where an ERROR ends `work`.
    let level = unsafe { pg_sys::NewGUCNestLevel() };
    for (name, value) in settings {
        set(name, value, PGC_S_SESSION, GUC_ACTION_SAVE);
    }
    let result = work();
    // SAFETY: the level from above.
    unsafe { pg_sys::AtEOXact_GUC(true, level) };
    result
}

/// Makes a misspelt setting of ours an error.
#[cfg(not(feature = "pg14"))]
pub fn reserve(prefix: &CStr) {
    // SAFETY: a C string, which the call copies.
    unsafe { pg_sys::MarkGUCPrefixReserved(prefix.as_ptr()) };
}

/// What every process does after SIGHUP, outside of a transaction.
pub fn reload() {
    // SAFETY: reads the configuration files anew.
    unsafe {
        if pg_sys::ConfigReloadPending != 0 {
            pg_sys::ConfigReloadPending = 0;
            pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
        }
    }
}

fn set(
    name: &CStr,
    value: &CStr,
    source: pg_sys::GucSource::Type,
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
