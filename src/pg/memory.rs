//! Memory whose size depends on the caller's grant. When memory runs out, Rust would abort the
//! process, and PostgreSQL would then end all other sessions. Here the caller gets error 53200
//! instead.

use crate::error::Error;

/// Reserves room for this many items, or raises 53200.
pub fn room<T>(number: usize) -> Vec<T> {
    let mut vec = Vec::new();
    reserve(&mut vec, number);
    vec
}

/// Reserves room for this many more items, or raises 53200.
#[inline]
pub fn reserve<T>(vec: &mut Vec<T>, number: usize) {
    if vec.try_reserve(number).is_err() {
        Error::Memory.raise();
    }
}
