//! The grant: what the authorization request agreed and the token endpoint must reproduce.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The one PKCE method that a grant may carry (RFC 7636, section 4.2).
const S256: &str = "S256";

/// A grant as the columns of its row hold it. Values that this version has no rule for stay JSON
/// text, so that no number and no unknown member changes on the way.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    pub client_id: String,
    pub subject: String,
    pub redirect_uri: String,
    pub scope: Vec<String>,
    pub resource: Vec<String>,
    pub code_challenge: Option<String>,
    pub code_challenge_method: Option<String>,
    /// A confirmation claim, `{"jkt": …}` (RFC 7800, section 3.1; RFC 9449, section 10).
    pub cnf: Option<String>,
    pub nonce: Option<String>,
    pub family_id: Option<String>,
    /// A JSON object.
    pub claims: String,
    /// A JSON object of all members that are not named above; `None` where there are none.
    pub extra: Option<String>,
}

/// Why a grant is refused: the member at fault and what it has to be. Never holds its value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Invalid {
    /// `None`: the grant itself is at fault.
    pub member: Option<&'static str>,
    pub must_be: &'static str,
}

pub type Members<'a> = BTreeMap<String, &'a RawValue>;

#[derive(Serialize, Deserialize)]
struct Confirmation {
    jkt: String,
}

/// The grant as a caller sees it.
#[derive(Serialize)]
struct Entry<'a> {
    client_id: &'a str,
    subject: &'a str,
    redirect_uri: &'a str,
    scope: &'a [String],
    resource: &'a [String],
    code_challenge: Option<&'a str>,
    code_challenge_method: Option<&'a str>,
    dpop_jkt: Option<String>,
    nonce: Option<&'a str>,
    family_id: Option<&'a str>,
    claims: &'a RawValue,
    #[serde(flatten)]
    extra: Members<'a>,
}

impl Grant {
    /// Reads and checks a grant; absent members get their defaults.
    pub fn parse(json: &str) -> Result<Grant, Invalid> {
        let mut members: Members = serde_json::from_str(json).map_err(|_| Invalid {
            member: None,
            must_be: "a JSON object",
        })?;
        let code_challenge = optional_text(&mut members, "code_challenge")?;
        check_challenge_method(&mut members)?;
        Ok(Grant {
            client_id: required_text(&mut members, "client_id")?,
            subject: required_text(&mut members, "subject")?,
            redirect_uri: required_text(&mut members, "redirect_uri")?,
            scope: texts(&mut members, "scope")?,
            resource: texts(&mut members, "resource")?,
            // A challenge without a method would mean "plain" (RFC 7636, section 4.3): never stored.
            code_challenge_method: code_challenge.as_ref().map(|_| S256.to_owned()),
            code_challenge,
            cnf: optional_text(&mut members, "dpop_jkt")?
                .map(|jkt| to_json(&Confirmation { jkt }))
                .transpose()?,
            nonce: optional_text(&mut members, "nonce")?,
            family_id: optional_text(&mut members, "family_id")?,
            claims: object(&mut members, "claims")?,
            extra: (!members.is_empty())
                .then(|| to_json(&members))
                .transpose()?,
        })
    }

    /// The grant as one JSON object: what `parse` read, with every default filled in. Fails where
    /// `cnf`, `claims` or `extra` hold what `parse` would never make.
    pub fn to_json(&self) -> serde_json::Result<String> {
        let confirmation: Option<Confirmation> =
            self.cnf.as_deref().map(serde_json::from_str).transpose()?;
        let extra: Option<Members> = self
            .extra
            .as_deref()
            .map(serde_json::from_str)
            .transpose()?;
        serde_json::to_string(&Entry {
            client_id: &self.client_id,
            subject: &self.subject,
            redirect_uri: &self.redirect_uri,
            scope: &self.scope,
            resource: &self.resource,
            code_challenge: self.code_challenge.as_deref(),
            code_challenge_method: self.code_challenge_method.as_deref(),
            dpop_jkt: confirmation.map(|c| c.jkt),
            nonce: self.nonce.as_deref(),
            family_id: self.family_id.as_deref(),
            claims: serde_json::from_str(&self.claims)?,
            extra: extra.unwrap_or_default(),
        })
    }
}

