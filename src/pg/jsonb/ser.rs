//! Builds a `jsonb` as PostgreSQL would. The members of an object are sorted, shorter names first.
//! Of two members with the same name, the later one stays. Opaque values are copied.

use super::Error;
use super::kept::KEPT;
use super::layout::aligned;
use pgrx::pg_sys::{
    JB_FARRAY, JB_FOBJECT, JB_OFFSET_STRIDE, JENTRY_HAS_OFF, JENTRY_ISBOOL_FALSE,
    JENTRY_ISBOOL_TRUE, JENTRY_ISCONTAINER, JENTRY_ISNULL, JENTRY_ISSTRING, JENTRY_OFFLENMASK,
};
use serde::ser::{self, Impossible, Serialize};
use std::ops::Range;

/// Most grants have no more members.
const USUAL: usize = 24;

/// Builds the container of an object or an array.
pub(super) fn build(value: &impl Serialize) -> Result<Vec<u8>, Error> {
    let mut data = Vec::new();
    match value.serialize(Serializer::to(&mut data))? {
        JENTRY_ISCONTAINER => Ok(data),
        _ => Err(Error::Unfit),
    }
}

/// Appends a value to others, and returns its kind: one of JENTRY_IS….
struct Serializer<'d> {
    data: &'d mut Vec<u8>,
    /// The kind of the opaque bytes that come next.
    kept: Option<u32>,
}

impl<'d> Serializer<'d> {
    fn to(data: &'d mut Vec<u8>) -> Serializer<'d> {
        Serializer { data, kept: None }
    }

    fn container(self, number: Option<usize>) -> Result<Parts<'d>, Error> {
        let number = number.unwrap_or(usize::MAX).min(USUAL);
        let (mut parts, mut data) = (Vec::new(), Vec::new());
        reserve(&mut parts, number)?;
        reserve(&mut data, 32 * number)?;
        Ok(Parts {
            container: self.data,
            parts,
            data,
        })
    }
}

/// The methods for values that this format has no form for.
macro_rules! unfit {
    ($($method:ident($($argument:ty),*) -> $result:ty;)*) => {
        $(fn $method(self, $(_: $argument),*) -> Result<$result, Error> {
            Err(Error::Unfit)
        })*
    };
}

impl<'d> ser::Serializer for Serializer<'d> {
    type Ok = u32;
    type Error = Error;
    type SerializeSeq = Parts<'d>;
    type SerializeMap = Parts<'d>;
    type SerializeStruct = Parts<'d>;
    type SerializeTuple = Impossible<u32, Error>;
    type SerializeTupleStruct = Impossible<u32, Error>;
    type SerializeTupleVariant = Impossible<u32, Error>;
    type SerializeStructVariant = Impossible<u32, Error>;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_bool(self, is: bool) -> Result<u32, Error> {
        match is {
            true => Ok(JENTRY_ISBOOL_TRUE),
            false => Ok(JENTRY_ISBOOL_FALSE),
        }
    }

    fn serialize_str(self, text: &str) -> Result<u32, Error> {
        append(self.data, text.as_bytes())?;
        Ok(JENTRY_ISSTRING)
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<u32, Error> {
        append(self.data, bytes)?;
        self.kept.ok_or(Error::Unfit)
    }

    fn serialize_unit(self) -> Result<u32, Error> {
        Ok(JENTRY_ISNULL)
    }

    fn serialize_none(self) -> Result<u32, Error> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<u32, Error> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<u32, Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        kind: u32,
        _: &'static str,
        value: &T,
    ) -> Result<u32, Error> {
        let kept = (name == KEPT).then_some(kind);
        let data = self.data;
        value.serialize(Serializer { data, kept })
    }

