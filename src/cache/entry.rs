//! One subject's facts and their life.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use super::Settings;
use super::coverage::Coverage;
use super::index::Place;
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
    valid: AtomicBool,
    /// Its place in the index; [`NOWHERE`] before it has one.
    place: AtomicU32,
}

/// No place.
const NOWHERE: Place = Place::MAX;

/// What an entry is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
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
    /// Facts of a load that began then, with that stamp.
    pub(super) fn new(facts: Facts, begun: Instant, stamp: u64) -> Self {
        Self {
            facts: Arc::new(facts),
            prepared: ArcSwapOption::empty(),
            begun,
            stamp,
            valid: AtomicBool::new(true),
            place: AtomicU32::new(NOWHERE),
        }
    }

    /// How old the facts are at most.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.begun)
    }

    /// Its state, but for marks that concern all entries.
    ///
    /// Facts that a change feed follows count as read again for as long as the feed tells of everything; they are as old as
    /// its last word where it stopped. Where it may have missed something, all are due for a refresh. Facts that may miss
    /// groups, and those of no one person, live no longer than the negative life.
    pub(super) fn life(&self, now: Instant, settings: &Settings, coverage: &Coverage) -> Life {
        if !self.is_valid() {
            return Life::Invalid;
        }
        let age = self.age(now);
        if !self.is_complete() {
            return if age < settings.negative_ttl { Life::Fresh } else { Life::Hard };
        }
        let covered = if self.facts.followed { coverage.of(self.begun) } else { None };
        let (age, is_due) = match covered {
            None => (age, coverage.missed_since(self.begun)),
            Some(covered) => (
                now.saturating_duration_since(covered.until),
                !covered.is_gapless || age >= settings.followed_ttl,
            ),
        };
        if age >= settings.hard_ttl {
            Life::Hard
        } else if is_due || age >= settings.soft_ttl {
            Life::Soft
        } else {
            Life::Fresh
        }
    }

    fn is_complete(&self) -> bool {
        matches!(self.facts.person, Person::Found { .. }) && self.facts.partial.is_none()
    }

    pub(super) fn is_valid(&self) -> bool {
        self.valid.load(Ordering::Acquire)
    }

    /// Makes it invalid, for good. Returns whether it was valid.
    pub(super) fn invalidate(&self) -> bool {
        self.valid.swap(false, Ordering::AcqRel)
    }

    /// Its place in the index. Read and written under the ledger's lock.
    pub(super) fn place(&self) -> Option<Place> {
        Some(self.place.load(Ordering::Relaxed)).filter(|place| *place != NOWHERE)
    }

    pub(super) fn set_place(&self, place: Place) {
        self.place.store(place, Ordering::Relaxed);
    }
}
