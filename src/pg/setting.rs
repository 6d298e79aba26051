//! PostgreSQL's settings, set with the rights of this extension.

use pgrx::pg_sys;
use pgrx::pg_sys::GucAction::{GUC_ACTION_LOCAL, GUC_ACTION_SAVE, GUC_ACTION_SET};
use pgrx::pg_sys::GucSource::{PGC_S_OVERRIDE, PGC_S_SESSION};
use std::ffi::CStr;

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
