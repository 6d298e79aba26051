//! The members of an object: those that a struct names, and all others, which stay unchanged.
//! serde's own `flatten` would convert the others into a form that holds numbers of at most 128
//! bits and aborts when memory runs out.

use serde::de::value::{BorrowedStrDeserializer, UnitDeserializer};
use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;

/// Members by name, in their original order.
#[derive(Debug, Clone, PartialEq)]
pub struct Members<'a, J>(Vec<(&'a str, J)>);

/// Why an object is refused.
#[derive(Debug)]
pub struct Fault<E> {
    /// The member at fault, or `None` if the object itself is at fault.
    pub member: Option<&'static str>,
    pub error: E,
}

/// Reads a struct, and separately the members that it does not name. An absent member is presented
/// to the struct as null, so that every fault has the name of its member.
pub fn read<'de, T, J, D>(deserializer: D) -> Result<(T, Members<'de, J>), Fault<D::Error>>
where
    T: Deserialize<'de>,
    J: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let (mut member, mut others) = (None, Members::none());
    let named = Named {
        member: &mut member,
        others: &mut others,
        result: PhantomData,
    };
    match deserializer.deserialize_map(named) {
        Ok(named) => Ok((named, others)),
        Err(error) => Err(Fault { member, error }),
    }
}

/// Adds an item to a list. If memory runs out, serde gets the error "invalid length".
pub(super) fn push<T, E: Error>(list: &mut Vec<T>, item: T) -> Result<(), E> {
    if list.try_reserve(1).is_err() {
        return Err(E::invalid_length(list.len(), &"fewer"));
    }
    list.push(item);
    Ok(())
}

impl<J> Members<'_, J> {
    pub fn none() -> Self {
        Members(Vec::new())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<J: Serialize> Serialize for Members<'_, J> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de: 'a, 'a, J: Deserialize<'de>> Deserialize<'de> for Members<'a, J> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Names no member.
        #[derive(Deserialize)]
        struct Nothing {}
        match read(deserializer) {
            Ok((Nothing {}, members)) => Ok(members),
            Err(fault) => Err(fault.error),
        }
    }
}

/// The targets of reading: the struct, the other members, and the member that is being read.
struct Named<'r, 'de, T, J> {
    member: &'r mut Option<&'static str>,
    others: &'r mut Members<'de, J>,
    result: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>, J: Deserialize<'de>> Visitor<'de> for Named<'_, 'de, T, J> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(Split { map, named: self })
    }
}

/// An object, presented to a struct that states its fields.
struct Split<'r, 'de, A, T, J> {
    map: A,
    named: Named<'r, 'de, T, J>,
}

impl<'de, A, T, J> Deserializer<'de> for Split<'_, 'de, A, T, J>
where
    A: MapAccess<'de>,
    J: Deserialize<'de>,
{
    type Error = A::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        visitor.visit_map(Fields {
            map: self.map,
            member: self.named.member,
            others: self.named.others,
            fields,
            seen: 0,
            is_absent: false,
        })
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, A::Error> {
        Err(A::Error::custom("only a struct has fields"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The members that are fields: first those that are present, then those that are absent.
struct Fields<'r, 'de, A, J> {
    map: A,
    member: &'r mut Option<&'static str>,
    others: &'r mut Members<'de, J>,
    fields: &'static [&'static str],
    /// The fields that were read, one bit each.
    seen: u64,
    is_absent: bool,
}

impl<'de, A: MapAccess<'de>, J: Deserialize<'de>> Fields<'_, 'de, A, J> {
    /// The index of the next field.
    fn next(&mut self) -> Result<Option<usize>, A::Error> {
        while let Some(name) = self.map.next_key()? {
            match self.fields.iter().position(|field| *field == name) {
                Some(field) => return Ok(Some(field)),
                None => push(&mut self.others.0, (name, self.map.next_value()?))?,
            }
        }
        self.is_absent = true;
        Ok((0..self.fields.len()).find(|field| self.seen & 1 << field == 0))
    }
}

impl<'de, A: MapAccess<'de>, J: Deserialize<'de>> MapAccess<'de> for Fields<'_, 'de, A, J> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        *self.member = None;
        let Some(field) = self.next()? else {
            return Ok(None);
        };
        self.seen |= 1 << field;
        let name = self.fields[field];
        *self.member = Some(name);
        seed.deserialize(BorrowedStrDeserializer::new(name))
            .map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        match self.is_absent {
            true => seed.deserialize(UnitDeserializer::new()),
            false => self.map.next_value_seed(seed),
        }
    }
}
