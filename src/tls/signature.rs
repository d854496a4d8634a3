//! Keys that sign and verify JSON Web Signatures (RFC 7515) with ES256 and RS256 (RFC 7518, 3.3 and 3.4), and what
//! the world is told of them (RFC 7517).

use data_encoding::BASE64URL_NOPAD;
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{HasPublic, Id, PKey, PKeyRef, Private, Public};
use openssl::sign::{Signer, Verifier};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::error::reasons;
use super::material::Source;

/// The length of one of the two numbers of an ES256 signature, and of one coordinate of its key, in octets (RFC
/// 7518, 3.4).
const ES256_OCTETS: usize = 32;
/// The same, for OpenSSL.
const ES256_WIDTH: i32 = 32;
/// The shortest RSA key (RFC 7518, 3.3), in bits.
const MIN_RSA_BITS: u32 = 2048;

/// How a signature is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA over P-256 with SHA-256.
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
}

impl Algorithm {
    /// The name in `alg` (RFC 7518, 3.1).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }

    /// The algorithm of that name; `None` for every other, `none` and the symmetric ones among them.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::Es256, Self::Rs256].into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// A key that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(String);

impl From<ErrorStack> for KeyError {
    fn from(stack: ErrorStack) -> Self {
        Self(reasons(&stack))
    }
}

impl From<super::LoadError> for KeyError {
    fn from(error: super::LoadError) -> Self {
        Self(error.to_string())
    }
}

/// A private key, with its public half.
#[derive(Clone)]
pub struct SigningKey {
    key: PKey<Private>,
    public: VerifyingKey,
}

/// A public key.
#[derive(Clone)]
pub struct VerifyingKey {
    key: PKey<Public>,
    algorithm: Algorithm,
    id: String,
}

impl SigningKey {
    /// A new key for ES256.
    ///
    /// # Errors
    /// Where OpenSSL has no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
        Self::of(PKey::from_ec_key(EcKey::generate(&group)?)?)
    }

    /// A key from PEM, unencrypted: an EC key on P-256, or an RSA key of 2048 bits and more.
    ///
    /// # Errors
    /// Where it is none of these.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        Self::read(&Source::Memory("signing key", pem.as_bytes().to_vec()))
    }

    /// A key from a file with such PEM.
    ///
    /// # Errors
    /// Where the file is missing or unreadable, or holds none of these.
    pub fn from_file(path: &std::path::Path) -> Result<Self, KeyError> {
        Self::read(&Source::File(path.to_owned()))
    }

    fn read(source: &Source) -> Result<Self, KeyError> {
        Self::of(source.read()?.private_key()?)
    }

    fn of(key: PKey<Private>) -> Result<Self, KeyError> {
        let public = VerifyingKey::of(&key)?;
        Ok(Self { key, public })
    }

    /// The key as PEM, unencrypted (PKCS 8).
    ///
    /// # Errors
    /// Where OpenSSL cannot.
    pub fn to_pem(&self) -> Result<Vec<u8>, KeyError> {
        Ok(self.key.private_key_to_pem_pkcs8()?)
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> &VerifyingKey {
        &self.public
    }

    /// A signature in the form of JWS: for ES256 the two numbers, 64 octets.
    ///
    /// # Errors
    /// Where OpenSSL cannot.
    pub fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut signer = Signer::new(MessageDigest::sha256(), &self.key)?;
        let signature = signer.sign_oneshot_to_vec(bytes)?;
        match self.public.algorithm {
            Algorithm::Rs256 => Ok(signature),
            Algorithm::Es256 => {
                let numbers = EcdsaSig::from_der(&signature)?;
                let mut octets = numbers.r().to_vec_padded(ES256_WIDTH)?;
                octets.extend(numbers.s().to_vec_padded(ES256_WIDTH)?);
                Ok(octets)
            }
        }
    }
}

