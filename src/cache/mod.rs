//! Facts of subjects, held for a while: bounded, coalescing, and safe against invalidations that race a load.
//!
//! - **One load a subject.** Any number of concurrent [`FactsCache::get`] of one cold subject share one load. It runs on
//!   the background runtime with a deadline of its own, so that a caller that gives up neither restarts nor kills it.
//! - **Two lives.** Past `softTTL` an entry still answers at once, and one refresh runs behind it. Past `hardTTL` a load
//!   is awaited; where it fails or is late, the old entry is handed out as [`Lookup::Stale`]: it may still establish
//!   that something is denied, never that something is allowed.
//! - **No revocation is lost.** A load takes a stamp before its first read; an invalidation of the subject, of an entry
//!   that it touched, or of everything makes every load with an older stamp, and every entry that came of one, invalid: it is
//!   loaded again and awaited (`ledger`, `index`). Where the directory changes each time while it is read, a caller gets
//!   what was read since it asked; it is held as invalid, for nobody else.
//! - **A change feed prolongs life.** Facts that it follows count as read again for as long as it tells of everything
//!   (`coverage`).
//! - **A failure is never facts.** Failed loads leave nothing behind but a short pause before the next try.
//! - **Strangers push out no one.** Names that no person has are kept apart from those that have one.
//!
//! A hit within the soft life costs one look-up in a concurrent hash table, a few atomic loads, a reading of the clock and
//! a counter; it takes no lock of ours, allocates nothing, and awaits nothing. Past it, the table of loads is locked for
//! the moment that it takes to see whether a refresh is under way.

mod coverage;
mod entry;
mod index;
mod ledger;
mod loads;
mod look;
mod ttl;
#[cfg(test)]
mod model_test;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::model::{EntityId, Facts, Person, Trigger};
use crate::telemetry::{IntCounter, IntGauge, Metrics};

use coverage::Coverage;
pub use entry::{Entry, Life};
use ledger::{Ledger, Marks};
use loads::{Joined, Loads};
pub use look::{BackingOff, Confirmed, Held, Look};
pub use ttl::TtlCache;

/// How many subjects without a person are held. They are cheap to ask for again, and a requester can invent them.
const MAX_NEGATIVE_ENTRIES: u64 = 10_000;

/// For how long an entry is kept as the last known state, if nothing pushes it out: what `accounts.whenUnreachable:
/// LastKnown` and Denies on stale facts stand on.
const LAST_KNOWN: Duration = Duration::from_secs(24 * 60 * 60);

/// How many loads a `get` awaits on a directory that changes faster than it can be read.
const ROUNDS: usize = 4;

/// `directory.cache`, and the time that one load may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Past this age an entry is refreshed in the background.
    pub soft_ttl: Duration,
    /// Past this age an entry is not used to allow.
    pub hard_ttl: Duration,
    /// The age past which subjects that have no one person, and facts that may miss groups, are loaded again.
    pub negative_ttl: Duration,
    /// Past this age an entry is refreshed in the background also where a change feed tells that nothing changed: a bound on
    /// what a feed that is wrong can do.
    pub followed_ttl: Duration,
    /// How many subjects with a person are held; the least recently used go first.
    pub max_entries: u64,
    /// The time that one load may take, waiting for its turn included: `directory.ldap.timeouts.total`.
    pub load_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            soft_ttl: Duration::from_secs(60),
            hard_ttl: Duration::from_secs(300),
            negative_ttl: Duration::from_secs(30),
            followed_ttl: Duration::from_secs(600),
            max_entries: 100_000,
            load_timeout: Duration::from_millis(1_500),
        }
    }
}

/// What is known of a subject.
#[must_use]
#[derive(Debug)]
pub enum Lookup<P> {
    /// Facts within their life, or read from beginning to end since this look-up began.
    Fresh(Arc<Entry<P>>),
    /// Facts that may still establish that a Deny applies, never that it does not, and never an Allow.
    Stale(Arc<Entry<P>>, Why),
    /// Nothing is known.
    Failed(Why),
}

