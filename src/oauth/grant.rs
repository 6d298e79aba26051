//! The grant: what the authorization request agreed and the token endpoint must reproduce.

use super::members::{self, Fault, Members};
use super::text::{Identifier, List, NonEmpty, S256};
use serde::{Deserialize, Deserializer, Serialize};

/// A grant, divided like the columns of its row. `Object` and `Any` are the format's types for an
/// object and for any value that it does not look into.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(bound(deserialize = "'de: 'a, Object: Deserialize<'de> + Default"))]
pub struct Grant<'a, Object, Any> {
    pub client_id: NonEmpty<'a>,
    pub subject: NonEmpty<'a>,
    pub redirect_uri: NonEmpty<'a>,
    #[serde(deserialize_with = "or_default")]
    pub scope: List<'a>,
    #[serde(deserialize_with = "or_default")]
    pub resource: List<'a>,
    pub code_challenge: Option<NonEmpty<'a>>,
    /// Without a method, a challenge would mean "plain" (RFC 7636, section 4.3). Here it always
    /// means S256.
    pub code_challenge_method: Option<S256>,
    pub dpop_jkt: Option<NonEmpty<'a>>,
    pub nonce: Option<NonEmpty<'a>>,
    pub family_id: Option<Identifier<'a>>,
    #[serde(deserialize_with = "or_default")]
    pub claims: Object,
    /// All members that are not named above.
    #[serde(flatten, skip_deserializing, default = "Members::none")]
    pub extra: Members<'a, Any>,
}

/// The confirmation of a grant that is bound to a key (RFC 7800; RFC 9449, section 6.1).
#[derive(Deserialize, Serialize)]
pub struct Confirmation<'a> {
    #[serde(borrow)]
    pub jkt: NonEmpty<'a>,
}

impl<'a, Object, Any> Grant<'a, Object, Any>
where
    Object: Deserialize<'a> + Default,
    Any: Deserialize<'a>,
{
    /// Reads and checks the members of a grant. A member that is absent or null gets its default.
    pub fn read<D: Deserializer<'a>>(data: D) -> Result<Self, Fault<D::Error>> {
        let (grant, extra): (Self, _) = members::read(data)?;
        Ok(Grant {
            code_challenge_method: grant.code_challenge.map(|_| S256),
            extra,
            ..grant
        })
    }
}

