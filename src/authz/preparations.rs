//! Facts bound to the policy set in force, beside the facts that they are of.
//!
//! To bind them takes a microsecond or two, and what comes of it is about half as large as the facts: it is kept for those who
//! ask, and not for everybody whose facts are held.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::cache::Entry;
use crate::eval::{Bound, Prepared};

/// For how many subjects bound facts are kept.
const MAX_KEPT: usize = 16_384;

/// The entries whose bound facts are kept, in the order in which they were made.
#[derive(Default)]
pub(super) struct Preparations {
    kept: Mutex<VecDeque<Weak<Entry<Prepared>>>>,
}

impl Preparations {
    /// The facts of an entry bound to this policy set, made where they are not kept.
    pub(super) fn of(&self, bound: &Bound, entry: &Arc<Entry<Prepared>>) -> Arc<Prepared> {
        match entry.prepared.load_full() {
            Some(prepared) if bound.made(&prepared) => return prepared,
            // They take the place of those of another policy set.
            Some(_) => {}
            None => self.keep(entry),
        }
        let prepared = Arc::new(bound.prepare(Arc::clone(&entry.facts)));
        entry.prepared.store(Some(Arc::clone(&prepared)));
        prepared
    }

    fn keep(&self, entry: &Arc<Entry<Prepared>>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back(Arc::downgrade(entry));
        let oldest = if kept.len() > MAX_KEPT { kept.pop_front() } else { None };
        drop(kept);
        if let Some(oldest) = oldest.and_then(|oldest| oldest.upgrade()) {
            oldest.prepared.store(None);
        }
    }
}
