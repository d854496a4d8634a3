//! Bearer tokens that a webhook knows: a TokenReview (`authentication.k8s.io/v1`) by HTTPS.
//!
//! What the webhook says is taken as an API server takes it: names and groups of any kind, `system:masters` too.
//! Whoever configures it trusts it with everything.
//!
//! Source: `k8s.io/apiserver/plugin/pkg/authenticator/token/webhook/webhook.go`, `.../authentication/token/cache`,
//! and the types in <https://github.com/kubernetes/api/blob/master/authentication/v1/types.go>.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Semaphore;

use super::digest::Digester;
use super::jwt;
use super::remembered::Remembered;
use super::said::Said;
use super::turns::Turns;
use crate::frontend::kubeconfig::Endpoint;
use crate::model::Subject;
use crate::tls::https::Response;

/// How long an answer is good, yes or no, unless the settings say otherwise
/// (`--authentication-token-webhook-cache-ttl`).
pub const DEFAULT_CACHE: SignedDuration = SignedDuration::from_secs(120);
/// Answers that are kept.
const MAX_CACHED: usize = 4_096;
/// The longest that a request waits for the webhook, all tries together.
const DEADLINE: Duration = Duration::from_secs(10);
/// How many tokens it is asked for at one time; others wait, within their deadline. Whoever sends tokens that nobody knows
/// would else open connections without end.
const MAX_CONCURRENT_CALLS: usize = 256;
/// How often a webhook is asked that does not answer, or that says that it cannot
/// (`webhook.DefaultRetryBackoffWithInitialDelay`).
const TRIES: u32 = 5;
/// The pause before the second try; each further one is half as long again.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 256 * 1024;

/// A webhook that knows tokens.
#[derive(Debug)]
pub struct TokenReview {
    endpoint: Endpoint,
    audiences: Vec<String>,
    digester: Digester,
    answers: Remembered<Said>,
    turns: Turns,
    calls: Semaphore,
    pause: Duration,
}

impl TokenReview {
    /// A webhook that is asked for tokens for these audiences (none: for any), and whose answers are good for so
    /// long.
    ///
    /// # Errors
    /// Where the system has no randomness.
    pub fn new(
        endpoint: Endpoint,
        audiences: Vec<String>,
        cache: SignedDuration,
    ) -> Result<Self, getrandom::Error> {
        let Endpoint { url, client } = endpoint;
        let endpoint = Endpoint { url, client: client.with_max_body(MAX_ANSWER) };
        let digester = Digester::new()?;
        let answers = Remembered::new(MAX_CACHED, cache);
        let (turns, calls) = (Turns::default(), Semaphore::new(MAX_CONCURRENT_CALLS));
        Ok(Self { endpoint, audiences, digester, answers, turns, calls, pause: FIRST_PAUSE })
    }

    pub(super) async fn authenticate(&self, token: &str, now: Timestamp) -> Said {
        if token.len() > jwt::MAX_BYTES {
            return Said::refused("the bearer token is too long to be asked for");
        }
        let audiences = self.audiences.iter().map(String::as_str);
        let trace = self.digester.trace(std::iter::once(token).chain(audiences));
        if let Some(said) = self.answers.get(&trace, now) {
            return remembered(said);
        }
        let Some(_turn) = self.turns.turn(trace, DEADLINE).await else {
            return Said::failed(
                "the TokenReview webhook is being asked for the bearer token, and does not answer",
            );
        };
        if let Some(said) = self.answers.get(&trace, now) {
            return remembered(said);
        }
        let Ok(Ok(_call)) = tokio::time::timeout(DEADLINE, self.calls.acquire()).await else {
            return Said::failed("the TokenReview webhook is being asked for too many tokens");
        };
        match self.ask(token).await {
            Ok(said) => {
                self.answers.put(trace, said.clone(), now);
                said
            }
            Err(why) => Said::failed(format!("the TokenReview webhook cannot be asked: {why}")),
        }
    }

    async fn ask(&self, token: &str) -> Result<Said, String> {
        let review = json!({
            "kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {},
            "spec": {"token": token, "audiences": self.audiences},
        });
        let body = review.to_string();
        let deadline = Instant::now() + DEADLINE;
        let mut pause = self.pause;
        for last in (0..TRIES).map(|tried| tried + 1 == TRIES) {
            let posted =
                self.endpoint.client.post(&self.endpoint.url, "application/json", body.clone(), deadline);
            let why = match posted.await {
                Ok(response) if !may_pass(&response) => return self.read(&response),
                Ok(response) => format!("it answers {}", response.status.as_u16()),
                Err(error) => error.to_string(),
            };
            if last || Instant::now() + pause >= deadline {
                return Err(why);
            }
            tokio::time::sleep(pause).await;
            pause += pause / 2;
        }
        Err("it does not answer".to_owned())
    }

    /// What an answer says of the token.
    fn read(&self, response: &Response) -> Result<Said, String> {
        if !response.status.is_success() {
            return Err(format!("it answers {}", response.status.as_u16()));
        }
        let review: Review =
            serde_json::from_slice(&response.body).map_err(|_| "its answer is no TokenReview".to_owned())?;
        if review.kind != "TokenReview" || review.api_version != "authentication.k8s.io/v1" {
            return Err("its answer is no TokenReview of authentication.k8s.io/v1".to_owned());
        }
        let Status { authenticated, user, audiences, error } = review.status;
        if !authenticated {
            // With an error it could not find out. Its text is the webhook's, and may quote the token.
            return if error.is_empty() {
                Ok(Said::nothing("the TokenReview webhook does not know the bearer token"))
            } else {
                Err("it answers with an error".to_owned())
            };
        }
        // A webhook that knows nothing of audiences names none: then the token is for this API server.
        let is_for_us = self.audiences.is_empty()
            || audiences.is_empty()
            || audiences.iter().any(|audience| self.audiences.contains(audience));
        if !is_for_us {
            return Ok(Said::refused("the TokenReview webhook knows the bearer token for another audience"));
        }
        if user.username.is_empty() {
            return Err("its answer names no user".to_owned());
        }
        let User { username, uid, groups, extra } = user;
        let extra = extra.into_iter().map(|(key, values)| (key, values.unwrap_or_default())).collect();
        let subject = Subject { user: username, uid, groups: groups.unwrap_or_default(), extra };
        Ok(Said::who(subject, "the TokenReview webhook knows the bearer token"))
    }
}

/// Whether an answer says that another try may do better.
fn may_pass(response: &Response) -> bool {
    response.status.is_server_error() || response.status.as_u16() == 429
}

fn remembered(said: Said) -> Said {
    match said {
        Said::Who(subject, why) => Said::Who(subject, format!("{why}, as it said a short while ago")),
        Said::Nothing(why) => Said::Nothing(format!("{why}, as it said a short while ago")),
        other => other,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review {
    kind: String,
    api_version: String,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    authenticated: bool,
    user: User,
    audiences: Vec<String>,
    error: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct User {
    username: String,
    uid: String,
    groups: Option<Vec<String>>,
    extra: BTreeMap<String, Option<Vec<String>>>,
}

#[cfg(test)]
mod tests;
