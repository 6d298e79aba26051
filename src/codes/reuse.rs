//! Reuse of a redeemed code: the attack signal of RFC 6749, section 4.1.2, and RFC 9700, section 4.2.4.

use crate::error::Error;
use crate::oauth::Members;
use crate::oauth::numeric_date::from_timestamp;
use crate::pg::backend::{notify, now};
use crate::pg::jsonb::{Jsonb, Spelled, Value};
use crate::table::{Code, Row};
use serde::{Deserialize, Serialize};
use serde_json::ser::{Formatter, Serializer};
use std::io::{self, Write};

/// The channel on which the first reuse of a code is announced.
const CHANNEL: &str = "attesto_codes_reuse";
/// The most that NOTIFY carries, in bytes.
const PAYLOAD: usize = 7999;

/// The owner of a redemption, overlaid with the meta of the mark. A null in meta wins.
#[derive(Serialize)]
struct Redemption<'a> {
    family_id: Option<&'a str>,
    subject: &'a str,
    #[serde(flatten)]
    meta: Members<'a, Value<'a>>,
}

/// The owner of the redemption, after the overlay.
#[derive(Deserialize)]
struct Redeemed<'a> {
    #[serde(borrow)]
    family_id: Value<'a>,
    #[serde(borrow)]
    subject: Value<'a>,
}

/// The payload of the notification: whose redeemed code was presented again, and when, in unix
/// seconds.
#[derive(Serialize)]
struct Notice<'a> {
    when: i64,
    subject: Option<Spelled<'a>>,
    client_id: Option<&'a str>,
    family_id: Option<Spelled<'a>>,
}

/// The meta that a presentation of a redeemed code gets.
pub fn redemption(row: &Row<Code>) -> Result<Jsonb<'static>, Error> {
    redemption_with(row, row.jsonb(Code::ConsumedMeta).as_ref())
}

/// The meta that a presentation gets of a code that was redeemed with this meta.
pub fn redemption_with(row: &Row<Code>, meta: Option<&Jsonb>) -> Result<Jsonb<'static>, Error> {
    let meta = meta.map(Jsonb::read).transpose()?;
    let redemption = Redemption {
        family_id: row.text(Code::FamilyId),
        subject: row.text(Code::Subject).ok_or(Error::Damaged)?,
        meta: meta.unwrap_or_else(Members::none),
    };
    Ok(Jsonb::build(&redemption)?)
}

/// Notifies listeners when this transaction commits. Nothing is sent for a row that cannot be read.
pub fn announce(row: &Row<Code>) {
    if let Some(payload) = payload(row) {
        notify(CHANNEL, &payload);
    }
}

/// Members that do not fit become null. Those that can be found by the others go first.
fn payload(row: &Row<Code>) -> Option<String> {
    let redemption = redemption(row).ok()?;
    let redeemed: Redeemed = redemption.read().ok()?;
    // The text of a larger value cannot fit.
    let small = |value| Some(Spelled(value)).filter(|it| it.0.size() <= 8 * PAYLOAD);
    let mut notice = Notice {
        when: from_timestamp(now()),
        subject: small(redeemed.subject),
        client_id: row.text(Code::ClientId),
        family_id: small(redeemed.family_id),
    };
    let leave_out: [fn(&mut Notice); 3] = [
        |notice| notice.subject = None,
        |notice| notice.client_id = None,
        |notice| notice.family_id = None,
    ];
    let shorter = leave_out.iter().find_map(|leave_out| {
        let text = text(&notice);
        leave_out(&mut notice);
        text
    });
    shorter.or_else(|| text(&notice))
}

/// The text of a notice. Writing stops when the payload is full.
fn text(notice: &Notice) -> Option<String> {
    let mut text = [0; PAYLOAD];
    let mut rest = &mut text[..];
    let mut serializer = Serializer::with_formatter(&mut rest, Spaced);
    notice.serialize(&mut serializer).ok()?;
    let rest = rest.len();
    let text = text.get(..PAYLOAD - rest)?;
    String::from_utf8(text.to_vec()).ok()
}

/// Writes JSON in PostgreSQL's spelling of a jsonb.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: Write + ?Sized>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        to.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: Write + ?Sized>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        self.begin_array_value(to, first)
    }

    fn begin_object_value<W: Write + ?Sized>(&mut self, to: &mut W) -> io::Result<()> {
        to.write_all(b": ")
    }
}
