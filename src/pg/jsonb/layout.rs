//! How a `jsonb` lies in memory and on disk (PostgreSQL's utils/jsonb.h; the same in every major, since pg_upgrade
//! copies it). A container is a header that says how many values it has and whether it is an object, an entry of 32
//! bits for each value, those of the names first, and then what the values are made of, in the order of the entries.
//! An entry says what its value is, and where it ends: as a length, or for every 32nd one as an offset.

use super::Error;
use pgrx::pg_sys::{
    JB_CMASK, JB_FOBJECT, JENTRY_HAS_OFF, JENTRY_ISCONTAINER, JENTRY_ISNUMERIC, JENTRY_ISSTRING,
    JENTRY_OFFLENMASK, JENTRY_TYPEMASK,
};

/// Numerics and containers begin at a multiple of this within what lies around them.
const ALIGNMENT: usize = 4;

/// A value where it lies.
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

    /// The string that it is.
    pub fn text(self) -> Option<&'a str> {
        let is_text = self.kind == JENTRY_ISSTRING;
        is_text.then(|| str::from_utf8(self.bytes).ok()).flatten()
    }

    /// How many bytes it is.
    pub fn size(self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_object(self) -> bool {
        let header = self.bytes.first_chunk().map(|h| u32::from_ne_bytes(*h));
        self.kind == JENTRY_ISCONTAINER && header.is_some_and(|header| header & JB_FOBJECT != 0)
    }

    /// What an array holds.
    pub(super) fn elements(self) -> Result<Values<'a>, Error> {
        let (entries, data) = self.split(1)?;
        let at = 0;
        Ok(Values { entries, data, at })
    }

    /// What an object holds.
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

    /// The entries, so many for each that the header counts, and what comes after them.
    fn split(self, each: usize) -> Result<(&'a [[u8; 4]], &'a [u8]), Error> {
        let (header, rest) = self.bytes.split_first_chunk().ok_or(Error::Unfit)?;
        let number = (u32::from_ne_bytes(*header) & JB_CMASK) as usize * each;
        let (entries, data) = rest.split_at_checked(4 * number).ok_or(Error::Unfit)?;
        Ok((entries.as_chunks().0, data))
    }
}

/// Values that lie one after the other.
pub(super) struct Values<'a> {
    pub entries: &'a [[u8; 4]],
    data: &'a [u8],
    /// Where in the data the next one begins.
    at: usize,
}

/// The names of an object, and as many values.
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

/// Where a value ends that begins here.
fn end(entry: [u8; 4], at: usize) -> usize {
    let entry = u32::from_ne_bytes(entry);
    let length = (entry & JENTRY_OFFLENMASK) as usize;
    match entry & JENTRY_HAS_OFF {
        0 => at + length,
        _ => length,
    }
}

/// The first place from here on where a value of this kind may begin.
pub(super) fn aligned(kind: u32, at: usize) -> usize {
    match kind {
        JENTRY_ISNUMERIC | JENTRY_ISCONTAINER => at.next_multiple_of(ALIGNMENT),
        _ => at,
    }
}
