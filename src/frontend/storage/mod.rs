//! Storage: objects by resource, namespace and name; versions; watches. Reached only after every other stage.

use std::sync::Arc;

use serde_json::Value;

use super::resources::ResourceType;

/// An object as it is stored: immutable, and shared by whoever reads it.
pub type Object = Arc<Value>;

/// Why storage did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// There is such an object.
    #[error("there is such an object")]
    AlreadyExists,
    /// There is none.
    #[error("there is no such object")]
    NotFound,
    /// The object is not at the version, or has not the UID, that was expected.
    #[error("{0}")]
    Conflict(String),
    /// The version to begin at is too old: what happened since is no longer known.
    #[error("too old resource version: {asked} ({oldest})")]
    TooOld {
        /// What was asked for.
        asked: u64,
        /// The oldest that can be had.
        oldest: u64,
    },
    /// There are as many objects as there may be.
    #[error("the storage is full: {0}")]
    Full(String),
}

/// What must hold of the stored object for a change to be made; nothing: anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Preconditions {
    /// `metadata.uid`.
    pub uid: Option<String>,
    /// `metadata.resourceVersion`.
    pub resource_version: Option<String>,
}

/// Objects at one version.
#[derive(Debug, Clone)]
pub struct List {
    /// The objects, by namespace and name.
    pub items: Vec<Object>,
    /// The version of the whole storage at which they were read.
    pub resource_version: u64,
}

/// A change.
#[derive(Debug, Clone)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The object as it is now; as it was last, with the version of its deletion, where it was deleted.
    pub object: Object,
    /// The object as it was before; none where it was added.
    pub previous: Option<Object>,
    /// The version of the change.
    pub resource_version: u64,
}

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// It is new.
    Added,
    /// It is another.
    Modified,
    /// It is gone.
    Deleted,
}

/// Objects by resource, namespace (empty for the cluster's) and name, in memory. Every change takes the next version of
/// one sequence for all of them.
#[derive(Debug, Default)]
pub struct Storage {}

impl Storage {
    /// An empty storage.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An object.
    #[must_use]
    pub fn get(&self, kind: &'static ResourceType, namespace: &str, name: &str) -> Option<Object> {
        let _ = (kind, namespace, name);
        None
    }

    /// The objects of a namespace; of all, where none is named.
    #[must_use]
    pub fn list(&self, kind: &'static ResourceType, namespace: Option<&str>) -> List {
        let _ = (kind, namespace);
        List { items: Vec::new(), resource_version: 0 }
    }
}
