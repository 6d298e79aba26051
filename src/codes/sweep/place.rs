//! The place of a sweep: the pass, and the position in its index.

use crate::table::{Code, Columns, Family, Token};
use std::ffi::CStr;

/// The passes, in the order in which a sweep makes them.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub enum Pass {
    Retained,
    Expired,
    Tokens,
    Families,
}

impl Pass {
    pub fn table(self) -> &'static CStr {
        match self {
            Pass::Retained | Pass::Expired => Code::TABLE,
            Pass::Tokens => Token::TABLE,
            Pass::Families => Family::TABLE,
        }
    }
}

/// The pass that a sweep is in, and the position in its index.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub struct Place {
    pub pass: Pass,
    pub position: i64,
}

impl Place {
    pub const START: Place = Place {
        pass: Pass::Retained,
        position: i64::MIN,
    };
}

/// An error that a trigger, a foreign key or a publication raised when a row was to be removed or
/// retained. It keeps no message, which might hold a value.
#[derive(Clone, Copy)]
pub struct Refusal {
    pub pass: Pass,
    pub sqlstate: i32,
}
