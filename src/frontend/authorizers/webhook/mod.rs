//! Somebody else is asked: a SubjectAccessReview over HTTPS, with an API server's retries and cache.
//!
//! Sources: `k8s.io/apiserver/plugin/pkg/authorizer/webhook/webhook.go`, `k8s.io/apiserver/pkg/util/webhook/webhook.go`.

mod call;
mod conditions;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::Opinion;
use crate::cache::TtlCache;
use crate::frontend::kubeconfig::Endpoint;
use crate::model::{Action, Decision, Request};
use crate::review::{Reply, Version, spec_to_json, write_request};

use call::Caller;
pub use call::{
    CallError, EndpointError, MAX_CONCURRENT_CALLS, MAX_IDLE_CONNECTIONS, MAX_REPLY_BYTES, Retry,
};
use conditions::Matching;
pub use conditions::{Conditions, MAX_CONDITIONS};

/// How many replies are kept.
pub const MAX_CACHED_REPLIES: u64 = 8192;
/// For how long an Allow is kept unless it is said otherwise.
pub const DEFAULT_AUTHORIZED_TTL: Duration = Duration::from_secs(5 * 60);
/// For how long anything else is kept unless it is said otherwise.
pub const DEFAULT_UNAUTHORIZED_TTL: Duration = Duration::from_secs(30);
/// How long one try may take unless it is said otherwise, and at most.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(30);
/// The reply to a request whose verb, namespace, path and the like have as many bytes together is not kept: whoever asks
/// chooses them.
pub const MAX_CACHED_ATTRIBUTE_BYTES: usize = 10_000;

/// How much of a reason, and of an evaluation error, is kept and shown, in characters: it comes from outside.
pub const MAX_REASON_CHARS: usize = 1_000;

/// What the webhook is asked, and how long its word holds.
#[derive(Debug)]
pub struct Settings {
    /// The version of the reviews.
    pub version: Version,
    /// How long one try may take, connecting included; at most [`MAX_TIMEOUT`].
    pub timeout: Duration,
    /// For how long an Allow is kept; `None`: not at all.
    pub authorized_ttl: Option<Duration>,
    /// For how long anything else is kept; `None`: not at all.
    pub unauthorized_ttl: Option<Duration>,
    /// What is decided where there is no reply.
    pub failure_policy: FailurePolicy,
    /// What must hold for the webhook to be asked.
    pub conditions: Conditions,
    /// How it is tried again.
    pub retry: Retry,
}

/// What is decided where the webhook does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailurePolicy {
    /// The next authoriser is asked: it fails open.
    NoOpinion,
    /// The request is refused: it fails closed.
    Deny,
}

impl Default for Settings {
    /// What an API server's flags default to, `--authorization-webhook-version=v1beta1` among them.
    fn default() -> Self {
        Self {
            version: Version::V1beta1,
            timeout: MAX_TIMEOUT,
            authorized_ttl: Some(DEFAULT_AUTHORIZED_TTL),
            unauthorized_ttl: Some(DEFAULT_UNAUTHORIZED_TTL),
            failure_policy: FailurePolicy::NoOpinion,
            conditions: Conditions::default(),
            retry: Retry::default(),
        }
    }
}

/// The authoriser.
#[derive(Debug)]
pub struct Webhook {
    settings: Settings,
    caller: Caller,
    replies: TtlCache<[u8; 32], Reply>,
}

impl Webhook {
    /// Asks this server.
    ///
    /// # Errors
    /// Where its URL has a query, or is none.
    pub fn new(endpoint: Endpoint, settings: Settings) -> Result<Self, EndpointError> {
        let caller = Caller::new(endpoint, settings.timeout.min(MAX_TIMEOUT), settings.retry)?;
        Ok(Self { settings, caller, replies: TtlCache::new(MAX_CACHED_REPLIES) })
    }

