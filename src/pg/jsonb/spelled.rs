//! Writes a value of a `jsonb` in a text format of serde, such as serde_json. The target limits how
//! much text is made: one number may have 147,455 digits.

use super::layout::Value;
use super::{digits, is_too_deep};
use pgrx::pg_sys::{
    JENTRY_ISBOOL_FALSE, JENTRY_ISBOOL_TRUE, JENTRY_ISNULL, JENTRY_ISNUMERIC, JENTRY_ISSTRING,
};
use serde::de::MapAccess;
use serde::ser::{Error as _, Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::value::RawValue;

/// A value to be written as text.
#[derive(Clone, Copy)]
pub struct Spelled<'a>(pub Value<'a>);

impl Serialize for Spelled<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Spelled(value) = *self;
        match value.kind {
            JENTRY_ISNULL => serializer.serialize_unit(),
            JENTRY_ISBOOL_FALSE => serializer.serialize_bool(false),
            JENTRY_ISBOOL_TRUE => serializer.serialize_bool(true),
            JENTRY_ISSTRING => serializer.serialize_str(value.text().unwrap_or_default()),
            JENTRY_ISNUMERIC => RawValue::from_string(digits(value))
                .map_err(S::Error::custom)?
                .serialize(serializer),
            _ if is_too_deep() => Err(S::Error::custom("too deep")),
            _ if value.is_object() => {
                let mut members = value.members().map_err(S::Error::custom)?;
                let mut map = serializer.serialize_map(None)?;
                while let Some((name, value)) = members
                    .next_entry::<&str, Value>()
                    .map_err(S::Error::custom)?
                {
                    map.serialize_entry(name, &Spelled(value))?;
                }
                map.end()
            }
            _ => {
                let mut seq = serializer.serialize_seq(None)?;
                for element in value.elements().map_err(S::Error::custom)? {
                    seq.serialize_element(&Spelled(element.map_err(S::Error::custom)?))?;
                }
                seq.end()
            }
        }
    }
}
