//! `jsonb` in PostgreSQL's own form: read and built in place, so that nothing of it becomes text on
//! the way and nothing can change there.

use crate::grant::Json;
use crate::pg::memory::{reserve, room};
use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::nullable::Nullable;
use pgrx::pg_sys::JsonbIteratorToken as Token;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::pg_sys::jbvType::{self, jbvBinary, jbvNull, jbvNumeric, jbvString};
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use pgrx::{FromDatum, IntoDatum, direct_function_call, pg_sys};
use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr;

/// A whole `jsonb`, in the memory context of the call.
#[derive(Clone, Copy)]
pub struct Jsonb(*mut pg_sys::Jsonb);

/// A value that lies in a `jsonb`, or in a string.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    value: pg_sys::JsonbValue,
    source: PhantomData<&'a str>,
}

impl Jsonb {
    pub fn is_object(&self) -> bool {
        self.header() & pg_sys::JB_FOBJECT != 0
    }

    /// An object that can be handed out in one jsonb with as much again and more: PostgreSQL's limit is
    /// 256 MB.
    pub fn is_object_for_a_row(&self) -> bool {
        self.is_object() && self.size() <= 64 << 20
    }

    /// How many bytes it is.
    pub fn size(&self) -> usize {
        // SAFETY: a detoasted varlena.
        unsafe { pgrx::varsize_any(self.0.cast()) }
    }

    /// The members of an object, by name. Of anything else there are none.
    pub fn members(&self) -> Vec<(&str, Value<'_>)> {
        match self.is_object() {
            // SAFETY: the container is that of a detoasted jsonb.
            true => unsafe { members(&raw mut (*self.0).root) },
            false => Vec::new(),
        }
    }

    pub fn get(&self, name: &str) -> Option<Value<'_>> {
        let mut members = self.members().into_iter();
        members
            .find(|member| member.0 == name)
            .map(|member| member.1)
    }

    /// All of it, to be put into another one.
    pub fn value(&self) -> Value<'_> {
        let mut value = Value::NULL;
        value.value.type_ = jbvBinary;
        // SAFETY: a container follows the header of a varlena of this size.
        value.value.val.binary = unsafe {
            pg_sys::JsonbValue__bindgen_ty_1__bindgen_ty_4 {
                len: (self.size() - pg_sys::VARHDRSZ) as i32,
                data: &raw mut (*self.0).root,
            }
        };
        value
    }

    pub fn to_text(self) -> String {
        // SAFETY: jsonb_out takes a jsonb, and answers a palloc'ed C string.
        let text: Option<&CStr> =
            unsafe { direct_function_call(pg_sys::jsonb_out, &[self.into_datum()]) };
        text.map(CStr::to_string_lossy)
            .unwrap_or_default()
            .into_owned()
    }

    fn header(&self) -> u32 {
        // SAFETY: a detoasted jsonb begins with its header.
        unsafe { (*self.0).root.header }
    }
}

impl<'a> Value<'a> {
    pub const NULL: Value<'static> = Value {
        value: pg_sys::JsonbValue {
            type_: jbvNull,
            val: pg_sys::JsonbValue__bindgen_ty_1 { boolean: false },
        },
        source: PhantomData,
    };

    pub fn text(text: &'a str) -> Value<'a> {
        let mut value = Value::NULL;
        value.value.type_ = jbvString;
        value.value.val.string = pg_sys::JsonbValue__bindgen_ty_1__bindgen_ty_1 {
            len: text.len() as i32,
            val: text.as_ptr().cast_mut().cast(),
        };
        value
    }

    pub fn text_or_null(text: Option<&'a str>) -> Value<'a> {
        text.map_or(Value::NULL, Value::text)
    }

    pub fn number(number: i64) -> Value<'a> {
        let mut value = Value::NULL;
        value.value.type_ = jbvNumeric;
        // SAFETY: makes a palloc'ed numeric.
        value.value.val.numeric = unsafe { pg_sys::int64_to_numeric(number) };
        value
    }

    /// A copy of an object or array as a value of its own; of anything else, none.
    pub fn to_jsonb(self) -> Option<Jsonb> {
        let mut value = self.value;
        // SAFETY: a container is copied as it is.
        (value.type_ == jbvBinary).then(|| Jsonb(unsafe { pg_sys::JsonbValueToJsonb(&mut value) }))
    }

    /// How many bytes a string, object or array is.
    pub fn size(&self) -> usize {
        // SAFETY: the type says which variant it is.
        unsafe {
            match self.value.type_ {
                jbvType::jbvString => self.value.val.string.len as usize,
                jbvType::jbvBinary => self.value.val.binary.len as usize,
                _ => 0,
            }
        }
    }

    /// The header of an object or array.
    fn container(&self) -> Option<*mut pg_sys::JsonbContainer> {
        // SAFETY: of another variant these bytes mean nothing, and are not used.
        let data = unsafe { self.value.val.binary.data };
        (self.value.type_ == jbvBinary).then_some(data)
    }
}