/// Why there are no fresh facts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// The load failed, with this error.
    #[error("{0}")]
    Load(Arc<str>),
    /// The load, or the time that the caller had for it, ran out of time.
    #[error("the directory did not answer in time")]
    Late,
    /// The load ended without an answer: it panicked, or the process is stopping.
    #[error("the look-up ended without an answer")]
    Aborted,
    /// Too many loads are waiting for their turn.
    #[error("too many look-ups are waiting for the directory")]
    Overloaded,
    /// A load of this subject failed a moment ago, with this error.
    #[error("{0} (a moment ago)")]
    BackingOff(Arc<str>),
    /// The directory changed since it was read.
    #[error("the directory changed since it was read")]
    Changed,
    /// The facts are past their life, and were not to be loaded.
    #[error("the facts held are too old")]
    Expired,
    /// No facts are held, and they were not to be loaded.
    #[error("no facts are held")]
    NotHeld,
}

/// Reads the monotonic clock.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// The facts of subjects, by the exact user name of the review. `P` is what its user keeps prepared beside the facts.
/// A clone is another handle to the same cache.
pub struct FactsCache<P> {
    shared: Arc<Shared<P>>,
}

impl<P> Clone for FactsCache<P> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

/// What the handles of a cache and its loads share.
struct Shared<P> {
    settings: Settings,
    clock: Clock,
    handle: Handle,
    /// Subjects with a person.
    people: Cache<Arc<str>, Arc<Entry<P>>, foldhash::quality::RandomState>,
    /// Subjects with none, or with several.
    strangers: Cache<Arc<str>, Arc<Entry<P>>, foldhash::quality::RandomState>,
    /// Publishing an entry and invalidating exclude each other by this lock. It and the lock of `loads` are never held
    /// together.
    ledger: Mutex<Ledger<P>>,
    marks: Marks,
    coverage: ArcSwap<Coverage>,
    loads: Mutex<Loads<P>>,
    permits: Semaphore,
    refreshes: Arc<Semaphore>,
    counters: Counters,
}

/// When a question came.
struct Asked {
    at: Instant,
    /// The ledger's sequence: what was announced by then.
    stamp: u64,
}

impl Asked {
    fn now<P: Send + Sync + 'static>(shared: &Shared<P>) -> Self {
        Self { at: (shared.clock)(), stamp: shared.ledger().sequence() }
    }

    /// Whether all of an entry was read since, so that nothing is missing that was announced before. A clock alone would
    /// not tell: it may stand still for a moment.
    fn precedes<P>(&self, entry: &Entry<P>) -> bool {
        entry.begun >= self.at && entry.stamp >= self.stamp
    }
}

/// Handles of the metrics, resolved at start. Every `get` is counted once, by what came of it.
struct Counters {
    hit: IntCounter,
    miss: IntCounter,
    stale: IntCounter,
    coalesced: IntCounter,
    negative: IntCounter,
    entries: IntGauge,
}

