//! A certificate authority that lives as long as the process: for the demonstration, the embedded directory and tests.

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName,
    SubjectKeyIdentifier,
};
use openssl::x509::{X509, X509Builder, X509Name, X509NameBuilder};

use super::error::reasons;

/// How long before its making a certificate becomes valid, in seconds: the clocks of two machines differ.
const BACKDATED: i64 = 5 * 60;
/// How long a certificate is valid, in days.
const LIFETIME_DAYS: i64 = 397;
/// The length of a serial number, in bits (RFC 5280, 4.1.2.2: at most 20 octets, positive).
const SERIAL_BITS: i32 = 159;

/// A certificate and its private key.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, PEM.
    pub cert_pem: String,
    /// The private key, PEM (PKCS#8). A secret.
    pub key_pem: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

/// An authority whose key was made in this process and never leaves it.
pub struct Authority {
    certificate: X509,
    key: PKey<Private>,
    pem: String,
}

/// A certificate that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a certificate: {0}")]
pub struct AuthorityError(String);

impl From<ErrorStack> for AuthorityError {
    fn from(stack: ErrorStack) -> Self {
        Self(reasons(&stack))
    }
}

impl Authority {
    /// A new authority with a common name.
    ///
    /// # Errors
    /// Where OpenSSL has no randomness or does not take the name (empty, or over 64 characters).
    pub fn new(name: &str) -> Result<Self, AuthorityError> {
        let key = new_key()?;
        let subject = distinguished_name(name, &[])?;
        let mut builder = start(&subject, &key)?;
        builder.set_issuer_name(&subject)?;
        builder.append_extension(BasicConstraints::new().critical().ca().pathlen(0).build()?)?;
        builder.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build()?)?;
        let identifier = SubjectKeyIdentifier::new().build(&builder.x509v3_context(None, None))?;
        builder.append_extension(identifier)?;
        builder.sign(&key, MessageDigest::sha256())?;
        let certificate = builder.build();
        let pem = text(certificate.to_pem()?)?;
        Ok(Self { certificate, key, pem })
    }

    /// A server's identity, for the host names and addresses given; the first of them is its common name.
    ///
    /// # Errors
    /// Where neither a name nor an address is given, or OpenSSL does not take one.
    pub fn server(&self, names: &[&str], addresses: &[IpAddr]) -> Result<Identity, AuthorityError> {
        let mut sans = SubjectAlternativeName::new();
        for name in names {
            sans.dns(name);
        }
        for address in addresses {
            sans.ip(&address.to_string());
        }
        let first = names.first().map(|name| (*name).to_owned());
        let Some(common_name) = first.or_else(|| addresses.first().map(ToString::to_string)) else {
            return Err(AuthorityError("a server needs a name or an address".to_owned()));
        };
        let usage = ExtendedKeyUsage::new().server_auth().build()?;
        self.issue(&distinguished_name(&common_name, &[])?, usage, Some(&sans))
    }

    /// A client's identity: to Kubernetes a user, with groups.
    ///
    /// # Errors
    /// Where OpenSSL does not take a name (empty, or over 64 characters).
    pub fn client(&self, common_name: &str, organisations: &[&str]) -> Result<Identity, AuthorityError> {
        let usage = ExtendedKeyUsage::new().client_auth().build()?;
        self.issue(&distinguished_name(common_name, organisations)?, usage, None)
    }

    /// The authority's own certificate, PEM: what its peers must trust.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.pem
    }

    fn issue(
        &self,
        subject: &X509Name,
        usage: openssl::x509::X509Extension,
        sans: Option<&SubjectAlternativeName>,
    ) -> Result<Identity, AuthorityError> {
        let key = new_key()?;
        let mut builder = start(subject, &key)?;
        builder.set_issuer_name(self.certificate.subject_name())?;
        builder.append_extension(BasicConstraints::new().critical().build()?)?;
        builder.append_extension(KeyUsage::new().critical().digital_signature().build()?)?;
        builder.append_extension(usage)?;
        let issuer = builder.x509v3_context(Some(&self.certificate), None);
        let identifiers = [
            SubjectKeyIdentifier::new().build(&issuer)?,
            AuthorityKeyIdentifier::new().keyid(true).build(&issuer)?,
        ];
        let sans = sans.map(|sans| sans.build(&issuer)).transpose()?;
        for extension in identifiers.into_iter().chain(sans) {
            builder.append_extension(extension)?;
        }
        builder.sign(&self.key, MessageDigest::sha256())?;
        let cert_pem = text(builder.build().to_pem()?)?;
        Ok(Identity { cert_pem, key_pem: text(key.private_key_to_pem_pkcs8()?)? })
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

fn new_key() -> Result<PKey<Private>, ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    PKey::from_ec_key(EcKey::generate(&group)?)
}

fn distinguished_name(common_name: &str, organisations: &[&str]) -> Result<X509Name, ErrorStack> {
    let mut name = X509NameBuilder::new()?;
    for organisation in organisations {
        name.append_entry_by_nid(Nid::ORGANIZATIONNAME, organisation)?;
    }
    name.append_entry_by_nid(Nid::COMMONNAME, common_name)?;
    Ok(name.build())
}

fn start(subject: &X509Name, key: &PKey<Private>) -> Result<X509Builder, AuthorityError> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .ok_or_else(|| AuthorityError("the clock is before 1970".to_owned()))?;
    let not_before = now.saturating_sub(BACKDATED);
    let not_after = not_before.saturating_add(LIFETIME_DAYS * 86_400);
    let mut serial = BigNum::new()?;
    serial.rand(SERIAL_BITS, MsbOption::MAYBE_ZERO, false)?;
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    builder.set_serial_number(&*Asn1Integer::from_bn(&serial)?)?;
    builder.set_not_before(&*Asn1Time::from_unix(not_before)?)?;
    builder.set_not_after(&*Asn1Time::from_unix(not_after)?)?;
    builder.set_subject_name(subject)?;
    builder.set_pubkey(key)?;
    Ok(builder)
}

fn text(pem: Vec<u8>) -> Result<String, AuthorityError> {
    String::from_utf8(pem).map_err(|_| AuthorityError("PEM that is no text".to_owned()))
}
