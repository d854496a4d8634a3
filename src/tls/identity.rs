//! Who a verified peer is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use openssl::nid::Nid;
use openssl::x509::{X509NameEntryRef, X509NameRef, X509Ref};

/// What a verified client certificate says of its holder.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientCertificate {
    /// The subject's common name; Kubernetes reads it as the user name. `None` where there is none, where there are
    /// several (whose would count?), or where it is no text or holds a NUL.
    pub common_name: Option<String>,
    /// The subject's organisations in their order; Kubernetes reads them as groups. What is no text is left out.
    pub organisations: Vec<String>,
    /// The subject alternative names.
    pub sans: SubjectAltNames,
}

/// Subject alternative names (RFC 5280, 4.2.1.6), those that a client can be known by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubjectAltNames {
    /// DNS names, as written.
    pub dns: Vec<String>,
    /// URIs, such as SPIFFE ids, as written.
    pub uris: Vec<String>,
    /// IP addresses.
    pub addresses: Vec<IpAddr>,
}

impl ClientCertificate {
    /// Reads the names of a certificate; the caller has verified it.
    pub(super) fn of(certificate: &X509Ref) -> Self {
        let subject = certificate.subject_name();
        let mut common_names = subject.entries_by_nid(Nid::COMMONNAME);
        let common_name = match (common_names.next(), common_names.next()) {
            (Some(entry), None) => text(entry),
            _ => None,
        };
        Self {
            common_name,
            organisations: texts(subject, Nid::ORGANIZATIONNAME),
            sans: SubjectAltNames::of(certificate),
        }
    }
}

impl SubjectAltNames {
    fn of(certificate: &X509Ref) -> Self {
        let mut names = Self::default();
        for name in certificate.subject_alt_names().into_iter().flatten() {
            if let Some(dns) = name.dnsname().filter(|name| is_plain(name)) {
                names.dns.push(dns.to_owned());
            } else if let Some(uri) = name.uri().filter(|name| is_plain(name)) {
                names.uris.push(uri.to_owned());
            } else if let Some(address) = name.ipaddress().and_then(address) {
                names.addresses.push(address);
            }
        }
        names
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.contains('\0')
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(octets) {
        return Some(IpAddr::V4(Ipv4Addr::from(octets)));
    }
    <[u8; 16]>::try_from(octets).ok().map(|octets| IpAddr::V6(Ipv6Addr::from(octets)))
}

fn texts(subject: &X509NameRef, kind: Nid) -> Vec<String> {
    subject.entries_by_nid(kind).filter_map(text).collect()
}

/// A name that holds a NUL (which other software would take for its end, so that `admin\0.example` were `admin`), or that
/// is no text, is no name at all.
fn text(entry: &X509NameEntryRef) -> Option<String> {
    let name = entry.data().to_string().ok()?;
    (is_plain(&name) && !name.contains(char::REPLACEMENT_CHARACTER)).then_some(name)
}
