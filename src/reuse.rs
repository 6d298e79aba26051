//! Reuse of a redeemed code: the attack signal of RFC 6749, section 4.1.2, and RFC 9700, section 4.2.4.

use crate::error::Error;
use crate::jsonb::Jsonb;
use crate::numeric_date::{from_timestamp, now};
use crate::redemption::Redemption;
use crate::table::{Code, Row};
use pgrx::{IntoDatum, direct_function_call_as_datum, pg_sys};

/// The channel on which the first reuse of a code is announced.
const CHANNEL: &str = "attesto_codes_reuse";
/// What NOTIFY carries, in bytes.
const PAYLOAD: usize = 7999;

/// What a replay is told of the redemption that it repeats.
pub fn redemption(row: &Row<Code>) -> Result<Jsonb, Error> {
    with_redemption(row, |redemption| redemption.to_json().map(Jsonb))
}

/// The family whose tokens the redemption gave, where there is one.
pub fn family_id(row: &Row<Code>) -> Result<Option<String>, Error> {
    with_redemption(row, |redemption| Ok(redemption.family_id()))
}

/// Notifies whoever listens, when this transaction commits. A row that cannot be read is nobody's.
pub fn announce(row: &Row<Code>) {
    let client_id: String = row.get(Code::ClientId).unwrap_or_default();
    let when = from_timestamp(now());
    let notice = with_redemption(row, |r| r.announcement(&client_id, when, PAYLOAD));
    if let Ok(notice) = notice {
        // SAFETY: pg_notify takes two texts, which it copies.
        unsafe {
            direct_function_call_as_datum(
                pg_sys::pg_notify,
                &[CHANNEL.into_datum(), notice.into_datum()],
            );
        }
    }
}

fn with_redemption<T>(
    row: &Row<Code>,
    read: impl FnOnce(&Redemption) -> serde_json::Result<T>,
) -> Result<T, Error> {
    let subject: String = row.get(Code::Subject).ok_or(Error::Damaged)?;
    let family_id: Option<String> = row.get(Code::FamilyId);
    let Jsonb(meta) = row.get(Code::ConsumedMeta).ok_or(Error::Damaged)?;
    Redemption::new(family_id.as_deref(), &subject, &meta)
        .and_then(|redemption| read(&redemption))
        .map_err(|_| Error::Damaged)
}
