//! From what a change is recognised by to the entries that it concerns.
//!
//! Every held subject has a place: a small integer that stays the same while its entry is replaced by newer ones, so that a
//! refresh which finds the same groups changes nothing here. A list may name places whose entry no longer has the trigger's
//! entity, until it is swept: an invalidation too many costs a load, one too few would be a lost revocation.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Weak};

use super::entry::Entry;
use crate::model::Trigger;

/// How many places there may be before those of dead entries are looked for.
pub(super) const MIN_PLACES: usize = 1_024;

/// The place of a subject.
pub(super) type Place = u32;

type ByTrigger<T> = HashMap<Trigger, T, BuildHasherDefault<Hashed>>;

/// See the [module](self).
pub(super) struct Index<P> {
    /// The place of a trigger that has one only: most triggers are those of one person.
    one: ByTrigger<Place>,
    /// The places of those that have had several.
    several: ByTrigger<Vec<Place>>,
    entries: Vec<Weak<Entry<P>>>,
    free: Vec<Place>,
    /// With so many places it is time to sweep.
    sweep_at: usize,
}

/// A trigger is a hash already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

impl<P> Index<P> {
    pub(super) fn new() -> Self {
        Self {
            one: HashMap::default(),
            several: HashMap::default(),
            entries: Vec::new(),
            free: Vec::new(),
            sweep_at: MIN_PLACES,
        }
    }

    /// Makes an entry found by its triggers, in the place of the one that it replaces.
    pub(super) fn insert(&mut self, entry: &Arc<Entry<P>>, replaced: Option<&Entry<P>>) {
        let new = sorted(entry);
        let place = match replaced.and_then(|replaced| Some((replaced, replaced.place()?))) {
            Some((replaced, place)) => {
                let old = sorted(replaced);
                old.iter().filter(|trigger| new.binary_search(trigger).is_err()).for_each(|trigger| {
                    self.remove(*trigger, place);
                });
                let added = new.iter().filter(|trigger| old.binary_search(trigger).is_err());
                added.for_each(|trigger| self.add(*trigger, place));
                place
            }
            None => {
                let Some(place) = self.place() else { return };
                new.iter().for_each(|trigger| self.add(*trigger, place));
                place
            }
        };
        entry.set_place(place);
        if let Some(held) = usize::try_from(place).ok().and_then(|place| self.entries.get_mut(place)) {
            *held = Arc::downgrade(entry);
        }
    }

    /// The entries that a change concerns.
    pub(super) fn find(&self, trigger: Trigger) -> impl Iterator<Item = Arc<Entry<P>>> + '_ {
        let several = self.several.get(&trigger).map(Vec::as_slice);
        let places = several.or_else(|| self.one.get(&trigger).map(std::slice::from_ref)).unwrap_or_default();
        places.iter().filter_map(|place| self.entries.get(usize::try_from(*place).ok()?)?.upgrade())
    }

    /// A free place, after a sweep where there are many.
    fn place(&mut self) -> Option<Place> {
        if self.free.is_empty() && self.entries.len() >= self.sweep_at {
            self.sweep();
        }
        if let Some(place) = self.free.pop() {
            return Some(place);
        }
        let place = Place::try_from(self.entries.len()).ok()?;
        self.entries.push(Weak::new());
        Some(place)
    }

    fn add(&mut self, trigger: Trigger, place: Place) {
        if let Some(places) = self.several.get_mut(&trigger) {
            if places.len() == places.capacity() {
                // Lists of thousands must not have as much room again.
                places.reserve_exact(places.len() / 4 + 1);
            }
            places.push(place);
        } else if let Some(other) = self.one.remove(&trigger) {
            self.several.insert(trigger, vec![other, place]);
        } else {
            self.one.insert(trigger, place);
        }
    }

    fn remove(&mut self, trigger: Trigger, place: Place) {
        if self.one.get(&trigger) == Some(&place) {
            self.one.remove(&trigger);
        } else if let Some(places) = self.several.get_mut(&trigger) {
            places.retain(|held| *held != place);
            if places.is_empty() {
                self.several.remove(&trigger);
            }
        }
    }

    /// Frees the places of entries that are gone, and takes them out of every list.
    fn sweep(&mut self) {
        let live: Vec<bool> = self.entries.iter().map(|entry| entry.strong_count() > 0).collect();
        let is_live = |place: &Place| {
            usize::try_from(*place).ok().and_then(|place| live.get(place)).copied().unwrap_or(false)
        };
        self.one.retain(|_, place| is_live(place));
        self.several.retain(|_, places| {
            places.retain(is_live);
            places.shrink_to_fit();
            !places.is_empty()
        });
        self.one.shrink_to_fit();
        self.several.shrink_to_fit();
        self.free = (0..).zip(&live).filter(|(_, live)| !**live).map(|(place, _)| place).collect();
        let held = self.entries.len().saturating_sub(self.free.len());
        self.sweep_at = held.saturating_mul(2).max(MIN_PLACES);
    }

    #[cfg(test)]
    pub(super) fn references(&self) -> usize {
        self.one.len() + self.several.values().map(Vec::len).sum::<usize>()
    }

    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        self.entries.len()
    }
}

fn sorted<P>(entry: &Entry<P>) -> Vec<Trigger> {
    let mut triggers: Vec<Trigger> = entry.facts.triggers().collect();
    triggers.sort_unstable();
    triggers.dedup();
    triggers
}
