//! Client certificates: the common name is the user, the organisations are the groups.
//!
//! Source: `CommonNameUserConversion` in `k8s.io/apiserver/pkg/authentication/request/x509/x509.go`.

use std::sync::Arc;

use data_encoding::HEXLOWER;
use jiff::Timestamp;

use super::said::Said;
use crate::model::Subject;
use crate::tls::{ClientAuthorities, PresentedCertificate};

/// The key of `extra` that says which credential it was (`k8s.io/apiserver/pkg/authentication/user`,
/// `CredentialIDKey`).
pub(super) const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// The authorities whose client certificates are users.
#[derive(Debug)]
pub struct ClientCertificates {
    authorities: Arc<ClientAuthorities>,
}

impl ClientCertificates {
    /// Users are who has a certificate of these.
    #[must_use]
    pub fn new(authorities: Arc<ClientAuthorities>) -> Self {
        Self { authorities }
    }

    pub(super) fn authorities(&self) -> &ClientAuthorities {
        &self.authorities
    }

    pub(super) fn authenticate(&self, presented: Option<&PresentedCertificate>, now: Timestamp) -> Said {
        let Some(presented) = presented else {
            return Said::nothing("no client certificate was presented");
        };
        let certificate = match self.authorities.verify(presented, now) {
            Ok(certificate) => certificate,
            Err(refusal) => {
                return Said::refused(format!("the client certificate is not believed: {refusal}"));
            }
        };
        let Some(user) = certificate.common_name else {
            return Said::refused("the client certificate has no common name, or several: that is no user");
        };
        let id = format!("X509SHA256={}", HEXLOWER.encode(presented.fingerprint()));
        let subject = Subject {
            user,
            groups: certificate.organisations,
            extra: [(CREDENTIAL_ID.to_owned(), vec![id])].into(),
            ..Subject::default()
        };
        Said::who(subject, "the client certificate is of a known authority; its common name is the user")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{Authority, Identity};

    fn said(authority: &Authority, identity: Option<&Identity>) -> Said {
        let authorities = ClientAuthorities::from_pem("test", authority.ca_pem()).unwrap();
        let presented = identity.map(|identity| PresentedCertificate::from_pem(&identity.cert_pem).unwrap());
        ClientCertificates::new(authorities).authenticate(presented.as_ref(), Timestamp::now())
    }

    #[test]
    fn the_common_name_is_the_user_and_the_organisations_are_groups() {
        let authority = Authority::new("ca").unwrap();
        let ada = authority.client("ada", &["dev", "system:masters"]).unwrap();
        let Said::Who(subject, _) = said(&authority, Some(&ada)) else { panic!() };
        assert_eq!(
            (subject.user.as_str(), &subject.groups[..]),
            ("ada", &["dev", "system:masters"].map(String::from)[..])
        );
        assert!(subject.extra[CREDENTIAL_ID][0].starts_with("X509SHA256="));
    }

    #[test]
    fn what_does_not_verify_is_refused_and_no_certificate_is_nothing() {
        let (ours, theirs) = (Authority::new("ca").unwrap(), Authority::new("ca").unwrap());
        let ada = theirs.client("ada", &["system:masters"]).unwrap();
        assert!(matches!(said(&ours, Some(&ada)), Said::Refused(_)));
        assert!(matches!(said(&ours, None), Said::Nothing(_)));
    }
}
