//! Client certificates that a server asked for and did not judge in the handshake, and the authorities that judge
//! them later, as kube-apiserver does it (`RequestClientCert` in `k8s.io/apiserver/pkg/server/secure_serving.go`,
//! and `k8s.io/apiserver/pkg/authentication/request/x509`).
//!
//! The handshake proves that the client has the certificate's private key, and nothing else. So that nobody takes
//! a name from a certificate that anybody could have made, there is no way to a name but through
//! [`ClientAuthorities::verify`].

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use openssl::error::ErrorStack;
use openssl::stack::Stack;
use openssl::x509::verify::{X509VerifyFlags, X509VerifyParam};
use openssl::x509::{X509, X509PurposeId, X509StoreContext};
use sha2::{Digest, Sha256};

use super::error::{LoadError, Refusal};
use super::identity::ClientCertificate;
use super::material::{Source, earliest_expiry, fingerprint, trust};
use super::server::{count, set_expiry};
use super::watch::{Reload, Reloaded};
use crate::telemetry::Metrics;

/// How strong keys and signatures must be: OpenSSL's level 1 is 80 bits and more, so no MD5 and no SHA-1
/// (`SSL_CTX_set_security_level(3)`).
const SECURITY_LEVEL: i32 = 1;

/// How many intermediate certificates may stand between a client's and a trusted one: building longer chains costs
/// more than anybody's real one needs.
const MAX_INTERMEDIATES: i32 = 8;

/// A chain that a client showed, unverified. It says nothing of whose it is.
pub struct PresentedCertificate {
    leaf: X509,
    others: Vec<X509>,
    fingerprint: [u8; 32],
}

impl PresentedCertificate {
    pub(super) fn new(leaf: X509, others: Vec<X509>) -> Result<Self, ErrorStack> {
        let fingerprint = Sha256::digest(leaf.to_der()?).into();
        Ok(Self { leaf, others, fingerprint })
    }

    /// A chain from PEM, the client's own certificate first: for tests of what stands behind a handshake.
    ///
    /// # Errors
    /// Where the PEM holds no certificate.
    pub fn from_pem(pem: &str) -> Result<Self, LoadError> {
        let pem = Source::Memory("client certificate", pem.as_bytes().to_vec()).read()?;
        let mut chain = pem.certificates()?.into_iter();
        let leaf = chain.next().ok_or_else(|| pem.is(super::Problem::NoCertificate))?;
        Self::new(leaf, chain.collect()).map_err(|stack| pem.unusable(&stack))
    }

    /// The SHA-256 of the client's own certificate (DER).
    #[must_use]
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }
}

impl std::fmt::Debug for PresentedCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PresentedCertificate")
    }
}

impl PartialEq for PresentedCertificate {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint && self.others.len() == other.others.len()
    }
}

impl Eq for PresentedCertificate {}

/// Authorities whose client certificates are believed: reloadable.
pub struct ClientAuthorities {
    usage: &'static str,
    source: Source,
    metrics: Option<Metrics>,
    current: ArcSwap<Vec<X509>>,
    content: Mutex<[u8; 32]>,
}

impl ClientAuthorities {
    /// Authorities from a PEM file; `usage` names them in the log and in
    /// `tls_certificate_expiry_timestamp_seconds{use}`.
    ///
    /// # Errors
    /// Where the file is missing, unreadable, or holds no certificate.
    pub fn from_file(
        usage: &'static str,
        path: PathBuf,
        metrics: Option<&Metrics>,
    ) -> Result<Arc<Self>, LoadError> {
        Self::new(usage, Source::File(path), metrics.cloned())
    }

    /// Authorities from PEM in memory.
    ///
    /// # Errors
    /// Where it holds no certificate.
    pub fn from_pem(usage: &'static str, pem: &str) -> Result<Arc<Self>, LoadError> {
        Self::new(usage, Source::Memory(usage, pem.as_bytes().to_vec()), None)
    }

    fn new(usage: &'static str, source: Source, metrics: Option<Metrics>) -> Result<Arc<Self>, LoadError> {
        let pem = source.read()?;
        let authorities = pem.certificates()?;
        let content = Mutex::new(fingerprint([Some(&pem)].into_iter()));
        let this = Self { usage, source, metrics, current: ArcSwap::from_pointee(authorities), content };
        this.publish_expiry();
        Ok(Arc::new(this))
    }