impl VerifyingKey {
    /// A key from PEM: a public key, or the public half of a private one, as kube-apiserver takes both for
    /// `--service-account-key-file`.
    ///
    /// # Errors
    /// Where it is no EC key on P-256 and no RSA key of 2048 bits and more.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        if pem.contains("PRIVATE KEY-----") {
            return SigningKey::from_pem(pem).map(|key| key.public);
        }
        let key = PKey::public_key_from_pem(pem.as_bytes())?;
        Self::of(&key)
    }

    /// A key from a file with such PEM.
    ///
    /// # Errors
    /// Where the file is missing or unreadable, or holds none of these.
    pub fn from_file(path: &std::path::Path) -> Result<Self, KeyError> {
        let pem = Source::File(path.to_owned()).read()?;
        Self::from_pem(pem.text().ok_or_else(|| KeyError(format!("{}: is no text", path.display())))?)
            .map_err(|error| KeyError(format!("{}: {error}", path.display())))
    }

    fn of<T: HasPublic>(key: &PKeyRef<T>) -> Result<Self, KeyError> {
        let algorithm = match key.id() {
            Id::EC if key.ec_key()?.group().curve_name() == Some(Nid::X9_62_PRIME256V1) => Algorithm::Es256,
            Id::RSA if key.bits() >= MIN_RSA_BITS => Algorithm::Rs256,
            _ => {
                return Err(KeyError(format!(
                    "is neither an EC key on P-256 nor an RSA key of {MIN_RSA_BITS} bits and more"
                )));
            }
        };
        let der = key.public_key_to_der()?;
        let id = BASE64URL_NOPAD.encode(&Sha256::digest(&der));
        Ok(Self { key: PKey::public_key_from_der(&der)?, algorithm, id })
    }

    /// The one algorithm that this key is for.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// `kid`, as Kubernetes makes it: base64url of the SHA-256 of the key's SubjectPublicKeyInfo
    /// (`keyIDFromPublicKey` in `pkg/serviceaccount/jwt.go`).
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether this is a signature of these bytes by this algorithm with this key. What cannot be one is none.
    #[must_use]
    pub fn verify(&self, algorithm: Algorithm, bytes: &[u8], signature: &[u8]) -> bool {
        algorithm == self.algorithm && self.is_signed(bytes, signature).unwrap_or(false)
    }

    fn is_signed(&self, bytes: &[u8], signature: &[u8]) -> Result<bool, ErrorStack> {
        let mut verifier = Verifier::new(MessageDigest::sha256(), &self.key)?;
        let der;
        let signature = match self.algorithm {
            Algorithm::Rs256 => signature,
            Algorithm::Es256 => {
                let Some((r, s)) = signature.split_at_checked(ES256_OCTETS) else { return Ok(false) };
                if s.len() != ES256_OCTETS {
                    return Ok(false);
                }
                let numbers =
                    EcdsaSig::from_private_components(BigNum::from_slice(r)?, BigNum::from_slice(s)?)?;
                der = numbers.to_der()?;
                &der
            }
        };
        verifier.verify_oneshot(signature, bytes)
    }

    /// The key as a JSON Web Key (RFC 7517), for signatures.
    ///
    /// # Errors
    /// Where OpenSSL cannot take it apart.
    pub fn jwk(&self) -> Result<Value, KeyError> {
        let text = |octets: &[u8]| BASE64URL_NOPAD.encode(octets);
        let (kid, alg) = (&self.id, self.algorithm.name());
        Ok(match self.algorithm {
            Algorithm::Es256 => {
                let key = self.key.ec_key()?;
                let (mut x, mut y) = (BigNum::new()?, BigNum::new()?);
                let mut context = BigNumContext::new()?;
                key.public_key().affine_coordinates(key.group(), &mut x, &mut y, &mut context)?;
                let (x, y) = (x.to_vec_padded(ES256_WIDTH)?, y.to_vec_padded(ES256_WIDTH)?);
                let (x, y) = (text(&x), text(&y));
                json!({"use": "sig", "kty": "EC", "kid": kid, "crv": "P-256", "alg": alg, "x": x, "y": y})
            }
            Algorithm::Rs256 => {
                let key = self.key.rsa()?;
                let (n, e) = (key.n().to_vec(), key.e().to_vec());
                json!({"use": "sig", "kty": "RSA", "kid": kid, "alg": alg, "n": text(&n), "e": text(&e)})
            }
        })
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.public.id).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("id", &self.id)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rsa(bits: u32) -> String {
        let key = PKey::from_rsa(openssl::rsa::Rsa::generate(bits).unwrap()).unwrap();
        String::from_utf8(key.private_key_to_pem_pkcs8().unwrap()).unwrap()
    }

    #[test]
    fn what_a_key_signed_it_verifies_and_nothing_else() {
        for key in [SigningKey::generate().unwrap(), SigningKey::from_pem(&rsa(2048)).unwrap()] {
            let public = key.public();
            let signature = key.sign(b"text").unwrap();
            let algorithm = public.algorithm();
            assert!(public.verify(algorithm, b"text", &signature));
            assert!(!public.verify(algorithm, b"texT", &signature));
            assert!(!public.verify(algorithm, b"text", b""));
            assert!(!public.verify(algorithm, b"text", &signature[1..]));
            assert!(!public.verify(algorithm, b"text", &[signature.clone(), vec![0]].concat()));
            assert!(!public.verify(algorithm, b"text", &vec![0; signature.len()]));
            assert!(!SigningKey::generate().unwrap().public().verify(algorithm, b"text", &signature));
            let other = if algorithm == Algorithm::Es256 { Algorithm::Rs256 } else { Algorithm::Es256 };
            assert!(!public.verify(other, b"text", &signature), "a key has one algorithm");
        }
    }

    #[test]
    fn an_es256_signature_is_two_numbers_of_32_octets() {
        let key = SigningKey::generate().unwrap();
        for _ in 0..20 {
            assert_eq!(key.sign(b"x").unwrap().len(), 64);
        }
    }

    #[test]
    fn a_public_key_is_told_as_a_jwk_under_its_id() {
        let key = SigningKey::generate().unwrap();
        let jwk = key.public().jwk().unwrap();
        assert_eq!((&jwk["kty"], &jwk["crv"], &jwk["alg"]), (&json!("EC"), &json!("P-256"), &json!("ES256")));
        assert_eq!(jwk["kid"], key.public().id());
        for coordinate in ["x", "y"] {
            assert_eq!(jwk[coordinate].as_str().unwrap().len(), 43);
        }
        assert!(jwk.get("d").is_none());
        let rsa = SigningKey::from_pem(&rsa(2048)).unwrap().public().jwk().unwrap();
        assert_eq!((&rsa["kty"], &rsa["alg"], &rsa["e"]), (&json!("RSA"), &json!("RS256"), &json!("AQAB")));
    }

    #[test]
    fn a_private_and_a_public_pem_are_the_same_verifying_key() {
        let private = rsa(2048);
        let key = PKey::private_key_from_pem(private.as_bytes()).unwrap();
        let public = String::from_utf8(key.public_key_to_pem().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sa.pub");
        std::fs::write(&path, &public).unwrap();
        let id = SigningKey::from_pem(&private).unwrap().public().id().to_owned();
        for key in [
            VerifyingKey::from_pem(&private).unwrap(),
            VerifyingKey::from_pem(&public).unwrap(),
            VerifyingKey::from_file(&path).unwrap(),
        ] {
            assert_eq!(key.id(), id);
        }
    }

    #[test]
    fn a_weak_or_strange_key_is_refused() {
        let ed25519 = PKey::generate_ed25519().unwrap().private_key_to_pem_pkcs8().unwrap();
        let p384 = EcKey::generate(&EcGroup::from_curve_name(Nid::SECP384R1).unwrap()).unwrap();
        let p384 = PKey::from_ec_key(p384).unwrap().private_key_to_pem_pkcs8().unwrap();
        for pem in [rsa(1024), String::from_utf8(ed25519).unwrap(), String::from_utf8(p384).unwrap()] {
            assert!(SigningKey::from_pem(&pem).is_err());
        }
        assert!(SigningKey::from_pem("hello").is_err() && VerifyingKey::from_pem("hello").is_err());
    }
}
