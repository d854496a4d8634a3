//! PEM, from a file or from memory, parsed into what a context is made of.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::pkey::{PKey, Private};
use openssl::stack::Stack;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::{X509, X509Crl, X509Name};
use sha2::{Digest, Sha256};

use super::error::{LoadError, Problem, reasons};

/// The longest PEM file that is read, in bytes: a bundle of some hundred certificates.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// Where PEM comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// A file, read again at each reload.
    File(PathBuf),
    /// Text in memory, and what to call it in an error. May be a secret.
    Memory(&'static str, Vec<u8>),
}

impl Source {
    /// Reads the PEM.
    pub(super) fn read(&self) -> Result<Pem, LoadError> {
        let bytes = match self {
            Self::File(path) => read_file(path).map_err(|problem| LoadError::new(path.display(), problem))?,
            Self::Memory(_, bytes) => bytes.clone(),
        };
        let pem = Pem { file: self.to_string(), bytes };
        if pem.holds("-----BEGIN ") { Ok(pem) } else { Err(pem.is(Problem::NotPem)) }
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Source({self})")
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Memory(name, _) => f.write_str(name),
        }
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, Problem> {
    use std::io::{ErrorKind, Read};
    let file = std::fs::File::open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Problem::Missing,
        _ => Problem::Unreadable(error),
    })?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(Problem::Unreadable)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= MAX_FILE) {
        Ok(bytes)
    } else {
        Err(Problem::TooLong(MAX_FILE))
    }
}

/// PEM that was read: what it says and where it came from.
pub(super) struct Pem {
    file: String,
    bytes: Vec<u8>,
}

impl Pem {
    pub(super) fn is(&self, problem: Problem) -> LoadError {
        LoadError::new(&self.file, problem)
    }

    pub(super) fn unusable(&self, stack: &openssl::error::ErrorStack) -> LoadError {
        self.is(Problem::Unusable(reasons(stack)))
    }

    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }

    /// What it says, where it is text.
    pub(super) fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok()
    }

    fn holds(&self, marker: &str) -> bool {
        self.bytes.windows(marker.len()).any(|window| window == marker.as_bytes())
    }

    /// All certificates, in order; at least one.
    pub(super) fn certificates(&self) -> Result<Vec<X509>, LoadError> {
        let certificates = X509::stack_from_pem(&self.bytes).map_err(|stack| self.unusable(&stack))?;
        if certificates.is_empty() { Err(self.is(Problem::NoCertificate)) } else { Ok(certificates) }
    }

    /// The private key.
    pub(super) fn private_key(&self) -> Result<PKey<Private>, LoadError> {
        if !self.holds("PRIVATE KEY-----") {
            return Err(self.is(Problem::NoKey));
        }
        // The callback runs only for an encrypted key; without it OpenSSL would ask on the terminal.
        let mut asked = false;
        let key = PKey::private_key_from_pem_callback(&self.bytes, |_| {
            asked = true;
            Ok(0)
        });
        match key {
            Ok(key) => Ok(key),
            Err(_) if asked => Err(self.is(Problem::Encrypted)),
            Err(stack) => Err(self.unusable(&stack)),
        }
    }

    /// Whether there is a revocation list that can be read at all; OpenSSL loads them from the file itself.
    pub(super) fn revocation_list(&self) -> Result<(), LoadError> {
        if !self.holds("-----BEGIN X509 CRL-----") {
            return Err(self.is(Problem::NoCrl));
        }
        X509Crl::from_pem(&self.bytes).map(drop).map_err(|stack| self.unusable(&stack))
    }
}

/// A certificate with its key and the chain that is sent with it.
pub(super) struct KeyPair {
    pub(super) leaf: X509,
    pub(super) chain: Vec<X509>,
    pub(super) key: PKey<Private>,
}

impl KeyPair {
    /// The first certificate is the peer's own; the others are its issuers.
    pub(super) fn parse(certificate: &Pem, key: &Pem) -> Result<Self, LoadError> {
        let mut chain = certificate.certificates()?.into_iter();
        let leaf = chain.next().ok_or_else(|| certificate.is(Problem::NoCertificate))?;
        let private = key.private_key()?;
        let public = leaf.public_key().map_err(|stack| certificate.unusable(&stack))?;
        if !public.public_eq(&private) {
            return Err(key.is(Problem::KeyMismatch { certificate: certificate.file.clone() }));
        }
        Ok(Self { leaf, chain: chain.collect(), key: private })
    }

    /// Puts the pair into a context.
    pub(super) fn install(
        &self,
        context: &mut openssl::ssl::SslContextBuilder,
    ) -> Result<(), openssl::error::ErrorStack> {
        context.set_certificate(&self.leaf)?;
        for issuer in &self.chain {
            context.add_extra_chain_cert(issuer.clone())?;
        }
        context.set_private_key(&self.key)?;
        context.check_private_key()
    }
}

/// A store that trusts these certificates.
pub(super) fn trust(certificates: &[X509]) -> Result<X509StoreBuilder, openssl::error::ErrorStack> {
    let mut store = X509StoreBuilder::new()?;
    for certificate in certificates {
        store.add_cert(certificate.clone())?;
    }
    Ok(store)
}

/// The same, ready to use.
pub(super) fn trust_store(certificates: &[X509]) -> Result<X509Store, openssl::error::ErrorStack> {
    Ok(trust(certificates)?.build())
}

/// The subjects of these certificates: what a server names when it asks for a client certificate.
pub(super) fn subjects(certificates: &[X509]) -> Result<Stack<X509Name>, openssl::error::ErrorStack> {
    let mut names = Stack::new()?;
    for certificate in certificates {
        names.push(certificate.subject_name().to_owned()?)?;
    }
    Ok(names)
}

/// When the first of these certificates expires; `None` where there are none.
pub(super) fn earliest_expiry<'a>(certificates: impl Iterator<Item = &'a X509>) -> Option<SystemTime> {
    certificates.filter_map(|certificate| instant(certificate.not_after())).min()
}

fn instant(time: &Asn1TimeRef) -> Option<SystemTime> {
    let since = Asn1Time::from_unix(0).ok()?.diff(time).ok()?;
    let days = u64::try_from(since.days).ok()?;
    let seconds = u64::try_from(since.secs).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(days.checked_mul(86_400)?.checked_add(seconds)?))
}

/// A hash over several texts, so that a change of any one of them is seen.
pub(super) fn fingerprint<'a>(pems: impl Iterator<Item = Option<&'a Pem>>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for pem in pems {
        match pem {
            Some(pem) => {
                hash.update([1]);
                hash.update(Sha256::digest(&pem.bytes));
            }
            None => hash.update([0]),
        }
    }
    hash.finalize().into()
}
