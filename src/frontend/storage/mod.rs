//! Storage: objects by resource, namespace and name; versions; watches. Reached only after every other stage.
//!
//! It is in memory, and the only state is [`Storage`] behind one lock: a change, its version, its place in the history
//! and its delivery to those who watch are one step, so that nothing is lost or told out of order.
//!
//! Semantics: `k8s.io/apiserver/pkg/storage/interfaces.go`.

mod history;
mod state;
mod watch;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::frontend::meta;

use super::resources::ResourceType;
pub use history::{MAX_HISTORY_BYTES, MAX_HISTORY_EVENTS};
use state::State;
pub use state::{MAX_BYTES, MAX_OBJECT_BYTES, MAX_OBJECTS};
pub use watch::{MAX_PENDING_BYTES, MAX_PENDING_EVENTS, MAX_WATCHES, Watch};

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
    /// The namespace that an object was to be created in is not there, or is about to go.
    #[error("the namespace {0:?} is not there or is being terminated")]
    NoNamespace(String),
    /// The version to begin at is too old: what happened since is no longer known.
    #[error("too old resource version: {asked} ({oldest})")]
    TooOld {
        /// What was asked for.
        asked: u64,
        /// The oldest that can be had.
        oldest: u64,
    },
    /// The version asked for is yet to come; it may be that of another storage.
    #[error("Too large resource version: {asked}, current: {current}")]
    TooNew {
        /// What was asked for.
        asked: u64,
        /// The latest that there is.
        current: u64,
    },
    /// The object has more bytes of JSON than this.
    #[error("an object may have {0} bytes")]
    TooLarge(usize),
    /// There are as many objects or watches as there may be.
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
#[derive(Clone)]
pub struct List {
    /// The objects, by namespace and name.
    pub items: Vec<Object>,
    /// The version of the whole storage at which they were read.
    pub resource_version: u64,
}

/// A change.
#[derive(Clone)]
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

// Objects are secrets, some of them: none is written where somebody debugs.
impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} objects at version {}", self.items.len(), self.resource_version)
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at version {}", self.kind, self.resource_version)
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a storage at version {}", self.version())
    }
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
#[derive(Default)]
pub struct Storage(Mutex<State>);

impl Storage {
    /// An empty storage, whose versions begin at 1.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty storage whose first change has the version after this one. Started at the seconds of the clock, its
    /// versions are greater than those of the process before, so that who resumes a watch from then is told so.
    #[must_use]
    pub fn starting_at(version: u64) -> Self {
        Self(Mutex::new(State::starting_at(version)))
    }

    /// An object.
    #[must_use]
    pub fn get(&self, kind: &'static ResourceType, namespace: &str, name: &str) -> Option<Object> {
        self.lock().get(kind, namespace, name)
    }

    /// The objects of a namespace; of all, where none is named.
    #[must_use]
    pub fn list(&self, kind: &'static ResourceType, namespace: Option<&str>) -> List {
        self.lock().list(kind, namespace)
    }

    /// The objects as they were at an earlier version.
    ///
    /// # Errors
    /// [`StorageError::TooOld`] and [`StorageError::TooNew`].
    pub fn list_at(
        &self,
        kind: &'static ResourceType,
        namespace: Option<&str>,
        version: u64,
    ) -> Result<List, StorageError> {
        self.lock().list_at(kind, namespace, version)
    }

    /// The version of the latest change.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.lock().version()
    }

    /// Keeps a new object, and gives it back with its `metadata.resourceVersion`. All other metadata is the caller's.
    ///
    /// # Errors
    /// [`StorageError::AlreadyExists`], [`StorageError::TooLarge`] and [`StorageError::Full`].
    pub async fn create(
        &self,
        kind: &'static ResourceType,
        namespace: &str,
        name: &str,
        object: Value,
    ) -> Result<Object, StorageError> {
        self.lock().create(kind, namespace, name, object)
    }

    /// [`Self::create`], if its namespace is there and stays: nothing comes to stand in one that goes meanwhile.
    ///
    /// # Errors
    /// Those of [`Self::create`], and [`StorageError::NoNamespace`].
    pub async fn create_within(
        &self,
        kind: &'static ResourceType,
        namespace: &str,
        name: &str,
        object: Value,
    ) -> Result<Object, StorageError> {
        let mut state = self.lock();
        if kind.namespaced && !state.has_lasting_namespace(namespace) {
            return Err(StorageError::NoNamespace(namespace.to_owned()));
        }
        state.create(kind, namespace, name, object)
    }

    /// Replaces an object. Where nothing but the version would be another, nothing is changed and no version is taken.
    ///
    /// # Errors
    /// [`StorageError::NotFound`], [`StorageError::Conflict`], [`StorageError::TooLarge`] and [`StorageError::Full`].
    pub async fn update(
        &self,
        kind: &'static ResourceType,
        namespace: &str,
        name: &str,
        expected: &Preconditions,
        object: Value,
    ) -> Result<Object, StorageError> {
        self.lock().update(kind, namespace, name, expected, object)
    }

    /// Removes an object, and gives it back as it was last, with the version of its deletion.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] and [`StorageError::Conflict`].
    pub async fn delete(
        &self,
        kind: &'static ResourceType,
        namespace: &str,
        name: &str,
        expected: &Preconditions,
    ) -> Result<Object, StorageError> {
        self.lock().delete(kind, namespace, name, expected)
    }

    /// Removes all objects of a namespace (of all, where none is named) that `matches` says yes to, in one step.
    pub async fn delete_collection(
        &self,
        kind: &'static ResourceType,
        namespace: Option<&str>,
        matches: impl Fn(&Value) -> bool,
    ) -> Vec<Object> {
        let mut state = self.lock();
        let doomed = state.list(kind, namespace).items;
        let doomed = doomed.iter().filter(|object| matches(object));
        doomed
            .filter_map(|object| {
                let (namespace, name) = (meta::text(object, "namespace"), meta::text(object, "name"));
                state.delete(kind, namespace, name, &Preconditions::default()).ok()
            })
            .collect()
    }

    /// Removes a namespace in which nothing is, and which is being terminated; whether it is gone now.
    pub async fn finish_namespace(&self, name: &str) -> bool {
        self.lock().finish_namespace(name)
    }

    /// Whatever happens to objects from a version on, that one excluded; without one, from now on.
    ///
    /// # Errors
    /// [`StorageError::TooOld`], [`StorageError::TooNew`], and [`StorageError::Full`] where there are [`MAX_WATCHES`].
    pub fn watch(
        &self,
        kind: &'static ResourceType,
        namespace: Option<&str>,
        since: Option<u64>,
    ) -> Result<Watch, StorageError> {
        self.lock().watch(kind, namespace, since)
    }

    /// The state is left whole by each step of it, so that a panic elsewhere does not make it unusable.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
