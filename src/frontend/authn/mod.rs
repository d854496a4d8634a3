//! The first stage: are you who you say you are? Authenticators in a fixed order, then impersonation.
//!
//! | in order | a request shows | who it is | file |
//! |---|---|---|---|
//! | authenticating proxy | a proxy's certificate and `X-Remote-*` | whom the proxy names | `request_header.rs` |
//! | client certificate | a certificate | its common name | `certificate.rs` |
//! | static token file | `Authorization: Bearer` | whose line it is | `token_file.rs` |
//! | ServiceAccount token | the same | the account | `service_account/` |
//! | TokenReview webhook | the same | whom the webhook names | `token_review.rs` |
//! | HTTP basic | `Authorization: Basic` | the directory's user | `basic/` |
//! | anonymous | nothing | `system:anonymous` | here |
//!
//! The first that says yes ends it. One that says no does not: another credential of the request may be good, as
//! in an API server's `union` (`k8s.io/apiserver/pkg/authentication/request/union`). But whoever showed a
//! credential and had none that is good is nobody, and never anonymous.
//!
//! To everybody is added from where the request came, under [`Authenticators::source_address_key`] of `extra`: the
//! peer's address, or the one that a verified proxy names. Nobody else can say it.

mod authorization;
mod basic;
mod certificate;
mod digest;
mod headers;
pub mod impersonation;
mod jwt;
mod remembered;
mod request_header;
mod review;
mod said;
mod service_account;
mod settings;
mod token_file;
mod token_review;
mod turns;

use std::sync::Arc;
use std::time::Instant;

use actix_web::http::header::HeaderMap;
use jiff::Timestamp;

use super::journey::Step;
use super::status::ApiError;
use crate::model::Subject;
use crate::server::Peer;
use crate::tls::Watcher;
use authorization::Shown;
use said::{Hearing, Said};

pub use basic::{Basic, MAX_FAILURES, SUCCESS_CACHE, WINDOW};
pub use certificate::ClientCertificates;
pub use request_header::RequestHeader;
pub use service_account::{
    Bound, DEFAULT_EXPIRATION_SECONDS, DEFAULT_MAX_EXPIRATION, Issued, Issuer, MAX_AUDIENCES,
    MAX_EXPIRATION_SECONDS, MIN_EXPIRATION_SECONDS, Objects, ServiceAccountTokens, TokenError, TokenSpec,
    group_names, split_user_name, user_name,
};
pub use settings::{
    Parts, RequestHeaderSettings, ServiceAccountSettings, Settings, SetupError, SigningKeySource,
    TokenReviewSettings,
};
pub use token_file::{LineFault, TokenFile, TokenFileError};
pub use token_review::{DEFAULT_CACHE, TokenReview};

/// Who nobody in particular is (`k8s.io/apiserver/pkg/authentication/user`).
pub const ANONYMOUS: &str = "system:anonymous";
/// The group of who is known.
pub const AUTHENTICATED_GROUP: &str = "system:authenticated";
/// The group of who is not.
pub const UNAUTHENTICATED_GROUP: &str = "system:unauthenticated";
/// The key of `extra` with the source address, unless the settings say otherwise.
pub const SOURCE_ADDRESS_KEY: &str = "bailiwick.dev/source-address";

const PROXY: &str = "authenticating proxy";
const CERTIFICATE: &str = "client certificate";
const AUTHORIZATION: &str = "credentials";
const BEARER: &str = "bearer token";
const TOKEN_FILE: &str = "static token file";
const SERVICE_ACCOUNT: &str = "ServiceAccount token";
const TOKEN_REVIEW: &str = "TokenReview webhook";
const BASIC: &str = "HTTP basic";
const NOBODY: &str = "anonymous";

/// Somebody who showed who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticated {
    /// Who.
    pub subject: Subject,
    /// How, as `client certificate`.
    pub method: &'static str,
}

/// What the stage found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentication {
    /// Who asks; `None`: nobody that is let in, and the answer is 401.
    pub who: Option<Authenticated>,
    /// What each authenticator said, in its order. Never a token or a password.
    pub steps: Vec<Step>,
}

