//! The asking end: whom to trust, who we are, and the name that the server must have.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use openssl::ssl::{
    Ssl, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslSessionCacheMode, SslVerifyMode,
};
use openssl::x509::verify::{X509CheckFlags, X509VerifyFlags};
use tokio::io::{AsyncRead, AsyncWrite};

use super::error::{LoadError, Problem, TlsError};
use super::material::{KeyPair, Pem, Source, earliest_expiry, fingerprint, trust_store};
use super::server::{count, set_expiry};
use super::stream::{Role, TlsStream};
use super::watch::{Reload, Reloaded};
use super::{Identity, MinVersion, TLS12_CIPHERS};
use crate::telemetry::Metrics;

/// The longest host name (RFC 1035, 2.3.4), in octets.
const MAX_NAME: usize = 253;

/// The files of a client, PEM all of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientSettings {
    /// Authorities to trust; omitted: the system's.
    pub ca_file: Option<PathBuf>,
    /// The name (or address) that the server's certificate must have; omitted: the one that is connected to.
    pub server_name: Option<String>,
    /// Our certificate, and its issuers where the server does not have them.
    pub cert_file: Option<PathBuf>,
    /// Its private key, unencrypted.
    pub key_file: Option<PathBuf>,
    /// The oldest version spoken.
    pub min_version: MinVersion,
}

/// What a client is made of, where some of it is in files and some in memory: a kubeconfig may have both.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientMaterial {
    /// Authorities to trust; omitted: the system's.
    pub ca: Option<Source>,
    /// The name (or address) that the server's certificate must have; omitted: the one that is connected to.
    pub server_name: Option<String>,
    /// Our certificate with its issuers, and its private key.
    pub pair: Option<(Source, Source)>,
    /// The oldest version spoken.
    pub min_version: MinVersion,
}

/// A client's context: reloadable, and cheap to use for each connection.
pub struct ClientContext {
    usage: &'static str,
    sources: Sources,
    metrics: Option<Metrics>,
    current: ArcSwap<SslContext>,
    reloading: Mutex<Reloading>,
}

struct Sources {
    ca: Option<Source>,
    /// Whether the first certificate of `ca` is the server's own: it alone is trusted, whoever issued it and for whatever
    /// name.
    is_itself: bool,
    server_name: Option<String>,
    pair: Option<(Source, Source)>,
    min_version: MinVersion,
}

struct Reloading {
    everything: [u8; 32],
    last_error: Option<String>,
}

impl ClientContext {
    /// A context from files; `usage` names it in the log and, where it has a certificate, in
    /// `tls_certificate_expiry_timestamp_seconds{use}`.
    ///
    /// # Errors
    /// Where a file is missing, unreadable, or not what it should be; where only one of certificate and key is given.
    pub fn from_files(
        usage: &'static str,
        settings: ClientSettings,
        metrics: &Metrics,
    ) -> Result<Arc<Self>, LoadError> {
        let pair = match (settings.cert_file, settings.key_file) {
            (Some(certificate), Some(key)) => Some((Source::File(certificate), Source::File(key))),
            (None, None) => None,
            (Some(file), None) | (None, Some(file)) => {
                return Err(LoadError::new(file.display(), Problem::Half));
            }
        };
        let sources = Sources {
            ca: settings.ca_file.map(Source::File),
            is_itself: false,
            server_name: settings.server_name,
            pair,
            min_version: settings.min_version,
        };
        Self::new(usage, sources, Some(metrics.clone()))
    }

    /// A context from files and memory; otherwise as [`from_files`](Self::from_files).
    ///
    /// # Errors
    /// Where something is missing, unreadable, or not what it should be.
    pub fn from_material(
        usage: &'static str,
        material: ClientMaterial,
        metrics: Option<&Metrics>,
    ) -> Result<Arc<Self>, LoadError> {
        let ClientMaterial { ca, server_name, pair, min_version } = material;
        Self::new(usage, Sources { ca, is_itself: false, server_name, pair, min_version }, metrics.cloned())
    }

