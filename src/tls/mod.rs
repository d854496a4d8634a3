//! Transport security: contexts from PEM, reloaded while serving; the peer's identity; an ephemeral authority; a small
//! HTTPS client. The one user of OpenSSL.
//!
//! Nothing here resumes a session: a client whose authority was withdrawn would be let in by its old session, so servers
//! issue no tickets and keep no session cache. Renegotiation is off. The oldest version ever spoken is TLS 1.2.

pub mod authority;
mod client;
mod error;
pub mod https;
mod identity;
mod material;
mod presented;
mod server;
mod stream;
mod signature;
mod watch;

pub use authority::{Authority, Identity};
pub use client::{ClientContext, ClientMaterial, ClientSettings};
pub use error::{LoadError, Problem, Refusal, TlsError};
pub use identity::{ClientCertificate, SubjectAltNames};
pub use material::Source;
pub use presented::{ClientAuthorities, PresentedCertificate};
pub use server::{ServerContext, ServerSettings};
pub use signature::{Algorithm, KeyError, SigningKey, VerifyingKey};
pub use stream::{Protocol, TlsStream};
pub use watch::{Reload, Reloaded, WATCH_INTERVAL, Watcher, watch};

/// The oldest protocol version that a context speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MinVersion {
    /// TLS 1.2 (RFC 5246), with forward-secret AEAD suites only.
    #[default]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

impl std::str::FromStr for MinVersion {
    type Err = UnknownVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "1.2" => Ok(Self::Tls12),
            "1.3" => Ok(Self::Tls13),
            _ => Err(UnknownVersion),
        }
    }
}

/// A version that is neither `1.2` nor `1.3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the oldest TLS version can be \"1.2\" or \"1.3\"")]
pub struct UnknownVersion;

impl MinVersion {
    fn ssl(self) -> openssl::ssl::SslVersion {
        match self {
            Self::Tls12 => openssl::ssl::SslVersion::TLS1_2,
            Self::Tls13 => openssl::ssl::SslVersion::TLS1_3,
        }
    }
}

/// The cipher suites of Mozilla's intermediate configuration 5, for TLS 1.2: forward secrecy and AEAD only.
/// <https://wiki.mozilla.org/Security/Server_Side_TLS>
const TLS12_CIPHERS: &str = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:\
    ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:\
    ECDHE-RSA-CHACHA20-POLY1305";

#[cfg(test)]
mod tests;
