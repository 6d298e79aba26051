//! SHA-256 digests: the lookup key of a code, and a number for the lock of a key.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

/// The lookup key of a code: base64url without padding of its SHA-256, 43 characters.
///
/// The PKCE method S256 makes the same transformation (RFC 7636, section 4.2).
pub fn hash(code: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(code))
}

/// A number for a string. It is the same in every process.
pub fn number(text: &str) -> u32 {
    let [a, b, c, d, ..]: [u8; 32] = Sha256::digest(text).into();
    u32::from_be_bytes([a, b, c, d])
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
    fn a_number_is_the_begin_of_the_digest() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(super::number("abc"), 0xba78_16bf);
    }

    #[test]
    fn empty_and_non_ascii_codes_hash_too() {
        assert_eq!(hash(""), "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU");
        assert_eq!(hash("ü").len(), 43);
    }
}