    /// A context for a process that asks itself, or its neighbour, by an address that the certificate need not be for: it
    /// trusts the one certificate that stands first in this file, and nothing that others issued.
    ///
    /// # Errors
    /// As for [`from_files`](Self::from_files).
    pub fn of_own_certificate(
        usage: &'static str,
        certificate: PathBuf,
        min_version: MinVersion,
        metrics: &Metrics,
    ) -> Result<Arc<Self>, LoadError> {
        let ca = Some(Source::File(certificate));
        let sources = Sources { ca, is_itself: true, server_name: None, pair: None, min_version };
        Self::new(usage, sources, Some(metrics.clone()))
    }

    /// A context that trusts the authorities in `ca_pem` alone, and shows `identity` where a server asks.
    ///
    /// # Errors
    /// Where the PEM is not what it should be.
    pub fn from_pem(
        usage: &'static str,
        ca_pem: &str,
        identity: Option<&Identity>,
        min_version: MinVersion,
    ) -> Result<Arc<Self>, LoadError> {
        let sources = Sources {
            ca: Some(Source::Memory("server authority", ca_pem.as_bytes().to_vec())),
            is_itself: false,
            server_name: None,
            pair: identity.map(|identity| {
                (
                    Source::Memory("client certificate", identity.cert_pem.clone().into_bytes()),
                    Source::Memory("client key", identity.key_pem.clone().into_bytes()),
                )
            }),
            min_version,
        };
        Self::new(usage, sources, None)
    }

    fn new(usage: &'static str, sources: Sources, metrics: Option<Metrics>) -> Result<Arc<Self>, LoadError> {
        let read = sources.read()?;
        let context = read.build(&sources)?;
        let reloading = Mutex::new(Reloading { everything: read.fingerprint(), last_error: None });
        let this = Self { usage, sources, metrics, current: ArcSwap::from_pointee(context), reloading };
        this.publish_expiry(&read)?;
        Ok(Arc::new(this))
    }

    /// Takes the asking end of a handshake; the server must have a certificate for `name` (or for the `server_name` of
    /// the settings): a host name, or an IP address that is verified as such. A subject's common name is not looked at.
    /// Has no deadline of its own.
    ///
    /// # Errors
    /// Where the server is not who it should be, speaks no TLS, refuses us, or leaves.
    pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        name: &str,
        stream: S,
    ) -> Result<TlsStream<S>, TlsError> {
        let name = self.sources.server_name.as_deref().unwrap_or(name);
        let context = self.current.load_full();
        let mut ssl = Ssl::new(&context)?;
        if !self.sources.is_itself {
            expect(&mut ssl, name)?;
        }
        TlsStream::handshake(ssl, stream, Role::Client, 0).await
    }

    /// The name that the settings demand of the server, whatever it is connected by.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.sources.server_name.as_deref()
    }

    /// Why the files as they are now are not in force; `None` where they are.
    #[must_use]
    pub fn last_error(&self) -> Option<String> {
        self.reloading.lock().unwrap_or_else(PoisonError::into_inner).last_error.clone()
    }

    fn swap(&self, state: &mut Reloading) -> Result<Reloaded, LoadError> {
        let read = self.sources.read()?;
        if read.fingerprint() == state.everything {
            return Ok(Reloaded::Unchanged);
        }
        let context = read.build(&self.sources)?;
        self.publish_expiry(&read)?;
        self.current.store(Arc::new(context));
        state.everything = read.fingerprint();
        Ok(Reloaded::Changed)
    }

    fn publish_expiry(&self, read: &Read) -> Result<(), LoadError> {
        if let (Some(metrics), Some((certificate, _))) = (&self.metrics, &read.pair) {
            set_expiry(metrics, self.usage, earliest_expiry(certificate.certificates()?.iter()));
        }
        Ok(())
    }
}

