//! What was given up because of changes is given up once more, where it may have been read again from a server that had not
//! heard of them yet.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::model::{EntityId, Trigger};

/// When that is. Replicas that are further behind are bounded by the lives of facts.
const LAGS: [Duration; 2] = [Duration::from_secs(15), Duration::from_secs(60)];
/// Changes within this time are remembered together.
const SLICE: Duration = Duration::from_secs(1);
/// How many triggers are remembered of one slice. Of more, only that there were: all is given up.
const MAX_TRIGGERS: usize = 32_768;

/// What was given up lately.
#[derive(Default)]
pub(super) struct Lag {
    slices: Mutex<VecDeque<Slice>>,
    /// Woken when there is something to do later.
    pub(super) something_later: Notify,
}

/// Something that was given up.
#[derive(Debug)]
pub(super) enum Given<'a> {
    /// What these concern.
    Entries(&'a [Trigger]),
    /// The facts of these members that do not have the group.
    Joining(&'a [Trigger], &'a EntityId),
    /// Everything.
    All,
    /// What names of groups stand for.
    Names,
}

/// What is to be given up again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Again {
    pub(super) entries: HashSet<Trigger>,
    pub(super) joining: Vec<(EntityId, Vec<Trigger>)>,
    pub(super) all: bool,
    pub(super) names: bool,
}

/// What was given up within a slice of time.
struct Slice {
    begun: Instant,
    /// How many lookups had been of a server that may lag behind.
    strayed: u64,
    given: Again,
    size: usize,
    /// How often it was looked at.
    rounds: usize,
}

impl Lag {
    /// Remembers what was given up. `strayed` counts the lookups that were not of the server that told of the change.
    pub(super) fn remember(&self, given: Given<'_>, strayed: u64, now: Instant) {
        let mut slices = self.slices();
        let is_new = slices.back().is_none_or(|slice| now >= slice.begun + SLICE);
        if is_new {
            slices.push_back(Slice { begun: now, strayed, given: Again::default(), size: 0, rounds: 0 });
        }
        if let Some(slice) = slices.back_mut() {
            slice.take(given);
        }
        drop(slices);
        if is_new {
            self.something_later.notify_one();
        }
    }

    /// What is to be given up again now: what was given up so long ago, if a lookup was of another server since.
    pub(super) fn due(&self, strayed: u64, now: Instant) -> Again {
        let mut slices = self.slices();
        let mut again = Again::default();
        for slice in slices.iter_mut() {
            while slice.next_due().is_some_and(|due| due <= now) {
                slice.rounds += 1;
                if slice.strayed != strayed {
                    again.add(&slice.given);
                }
            }
        }
        slices.retain(|slice| slice.next_due().is_some());
        again
    }

    /// When [`due`](Self::due) has something to say.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.slices().iter().filter_map(Slice::next_due).min()
    }

    fn slices(&self) -> MutexGuard<'_, VecDeque<Slice>> {
        self.slices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slice {
    fn next_due(&self) -> Option<Instant> {
        Some(self.begun + SLICE + *LAGS.get(self.rounds)?)
    }

    fn take(&mut self, given: Given<'_>) {
        match given {
            Given::Names => self.given.names = true,
            Given::All => self.given.all = true,
            Given::Entries(triggers) if !self.given.all => {
                self.given.entries.extend(triggers);
                self.size = self.size.saturating_add(triggers.len());
            }
            Given::Joining(members, group) if !self.given.all => {
                self.given.joining.push((group.clone(), members.to_vec()));
                // One for the group itself.
                self.size = self.size.saturating_add(members.len()).saturating_add(1);
            }
            Given::Entries(_) | Given::Joining(..) => {}
        }
        if self.size > MAX_TRIGGERS {
            self.given.all = true;
        }
        if self.given.all {
            (self.given.entries, self.given.joining) = Default::default();
        }
    }
}

impl Again {
    fn add(&mut self, other: &Self) {
        self.entries.extend(&other.entries);
        self.joining.extend(other.joining.iter().cloned());
        self.all |= other.all;
        self.names |= other.names;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn triggers(count: usize) -> Vec<Trigger> {
        (0..count).map(|number| Trigger::named(&number.to_string())).collect()
    }

    /// After each of the two lags, with a moment to spare.
    const LATER: [Duration; 2] = [Duration::from_secs(16), Duration::from_secs(61)];

    #[test]
    fn what_may_have_been_read_from_elsewhere_is_given_up_again_twice_and_nothing_else() {
        let (lag, start) = (Lag::default(), Instant::now());
        let (group, members) = (EntityId::new("g"), triggers(3));
        lag.remember(Given::Entries(&members[..1]), 7, start);
        lag.remember(Given::Joining(&members, &group), 7, start + SLICE / 2);
        assert_eq!(lag.next_due(), Some(start + LATER[0]));
        assert_eq!(lag.due(8, start + LAGS[0]), Again::default(), "too early");
        assert_eq!(
            lag.due(7, start + LATER[0]),
            Again::default(),
            "all lookups were of the server that told"
        );
        let given = Again {
            entries: members[..1].iter().copied().collect(),
            joining: vec![(group, members)],
            ..Again::default()
        };
        assert_eq!(lag.next_due(), Some(start + LATER[1]));
        assert_eq!(lag.due(8, start + LATER[1]), given, "one was not, since");
        assert_eq!((lag.next_due(), lag.due(9, start + 2 * LATER[1])), (None, Again::default()));
        lag.remember(Given::Names, 8, start);
        assert!(lag.due(9, start + LATER[0]).names && lag.due(9, start + LATER[1]).names);
    }

    #[test]
    fn of_a_storm_it_is_remembered_that_there_was_one() {
        let (lag, start) = (Lag::default(), Instant::now());
        let group = EntityId::new("g");
        lag.remember(Given::Entries(&triggers(MAX_TRIGGERS)), 0, start);
        lag.remember(Given::Entries(&triggers(10)), 0, start);
        lag.remember(Given::Joining(&triggers(10), &group), 0, start);
        let again = lag.due(1, start + LATER[0]);
        assert_eq!(again, Again { all: true, ..Again::default() });
        for second in 0..1_000 {
            let now = start + Duration::from_secs(second);
            lag.remember(Given::All, 0, now);
            let _ = lag.due(0, now);
        }
        assert!(lag.slices().len() <= 62);
    }
}