/// What of a request is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Who sent it. Its certificate is looked at where the listener asked for one without judging it
    /// ([`ServerContext::asking`](crate::tls::ServerContext::asking)).
    pub peer: &'a Peer,
    /// Its query, decoded.
    pub query: &'a [(String, String)],
}

/// All authenticators; those that are not there are not asked.
#[derive(Debug)]
pub struct Authenticators {
    /// Proxies that are believed.
    pub request_header: Option<RequestHeader>,
    /// Client certificates.
    pub client_certificates: Option<ClientCertificates>,
    /// Static tokens.
    pub token_file: Option<Arc<TokenFile>>,
    /// ServiceAccount tokens; they are issued here too.
    pub service_accounts: Option<Arc<ServiceAccountTokens>>,
    /// A webhook that knows tokens.
    pub token_review: Option<TokenReview>,
    /// The directory's users.
    pub basic: Option<Basic>,
    /// Whether who shows nothing is let in, as nobody in particular.
    pub anonymous: bool,
    /// The key of `extra` with the source address, in lower case.
    pub source_address_key: String,
    /// What keeps files fresh, for as long as this lives.
    pub watchers: Vec<Watcher>,
}

impl Default for Authenticators {
    /// Nobody is let in.
    fn default() -> Self {
        Self {
            request_header: None,
            client_certificates: None,
            token_file: None,
            service_accounts: None,
            token_review: None,
            basic: None,
            anonymous: false,
            source_address_key: SOURCE_ADDRESS_KEY.to_owned(),
            watchers: Vec::new(),
        }
    }
}

impl Authenticators {
    /// Who sent a request.
    pub async fn authenticate(&self, request: &Head<'_>, now: Timestamp) -> Authentication {
        let mut hearing = Hearing::default();
        let mut who = self.by_connection(&mut hearing, request, now);
        if who.is_none() {
            who = self.by_header(&mut hearing, request, now).await;
        }
        if let Some(found) = &mut who {
            add_group(&mut found.subject);
        } else {
            who = self.nobody(&mut hearing);
        }
        if let Some(found) = &mut who {
            self.add_source_address(found, request.peer);
        }
        hearing.end(who)
    }

    /// Whom a request is to be carried out as, where it says so: see [`impersonation::read`].
    ///
    /// # Errors
    /// As for [`impersonation::read`].
    pub fn impersonation(
        &self,
        headers: &HeaderMap,
    ) -> Result<Option<impersonation::Impersonation>, ApiError> {
        impersonation::read(headers, &self.source_address_key)
    }

    /// By what the connection shows: the certificate of a proxy, or of a user.
    fn by_connection(
        &self,
        hearing: &mut Hearing,
        request: &Head<'_>,
        now: Timestamp,
    ) -> Option<Authenticated> {
        let presented = request.peer.presented.as_deref();
        if let Some(proxies) = &self.request_header {
            let began = Instant::now();
            let said = proxies.authenticate(request.headers, presented, now);
            if let Some(found) = hearing.hear(PROXY, began, said) {
                return Some(found);
            }
        }
        let began = Instant::now();
        match (&self.client_certificates, &self.request_header, presented) {
            (Some(users), ..) => hearing.hear(CERTIFICATE, began, users.authenticate(presented, now)),
            (None, Some(proxies), Some(presented)) if !proxies.knows(presented, now) => hearing.hear(
                CERTIFICATE,
                began,
                Said::refused("the client certificate is no proxy's, and no other certificates are known"),
            ),
            (None, ..) => None,
        }
    }

    /// By what stands in a header.
    async fn by_header(
        &self,
        hearing: &mut Hearing,
        request: &Head<'_>,
        now: Timestamp,
    ) -> Option<Authenticated> {
        let began = Instant::now();
        let shown = Shown::read(request.headers, request.query);
        if let Shown::Unusable(why) = shown {
            return hearing.hear(AUTHORIZATION, began, Said::refused(why));
        }
        let token = if let Shown::Bearer(token) = shown { Some(token) } else { None };
        if let Some(found) = self.by_token(hearing, token, now).await {
            return Some(found);
        }
        let began = Instant::now();
        let said = match (&self.basic, shown) {
            (Some(users), Shown::Basic(credentials)) => users.authenticate(credentials, now).await,
            (Some(_), _) => Said::nothing("no user and password were presented"),
            (None, Shown::Basic(_)) => Said::refused("user and password are not taken here"),
            (None, _) => return None,
        };
        hearing.hear(BASIC, began, said)
    }

