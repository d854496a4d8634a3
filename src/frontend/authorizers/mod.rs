//! The second stage: may you do this? Authorisers in a chain, as an API server has them.

use std::borrow::Cow;

use super::journey::Step;
use crate::model::Decision;

/// What one authoriser says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opinion {
    /// Allow and Deny end the chain.
    pub decision: Decision,
    /// Why; may be empty.
    pub reason: Cow<'static, str>,
    /// What went wrong, where it could not be found out; the decision is what counts then.
    pub error: Option<String>,
}

/// What the chain says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What counts: anything but Allow is a refusal.
    pub decision: Decision,
    /// The reason of whoever decided; where nobody did, those of all, each on a line.
    pub reason: String,
    /// What went wrong on the way, where nobody allowed it: the user is told of an error instead of a refusal then
    /// (`k8s.io/apiserver/pkg/endpoints/filters/authorization.go`).
    pub error: Option<String>,
    /// Who decided.
    pub by: Option<String>,
    /// What each said, in its order.
    pub steps: Vec<Step>,
}
