//! What a simple bind's password is compared with: RFC 2307, section 5.3, and OpenLDAP's SHA-2 schemes.

use sha2::{Digest, Sha256, Sha512};

use crate::directory::base64;

/// Whether a value of `userPassword` stands for this password. A value is `{SSHA256}` or `{SSHA512}` with the base64 of
/// digest and salt, or the password itself; a value of another scheme stands for none. An empty password is none.
pub(super) fn matches(stored: &[u8], password: &[u8]) -> bool {
    if password.is_empty() {
        return false;
    }
    let Some((scheme, rest)) = scheme(stored) else { return same(stored, password) };
    let salted = base64::decode(rest).unwrap_or_default();
    match scheme {
        "ssha256" => salted.split_at_checked(32).is_some_and(|(digest, salt)| {
            same(digest, &Sha256::new().chain_update(password).chain_update(salt).finalize())
        }),
        "ssha512" => salted.split_at_checked(64).is_some_and(|(digest, salt)| {
            same(digest, &Sha512::new().chain_update(password).chain_update(salt).finalize())
        }),
        _ => false,
    }
}

fn scheme(stored: &[u8]) -> Option<(&'static str, &str)> {
    let (scheme, rest) = std::str::from_utf8(stored).ok()?.strip_prefix('{')?.split_once('}')?;
    let known = ["ssha256", "ssha512"].into_iter().find(|known| scheme.eq_ignore_ascii_case(known));
    Some((known.unwrap_or_default(), rest))
}

/// Compares in a time that depends on the lengths alone.
fn same(left: &[u8], right: &[u8]) -> bool {
    let differing =
        left.iter().zip(right).fold(0, |differing, (l, r)| std::hint::black_box(differing | (l ^ r)));
    left.len() == right.len() && differing == 0
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_password_matches_its_plain_and_its_salted_form() {
        // printf 'secretsalt' | openssl dgst -sha256 -binary, followed by `salt`, in base64.
        let salted = b"{SSHA256}+E+iFJ27Yu1ODPH1UNKUmzOmUT06dwfghQJRHHnMsO5zYWx0";
        assert!(matches(salted, b"secret"));
        assert!(!matches(salted, b"Secret"));
        assert!(matches(b"secret", b"secret"));
        assert!(!matches(b"secret", b"secre"));
    }

    #[test]
    fn an_empty_password_or_an_unknown_scheme_matches_nothing() {
        assert!(!matches(b"", b""));
        assert!(!matches(b"{CRYPT}x", b"{CRYPT}x"));
        assert!(!matches(b"{SSHA256}", b"x"));
        assert!(!matches(b"{SSHA512}?", b"x"));
    }
}
