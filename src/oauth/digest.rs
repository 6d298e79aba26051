//! The SHA-256 digest of a code, which is its lookup key.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

/// The lookup key of a code: base64url without padding of its SHA-256, 43 characters.
///
/// The PKCE method S256 makes the same transformation (RFC 7636, section 4.2).
pub fn hash(code: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(code))
}

#[cfg(test)]
mod tests {
    use super::hash;

    #[test]
    fn rfc_7636_appendix_b() {
        assert_eq!(
            hash("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }

    #[test]
    fn empty_and_non_ascii_codes_hash_too() {
        assert_eq!(hash(""), "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU");
        assert_eq!(hash("ü").len(), 43);
    }
}
