//! What an authenticator says of a request, and how the chain hears it.

use std::time::Instant;

use super::{Authenticated, Authentication};
use crate::frontend::journey::{Outcome, Step};
use crate::model::Subject;

/// What an authenticator says. The sentences are for people who read a journey: they name no token and no password.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// This is who it is, and why.
    Who(Subject, String),
    /// There is no credential for me.
    Nothing(String),
    /// There is one, and it is not good.
    Refused(String),
    /// There is one, and it could not be found out whether it is good.
    Failed(String),
}

impl Said {
    pub(super) fn nothing(why: impl Into<String>) -> Self {
        Self::Nothing(why.into())
    }

    pub(super) fn refused(why: impl Into<String>) -> Self {
        Self::Refused(why.into())
    }

    pub(super) fn failed(why: impl Into<String>) -> Self {
        Self::Failed(why.into())
    }

    pub(super) fn who(subject: Subject, why: impl Into<String>) -> Self {
        Self::Who(subject, why.into())
    }
}

/// What was heard so far.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    steps: Vec<Step>,
    is_refused: bool,
}

impl Hearing {
    /// Hears one authenticator; who it is, if that is known now.
    pub(super) fn hear(&mut self, name: &'static str, began: Instant, said: Said) -> Option<Authenticated> {
        let (outcome, why, subject) = match said {
            Said::Who(subject, why) => (Outcome::Passed, why, Some(subject)),
            Said::Nothing(why) => (Outcome::Abstained, why, None),
            Said::Refused(why) => (Outcome::Refused, why, None),
            Said::Failed(why) => (Outcome::Failed, why, None),
        };
        self.is_refused |= matches!(outcome, Outcome::Refused | Outcome::Failed);
        self.steps.push(Step::new(name, outcome, why, began));
        subject.map(|subject| Authenticated { subject, method: name })
    }

    /// Whether somebody showed a credential that is not good, or that nobody could judge: they are not anonymous
    /// then.
    pub(super) fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// The end of the stage.
    pub(super) fn end(self, who: Option<Authenticated>) -> Authentication {
        Authentication { who, steps: self.steps }
    }
}
