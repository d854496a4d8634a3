//! How policies are combined, and what the caller does with the answer.

use jiff::SignedDuration;

use crate::model::Decision;

/// `decisions`, `directory.accounts` and `caller` of the configuration, as far as a decision depends on them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `decisions.default`: where no policy applies.
    pub default: Default,
    /// `decisions.whenUndetermined`: where a Deny is unknown.
    pub when_undetermined: WhenUndetermined,
    /// `directory.accounts`.
    pub accounts: Accounts,
    /// `caller.authorizedTTL`: how long the API server keeps an Allow; zero where its cache is off.
    pub authorized_ttl: SignedDuration,
    /// `caller.unauthorizedTTL`: how long it keeps any other answer.
    pub unauthorized_ttl: SignedDuration,
}

/// What is answered where no policy applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// The next authoriser is asked.
    NoOpinion,
    /// Nobody else is asked.
    Deny,
}

/// What is answered where it could not be found out whether a Deny applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenUndetermined {
    /// Refused, with a message that says whose fault it is.
    Deny,
    /// HTTP 503: only where the caller's `failurePolicy` is Deny.
    Unavailable,
}

/// What the state of an account does: an implicit Deny for everything (DESIGN 3.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accounts {
    /// Disabled by an administrator.
    pub disabled: Effect,
    /// Past its expiry.
    pub expired: Effect,
    /// Locked; an attacker can cause that, hence ignored by default.
    pub locked: Effect,
    /// With an expired password.
    pub password_expired: Effect,
    /// In no entry of the directory.
    pub not_found: Effect,
    /// In several entries.
    pub ambiguous: Effect,
    /// Where the directory cannot be asked.
    pub when_unreachable: WhenUnreachable,
}

/// What one state does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Everything is refused.
    Deny,
    /// Nothing.
    Ignore,
}

/// What holds of an account while the directory cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenUnreachable {
    /// The last state that is known, of any age; no effect where none is known.
    LastKnown,
    /// Everything is refused.
    Deny,
}

impl Settings {
    /// How long the caller keeps this answer.
    #[must_use]
    pub fn ttl(&self, decision: Decision) -> SignedDuration {
        match decision {
            Decision::Allow => self.authorized_ttl,
            Decision::NoOpinion | Decision::Deny => self.unauthorized_ttl,
        }
    }
}

impl std::default::Default for Settings {
    /// DESIGN's defaults; the TTLs are the API server's own.
    fn default() -> Self {
        Self {
            default: Default::NoOpinion,
            when_undetermined: WhenUndetermined::Deny,
            accounts: Accounts::default(),
            authorized_ttl: SignedDuration::from_mins(5),
            unauthorized_ttl: SignedDuration::from_secs(30),
        }
    }
}

impl std::default::Default for Accounts {
    fn default() -> Self {
        Self {
            disabled: Effect::Deny,
            expired: Effect::Deny,
            locked: Effect::Ignore,
            password_expired: Effect::Ignore,
            not_found: Effect::Ignore,
            ambiguous: Effect::Deny,
            when_unreachable: WhenUnreachable::LastKnown,
        }
    }
}

impl Accounts {
    /// Whether any state has an effect: then every directory user's facts are needed.
    #[must_use]
    pub fn matter(&self) -> bool {
        let Self { disabled, expired, locked, password_expired, not_found, ambiguous, when_unreachable } =
            self;
        when_unreachable == &WhenUnreachable::Deny
            || [disabled, expired, locked, password_expired, not_found, ambiguous].contains(&&Effect::Deny)
    }
}
