//! JSON Web Tokens (RFC 7519) in compact form (RFC 7515, 3.1), read strictly: whatever is not exactly as it is
//! issued here is refused, as RFC 8725 advises.

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value, json};

use crate::frontend::json::strict;
use crate::tls::{Algorithm, KeyError, SigningKey, VerifyingKey};

/// The longest token that is looked at, in bytes.
pub(super) const MAX_BYTES: usize = 16 * 1024;

/// A token that was taken apart and that nobody has verified: it may say whose it is, and nothing else is to be
/// had.
pub(super) struct Unverified<'a> {
    header: Map<String, Value>,
    claims: Value,
    /// What is signed: header and claims as they were sent.
    signed: &'a [u8],
    signature: Vec<u8>,
}

/// Why a token is not good. For people who read a journey.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum JwtFault {
    #[error("it is longer than {MAX_BYTES} bytes")]
    TooLong,
    #[error("it is no JSON Web Token of three parts")]
    Shape,
    #[error("its header is not usable: `alg` and `kid` are needed, `typ` may be there, and nothing else")]
    Header,
    #[error("its algorithm is neither ES256 nor RS256; `none` and shared secrets are no signatures")]
    Algorithm,
    #[error("no key of this issuer has its `kid`")]
    UnknownKey,
    #[error("its algorithm is not that of the key")]
    OtherAlgorithm,
    #[error("its signature is not that of the key")]
    Signature,
}

impl<'a> Unverified<'a> {
    /// Takes a token apart.
    pub(super) fn parse(token: &'a str) -> Result<Self, JwtFault> {
        if token.len() > MAX_BYTES {
            return Err(JwtFault::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(JwtFault::Shape)?;
        let (header, claims) = signed.split_once('.').ok_or(JwtFault::Shape)?;
        let octets = |part: &str| BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_| JwtFault::Shape);
        let object = |part: &str| strict(&octets(part)?).map_err(|_| JwtFault::Shape);
        let Value::Object(header) = object(header)? else { return Err(JwtFault::Shape) };
        Ok(Self { header, claims: object(claims)?, signed: signed.as_bytes(), signature: octets(signature)? })
    }

    /// Whom it names as its issuer, so that it can be given to who knows that one.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }

    /// Whom it says that it is for.
    pub(super) fn audiences(&self) -> Vec<String> {
        let audiences = self.claims.get("aud").and_then(Value::as_array).into_iter().flatten();
        audiences.filter_map(|audience| Some(audience.as_str()?.to_owned())).collect()
    }

    /// Its claims, where one of these keys signed them: the one that the token names, and by that key's algorithm.
    pub(super) fn verify<'k>(
        self,
        keys: impl IntoIterator<Item = &'k VerifyingKey>,
    ) -> Result<Value, JwtFault> {
        let text = |name: &str| self.header.get(name).and_then(Value::as_str);
        let is_known = |name: &String| matches!(name.as_str(), "alg" | "kid" | "typ");
        // `crit`, and keys that a token brings along (`jwk`, `jku`, `x5u`), are not even overlooked.
        let is_usual =
            self.header.keys().all(is_known) && self.header.get("typ").is_none_or(|typ| typ == "JWT");
        let (true, Some(alg), Some(kid)) = (is_usual, text("alg"), text("kid")) else {
            return Err(JwtFault::Header);
        };
        let algorithm = Algorithm::of_name(alg).ok_or(JwtFault::Algorithm)?;
        let key = keys.into_iter().find(|key| key.id() == kid).ok_or(JwtFault::UnknownKey)?;
        if key.algorithm() != algorithm {
            return Err(JwtFault::OtherAlgorithm);
        }
        if key.verify(algorithm, self.signed, &self.signature) {
            Ok(self.claims)
        } else {
            Err(JwtFault::Signature)
        }
    }
}

/// A token with these claims.
///
/// # Errors
/// Where OpenSSL cannot sign.
pub(super) fn sign(key: &SigningKey, claims: &Value) -> Result<String, KeyError> {
    let header = json!({"alg": key.public().algorithm().name(), "kid": key.public().id()});
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let signed = format!("{}.{}", part(&header), part(claims));
    let signature = BASE64URL_NOPAD.encode(&key.sign(signed.as_bytes())?);
    Ok(format!("{signed}.{signature}"))
}

