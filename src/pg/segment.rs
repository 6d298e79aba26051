//! Segments of dynamic shared memory. A segment lives as long as a process has it mapped.

use pgrx::pg_sys;
use std::mem::size_of;
use std::ptr;

/// A mapped segment, which begins with a `T`. It stays mapped until it is detached or the process
/// ends, whatever becomes of the transaction.
pub struct Mapped<T: 'static> {
    memory: *mut pg_sys::dsm_segment,
    content: *const T,
}

impl<T> Clone for Mapped<T> {
    fn clone(&self) -> Mapped<T> {
        *self
    }
}

impl<T> Copy for Mapped<T> {}

/// Content that other processes map, too.
///
/// # Safety
/// Zeroed memory is a valid value, and whatever changes is atomic or guarded by something atomic.
pub unsafe trait Shared: Sync {}

impl<T: Shared> Mapped<T> {
    /// Makes a segment of zeroes.
    pub fn zeroed() -> Mapped<T> {
        // SAFETY: the segment has room for a T, is aligned by PostgreSQL, and stays mapped.
        unsafe {
            let memory = pg_sys::dsm_create(size_of::<T>(), 0);
            pg_sys::dsm_pin_mapping(memory);
            let content = pg_sys::dsm_segment_address(memory).cast::<T>();
            ptr::write_bytes(content, 0, 1);
            Mapped { memory, content }
        }
    }

    /// Maps a segment that another process made. Returns `None` if it is gone, or does not begin with
    /// a T as `is_known` sees it.
    pub fn attach(handle: u32, is_known: impl FnOnce(&T) -> bool) -> Option<Mapped<T>> {
        // SAFETY: a process may map a segment only once. The rest as above; `is_known` looks at a part
        // that has one layout in all versions of the library.
        unsafe {
            if !pg_sys::dsm_find_mapping(handle).is_null() {
                return None;
            }
            let memory = pg_sys::dsm_attach(handle);
            if memory.is_null() {
                return None;
            }
            pg_sys::dsm_pin_mapping(memory);
            let mapped = Mapped {
                memory,
                content: pg_sys::dsm_segment_address(memory).cast(),
            };
            let fits = pg_sys::dsm_segment_map_length(memory) >= size_of::<T>();
            if fits && is_known(mapped.content()) {
                return Some(mapped);
            }
            mapped.detach();
            None
        }
    }

    /// What it holds, for as long as it is mapped.
    pub fn content(self) -> &'static T {
        // SAFETY: mapped, and valid as `Shared` says. The reference must not outlive `detach`.
        unsafe { &*self.content }
    }

    /// To be called when nobody uses the content any more.
    pub fn detach(self) {
        // SAFETY: the segment is mapped.
        unsafe { pg_sys::dsm_detach(self.memory) };
    }

    /// What other processes find it by.
    pub fn handle(&self) -> u32 {
        // SAFETY: the segment is mapped.
        unsafe { pg_sys::dsm_segment_handle(self.memory) }
    }
}
