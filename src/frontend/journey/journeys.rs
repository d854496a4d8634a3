//! The journeys of the last requests, and whoever watches new ones come.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use super::Journey;
use super::audit::AuditLog;
use crate::frontend::request_info::MAX_METHOD_BYTES;

/// How many journeys are kept; older ones are forgotten.
pub const MAX_JOURNEYS: usize = 1_000;

/// How long a text of a journey may be, in bytes; a longer one is cut. What is said of a role, or of what is wrong with an
/// object, is as long as those who wrote them like, and of the last requests all is kept.
const MAX_TEXT_BYTES: usize = 2 * 1024;

/// How long the path and query of a journey may be, in bytes; longer ones are refused, and cut here.
const MAX_URI_BYTES: usize = super::super::request_info::MAX_TARGET_BYTES;

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

    /// Keeps a journey that has ended, its texts cut where they are too long.
    pub fn add(&self, mut journey: Journey) {
        bound(&mut journey);
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

fn bound(journey: &mut Journey) {
    cut(&mut journey.method, MAX_METHOD_BYTES);
    cut(&mut journey.uri, MAX_URI_BYTES);
    let steps = journey.stages.iter_mut().flat_map(|stage| {
        let steps = stage.steps.iter_mut().map(|step| &mut step.detail);
        std::iter::once(&mut stage.summary).chain(steps)
    });
    let texts = steps.chain(journey.annotations.values_mut()).chain(&mut journey.message);
    texts.for_each(|text| cut(text, MAX_TEXT_BYTES));
}

fn cut(text: &mut String, most: usize) {
    const MARK: &str = "...";
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most.saturating_sub(MARK.len())));
        text.push_str(MARK);
        text.shrink_to_fit();
    }
}
