//! The serving end: a certificate, whom to let in, and both swapped while serving.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use openssl::ssl::{
    AlpnError, Ssl, SslContext, SslContextBuilder, SslFiletype, SslMethod, SslMode, SslOptions,
    SslSessionCacheMode, SslVerifyMode, select_next_proto,
};
use openssl::x509::store::{X509Lookup, X509Store};
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{X509, X509PurposeId};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use super::error::{LoadError, Problem, TlsError};
use super::material::{KeyPair, Pem, Source, earliest_expiry, fingerprint, subjects, trust, trust_store};
use super::stream::{Role, TlsStream};
use super::watch::{Reload, Reloaded};
use super::{Identity, MinVersion, TLS12_CIPHERS};
use crate::telemetry::Metrics;

/// The protocols that a server speaks, best first, in ALPN's wire form (RFC 7301, 3.1).
const ALPN: &[u8] = b"\x02h2\x08http/1.1";

/// The files of a server, PEM all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// The server's certificate, and its issuers where clients do not have them.
    pub cert_file: PathBuf,
    /// Its private key, unencrypted.
    pub key_file: PathBuf,
    /// Authorities; where given, only clients with a certificate of one of them get through the handshake.
    pub client_ca_file: Option<PathBuf>,
    /// Revocation lists, one for each authority that issues client certificates; a missing or expired list refuses that
    /// authority's clients. An error without `client_ca_file`.
    pub crl_file: Option<PathBuf>,
    /// The oldest version spoken.
    pub min_version: MinVersion,
}

/// A server's context: reloadable, and cheap to use for each connection.
pub struct ServerContext {
    usage: &'static str,
    sources: Sources,
    metrics: Option<Metrics>,
    current: ArcSwap<Current>,
    client_generation: watch::Sender<u64>,
    reloading: Mutex<Reloading>,
}

struct Sources {
    certificate: Source,
    key: Source,
    client_ca: Option<Source>,
    /// Whether clients are asked for a certificate that is not judged in the handshake.
    is_asking: bool,
    crl: Option<PathBuf>,
    min_version: MinVersion,
}

struct Current {
    context: SslContext,
    client_generation: u64,
    expiry: Option<SystemTime>,
}

/// What the files said when they were last loaded, so that only a change builds a context.
struct Reloading {
    everything: [u8; 32],
    clients: [u8; 32],
    last_error: Option<String>,
}

impl ServerContext {
    /// A context from files; `usage` names it in the log and in `tls_certificate_expiry_timestamp_seconds{use}` (and
    /// `{usage}-client-ca` there is the first of its client authorities to expire).
    ///
    /// # Errors
    /// Where a file is missing, unreadable, or not what it should be.
    pub fn from_files(
        usage: &'static str,
        settings: ServerSettings,
        metrics: &Metrics,
    ) -> Result<Arc<Self>, LoadError> {
        if let (Some(crl), None) = (&settings.crl_file, &settings.client_ca_file) {
            return Err(LoadError::new(crl.display(), Problem::CrlWithoutAuthority));
        }
        let sources = Sources {
            certificate: Source::File(settings.cert_file),
            key: Source::File(settings.key_file),
            client_ca: settings.client_ca_file.map(Source::File),
            is_asking: false,
            crl: settings.crl_file,
            min_version: settings.min_version,
        };
        Self::new(usage, sources, Some(metrics.clone()))
    }

    /// A context from an identity in memory; where `client_ca_pem` is given, clients must have a certificate of it.
    ///
    /// # Errors
    /// Where the PEM is not what it should be.
    pub fn from_pem(
        usage: &'static str,
        identity: &Identity,
        client_ca_pem: Option<&str>,
        min_version: MinVersion,
    ) -> Result<Arc<Self>, LoadError> {
        let sources = Sources {
            certificate: Source::Memory("server certificate", identity.cert_pem.clone().into_bytes()),
            key: Source::Memory("server key", identity.key_pem.clone().into_bytes()),
            client_ca: client_ca_pem.map(|pem| Source::Memory("client authority", pem.as_bytes().to_vec())),
            is_asking: false,
            crl: None,
            min_version,
        };
        Self::new(usage, sources, None)
    }

    /// A context from files for a server that asks clients for a certificate, and lets them in whatever they show: it names no
    /// authorities to them, and [`ClientAuthorities`](super::ClientAuthorities) judge each request's later.
    ///
    /// # Errors
    /// Where a file is missing, unreadable, or not what it should be.
    pub fn asking(
        usage: &'static str,
        cert_file: PathBuf,
        key_file: PathBuf,
        min_version: MinVersion,
        metrics: &Metrics,
    ) -> Result<Arc<Self>, LoadError> {
        let (certificate, key) = (Source::File(cert_file), Source::File(key_file));
        let sources = Sources { certificate, key, client_ca: None, is_asking: true, crl: None, min_version };
        Self::new(usage, sources, Some(metrics.clone()))
    }