    fn serialize_seq(self, number: Option<usize>) -> Result<Parts<'d>, Error> {
        self.container(number)
    }

    fn serialize_map(self, number: Option<usize>) -> Result<Parts<'d>, Error> {
        self.container(number)
    }

    fn serialize_struct(self, _: &'static str, number: usize) -> Result<Parts<'d>, Error> {
        self.container(Some(number))
    }

    unfit! {
        serialize_i8(i8) -> u32;
        serialize_i16(i16) -> u32;
        serialize_i32(i32) -> u32;
        serialize_i64(i64) -> u32;
        serialize_u8(u8) -> u32;
        serialize_u16(u16) -> u32;
        serialize_u32(u32) -> u32;
        serialize_u64(u64) -> u32;
        serialize_f32(f32) -> u32;
        serialize_f64(f64) -> u32;
        serialize_char(char) -> u32;
        serialize_unit_struct(&'static str) -> u32;
        serialize_unit_variant(&'static str, u32, &'static str) -> u32;
        serialize_tuple(usize) -> Impossible<u32, Error>;
        serialize_tuple_struct(&'static str, usize) -> Impossible<u32, Error>;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Impossible<u32, Error>;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Impossible<u32, Error>;
    }
}

/// An object or array under construction.
struct Parts<'d> {
    /// The finished container is appended here.
    container: &'d mut Vec<u8>,
    /// Pairs of a name and a value. In an array the names are empty.
    parts: Vec<[Part; 2]>,
    /// The bytes of the parts, in the order of arrival.
    data: Vec<u8>,
}

/// A name or value: its kind, and its place in the data.
#[derive(Clone, Copy)]
struct Part {
    kind: u32,
    start: u32,
    end: u32,
}

const NO_NAME: Part = Part {
    kind: JENTRY_ISSTRING,
    start: 0,
    end: 0,
};

impl Part {
    /// Where the part ends if the previous part ends at `at`.
    fn end_at(self, at: usize) -> usize {
        aligned(self.kind, at) + self.range().len()
    }

    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

impl Parts<'_> {
    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<Part, Error> {
        let start = self.data.len();
        let kind = value.serialize(Serializer::to(&mut self.data))?;
        let place = |at| u32::try_from(at).map_err(|_| Error::Unfit);
        Ok(Part {
            kind,
            start: place(start)?,
            end: place(self.data.len())?,
        })
    }

    fn push(&mut self, name: Part, value: Part) -> Result<(), Error> {
        reserve(&mut self.parts, 1)?;
        self.parts.push([name, value]);
        Ok(())
    }

    /// Sorts the members. The place in the data tells which of two is the later one, so sorting
    /// needs no memory.
    fn sort(&mut self) {
        let name = |[name, _]: &[Part; 2]| &self.data[name.range()];
        self.parts.sort_unstable_by(|one, other| {
            let by_length = one[0].range().len().cmp(&other[0].range().len());
            let by_name = || name(one).cmp(name(other));
            let by_place = || one[0].start.cmp(&other[0].start);
            by_length.then_with(by_name).then_with(by_place)
        });
        self.parts.dedup_by(|later, earlier| {
            let is_same = name(later) == name(earlier);
            if is_same {
                *earlier = *later;
            }
            is_same
        });
    }

    /// Writes the header, the entries and the data.
    fn finish(self, flag: u32) -> Result<u32, Error> {
        let number = u32::try_from(self.parts.len()).map_err(|_| Error::Unfit)?;
        let sides: &[usize] = match flag {
            JB_FOBJECT => &[0, 1],
            _ => &[1],
        };
        let entries = sides.len() * self.parts.len();
        // Four bytes for each entry, and up to three bytes of padding before its value.
        reserve(self.container, 4 + 8 * entries + self.data.len())?;
        append(self.container, &(number | flag).to_ne_bytes())?;
        let all = || {
            sides
                .iter()
                .flat_map(|side| self.parts.iter().map(|part| part[*side]))
        };
        let (mut at, mut index) = (0, 0);
        for part in all() {
            let end = part.end_at(at);
            let entry = match index % JB_OFFSET_STRIDE {
                0 => JENTRY_HAS_OFF | end as u32,
                _ => (end - at) as u32,
            };
            append(self.container, &(part.kind | entry).to_ne_bytes())?;
            (at, index) = (end, index + 1);
        }
        if at > JENTRY_OFFLENMASK as usize {
            return Err(Error::Unfit);
        }
        let mut at = 0;
        for part in all() {
            append(self.container, &[0; 4][..aligned(part.kind, at) - at])?;
            append(self.container, &self.data[part.range()])?;
            at = part.end_at(at);
        }
        Ok(JENTRY_ISCONTAINER)
    }
}

fn append(data: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Error> {
    reserve(data, bytes.len())?;
    data.extend_from_slice(bytes);
    Ok(())
}

fn reserve<T>(list: &mut Vec<T>, more: usize) -> Result<(), Error> {
    list.try_reserve(more).map_err(|_| Error::Memory)
}

impl ser::SerializeSeq for Parts<'_> {
    type Ok = u32;
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        let value = self.part(value)?;
        self.push(NO_NAME, value)
    }

    fn end(self) -> Result<u32, Error> {
        self.finish(JB_FARRAY)
    }
}

impl ser::SerializeMap for Parts<'_> {
    type Ok = u32;
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, name: &T) -> Result<(), Error> {
        let name = self.part(name)?;
        // This byte keeps two names, even two empty ones, from beginning at the same place.
        append(&mut self.data, &[0])?;
        self.push(name, NO_NAME)?;
        match name.kind {
            JENTRY_ISSTRING => Ok(()),
            _ => Err(Error::Unfit),
        }
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        let value = self.part(value)?;
        let [_, last] = self.parts.last_mut().ok_or(Error::Unfit)?;
        *last = value;
        Ok(())
    }

    fn end(mut self) -> Result<u32, Error> {
        self.sort();
        self.finish(JB_FOBJECT)
    }
}

impl ser::SerializeStruct for Parts<'_> {
    type Ok = u32;
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        ser::SerializeMap::serialize_entry(self, name, value)
    }

    fn end(self) -> Result<u32, Error> {
        ser::SerializeMap::end(self)
    }
}
