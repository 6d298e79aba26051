//! `text[]`, built in one piece as PostgreSQL keeps it (its utils/array.h). pgrx asks for memory for each element, and
//! where these have taken the last of it PostgreSQL has none to raise the error with: it ends the process.

use super::memory::room;
use pgrx::{IntoDatum, pg_sys};

/// Strings that become a `text[]`. Raises 53200.
pub struct Texts<'a>(pub Vec<&'a str>);

/// Each element begins at a multiple of this.
const ALIGNMENT: usize = 4;

impl IntoDatum for Texts<'_> {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        layout(&self.0).into_datum()
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::TEXTARRAYOID
    }
}

/// What comes after the length of the array.
fn layout(texts: &[&str]) -> Vec<u8> {
    let element = |text: &&str| (pg_sys::VARHDRSZ + text.len()).next_multiple_of(ALIGNMENT);
    let mut array = room(5 * ALIGNMENT + texts.iter().map(element).sum::<usize>());
    // Its dimensions, where its nulls are, of what type it is; and then how many, and the index of the first one.
    let of_type = pg_sys::TEXTOID.to_u32();
    let words: &[u32] = match texts.len() as u32 {
        0 => &[0, 0, of_type],
        number => &[1, 0, of_type, number, 1],
    };
    for word in words {
        array.extend_from_slice(&word.to_ne_bytes());
    }
    for text in texts {
        array.extend_from_slice(&header(pg_sys::VARHDRSZ + text.len()).to_ne_bytes());
        array.extend_from_slice(text.as_bytes());
        array.resize(array.len().next_multiple_of(ALIGNMENT), 0);
    }
    array
}

/// The length of an element, of which two bits say that it is neither compressed nor toasted.
fn header(length: usize) -> u32 {
    match cfg!(target_endian = "little") {
        true => (length as u32) << 2,
        false => length as u32,
    }
}
