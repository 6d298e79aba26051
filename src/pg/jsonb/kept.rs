//! Values that are kept as they are: numbers of any size, and what lies however deep. Between a `jsonb` and another
//! one serde hands on their bytes, under a name of our own, as serde_json does it with its raw values. Only where
//! they become text are they looked into.

use super::Error;
use super::layout::Value;
use pgrx::pg_sys::{
    JB_FOBJECT, JENTRY_ISBOOL_FALSE, JENTRY_ISBOOL_TRUE, JENTRY_ISNULL, JENTRY_ISNUMERIC,
    JENTRY_ISSTRING, numeric_out, stack_is_too_deep,
};
use pgrx::{IntoDatum, direct_function_call};
use serde::de::value::{BorrowedBytesDeserializer, MapDeserializer};
use serde::de::{Deserialize, Deserializer, MapAccess, Unexpected, Visitor};
use serde::ser::{Error as _, Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::value::RawValue;
use std::ffi::CStr;
use std::fmt;
use std::iter::{Once, once};

/// The name under which this format hands over a kept value.
pub(super) const KEPT: &str = "$attesto_codes::Kept";

/// An object that is kept as it is.
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

/// What a value is, and its bytes.
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

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => spell(*self, serializer),
            false => serializer.serialize_newtype_variant(KEPT, self.kind, "", &Bytes(self.bytes)),
        }
    }
}

struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

fn spell<S: Serializer>(value: Value, serializer: S) -> Result<S::Ok, S::Error> {
    match value.kind {
        JENTRY_ISNULL => serializer.serialize_unit(),
        JENTRY_ISBOOL_FALSE => serializer.serialize_bool(false),
        JENTRY_ISBOOL_TRUE => serializer.serialize_bool(true),
        JENTRY_ISSTRING => serializer.serialize_str(value.text().unwrap_or_default()),
        JENTRY_ISNUMERIC => RawValue::from_string(digits(value))
            .map_err(S::Error::custom)?
            .serialize(serializer),
        // SAFETY: compares the address of a variable with where the stack began.
        _ if unsafe { stack_is_too_deep() } => Err(S::Error::custom("too deep")),
        _ if value.is_object() => {
            let mut members = value.members().map_err(S::Error::custom)?;
            let mut map = serializer.serialize_map(None)?;
            while let Some((name, value)) = members
                .next_entry::<&str, Value>()
                .map_err(S::Error::custom)?
            {
                map.serialize_entry(name, &value)?;
            }
            map.end()
        }
        _ => {
            let mut seq = serializer.serialize_seq(None)?;
            for element in value.elements().map_err(S::Error::custom)? {
                seq.serialize_element(&element.map_err(S::Error::custom)?)?;
            }
            seq.end()
        }
    }
}

/// A number as PostgreSQL writes it.
fn digits(number: Value) -> String {
    // Its own header is left out here and made anew, and the copy lies where a numeric may lie.
    let numeric = number.bytes.get(4..).into_datum();
    // SAFETY: numeric_out takes a numeric, and answers a palloc'ed C string.
    let text: Option<&CStr> = unsafe { direct_function_call(numeric_out, &[numeric]) };
    text.map(CStr::to_string_lossy)
        .unwrap_or_default()
        .into_owned()
}