    /// The same, from an identity in memory.
    ///
    /// # Errors
    /// Where the PEM is not what it should be.
    pub fn asking_from_pem(
        usage: &'static str,
        identity: &Identity,
        min_version: MinVersion,
    ) -> Result<Arc<Self>, LoadError> {
        let certificate = Source::Memory("server certificate", identity.cert_pem.clone().into_bytes());
        let key = Source::Memory("server key", identity.key_pem.clone().into_bytes());
        let sources = Sources { certificate, key, client_ca: None, is_asking: true, crl: None, min_version };
        Self::new(usage, sources, None)
    }

    fn new(usage: &'static str, sources: Sources, metrics: Option<Metrics>) -> Result<Arc<Self>, LoadError> {
        let read = sources.read()?;
        let current = read.build(&sources, 1)?;
        let context = Self {
            usage,
            reloading: Mutex::new(Reloading {
                everything: read.fingerprint(),
                clients: read.clients_fingerprint(),
                last_error: None,
            }),
            sources,
            metrics,
            current: ArcSwap::from_pointee(current),
            client_generation: watch::Sender::new(1),
        };
        context.publish_expiry(&read)?;
        Ok(Arc::new(context))
    }

    /// Takes the serving end of a handshake with the certificate now in force. Has no deadline of its own.
    ///
    /// # Errors
    /// Where the client is not let in, speaks no TLS, or leaves.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> Result<TlsStream<S>, TlsError> {
        let current = self.current.load_full();
        let ssl = Ssl::new(&current.context)?;
        let role = if self.sources.is_asking { Role::Asking } else { Role::Server };
        TlsStream::handshake(ssl, stream, role, current.client_generation).await
    }

    /// Whether clients need a certificate.
    #[must_use]
    pub fn requires_client_certificate(&self) -> bool {
        self.sources.client_ca.is_some()
    }

    /// Counts up whenever the client authorities or the revocation lists changed: connections accepted under an older
    /// number were let in by rules that no longer hold.
    #[must_use]
    pub fn client_generation(&self) -> watch::Receiver<u64> {
        self.client_generation.subscribe()
    }

    /// When the server's certificate (or the first of its chain) expires.
    #[must_use]
    pub fn expiry(&self) -> Option<SystemTime> {
        self.current.load().expiry
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
        let clients = read.clients_fingerprint();
        let before = *self.client_generation.borrow();
        let generation = if clients == state.clients { before } else { before.wrapping_add(1) };
        let current = read.build(&self.sources, generation)?;
        self.publish_expiry(&read)?;
        self.current.store(Arc::new(current));
        // After the swap: whoever drains because of this number finds the new rules in force.
        self.client_generation.send_if_modified(|number| std::mem::replace(number, generation) != generation);
        state.everything = read.fingerprint();
        state.clients = clients;
        Ok(Reloaded::Changed)
    }

    fn publish_expiry(&self, read: &Read) -> Result<(), LoadError> {
        let Some(metrics) = &self.metrics else { return Ok(()) };
        let chain = read.certificate.certificates()?;
        set_expiry(metrics, self.usage, earliest_expiry(chain.iter()));
        if let Some(client_ca) = &read.client_ca {
            let authorities = client_ca.certificates()?;
            set_expiry(metrics, &format!("{}-client-ca", self.usage), earliest_expiry(authorities.iter()));
        }
        Ok(())
    }
}

impl std::fmt::Debug for ServerContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerContext").field("usage", &self.usage).finish_non_exhaustive()
    }
}

impl Reload for ServerContext {
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

/// Counts a reload that did something.
pub(super) fn count(metrics: Option<&Metrics>, result: &Result<Reloaded, LoadError>) {
    let Some(metrics) = metrics else { return };
    match result {
        Ok(Reloaded::Unchanged) => {}
        Ok(Reloaded::Changed) => metrics.config_reloads.with_label_values(&["success"]).inc(),
        Err(_) => metrics.config_reloads.with_label_values(&["failure"]).inc(),
    }
}

/// Publishes when a certificate expires.
pub(super) fn set_expiry(metrics: &Metrics, usage: &str, expiry: Option<SystemTime>) {
    if let Some(since) = expiry.and_then(|expiry| expiry.duration_since(UNIX_EPOCH).ok()) {
        metrics.certificate_expiry.with_label_values(&[usage]).set(since.as_secs_f64());
    }
}

/// All the PEM of a server, read at one time.
struct Read {
    certificate: Pem,
    key: Pem,
    client_ca: Option<Pem>,
    crl: Option<Pem>,
}

impl Sources {
    fn read(&self) -> Result<Read, LoadError> {
        let crl = self.crl.clone().map(Source::File);
        Ok(Read {
            certificate: self.certificate.read()?,
            key: self.key.read()?,
            client_ca: self.client_ca.as_ref().map(Source::read).transpose()?,
            crl: crl.as_ref().map(Source::read).transpose()?,
        })
    }
}

impl Read {
    fn fingerprint(&self) -> [u8; 32] {
        let all = [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref(), self.crl.as_ref()];
        fingerprint(all.into_iter())
    }

