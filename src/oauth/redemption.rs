//! What a token request has to prove to redeem a code, and the reasons why it may not.

use super::digest;
use subtle::ConstantTimeEq;

/// What the grant of a code asks for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub client_id: &'a str,
    pub redirect_uri: &'a str,
    /// S256 (RFC 7636, section 4.2).
    pub code_challenge: Option<&'a str>,
    pub dpop_jkt: Option<&'a str>,
    /// Unix seconds. `None`: the expiry does not matter, because the code is not live.
    pub expires_at: Option<i64>,
}

/// What the client has sent; `None`: it sent none. An empty string counts as sent.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    /// That of the authenticated client.
    pub client_id: &'a str,
    pub redirect_uri: Option<&'a str>,
    pub code_verifier: Option<&'a str>,
    /// The thumbprint of the key of a verified DPoP proof.
    pub dpop_jkt: Option<&'a str>,
}

/// Why a code is not redeemed, in the order in which it is checked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reason {
    /// Never issued, or swept.
    Unknown,
    Expired,
    ClientMismatch,
    RedirectUriMismatch,
    PkceFailed,
    DpopProofRequired,
    DpopBindingMismatch,
    /// One of the code's names is revoked.
    Revoked,
    /// Spent and not redeemed, or a crash has spent it.
    Spent,
}

impl Reason {
    pub fn name(self) -> &'static str {
        match self {
            Reason::Unknown => "unknown",
            Reason::Expired => "expired",
            Reason::ClientMismatch => "client_mismatch",
            Reason::RedirectUriMismatch => "redirect_uri_mismatch",
            Reason::PkceFailed => "pkce_failed",
            Reason::DpopProofRequired => "dpop_proof_required",
            Reason::DpopBindingMismatch => "dpop_binding_mismatch",
            Reason::Revoked => "revoked",
            Reason::Spent => "spent",
        }
    }
}

/// The first thing that the client fails to prove at this instant, in unix seconds.
pub fn failure(asked: Asked, sent: Sent, now: i64) -> Option<Reason> {
    let checks = [
        (is_expired(asked, now), Reason::Expired),
        (
            !is_same(asked.client_id, sent.client_id),
            Reason::ClientMismatch,
        ),
        (
            !proves_redirect_uri(asked, sent),
            Reason::RedirectUriMismatch,
        ),
        (!proves_challenge(asked, sent), Reason::PkceFailed),
        (
            asked.dpop_jkt.is_some() && sent.dpop_jkt.is_none(),
            Reason::DpopProofRequired,
        ),
        (!proves_key(asked, sent), Reason::DpopBindingMismatch),
    ];
    checks
        .into_iter()
        .find_map(|(fails, reason)| fails.then_some(reason))
}

fn is_expired(asked: Asked, now: i64) -> bool {
    asked.expires_at.is_some_and(|expires_at| expires_at <= now)
}

/// By octets. OAuth 2.1 leaves the parameter out where there is PKCE (RFC 6749, section 4.1.3, does not).
fn proves_redirect_uri(asked: Asked, sent: Sent) -> bool {
    match sent.redirect_uri {
        Some(redirect_uri) => is_same(asked.redirect_uri, redirect_uri),
        None => asked.code_challenge.is_some(),
    }
}

/// RFC 7636, section 4.6. A verifier that no challenge asks for is refused, too: somebody may have taken the
/// challenge out of the authorization request (RFC 9700, section 2.1.1).
fn proves_challenge(asked: Asked, sent: Sent) -> bool {
    match (asked.code_challenge, sent.code_verifier) {
        (Some(challenge), Some(verifier)) => {
            is_verifier(verifier) && is_same(challenge, &digest::hash(verifier))
        }
        (None, None) => true,
        _ => false,
    }
}

/// RFC 9449, section 10. A key that the grant does not ask for is none of its business.
fn proves_key(asked: Asked, sent: Sent) -> bool {
    match (asked.dpop_jkt, sent.dpop_jkt) {
        (Some(asked), Some(sent)) => is_same(asked, sent),
        (asked, _) => asked.is_none(),
    }
}

/// RFC 7636, section 4.1: 43 to 128 unreserved characters.
fn is_verifier(verifier: &str) -> bool {
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (43..=128).contains(&verifier.len()) && verifier.bytes().all(is_unreserved)
}

