//! The objects themselves, and the one sequence of versions; how a change is judged, and what it makes of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::history::Entry;
use super::{Event, EventKind, List, Object, Preconditions, StorageError};
use crate::frontend::meta;
use crate::frontend::resources::{self, ResourceType};

/// How many objects there may be.
pub const MAX_OBJECTS: usize = 100_000;

/// How large all objects together may be, in bytes of JSON.
pub const MAX_BYTES: usize = 256 << 20;

/// How large one object may be, in bytes of JSON: what etcd takes by default.
pub const MAX_OBJECT_BYTES: usize = 3 << 19;

/// How deep lists and fields of an object may stand in one another: what is written must be read again, by whoever reads
/// JSON to the depth of 128 as we do, in a list too.
pub const MAX_DEPTH: usize = 120;

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

/// All objects at one version.
#[derive(Clone)]
pub(super) struct Contents {
    version: u64,
    /// By group and resource.
    objects: BTreeMap<(&'static str, &'static str), Objects>,
    count: usize,
    bytes: usize,
}

/// What objects become by changes that nobody is told of yet.
pub(super) struct Draft<'a> {
    contents: &'a mut Contents,
    changes: Vec<Entry>,
}

impl Contents {
    pub(super) fn starting_at(version: u64) -> Self {
        // Zero is no version: clients write it for "any".
        Self { version: version.max(1), objects: BTreeMap::new(), count: 0, bytes: 0 }
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

    /// Makes a change that was judged by objects as these are.
    pub(super) fn apply(&mut self, change: &Entry) {
        let kind = change.resource;
        self.forget(kind, &change.place);
        if change.event.kind != EventKind::Deleted {
            let object = Arc::clone(&change.event.object);
            self.keep(kind, change.place.clone(), Sized { object, bytes: change.bytes });
        }
        self.version = change.event.resource_version;
    }

    /// Keeps an object that was stored by another process, as it is; its size is that of its JSON.
    pub(super) fn restore(&mut self, kind: &ResourceType, place: Place, object: Value, bytes: usize) {
        self.keep(kind, place, Sized { object: Arc::new(object), bytes });
    }

    fn has_lasting_namespace(&self, name: &str) -> bool {
        let namespace = resources::find("", "namespaces").and_then(|kind| self.get(kind, "", name));
        namespace.is_some_and(|namespace| meta::text(&namespace, "deletionTimestamp").is_empty())
    }

    fn stored(&self, kind: &ResourceType, place: &Place) -> Option<&Sized> {
        self.objects.get(&(kind.group, kind.resource))?.get(place)
    }

    pub(super) fn within(
        &self,
        kind: &ResourceType,
        namespace: Option<&str>,
    ) -> impl Iterator<Item = (&Place, &Sized)> {
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
        if is_deeper_than(&object, MAX_DEPTH) {
            return Err(StorageError::TooDeep(MAX_DEPTH));
        }
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
}

impl<'a> Draft<'a> {
    /// Changes of these objects, which are as they will be when everything that is under way is done.
    pub(super) fn of(contents: &'a mut Contents) -> Self {
        Self { contents, changes: Vec::new() }
    }

    /// What was changed, in its order.
    pub(super) fn into_changes(self) -> Vec<Entry> {
        self.changes
    }

    /// The size of the changed objects together, in bytes of JSON.
    pub(super) fn bytes(&self) -> usize {
        self.changes.iter().map(|change| change.bytes).sum()
    }

    pub(super) fn create(
        &mut self,
        kind: &'static ResourceType,
        place: Place,
        mut object: Value,
    ) -> Result<Object, StorageError> {
        if self.contents.stored(kind, &place).is_some() {
            return Err(StorageError::AlreadyExists);
        }
        if self.contents.count >= MAX_OBJECTS {
            return Err(StorageError::Full(format!("there are {MAX_OBJECTS} objects")));
        }
        set_version(&mut object, self.next_version());
        let sized = self.contents.sized(object, 0)?;
        Ok(self.change(kind, place, EventKind::Added, None, sized))
    }

    pub(super) fn create_within(
        &mut self,
        kind: &'static ResourceType,
        place: Place,
        object: Value,
    ) -> Result<Object, StorageError> {
        if kind.namespaced && !self.contents.has_lasting_namespace(&place.0) {
            return Err(StorageError::NoNamespace(place.0));
        }
        self.create(kind, place, object)
    }

    pub(super) fn update(
        &mut self,
        kind: &'static ResourceType,
        place: Place,
        expected: &Preconditions,
        mut object: Value,
    ) -> Result<Object, StorageError> {
        let previous = self.contents.expected(kind, &place, expected)?;
        // An object that is otherwise the same is the same.
        set_version_text(&mut object, meta::text(&previous.object, "resourceVersion"));
        if object == *previous.object {
            return Ok(previous.object);
        }
        set_version(&mut object, self.next_version());
        let sized = self.contents.sized(object, previous.bytes)?;
        Ok(self.change(kind, place, EventKind::Modified, Some(previous.object), sized))
    }

    pub(super) fn delete(
        &mut self,
        kind: &'static ResourceType,
        place: Place,
        expected: &Preconditions,
    ) -> Result<Object, StorageError> {
        let previous = self.contents.expected(kind, &place, expected)?;
        let mut last = Value::clone(&previous.object);
        set_version(&mut last, self.next_version());
        let last = Sized { object: Arc::new(last), bytes: previous.bytes };
        Ok(self.change(kind, place, EventKind::Deleted, Some(previous.object), last))
    }

    pub(super) fn delete_collection(
        &mut self,
        kind: &'static ResourceType,
        namespace: Option<&str>,
        matches: impl Fn(&Value) -> bool,
    ) -> Vec<Object> {
        let within = self.contents.within(kind, namespace);
        let doomed = within.filter(|(_, stored)| matches(&stored.object)).map(|(place, _)| place.clone());
        let doomed: Vec<Place> = doomed.collect();
        let whatever = Preconditions::default();
        doomed.into_iter().filter_map(|place| self.delete(kind, place, &whatever).ok()).collect()
    }

    pub(super) fn finish_namespace(&mut self, name: &str) -> bool {
        let is_empty = resources::RESOURCES
            .iter()
            .filter(|kind| kind.namespaced)
            .all(|kind| self.contents.within(kind, Some(name)).next().is_none());
        let Some(kind) = resources::find("", "namespaces") else { return false };
        let Some(namespace) = self.contents.get(kind, "", name) else { return false };
        let is_held = namespace.pointer("/metadata/finalizers/0").is_some();
        let is_going = !meta::text(&namespace, "deletionTimestamp").is_empty();
        let whatever = Preconditions::default();
        is_empty && is_going && !is_held && self.delete(kind, place("", name), &whatever).is_ok()
    }

    fn next_version(&self) -> u64 {
        self.contents.version.saturating_add(1)
    }

    /// Takes the next version for a change that is in order.
    fn change(
        &mut self,
        kind: &'static ResourceType,
        place: Place,
        what: EventKind,
        previous: Option<Object>,
        now: Sized,
    ) -> Object {
        let Sized { object, bytes } = now;
        let resource_version = self.next_version();
        let event = Event { kind: what, object: Arc::clone(&object), previous, resource_version };
        let change = Entry { resource: kind, place, event, bytes };
        self.contents.apply(&change);
        self.changes.push(change);
        object
    }
}

/// Whether a change is about an object of this resource, in this namespace or any.
pub(super) fn is_about(entry: &Entry, kind: &ResourceType, namespace: Option<&str>) -> bool {
    (entry.resource.group, entry.resource.resource) == (kind.group, kind.resource)
        && namespace.is_none_or(|namespace| entry.place.0 == namespace)
}

pub(super) fn place(namespace: &str, name: &str) -> Place {
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

fn is_deeper_than(value: &Value, levels: usize) -> bool {
    let deeper = |inner: &Value| levels.checked_sub(1).is_none_or(|levels| is_deeper_than(inner, levels));
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(deeper),
        Value::Object(fields) => levels == 0 || fields.values().any(deeper),
        _ => false,
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
