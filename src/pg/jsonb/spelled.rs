//! Writes a value of a `jsonb` in a text format of serde, such as serde_json. The target limits how
//! much text is made: one number may have 147,455 digits.

use super::layout::Value;
use pgrx::pg_sys::{
    JENTRY_ISBOOL_FALSE, JENTRY_ISBOOL_TRUE, JENTRY_ISNULL, JENTRY_ISNUMERIC, JENTRY_ISSTRING,
    numeric_out, stack_is_too_deep,
};
use pgrx::{IntoDatum, direct_function_call};
use serde::de::MapAccess;
use serde::ser::{Error as _, Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::value::RawValue;
use std::ffi::CStr;

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
            // SAFETY: compares the address of a variable with where the stack began.
            _ if unsafe { stack_is_too_deep() } => Err(S::Error::custom("too deep")),
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

/// A number in PostgreSQL's spelling.
fn digits(number: Value) -> String {
    // Makes the varlena header anew: the copy must be aligned like a numeric.
    let numeric = number.bytes.get(4..).into_datum();
    // SAFETY: numeric_out takes a numeric and returns a palloc'ed C string.
    let text: Option<&CStr> = unsafe { direct_function_call(numeric_out, &[numeric]) };
    text.map(CStr::to_string_lossy)
        .unwrap_or_default()
        .into_owned()
}