    fn clients_fingerprint(&self) -> [u8; 32] {
        fingerprint([self.client_ca.as_ref(), self.crl.as_ref()].into_iter())
    }

    fn build(&self, sources: &Sources, client_generation: u64) -> Result<Current, LoadError> {
        let pair = KeyPair::parse(&self.certificate, &self.key)?;
        let unusable = |stack| self.certificate.unusable(&stack);
        let mut builder = base(sources.min_version).map_err(unusable)?;
        pair.install(&mut builder).map_err(unusable)?;
        if sources.is_asking {
            // The client still has to show that it has the certificate's key.
            builder.set_verify_callback(SslVerifyMode::PEER, |_, _| {
                // OpenSSL judges all the same, and what it finds wrong is neither this handshake's failure nor that of
                // whichever connection the thread turns to next (SSL_get_error(3)).
                drop(openssl::error::ErrorStack::get());
                true
            });
        }
        if let Some(client_ca) = &self.client_ca {
            let authorities = client_ca.certificates()?;
            let store = match (&self.crl, &sources.crl) {
                (Some(crl), Some(path)) => {
                    crl.revocation_list()?;
                    let store = revocable(&authorities, path).map_err(|stack| crl.unusable(&stack))?;
                    // OpenSSL read the file itself; what it read must be what was hashed.
                    if !Source::File(path.clone()).read()?.is_same_as(crl) {
                        return Err(crl.is(Problem::Changing));
                    }
                    store
                }
                _ => trust_store(&authorities).map_err(|stack| client_ca.unusable(&stack))?,
            };
            require_certificate(&mut builder, &authorities, store)
                .map_err(|stack| client_ca.unusable(&stack))?;
        }
        let expiry = earliest_expiry(std::iter::once(&pair.leaf).chain(&pair.chain));
        Ok(Current { context: builder.build(), client_generation, expiry })
    }
}

fn base(min_version: MinVersion) -> Result<SslContextBuilder, openssl::error::ErrorStack> {
    let mut builder = SslContextBuilder::new(SslMethod::tls_server())?;
    builder.set_min_proto_version(Some(min_version.ssl()))?;
    builder.set_cipher_list(TLS12_CIPHERS)?;
    builder.set_mode(
        SslMode::AUTO_RETRY
            | SslMode::ENABLE_PARTIAL_WRITE
            | SslMode::ACCEPT_MOVING_WRITE_BUFFER
            | SslMode::RELEASE_BUFFERS,
    );
    builder.set_options(
        SslOptions::NO_COMPRESSION
            | SslOptions::NO_RENEGOTIATION
            | SslOptions::NO_TICKET
            | SslOptions::CIPHER_SERVER_PREFERENCE,
    );
    builder.set_num_tickets(0)?;
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    builder.set_session_id_context(b"bailiwick")?;
    // A client that offers only protocols that we do not speak is told so (RFC 7301, 3.2), rather than spoken to in
    // another one.
    builder.set_alpn_select_callback(|_, offered| {
        select_next_proto(ALPN, offered).ok_or(AlpnError::ALERT_FATAL)
    });
    Ok(builder)
}

fn require_certificate(
    builder: &mut SslContextBuilder,
    authorities: &[X509],
    store: X509Store,
) -> Result<(), openssl::error::ErrorStack> {
    builder.set_verify_cert_store(store)?;
    builder.set_client_ca_list(subjects(authorities)?);
    builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    Ok(())
}

fn revocable(authorities: &[X509], crl: &std::path::Path) -> Result<X509Store, openssl::error::ErrorStack> {
    let mut store = trust(authorities)?;
    store.set_purpose(X509PurposeId::SSL_CLIENT)?;
    store.add_lookup(X509Lookup::file())?.load_crl_file(crl, SslFiletype::PEM)?;
    store.set_flags(X509VerifyFlags::CRL_CHECK)?;
    Ok(store.build())
}