/// A token with this header, claims and signature, whatever they are.
#[cfg(test)]
pub(super) fn forge(header: &str, claims: &str, signature: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let part = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = BASE64URL_NOPAD.encode(&signature(signed.as_bytes()));
    format!("{signed}.{signature}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verified(token: &str, key: &SigningKey) -> Result<Value, JwtFault> {
        Unverified::parse(token)?.verify([key.public()])
    }

    fn forged(header: &Value, key: &SigningKey) -> Result<Value, JwtFault> {
        verified(&forge(&header.to_string(), "{}", |bytes| key.sign(bytes).unwrap()), key)
    }

    #[test]
    fn what_was_signed_comes_back() {
        let key = SigningKey::generate().unwrap();
        let claims = json!({"iss": "us", "n": 1});
        let token = sign(&key, &claims).unwrap();
        assert_eq!(Unverified::parse(&token).unwrap().issuer(), Some("us"));
        assert_eq!(verified(&token, &key), Ok(claims));
        assert_eq!(verified(&token, &SigningKey::generate().unwrap()), Err(JwtFault::UnknownKey));
    }

    #[test]
    fn only_the_algorithm_of_the_key_counts() {
        let key = SigningKey::generate().unwrap();
        let kid = key.public().id();
        let with = |alg: &str| forged(&json!({"alg": alg, "kid": kid}), &key);
        assert!(with("ES256").is_ok());
        for alg in ["none", "None", "", "HS256", "HS512", "ES384", "PS256", "es256", "EdDSA"] {
            assert_eq!(with(alg), Err(JwtFault::Algorithm), "{alg}");
        }
        assert_eq!(with("RS256"), Err(JwtFault::OtherAlgorithm));
        // `none`, with nothing for a signature.
        let bare = forge(&json!({"alg": "none", "kid": kid}).to_string(), "{}", |_| Vec::new());
        assert_eq!(verified(&bare, &key), Err(JwtFault::Algorithm));
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_is_sent_brings_the_reader_down(token in "[A-Za-z0-9_.=-]{0,80}|\\PC{0,40}") {
            let key = SigningKey::generate().unwrap();
            proptest::prop_assert!(verified(&token, &key).is_err());
        }
    }

    #[test]
    fn a_public_key_is_no_shared_secret() {
        use sha2::{Digest, Sha256};
        let key = SigningKey::generate().unwrap();
        let header = json!({"alg": "HS256", "kid": key.public().id()}).to_string();
        let secret = key.public().jwk().unwrap().to_string();
        // As good as any HMAC: the algorithm is refused before a signature is looked at.
        let token =
            forge(&header, "{}", |bytes| Sha256::digest([secret.as_bytes(), bytes].concat()).to_vec());
        assert_eq!(verified(&token, &key), Err(JwtFault::Algorithm));
    }

    #[test]
    fn a_header_says_no_more_than_it_must() {
        let key = SigningKey::generate().unwrap();
        let kid = key.public().id();
        assert!(forged(&json!({"alg": "ES256", "kid": kid, "typ": "JWT"}), &key).is_ok());
        for header in [
            json!({"alg": "ES256"}),
            json!({"kid": kid}),
            json!({"alg": "ES256", "kid": kid, "crit": ["exp"]}),
            json!({"alg": "ES256", "kid": kid, "jwk": key.public().jwk().unwrap()}),
            json!({"alg": "ES256", "kid": kid, "typ": "JOSE"}),
            json!({"alg": ["ES256"], "kid": kid}),
        ] {
            assert_eq!(forged(&header, &key), Err(JwtFault::Header), "{header}");
        }
        let twice = format!(r#"{{"alg":"ES256","alg":"ES256","kid":"{kid}"}}"#);
        let token = forge(&twice, "{}", |bytes| key.sign(bytes).unwrap());
        assert_eq!(verified(&token, &key), Err(JwtFault::Shape));
    }

    #[test]
    fn a_token_has_three_parts_and_not_a_bit_more() {
        let key = SigningKey::generate().unwrap();
        let token = sign(&key, &json!({})).unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        for other in [
            String::new(),
            "..".to_owned(),
            signed.to_owned(),
            format!("{token}."),
            format!("{token}.x"),
            format!(" {token}"),
            format!("{token}="),
            format!("{signed}.{}", signature.replace(['-', '_'], "+")) + "+",
        ] {
            assert_eq!(verified(&other, &key), Err(JwtFault::Shape), "{other}");
        }
        assert_eq!(verified(&format!("{signed}."), &key), Err(JwtFault::Signature));
        assert_eq!(verified(&"a".repeat(MAX_BYTES + 1), &key), Err(JwtFault::TooLong));
        let other = sign(&key, &json!({"sub": "root"})).unwrap();
        let spliced = format!("{}.{signature}", other.rsplit_once('.').unwrap().0);
        assert_eq!(verified(&spliced, &key), Err(JwtFault::Signature));
    }
}