impl std::fmt::Debug for ClientContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientContext").field("usage", &self.usage).finish_non_exhaustive()
    }
}

impl Reload for ClientContext {
    fn reload(&self) -> Result<Reloaded, LoadError> {
        let mut state = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let result = self.swap(&mut state);
        count(self.metrics.as_ref(), &result);
        state.last_error = result.as_ref().err().map(ToString::to_string);
        result
    }

    fn usage(&self) -> &str {
        self.usage
    }
}

/// Says what the server's certificate must be for. OpenSSL verifies nothing against an empty name and any subdomain
/// against one that starts with a dot, so neither gets there.
fn expect(ssl: &mut Ssl, name: &str) -> Result<(), TlsError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(ssl.param_mut().set_ip(address)?);
    }
    let host = name.strip_suffix('.').unwrap_or(name);
    if !is_host_name(host) {
        return Err(TlsError::Name(name.escape_default().take(MAX_NAME).collect()));
    }
    ssl.set_hostname(host)?;
    let parameters = ssl.param_mut();
    parameters.set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS | X509CheckFlags::NEVER_CHECK_SUBJECT);
    Ok(parameters.set_host(host)?)
}

fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_')
    };
    name.len() <= MAX_NAME && name.split('.').all(is_label)
}

struct Read {
    ca: Option<Pem>,
    pair: Option<(Pem, Pem)>,
}

impl Sources {
    fn read(&self) -> Result<Read, LoadError> {
        let pair = match &self.pair {
            Some((certificate, key)) => Some((certificate.read()?, key.read()?)),
            None => None,
        };
        Ok(Read { ca: self.ca.as_ref().map(Source::read).transpose()?, pair })
    }
}

impl Read {
    fn fingerprint(&self) -> [u8; 32] {
        let (certificate, key) = self.pair.as_ref().map(|(certificate, key)| (certificate, key)).unzip();
        fingerprint([self.ca.as_ref(), certificate, key].into_iter())
    }

    fn build(&self, sources: &Sources) -> Result<SslContext, LoadError> {
        let broken = |stack| LoadError::new("TLS client", Problem::Unusable(super::error::reasons(&stack)));
        let mut builder = base(sources.min_version).map_err(broken)?;
        match &self.ca {
            Some(ca) => {
                let mut authorities = ca.certificates()?;
                if sources.is_itself {
                    authorities.truncate(1);
                    // A certificate that others issued can be the end of a chain.
                    builder.verify_param_mut().set_flags(X509VerifyFlags::PARTIAL_CHAIN).map_err(broken)?;
                }
                let store = trust_store(&authorities).map_err(|stack| ca.unusable(&stack))?;
                builder.set_verify_cert_store(store).map_err(|stack| ca.unusable(&stack))?;
            }
            None => builder.set_default_verify_paths().map_err(broken)?,
        }
        if let Some((certificate, key)) = &self.pair {
            let pair = KeyPair::parse(certificate, key)?;
            pair.install(&mut builder).map_err(|stack| certificate.unusable(&stack))?;
        }
        Ok(builder.build())
    }
}

fn base(min_version: MinVersion) -> Result<SslContextBuilder, openssl::error::ErrorStack> {
    let mut builder = SslContextBuilder::new(SslMethod::tls_client())?;
    builder.set_min_proto_version(Some(min_version.ssl()))?;
    builder.set_cipher_list(TLS12_CIPHERS)?;
    builder
        .set_mode(SslMode::AUTO_RETRY | SslMode::ENABLE_PARTIAL_WRITE | SslMode::ACCEPT_MOVING_WRITE_BUFFER);
    builder.set_options(SslOptions::NO_COMPRESSION | SslOptions::NO_RENEGOTIATION);
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    builder.set_verify(SslVerifyMode::PEER);
    Ok(builder)
}