/// Reads null as the default.
fn or_default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Default,
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, Value, json};

    type Json<'a> = Grant<'a, Map<String, Value>, Value>;

    fn read(grant: &Value) -> Result<Json<'_>, Fault<serde_json::Error>> {
        Grant::read(grant)
    }

    fn least() -> Value {
        json!({"client_id": "c", "subject": "s", "redirect_uri": "r"})
    }

    /// The least grant with one member changed.
    fn with(name: &str, value: Value) -> Value {
        let mut grant = least();
        grant[name] = value;
        grant
    }

    fn refused(name: &'static str, must_be: &str, values: &[Value]) {
        for wrong in values {
            let fault = read(&with(name, wrong.clone())).unwrap_err();
            assert_eq!(fault.member, Some(name), "{wrong}");
            let error = fault.error.to_string();
            assert!(error.contains(&format!("expected {must_be}")), "{error}");
        }
    }

    #[test]
    fn the_least_grant_gets_every_default() {
        let grant = json!(read(&least()).unwrap());
        let defaults = json!({
            "client_id": "c", "subject": "s", "redirect_uri": "r", "scope": [], "resource": [],
            "code_challenge": null, "code_challenge_method": null, "dpop_jkt": null, "nonce": null,
            "family_id": null, "claims": {}
        });
        assert_eq!(grant, defaults);
    }

    #[test]
    fn a_full_grant_comes_back_whole() {
        let full = json!({
            "client_id": "c", "subject": "s", "redirect_uri": "r", "scope": ["a", "b"],
            "resource": ["https://api.example"], "code_challenge": "x",
            "code_challenge_method": "S256", "dpop_jkt": "t", "nonce": "n",
            "family_id": "f", "claims": {"deep": [[{"a": 1}]]}, "": 1, "acr": {"x": [null]}, "no": null
        });
        let grant = read(&full).unwrap();
        assert_eq!(grant.scope.clone().into_vec(), ["a", "b"]);
        assert_eq!(grant.family_id.map(Identifier::as_str), Some("f"));
        assert_eq!(
            json!(grant.extra),
            json!({"": 1, "acr": {"x": [null]}, "no": null})
        );
        assert_eq!(json!(grant), full);
    }

    #[test]
    fn null_is_as_absent() {
        let mut nulls = json!(read(&least()).unwrap());
        for member in nulls.as_object_mut().unwrap().values_mut() {
            if !member.is_string() {
                *member = json!(null);
            }
        }
        assert_eq!(read(&nulls).unwrap(), read(&least()).unwrap());
    }

    #[test]
    fn a_grant_is_an_object() {
        for wrong in [json!(null), json!("x"), json!([least()]), json!(1)] {
            assert_eq!(read(&wrong).unwrap_err().member, None, "{wrong}");
        }
    }

    #[test]
    fn required_members_are_non_empty_strings() {
        for name in ["client_id", "subject", "redirect_uri"] {
            let wrong = [json!(null), json!(""), json!(1), json!(["x"]), json!({})];
            refused(name, "a non-empty string", &wrong);
        }
    }

    #[test]
    fn the_first_required_member_that_is_absent_is_named() {
        let names = ["client_id", "subject", "redirect_uri"];
        for (at, name) in names.into_iter().enumerate() {
            let mut grant = least();
            for absent in &names[at..] {
                grant.as_object_mut().unwrap().remove(*absent);
            }
            let fault = read(&grant).unwrap_err();
            assert_eq!(fault.member, Some(name));
            assert!(
                fault
                    .error
                    .to_string()
                    .contains("expected a non-empty string")
            );
        }
    }

    #[test]
    fn what_is_wrong_goes_before_what_is_absent() {
        assert_eq!(
            read(&json!({"nonce": 1})).unwrap_err().member,
            Some("nonce")
        );
    }

    #[test]
    fn optional_members_are_non_empty_strings_or_null() {
        for name in ["code_challenge", "dpop_jkt", "nonce"] {
            let wrong = [json!(""), json!(1), json!(["x"]), json!({}), json!(false)];
            refused(name, "a non-empty string", &wrong);
        }
    }

    #[test]
    fn the_family_is_an_identifier() {
        for right in ["x".into(), "x".repeat(1024), "ü".repeat(512)] {
            assert!(read(&with("family_id", json!(right))).is_ok());
        }
        let long = json!("ü".repeat(512) + "x");
        let wrong = [json!(""), long, json!(1), json!(["x"]), json!({})];
        refused("family_id", "a string of 1 to 1024 bytes", &wrong);
    }

    #[test]
    fn lists_hold_non_empty_strings() {
        for name in ["scope", "resource"] {
            let wrong = [
                json!(""),
                json!([""]),
                json!(["a", null]),
                json!([1]),
                json!([["a"]]),
                json!({}),
            ];
            refused(name, "an array of non-empty strings", &wrong);
        }
    }

    #[test]
    fn claims_are_an_object() {
        refused(
            "claims",
            "a map",
            &[json!(""), json!([]), json!(1), json!(true)],
        );
    }

    #[test]
    fn the_method_is_s256_with_or_without_a_challenge() {
        let wrong = [json!("plain"), json!(""), json!("s256"), json!(1)];
        refused("code_challenge_method", "\"S256\"", &wrong);
        let method = |grant: &Value| read(grant).unwrap().code_challenge_method;
        assert_eq!(method(&with("code_challenge", json!("x"))), Some(S256));
        assert_eq!(method(&with("code_challenge_method", json!("S256"))), None);
        let fault = |grant: &Value| read(grant).unwrap_err().member;
        let mut plain = with("code_challenge", json!("x"));
        plain["code_challenge_method"] = json!("plain");
        assert_eq!(fault(&plain), Some("code_challenge_method"));
    }
}