    /// Whose certificate it is, where one of these authorities issued it (or an intermediate one in the chain) for
    /// clients (`extendedKeyUsage`, RFC 5280, 4.2.1.12), and it is valid now.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn verify(
        &self,
        presented: &PresentedCertificate,
        now: Timestamp,
    ) -> Result<ClientCertificate, Refusal> {
        let authorities = self.current.load();
        let mut conditions = X509VerifyParam::new()?;
        conditions.set_time(now.as_second());
        conditions.set_purpose(X509PurposeId::SSL_CLIENT)?;
        conditions.set_auth_level(SECURITY_LEVEL);
        conditions.set_depth(MAX_INTERMEDIATES);
        // An authority that is trusted here need not be a root, as for Go's `x509.VerifyOptions.Roots`.
        conditions.set_flags(X509VerifyFlags::PARTIAL_CHAIN | X509VerifyFlags::TRUSTED_FIRST)?;
        let mut store = trust(&authorities)?;
        store.set_param(&conditions)?;
        let store = store.build();
        let mut others = Stack::new()?;
        for certificate in &presented.others {
            others.push(certificate.clone())?;
        }
        let mut context = X509StoreContext::new()?;
        let verified = context
            .init(&store, &presented.leaf, &others, |context| Ok((context.verify_cert()?, context.error())));
        // A refusal may leave reasons behind that the next operation of any connection on this thread would take
        // for its own (SSL_get_error(3)).
        drop(ErrorStack::get());
        let (is_good, why) = verified?;
        if is_good && why == openssl::x509::X509VerifyResult::OK {
            Ok(ClientCertificate::of(&presented.leaf))
        } else {
            Err(Refusal(why.error_string().to_owned()))
        }
    }

    /// Whether some certificate is an authority to both. One that cannot be compared counts as one.
    #[must_use]
    pub fn share_any(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.current.load(), other.current.load());
        let is_same = |one: &X509, other: &X509| match (one.to_der(), other.to_der()) {
            (Ok(one), Ok(other)) => one == other,
            _ => true,
        };
        ours.iter().any(|one| theirs.iter().any(|other| is_same(one, other)))
    }

    fn swap(&self) -> Result<Reloaded, LoadError> {
        let pem = self.source.read()?;
        let content = fingerprint([Some(&pem)].into_iter());
        let mut before = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        if *before == content {
            return Ok(Reloaded::Unchanged);
        }
        self.current.store(Arc::new(pem.certificates()?));
        *before = content;
        drop(before);
        self.publish_expiry();
        Ok(Reloaded::Changed)
    }

    fn publish_expiry(&self) {
        if let Some(metrics) = &self.metrics {
            set_expiry(metrics, self.usage, earliest_expiry(self.current.load().iter()));
        }
    }
}

impl std::fmt::Debug for ClientAuthorities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientAuthorities").field("usage", &self.usage).finish_non_exhaustive()
    }
}

impl Reload for ClientAuthorities {
    fn reload(&self) -> Result<Reloaded, LoadError> {
        let result = self.swap();
        count(self.metrics.as_ref(), &result);
        result
    }

    fn usage(&self) -> &str {
        self.usage
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Authority, ClientContext, Identity, MinVersion, ServerContext, TlsStream};
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    fn presented(identity: &Identity) -> PresentedCertificate {
        PresentedCertificate::from_pem(&identity.cert_pem).unwrap()
    }

    fn authorities(authority: &Authority) -> Arc<ClientAuthorities> {
        ClientAuthorities::from_pem("test", authority.ca_pem()).unwrap()
    }

    /// What a server that only asks sees of a client.
    async fn asked(identity: Option<&Identity>, version: MinVersion) -> TlsStream<DuplexStream> {
        let authority = Authority::new("server").unwrap();
        let server = authority.server(&["localhost"], &[]).unwrap();
        let server = ServerContext::asking_from_pem("test", &server, version).unwrap();
        let client = ClientContext::from_pem("test", authority.ca_pem(), identity, version).unwrap();
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (near, far) = tokio::join!(server.accept(near), client.connect("localhost", far));
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        far.write_all(b"x").await.unwrap();
        assert_eq!(near.read_u8().await.unwrap(), b'x');
        near
    }

    #[tokio::test]
    async fn a_server_that_asks_lets_any_certificate_in_and_believes_none() {
        let alice = Authority::new("anybody").unwrap().client("system:admin", &["system:masters"]).unwrap();
        for version in [MinVersion::Tls12, MinVersion::Tls13] {
            let stream = asked(Some(&alice), version).await;
            assert_eq!(stream.client_certificate(), None);
            assert_eq!(stream.presented_certificate().unwrap(), presented(&alice));
            assert!(asked(None, version).await.presented_certificate().is_none());
        }
    }

    #[tokio::test]
    async fn a_server_that_verifies_has_nothing_that_is_only_presented() {
        let authority = Authority::new("ca").unwrap();
        let server = authority.server(&["localhost"], &[]).unwrap();
        let alice = authority.client("alice", &[]).unwrap();
        let server =
            ServerContext::from_pem("test", &server, Some(authority.ca_pem()), MinVersion::Tls13).unwrap();
        let client =
            ClientContext::from_pem("test", authority.ca_pem(), Some(&alice), MinVersion::Tls13).unwrap();
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (near, _far) = tokio::join!(server.accept(near), client.connect("localhost", far));
        let near = near.unwrap();
        assert!(near.client_certificate().is_some() && near.presented_certificate().is_none());
    }