    pub(super) async fn authorize(&self, request: &Request) -> Opinion {
        self.authorize_at(request, Instant::now()).await
    }

    /// As at this instant, as far as what is kept is concerned.
    async fn authorize_at(&self, request: &Request, now: Instant) -> Opinion {
        match self.settings.conditions.matching(request) {
            Matching::Yes => {}
            Matching::No(condition) => {
                return Opinion::none("", format!("the webhook is not asked: `{condition}` does not hold"));
            }
            Matching::Unknown(error) => {
                return self.failure(format!("failed to evaluate the match conditions: {error}"));
            }
        }
        let key = self.is_kept(request).then(|| cache_key(request));
        if let Some(reply) = key.and_then(|key| self.replies.get(&key, now)) {
            return opinion(reply, "the webhook said before, and its reply is kept");
        }
        let body = write_request(self.settings.version, request);
        let reply = match self.caller.ask(body).await {
            Ok(reply) => bounded(reply),
            Err(error) => return self.failure(error.to_string()),
        };
        let life = if reply.allowed { self.settings.authorized_ttl } else { self.settings.unauthorized_ttl };
        if let (Some(key), Some(until)) = (key, life.and_then(|life| now.checked_add(life))) {
            self.replies.insert(key, reply.clone(), until);
        }
        opinion(reply, "the webhook was asked and said")
    }

    /// Whether a reply to this would be kept at all.
    fn is_kept(&self, request: &Request) -> bool {
        let switched_on = self.settings.authorized_ttl.or(self.settings.unauthorized_ttl).is_some();
        switched_on && attribute_bytes(&request.action) < MAX_CACHED_ATTRIBUTE_BYTES
    }

    fn failure(&self, error: String) -> Opinion {
        let (decision, so) = match self.settings.failure_policy {
            FailurePolicy::NoOpinion => (Decision::NoOpinion, "by its failure policy that is no opinion"),
            FailurePolicy::Deny => (Decision::Deny, "by its failure policy that is a refusal"),
        };
        Opinion { decision, reason: "".into(), detail: format!("{error}; {so}"), error: Some(error) }
    }
}

fn bounded(mut reply: Reply) -> Reply {
    for text in [&mut reply.reason, &mut reply.evaluation_error] {
        if let Some((end, _)) = text.char_indices().nth(MAX_REASON_CHARS) {
            text.truncate(end);
            text.shrink_to_fit();
        }
    }
    reply
}

fn opinion(reply: Reply, how: &str) -> Opinion {
    let (decision, word, error) = match (reply.allowed, reply.denied) {
        (true, true) => {
            let error = "webhook subject access review returned both allow and deny response";
            (Decision::Deny, "both yes and no, which counts as no", Some(error.to_owned()))
        }
        (true, false) => (Decision::Allow, "yes", None),
        (false, true) => (Decision::Deny, "no", None),
        (false, false) => (Decision::NoOpinion, "nothing for or against it", None),
    };
    let mut detail = format!("{how}: {word}");
    for text in [&reply.reason, &reply.evaluation_error] {
        if !text.is_empty() {
            detail = format!("{detail} ({text})");
        }
    }
    Opinion { decision, reason: reply.reason.into(), error, detail }
}

/// The whole spec counts: user, groups in their order, extra, attributes, selectors. Its hash has one length however long
/// what was asked is.
fn cache_key(request: &Request) -> [u8; 32] {
    Sha256::digest(spec_to_json(Version::V1, request).to_string()).into()
}

fn attribute_bytes(action: &Action) -> usize {
    let texts: &[&String] = match action {
        Action::Resource(action) => &[
            &action.namespace,
            &action.verb,
            &action.group,
            &action.version,
            &action.resource,
            &action.subresource,
            &action.name,
        ],
        Action::NonResource(action) => &[&action.verb, &action.path],
    };
    texts.iter().map(|text| text.len()).fold(0, usize::saturating_add)
}
