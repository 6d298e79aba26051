//! The grant: what the authorization request agreed and the token endpoint must reproduce.

/// The one PKCE method that a grant may carry (RFC 7636, section 4.2).
pub const S256: &str = "S256";

/// A JSON value, wherever it lies.
pub trait Json<'a>: Copy {
    fn is_null(self) -> bool;
    fn is_object(self) -> bool;
    /// The string that it is.
    fn text(self) -> Option<&'a str>;
    /// The array of strings that it is.
    fn texts(self) -> Option<Vec<&'a str>>;
}

/// A grant as the columns of its row hold it. Values that this version has no rule for stay as they
/// are.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant<'a, J> {
    pub client_id: &'a str,
    pub subject: &'a str,
    pub redirect_uri: &'a str,
    pub scope: Vec<&'a str>,
    pub resource: Vec<&'a str>,
    /// A challenge without a method would mean "plain" (RFC 7636, section 4.3): it is always S256.
    pub code_challenge: Option<&'a str>,
    pub dpop_jkt: Option<&'a str>,
    pub nonce: Option<&'a str>,
    pub family_id: Option<&'a str>,
    /// An object, if there is one.
    pub claims: Option<J>,
    /// All members that are not named above.
    pub extra: Vec<(&'a str, J)>,
}

/// Why a grant is refused: the member at fault and what it has to be. Never holds its value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Invalid {
    /// `None`: the grant itself is at fault.
    pub member: Option<&'static str>,
    pub must_be: &'static str,
}

/// What has no members, or is too large.
pub const NO_OBJECT: Invalid = Invalid {
    member: None,
    must_be: "a JSON object of at most 64 MB",
};

impl<'a, J: Json<'a>> Grant<'a, J> {
    /// Reads and checks the members of a grant; absent ones get their defaults. What stays of the
    /// members is `extra`.
    pub fn parse(mut members: Vec<(&'a str, J)>) -> Result<Grant<'a, J>, Invalid> {
        let mut grant = Grant {
            client_id: "",
            subject: "",
            redirect_uri: "",
            scope: Vec::new(),
            resource: Vec::new(),
            code_challenge: None,
            dpop_jkt: None,
            nonce: None,
            family_id: None,
            claims: None,
            extra: Vec::new(),
        };
        let mut result = Ok(());
        members.retain(|(name, value)| match grant.read(name, *value) {
            Ok(is_known) => !is_known,
            Err(invalid) => {
                result = result.and(Err(invalid));
                false
            }
        });
        result?;
        grant.extra = members;
        for (name, text) in [
            ("client_id", grant.client_id),
            ("subject", grant.subject),
            ("redirect_uri", grant.redirect_uri),
        ] {
            if text.is_empty() {
                return Err(required(name));
            }
        }
        Ok(grant)
    }

    /// Reads one member, if it is one that this version knows.
    fn read(&mut self, name: &str, value: J) -> Result<bool, Invalid> {
        match name {
            "client_id" => self.client_id = required_text("client_id", value)?,
            "subject" => self.subject = required_text("subject", value)?,
            "redirect_uri" => self.redirect_uri = required_text("redirect_uri", value)?,
            "scope" => self.scope = texts("scope", value)?,
            "resource" => self.resource = texts("resource", value)?,
            "code_challenge" => self.code_challenge = optional_text("code_challenge", value)?,
            "code_challenge_method" => check_challenge_method(value)?,
            "dpop_jkt" => self.dpop_jkt = optional_text("dpop_jkt", value)?,
            "nonce" => self.nonce = optional_text("nonce", value)?,
            "family_id" => self.family_id = family_id(value)?,
            "claims" => self.claims = object("claims", value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// A string that is not empty.
pub fn non_empty_text<'a>(value: impl Json<'a>) -> Option<&'a str> {
    value.text().filter(|text| !text.is_empty())
}

fn must_be(member: &'static str, must_be: &'static str) -> Invalid {
    Invalid {
        member: Some(member),
        must_be,
    }
}

fn required(member: &'static str) -> Invalid {
    must_be(member, "a non-empty string")
}

fn required_text<'a>(member: &'static str, value: impl Json<'a>) -> Result<&'a str, Invalid> {
    non_empty_text(value).ok_or(required(member))
}

fn optional_text<'a>(
    member: &'static str,
    value: impl Json<'a>,
) -> Result<Option<&'a str>, Invalid> {
    let wrong = must_be(member, "a non-empty string, null or left out");
    optional(value, non_empty_text, wrong)
}

/// What an index can hold, with room for more columns.
pub fn is_identifier(text: &str) -> bool {
    (1..=1024).contains(&text.len())
}

fn family_id<'a>(value: impl Json<'a>) -> Result<Option<&'a str>, Invalid> {
    let wrong = must_be("family_id", "a string of 1 to 1024 bytes, null or left out");
    let identifier = |value| non_empty_text(value).filter(|text| is_identifier(text));
    optional(value, identifier, wrong)
}

fn texts<'a, J: Json<'a>>(member: &'static str, value: J) -> Result<Vec<&'a str>, Invalid> {
    let wrong = must_be(member, "an array of non-empty strings, null or left out");
    let texts = |value: J| {
        value
            .texts()
            .filter(|texts| texts.iter().all(|text| !text.is_empty()))
    };
    Ok(optional(value, texts, wrong)?.unwrap_or_default())
}

fn object<'a, J: Json<'a>>(member: &'static str, value: J) -> Result<Option<J>, Invalid> {
    let wrong = must_be(member, "an object, null or left out");
    optional(value, |value| value.is_object().then_some(value), wrong)
}

fn check_challenge_method<'a>(value: impl Json<'a>) -> Result<(), Invalid> {
    let wrong = must_be("code_challenge_method", "\"S256\", null or left out");
    optional(
        value,
        |value| value.text().filter(|method| *method == S256),
        wrong,
    )
    .map(drop)
}

/// Absent and null are the same.
fn optional<'a, J: Json<'a>, T>(
    value: J,
    read: impl Fn(J) -> Option<T>,
    wrong: Invalid,
) -> Result<Option<T>, Invalid> {
    match value.is_null() {
        true => Ok(None),
        false => read(value).map(Some).ok_or(wrong),
    }
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
