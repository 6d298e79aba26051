//! A successful redemption, as a later presentation of the same code is told of it.

use crate::grant::{Members, non_empty_text};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What is known of a redemption: whose it was, overlaid with what the redeemer said (an object; a
/// null there wins).
pub struct Redemption<'a>(BTreeMap<String, Cow<'a, RawValue>>);

impl<'a> Redemption<'a> {
    pub fn new(
        family_id: Option<&str>,
        subject: &str,
        meta: &'a str,
    ) -> serde_json::Result<Redemption<'a>> {
        let mut members = BTreeMap::from([
            (
                "family_id".to_owned(),
                Cow::Owned(to_raw_value(&family_id)?),
            ),
            ("subject".to_owned(), Cow::Owned(to_raw_value(subject)?)),
        ]);
        let said: Members<'a> = serde_json::from_str(meta)?;
        members.extend(
            said.into_iter()
                .map(|(name, json)| (name, Cow::Borrowed(json))),
        );
        Ok(Redemption(members))
    }

    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(&self.0)
    }

    /// The family whose tokens it gave, where there is one.
    pub fn family_id(&self) -> Option<String> {
        self.0
            .get("family_id")
            .and_then(|json| non_empty_text(json.get()))
    }

    /// What those are told who listen for reuse: whose redemption was repeated, and when, in unix
    /// seconds. Whatever does not fit into `limit` bytes is null.
    pub fn announcement(
        &self,
        client_id: &str,
        when: i64,
        limit: usize,
    ) -> serde_json::Result<String> {
        let mut notice = Notice {
            family_id: self.0.get("family_id").map(|json| &**json),
            subject: self.0.get("subject").map(|json| &**json),
            client_id: Some(client_id),
            when,
        };
        let omissions: [fn(&mut Notice); 3] = [
            |notice| notice.subject = None,
            |notice| notice.client_id = None,
            |notice| notice.family_id = None,
        ];
        let mut json = serde_json::to_string(&notice)?;
        for omit in omissions {
            if json.len() <= limit {
                break;
            }
            omit(&mut notice);
            json = serde_json::to_string(&notice)?;
        }
        Ok(json)
    }
}

#[derive(Serialize)]
struct Notice<'a> {
    family_id: Option<&'a RawValue>,
    subject: Option<&'a RawValue>,
    client_id: Option<&'a str>,
    when: i64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn of(meta: &str) -> Redemption<'_> {
        Redemption::new(Some("f"), "s", meta).unwrap()
    }

    fn value(json: serde_json::Result<String>) -> Value {
        serde_json::from_str(&json.unwrap()).unwrap()
    }

    #[test]
    fn it_is_overlaid_with_its_meta() {
        let json = |meta| value(of(meta).to_json());
        assert_eq!(json("{}"), json!({"family_id": "f", "subject": "s"}));
        assert_eq!(
            json(r#"{"family_id": null, "n": 1}"#),
            json!({"family_id": null, "subject": "s", "n": 1})
        );
        assert_eq!(
            Redemption::new(None, "s", "{}").unwrap().to_json().unwrap(),
            r#"{"family_id":null,"subject":"s"}"#
        );
        assert!(Redemption::new(None, "s", "[]").is_err());
    }

    #[test]
    fn its_family_is_the_one_that_the_redeemer_named() {
        assert_eq!(of("{}").family_id().as_deref(), Some("f"));
        assert_eq!(
            of(r#"{"family_id": "g"}"#).family_id().as_deref(),
            Some("g")
        );
        assert_eq!(of(r#"{"family_id": null}"#).family_id(), None);
        assert_eq!(of(r#"{"family_id": 1}"#).family_id(), None);
    }

    #[test]
    fn the_announcement_says_whose_and_when() {
        assert_eq!(
            value(of(r#"{"family_id": "g", "n": 1}"#).announcement("c", 7, 7999)),
            json!({"family_id": "g", "subject": "s", "client_id": "c", "when": 7})
        );
    }

    #[test]
    fn what_does_not_fit_into_an_announcement_is_null() {
        let long = "x".repeat(100);
        let subject = Redemption::new(Some("f"), &long, "{}").unwrap();
        assert_eq!(
            value(subject.announcement("c", 7, 99)),
            json!({"family_id": "f", "subject": null, "client_id": "c", "when": 7})
        );
        assert_eq!(
            value(subject.announcement(&long, 7, 99)),
            json!({"family_id": "f", "subject": null, "client_id": null, "when": 7})
        );
        let family = Redemption::new(Some(&long), &long, "{}").unwrap();
        assert_eq!(
            value(family.announcement(&long, 7, 99)),
            json!({"family_id": null, "subject": null, "client_id": null, "when": 7})
        );
    }
}
