//! Who calls, and for which clusters the caller may speak.

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;

use super::TokenFile;
use super::failure::Failure;
use crate::server::{self, ClientCertificate, SubjectAltNames};

/// Who may ask for reviews: `server.clients`.
#[derive(Debug, Clone)]
pub enum Clients {
    /// No list: whoever the listener lets in may speak for every cluster. Off loopback the listener lets in only who has a
    /// certificate of the client CA, so that this CA has to be for API servers alone.
    Everyone,
    /// Only these, each for its clusters alone.
    Listed(Vec<Client>),
}

/// An entry of `server.clients`.
#[derive(Debug, Clone)]
pub struct Client {
    /// What it proves itself with.
    pub credential: Credential,
    /// The clusters that it may speak for.
    pub clusters: Vec<Arc<str>>,
}

/// What a client proves itself with.
#[derive(Debug, Clone)]
pub enum Credential {
    /// `name`: a verified certificate whose common name or one of whose alternative names this is.
    CertificateName(String),
    /// `tokenFile`: a bearer token.
    Token(Arc<TokenFile>),
}

/// What a request proves of its sender.
pub(super) struct Caller {
    certificate: Option<Arc<ClientCertificate>>,
    token: Option<String>,
}

impl Caller {
    pub(super) fn of(request: &HttpRequest) -> Self {
        Self {
            certificate: server::peer(request).and_then(|peer| peer.certificate),
            token: bearer_token(request),
        }
    }

    pub(super) fn has_certificate(&self) -> bool {
        self.certificate.is_some()
    }

    pub(super) fn has_token(&self, file: &TokenFile) -> bool {
        self.token.as_deref().is_some_and(|token| file.matches(token))
    }

    fn proves(&self, credential: &Credential) -> bool {
        match credential {
            Credential::Token(file) => self.has_token(file),
            Credential::CertificateName(name) => {
                self.certificate.as_ref().is_some_and(|certificate| has_name(certificate, name))
            }
        }
    }
}

impl Clients {
    /// Whether the request's sender may speak for a cluster; where no cluster is named at all, whether it is known.
    pub(super) fn admit(&self, request: &HttpRequest, cluster: Option<&Arc<str>>) -> Result<(), Failure> {
        let Self::Listed(clients) = self else { return Ok(()) };
        let caller = Caller::of(request);
        let mut known = false;
        for client in clients.iter().filter(|client| caller.proves(&client.credential)) {
            if cluster.is_none_or(|cluster| client.clusters.contains(cluster)) {
                return Ok(());
            }
            known = true;
        }
        Err(match cluster {
            Some(cluster) if known => Failure::OtherCluster(Arc::clone(cluster)),
            _ if caller.has_certificate() => Failure::UnknownClient,
            _ => Failure::Unauthenticated,
        })
    }
}

/// Whether this is the common name, or one of the alternative names, of a certificate.
fn has_name(certificate: &ClientCertificate, name: &str) -> bool {
    let SubjectAltNames { dns, uris, addresses: _ } = &certificate.sans;
    certificate.common_name.as_deref() == Some(name) || dns.iter().chain(uris).any(|known| known == name)
}

/// The token of an `Authorization: Bearer` header (RFC 6750, 2.1); the scheme's name is of either case.
fn bearer_token(request: &HttpRequest) -> Option<String> {
    let (scheme, token) = request.headers().get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}
