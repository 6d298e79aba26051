//! Reads a `jsonb` in place: strings are borrowed, and opaque values are not looked into.

use super::kept::{KEPT, kept};
use super::layout::{Members, Value, Values};
use pgrx::pg_sys::{
    JENTRY_ISBOOL_FALSE, JENTRY_ISBOOL_TRUE, JENTRY_ISNULL, JENTRY_ISNUMERIC, JENTRY_ISSTRING,
};
use serde::de::{
    DeserializeSeed, Deserializer, Expected, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde::{de, ser};
use std::fmt::{self, Display};

/// Why a value cannot be read or built. No variant contains the value.
#[derive(Debug, PartialEq)]
pub enum Error {
    /// What the value must be.
    MustBe(String),
    /// Memory ran out.
    Memory,
    /// The bytes are no valid `jsonb`, or this format has no form for the value. Also stands for
    /// errors that serde words itself.
    Unfit,
}

impl Error {
    /// Adds to an error of a member that it may be null.
    fn or_null(self) -> Error {
        match self {
            Error::MustBe(what) => Error::MustBe(what + ", null or left out"),
            other => other,
        }
    }
}

impl de::Error for Error {
    fn custom<T: Display>(_: T) -> Error {
        Error::Unfit
    }

    fn invalid_type(_: Unexpected, expected: &dyn Expected) -> Error {
        Error::MustBe(expected.to_string())
    }

    fn invalid_value(_: Unexpected, expected: &dyn Expected) -> Error {
        Error::MustBe(expected.to_string())
    }

    fn invalid_length(_: usize, _: &dyn Expected) -> Error {
        Error::Memory
    }
}

impl ser::Error for Error {
    fn custom<T: Display>(_: T) -> Error {
        Error::Unfit
    }
}

impl Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

impl std::error::Error for Error {}

impl<'de> Deserializer<'de> for Value<'de> {
    type Error = Error;

    /// Numbers are only passed on: no Rust type holds all of them.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.kind {
            JENTRY_ISNULL => visitor.visit_unit(),
            JENTRY_ISBOOL_FALSE => visitor.visit_bool(false),
            JENTRY_ISBOOL_TRUE => visitor.visit_bool(true),
            JENTRY_ISSTRING => visitor.visit_borrowed_str(self.text().ok_or(Error::Unfit)?),
            JENTRY_ISNUMERIC => Err(de::Error::invalid_type(Unexpected::Other(""), &visitor)),
            _ if self.is_object() => visitor.visit_map(self.members()?),
            _ => visitor.visit_seq(self.elements()?),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.kind {
            JENTRY_ISNULL => visitor.visit_none(),
            _ => visitor.visit_some(self).map_err(Error::or_null),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        match name {
            KEPT => visitor.visit_map(kept(self)),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    /// An array is no struct.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.is_object() {
            true => visitor.visit_map(self.members()?),
            false => Err(de::Error::invalid_type(Unexpected::Other(""), &visitor)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map enum identifier
    }
}

impl<'de> SeqAccess<'de> for Values<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        self.next()
            .map(|value| seed.deserialize(value?))
            .transpose()
    }
}

impl<'de> MapAccess<'de> for Members<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        self.names.next_element_seed(seed)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        seed.deserialize(self.values.next().ok_or(Error::Unfit)??)
    }
}
