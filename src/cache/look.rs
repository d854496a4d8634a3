//! What is held of a user, and what is under way, for whoever asks about the cache itself.

use std::sync::Arc;
use std::time::Duration;

use super::FactsCache;
use super::entry::{Entry, Life};

/// What the cache has of one user.
#[derive(Debug)]
pub struct Look<P> {
    /// The facts that are held; `None` where there are none.
    pub held: Option<Held<P>>,
    /// Whether they are being read, or wait for their turn.
    pub is_loading: bool,
    /// Set where the last load failed a moment ago, so that none is begun.
    pub backing_off: Option<BackingOff>,
}

/// Facts that are held.
#[derive(Debug)]
pub struct Held<P> {
    /// The facts.
    pub entry: Arc<Entry<P>>,
    /// What they are good for.
    pub life: Life,
    /// How long ago the load that brought them began.
    pub age: Duration,
    /// Until when a change feed told of everything that concerns them; `None` where none did.
    pub confirmed: Option<Confirmed>,
}

/// A change feed's word that facts were still true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmed {
    /// How long ago that was.
    pub ago: Duration,
    /// Whether nothing can have been missed since.
    pub is_gapless: bool,
}

/// A pause after a failed load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackingOff {
    /// Why it failed.
    pub why: Arc<str>,
    /// How long the pause still is.
    pub left: Duration,
}

impl<P: Send + Sync + 'static> FactsCache<P> {
    /// What is held of a user and what is under way, without asking anyone and without counting it. To look at facts keeps
    /// them from being pushed out for as long as one review of their user would; nobody else's are touched.
    #[must_use]
    pub fn look(&self, user: &str) -> Look<P> {
        let shared = &self.shared;
        let (is_loading, backing_off) = shared.loads().state(user, (shared.clock)());
        let held = shared.find(user).map(|(entry, life)| {
            let now = (shared.clock)();
            let covered = if entry.facts.followed { shared.coverage.load().of(entry.begun) } else { None };
            let confirmed = covered.map(|covered| Confirmed {
                ago: now.saturating_duration_since(covered.until),
                is_gapless: covered.is_gapless,
            });
            Held { age: entry.age(now), entry, life, confirmed }
        });
        Look { held, is_loading, backing_off }
    }
}
