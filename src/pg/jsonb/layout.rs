//! The layout of a `jsonb` in memory and on disk (PostgreSQL's utils/jsonb.h). It is the same in
//! every major version, because pg_upgrade copies it.
//!
//! A container consists of a header, entries and data. The header says how many values there are,
//! and whether the container is an object. There is an entry of 32 bits for each value; in an
//! object, those of the names come first. An entry gives the kind of its value and where the value
//! ends: as a length, or in every 32nd entry as an offset. The data holds the values in the order
//! of the entries.

use super::Error;
use pgrx::pg_sys::{
    JB_CMASK, JB_FOBJECT, JENTRY_HAS_OFF, JENTRY_ISCONTAINER, JENTRY_ISNUMERIC, JENTRY_ISSTRING,
    JENTRY_OFFLENMASK, JENTRY_TYPEMASK,
};

/// Numerics and containers begin at a multiple of this within their container.
const ALIGNMENT: usize = 4;

/// A value in place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Value<'a> {
    /// One of JENTRY_IS….
    pub(super) kind: u32,
    pub(super) bytes: &'a [u8],
}

impl<'a> Value<'a> {
    pub(super) fn container(bytes: &'a [u8]) -> Value<'a> {
        Value {
            kind: JENTRY_ISCONTAINER,
            bytes,
        }
    }

    /// The string, if the value is one.
    pub fn text(self) -> Option<&'a str> {
        let is_text = self.kind == JENTRY_ISSTRING;
        is_text.then(|| str::from_utf8(self.bytes).ok()).flatten()
    }

    /// The size in bytes.
    pub fn size(self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_object(self) -> bool {
        let header = self.bytes.first_chunk().map(|h| u32::from_ne_bytes(*h));
        self.kind == JENTRY_ISCONTAINER && header.is_some_and(|header| header & JB_FOBJECT != 0)
    }

    /// The elements of an array.
    pub(super) fn elements(self) -> Result<Values<'a>, Error> {
        let (entries, data) = self.split(1)?;
        let at = 0;
        Ok(Values { entries, data, at })
    }

    /// The members of an object.
    pub(super) fn members(self) -> Result<Members<'a>, Error> {
        let (entries, data) = self.split(2)?;
        let (names, values) = entries.split_at(entries.len() / 2);
        let names_end = names.iter().fold(0, |at, entry| end(*entry, at));
        Ok(Members {
            names: Values {
                entries: names,
                data,
                at: 0,
            },
            values: Values {
                entries: values,
                data,
                at: names_end,
            },
        })
    }

    /// The entries, `each` per counted value, and the data.
    fn split(self, each: usize) -> Result<(&'a [[u8; 4]], &'a [u8]), Error> {
        let (header, rest) = self.bytes.split_first_chunk().ok_or(Error::Unfit)?;
        let number = (u32::from_ne_bytes(*header) & JB_CMASK) as usize * each;
        let (entries, data) = rest.split_at_checked(4 * number).ok_or(Error::Unfit)?;
        Ok((entries.as_chunks().0, data))
    }
}

/// Values stored one after the other.
pub(super) struct Values<'a> {
    pub entries: &'a [[u8; 4]],
    data: &'a [u8],
    /// Where in the data the next value begins.
    at: usize,
}

/// The names of an object, and its values.
pub(super) struct Members<'a> {
    pub names: Values<'a>,
    pub values: Values<'a>,
}

impl<'a> Iterator for Values<'a> {
    type Item = Result<Value<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let (entry, entries) = self.entries.split_first()?;
        let kind = u32::from_ne_bytes(*entry) & JENTRY_TYPEMASK;
        let (start, end) = (aligned(kind, self.at), end(*entry, self.at));
        (self.entries, self.at) = (entries, end);
        let bytes = self.data.get(start..end).ok_or(Error::Unfit);
        Some(bytes.map(|bytes| Value { kind, bytes }))
    }
}

/// Where a value ends that begins at `at`.
fn end(entry: [u8; 4], at: usize) -> usize {
    let entry = u32::from_ne_bytes(entry);
    let length = (entry & JENTRY_OFFLENMASK) as usize;
    match entry & JENTRY_HAS_OFF {
        0 => at + length,
        _ => length,
    }
}

/// The first place, from `at` on, where a value of this kind may begin.
pub(super) fn aligned(kind: u32, at: usize) -> usize {
    match kind {
        JENTRY_ISNUMERIC | JENTRY_ISCONTAINER => at.next_multiple_of(ALIGNMENT),
        _ => at,
    }
}
