//! A bounded cache of anything, each entry with an end of its own: what somebody else decided, kept for a while.

use std::hash::Hash;
use std::time::Instant;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

/// Values until an instant each; the least recently used go first where there are too many.
pub struct TtlCache<K, V> {
    entries: Cache<K, (V, Instant)>,
}

impl<K, V> TtlCache<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// An empty cache for at most this many entries.
    #[must_use]
    pub fn new(max_entries: u64) -> Self {
        let entries =
            Cache::builder().max_capacity(max_entries).eviction_policy(EvictionPolicy::lru()).build();
        Self { entries }
    }

    /// What is held, unless it has ended by `now`.
    pub fn get(&self, key: &K, now: Instant) -> Option<V> {
        let (value, until) = self.entries.get(key)?;
        if now < until {
            return Some(value);
        }
        self.entries.invalidate(key);
        None
    }

    /// Holds a value until then, instead of what was held before.
    pub fn insert(&self, key: K, value: V, until: Instant) {
        self.entries.insert(key, (value, until));
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.entries.invalidate_all();
    }
}

impl<K, V> std::fmt::Debug for TtlCache<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TtlCache").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_held_ends_at_its_instant() {
        let cache = TtlCache::new(10);
        let now = Instant::now();
        let end = now + Duration::from_secs(5);
        cache.insert("a", 1, end);
        assert_eq!(cache.get(&"a", now), Some(1));
        assert_eq!(cache.get(&"b", now), None);
        cache.insert("a", 2, end);
        assert_eq!(cache.get(&"a", end - Duration::from_nanos(1)), Some(2));
        assert_eq!(cache.get(&"a", end), None);
        cache.insert("a", 3, end);
        cache.clear();
        assert_eq!(cache.get(&"a", now), None);
    }

    #[test]
    fn there_are_never_many_more_than_the_bound() {
        let cache = TtlCache::new(10);
        let end = Instant::now() + Duration::from_secs(60);
        for key in 0..1_000 {
            cache.insert(key, key, end);
        }
        cache.entries.run_pending_tasks();
        assert!(cache.entries.entry_count() <= 10);
    }
}
