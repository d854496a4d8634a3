//! One subject's facts and their life.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use super::Settings;
use crate::model::{Facts, Person};

/// The facts of one subject, and what is kept prepared beside them.
#[derive(Debug)]
pub struct Entry<P> {
    /// What the directory said.
    pub facts: Arc<Facts>,
    /// What the cache's user made of the facts. The cache never looks at it; it goes when the facts go.
    pub prepared: ArcSwapOption<P>,
    /// When the load began.
    pub(super) begun: Instant,
    /// The ledger's sequence when the load began.
    pub(super) stamp: u64,
    soft: Duration,
    hard: Duration,
    valid: AtomicBool,
}

/// What an entry is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// Every decision.
    Fresh,
    /// Every decision, and time for a refresh.
    Soft,
    /// Denying only: too old.
    Hard,
    /// Denying only: the directory changed since.
    Invalid,
}

impl<P> Entry<P> {
    /// Facts of a load that began then, with that stamp. Facts that may miss groups, and those of no one person, live no
    /// longer than the negative life.
    pub(super) fn new(facts: Facts, begun: Instant, stamp: u64, settings: &Settings) -> Self {
        let complete = matches!(facts.person, Person::Found { .. }) && facts.partial.is_none();
        let (soft, hard) = if complete {
            (settings.soft_ttl.min(settings.hard_ttl), settings.hard_ttl)
        } else {
            (settings.negative_ttl, settings.negative_ttl)
        };
        Self {
            facts: Arc::new(facts),
            prepared: ArcSwapOption::empty(),
            begun,
            stamp,
            soft,
            hard,
            valid: AtomicBool::new(true),
        }
    }

    /// How old the facts are at most.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.begun)
    }

    /// Its state, but for marks that concern all entries.
    pub(super) fn life(&self, now: Instant) -> Life {
        let age = self.age(now);
        if !self.is_valid() {
            Life::Invalid
        } else if age < self.soft {
            Life::Fresh
        } else if age < self.hard {
            Life::Soft
        } else {
            Life::Hard
        }
    }

    pub(super) fn is_valid(&self) -> bool {
        self.valid.load(Ordering::Acquire)
    }

    /// Makes it invalid, for good. Returns whether it was valid.
    pub(super) fn invalidate(&self) -> bool {
        self.valid.swap(false, Ordering::AcqRel)
    }
}
