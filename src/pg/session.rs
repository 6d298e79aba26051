//! The rights and settings of this session.
//!
//! Code that an administrator added to a table, such as a trigger, runs with the rights of the
//! table's owner and no more, and under settings that no caller chose.

use pgrx::pg_sys;
use pgrx::pg_sys::GucAction::{GUC_ACTION_LOCAL, GUC_ACTION_SAVE, GUC_ACTION_SET};
use pgrx::pg_sys::GucSource::{PGC_S_OVERRIDE, PGC_S_SESSION};
use std::cell::Cell;
use std::ffi::{CStr, c_int};

// pgrx does not declare this.
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

/// Does `work` with the rights of `owner`. No SET ROLE leads back from there to the session's own
/// rights. An ERROR in `work` ends the transaction or savepoint, which also restores everything set
/// here.
pub fn as_owner<T>(owner: Owner, work: impl FnOnce() -> T) -> T {
    let (mut user, mut context) = (pg_sys::InvalidOid, 0);
    // SAFETY: sets what PostgreSQL sets for a SECURITY DEFINER function, and restores it.
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

/// Whether an administrator's code, in a trigger or an index, has run in this process since the
/// last call.
pub fn foreign_code_ran() -> bool {
    FOREIGN_CODE_RAN.replace(false)
}

/// Like `as_owner`, but with a search_path to which only superusers can add objects.
pub fn as_owner_alone<T>(owner: Owner, work: impl FnOnce() -> T) -> T {
    FOREIGN_CODE_RAN.set(true);
    // A row is addressed by its tid, so the plan needs a tid scan.
    let settings = [
        (c"search_path", c"pg_catalog, pg_temp"),
        (c"enable_tidscan", c"on"),
    ];
    as_owner(owner, || with_settings(&settings, work))
}

/// Like DISCARD ALL, but keeps the plans. Dropping the session's objects may run the owner's code.
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

/// Gives this transaction the triggers of the caller's session_replication_role.
pub fn set_replication_role(role: c_int) {
    if role != replication_role() {
        let names = [c"origin", c"replica", c"local"];
        let name = usize::try_from(role).ok().and_then(|at| names.get(at));
        set_local(c"session_replication_role", name.unwrap_or(&c"origin"));
    }
}

/// The session_replication_role of this process.
pub fn replication_role() -> c_int {
    // SAFETY: reads a variable of this process.
    unsafe { pg_sys::SessionReplicationRole }
}

/// SET LOCAL.
pub fn set_local(name: &CStr, value: &CStr) {
    set(name, value, PGC_S_SESSION, GUC_ACTION_LOCAL);
}

/// Gives this process a setting that overrides all others, and that RESET restores.
pub fn set_for_good(name: &CStr, value: &CStr) {
    set(name, value, PGC_S_OVERRIDE, GUC_ACTION_SET);
}

/// Does `work` with these settings, and restores the earlier ones.
pub fn with_settings<T>(settings: &[(&CStr, &CStr)], work: impl FnOnce() -> T) -> T {
    // SAFETY: settings made after this level end with it, also if an ERROR ends `work`.
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

/// Reads the configuration again after SIGHUP, outside of a transaction.
pub fn reload() {
    // SAFETY: reads the configuration files again.
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