    /// By a bearer token.
    async fn by_token(
        &self,
        hearing: &mut Hearing,
        token: Option<&str>,
        now: Timestamp,
    ) -> Option<Authenticated> {
        let absent = || Said::nothing("no bearer token was presented");
        if let Some(file) = &self.token_file {
            let began = Instant::now();
            let said = token.map_or_else(absent, |token| file.authenticate(token));
            if let Some(found) = hearing.hear(TOKEN_FILE, began, said) {
                return Some(found);
            }
        }
        if let Some(accounts) = &self.service_accounts {
            let began = Instant::now();
            let said = token.map_or_else(absent, |token| accounts.authenticate(token, now));
            // A token of this issuer is no other's, and its text is nothing to be sent around.
            let is_final = matches!(said, Said::Who(..) | Said::Refused(_));
            let found = hearing.hear(SERVICE_ACCOUNT, began, said);
            if is_final {
                return found;
            }
        }
        if let Some(webhook) = &self.token_review {
            let began = Instant::now();
            let said = match token {
                Some(token) => webhook.authenticate(token, now).await,
                None => absent(),
            };
            if let Some(found) = hearing.hear(TOKEN_REVIEW, began, said) {
                return Some(found);
            }
        }
        match token {
            Some(_) => {
                hearing.hear(BEARER, Instant::now(), Said::refused("nobody here knows the bearer token"))
            }
            None => None,
        }
    }

    /// Nobody in particular, where that may be.
    fn nobody(&self, hearing: &mut Hearing) -> Option<Authenticated> {
        let began = Instant::now();
        let said = if hearing.is_refused() {
            Said::refused("a credential was presented and is not good: whoever presents one is not anonymous")
        } else if self.anonymous {
            let subject = Subject {
                user: ANONYMOUS.to_owned(),
                groups: vec![UNAUTHENTICATED_GROUP.to_owned()],
                ..Subject::default()
            };
            Said::who(subject, "no credential was presented, so it is nobody in particular")
        } else {
            Said::refused("no credential was presented, and nobody is let in without one")
        };
        hearing.hear(NOBODY, began, said)
    }

    /// Says from where a request came. Only a proxy that was verified may have said it.
    fn add_source_address(&self, found: &mut Authenticated, peer: &Peer) {
        let key = &self.source_address_key;
        let extra = &mut found.subject.extra;
        let is_proxys = found.method == PROXY;
        extra.retain(|other, _| (is_proxys && other == key) || !other.eq_ignore_ascii_case(key));
        extra.entry(key.clone()).or_insert_with(|| vec![peer.address.ip().to_canonical().to_string()]);
    }
}

/// Somebody as `authentication/v1.UserInfo` has them.
#[must_use]
pub fn user_info(subject: &Subject) -> serde_json::Value {
    let mut user = serde_json::json!({"username": subject.user});
    if let Some(fields) = user.as_object_mut() {
        if !subject.uid.is_empty() {
            fields.insert("uid".into(), subject.uid.clone().into());
        }
        if !subject.groups.is_empty() {
            fields.insert("groups".into(), subject.groups.clone().into());
        }
        if !subject.extra.is_empty() {
            fields.insert("extra".into(), serde_json::json!(subject.extra));
        }
    }
    user
}

/// `NewAuthenticatedGroupAdder` in `k8s.io/apiserver/pkg/authentication/group`.
fn add_group(subject: &mut Subject) {
    let is_said = |group: &String| group == AUTHENTICATED_GROUP || group == UNAUTHENTICATED_GROUP;
    if subject.user != ANONYMOUS && !subject.groups.iter().any(is_said) {
        subject.groups.push(AUTHENTICATED_GROUP.to_owned());
    }
}

#[cfg(test)]
mod tests;
