//! Opaque values: numbers of any size, and containers of any depth. serde passes their bytes from
//! one `jsonb` to another under a name of our own, as serde_json does with its raw values.

use super::Error;
use super::layout::Value;
use pgrx::pg_sys::JB_FOBJECT;
use serde::de::value::{BorrowedBytesDeserializer, MapDeserializer};
use serde::de::{Deserialize, Deserializer, MapAccess, Unexpected, Visitor};
use serde::ser::{Serialize, Serializer};
use std::fmt;
use std::iter::{Once, once};

/// The name under which this format passes an opaque value.
pub(super) const KEPT: &str = "$attesto_codes::Kept";

/// An opaque object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Object<'a>(Value<'a>);

impl<'a> Object<'a> {
    pub fn new(value: Value<'a>) -> Option<Object<'a>> {
        value.is_object().then_some(Object(value))
    }

    pub(super) fn container(self) -> &'a [u8] {
        self.0.bytes
    }
}

impl Default for Object<'_> {
    fn default() -> Self {
        const EMPTY: [u8; 4] = JB_FOBJECT.to_ne_bytes();
        Object(Value::container(&EMPTY))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wrong = || serde::de::Error::invalid_type(Unexpected::Other(""), &"an object");
        Object::new(Value::deserialize(deserializer)?).ok_or_else(wrong)
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

type Parts<'a> = Once<(u32, BorrowedBytesDeserializer<'a, Error>)>;

/// The kind of a value, and its bytes.
pub(super) fn kept<'a>(value: Value<'a>) -> MapDeserializer<'a, Parts<'a>, Error> {
    let bytes = BorrowedBytesDeserializer::new(value.bytes);
    MapDeserializer::new(once((value.kind, bytes)))
}

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(KEPT, Kept)
    }
}

struct Kept;

impl<'de> Visitor<'de> for Kept {
    type Value = Value<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a value of a jsonb")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut parts: A) -> Result<Value<'de>, A::Error> {
        let wrong = || serde::de::Error::invalid_type(Unexpected::Map, &self);
        let (kind, bytes) = parts.next_entry()?.ok_or_else(wrong)?;
        Ok(Value { kind, bytes })
    }
}

/// Writes into a `jsonb` only. `Spelled` writes text.
impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_variant(KEPT, self.kind, "", &Bytes(self.bytes))
    }
}

struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}
