//! The meta of a redemption: an object of the caller's, which a reuse gets back. Only its family is
//! looked at.

use crate::error::Error;
use crate::oauth::Identifier;
use crate::pg::jsonb::{Jsonb, Value};
use crate::table::{Code, Row};
use serde::Deserialize;

/// A meta that code_redeem or code_complete may mark a code with.
pub struct Meta<'a> {
    pub jsonb: Jsonb<'a>,
    /// The family that it names, if any.
    pub family_id: Option<String>,
}

#[derive(Deserialize)]
struct Checked<'a> {
    #[serde(borrow)]
    family_id: Option<Identifier<'a>>,
}

#[derive(Deserialize)]
struct Stored<'a> {
    #[serde(borrow)]
    family_id: Option<Value<'a>>,
}

impl<'a> Meta<'a> {
    /// Refuses a family that could not be revoked.
    pub fn check(jsonb: Jsonb<'a>) -> Result<Meta<'a>, Error> {
        if !jsonb.is_object_for_a_row() {
            return Err(Error::Meta);
        }
        let checked: Checked = jsonb.read().map_err(|_| Error::MetaFamily)?;
        let family_id = checked.family_id.map(|id| id.as_str().to_owned());
        Ok(Meta { jsonb, family_id })
    }
}

/// The family in the meta that a code was marked with. code_mark_consumed accepts any value there,
/// and one that is not an identifier names no family.
pub fn family_of(code: &Row<Code>) -> Option<String> {
    let meta = code.jsonb(Code::ConsumedMeta)?;
    let stored: Stored = meta.read().ok()?;
    let family_id = Identifier::new(stored.family_id?.text()?)?;
    Some(family_id.as_str().to_owned())
}

/// What is stored of a meta. NULL means the same as an empty object and takes no room. The row keeps
/// its length, so the WAL gets only the part that differs.
pub fn column<'a>(meta: &Jsonb<'a>) -> Option<Jsonb<'a>> {
    (!meta.is_empty()).then(|| meta.clone())
}
