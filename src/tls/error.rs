//! What can go wrong with certificates and handshakes.

use std::fmt;

/// A file (or PEM text) that cannot be used, and what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct LoadError {
    /// The file's path, or what the text is where it came from memory.
    pub file: String,
    /// What is wrong with it.
    #[source]
    pub problem: Problem,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// There is no such file.
    #[error("there is no such file")]
    Missing,
    /// The file is there and cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(std::io::Error),
    /// The file is too long to be PEM that anybody wrote.
    #[error("is longer than {0} bytes")]
    TooLong(u64),
    /// No PEM in the file.
    #[error("holds no PEM (no line that says `-----BEGIN ...-----`)")]
    NotPem,
    /// PEM, but no certificate.
    #[error("holds no certificate")]
    NoCertificate,
    /// PEM, but no private key.
    #[error("holds no private key")]
    NoKey,
    /// PEM, but no certificate revocation list.
    #[error("holds no certificate revocation list")]
    NoCrl,
    /// A key under a passphrase.
    #[error("the private key is encrypted; a service has nobody to ask for its passphrase")]
    Encrypted,
    /// The key is another certificate's.
    #[error("the private key does not match the certificate in {certificate}")]
    KeyMismatch {
        /// Where the certificate is.
        certificate: String,
    },
    /// A certificate without its key, or the reverse.
    #[error("a certificate and its private key are given together or not at all")]
    Half,
    /// Revocation lists of authorities that are not given.
    #[error("revocation lists are of no use without the client authorities that issued them")]
    CrlWithoutAuthority,
    /// The file changed while it was being read; the next attempt will see one version of it.
    #[error("changed while it was being read")]
    Changing,
    /// PEM whose content is not what it says, or which OpenSSL does not accept.
    #[error("is not usable: {0}")]
    Unusable(String),
}

impl LoadError {
    pub(super) fn new(file: impl fmt::Display, problem: Problem) -> Self {
        Self { file: file.to_string(), problem }
    }
}

/// A handshake that did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The name to verify is empty, or no host name and no address: nothing could be verified against it.
    #[error("`{0}` is neither a host name nor an IP address")]
    Name(String),
    /// The peer's certificate was not accepted.
    #[error("the peer's certificate is not accepted: {0}")]
    Certificate(String),
    /// The peer spoke no TLS, none that we speak, or refused us.
    #[error("handshake failed: {0}")]
    Handshake(String),
    /// The connection ended or failed below TLS.
    #[error("connection failed during the handshake: {0}")]
    Io(std::io::Error),
}

impl TlsError {
    /// Of a failed handshake: `verification` is what the verification of the peer's certificate came to.
    pub(super) fn of(error: openssl::ssl::Error, verification: openssl::x509::X509VerifyResult) -> Self {
        if verification != openssl::x509::X509VerifyResult::OK {
            return Self::Certificate(verification.error_string().to_owned());
        }
        let text = match error.ssl_error() {
            Some(stack) => reasons(stack),
            None => error.to_string(),
        };
        match error.into_io_error() {
            Ok(io) => Self::Io(io),
            Err(_) => Self::Handshake(text),
        }
    }
}

impl From<openssl::error::ErrorStack> for TlsError {
    fn from(stack: openssl::error::ErrorStack) -> Self {
        Self::Handshake(reasons(&stack))
    }
}

/// A certificate that is not believed: why, in OpenSSL's words. Holds nothing that the certificate says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub(super) String);

impl From<openssl::error::ErrorStack> for Refusal {
    fn from(stack: openssl::error::ErrorStack) -> Self {
        Self(reasons(&stack))
    }
}

/// The reasons in an OpenSSL error stack without file names, line numbers and codes.
pub(super) fn reasons(stack: &openssl::error::ErrorStack) -> String {
    let reasons: Vec<&str> = stack.errors().iter().filter_map(openssl::error::Error::reason).collect();
    if reasons.is_empty() { "OpenSSL gives no reason".to_owned() } else { reasons.join(", ") }
}
