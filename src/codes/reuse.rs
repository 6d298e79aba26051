//! Reuse of a redeemed code: the attack signal of RFC 6749, section 4.1.2, and RFC 9700, section 4.2.4.

use crate::error::Error;
use crate::grant::non_empty_text;
use crate::jsonb::{Jsonb, Object, Value};
use crate::oauth::numeric_date::from_timestamp;
use crate::pg::backend::{notify, now};
use crate::table::{Code, Row};

/// The channel on which the first reuse of a code is announced.
const CHANNEL: &str = "attesto_codes_reuse";
/// What NOTIFY carries, in bytes.
const PAYLOAD: usize = 7999;

/// What a replay is told of the redemption that it repeats: whose it was, overlaid with what the
/// redeemer said (a null there wins).
pub fn redemption(row: &Row<Code>) -> Result<Jsonb, Error> {
    let meta: Option<Jsonb> = row.get(Code::ConsumedMeta);
    let subject = row.text(Code::Subject).ok_or(Error::Damaged)?;
    Ok(Object::new()
        .set("family_id", Value::text_or_null(row.text(Code::FamilyId)))
        .set("subject", Value::text(subject))
        .set_all(meta.as_ref().map(Jsonb::members).unwrap_or_default())
        .build())
}

/// The family whose tokens the redemption gave, where there is one.
pub fn family_id(row: &Row<Code>) -> Option<String> {
    let redemption = redemption(row).ok()?;
    redemption
        .get("family_id")
        .and_then(non_empty_text)
        .map(str::to_owned)
}

/// Notifies whoever listens, when this transaction commits. A row that cannot be read is nobody's.
pub fn announce(row: &Row<Code>) {
    if let Some(payload) = payload(row) {
        notify(CHANNEL, &payload);
    }
}

/// Whose redemption was repeated, and when, in unix seconds. Members that would not fit are null.
fn payload(row: &Row<Code>) -> Option<String> {
    let redemption = redemption(row).ok()?;
    // The more is known without it, the later it comes.
    let members = [
        ("family_id", redemption.get("family_id")),
        ("client_id", row.text(Code::ClientId).map(Value::text)),
        ("subject", redemption.get("subject")),
    ];
    let when = from_timestamp(now());
    (0..=members.len())
        .rev()
        .map(|kept| notice(&members, kept, when))
        .find(|payload| payload.len() <= PAYLOAD)
}

/// With the first `kept` of these members, of which none is so large that no text of it would fit.
fn notice(members: &[(&str, Option<Value>)], kept: usize, when: i64) -> String {
    let kept = members.iter().enumerate().map(|(at, (name, value))| {
        let value = value.filter(|value| at < kept && value.size() <= 8 * PAYLOAD);
        (*name, value.unwrap_or(Value::NULL))
    });
    Object::new()
        .set_all(kept)
        .set("when", Value::number(when))
        .build()
        .to_text()
}
