//! The journeys of the last requests, and whoever watches new ones come.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use super::Journey;
use super::audit::AuditLog;

/// How many journeys are kept; older ones are forgotten.
pub const MAX_JOURNEYS: usize = 1_000;

/// How many journeys a watcher may be behind before it misses some.
const MAX_BEHIND: usize = 256;

/// The journeys of the last requests.
#[derive(Debug)]
pub struct Journeys {
    kept: Mutex<VecDeque<Arc<Journey>>>,
    new: broadcast::Sender<Arc<Journey>>,
    audit: Option<AuditLog>,
}

impl Journeys {
    /// None yet. Each is written to the audit log as well, where there is one.
    #[must_use]
    pub fn new(audit: Option<AuditLog>) -> Self {
        Self { kept: Mutex::default(), new: broadcast::Sender::new(MAX_BEHIND), audit }
    }

    /// Keeps a journey that has ended.
    pub fn add(&self, journey: Journey) {
        if let Some(audit) = &self.audit {
            audit.write(&journey);
        }
        let journey = Arc::new(journey);
        let mut kept = self.kept();
        if kept.len() >= MAX_JOURNEYS {
            kept.pop_front();
        }
        kept.push_back(Arc::clone(&journey));
        drop(kept);
        // Nobody may be watching.
        let _receivers = self.new.send(journey);
    }

    /// The journey with this `Audit-ID`.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Arc<Journey>> {
        self.kept().iter().rev().find(|journey| journey.id == id).cloned()
    }

    /// The last journeys, the newest first.
    #[must_use]
    pub fn last(&self, most: usize) -> Vec<Arc<Journey>> {
        self.kept().iter().rev().take(most).cloned().collect()
    }

    /// Journeys from now on.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<Arc<Journey>> {
        self.new.subscribe()
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Arc<Journey>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
