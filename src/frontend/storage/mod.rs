//! Storage: objects by resource, namespace and name; versions; watches. Reached only after every other stage.
//!
//! All objects are in memory, in one published state behind one lock: a change, its version, its place in the history and
//! its delivery to those who watch are one step, so that nothing is lost or told out of order. A change is judged by what
//! will be when all changes before it are done, and published when it is kept for good: at once, or, with a directory
//! ([`Storage::open`]), when it is on the disk. Who waits meanwhile is carried out together with the others that wait.
//!
//! Semantics: `k8s.io/apiserver/pkg/storage/interfaces.go`.

mod contents;
mod disk;
mod history;
mod state;
mod watch;
mod writer;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::resources::ResourceType;
use contents::{Contents, Draft, place};
pub use contents::{MAX_BYTES, MAX_DEPTH, MAX_OBJECT_BYTES, MAX_OBJECTS};
pub use disk::OpenError;
pub use history::{MAX_HISTORY_BYTES, MAX_HISTORY_EVENTS};
use state::State;
pub use watch::{MAX_PENDING_BYTES, MAX_PENDING_EVENTS, MAX_WATCHES, Watch};
use writer::Writer;

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
    /// Lists and fields of the object stand in one another deeper than this.
    #[error("an object may be nested {0} levels deep")]
    TooDeep(usize),
    /// The change could not be written to the disk, and was not made.
    #[error("the storage cannot be written: {0}")]
    Unwritable(String),
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

/// Objects by resource, namespace (empty for the cluster's) and name. Every change takes the next version of one sequence
/// for all of them.
pub struct Storage {
    published: Arc<Mutex<State>>,
    writer: Writer,
}

impl Default for Storage {
    fn default() -> Self {
        Self::starting_at(0)
    }
}

impl Storage {
    /// An empty storage in memory, whose versions begin at 1.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty storage in memory whose first change has the version after this one. Started at the milliseconds of the
    /// clock, its versions are greater than those of the process before, so that who resumes a watch from then is told so.
    #[must_use]
    pub fn starting_at(version: u64) -> Self {
        let contents = Contents::starting_at(version);
        let published = Arc::new(Mutex::new(State::of(contents.clone())));
        Self { published, writer: Writer::in_memory(contents) }
    }

    /// The storage that is kept in a directory; an empty one in a directory without any, whose first change has the version
    /// after `first`. What was there goes on at the version after its last one. It blocks.
    ///
    /// # Errors
    /// Where the directory cannot be used: see [`OpenError`].
    pub fn open(directory: &Path, first: u64) -> Result<Self, OpenError> {
        let (disk, contents) = disk::Disk::open(directory, first)?;
        let published = Arc::new(Mutex::new(State::of(contents.clone())));
        let writer = Writer::on_disk(disk, contents, Arc::clone(&published))?;
        Ok(Self { published, writer })
    }

    /// An object.
    #[must_use]
    pub fn get(&self, kind: &'static ResourceType, namespace: &str, name: &str) -> Option<Object> {
        lock(&self.published).contents().get(kind, namespace, name)
    }

    /// The objects of a namespace; of all, where none is named.
    #[must_use]
    pub fn list(&self, kind: &'static ResourceType, namespace: Option<&str>) -> List {
        lock(&self.published).contents().list(kind, namespace)
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
        lock(&self.published).list_at(kind, namespace, version)
    }

    /// The version of the latest change.
    #[must_use]
    pub fn version(&self) -> u64 {
        lock(&self.published).contents().version()
    }

    /// Keeps a new object, and gives it back with its `metadata.resourceVersion`. All other metadata is the caller's.
    ///
    /// # Errors
    /// [`StorageError::AlreadyExists`], [`StorageError::TooLarge`], [`StorageError::TooDeep`], [`StorageError::Full`] and
    /// [`StorageError::Unwritable`].
    pub async fn create(
        &self,
        kind: &'static ResourceType,
        namespace: &str,
        name: &str,
        object: Value,
    ) -> Result<Object, StorageError> {
        let place = place(namespace, name);
        self.write(move |draft| draft.create(kind, place, object)).await
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
        let place = place(namespace, name);
        self.write(move |draft| draft.create_within(kind, place, object)).await
    }

    /// Replaces an object. Where nothing but the version would be another, nothing is changed and no version is taken.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] and [`StorageError::Conflict`], and those of [`Self::create`] about the object.
    pub async fn update(
        &self,
        kind: &'static ResourceType,
        namespace: &str,
        name: &str,
        expected: &Preconditions,
        object: Value,
    ) -> Result<Object, StorageError> {
        let (place, expected) = (place(namespace, name), expected.clone());
        self.write(move |draft| draft.update(kind, place, &expected, object)).await
    }

    /// Removes an object, and gives it back as it was last, with the version of its deletion.
    ///
    /// # Errors
    /// [`StorageError::NotFound`], [`StorageError::Conflict`] and [`StorageError::Unwritable`].
    pub async fn delete(
        &self,
        kind: &'static ResourceType,
        namespace: &str,
        name: &str,
        expected: &Preconditions,
    ) -> Result<Object, StorageError> {
        let (place, expected) = (place(namespace, name), expected.clone());
        self.write(move |draft| draft.delete(kind, place, &expected)).await
    }

    /// Removes all objects of a namespace (of all, where none is named) that `matches` says yes to, in one step.
    ///
    /// # Errors
    /// [`StorageError::Unwritable`]: then none is removed.
    pub async fn delete_collection(
        &self,
        kind: &'static ResourceType,
        namespace: Option<&str>,
        matches: impl Fn(&Value) -> bool + Send + 'static,
    ) -> Result<Vec<Object>, StorageError> {
        let namespace = namespace.map(str::to_owned);
        self.write(move |draft| Ok(draft.delete_collection(kind, namespace.as_deref(), matches))).await
    }

    /// Removes a namespace in which nothing is, and which is being terminated; whether it is gone now.
    ///
    /// # Errors
    /// [`StorageError::Unwritable`].
    pub async fn finish_namespace(&self, name: &str) -> Result<bool, StorageError> {
        let name = name.to_owned();
        self.write(move |draft| Ok(draft.finish_namespace(&name))).await
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
        lock(&self.published).watch(kind, namespace, since)
    }

    /// Judges a change, and makes it. It is carried out though nobody waits for it any more.
    async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Draft<'_>) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        self.writer.write(&self.published, change).await
    }
}

/// What is locked here is left whole by each step, so that a panic elsewhere does not make it unusable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
