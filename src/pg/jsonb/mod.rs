//! `jsonb` as a data format of serde. Values are read in place and built in PostgreSQL's own
//! layout. Nothing becomes text in between, so nothing can change on the way.
//!
//! The meaning of the members is not known here, but in oauth/.

mod de;
mod kept;
mod layout;
mod ser;
mod spelled;
#[cfg(test)]
mod tests;

pub use de::Error;
pub use kept::Object;
pub use layout::Value;
pub use spelled::Spelled;

use crate::error::Error as Refused;
use crate::oauth::Fault;
use pgrx::callconv::{Arg, ArgAbi};
use pgrx::nullable::Nullable;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use pgrx::{FromDatum, IntoDatum, direct_function_call, pg_sys};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::ffi::CStr;

/// A whole `jsonb`: an argument or a column in place, or one built here.
#[derive(Clone, Debug, PartialEq)]
pub struct Jsonb<'a>(Cow<'a, [u8]>);

impl<'a> Jsonb<'a> {
    /// Builds a `jsonb` from an object or an array of serde.
    pub fn build(value: &impl Serialize) -> Result<Jsonb<'static>, Error> {
        Ok(Jsonb(ser::build(value)?.into()))
    }

    pub fn read<T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        T::deserialize(self.value())
    }

    /// The whole as a value that may become part of another `jsonb`.
    pub fn value(&self) -> Value<'_> {
        Value::container(&self.0)
    }

    /// Whether this is an object of at most 64 MB. A function may return it within a `jsonb`
    /// several times as large, and PostgreSQL's limit is 256 MB.
    pub fn is_object_for_a_row(&self) -> bool {
        self.value().is_object() && self.size() <= 64 << 20
    }

    /// Whether the object or array is empty.
    pub fn is_empty(&self) -> bool {
        self.0.len() == size_of::<u32>()
    }

    /// A copy that owns its bytes.
    pub fn to_static(&self) -> Jsonb<'static> {
        Jsonb(self.0.to_vec().into())
    }

    /// The bytes of the object or array, which `of_bytes` reads.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// A `jsonb` of bytes that `bytes` gave.
    pub fn of_bytes(bytes: &[u8]) -> Jsonb<'_> {
        Jsonb(bytes.into())
    }

    /// The size in bytes.
    pub fn size(&self) -> usize {
        self.0.len() + pg_sys::VARHDRSZ
    }
}

impl<'a> From<Object<'a>> for Jsonb<'a> {
    fn from(object: Object<'a>) -> Jsonb<'a> {
        Jsonb(object.container().into())
    }
}

/// A number in PostgreSQL's spelling.
fn digits(number: Value) -> String {
    // Makes the varlena header anew: the copy must be aligned like a numeric.
    let numeric = number.bytes.get(4..).into_datum();
    // SAFETY: numeric_out takes a numeric and returns a palloc'ed C string.
    let text: Option<&CStr> = unsafe { direct_function_call(pg_sys::numeric_out, &[numeric]) };
    text.map(CStr::to_string_lossy)
        .unwrap_or_default()
        .into_owned()
}

/// Whether a value nests deeper than max_stack_depth allows to follow.
fn is_too_deep() -> bool {
    // SAFETY: compares the address of a variable with where the stack began.
    unsafe { pg_sys::stack_is_too_deep() }
}

impl FromDatum for Jsonb<'_> {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        oid: pg_sys::Oid,
    ) -> Option<Self> {
        // SAFETY: the caller says that this datum is a jsonb whose bytes live for this lifetime.
        let container = unsafe { <&[u8]>::from_polymorphic_datum(datum, is_null, oid) };
        container.map(|container| Jsonb(container.into()))
    }
}

impl IntoDatum for Jsonb<'_> {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        self.0.into_datum()
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::JSONBOID
    }
}

// SAFETY: both go through the conversion above, which checks for NULL.
unsafe impl<'fcx> ArgAbi<'fcx> for Jsonb<'fcx> {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        let empty = || Object::default().into();
        unsafe { arg.unbox_arg_using_from_datum() }.unwrap_or_else(empty)
    }

    unsafe fn unbox_nullable_arg(arg: Arg<'_, 'fcx>) -> Nullable<Self> {
        unsafe { arg.unbox_arg_using_from_datum() }.into()
    }
}

// SAFETY: the conversions above read and make jsonb datums.
unsafe impl SqlTranslatable for Jsonb<'_> {
    const TYPE_IDENT: &'static str = pgrx::pgrx_resolved_type!(Jsonb);
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Ok(SqlMappingRef::literal("jsonb"));
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> =
        Ok(ReturnsRef::One(SqlMappingRef::literal("jsonb")));
}

impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        match error {
            Error::Memory => Refused::Memory,
            _ => Refused::Damaged,
        }
    }
}

impl From<Fault<Error>> for Refused {
    fn from(fault: Fault<Error>) -> Refused {
        match (fault.member, fault.error) {
            (Some(member), Error::MustBe(what)) => Refused::Grant(member, what),
            (None, Error::MustBe(_)) => Refused::Data,
            (_, error) => error.into(),
        }
    }
}
