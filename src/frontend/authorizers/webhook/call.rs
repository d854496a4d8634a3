//! One question to a server, over connections that are kept, tried again as an API server does.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::frontend::connections::{Connections, in_words};
use crate::frontend::kubeconfig::Endpoint;
use crate::review::{Reply, ReplyError, read_reply};
use crate::tls::https::{Error, Step};

pub use crate::frontend::connections::MAX_IDLE_CONNECTIONS;

/// How many questions are asked at one time; others wait, within their own timeout.
pub const MAX_CONCURRENT_CALLS: usize = 256;
/// The longest reply that is read, in bytes.
pub const MAX_REPLY_BYTES: usize = 64 * 1024;

/// How a question is asked again where an answer says that it may be, or the connection broke.
///
/// What a `Retry-After` says is not waited for, only that there is one: so does an API server's webhook client.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retry {
    /// How often it is asked in all.
    pub tries: u32,
    /// The first pause.
    pub first: Duration,
    /// By how much each pause is longer than the one before.
    pub factor: f64,
    /// By what part a pause may be longer, at random.
    pub jitter: f64,
}

impl Default for Retry {
    /// `DefaultRetryBackoff` of `k8s.io/apiserver/pkg/util/webhook`.
    fn default() -> Self {
        Self { tries: 5, first: Duration::from_millis(500), factor: 1.5, jitter: 0.2 }
    }
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No answer came.
    #[error("{0}")]
    Transport(#[from] Error),
    /// The answer has a status that says no.
    #[error("the webhook answered with the status {status}")]
    Status {
        /// The status.
        status: u16,
        /// Whether it says when to come again.
        retry_after: bool,
    },
    /// The answer is no reply.
    #[error("{0}")]
    Reply(#[from] ReplyError),
}

/// A URL that no webhook can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{url}` is no URL of a webhook: {why}")]
pub struct EndpointError {
    url: String,
    why: &'static str,
}

impl CallError {
    /// Whether it may be another in a moment (`DefaultShouldRetry`).
    fn is_transient(&self) -> bool {
        match self {
            Self::Transport(Error::Http(_)) => true,
            Self::Transport(Error::Connect { error, .. }) => {
                error.kind() == std::io::ErrorKind::ConnectionReset
            }
            Self::Transport(_) | Self::Reply(_) => false,
            Self::Status { status, retry_after } => *retry_after || matches!(status, 429 | 500 | 504),
        }
    }
}

/// Asks one server.
#[derive(Debug)]
pub(super) struct Caller {
    target: String,
    timeout: Duration,
    retry: Retry,
    calls: Semaphore,
    connections: Connections,
}

impl Caller {
    pub(super) fn new(endpoint: Endpoint, timeout: Duration, retry: Retry) -> Result<Self, EndpointError> {
        let wrong = |why| EndpointError { url: endpoint.url.clone(), why };
        let rest = match endpoint.url.split_once("://") {
            Some(("https" | "http", rest)) => rest,
            _ => return Err(wrong("it begins neither with `https://` nor with `http://`")),
        };
        if rest.contains(['?', '#']) {
            return Err(wrong("it has a query or a fragment"));
        }
        let path = rest.find('/').and_then(|slash| rest.get(slash..)).unwrap_or("/");
        let target = format!("{path}?timeout={}", in_words(timeout));
        let connections = Connections::new(endpoint.client.with_max_body(MAX_REPLY_BYTES), endpoint.url);
        Ok(Self { target, timeout, retry, calls: Semaphore::new(MAX_CONCURRENT_CALLS), connections })
    }

    /// Asks until there is an answer, or no hope of one. Every try has the timeout for itself.
    pub(super) async fn ask(&self, review: Vec<u8>) -> Result<Reply, CallError> {
        let review = Bytes::from(review);
        let mut pause = self.retry.first;
        let mut left = self.retry.tries.max(1);
        loop {
            left = left.saturating_sub(1);
            match self.once(review.clone()).await {
                Err(error) if left > 0 && error.is_transient() => {}
                settled => return settled,
            }
            tokio::time::sleep(jittered(pause, self.retry.jitter)).await;
            pause = scaled(pause, self.retry.factor);
        }
    }

    async fn once(&self, review: Bytes) -> Result<Reply, CallError> {
        let late = || Error::Deadline(Step::Connecting);
        let deadline = Instant::now().checked_add(self.timeout).ok_or_else(late)?;
        let turn = tokio::time::timeout_at(deadline.into(), self.calls.acquire()).await;
        let _turn = turn.map_err(|_| late())?.map_err(|_| late())?;
        let response = self.connections.post(&self.target, review, deadline).await?;
        if response.status.is_success() {
            return Ok(read_reply(&response.body)?);
        }
        let retry_after = response.headers.contains_key("retry-after");
        Err(CallError::Status { status: response.status.as_u16(), retry_after })
    }
}

fn scaled(pause: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(pause.as_secs_f64() * factor).unwrap_or(pause)
}

fn jittered(pause: Duration, jitter: f64) -> Duration {
    // Without randomness all come again at once, which is no reason not to come again.
    let random = getrandom::u32().unwrap_or_default();
    scaled(pause, 1.0 + jitter * f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::https::Client;

    fn caller(url: &str) -> Result<Caller, EndpointError> {
        let endpoint = Endpoint { url: url.to_owned(), client: Client::plain() };
        Caller::new(endpoint, Duration::from_secs(30), Retry::default())
    }

    #[test]
    fn the_path_is_kept_and_the_timeout_is_told() {
        for (url, target) in [
            ("https://a:8443/authorize", "/authorize?timeout=30s"),
            ("https://a", "/?timeout=30s"),
            ("https://a/b/c/", "/b/c/?timeout=30s"),
        ] {
            assert_eq!(caller(url).unwrap().target, target);
        }
        for url in ["a", "ftp://a", "https://a/b?c=d", "https://a/#b"] {
            assert!(caller(url).is_err(), "{url}");
        }
        for (millis, text) in
            [(500, "500ms"), (3_000, "3s"), (1_500, "1.5s"), (60_000, "1m0s"), (90_500, "1m30.5s")]
        {
            assert_eq!(in_words(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn only_what_may_be_otherwise_in_a_moment_is_tried_again() {
        for (status, retry_after, expected) in [
            (429, false, true),
            (500, false, true),
            (504, false, true),
            (503, false, false),
            (503, true, true),
            (403, true, true),
            (401, false, false),
            (404, false, false),
            (302, false, false),
        ] {
            assert_eq!(CallError::Status { status, retry_after }.is_transient(), expected, "{status}");
        }
        assert!(CallError::Transport(Error::Http("reset".into())).is_transient());
        assert!(!CallError::Transport(Error::Deadline(Step::Answer)).is_transient());
        let connect = |kind: std::io::ErrorKind| {
            CallError::Transport(Error::Connect { endpoint: "a:1".into(), error: kind.into() })
        };
        assert!(connect(std::io::ErrorKind::ConnectionReset).is_transient());
        assert!(!connect(std::io::ErrorKind::ConnectionRefused).is_transient());
    }

    #[test]
    fn pauses_grow_and_are_never_shorter_than_said() {
        let pause = Duration::from_millis(500);
        assert_eq!(scaled(pause, 1.5), Duration::from_millis(750));
        for _ in 0..100 {
            let jittered = jittered(pause, 0.2);
            assert!(jittered >= pause && jittered <= Duration::from_millis(600), "{jittered:?}");
        }
    }
}
