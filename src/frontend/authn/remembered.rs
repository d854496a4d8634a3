//! What was found out of a secret a short while ago, so that not every request asks again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::digest::Trace;

/// A bounded table of answers that are good for a while. Where it is full, what would end first goes.
#[derive(Debug)]
pub(super) struct Remembered<T> {
    entries: Mutex<HashMap<Trace, Entry<T>>>,
    most: usize,
    lifetime: SignedDuration,
}

#[derive(Debug)]
struct Entry<T> {
    until: Timestamp,
    value: T,
}

impl<T: Clone> Remembered<T> {
    /// A table of at most so many answers, each of them good for so long.
    pub(super) fn new(most: usize, lifetime: SignedDuration) -> Self {
        Self { entries: Mutex::default(), most, lifetime }
    }

    /// The answer, where it is still good.
    pub(super) fn get(&self, trace: &Trace, now: Timestamp) -> Option<T> {
        let entries = self.entries();
        let entry = entries.get(trace)?;
        // A clock that was set back does not make an answer live longer than it was to.
        let is_good = now < entry.until && entry.until.duration_since(now) <= self.lifetime;
        is_good.then(|| entry.value.clone())
    }

    /// Remembers an answer.
    pub(super) fn put(&self, trace: Trace, value: T, now: Timestamp) {
        let Ok(until) = now.checked_add(self.lifetime) else { return };
        let mut entries = self.entries();
        if entries.len() >= self.most && !entries.contains_key(&trace) {
            entries.retain(|_, entry| now < entry.until);
            if entries.len() >= self.most
                && let Some(first) = entries.iter().min_by_key(|(_, entry)| entry.until).map(|(key, _)| *key)
            {
                entries.remove(&first);
            }
        }
        entries.insert(trace, Entry { until, value });
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Trace, Entry<T>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn an_answer_is_good_for_its_time_and_no_longer() {
        let table = Remembered::new(10, SignedDuration::from_secs(10));
        table.put([1; 32], "yes", at(100));
        assert_eq!(table.get(&[1; 32], at(109)), Some("yes"));
        assert_eq!(table.get(&[1; 32], at(110)), None);
        assert_eq!(table.get(&[1; 32], at(50)), None, "a clock that was set back");
        assert_eq!(table.get(&[2; 32], at(100)), None);
    }

    #[test]
    fn a_full_table_forgets_what_ends_first() {
        let table = Remembered::new(2, SignedDuration::from_secs(10));
        for (key, second) in [(1, 100), (2, 101), (3, 102)] {
            table.put([key; 32], key, at(second));
        }
        assert_eq!([1, 2, 3].map(|key| table.get(&[key; 32], at(103))), [None, Some(2), Some(3)]);
    }
}