/// How long this takes says nothing of where the texts differ.
fn is_same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 7636, appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    // RFC 9449, section 6.1.
    const JKT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

    const ASKED: Asked = Asked {
        client_id: "c",
        redirect_uri: "https://client.example/cb",
        code_challenge: Some(CHALLENGE),
        dpop_jkt: Some(JKT),
        expires_at: Some(100),
    };
    const SENT: Sent = Sent {
        client_id: "c",
        redirect_uri: Some("https://client.example/cb"),
        code_verifier: Some(VERIFIER),
        dpop_jkt: Some(JKT),
    };

    fn of(change: impl FnOnce(&mut Asked<'_>, &mut Sent<'_>)) -> Option<Reason> {
        let (mut asked, mut sent) = (ASKED, SENT);
        change(&mut asked, &mut sent);
        failure(asked, sent, 99)
    }

    #[test]
    fn who_proves_everything_may() {
        assert_eq!(failure(ASKED, SENT, 99), None);
    }

    #[test]
    fn a_code_expires_at_its_second() {
        assert_eq!(failure(ASKED, SENT, 100), Some(Reason::Expired));
        let asked = Asked {
            expires_at: None,
            ..ASKED
        };
        assert_eq!(failure(asked, SENT, 101), None);
    }

    #[test]
    fn redirect_uri_may_be_left_out_with_a_challenge() {
        assert_eq!(of(|_, sent| sent.redirect_uri = None), None);
        let without = of(|asked, sent| {
            asked.code_challenge = None;
            sent.code_verifier = None;
            sent.redirect_uri = None;
        });
        assert_eq!(without, Some(Reason::RedirectUriMismatch));
        for wrong in [
            "",
            "https://client.example/cb/",
            "https://client.example/CB",
        ] {
            let reason = of(|_, sent| sent.redirect_uri = Some(wrong));
            assert_eq!(reason, Some(Reason::RedirectUriMismatch), "{wrong}");
        }
    }

    #[test]
    fn a_verifier_has_43_to_128_unreserved_characters() {
        for length in [42, 43, 128, 129] {
            let verifier = "a.".repeat(65)[..length].to_owned();
            let challenge = digest::hash(&verifier);
            let (mut asked, mut sent) = (ASKED, SENT);
            asked.code_challenge = Some(&challenge);
            sent.code_verifier = Some(&verifier);
            let right = (43..=128).contains(&length);
            assert_eq!(failure(asked, sent, 99).is_none(), right, "{length}");
        }
        for sign in [" ", "+", "/", "=", "ü", "%"] {
            let verifier = VERIFIER.to_owned() + sign;
            let challenge = digest::hash(&verifier);
            let (mut asked, mut sent) = (ASKED, SENT);
            asked.code_challenge = Some(&challenge);
            sent.code_verifier = Some(&verifier);
            assert_eq!(failure(asked, sent, 99), Some(Reason::PkceFailed), "{sign}");
        }
    }

    #[test]
    fn a_challenge_and_a_verifier_go_together() {
        for sent in [None, Some(""), Some(CHALLENGE)] {
            let reason = of(|_, request| request.code_verifier = sent);
            assert_eq!(reason, Some(Reason::PkceFailed));
        }
        let reason = of(|asked, _| asked.code_challenge = None);
        assert_eq!(reason, Some(Reason::PkceFailed));
    }

    #[test]
    fn a_key_is_proved_where_it_is_asked_for() {
        let reason = of(|_, sent| sent.dpop_jkt = None);
        assert_eq!(reason, Some(Reason::DpopProofRequired));
        let reason = of(|_, sent| sent.dpop_jkt = Some(""));
        assert_eq!(reason, Some(Reason::DpopBindingMismatch));
        assert_eq!(of(|asked, _| asked.dpop_jkt = None), None);
    }

    /// Every combination of what can be wrong: the first of them is told.
    #[test]
    fn the_first_of_several_is_told() {
        type Spoil = fn(&mut Asked<'_>, &mut Sent<'_>);
        let spoils: [(Spoil, Reason); 6] = [
            (|asked, _| asked.expires_at = Some(99), Reason::Expired),
            (|_, sent| sent.client_id = "d", Reason::ClientMismatch),
            (
                |_, sent| sent.redirect_uri = Some("r"),
                Reason::RedirectUriMismatch,
            ),
            (|_, sent| sent.code_verifier = None, Reason::PkceFailed),
            (|_, sent| sent.dpop_jkt = None, Reason::DpopProofRequired),
            (
                |_, sent| sent.dpop_jkt = sent.dpop_jkt.map(|_| "x"),
                Reason::DpopBindingMismatch,
            ),
        ];
        for set in 0..1 << spoils.len() {
            let wrong = |at: &usize| set & (1 << at) != 0;
            let (mut asked, mut sent) = (ASKED, SENT);
            for at in (0..spoils.len()).filter(wrong) {
                spoils[at].0(&mut asked, &mut sent);
            }
            let first = (0..spoils.len()).find(wrong).map(|at| spoils[at].1);
            assert_eq!(failure(asked, sent, 99), first, "{set:b}");
        }
    }

    /// Numbers without a pattern, the same in each run (xorshift).
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, limit: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % limit
        }

        fn is(&mut self) -> bool {
            self.below(2) == 0
        }

        /// A text of two signs that is often equal to another one.
        fn text(&mut self) -> String {
            let length = self.below(3);
            (0..length)
                .map(|_| if self.is() { 'a' } else { 'b' })
                .collect()
        }

        fn verifier(&mut self) -> String {
            let length = [42, 43, 44, 128, 129][self.below(5) as usize];
            let sign = ["a", "~", "+"][self.below(3) as usize];
            sign.repeat(length)
        }
    }

    /// Each property of a request, said in another way than above.
    fn properties(asked: Asked, sent: Sent, now: i64) -> [bool; 6] {
        let challenge_of = |verifier: &str| digest::hash(verifier);
        let length = |verifier: &str| verifier.chars().count();
        let unreserved = |sign: char| "-._~".contains(sign) || sign.is_ascii_alphanumeric();
        [
            asked.expires_at.is_none() || asked.expires_at > Some(now),
            asked.client_id == sent.client_id,
            Some(asked.redirect_uri) == sent.redirect_uri
                || sent.redirect_uri.is_none() && asked.code_challenge.is_some(),
            sent.code_verifier.map(challenge_of).as_deref() == asked.code_challenge
                && sent.code_verifier.is_none_or(|verifier| {
                    length(verifier) > 42
                        && length(verifier) < 129
                        && verifier.chars().all(unreserved)
                }),
            asked.dpop_jkt.is_none() || sent.dpop_jkt.is_some(),
            asked.dpop_jkt.is_none() || asked.dpop_jkt == sent.dpop_jkt,
        ]
    }

    #[test]
    fn a_request_fails_where_a_property_does_not_hold_first() {
        let reasons = [
            Reason::Expired,
            Reason::ClientMismatch,
            Reason::RedirectUriMismatch,
            Reason::PkceFailed,
            Reason::DpopProofRequired,
            Reason::DpopBindingMismatch,
        ];
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
        let mut seen = [0; 7];
        for _ in 0..100_000 {
            let [client, uri, jkt] = [(); 3].map(|()| numbers.text());
            let [other_client, other_uri, other_jkt] = [(); 3].map(|()| numbers.text());
            let (verifier, other) = (numbers.verifier(), numbers.verifier());
            let challenge = digest::hash(if numbers.is() { &verifier } else { &other });
            let asked = Asked {
                client_id: &client,
                redirect_uri: &uri,
                code_challenge: numbers.is().then_some(&challenge),
                dpop_jkt: numbers.is().then_some(&jkt),
                expires_at: numbers.is().then_some(numbers.below(4) as i64),
            };
            let sent = Sent {
                client_id: if numbers.is() { &client } else { &other_client },
                redirect_uri: numbers
                    .is()
                    .then_some(if numbers.is() { &uri } else { &other_uri }),
                code_verifier: numbers.is().then_some(&verifier),
                dpop_jkt: numbers
                    .is()
                    .then_some(if numbers.is() { &jkt } else { &other_jkt }),
            };
            let now = numbers.below(3) as i64;
            let first = properties(asked, sent, now).iter().position(|holds| !holds);
            let expected = first.map(|first| reasons[first]);
            assert_eq!(
                failure(asked, sent, now),
                expected,
                "{asked:?} {sent:?} {now}"
            );
            seen[first.unwrap_or(6)] += 1;
        }
        assert!(seen.iter().all(|times| *times > 100), "{seen:?}");
    }
}
