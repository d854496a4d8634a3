//! The objects themselves, and the one sequence of versions.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::history::{Entry, History};
use super::watch::{Watch, Watchers};
use super::{Event, EventKind, List, Object, Preconditions, StorageError};
use crate::frontend::meta;
use crate::frontend::resources::{self, ResourceType};

/// How many objects there may be.
pub const MAX_OBJECTS: usize = 100_000;

/// How large all objects together may be, in bytes of JSON.
pub const MAX_BYTES: usize = 256 << 20;

/// How large one object may be, in bytes of JSON: what etcd takes by default.
pub const MAX_OBJECT_BYTES: usize = 3 << 19;

/// Namespace (empty for the cluster's objects) and name.
pub(super) type Place = (String, String);

/// The objects of one resource.
type Objects = BTreeMap<Place, Sized>;

/// An object and its size in bytes of JSON.
#[derive(Clone)]
pub(super) struct Sized {
    pub(super) object: Object,
    pub(super) bytes: usize,
}

pub(super) struct State {
    version: u64,
    /// By group and resource.
    objects: BTreeMap<(&'static str, &'static str), Objects>,
    count: usize,
    bytes: usize,
    history: History,
    watchers: Watchers,
}

impl Default for State {
    fn default() -> Self {
        Self::starting_at(0)
    }
}

impl State {
    pub(super) fn starting_at(version: u64) -> Self {
        // Zero is no version: clients write it for "any".
        let version = version.max(1);
        Self {
            version,
            objects: BTreeMap::new(),
            count: 0,
            bytes: 0,
            history: History::after(version),
            watchers: Watchers::default(),
        }
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn get(&self, kind: &ResourceType, namespace: &str, name: &str) -> Option<Object> {
        self.stored(kind, &place(namespace, name)).map(|stored| Arc::clone(&stored.object))
    }

    pub(super) fn list(&self, kind: &ResourceType, namespace: Option<&str>) -> List {
        let items = self.within(kind, namespace).map(|(_, stored)| Arc::clone(&stored.object)).collect();
        List { items, resource_version: self.version }
    }

    /// Takes the later changes back, latest first.
    pub(super) fn list_at(
        &self,
        kind: &ResourceType,
        namespace: Option<&str>,
        version: u64,
    ) -> Result<List, StorageError> {
        let mut objects: BTreeMap<&Place, Object> =
            self.within(kind, namespace).map(|(place, stored)| (place, Arc::clone(&stored.object))).collect();
        let later = self.history.since(version, self.version)?;
        for entry in later.rev().filter(|entry| is_about(entry, kind, namespace)) {
            match &entry.event.previous {
                Some(previous) => objects.insert(&entry.place, Arc::clone(previous)),
                None => objects.remove(&entry.place),
            };
        }
        Ok(List { items: objects.into_values().collect(), resource_version: version })
    }

    pub(super) fn has_lasting_namespace(&self, name: &str) -> bool {
        let namespace = resources::find("", "namespaces").and_then(|kind| self.get(kind, "", name));
        namespace.is_some_and(|namespace| meta::text(&namespace, "deletionTimestamp").is_empty())
    }

    pub(super) fn create(
        &mut self,
        kind: &'static ResourceType,
        namespace: &str,
        name: &str,
        mut object: Value,
    ) -> Result<Object, StorageError> {
        let place = place(namespace, name);
        if self.stored(kind, &place).is_some() {
            return Err(StorageError::AlreadyExists);
        }
        if self.count >= MAX_OBJECTS {
            return Err(StorageError::Full(format!("there are {MAX_OBJECTS} objects")));
        }
        let version = self.version.saturating_add(1);
        set_version(&mut object, version);
        let sized = self.sized(object, 0)?;
        let object = Arc::clone(&sized.object);
        self.keep(kind, place.clone(), sized.clone());
        self.tell(kind, place, EventKind::Added, None, &sized);
        Ok(object)
    }

    pub(super) fn update(
        &mut self,
        kind: &'static ResourceType,
        namespace: &str,
        name: &str,
        expected: &Preconditions,
        mut object: Value,
    ) -> Result<Object, StorageError> {
        let place = place(namespace, name);
        let previous = self.expected(kind, &place, expected)?;
        // An object that is otherwise the same is the same.
        set_version_text(&mut object, meta::text(&previous.object, "resourceVersion"));
        if object == *previous.object {
            return Ok(previous.object);
        }
        set_version(&mut object, self.version.saturating_add(1));
        let sized = self.sized(object, previous.bytes)?;
        let object = Arc::clone(&sized.object);
        self.forget(kind, &place);
        self.keep(kind, place.clone(), sized.clone());
        self.tell(kind, place, EventKind::Modified, Some(previous.object), &sized);
        Ok(object)
    }

    pub(super) fn delete(
        &mut self,
        kind: &'static ResourceType,
        namespace: &str,
        name: &str,
        expected: &Preconditions,
    ) -> Result<Object, StorageError> {
        let place = place(namespace, name);
        let previous = self.expected(kind, &place, expected)?;
        let mut last = Value::clone(&previous.object);
        set_version(&mut last, self.version.saturating_add(1));
        let last = Sized { object: Arc::new(last), bytes: previous.bytes };
        self.forget(kind, &place);
        self.tell(kind, place, EventKind::Deleted, Some(previous.object), &last);
        Ok(last.object)
    }

    pub(super) fn finish_namespace(&mut self, name: &str) -> bool {
        let is_empty = resources::RESOURCES
            .iter()
            .filter(|kind| kind.namespaced)
            .all(|kind| self.within(kind, Some(name)).next().is_none());
        let Some(kind) = resources::find("", "namespaces") else { return false };
        let Some(namespace) = self.get(kind, "", name) else { return false };
        let is_held = namespace.pointer("/metadata/finalizers/0").is_some();
        let is_going = !meta::text(&namespace, "deletionTimestamp").is_empty();
        is_empty && is_going && !is_held && self.delete(kind, "", name, &Preconditions::default()).is_ok()
    }

    pub(super) fn watch(
        &mut self,
        kind: &'static ResourceType,
        namespace: Option<&str>,
        since: Option<u64>,
    ) -> Result<Watch, StorageError> {
        let missed = self
            .history
            .since(since.unwrap_or(self.version), self.version)?
            .filter(|entry| is_about(entry, kind, namespace))
            .map(|entry| entry.event.clone())
            .collect();
        self.watchers.add(kind, namespace, missed)
    }

    fn stored(&self, kind: &ResourceType, place: &Place) -> Option<&Sized> {
        self.objects.get(&(kind.group, kind.resource))?.get(place)
    }

    fn within(&self, kind: &ResourceType, namespace: Option<&str>) -> impl Iterator<Item = (&Place, &Sized)> {
        let from = place(namespace.unwrap_or_default(), "");
        let namespace = namespace.map(str::to_owned);
        let objects = self.objects.get(&(kind.group, kind.resource));
        let after = objects.into_iter().flat_map(move |objects| objects.range(from.clone()..));
        after.take_while(move |((other, _), _)| namespace.as_ref().is_none_or(|namespace| other == namespace))
    }

    /// The object, where it is as expected.
    fn expected(
        &self,
        kind: &ResourceType,
        place: &Place,
        expected: &Preconditions,
    ) -> Result<Sized, StorageError> {
        let stored = self.stored(kind, place).ok_or(StorageError::NotFound)?;
        let is = |field| meta::text(&stored.object, field);
        if let Some(uid) = expected.uid.as_deref().filter(|uid| *uid != is("uid")) {
            return Err(StorageError::Conflict(format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                is("uid")
            )));
        }
        let version = expected.resource_version.as_deref();
        if let Some(version) = version.filter(|version| *version != is("resourceVersion")) {
            return Err(StorageError::Conflict(format!(
                "Precondition failed: ResourceVersion in precondition: {version}, ResourceVersion in object meta: {}",
                is("resourceVersion")
            )));
        }
        Ok(stored.clone())
    }