/// Whether a JSON text, as PostgreSQL prints it, is an object.
pub fn is_object(json: &str) -> bool {
    json.starts_with('{')
}

fn to_json(value: &impl Serialize) -> Result<String, Invalid> {
    serde_json::to_string(value).map_err(|_| Invalid {
        member: None,
        must_be: "a JSON object",
    })
}

/// Takes a member out; absent and null are the same.
fn take<'a>(members: &mut Members<'a>, name: &str) -> Option<&'a str> {
    members
        .remove(name)
        .map(RawValue::get)
        .filter(|json| *json != "null")
}

/// A JSON string that is not empty.
pub fn non_empty_text(json: &str) -> Option<String> {
    serde_json::from_str(json)
        .ok()
        .filter(|text: &String| !text.is_empty())
}

fn required_text(members: &mut Members, name: &'static str) -> Result<String, Invalid> {
    take(members, name).and_then(non_empty_text).ok_or(Invalid {
        member: Some(name),
        must_be: "a non-empty string",
    })
}

fn optional_text(members: &mut Members, name: &'static str) -> Result<Option<String>, Invalid> {
    match take(members, name) {
        None => Ok(None),
        Some(json) => non_empty_text(json).map(Some).ok_or(Invalid {
            member: Some(name),
            must_be: "a non-empty string, null or left out",
        }),
    }
}

fn texts(members: &mut Members, name: &'static str) -> Result<Vec<String>, Invalid> {
    match take(members, name) {
        None => Ok(Vec::new()),
        Some(json) => serde_json::from_str(json)
            .ok()
            .filter(|texts: &Vec<String>| texts.iter().all(|text| !text.is_empty()))
            .ok_or(Invalid {
                member: Some(name),
                must_be: "an array of non-empty strings, null or left out",
            }),
    }
}

fn object(members: &mut Members, name: &'static str) -> Result<String, Invalid> {
    match take(members, name) {
        None => Ok("{}".to_owned()),
        Some(json) if is_object(json) => Ok(json.to_owned()),
        Some(_) => Err(Invalid {
            member: Some(name),
            must_be: "an object, null or left out",
        }),
    }
}

