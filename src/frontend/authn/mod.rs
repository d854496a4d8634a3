//! The first stage: are you who you say you are? Authenticators in a fixed order, then impersonation.

use super::journey::Step;
use crate::model::Subject;

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
