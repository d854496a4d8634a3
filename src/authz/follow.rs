//! What follows the policy store and the directory: group names are bound again where they may mean something else, and
//! what is held of the directory is given up where it changed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::changes::Names;
use super::lag::Given;
use super::{Authorizer, effect_name, enforcement_name, names};
use crate::directory::{Change, EntryChange};
use crate::eval::Bound;
use crate::model::{Dn, EntityId, Group, GroupNames};
use crate::policy::ast::{Effect, Enforcement};

/// How often all names are resolved again where a change feed tells of what happens to groups.
const REFRESH_FOLLOWED: Duration = Duration::from_secs(600);
/// The least time from one resolution of names to the next because of changes.
const LEAST_PAUSE: Duration = Duration::from_millis(100);
/// Of how many changed groups it is looked at once where they stand. With more, they count as whatever is the worst.
const MAX_ASKING: usize = 16;

/// Begins to follow. Everything that is begun ends with the service.
pub(super) fn begin(authorizer: &Arc<Authorizer>, handle: &Handle) {
    handle.spawn(names(Arc::downgrade(authorizer)));
    if let Some(people) = &authorizer.people {
        handle.spawn(later(Arc::downgrade(authorizer)));
        let (weak, spawner) = (Arc::downgrade(authorizer), handle.clone());
        people.directory.follow(Box::new(move |change| {
            if let Some(authorizer) = weak.upgrade() {
                authorizer.take(change, &spawner);
            }
        }));
    }
}

/// Binds when the store has a new set, when a group that it names may be another one, and now and then.
async fn names(authorizer: Weak<Authorizer>) {
    let Some(mut sets) = authorizer.upgrade().map(|authorizer| authorizer.store.subscribe()) else { return };
    let (mut again, mut told) = (Names::All, Names::None);
    let (mut all_since, mut retry) = (Instant::now(), names::RETRY);
    loop {
        let Some(strong) = authorizer.upgrade() else { return };
        let begun = Instant::now();
        let missed = strong.bind(&again, &told).await;
        if again == Names::All && missed != Names::All {
            all_since = begun;
        }
        let changes = Arc::clone(&strong.changes);
        let period = if strong.is_followed() { REFRESH_FOLLOWED } else { names::REFRESH };
        drop(strong);
        let all_at = all_since + period;
        retry = if missed == Names::None { names::RETRY } else { retry };
        let next = if missed == Names::None { all_at } else { begun + retry };
        tokio::select! {
            changed = sets.changed() => if changed.is_err() { return },
            () = changes.names_changed.notified() => tokio::time::sleep_until((begun + LEAST_PAUSE).into()).await,
            () = tokio::time::sleep_until(next.into()) => retry = (retry * 2).min(names::REFRESH),
        }
        // What could not be asked for is asked for once more, whatever woke us.
        let noted = changes.take_names();
        told = if missed == Names::None { noted.clone() } else { told.and(noted.clone()) };
        again = if Instant::now() >= all_at { Names::All } else { missed.and(noted) };
    }
}

/// Gives up what is due to be given up later.
async fn later(authorizer: Weak<Authorizer>) {
    let Some(changes) = authorizer.upgrade().map(|authorizer| Arc::clone(&authorizer.changes)) else {
        return;
    };
    loop {
        let due = [changes.storms.next_due(), changes.lag.next_due()].into_iter().flatten().min();
        tokio::select! {
            () = changes.storms.something_later.notified() => {}
            () = changes.lag.something_later.notified() => {}
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {}
            // To notice that the service is gone.
            () = tokio::time::sleep(names::REFRESH) => {}
        }
        let Some(authorizer) = authorizer.upgrade() else { return };
        authorizer.give_up_what_is_due(Instant::now());
    }
}

impl Authorizer {
    /// Acts on a change in the directory; `handle` is where what takes time is done.
    pub fn take(self: &Arc<Self>, change: Change, handle: &Handle) {
        let Some(people) = &self.people else { return };
        let cache = &people.cache;
        match change {
            Change::Entry(change) => {
                self.note(&change);
                let triggers = self.changes.storms.admit(change, Instant::now());
                self.give_up("entry", cache.invalidate(triggers));
            }
            Change::Vanished(id) => {
                let change = EntryChange::gone(id);
                self.note(&change);
                let concerned = cache.invalidate(change.triggers);
                self.give_up("entry", concerned);
                if concerned == 0 {
                    // It may be what people and groups stood below.
                    self.changes.note_all_names();
                    cache.interrupt();
                }
            }
            Change::Members { group, members } => {
                self.remember(Given::Joining(&members, &group));
                self.give_up("member", cache.invalidate_joining(members, &group));
            }
            Change::MembersUnknown { group, dn } => {
                let authorizer = Arc::clone(self);
                handle.spawn(async move { authorizer.joined_by_somebody(group, dn).await });
            }
            Change::Anything => {
                if self.changes.storms.admit_all(Instant::now()) {
                    self.give_up_everything("anything");
                }
            }
            Change::Confirmed { since, until } => cache.confirm(since, until),
            Change::Interrupted => {
                self.changes.note_all_names();
                cache.interrupt();
            }
        }
    }

