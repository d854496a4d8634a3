//! ServiceAccount tokens: issued here for an audience and a time, bound to the account and if wished to a pod, and
//! good for as long as these are there.
//!
//! Source: `pkg/serviceaccount/claims.go` and `jwt.go`, `pkg/registry/core/serviceaccount/storage/token.go`,
//! `k8s.io/apiserver/pkg/authentication/serviceaccount/util.go`. Where this one is stricter: no leeway (`go-jose`
//! grants a minute), `sub` must agree with the other claims, every claim must be there, `kid` too.

mod claims;
mod names;
mod openid;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use uuid::Uuid;

use super::certificate::CREDENTIAL_ID;
use super::jwt::{self, Unverified};
use super::said::Said;
use crate::model::Subject;
use crate::tls::{KeyError, SigningKey, VerifyingKey};
use claims::{Claims, Kubernetes, Reference};
pub use names::{group_names, split_user_name, user_name};

/// The least time that a token may be asked for, in seconds (`pkg/apis/authentication/validation`).
pub const MIN_EXPIRATION_SECONDS: i64 = 10 * 60;
/// The most, in seconds. What is above the issuer's own limit is cut to that.
pub const MAX_EXPIRATION_SECONDS: i64 = 1 << 32;
/// The time for who does not say, in seconds (`defaultExpirationSeconds` of the TokenRequest).
pub const DEFAULT_EXPIRATION_SECONDS: i64 = 60 * 60;
/// The issuer's own limit unless it says otherwise (`--service-account-max-token-expiration`, which has none).
pub const DEFAULT_MAX_EXPIRATION: SignedDuration = SignedDuration::from_hours(24);
/// The most audiences of one token.
pub const MAX_AUDIENCES: usize = 64;

const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
const NODE_UID: &str = "authentication.kubernetes.io/node-uid";

/// What is stored, as far as tokens are bound to it.
pub trait Objects: Send + Sync {
    /// The UID of an object: of `serviceaccounts`, `pods`, `secrets` or `nodes` (whose namespace is empty); `None`
    /// where there is none, or where it is being deleted.
    fn uid(&self, kind: &str, namespace: &str, name: &str) -> Option<String>;
}

/// Who issues, and what for.
#[derive(Debug, Clone)]
pub struct Issuer {
    /// `iss`: a URL, compared byte for byte.
    pub url: String,
    /// The audiences that this API server is; the first of tokens for which none is asked. At least one.
    pub audiences: Vec<String>,
    /// The longest life of a token.
    pub max_expiration: SignedDuration,
    /// Where the keys are said to be; `None`: at `/openid/v1/jwks` below the issuer's URL.
    pub jwks_uri: Option<String>,
}

/// Issues tokens and knows them again.
pub struct ServiceAccountTokens {
    issuer: Issuer,
    signing: Option<SigningKey>,
    /// That of `signing` first.
    keys: Vec<VerifyingKey>,
    objects: Arc<dyn Objects>,
}

/// What token is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSpec {
    /// The ServiceAccount's namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Whom it is for; none: this API server.
    pub audiences: Vec<String>,
    /// How long it is to be good, in seconds; `None`: [`DEFAULT_EXPIRATION_SECONDS`].
    pub expiration_seconds: Option<i64>,
    /// The object that the token ends with.
    pub bound: Option<Bound>,
}

/// An object that a token ends with. The caller has seen that it is there, with this UID, and is the account's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// `Pod`, `Secret` or `Node`.
    pub kind: String,
    /// `v1`.
    pub api_version: String,
    /// Its name; it stands in the account's namespace, unless it is a node.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

/// A token.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    /// The secret.
    pub token: String,
    /// From when on it is no longer good.
    pub expires: Timestamp,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// `spec.expirationSeconds`.
    #[error("may not specify a duration less than 10 minutes")]
    TooShort,
    /// `spec.expirationSeconds`.
    #[error("may not specify a duration larger than 2^32 seconds")]
    TooLong,
    /// `spec.audiences`.
    #[error("must have at most {MAX_AUDIENCES} items")]
    TooManyAudiences,
    /// `spec.boundObjectRef`.
    #[error("cannot bind token to object of type {0}")]
    Unbindable(String),
    /// This one only verifies.
    #[error("no key to sign with is configured")]
    NoKey,
    /// OpenSSL cannot sign, or the clock is at its end.
    #[error("cannot sign: {0}")]
    Sign(String),
}

impl From<KeyError> for TokenError {
    fn from(error: KeyError) -> Self {
        Self::Sign(error.to_string())
    }
}

impl ServiceAccountTokens {
    /// An issuer that signs with a key, and believes it and others (of before, or of another server).
    #[must_use]
    pub fn new(
        issuer: Issuer,
        signing: Option<SigningKey>,
        others: Vec<VerifyingKey>,
        objects: Arc<dyn Objects>,
    ) -> Self {
        let mut keys: Vec<VerifyingKey> = signing.iter().map(|key| key.public().clone()).collect();
        for key in others {
            if keys.iter().all(|known| known.id() != key.id()) {
                keys.push(key);
            }
        }
        Self { issuer, signing, keys, objects }
    }

    /// For whom tokens are that are taken here.
    #[must_use]
    pub fn audiences(&self) -> &[String] {
        &self.issuer.audiences
    }

