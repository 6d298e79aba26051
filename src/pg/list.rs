//! PostgreSQL's lists.

use pgrx::pg_sys;

/// The elements of a list, which lives as long as they are looked at. A null pointer is an empty list.
pub unsafe fn elements<'a>(list: *mut pg_sys::List) -> &'a [pg_sys::ListCell] {
    // SAFETY: a list says how many elements it has.
    match unsafe { list.as_ref() } {
        Some(list) => unsafe { std::slice::from_raw_parts(list.elements, list.length as usize) },
        None => &[],
    }
}
