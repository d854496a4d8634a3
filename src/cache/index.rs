//! From what a change is recognised by to the entries that it concerns.
//!
//! Every held subject has a place: a small integer that stays the same while its entry is replaced by newer ones, so that a
//! refresh which finds the same groups changes nothing here. A list may name places whose entry no longer has the trigger's
//! entity, until it is swept: an invalidation too many costs a load, one too few would be a lost revocation.

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Weak};

use super::entry::Entry;
use crate::model::Trigger;

/// How many places there may be before those of dead entries are looked for.
pub(super) const MIN_PLACES: usize = 1_024;

/// The place of a subject.
pub(super) type Place = u32;

/// The places of a trigger. Most triggers are those of one person: these must be small.
enum Places {
    One(Place),
    Many(Box<Vec<Place>>),
}

/// See the [module](self).
pub(super) struct Index<P> {
    by_trigger: HashMap<Trigger, Places, BuildHasherDefault<Hashed>>,
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
        Self { by_trigger: HashMap::default(), entries: Vec::new(), free: Vec::new(), sweep_at: MIN_PLACES }
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
        let places = self.by_trigger.get(&trigger).map_or(&[][..], Places::as_slice);
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
        match self.by_trigger.entry(trigger) {
            MapEntry::Vacant(vacant) => {
                vacant.insert(Places::One(place));
            }
            MapEntry::Occupied(mut places) => match places.get_mut() {
                Places::One(one) => {
                    let many = Box::new(vec![*one, place]);
                    places.insert(Places::Many(many));
                }
                Places::Many(many) => many.push(place),
            },
        }
    }

    fn remove(&mut self, trigger: Trigger, place: Place) {
        if let MapEntry::Occupied(mut places) = self.by_trigger.entry(trigger) {
            places.get_mut().retain(|held| *held != place);
            if places.get().as_slice().is_empty() {
                places.remove();
            }
        }
    }

    /// Frees the places of entries that are gone, and takes them out of every list.
    fn sweep(&mut self) {
        let live: Vec<bool> = self.entries.iter().map(|entry| entry.strong_count() > 0).collect();
        let is_live = |place: &Place| {
            usize::try_from(*place).ok().and_then(|place| live.get(place)).copied().unwrap_or(false)
        };
        self.by_trigger.retain(|_, places| {
            places.retain(is_live);
            if let Places::Many(many) = places {
                many.shrink_to_fit();
            }
            !places.as_slice().is_empty()
        });
        self.by_trigger.shrink_to_fit();
        self.free = (0..).zip(&live).filter(|(_, live)| !**live).map(|(place, _)| place).collect();
        let held = self.entries.len().saturating_sub(self.free.len());
        self.sweep_at = held.saturating_mul(2).max(MIN_PLACES);
    }

    #[cfg(test)]
    pub(super) fn references(&self) -> usize {
        self.by_trigger.values().map(|places| places.as_slice().len()).sum()
    }

    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        self.entries.len()
    }
}

impl Places {
    fn as_slice(&self) -> &[Place] {
        match self {
            Self::One(place) => std::slice::from_ref(place),
            Self::Many(places) => places,
        }
    }

    /// Keeps some. What is left of one may be none, of which there must be no list.
    fn retain(&mut self, keep: impl Fn(&Place) -> bool) {
        match self {
            Self::One(place) if keep(place) => {}
            Self::One(_) => *self = Self::Many(Box::default()),
            Self::Many(places) => places.retain(keep),
        }
    }
}

fn sorted<P>(entry: &Entry<P>) -> Vec<Trigger> {
    let mut triggers: Vec<Trigger> = entry.facts.triggers().collect();
    triggers.sort_unstable();
    triggers.dedup();
    triggers
}
