//! The journey of a request through the stages: what each of them saw, decided and took.

mod audit;
mod journeys;
mod shown;
mod text;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

pub use audit::AuditLog;
pub use journeys::{Journeys, MAX_JOURNEYS};
pub use shown::target;
pub use text::took;

/// One thing that was looked at within a stage: an authenticator, an authoriser, an admission plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Its name, as `RBAC` or `client certificate`.
    pub name: String,
    /// What came of it.
    pub outcome: Outcome,
    /// Why, in a sentence; never a token, a password or a body.
    pub detail: String,
    /// What it changed, as a JSON Patch (RFC 6902).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<Value>,
    /// How long it took, in microseconds.
    pub micros: u64,
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Outcome {
    /// It said yes: this is the user, this may be done, this is in order.
    Passed,
    /// It had nothing to say: no such credential, no opinion, nothing to check.
    Abstained,
    /// It changed the object.
    Changed,
    /// It said no.
    Refused,
    /// It could not say.
    Failed,
}

/// A stage of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum StageName {
    /// Are you who you say you are?
    Authentication,
    /// May you act as somebody else?
    Impersonation,
    /// May you do this?
    Authorization,
    /// Is the object in order, and what is to be changed about it?
    Admission,
    /// What was kept.
    Storage,
}

/// What one stage did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// Which one.
    pub name: StageName,
    /// What came of it.
    pub outcome: Outcome,
    /// Its result in a sentence.
    pub summary: String,
    /// What was looked at, in its order.
    pub steps: Vec<Step>,
    /// How long it took, in microseconds.
    pub micros: u64,
}

/// Everything about one request.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Journey {
    /// The `Audit-ID`.
    pub id: String,
    /// When it came.
    pub received: Timestamp,
    /// From where: the peer's address.
    pub source: String,
    /// The method, cut where it is longer than any.
    pub method: String,
    /// Path and query, as sent, without credentials; cut where they are longer than is looked at.
    pub uri: String,
    /// The `User-Agent`, as sent.
    pub user_agent: String,
    /// Who asked, as authenticated; absent where nobody was.
    pub user: Option<Value>,
    /// Who they acted as.
    pub impersonated: Option<Value>,
    /// What was asked: `resourceAttributes` or `nonResourceAttributes`.
    pub attributes: Option<Value>,
    /// The stages, as far as it came.
    pub stages: Vec<Stage>,
    /// The audit annotations that stages left.
    pub annotations: std::collections::BTreeMap<String, String>,
    /// The status of the answer.
    pub code: u16,
    /// The reason of a refusal, as in its Status.
    pub reason: Option<String>,
    /// The message of a refusal, as in its Status.
    pub message: Option<String>,
    /// How long it took, in microseconds.
    pub micros: u64,
}

impl Step {
    /// A step that began then.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        outcome: Outcome,
        detail: impl Into<String>,
        began: std::time::Instant,
    ) -> Self {
        Self { name: name.into(), outcome, detail: detail.into(), patch: None, micros: micros_since(began) }
    }
}

/// How long it is since then, in microseconds.
#[must_use]
pub fn micros_since(began: std::time::Instant) -> u64 {
    u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX)
}