impl<P: Send + Sync + 'static> FactsCache<P> {
    /// An empty cache whose loads run on `handle`, by the system's monotonic clock.
    #[must_use]
    pub fn new(settings: Settings, metrics: &Metrics, handle: Handle) -> Self {
        Self::with_clock(settings, metrics, handle, Arc::new(Instant::now))
    }

    /// An empty cache that measures the age of entries by `clock`. Deadlines are always those of the system's clock.
    #[must_use]
    pub fn with_clock(settings: Settings, metrics: &Metrics, handle: Handle, clock: Clock) -> Self {
        let storage = |capacity: u64| {
            Cache::builder()
                .max_capacity(capacity)
                .eviction_policy(EvictionPolicy::lru())
                .build_with_hasher(foldhash::quality::RandomState::default())
        };
        let counter = |result: &str| metrics.cache_requests.with_label_values(&[result]);
        Self {
            shared: Arc::new(Shared {
                people: storage(settings.max_entries),
                strangers: storage(MAX_NEGATIVE_ENTRIES),
                ledger: Mutex::new(Ledger::new()),
                marks: Marks::default(),
                coverage: ArcSwap::default(),
                loads: Mutex::new(Loads::new()),
                permits: Semaphore::new(loads::MAX_LOADS),
                refreshes: Arc::new(Semaphore::new(loads::MAX_REFRESHES)),
                counters: Counters {
                    hit: counter("hit"),
                    miss: counter("miss"),
                    stale: counter("stale"),
                    coalesced: counter("coalesced"),
                    negative: counter("negative"),
                    entries: metrics.cache_entries.clone(),
                },
                settings,
                clock,
                handle,
            }),
        }
    }

    /// The facts of a user: from the cache, or by `load`, awaited no longer than until `deadline`. Whatever the deadline,
    /// a load that was begun goes on and fills the cache.
    ///
    /// `load` makes what resolves the user, and is called only where that is needed. What it makes is called once for each
    /// load, on the background runtime, with the facts that are held of the user; it sets itself a deadline no later than
    /// [`Settings::load_timeout`] from then.
    pub async fn get<F, Fut, E>(&self, user: &str, load: impl FnOnce() -> F, deadline: Instant) -> Lookup<P>
    where
        F: Fn(Option<Arc<Facts>>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Facts, E>> + Send + 'static,
        E: std::fmt::Display + Send + 'static,
    {
        let shared = &self.shared;
        if let Some((entry, life)) = shared.find(user) {
            if life == Life::Soft {
                loads::refresh(shared, user, load);
            } else if life != Life::Fresh {
                return self.load(user, load(), deadline).await;
            }
            match entry.facts.person {
                Person::Found { .. } => shared.counters.hit.inc(),
                _ => shared.counters.negative.inc(),
            }
            return Lookup::Fresh(entry);
        }
        self.load(user, load(), deadline).await
    }

    /// What is held of a user, without asking anyone.
    pub fn peek(&self, user: &str) -> Lookup<P> {
        match self.shared.find(user) {
            None => Lookup::Failed(Why::NotHeld),
            Some((entry, Life::Fresh | Life::Soft)) => Lookup::Fresh(entry),
            Some((entry, Life::Hard)) => Lookup::Stale(entry, Why::Expired),
            Some((entry, Life::Invalid)) => Lookup::Stale(entry, Why::Changed),
        }
    }

    /// Makes the facts of one user invalid, those being loaded included. Returns how many subjects that were: 0 or 1.
    pub fn invalidate_user(&self, user: &str) -> u64 {
        let mut ledger = self.shared.ledger();
        ledger.stamp_user(user);
        let held = [self.shared.people.get(user), self.shared.strangers.get(user)];
        held.iter().flatten().map(|entry| u64::from(entry.invalidate())).sum::<u64>().min(1)
    }

    /// Makes all facts invalid that one of these concerns, those being loaded included. Returns how many subjects that were.
    pub fn invalidate(&self, triggers: impl IntoIterator<Item = Trigger>) -> u64 {
        self.shared.ledger().stamp(triggers, None)
    }

    /// Makes all facts invalid that one of these concerns and that do not have this group: these are members of it now.
    /// Returns how many subjects that were.
    pub fn invalidate_joining(&self, members: impl IntoIterator<Item = Trigger>, group: &EntityId) -> u64 {
        self.shared.ledger().stamp(members, Some(group))
    }

    /// Makes all facts invalid, those being loaded included. Returns how many subjects that were, nearly.
    pub fn invalidate_all(&self) -> u64 {
        self.shared.ledger().stamp_all(&self.shared.marks);
        self.shared.entry_count()
    }

    /// The directory's change feed has told of everything from `since` until `until`; where it did so before without an
    /// [interruption](Self::interrupt), `since` is not looked at.
    pub fn confirm(&self, since: Instant, until: Instant) {
        self.shared.change_coverage(|coverage| coverage.confirm(since, until));
    }

    /// The change feed may have missed something: all facts are due for a refresh, and are as old as its last confirmation.
    pub fn interrupt(&self) {
        let now = (self.shared.clock)();
        self.shared.change_coverage(|coverage| coverage.interrupt(now));
    }

    /// The way of a `get` that no entry answers: join the load in flight or begin one, and await it.
    async fn load<F, Fut, E>(&self, user: &str, load: F, deadline: Instant) -> Lookup<P>
    where
        F: Fn(Option<Arc<Facts>>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Facts, E>> + Send + 'static,
        E: std::fmt::Display + Send + 'static,
    {
        let shared = &self.shared;
        let (load, asked) = (Arc::new(load), Asked::now(shared));
        let mut counter = &shared.counters.miss;
        let mut why = Why::Changed;
        for _ in 0..ROUNDS {
            let pending = match loads::join(shared, user, &load) {
                Joined::Ended(entry) => {
                    shared.counters.coalesced.inc();
                    return Lookup::Fresh(entry);
                }
                Joined::Coalesced(pending) => {
                    counter = &shared.counters.coalesced;
                    pending
                }
                Joined::Begun(pending) => pending,
                Joined::Refused(refusal) => {
                    why = refusal;
                    break;
                }
            };
            why = match tokio::time::timeout_at(deadline.into(), loads::outcome(pending)).await {
                // Whatever its age by now: it was read after this look-up, or at most one load before it, began.
                Ok(Ok(entry)) if shared.marks.admit(&entry) => {
                    counter.inc();
                    return Lookup::Fresh(entry);
                }
                Ok(Ok(_)) => {
                    why = Why::Changed;
                    continue;
                }
                Ok(Err(failure)) => failure,
                Err(_) => Why::Late,
            };
            if why != Why::Changed || shared.find(user).is_some_and(|(entry, _)| asked.precedes(&entry)) {
                break;
            }
        }
        match shared.find(user) {
            Some((entry, Life::Fresh | Life::Soft)) => {
                counter.inc();
                Lookup::Fresh(entry)
            }
            // However often the directory changes, nobody is locked out: all of it was read after the question came, so
            // that it is good for this answer, though for no other.
            Some((entry, Life::Invalid))
                if asked.precedes(&entry) && matches!(why, Why::Changed | Why::Late) =>
            {
                counter.inc();
                Lookup::Fresh(entry)
            }
            Some((entry, Life::Hard | Life::Invalid)) => {
                shared.counters.stale.inc();
                Lookup::Stale(entry, why)
            }
            None => {
                counter.inc();
                Lookup::Failed(why)
            }
        }
    }
}

impl<P: Send + Sync + 'static> Shared<P> {
    /// The entry of a user, of whatever age.
    fn held(&self, user: &str) -> Option<Arc<Entry<P>>> {
        self.people.get(user).or_else(|| self.strangers.get(user))
    }

    /// The entry of a user and its state; `None` where there is none, or one too old to be the last known state.
    fn find(&self, user: &str) -> Option<(Arc<Entry<P>>, Life)> {
        let entry = self.held(user)?;
        let now = (self.clock)();
        if entry.age(now) > LAST_KNOWN {
            return None;
        }
        let life = if self.marks.admit(&entry) {
            entry.life(now, &self.settings, &self.coverage.load())
        } else {
            Life::Invalid
        };
        Some((entry, life))
    }

    fn change_coverage(&self, change: impl FnOnce(&mut Coverage)) {
        let _alone = self.ledger();
        let mut coverage = Coverage::clone(&self.coverage.load());
        change(&mut coverage);
        self.coverage.store(Arc::new(coverage));
    }

    /// Stores a new entry as the only one of its user. Entries that an invalidation overtook are stored too, as the last
    /// known state, but are invalid. Returns whether the entry is valid.
    fn publish(&self, user: &Arc<str>, entry: &Arc<Entry<P>>) -> bool {
        let mut ledger = self.ledger();
        if !self.marks.admit(entry) || ledger.overtook(user, entry) {
            entry.invalidate();
        }
        ledger.index.insert(entry, self.held(user).as_deref());
        let (home, other) = match entry.facts.person {
            Person::Found { .. } => (&self.people, &self.strangers),
            _ => (&self.strangers, &self.people),
        };
        home.insert(Arc::clone(user), Arc::clone(entry));
        other.invalidate(user);
        self.counters.entries.set(i64::try_from(self.entry_count()).unwrap_or(i64::MAX));
        entry.is_valid()
    }

    fn entry_count(&self) -> u64 {
        self.people.entry_count().saturating_add(self.strangers.entry_count())
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger<P>> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn loads(&self) -> MutexGuard<'_, Loads<P>> {
        self.loads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
