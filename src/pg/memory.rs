//! Memory for what a grant holds, of which the caller says how much it is. Where there is no more, Rust
//! would abort the process, and PostgreSQL then end all others.

use crate::error::Error;

/// Room for this many, or error 53200.
pub fn room<T>(number: usize) -> Vec<T> {
    let mut vec = Vec::new();
    reserve(&mut vec, number);
    vec
}

/// Room for this many more, or error 53200.
#[inline]
pub fn reserve<T>(vec: &mut Vec<T>, number: usize) {
    if vec.try_reserve(number).is_err() {
        Error::Memory.raise();
    }
}