fn check_challenge_method(members: &mut Members) -> Result<(), Invalid> {
    match take(members, "code_challenge_method").map(non_empty_text) {
        None => Ok(()),
        Some(Some(method)) if method == S256 => Ok(()),
        Some(_) => Err(Invalid {
            member: Some("code_challenge_method"),
            must_be: "\"S256\", null or left out",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const LEAST: &str = r#"{"client_id": "c", "subject": "s", "redirect_uri": "r"}"#;

    fn with(name: &str, value: Value) -> Result<Grant, Invalid> {
        let mut grant: Value = serde_json::from_str(LEAST).unwrap();
        grant[name] = value;
        Grant::parse(&grant.to_string())
    }

    fn value(grant: &Grant) -> Value {
        serde_json::from_str(&grant.to_json().unwrap()).unwrap()
    }

    #[test]
    fn the_least_grant_gets_every_default() {
        let grant = Grant::parse(LEAST).unwrap();
        assert_eq!(grant.extra, None);
        assert_eq!(
            value(&grant),
            json!({
                "client_id": "c", "subject": "s", "redirect_uri": "r", "scope": [], "resource": [],
                "code_challenge": null, "code_challenge_method": null, "dpop_jkt": null,
                "nonce": null, "family_id": null, "claims": {}
            })
        );
    }

    #[test]
    fn a_full_grant_comes_back_whole() {
        let full = json!({
            "client_id": "c", "subject": "s", "redirect_uri": "r", "scope": ["a", "b"],
            "resource": ["https://api.example"], "code_challenge": "x",
            "code_challenge_method": "S256", "dpop_jkt": "t\"humb", "nonce": "n",
            "family_id": "f", "claims": {"deep": [[{"a": "ü\n"}]]}, "": 1, "acr": {"x": [null]}
        });
        let grant = Grant::parse(&full.to_string()).unwrap();
        assert_eq!(grant.cnf.as_deref(), Some(r#"{"jkt":"t\"humb"}"#));
        assert_eq!(value(&grant), full);
    }

    #[test]
    fn json_that_has_no_rule_is_not_touched() {
        let token = r#"{"$serde_json::private::Number": "1", "n": 12345678901234567890.123}"#;
        let json = format!(
            r#"{{"client_id": "c", "subject": "s", "redirect_uri": "r", "claims": {token}, "x": {token}}}"#
        );
        let grant = Grant::parse(&json).unwrap();
        assert_eq!(grant.claims, token);
        assert_eq!(grant.extra, Some(format!(r#"{{"x":{token}}}"#)));
        assert!(grant.to_json().unwrap().contains(token));
    }

    #[test]
    fn claims_may_be_deeper_than_a_parser_would_recurse() {
        let deep = format!(r#"{{"d": {}{}}}"#, "[".repeat(5000), "]".repeat(5000));
        let json = format!(
            r#"{{"client_id": "c", "subject": "s", "redirect_uri": "r", "claims": {deep}}}"#
        );
        let grant = Grant::parse(&json).unwrap();
        assert!(grant.to_json().unwrap().contains(&deep));
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        for json in ["null", "[]", "1", "\"x\"", "true", ""] {
            assert_eq!(Grant::parse(json).unwrap_err().member, None, "{json}");
        }
    }

    #[test]
    fn required_members_are_non_empty_strings() {
        for name in ["client_id", "subject", "redirect_uri"] {
            for wrong in [json!(null), json!(""), json!(1), json!(["x"]), json!({})] {
                assert_eq!(with(name, wrong).unwrap_err().member, Some(name));
            }
        }
    }

    #[test]
    fn optional_members_are_non_empty_strings_or_null() {
        for name in ["code_challenge", "dpop_jkt", "nonce", "family_id"] {
            assert!(with(name, json!(null)).is_ok());
            for wrong in [json!(""), json!(1), json!(["x"]), json!({}), json!(false)] {
                assert_eq!(with(name, wrong).unwrap_err().member, Some(name));
            }
        }
    }

    #[test]
    fn lists_hold_non_empty_strings() {
        for name in ["scope", "resource"] {
            assert!(with(name, json!(null)).is_ok());
            for wrong in [json!(""), json!([""]), json!([null]), json!([1]), json!({})] {
                assert_eq!(with(name, wrong).unwrap_err().member, Some(name));
            }
        }
    }

    #[test]
    fn claims_are_an_object() {
        assert_eq!(with("claims", json!(null)).unwrap().claims, "{}");
        for wrong in [json!(""), json!([]), json!(1), json!(true)] {
            assert_eq!(with("claims", wrong).unwrap_err().member, Some("claims"));
        }
    }

    #[test]
    fn the_method_is_s256_and_only_beside_a_challenge() {
        let method = |grant: Result<Grant, Invalid>| grant.unwrap().code_challenge_method;
        assert_eq!(
            method(with("code_challenge", json!("x"))).as_deref(),
            Some("S256")
        );
        assert_eq!(method(with("code_challenge_method", json!("S256"))), None);
        assert_eq!(method(with("code_challenge_method", json!(null))), None);
        for wrong in [json!("plain"), json!(""), json!("s256"), json!(1)] {
            let refused = with("code_challenge_method", wrong).unwrap_err();
            assert_eq!(refused.member, Some("code_challenge_method"));
        }
    }

    #[test]
    fn a_damaged_row_is_an_error_and_not_a_panic() {
        let grant = Grant::parse(LEAST).unwrap();
        for damaged in [
            Grant {
                cnf: Some("{}".into()),
                ..grant.clone()
            },
            Grant {
                claims: "".into(),
                ..grant.clone()
            },
            Grant {
                extra: Some("[]".into()),
                ..grant.clone()
            },
        ] {
            assert!(damaged.to_json().is_err());
        }
    }
}
