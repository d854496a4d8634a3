//! What was invalidated when, and whom it concerns.
//!
//! Every invalidation takes the next number of a sequence; every load notes the number that the sequence stands at
//! before it reads anything. Facts are valid if nothing that concerns them has a greater number than their load. What
//! is in flight is judged when it is published, under the ledger's lock; what is published is found by the
//! [index](super::index) and marked, under the same lock. So nothing falls between the two, and a hit need look at nothing
//! but the entry's own mark and the one that concerns everything.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use smallvec::SmallVec;

use super::Shared;
use super::entry::Entry;
use super::index::Index;
use crate::model::{EntityId, Facts, Trigger};

/// How many stamps on users and triggers are kept for loads in flight. With more, every load in flight is judged
/// overtaken, which costs a second load and loses nothing.
pub(super) const MAX_STAMPS: usize = 65_536;

/// How many groups are told apart that one and the same member joined while loads were in flight. With more, whoever it
/// concerns is judged overtaken.
const MAX_JOINING: usize = 4;

type FastMap<K, V> = HashMap<K, V, foldhash::quality::RandomState>;

/// The mark that concerns every entry; read on each hit, without a lock.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// The stamp of the last invalidation of everything.
    all: AtomicU64,
}

impl Marks {
    /// Whether the entry is valid, by this mark and its own.
    pub(super) fn admit<P>(&self, entry: &Entry<P>) -> bool {
        entry.is_valid() && entry.stamp >= self.all.load(Ordering::Acquire)
    }
}

/// The stamps that loads in flight are judged by, and the index of published entries.
pub(super) struct Ledger<P> {
    sequence: u64,
    /// How many loads in flight have each stamp.
    loads: BTreeMap<u64, usize>,
    users: FastMap<Box<str>, u64>,
    triggers: FastMap<Trigger, Stamps>,
    /// Loads with an older stamp than this are overtaken, whatever they touched.
    floor: u64,
    pub(super) index: Index<P>,
}

/// The last invalidations by one trigger.
#[derive(Default)]
struct Stamps {
    /// Of whomever it concerns.
    all: u64,
    /// Of those who are not in this group.
    joining: SmallVec<[(EntityId, u64); 1]>,
}

impl Stamps {
    fn add(&mut self, stamp: u64, unless_in: Option<&EntityId>) {
        let Some(group) = unless_in else {
            self.all = stamp;
            return;
        };
        if let Some((_, last)) = self.joining.iter_mut().find(|(known, _)| known == group) {
            *last = stamp;
        } else if self.joining.len() < MAX_JOINING {
            self.joining.push((group.clone(), stamp));
        } else {
            self.all = stamp;
        }
    }

    /// Whether one that is later than this concerns these facts.
    fn concern(&self, facts: &Facts, stamp: u64) -> bool {
        self.all > stamp || self.joining.iter().any(|(group, last)| *last > stamp && !facts.is_in(group))
    }

    /// Whether none is later than this.
    fn are_before(&self, stamp: u64) -> bool {
        self.all <= stamp && self.joining.iter().all(|(_, last)| *last <= stamp)
    }
}

impl<P> Ledger<P> {
    pub(super) fn new() -> Self {
        Self {
            sequence: 0,
            loads: BTreeMap::new(),
            users: FastMap::default(),
            triggers: FastMap::default(),
            floor: 0,
            index: Index::new(),
        }
    }

    /// The number of the last invalidation.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(super) fn stamp_user(&mut self, user: &str) {
        if let Some(stamp) = self.next_stamp() {
            self.users.insert(user.into(), stamp);
        }
    }

    /// Stamps triggers and marks the entries that they concern, but for those that are in the group `unless_in`: it is not
    /// news to them that they are, nor to a load that found it out. Returns how many were valid until now.
    pub(super) fn stamp(
        &mut self,
        triggers: impl IntoIterator<Item = Trigger>,
        unless_in: Option<&EntityId>,
    ) -> u64 {
        let mut marked = 0;
        for trigger in triggers {
            if let Some(stamp) = self.next_stamp() {
                self.triggers.entry(trigger).or_default().add(stamp, unless_in);
            }
            for entry in self.index.find(trigger) {
                if entry.is_valid() && !unless_in.is_some_and(|group| entry.facts.is_in(group)) {
                    marked += u64::from(entry.invalidate());
                }
            }
        }
        marked
    }

    pub(super) fn stamp_all(&mut self, marks: &Marks) {
        self.sequence = self.sequence.saturating_add(1);
        marks.all.store(self.sequence, Ordering::Release);
    }

    /// Whether an invalidation that came after the load's begin concerns the entry that it made.
    pub(super) fn overtook(&self, user: &str, entry: &Entry<P>) -> bool {
        let after = |stamp: Option<&u64>| stamp.is_some_and(|stamp| *stamp > entry.stamp);
        // Groups that nobody was known to be in before this load were told by their names alone.
        let mut triggers = entry.facts.triggers().chain(entry.facts.listed_groups());
        entry.stamp < self.floor
            || after(self.users.get(user))
            || (!self.triggers.is_empty()
                && triggers.any(|trigger| {
                    self.triggers
                        .get(&trigger)
                        .is_some_and(|stamps| stamps.concern(&entry.facts, entry.stamp))
                }))
    }

    #[cfg(test)]
    pub(super) fn stamps(&self) -> usize {
        self.users.len() + self.triggers.len()
    }

    /// The next number of the sequence; `None` where no load is in flight that could need the stamp.
    fn next_stamp(&mut self) -> Option<u64> {
        self.sequence = self.sequence.saturating_add(1);
        let oldest = *self.loads.keys().next()?;
        if self.users.len().saturating_add(self.triggers.len()) >= MAX_STAMPS {
            self.users.retain(|_, stamp| *stamp > oldest);
            self.triggers.retain(|_, stamps| !stamps.are_before(oldest));
            if self.users.len().saturating_add(self.triggers.len()) >= MAX_STAMPS / 2 {
                self.users.clear();
                self.triggers.clear();
                self.floor = self.sequence;
            }
        }
        Some(self.sequence)
    }

    fn end(&mut self, stamp: u64) {
        if let Some(loads) = self.loads.get_mut(&stamp) {
            *loads = loads.saturating_sub(1);
            if *loads == 0 {
                self.loads.remove(&stamp);
            }
        }
        if self.loads.is_empty() {
            self.users.clear();
            self.triggers.clear();
        }
    }
}

/// A load that has begun, from before its first read until its facts are published or given up. While it is held, the
/// ledger keeps every stamp that could concern the load.
pub(super) struct Ticket<P: Send + Sync + 'static> {
    shared: Arc<Shared<P>>,
    /// What the sequence stood at when the load began.
    pub(super) stamp: u64,
}

impl<P: Send + Sync + 'static> Ticket<P> {
    pub(super) fn new(shared: &Arc<Shared<P>>) -> Self {
        let mut ledger = shared.ledger();
        let stamp = ledger.sequence;
        let loads = ledger.loads.entry(stamp).or_default();
        *loads = loads.saturating_add(1);
        drop(ledger);
        Self { shared: Arc::clone(shared), stamp }
    }
}

impl<P: Send + Sync + 'static> Drop for Ticket<P> {
    fn drop(&mut self) {
        self.shared.ledger().end(self.stamp);
    }
}
