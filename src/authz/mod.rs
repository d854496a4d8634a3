//! The service: what to ask, the facts, the decision, within a deadline.

use std::sync::Arc;

use crate::model::{Outcome, Request};

/// What is answered to one review.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The decision, or that there is none to be had.
    pub outcome: Outcome,
    /// For the user, where it is a Deny: one line, at most 200 characters, no secrets. Empty otherwise.
    pub reason: String,
    /// What was unknown; empty where nothing was.
    pub evaluation_error: String,
}

/// Why a review could not even be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Too many reviews were in flight.
    Overload,
    /// The deadline passed.
    Deadline,
    /// The review failed by a mistake of ours: it panicked.
    Internal,
}

/// Whether one part of the service can do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The part.
    pub name: &'static str,
    /// Whether it can; a check that cannot makes the service not ready only where `required`.
    pub ok: bool,
    /// Whether the service is not ready without it.
    pub required: bool,
    /// What is to be said of it, in one line.
    pub detail: String,
}

/// The service behind both listeners.
pub struct Authorizer {}

impl Authorizer {
    /// Answers one review, within the deadline, whatever happens.
    pub async fn review(&self, _request: Request, _cluster: Option<Arc<str>>) -> Reply {
        self.fault(Fault::Deadline)
    }

    /// The answer where the fault is ours (DESIGN 3.3).
    pub fn fault(&self, _fault: Fault) -> Reply {
        Reply { outcome: Outcome::Unavailable, reason: String::new(), evaluation_error: String::new() }
    }

    /// Decides one request with a full trace, as `bailiwick explain` does; changes no metric and writes no audit line.
    pub async fn explain(&self, _request: Request, _cluster: Option<Arc<str>>) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// Drops the cached facts of one user, or of all. Returns how many subjects were dropped.
    pub async fn purge(&self, _user: Option<&str>) -> u64 {
        0
    }

    /// What `/readyz` is made of.
    #[must_use]
    pub fn checks(&self) -> Vec<Check> {
        Vec::new()
    }

    /// What `GET /policies` shows: revision, and for each policy its name, effect, enforcement and source.
    #[must_use]
    pub fn policies(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
}
