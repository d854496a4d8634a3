//! What everybody sees: the objects, the history, and who watches. A change comes here when it is kept for good.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::contents::{Contents, Place, is_about};
use super::history::{Entry, History};
use super::watch::{Watch, Watchers};
use super::{List, Object, StorageError};
use crate::frontend::resources::ResourceType;

/// The published state.
pub(super) struct State {
    contents: Contents,
    history: History,
    watchers: Watchers,
}

impl State {
    /// These objects, of whose history nothing is known.
    pub(super) fn of(contents: Contents) -> Self {
        let history = History::after(contents.version());
        Self { contents, history, watchers: Watchers::default() }
    }

    pub(super) fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Makes changes, remembers them, and tells those who watch.
    pub(super) fn publish(&mut self, changes: Vec<Entry>) {
        for change in changes {
            self.contents.apply(&change);
            self.watchers.tell(&change);
            self.history.push(change);
        }
    }

    /// Takes the later changes back, latest first.
    pub(super) fn list_at(
        &self,
        kind: &ResourceType,
        namespace: Option<&str>,
        version: u64,
    ) -> Result<List, StorageError> {
        let within = self.contents.within(kind, namespace);
        let mut objects: BTreeMap<&Place, Object> =
            within.map(|(place, stored)| (place, Arc::clone(&stored.object))).collect();
        let later = self.history.since(version, self.contents.version())?;
        for entry in later.rev().filter(|entry| is_about(entry, kind, namespace)) {
            match &entry.event.previous {
                Some(previous) => objects.insert(&entry.place, Arc::clone(previous)),
                None => objects.remove(&entry.place),
            };
        }
        Ok(List { items: objects.into_values().collect(), resource_version: version })
    }

    pub(super) fn watch(
        &mut self,
        kind: &'static ResourceType,
        namespace: Option<&str>,
        since: Option<u64>,
    ) -> Result<Watch, StorageError> {
        let current = self.contents.version();
        let missed = self
            .history
            .since(since.unwrap_or(current), current)?
            .filter(|entry| is_about(entry, kind, namespace))
            .map(|entry| entry.event.clone())
            .collect();
        self.watchers.add(kind, namespace, missed)
    }
}