    /// Measures an object that is to take the place of one of so many bytes.
    fn sized(&self, object: Value, instead_of: usize) -> Result<Sized, StorageError> {
        let bytes = measure(&object);
        if bytes > MAX_OBJECT_BYTES {
            return Err(StorageError::TooLarge(MAX_OBJECT_BYTES));
        }
        if self.bytes.saturating_sub(instead_of).saturating_add(bytes) > MAX_BYTES {
            return Err(StorageError::Full(format!("all objects together may have {MAX_BYTES} bytes")));
        }
        Ok(Sized { object: Arc::new(object), bytes })
    }

    fn keep(&mut self, kind: &ResourceType, place: Place, sized: Sized) {
        self.bytes = self.bytes.saturating_add(sized.bytes);
        self.count = self.count.saturating_add(1);
        self.objects.entry((kind.group, kind.resource)).or_default().insert(place, sized);
    }

    fn forget(&mut self, kind: &ResourceType, place: &Place) {
        let objects = self.objects.get_mut(&(kind.group, kind.resource));
        if let Some(gone) = objects.and_then(|objects| objects.remove(place)) {
            self.bytes = self.bytes.saturating_sub(gone.bytes);
            self.count = self.count.saturating_sub(1);
        }
    }

    /// Takes the next version for a change that is made, remembers it, and tells those who watch.
    fn tell(
        &mut self,
        kind: &'static ResourceType,
        place: Place,
        what: EventKind,
        previous: Option<Object>,
        now: &Sized,
    ) {
        self.version = self.version.saturating_add(1);
        let object = Arc::clone(&now.object);
        let event = Event { kind: what, object, previous, resource_version: self.version };
        let entry = Entry::new(kind, place, event, now);
        self.watchers.tell(&entry);
        self.history.push(entry);
    }
}

/// Whether a change is about an object of this resource, in this namespace or any.
pub(super) fn is_about(entry: &Entry, kind: &ResourceType, namespace: Option<&str>) -> bool {
    (entry.resource.group, entry.resource.resource) == (kind.group, kind.resource)
        && namespace.is_none_or(|namespace| entry.place.0 == namespace)
}

fn place(namespace: &str, name: &str) -> Place {
    (namespace.to_owned(), name.to_owned())
}

fn set_version(object: &mut Value, version: u64) {
    set_version_text(object, &version.to_string());
}

fn set_version_text(object: &mut Value, version: &str) {
    let Some(object) = object.as_object_mut() else { return };
    let metadata = object.entry("metadata").or_insert_with(|| Value::Object(serde_json::Map::new()));
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.insert("resourceVersion".into(), version.into());
    }
}

/// The size of a value as JSON, in bytes.
fn measure(value: &Value) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.saturating_add(bytes.len());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Counting cannot fail, and a value has only keys that are text.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}
