//! What is answered.

/// The answer to a review. Ordered from the least to the most that it grants.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Decision {
    /// `denied: true`: the API server's chain of authorisers stops here.
    Deny,
    /// Neither: the next authoriser of the chain is asked.
    NoOpinion,
    /// `allowed: true`: the chain stops here.
    Allow,
}

/// What is done with a review. Ordered from the least to the most that it grants.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Not answered, with HTTP 503: our own fault, and the caller's `failurePolicy: Deny` refuses the request uncached.
    Unavailable,
    /// Answered.
    Decided(Decision),
}

impl Decision {
    /// The name of the decision, as in documents, metrics and audit lines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "Deny",
            Self::NoOpinion => "NoOpinion",
            Self::Allow => "Allow",
        }
    }
}

impl Outcome {
    /// The name of the outcome, as in metrics and audit lines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "Unavailable",
            Self::Decided(decision) => decision.as_str(),
        }
    }
}

impl std::fmt::Display for Decision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