    #[test]
    fn a_certificate_of_the_authority_has_names() {
        let authority = Authority::new("ca").unwrap();
        let alice = authority.client("alice", &["dev", "ops"]).unwrap();
        let certificate = authorities(&authority).verify(&presented(&alice), Timestamp::now()).unwrap();
        assert_eq!(certificate.common_name.as_deref(), Some("alice"));
        assert_eq!(certificate.organisations, ["dev", "ops"]);
    }

    #[test]
    fn a_certificate_of_another_authority_of_the_same_name_has_none() {
        let alice = Authority::new("ca").unwrap().client("alice", &[]).unwrap();
        let other = Authority::new("ca").unwrap();
        assert!(authorities(&other).verify(&presented(&alice), Timestamp::now()).is_err());
        // Nor does it help to bring one's own authority along.
        let chain = format!("{}{}", alice.cert_pem, other.ca_pem());
        let chain = PresentedCertificate::from_pem(&chain).unwrap();
        assert!(authorities(&other).verify(&chain, Timestamp::now()).is_err());
    }

    #[test]
    fn a_certificate_is_believed_while_it_is_valid_and_no_longer() {
        let authority = Authority::new("ca").unwrap();
        let alice = presented(&authority.client("alice", &[]).unwrap());
        let at = |hours| Timestamp::now() + jiff::SignedDuration::from_hours(hours);
        let authorities = authorities(&authority);
        assert!(authorities.verify(&alice, at(0)).is_ok());
        for (hours, why) in [(-1, "not yet valid"), (24 * 400, "expired")] {
            let refusal = authorities.verify(&alice, at(hours)).unwrap_err();
            assert!(refusal.to_string().contains(why), "{refusal}");
        }
    }

    #[test]
    fn a_refusal_leaves_nothing_behind_that_another_connection_would_stumble_over() {
        let authority = Authority::new("ca").unwrap();
        let forged = presented(&forged(&authority));
        assert!(authorities(&authority).verify(&forged, Timestamp::now()).is_err());
        assert!(ErrorStack::get().errors().is_empty());
    }

    #[tokio::test]
    async fn a_forged_chain_gets_through_a_handshake_that_only_asks_and_leaves_nothing_behind() {
        let forged = forged(&Authority::new("ca").unwrap());
        for version in [MinVersion::Tls12, MinVersion::Tls13] {
            let stream = asked(Some(&forged), version).await;
            assert!(ErrorStack::get().errors().is_empty());
            assert_eq!(stream.presented_certificate().unwrap(), presented(&forged));
        }
    }

    /// A chain whose first certificate has a wrong signature.
    fn forged(authority: &Authority) -> Identity {
        let alice = authority.client("alice", &[]).unwrap();
        let mut der = X509::from_pem(alice.cert_pem.as_bytes()).unwrap().to_der().unwrap();
        // The last octets are those of the signature.
        *der.last_mut().unwrap() ^= 1;
        let leaf = X509::from_der(&der).unwrap().to_pem().unwrap();
        let cert_pem = format!("{}{}", String::from_utf8(leaf).unwrap(), authority.ca_pem());
        Identity { cert_pem, ..alice }
    }

    #[test]
    fn a_server_certificate_is_none_of_a_client() {
        let authority = Authority::new("ca").unwrap();
        let server = authority.server(&["alice"], &[]).unwrap();
        assert!(authorities(&authority).verify(&presented(&server), Timestamp::now()).is_err());
    }

    #[test]
    fn authorities_are_exchanged_while_serving_and_a_broken_file_keeps_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.crt");
        let (one, two) = (Authority::new("one").unwrap(), Authority::new("two").unwrap());
        let (ada, bob) = (one.client("ada", &[]).unwrap(), two.client("bob", &[]).unwrap());
        std::fs::write(&path, one.ca_pem()).unwrap();
        let authorities = ClientAuthorities::from_file("test", path.clone(), None).unwrap();
        let believes =
            |identity: &Identity| authorities.verify(&presented(identity), Timestamp::now()).is_ok();
        assert!(believes(&ada) && !believes(&bob));
        std::fs::write(&path, "nothing").unwrap();
        assert!(authorities.reload().is_err() && believes(&ada));
        std::fs::write(&path, two.ca_pem()).unwrap();
        assert_eq!(authorities.reload().unwrap(), Reloaded::Changed);
        assert!(!believes(&ada) && believes(&bob));
        assert_eq!(authorities.reload().unwrap(), Reloaded::Unchanged);
    }
}
