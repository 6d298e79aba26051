//! The strings in a grant. Each kind is a type, so that no unchecked string gets into it. A refusal
//! says what the string must be. Whether the refused value is shown is for the format to decide.

use super::members::push;
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Unexpected, Visitor};
use serde::ser::{Serialize, Serializer};
use std::fmt;

/// A string that is not empty.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
#[serde(transparent)]
pub struct NonEmpty<'a>(&'a str);

impl<'a> NonEmpty<'a> {
    pub fn new(text: &'a str) -> Option<NonEmpty<'a>> {
        (!text.is_empty()).then_some(NonEmpty(text))
    }

    pub fn as_str(self) -> &'a str {
        self.0
    }
}

/// A string of 1 to 1024 bytes. An index can hold it and still has room for more columns.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
#[serde(transparent)]
pub struct Identifier<'a>(&'a str);

impl<'a> Identifier<'a> {
    pub fn new(text: &'a str) -> Option<Identifier<'a>> {
        (1..=1024).contains(&text.len()).then_some(Identifier(text))
    }

    /// An identifier that is stored already. Older versions had no limit.
    pub fn stored(text: &'a str) -> Identifier<'a> {
        Identifier(text)
    }

    pub fn as_str(self) -> &'a str {
        self.0
    }
}

/// The one PKCE method that a grant may carry (RFC 7636, section 4.2).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct S256;

impl S256 {
    pub const NAME: &str = "S256";

    pub fn new(name: &str) -> Option<S256> {
        (name == S256::NAME).then_some(S256)
    }
}

/// Non-empty strings, in their original order.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
#[serde(transparent)]
pub struct List<'a>(Vec<&'a str>);

impl<'a> List<'a> {
    /// A list that is stored already.
    pub fn stored(texts: Vec<&'a str>) -> List<'a> {
        List(texts)
    }

    pub fn into_vec(self) -> Vec<&'a str> {
        self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for NonEmpty<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<NonEmpty<'a>, D::Error> {
        deserializer.deserialize_str(Text("a non-empty string", NonEmpty::new))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Identifier<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Identifier<'a>, D::Error> {
        deserializer.deserialize_str(Text("a string of 1 to 1024 bytes", Identifier::new))
    }
}

impl<'de> Deserialize<'de> for S256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<S256, D::Error> {
        deserializer.deserialize_str(Text("\"S256\"", S256::new))
    }
}

impl Serialize for S256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(S256::NAME)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for List<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<List<'a>, D::Error> {
        deserializer.deserialize_seq(Texts)
    }
}

/// Reads a string: the text of a refusal, and the check that makes a value of the string.
struct Text<'a, T>(&'static str, fn(&'a str) -> Option<T>);

impl<'de, T> Visitor<'de> for Text<'de, T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(self.0)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<T, E> {
        self.1(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

/// Reads a list. A fault of an element is a fault of the whole list.
struct Texts;

impl<'de> Visitor<'de> for Texts {
    type Value = List<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("an array of non-empty strings")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<List<'de>, A::Error> {
        let mut texts = Vec::new();
        let wrong = |_| A::Error::invalid_value(Unexpected::Seq, &self);
        while let Some(NonEmpty(text)) = elements.next_element().map_err(wrong)? {
            push(&mut texts, text)?;
        }
        Ok(List(texts))
    }
}