impl<'a> Json<'a> for Value<'a> {
    fn is_null(self) -> bool {
        self.value.type_ == jbvNull
    }

    fn is_object(self) -> bool {
        // SAFETY: a container begins with its header.
        self.container()
            .is_some_and(|container| unsafe { (*container).header } & pg_sys::JB_FOBJECT != 0)
    }

    fn text(self) -> Option<&'a str> {
        if self.value.type_ != jbvString {
            return None;
        }
        // SAFETY: the type says which variant it is; its bytes live as long as the source.
        let bytes = unsafe {
            let string = self.value.val.string;
            std::slice::from_raw_parts(string.val.cast::<u8>(), string.len as usize)
        };
        std::str::from_utf8(bytes).ok()
    }

    fn texts(self) -> Option<Vec<&'a str>> {
        let container = self.container()?;
        // SAFETY: a container begins with its header, and is walked as what that says it is.
        unsafe {
            if (*container).header & pg_sys::JB_FARRAY == 0 {
                return None;
            }
            let elements = members(container);
            let mut texts = room(elements.len());
            for (_, element) in elements {
                texts.push(element.text()?);
            }
            Some(texts)
        }
    }
}

// pgrx's own declarations are each wrapped in a guard, which would cost as much as what they do, and
// which must not be within another one: no panic may cross that.
unsafe extern "C-unwind" {
    fn JsonbIteratorInit(container: *mut pg_sys::JsonbContainer) -> *mut pg_sys::JsonbIterator;
    fn JsonbIteratorNext(
        iterator: *mut *mut pg_sys::JsonbIterator,
        value: *mut pg_sys::JsonbValue,
        skip_nested: bool,
    ) -> Token::Type;
    fn pushJsonbValue(
        state: *mut *mut pg_sys::JsonbParseState,
        token: Token::Type,
        value: *mut pg_sys::JsonbValue,
    ) -> *mut pg_sys::JsonbValue;
    fn JsonbValueToJsonb(value: *mut pg_sys::JsonbValue) -> *mut pg_sys::Jsonb;
}

/// The members of an object, or the elements of an array under empty names, without what lies in those.
/// The container lives as long as they do.
unsafe fn members<'a>(container: *mut pg_sys::JsonbContainer) -> Vec<(&'a str, Value<'a>)> {
    // SAFETY: a container begins with its header. No frame of Rust that an error jumps over owns anything.
    unsafe {
        let mut members = room(((*container).header & pg_sys::JB_CMASK) as usize);
        let mut name = "";
        pg_guard_ffi_boundary(|| {
            let mut iterator = JsonbIteratorInit(container);
            let mut next = Value::NULL;
            loop {
                match JsonbIteratorNext(&mut iterator, &mut next.value, true) {
                    Token::WJB_KEY => name = next.text().unwrap_or_default(),
                    Token::WJB_VALUE | Token::WJB_ELEM => members.push((name, next)),
                    Token::WJB_DONE => break,
                    _ => {}
                }
            }
        });
        members
    }
}

