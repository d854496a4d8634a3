//! What follows the policy store and the directory: group names are bound again where they may mean something else, and
//! what is held of the directory is given up where it changed.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::changes::Names;
use super::{Authorizer, effect_name, enforcement_name, names};
use crate::directory::Change;
use crate::eval::Bound;
use crate::model::{Dn, EntityId, Group, GroupNames};
use crate::policy::ast::{Effect, Enforcement};

/// How often all names are resolved again where a change feed tells of what happens to groups.
const REFRESH_FOLLOWED: Duration = Duration::from_secs(600);

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
    let mut again = Names::All;
    loop {
        let Some(strong) = authorizer.upgrade() else { return };
        let is_complete = strong.bind(&again).await;
        let changes = Arc::clone(&strong.changes);
        let pause = match (is_complete, strong.is_followed()) {
            (false, _) => names::RETRY,
            (true, false) => names::REFRESH,
            (true, true) => REFRESH_FOLLOWED,
        };
        drop(strong);
        tokio::select! {
            changed = sets.changed() => if changed.is_err() { return },
            () = changes.names_changed.notified() => {}
            () = tokio::time::sleep(pause) => again = Names::All,
        }
        // What could not be asked for is asked for once more, whatever woke us.
        again = match (is_complete, again, changes.take_names()) {
            (_, Names::All, _) | (_, _, Names::All) => Names::All,
            (true, _, noted) => noted,
            (false, ..) => Names::All,
        };
    }
}

/// Gives up what is due to be given up later.
async fn later(authorizer: Weak<Authorizer>) {
    let Some(changes) = authorizer.upgrade().map(|authorizer| Arc::clone(&authorizer.changes)) else {
        return;
    };
    loop {
        let due = changes.next_due();
        tokio::select! {
            () = changes.something_later.notified() => {}
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {}
            // To notice that the service is gone.
            () = tokio::time::sleep(names::REFRESH) => {}
        }
        let Some(authorizer) = authorizer.upgrade() else { return };
        let Some(people) = &authorizer.people else { return };
        let (storms, lagging) = changes.due(people.directory.strayed(), Instant::now());
        authorizer.give_up("storm", people.cache.invalidate(storms));
        authorizer.give_up("lag", people.cache.invalidate(lagging));
    }
}

impl Authorizer {
    /// Acts on a change in the directory; `handle` is where what takes time is done.
    pub fn take(self: &Arc<Self>, change: Change, handle: &Handle) {
        let Some(people) = &self.people else { return };
        let (cache, directory) = (&people.cache, &people.directory);
        match change {
            Change::Entry(change) => {
                self.changes.note_names(&change, &self.names());
                let now = Instant::now();
                let triggers = self.changes.admit(change, now);
                if directory.has_replicas() {
                    self.changes.remember(&triggers, directory.strayed(), now);
                }
                self.give_up("entry", cache.invalidate(triggers));
            }
            Change::Members { group, members } => {
                self.give_up("member", cache.invalidate_joining(members, &group));
            }
            Change::MembersUnknown { group, dn } => {
                let authorizer = Arc::clone(self);
                handle.spawn(async move { authorizer.joined_by_somebody(group, dn).await });
            }
            Change::Anything => {
                self.changes.note_all_names();
                self.give_up("anything", cache.invalidate_all());
            }
            Change::Confirmed { since, until } => cache.confirm(since, until),
            Change::Interrupted => {
                self.changes.note_all_names();
                cache.interrupt();
            }
        }
    }

    /// Somebody may have joined a group, and who is not known. Where that may take something away from them, everything is
    /// given up; otherwise everything is refreshed when it is next used.
    async fn joined_by_somebody(&self, group: EntityId, dn: Option<Dn>) {
        let Some(people) = &self.people else { return };
        let bound = self.bound.load_full();
        let is_harmless = match dn {
            _ if !bound.restricts_any() => true,
            None => false,
            Some(dn) => {
                let above = people.directory.groups_above(&group, &dn, Instant::now() + people.timeout).await;
                let itself = Group { id: group, sid: None, dn: Some(dn), name: Box::default() };
                let is_free = |group: &Group| !bound.restricts(group);
                is_free(&itself)
                    && matches!(above, Ok(Some(above)) if above.iter().all(|group| is_free(group)))
            }
        };
        if is_harmless {
            people.cache.interrupt();
        } else {
            self.give_up("group", people.cache.invalidate_all());
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

    fn names(&self) -> MutexGuard<'_, GroupNames> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves the names of the policy set that the store has, those that are known already only where they are in `again`,
    /// and puts it in force. Returns whether all were answered.
    async fn bind(&self, again: &Names) -> bool {
        let set = self.store.current();
        let known = self.names().clone();
        let (names, complete) = match &self.people {
            Some(people) => names::resolve(&people.directory, &set, &known, again).await,
            None => (GroupNames::default(), true),
        };
        let is_new = !Arc::ptr_eq(self.bound.load().set(), &set);
        if is_new || names.generation != known.generation {
            let epoch = self.epoch.fetch_add(1, Ordering::Relaxed);
            self.bound.store(Arc::new(Bound::new(set, &names, epoch)));
            *self.names() = names;
            self.record_set();
        }
        self.names_known.store(true, Ordering::Release);
        complete
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
