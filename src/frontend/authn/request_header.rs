//! An authenticating proxy, which says in headers who somebody is, and is believed because of its own client
//! certificate.
//!
//! Without a certificate of the proxies' authority, for one of the allowed names, the headers are as good as
//! absent: anybody can send them. A certificate of that authority makes nobody a user by itself.
//!
//! Source: `k8s.io/apiserver/pkg/authentication/request/headerrequest/requestheader.go` and `Verifier` in
//! `.../x509/x509.go`.

use std::sync::Arc;

use actix_web::http::header::HeaderMap;
use jiff::Timestamp;

use super::headers::{self, HeaderFault};
use super::said::Said;
use crate::model::Subject;
use crate::tls::{ClientAuthorities, PresentedCertificate};

const USER: &str = "x-remote-user";
const UID: &str = "x-remote-uid";
const GROUP: &str = "x-remote-group";
const EXTRA_PREFIX: &str = "x-remote-extra-";

/// The proxies that are believed.
#[derive(Debug)]
pub struct RequestHeader {
    authorities: Arc<ClientAuthorities>,
    allowed_names: Vec<String>,
}

impl RequestHeader {
    /// Proxies are who has a certificate of these authorities, for one of these common names; for any, where there
    /// are none.
    #[must_use]
    pub fn new(authorities: Arc<ClientAuthorities>, allowed_names: Vec<String>) -> Self {
        Self { authorities, allowed_names }
    }

    pub(super) fn authenticate(
        &self,
        headers: &HeaderMap,
        presented: Option<&PresentedCertificate>,
        now: Timestamp,
    ) -> Said {
        let Some(presented) = presented else {
            return Said::nothing("no client certificate was presented, so X-Remote-* headers say nothing");
        };
        let certificate = match self.authorities.verify(presented, now) {
            Ok(certificate) => certificate,
            // It may be a user's.
            Err(_) => {
                return Said::nothing(
                    "the client certificate is no proxy's, so X-Remote-* headers say nothing",
                );
            }
        };
        let name = certificate.common_name.unwrap_or_default();
        if !self.allowed_names.is_empty() && !self.allowed_names.contains(&name) {
            return Said::refused(
                "the client certificate is of the proxies' authority, and its name is not allowed",
            );
        }
        match subject(headers) {
            Ok(Some(subject)) => Said::who(subject, "a proxy that is believed says in X-Remote-* who it is"),
            Ok(None) => Said::nothing("the proxy does not say who it is: X-Remote-User is absent or empty"),
            Err(fault) => Said::refused(format!("the proxy's headers cannot be read: {fault}")),
        }
    }

    /// Whether every user with a certificate of these authorities would be believed as a proxy.
    pub(super) fn believes_all_of(&self, users: &ClientAuthorities) -> bool {
        self.allowed_names.is_empty() && self.authorities.share_any(users)
    }

    /// Whether a certificate is one of the proxies' authority.
    pub(super) fn knows(&self, presented: &PresentedCertificate, now: Timestamp) -> bool {
        self.authorities.verify(presented, now).is_ok()
    }
}

fn subject(headers: &HeaderMap) -> Result<Option<Subject>, HeaderFault> {
    let Some(user) = headers::one(headers, USER)? else { return Ok(None) };
    Ok(Some(Subject {
        user,
        uid: headers::one(headers, UID)?.unwrap_or_default(),
        groups: headers::all(headers, GROUP)?,
        extra: headers::by_key(headers, EXTRA_PREFIX)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{Authority, Identity};

    struct Fixture {
        proxies: Authority,
        users: Authority,
        authenticator: RequestHeader,
    }

    impl Fixture {
        fn new(allowed: &[&str]) -> Self {
            let (proxies, users) = (Authority::new("front-proxy").unwrap(), Authority::new("users").unwrap());
            let authorities = ClientAuthorities::from_pem("test", proxies.ca_pem()).unwrap();
            let allowed = allowed.iter().map(|name| (*name).to_owned()).collect();
            Self { proxies, users, authenticator: RequestHeader::new(authorities, allowed) }
        }

        fn said(&self, identity: Option<&Identity>, headers: &[(&str, &str)]) -> Said {
            let presented = identity.map(|it| PresentedCertificate::from_pem(&it.cert_pem).unwrap());
            self.authenticator.authenticate(&headers::of(headers), presented.as_ref(), Timestamp::now())
        }
    }

    const ROOT: [(&str, &str); 2] = [("X-Remote-User", "root"), ("X-Remote-Group", "system:masters")];

    #[test]
    fn a_proxy_says_who_it_is_by_headers_of_any_case() {
        let fixture = Fixture::new(&["proxy"]);
        let proxy = fixture.proxies.client("proxy", &[]).unwrap();
        let said = fixture.said(
            Some(&proxy),
            &[
                ("X-REMOTE-USER", "ada"),
                ("x-remote-uid", "7"),
                ("X-Remote-Group", "dev"),
                ("x-remote-GROUP", "ops"),
                ("X-Remote-Extra-Acme.com%2FTeam", "Red"),
            ],
        );
        let Said::Who(subject, _) = said else { panic!("{said:?}") };
        assert_eq!((subject.user.as_str(), subject.uid.as_str()), ("ada", "7"));
        assert_eq!(subject.groups, ["dev", "ops"]);
        assert_eq!(subject.extra["acme.com/team"], ["Red"]);
    }

    #[test]
    fn without_a_certificate_of_a_proxy_the_headers_say_nothing() {
        let fixture = Fixture::new(&[]);
        let user = fixture.users.client("proxy", &[]).unwrap();
        let forged = Authority::new("front-proxy").unwrap().client("proxy", &[]).unwrap();
        for identity in [None, Some(&user), Some(&forged)] {
            assert!(matches!(fixture.said(identity, &ROOT), Said::Nothing(_)));
        }
    }

    #[test]
    fn a_name_that_is_not_allowed_is_refused_and_any_is_where_none_is_named() {
        let stranger = |fixture: &Fixture| fixture.proxies.client("other", &[]).unwrap();
        let fixture = Fixture::new(&["proxy"]);
        assert!(matches!(fixture.said(Some(&stranger(&fixture)), &ROOT), Said::Refused(_)));
        let fixture = Fixture::new(&[]);
        assert!(matches!(fixture.said(Some(&stranger(&fixture)), &ROOT), Said::Who(..)));
    }

    #[test]
    fn a_proxys_certificate_alone_is_nobody_and_two_users_are_nobody() {
        let fixture = Fixture::new(&["proxy"]);
        let proxy = fixture.proxies.client("proxy", &["system:masters"]).unwrap();
        assert!(matches!(fixture.said(Some(&proxy), &[]), Said::Nothing(_)));
        assert!(matches!(fixture.said(Some(&proxy), &[("X-Remote-User", ""), ROOT[1]]), Said::Nothing(_)));
        assert!(matches!(fixture.said(Some(&proxy), &[ROOT[0], ("X-Remote-User", "ada")]), Said::Refused(_)));
    }
}
