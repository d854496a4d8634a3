//! What was invalidated when, and whom it concerns.
//!
//! Every invalidation takes the next number of a sequence; every load notes the number that the sequence stands at
//! before it reads anything. Facts are valid if nothing that concerns them has a greater number than their load. What
//! is in flight is judged when it is published, under the ledger's lock; what is published is found by the index from
//! entities to entries and marked, under the same lock. So nothing falls between the two, and a hit need look at nothing
//! but the entry's own mark and the two marks that concern everything.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use super::Shared;
use super::entry::Entry;
use crate::model::EntityId;

/// How many stamps on users and entities are kept for loads in flight. With more, every load in flight is judged
/// overtaken, which costs a second load and loses nothing.
pub(super) const MAX_STAMPS: usize = 65_536;

/// Into how many parts the index is divided, so that cleaning one is short.
const SHARDS: usize = 64;

/// How many references a part of the index may hold before it is cleaned for the first time.
pub(super) const MIN_REFERENCES: usize = 1_024;

type FastMap<K, V> = HashMap<K, V, foldhash::quality::RandomState>;

/// The marks that concern every entry; read on each hit, without a lock.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// The stamp of the last invalidation of everything.
    all: AtomicU64,
    /// The generation of the source.
    generation: AtomicU64,
}

impl Marks {
    /// Whether the entry is valid, by these marks and its own.
    pub(super) fn admit<P>(&self, entry: &Entry<P>) -> bool {
        entry.is_valid()
            && entry.stamp >= self.all.load(Ordering::Acquire)
            && entry.facts.generation >= self.generation.load(Ordering::Acquire)
    }

    pub(super) fn raise_generation(&self, generation: u64) {
        self.generation.fetch_max(generation, Ordering::AcqRel);
    }
}

/// The stamps that loads in flight are judged by, and the index from entities to published entries.
pub(super) struct Ledger<P> {
    sequence: u64,
    /// How many loads in flight have each stamp.
    loads: BTreeMap<u64, usize>,
    users: FastMap<Box<str>, u64>,
    entities: FastMap<EntityId, u64>,
    /// Loads with an older stamp than this are overtaken, whatever they touched.
    floor: u64,
    shards: Box<[Shard<P>]>,
    hasher: foldhash::quality::RandomState,
}

/// A part of the index. References to entries that are gone are swept out once there are as many as live ones.
struct Shard<P> {
    entries: FastMap<EntityId, Vec<Weak<Entry<P>>>>,
    references: usize,
    limit: usize,
}

impl<P> Ledger<P> {
    pub(super) fn new() -> Self {
        let shard = || Shard { entries: FastMap::default(), references: 0, limit: MIN_REFERENCES };
        Self {
            sequence: 0,
            loads: BTreeMap::new(),
            users: FastMap::default(),
            entities: FastMap::default(),
            floor: 0,
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            hasher: foldhash::quality::RandomState::default(),
        }
    }

    pub(super) fn stamp_user(&mut self, user: &str) {
        if let Some(stamp) = self.next_stamp() {
            self.users.insert(user.into(), stamp);
        }
    }

    /// Stamps an entity and marks the entries that touched it. Returns how many were valid until now.
    pub(super) fn stamp_entity(&mut self, id: &EntityId) -> u64 {
        if let Some(stamp) = self.next_stamp() {
            self.entities.insert(id.clone(), stamp);
        }
        let Some(shard) = self.shard(id) else { return 0 };
        let entries = shard.entries.remove(id).unwrap_or_default();
        shard.references = shard.references.saturating_sub(entries.len());
        entries.iter().filter_map(Weak::upgrade).map(|entry| u64::from(entry.invalidate())).sum()
    }

    pub(super) fn stamp_all(&mut self, marks: &Marks) {
        self.sequence = self.sequence.saturating_add(1);
        marks.all.store(self.sequence, Ordering::Release);
        self.shards.iter_mut().for_each(Shard::clear);
    }

    /// Whether an invalidation that came after the load's begin concerns the entry that it made.
    pub(super) fn overtook(&self, user: &str, entry: &Entry<P>) -> bool {
        let after = |stamp: Option<&u64>| stamp.is_some_and(|stamp| *stamp > entry.stamp);
        entry.stamp < self.floor
            || after(self.users.get(user))
            || entry.facts.touched.iter().any(|id| after(self.entities.get(id)))
    }

    /// Makes the entry found by the entities that it touched.
    pub(super) fn index(&mut self, entry: &Arc<Entry<P>>) {
        for id in &entry.facts.touched {
            if let Some(shard) = self.shard(id) {
                shard.insert(id, Arc::downgrade(entry));
            }
        }
    }

    #[cfg(test)]
    pub(super) fn stamps(&self) -> usize {
        self.users.len() + self.entities.len()
    }

    #[cfg(test)]
    pub(super) fn references(&self) -> usize {
        self.shards.iter().map(|shard| shard.references).sum()
    }

    fn shard(&mut self, id: &EntityId) -> Option<&mut Shard<P>> {
        let hash = self.hasher.hash_one(id);
        let index = usize::try_from(hash % SHARDS as u64).ok()?;
        self.shards.get_mut(index)
    }

    /// The next number of the sequence; `None` where no load is in flight that could need the stamp.
    fn next_stamp(&mut self) -> Option<u64> {
        self.sequence = self.sequence.saturating_add(1);
        let oldest = *self.loads.keys().next()?;
        if self.users.len().saturating_add(self.entities.len()) >= MAX_STAMPS {
            self.users.retain(|_, stamp| *stamp > oldest);
            self.entities.retain(|_, stamp| *stamp > oldest);
            if self.users.len().saturating_add(self.entities.len()) >= MAX_STAMPS / 2 {
                self.users.clear();
                self.entities.clear();
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
            self.entities.clear();
        }
    }
}

impl<P> Shard<P> {
    fn insert(&mut self, id: &EntityId, entry: Weak<Entry<P>>) {
        if self.references >= self.limit {
            self.sweep();
        }
        self.entries.entry(id.clone()).or_default().push(entry);
        self.references = self.references.saturating_add(1);
    }

    fn sweep(&mut self) {
        self.entries.retain(|_, entries| {
            entries.retain(|entry| entry.strong_count() > 0);
            !entries.is_empty()
        });
        self.references = self.entries.values().map(Vec::len).sum();
        self.limit = self.references.saturating_mul(2).max(MIN_REFERENCES);
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.references = 0;
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