    /// A token.
    ///
    /// # Errors
    /// Where what is wanted is not to be had, and where it cannot be signed.
    pub fn issue(&self, spec: TokenSpec, now: Timestamp) -> Result<Issued, TokenError> {
        let TokenSpec { namespace, name, uid, audiences, expiration_seconds, bound } = spec;
        let seconds = self.lifetime(expiration_seconds)?;
        if audiences.len() > MAX_AUDIENCES {
            return Err(TokenError::TooManyAudiences);
        }
        let signing = self.signing.as_ref().ok_or(TokenError::NoKey)?;
        let issued = now.as_second();
        let expires = Timestamp::from_second(issued.saturating_add(seconds));
        let expires = expires.map_err(|error| TokenError::Sign(error.to_string()))?;
        let mut kubernetes = Kubernetes {
            serviceaccount: Reference { name: name.clone(), uid },
            namespace: namespace.clone(),
            ..Kubernetes::default()
        };
        if let Some(bound) = bound {
            kubernetes.bind(bound)?;
        }
        let claims = Claims {
            iss: self.issuer.url.clone(),
            sub: user_name(&namespace, &name),
            aud: if audiences.is_empty() { self.issuer.audiences.clone() } else { audiences },
            exp: expires.as_second(),
            iat: issued,
            nbf: issued,
            jti: Uuid::new_v4().to_string(),
            kubernetes,
        };
        Ok(Issued { token: jwt::sign(signing, &claims.to_json())?, expires })
    }

    fn lifetime(&self, wanted: Option<i64>) -> Result<i64, TokenError> {
        match wanted.unwrap_or(DEFAULT_EXPIRATION_SECONDS) {
            ..MIN_EXPIRATION_SECONDS => Err(TokenError::TooShort),
            seconds if seconds > MAX_EXPIRATION_SECONDS => Err(TokenError::TooLong),
            // A limit below the least is one of somebody who knows what they do.
            seconds => Ok(seconds.min(self.issuer.max_expiration.as_secs().max(1))),
        }
    }

    /// Whom a token says that it is for; `None` where it is none of this issuer. Nothing of it is verified.
    pub(super) fn audiences_of(&self, token: &str) -> Option<Vec<String>> {
        let unverified = Unverified::parse(token).ok()?;
        (unverified.issuer() == Some(&self.issuer.url)).then(|| unverified.audiences())
    }

    /// Whose token it is. Another issuer's is left to others.
    pub(super) fn authenticate(&self, token: &str, now: Timestamp) -> Said {
        let not_ours = "the bearer token is no ServiceAccount token of this issuer";
        let Ok(unverified) = Unverified::parse(token) else { return Said::nothing(not_ours) };
        if unverified.issuer() != Some(&self.issuer.url) {
            return Said::nothing(not_ours);
        }
        let refused = |why: &dyn std::fmt::Display| {
            Said::refused(format!("the ServiceAccount token is not good: {why}"))
        };
        let claims = match unverified.verify(&self.keys) {
            Ok(claims) => claims,
            Err(fault) => return refused(&fault),
        };
        match self.subject(claims, now) {
            Ok(subject) => {
                Said::who(subject, "a ServiceAccount token of this issuer, for this audience, in its time")
            }
            Err(why) => refused(&why),
        }
    }

    /// Who it is, by claims that are signed.
    fn subject(&self, claims: Value, now: Timestamp) -> Result<Subject, &'static str> {
        let claims = Claims::read(claims).ok_or("its claims are not those of a ServiceAccount token")?;
        if claims.exp <= now.as_second() {
            return Err("it has expired");
        }
        if claims.nbf > now.as_second() || claims.iat > now.as_second() {
            return Err("its time has not begun");
        }
        if !claims.aud.iter().any(|audience| self.issuer.audiences.contains(audience)) {
            return Err("it is for another audience");
        }
        let Kubernetes { namespace, serviceaccount, .. } = &claims.kubernetes;
        if claims.sub != user_name(namespace, &serviceaccount.name) {
            return Err("its subject is not its ServiceAccount");
        }
        self.is_there(&claims.kubernetes)?;
        Ok(subject(claims))
    }

    /// Whether everything that it is bound to is still there, and is what it was.
    fn is_there(&self, bound: &Kubernetes) -> Result<(), &'static str> {
        let Kubernetes { namespace, serviceaccount, pod, secret, node } = bound;
        let is = |kind, namespace: &str, object: &Reference| {
            self.objects.uid(kind, namespace, &object.name).is_some_and(|uid| uid == object.uid)
        };
        if !is("serviceaccounts", namespace, serviceaccount) {
            return Err("its ServiceAccount is gone, or another one by now");
        }
        if pod.as_ref().is_some_and(|pod| !is("pods", namespace, pod)) {
            return Err("the pod that it is bound to is gone, or another one by now");
        }
        if secret.as_ref().is_some_and(|secret| !is("secrets", namespace, secret)) {
            return Err("the secret that it is bound to is gone, or another one by now");
        }
        // A pod's token only tells of its node.
        if pod.is_none() && node.as_ref().is_some_and(|node| !is("nodes", "", node)) {
            return Err("the node that it is bound to is gone, or another one by now");
        }
        Ok(())
    }
}

impl std::fmt::Debug for ServiceAccountTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceAccountTokens")
            .field("issuer", &self.issuer)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

/// `ServiceAccountInfo.UserInfo`.
fn subject(claims: Claims) -> Subject {
    let Claims { sub, jti, kubernetes: Kubernetes { namespace, serviceaccount, pod, node, .. }, .. } = claims;
    let mut extra = std::collections::BTreeMap::new();
    let mut say = |key: &str, value: String| extra.insert(key.to_owned(), vec![value]);
    say(CREDENTIAL_ID, format!("JTI={jti}"));
    if let Some(pod) = pod {
        say(POD_NAME, pod.name);
        say(POD_UID, pod.uid);
    }
    if let Some(node) = node {
        say(NODE_NAME, node.name);
        say(NODE_UID, node.uid);
    }
    Subject { user: sub, uid: serviceaccount.uid, groups: group_names(&namespace), extra }
}

#[cfg(test)]
mod tests;
