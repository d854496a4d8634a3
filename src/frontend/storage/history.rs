//! The latest changes, for whoever resumes a watch or goes on with a list.

use std::collections::VecDeque;

use super::contents::Place;
use super::{Event, StorageError};
use crate::frontend::resources::ResourceType;

/// How many changes are remembered.
pub const MAX_HISTORY_EVENTS: usize = 10_000;

/// How large the remembered changes may be together, in bytes of JSON.
pub const MAX_HISTORY_BYTES: usize = 64 << 20;

/// A change, and to what kind of object.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) resource: &'static ResourceType,
    pub(super) place: Place,
    pub(super) event: Event,
    /// The size of the object, in bytes of JSON.
    pub(super) bytes: usize,
}

/// The latest changes, oldest first, without a gap.
#[derive(Debug, Default)]
pub(super) struct History {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The version of the latest change that is forgotten, or the one that the storage began at.
    forgotten: u64,
}

impl History {
    pub(super) fn after(version: u64) -> Self {
        Self { forgotten: version, ..Self::default() }
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.bytes = self.bytes.saturating_add(entry.bytes);
        self.entries.push_back(entry);
        while self.entries.len() > MAX_HISTORY_EVENTS || self.bytes > MAX_HISTORY_BYTES {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(oldest.bytes);
            self.forgotten = oldest.event.resource_version;
        }
    }

    /// What happened after a version, oldest first.
    pub(super) fn since(
        &self,
        version: u64,
        current: u64,
    ) -> Result<impl DoubleEndedIterator<Item = &Entry>, StorageError> {
        if version < self.forgotten {
            let oldest = self.forgotten.saturating_add(1);
            return Err(StorageError::TooOld { asked: version, oldest });
        }
        if version > current {
            return Err(StorageError::TooNew { asked: version, current });
        }
        let from = self.entries.partition_point(|entry| entry.event.resource_version <= version);
        Ok(self.entries.iter().skip(from))
    }
}