/// An object in the making. What is put into it is copied when it is built. That is quicker where the
/// names come in the order of a jsonb: the shorter ones first.
pub struct Object<'a> {
    tokens: Vec<(Token::Type, Option<Value<'a>>)>,
}

impl<'a> Object<'a> {
    pub fn new() -> Object<'a> {
        let mut object = Object { tokens: room(48) };
        object.push(Token::WJB_BEGIN_OBJECT, None);
        object
    }

    /// Of two members with one name the later one stays.
    pub fn set(mut self, name: &'a str, value: Value<'a>) -> Object<'a> {
        self.push(Token::WJB_KEY, Some(Value::text(name)));
        self.push(Token::WJB_VALUE, Some(value));
        self
    }

    pub fn set_texts(mut self, name: &'a str, texts: &[&'a str]) -> Object<'a> {
        self.push(Token::WJB_KEY, Some(Value::text(name)));
        self.push(Token::WJB_BEGIN_ARRAY, None);
        for text in texts {
            self.push(Token::WJB_ELEM, Some(Value::text(text)));
        }
        self.push(Token::WJB_END_ARRAY, None);
        self
    }

    pub fn set_all(self, members: impl IntoIterator<Item = (&'a str, Value<'a>)>) -> Object<'a> {
        let members = members.into_iter();
        members.fold(self, |object, (name, value)| object.set(name, value))
    }

    pub fn build(mut self) -> Jsonb {
        self.push(Token::WJB_END_OBJECT, None);
        // SAFETY: the tokens come in the order of a JSON text, and what they point to is there; the
        // last one answers all of it. No frame of Rust that an error jumps over owns anything.
        unsafe {
            pg_guard_ffi_boundary(|| {
                let (mut state, mut object) = (ptr::null_mut(), ptr::null_mut());
                for (token, value) in &mut self.tokens {
                    let value = value.as_mut();
                    let value = value.map_or(ptr::null_mut(), |value| &raw mut value.value);
                    object = pushJsonbValue(&mut state, *token, value);
                }
                Jsonb(JsonbValueToJsonb(object))
            })
        }
    }

    fn push(&mut self, token: Token::Type, value: Option<Value<'a>>) {
        reserve(&mut self.tokens, 1);
        self.tokens.push((token, value));
    }
}

impl FromDatum for Jsonb {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _: pg_sys::Oid,
    ) -> Option<Jsonb> {
        // SAFETY: the caller says that this datum is a jsonb. A copy outlives the row it comes from.
        (!is_null)
            .then(|| Jsonb(unsafe { pg_sys::pg_detoast_datum_copy(datum.cast_mut_ptr()).cast() }))
    }
}

impl IntoDatum for Jsonb {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        Some(self.0.into())
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::JSONBOID
    }
}

// SAFETY: both go through the conversions above, which check for NULL.
unsafe impl<'fcx> ArgAbi<'fcx> for Jsonb {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Jsonb {
        unsafe { arg.unbox_arg_using_from_datum() }.unwrap_or_else(|| Object::new().build())
    }

    unsafe fn unbox_nullable_arg(arg: Arg<'_, 'fcx>) -> Nullable<Jsonb> {
        unsafe { arg.unbox_arg_using_from_datum() }.into()
    }
}

// SAFETY: the datum that into_datum makes lives in the memory context of the call.
unsafe impl BoxRet for Jsonb {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        match self.into_datum() {
            Some(datum) => unsafe { fcinfo.return_raw_datum(datum) },
            None => fcinfo.return_null(),
        }
    }
}

// SAFETY: the conversions above read and make jsonb datums.
unsafe impl SqlTranslatable for Jsonb {
    const TYPE_IDENT: &'static str = pgrx::pgrx_resolved_type!(Jsonb);
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Ok(SqlMappingRef::literal("jsonb"));
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> =
        Ok(ReturnsRef::One(SqlMappingRef::literal("jsonb")));
}
