//! Work that may fail without the rest of its transaction.

use crate::error::Error;
use crate::failure::{Failure, catch};
use pgrx::pg_sys;

/// Does `work` after a savepoint, to which an error of it rolls back: one that it answers, and one that is raised.
pub fn within<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Failure> {
    // SAFETY: as PL/pgSQL does for a block with an EXCEPTION clause: the memory context and the resource owner
    // are those of before, whichever way it ends.
    unsafe {
        let (memory, owner) = (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner);
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::CurrentMemoryContext = memory;
        let result = catch(|| work().unwrap_or_else(|error| error.raise()));
        match result {
            Ok(_) => pg_sys::ReleaseCurrentSubTransaction(),
            Err(_) => pg_sys::RollbackAndReleaseCurrentSubTransaction(),
        }
        pg_sys::CurrentMemoryContext = memory;
        pg_sys::CurrentResourceOwner = owner;
        result
    }
}
