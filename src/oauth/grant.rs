//! The grant: what the authorization request agreed and the token endpoint must reproduce.

use super::members::{self, Fault, Members};
use super::text::{Identifier, List, NonEmpty, S256};
use serde::{Deserialize, Deserializer, Serialize};

/// A grant as the columns of its row hold it. `Object` and `Any` are what the format keeps as it is: an
/// object, and any value.
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
    /// A challenge without a method would mean "plain" (RFC 7636, section 4.3): it is always S256.
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
    /// Reads and checks the members of a grant; absent ones, and those that are null, get their defaults.
    pub fn read<D: Deserializer<'a>>(data: D) -> Result<Self, Fault<D::Error>> {
        let (grant, extra): (Self, _) = members::read(data)?;
        Ok(Grant {
            code_challenge_method: grant.code_challenge.map(|_| S256),
            extra,
            ..grant
        })
    }
}

/// Null is the default.
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
    use serde_json::{Value, json};

    impl<'a> Json<'a> for &'a Value {
        fn is_null(self) -> bool {
            Value::is_null(self)
        }
        fn is_object(self) -> bool {
            Value::is_object(self)
        }
        fn text(self) -> Option<&'a str> {
            self.as_str()
        }
        fn texts(self) -> Option<Vec<&'a str>> {
            self.as_array()?.iter().map(Value::as_str).collect()
        }
    }

    fn parse(grant: &Value) -> Result<Grant<'_, &Value>, Invalid> {
        let members = grant.as_object().unwrap().iter();
        Grant::parse(
            members
                .map(|(name, value)| (name.as_str(), value))
                .collect(),
        )
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

    fn refused(name: &'static str, values: &[Value]) {
        for wrong in values {
            let invalid = parse(&with(name, wrong.clone())).unwrap_err();
            assert_eq!(invalid.member, Some(name), "{wrong}");
        }
    }

    #[test]
    fn the_least_grant_gets_every_default() {
        let least = least();
        let grant = parse(&least).unwrap();
        assert_eq!(
            (grant.client_id, grant.subject, grant.redirect_uri),
            ("c", "s", "r")
        );
        assert!(grant.scope.is_empty() && grant.resource.is_empty() && grant.extra.is_empty());
        assert_eq!((grant.code_challenge, grant.dpop_jkt), (None, None));
        assert_eq!(
            (grant.nonce, grant.family_id, grant.claims),
            (None, None, None)
        );
    }

    #[test]
    fn a_full_grant_is_spread() {
        let full = json!({
            "client_id": "c", "subject": "s", "redirect_uri": "r", "scope": ["a", "b"],
            "resource": ["https://api.example"], "code_challenge": "x",
            "code_challenge_method": "S256", "dpop_jkt": "t", "nonce": "n",
            "family_id": "f", "claims": {"deep": [[{"a": 1}]]}, "": 1, "acr": {"x": [null]}
        });
        let grant = parse(&full).unwrap();
        assert_eq!(grant.scope, ["a", "b"]);
        assert_eq!(grant.resource, ["https://api.example"]);
        assert_eq!(
            (grant.code_challenge, grant.dpop_jkt),
            (Some("x"), Some("t"))
        );
        assert_eq!((grant.nonce, grant.family_id), (Some("n"), Some("f")));
        assert_eq!(grant.claims, Some(&full["claims"]));
        assert_eq!(grant.extra, [("", &full[""]), ("acr", &full["acr"])]);
    }

    #[test]
    fn required_members_are_non_empty_strings() {
        for name in ["client_id", "subject", "redirect_uri"] {
            refused(
                name,
                &[json!(null), json!(""), json!(1), json!(["x"]), json!({})],
            );
            let mut absent = least();
            absent.as_object_mut().unwrap().remove(name);
            assert_eq!(parse(&absent).unwrap_err().member, Some(name));
        }
    }

    #[test]
    fn optional_members_are_non_empty_strings_or_null() {
        for name in ["code_challenge", "dpop_jkt", "nonce", "family_id"] {
            assert!(parse(&with(name, json!(null))).is_ok());
            refused(
                name,
                &[json!(""), json!(1), json!(["x"]), json!({}), json!(false)],
            );
        }
    }

    #[test]
    fn lists_hold_non_empty_strings() {
        for name in ["scope", "resource"] {
            assert!(parse(&with(name, json!(null))).is_ok());
            refused(
                name,
                &[json!(""), json!([""]), json!([null]), json!([1]), json!({})],
            );
        }
    }

    #[test]
    fn claims_are_an_object() {
        assert_eq!(parse(&with("claims", json!(null))).unwrap().claims, None);
        refused("claims", &[json!(""), json!([]), json!(1), json!(true)]);
    }

    #[test]
    fn the_method_is_s256() {
        for right in [json!("S256"), json!(null)] {
            assert!(parse(&with("code_challenge_method", right)).is_ok());
        }
        refused(
            "code_challenge_method",
            &[json!("plain"), json!(""), json!("s256"), json!(1)],
        );
    }
}
