//! A connection under TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use openssl::ssl::Ssl;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_openssl::SslStream;

use super::error::TlsError;
use super::identity::ClientCertificate;
use super::presented::PresentedCertificate;

/// A stream whose handshake succeeded.
#[derive(Debug)]
pub struct TlsStream<S> {
    inner: SslStream<S>,
    role: Role,
    generation: u64,
}

/// The application protocol that ALPN (RFC 7301) agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `http/1.1`, or nothing.
    Http1,
    /// `h2`.
    Http2,
}

/// Which end of the handshake we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    /// A server that judges what clients show, if it wants anything of them, before it lets them in.
    Server,
    /// A server that lets everybody in, whatever they show.
    Asking,
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream<S> {
    /// Takes the handshake; has no deadline of its own.
    pub(super) async fn handshake(
        ssl: Ssl,
        stream: S,
        role: Role,
        generation: u64,
    ) -> Result<Self, TlsError> {
        let mut inner = SslStream::new(ssl, stream)?;
        let result = match role {
            Role::Client => Pin::new(&mut inner).connect().await,
            Role::Server | Role::Asking => Pin::new(&mut inner).accept().await,
        };
        match result {
            Ok(()) => Ok(Self { inner, role, generation }),
            Err(error) => Err(TlsError::of(error, inner.ssl().verify_result())),
        }
    }

    /// What ALPN agreed on.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        match self.inner.ssl().selected_alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        }
    }

    /// Who the client is; `None` where it was not asked for a certificate. Only ever a verified one.
    #[must_use]
    pub fn client_certificate(&self) -> Option<ClientCertificate> {
        let ssl = self.inner.ssl();
        let verified = self.role == Role::Server
            && ssl.verify_result() == openssl::x509::X509VerifyResult::OK
            && ssl.verify_mode().contains(openssl::ssl::SslVerifyMode::PEER);
        if !verified {
            return None;
        }
        ssl.peer_certificate().map(|certificate| ClientCertificate::of(&certificate))
    }

    /// What the client showed to a server that only asked; not verified by anybody. `None` where it showed nothing, and
    /// where the handshake judges certificates.
    #[must_use]
    pub fn presented_certificate(&self) -> Option<PresentedCertificate> {
        if self.role != Role::Asking {
            return None;
        }
        let ssl = self.inner.ssl();
        let leaf = ssl.peer_certificate()?;
        let others = ssl.peer_cert_chain().into_iter().flatten().map(ToOwned::to_owned).collect();
        PresentedCertificate::new(leaf, others).ok()
    }

    /// The generation of the server's client verification under which this connection was accepted; see
    /// [`super::ServerContext::client_generation`]. 0 for a client's stream.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The protocol version, such as `TLSv1.3`.
    #[must_use]
    pub fn version(&self) -> &'static str {
        self.inner.ssl().version_str()
    }

    /// The stream below.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        self.inner.get_ref()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