    /// Notes what a change of an entry means for names, and what is to be given up again if it is read from elsewhere.
    fn note(&self, change: &EntryChange) {
        if self.changes.note_names(change, &self.names()) {
            self.remember(Given::Names);
        }
        self.remember(Given::Entries(&change.triggers));
    }

    /// Somebody may have joined a group, and who is not known. Where that may take something away from them, everything is
    /// given up; otherwise everything is refreshed when it is next used.
    pub(super) async fn joined_by_somebody(&self, group: EntityId, dn: Option<Dn>) {
        let Some(people) = &self.people else { return };
        let asking = Asking::new(&self.asking);
        let is_harmless = match dn {
            _ if !self.bound.load().restricts_any() => true,
            Some(dn) if asking.before < MAX_ASKING => {
                let above = people.directory.groups_above(&group, &dn, Instant::now() + people.timeout).await;
                let itself = Group { id: group, sid: None, dn: Some(dn), name: Box::default() };
                // After it was asked for: a policy set that is newer than this finds facts that are due for a refresh.
                let bound = self.bound.load();
                let is_free = |group: &Group| !bound.may_restrict(group);
                is_free(&itself)
                    && matches!(above, Ok(Some(above)) if above.iter().all(|group| is_free(group)))
            }
            _ => false,
        };
        if is_harmless {
            people.cache.interrupt();
        } else if self.changes.storms.admit_all(Instant::now()) {
            self.remember(Given::All);
            self.give_up("group", people.cache.invalidate_all());
        }
    }

    /// Whatever is held may be another, and whatever groups are called.
    fn give_up_everything(&self, cause: &str) {
        let Some(people) = &self.people else { return };
        self.changes.note_all_names();
        self.remember(Given::Names);
        self.remember(Given::All);
        self.give_up(cause, people.cache.invalidate_all());
    }

    /// Gives up what waited until now.
    pub(super) fn give_up_what_is_due(&self, now: Instant) {
        let Some(people) = &self.people else { return };
        let storms = self.changes.storms.due(now);
        if storms.all {
            self.give_up_everything("storm");
        } else {
            self.give_up("storm", people.cache.invalidate(storms.triggers));
        }
        let lagging = self.changes.lag.due(people.directory.strayed(), now);
        if lagging.names {
            self.changes.note_all_names();
        }
        let joining = lagging.joining.into_iter();
        let joined =
            joining.map(|(group, members)| people.cache.invalidate_joining(members, &group)).sum::<u64>();
        let entries = match lagging.all {
            true => people.cache.invalidate_all(),
            false => people.cache.invalidate(lagging.entries),
        };
        self.give_up("lag", joined.saturating_add(entries));
    }

    /// Remembers what is given up, in case that it is read again from a server that lags behind.
    fn remember(&self, given: Given<'_>) {
        if let Some(people) = &self.people {
            self.changes.lag.remember(given, people.directory.strayed(), Instant::now());
        }
    }

    fn give_up(&self, cause: &str, subjects: u64) {
        if subjects > 0 {
            self.metrics.directory.invalidations.with_label_values(&[cause]).inc_by(subjects);
        }
    }

    /// Whether a change feed tells of everything.
    fn is_followed(&self) -> bool {
        self.people.as_ref().is_some_and(|people| {
            let feed = people.directory.feed();
            feed.is_up && feed.is_complete
        })
    }

    pub(super) fn names(&self) -> MutexGuard<'_, GroupNames> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves the names of the policy set that the store has, those that are known already only where they are in `again`,
    /// and puts it in force. `told` are those that changes concerned since they were answered for. Returns what is to be asked
    /// for again.
    async fn bind(&self, again: &Names, told: &Names) -> Names {
        let set = self.store.current();
        self.changes.begin_names();
        let known = self.names().clone();
        let (names, missed) = match &self.people {
            Some(people) => names::resolve(&people.directory, &set, &known, again, told).await,
            None => (GroupNames::default(), Names::None),
        };
        names::say(&known, &names);
        let is_new = !Arc::ptr_eq(self.bound.load().set(), &set);
        if is_new || names.generation != known.generation {
            let epoch = self.epoch.fetch_add(1, Ordering::Relaxed);
            self.bound.store(Arc::new(Bound::new(set, &names, epoch)));
            let mut known = self.names();
            *known = names;
            // While nobody compares changes with what was known before.
            self.changes.end_names(&known);
            drop(known);
            self.record_set();
        } else {
            self.changes.end_names(&self.names());
        }
        self.names_known.store(true, Ordering::Release);
        missed
    }

    pub(super) fn record_set(&self) {
        let bound = self.bound.load();
        self.metrics.unresolved_policy_groups.set(i64::try_from(bound.unresolved()).unwrap_or(i64::MAX));
        for effect in [Effect::Allow, Effect::Deny] {
            for enforcement in [Enforcement::Enforce, Enforcement::Shadow] {
                let policies = bound.set().policies().iter();
                let count = policies
                    .filter(|policy| policy.effect == effect && policy.enforcement == enforcement)
                    .count();
                let labels = [effect_name(effect), enforcement_name(enforcement)];
                self.metrics
                    .policies
                    .with_label_values(&labels)
                    .set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
    }
}

/// One of the groups that are being looked at.
struct Asking<'a> {
    count: &'a AtomicUsize,
    /// How many there were.
    before: usize,
}

impl<'a> Asking<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        Self { count, before: count.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}
