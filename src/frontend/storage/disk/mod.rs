//! Objects on a disk, in an embedded database (redb): one file in a directory that belongs to one process at a time.
//!
//! Each object is a record: resource, namespace and name, and the object as JSON, with its UID and version in it. Beside
//! them stand the format of all this and the version of the latest change. A group of changes is one transaction, committed
//! in two phases: the pages are made sure of before anything points to them, so that a process that ends at any moment
//! leaves the group whole or not at all, and a page that does not hold what was written is a damage and never taken for
//! such an end. At each opening the checksums of all pages are verified.

mod file;

#[cfg(test)]
mod tests;

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use serde_json::Value;

use super::contents::Contents;
use super::history::Entry;
use super::{EventKind, StorageError};
use crate::frontend::meta;
use crate::frontend::resources::{self, ResourceType};
use file::{Health, Noted};

/// The format that is written and read. Another one has another number.
const FORMAT: u64 = 1;

/// The database.
const FILE: &str = "storage.redb";

/// A database that is not whole yet: it takes its name when it is.
const UNFINISHED: &str = "storage.redb.new";

/// Locked by the process that the directory belongs to, for as long as it lives.
const LOCK: &str = "lock";

/// What the database itself keeps of its file in memory, in bytes: all objects are there anyway.
const CACHE_BYTES: usize = 16 << 20;

/// Group, resource, namespace (empty for the cluster's) and name.
type Key = (&'static str, &'static str, &'static str, &'static str);

const OBJECTS: TableDefinition<'_, Key, &[u8]> = TableDefinition::new("objects");

/// The numbers below, by their names.
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");

/// [`FORMAT`] of what is there.
const FORMAT_KEY: &str = "format";

/// The version of the latest change.
const VERSION_KEY: &str = "version";

/// Why a directory cannot be used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file or the directory cannot be made, read or written.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Another process stores there.
    #[error("{0} is in use by another process: a directory belongs to one front end")]
    InUse(PathBuf),
    /// It was written by another release, which has another format.
    #[error(
        "{path} has format {found}, and this release knows format {FORMAT}: use the release that wrote it, or move the \
         file away to begin with an empty storage"
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// The format that it says it has.
        found: u64,
    },
    /// An object of another version than is served.
    #[error("{path} has {object} as {found}, which is served as {served}: use the release that wrote it")]
    Version {
        /// The file.
        path: PathBuf,
        /// Which object.
        object: String,
        /// Its `apiVersion`.
        found: String,
        /// That of its resource.
        served: String,
    },
    /// The file is not as it was written.
    #[error(
        "{path} is damaged ({why}): put a copy of it in its place, or move it away to begin with an empty storage; it was \
         left as it is"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The thread that writes cannot be started.
    #[error("a thread for the storage cannot be started: {0}")]
    Thread(io::Error),
}

/// The database, for the one who writes to it.
pub(super) struct Disk {
    path: PathBuf,
    health: Arc<Health>,
    /// None after a failure: it is opened again for the next change.
    database: Option<Database>,
    /// The version of the latest change that is there.
    version: u64,
    /// What could not be committed by the failure: it may be there nevertheless, and then is to be taken back.
    failed: Vec<Entry>,
    _lock: File,
}

impl Disk {
    /// Opens what is in a directory; makes it, where nothing is there. The first change has the version after `first` then.
    pub(super) fn open(directory: &Path, first: u64) -> Result<(Self, Contents), OpenError> {
        make_directory(directory)?;
        let lock = lock(directory)?;
        let path = directory.join(FILE);
        if !path.try_exists().map_err(|error| failed(&path, error))? {
            create(directory, &path, first.max(1))?;
        }
        let health = Arc::new(Health::default());
        let (database, contents) = guarded(&path, || {
            let database = database(&path, &health)?;
            let contents = load(&path, &database)?;
            Ok((database, contents))
        })?;
        let version = contents.version();
        let disk = Self { path, health, database: Some(database), version, failed: Vec::new(), _lock: lock };
        Ok((disk, contents))
    }

    /// Keeps changes for good, all or none of them.
    pub(super) fn commit(&mut self, changes: &[Entry]) -> Result<(), StorageError> {
        let Some(last) = changes.last() else { return Ok(()) };
        let refused = |why: String| StorageError::Unwritable(why);
        if self.health.sync_failed() {
            return Err(refused("the system could not write an earlier change; start again".to_owned()));
        }
        let database = match self.database.take() {
            Some(database) => database,
            None => self.again().map_err(|error| refused(error.to_string()))?,
        };
        let committed = catch_unwind(AssertUnwindSafe(|| {
            in_transaction(&database, last.event.resource_version, |objects| {
                changes.iter().try_for_each(|change| write(objects, change))
            })
        }));
        match committed {
            Ok(Ok(())) => {
                self.database = Some(database);
                self.version = last.event.resource_version;
                Ok(())
            }
            failure => {
                let why = match failure {
                    Ok(Err(error)) => error.to_string(),
                    _ => "the database failed".to_owned(),
                };
                tracing::error!(path = %self.path.display(), why, "a change could not be stored");
                // Closing it writes, and may fail for the same reason.
                let _closed = catch_unwind(AssertUnwindSafe(|| drop(database)));
                self.failed = changes.to_vec();
                Err(refused(why))
            }
        }
    }

    /// Opens the database again after a failure, and takes back what was refused, if it is there nevertheless.
    fn again(&mut self) -> Result<Database, OpenError> {
        let (path, health) = (self.path.clone(), Arc::clone(&self.health));
        let database = guarded(&path, || {
            let database = database(&path, &health)?;
            let there = number(&path, &database, VERSION_KEY)?;
            if there == self.version {
                return Ok(database);
            }
            if self.failed.last().map(|last| last.event.resource_version) != Some(there) {
                return Err(damaged(&path, "it is at another version than it was"));
            }
            let taken_back = in_transaction(&database, self.version, |objects| {
                self.failed.iter().rev().try_for_each(|change| take_back(objects, change))
            });
            taken_back.map_err(|error| of_database(&path, error))?;
            Ok(database)
        })?;
        self.failed = Vec::new();
        tracing::info!(path = %self.path.display(), "changes can be stored again");
        Ok(database)
    }
}

fn make_directory(directory: &Path) -> Result<(), OpenError> {
    if directory.is_dir() {
        return Ok(());
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|error| failed(directory, error))?;
    match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_directory(parent),
        _ => Ok(()),
    }
}

/// Takes the directory for this process. The system lets go of it when the process ends, however it does.
fn lock(directory: &Path) -> Result<File, OpenError> {
    let path = directory.join(LOCK);
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(|error| failed(&path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(directory.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed(&path, error)),
    }
}

/// Makes an empty database, which has its name as soon as it is whole: an empty file is a damage, never a new database.
fn create(directory: &Path, path: &Path, first: u64) -> Result<(), OpenError> {
    let unfinished = directory.join(UNFINISHED);
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&unfinished, error)),
        _ => {}
    }
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&unfinished);
    let file = file.map_err(|error| failed(&unfinished, error))?;
    let made = Noted::new(file, Arc::default())
        .and_then(|file| builder().create_with_backend(file))
        .map_err(redb::Error::from)
        .and_then(|database| {
            let transaction = database.begin_write()?;
            transaction.open_table(NUMBERS)?.insert(FORMAT_KEY, FORMAT)?;
            transaction.commit()?;
            in_transaction(&database, first, |_| Ok(()))
        });
    made.map_err(|error| of_database(&unfinished, error))?;
    std::fs::rename(&unfinished, path).map_err(|error| failed(path, error))?;
    sync_directory(directory)
}

fn sync_directory(directory: &Path) -> Result<(), OpenError> {
    File::open(directory).and_then(|opened| opened.sync_all()).map_err(|error| failed(directory, error))
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

/// Opens a database that is there.
fn database(path: &Path, health: &Arc<Health>) -> Result<Database, OpenError> {
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(|error| failed(path, error))?;
    if file.metadata().map_err(|error| failed(path, error))?.len() == 0 {
        return Err(damaged(path, "it is empty"));
    }
    let opened = Noted::new(file, Arc::clone(health)).and_then(|file| builder().create_with_backend(file));
    opened.map_err(|error| of_database(path, error.into()))
}

/// Reads all objects.
fn load(path: &Path, database: &Database) -> Result<Contents, OpenError> {
    let format = number(path, database, FORMAT_KEY)?;
    if format != FORMAT {
        return Err(OpenError::Format { path: path.to_owned(), found: format });
    }
    let version = number(path, database, VERSION_KEY)?;
    let mut contents = Contents::starting_at(version);
    let mut aside = 0_usize;
    let of_database = |error: redb::Error| of_database(path, error);
    let transaction = database.begin_read().map_err(|error| of_database(error.into()))?;
    let objects = transaction.open_table(OBJECTS).map_err(|error| of_database(error.into()))?;
    for record in objects.iter().map_err(|error| of_database(error.into()))? {
        let (key, json) = record.map_err(|error| of_database(error.into()))?;
        let ((group, resource, namespace, name), json) = (key.value(), json.value());
        let kind = resources::find(group, resource).filter(|kind| kind.is_stored());
        let Some(kind) = kind else {
            aside = aside.saturating_add(1);
            continue;
        };
        let object = object(path, kind, (namespace, name), json, version)?;
        contents.restore(kind, (namespace.to_owned(), name.to_owned()), object, json.len());
    }
    if aside > 0 {
        tracing::warn!(path = %path.display(), objects = aside, "objects of kinds that are not served are kept aside");
    }
    Ok(contents)
}

/// Reads one object, which must be one that could have been written.
fn object(
    path: &Path,
    kind: &ResourceType,
    (namespace, name): (&str, &str),
    json: &[u8],
    latest: u64,
) -> Result<Value, OpenError> {
    let which = || format!("{} {namespace}/{name}", kind.qualified());
    let object: Value =
        serde_json::from_slice(json).map_err(|error| damaged(path, &format!("{}: {error}", which())))?;
    let version: Option<u64> = meta::text(&object, "resourceVersion").parse().ok();
    if version.is_none_or(|version| version > latest) {
        return Err(damaged(path, &format!("{} is of no version that was", which())));
    }
    match meta::text_at(&object, "/apiVersion") {
        found if !found.is_empty() && found != kind.api_version() => Err(OpenError::Version {
            path: path.to_owned(),
            object: which(),
            found: found.to_owned(),
            served: kind.api_version(),
        }),
        _ => Ok(object),
    }
}

fn number(path: &Path, database: &Database, name: &str) -> Result<u64, OpenError> {
    let read = || -> Result<Option<u64>, redb::Error> {
        let numbers = database.begin_read()?.open_table(NUMBERS)?;
        Ok(numbers.get(name)?.map(|number| number.value()))
    };
    let number = read().map_err(|error| of_database(path, error))?;
    number.ok_or_else(|| damaged(path, &format!("it has no {name}")))
}

/// The objects, to be written.
type Objects<'t> = redb::Table<'t, Key, &'static [u8]>;

/// Writes objects and the version that they are at then, in one transaction.
fn in_transaction(
    database: &Database,
    version: u64,
    write: impl FnOnce(&mut Objects<'_>) -> Result<(), redb::Error>,
) -> Result<(), redb::Error> {
    let mut transaction: WriteTransaction = database.begin_write()?;
    transaction.set_two_phase_commit(true);
    write(&mut transaction.open_table(OBJECTS)?)?;
    transaction.open_table(NUMBERS)?.insert(VERSION_KEY, version)?;
    Ok(transaction.commit()?)
}

fn write(objects: &mut Objects<'_>, change: &Entry) -> Result<(), redb::Error> {
    match change.event.kind {
        EventKind::Deleted => put(objects, change, None),
        EventKind::Added | EventKind::Modified => put(objects, change, Some(&change.event.object)),
    }
}

fn take_back(objects: &mut Objects<'_>, change: &Entry) -> Result<(), redb::Error> {
    put(objects, change, change.event.previous.as_deref())
}

fn put(objects: &mut Objects<'_>, change: &Entry, object: Option<&Value>) -> Result<(), redb::Error> {
    let (namespace, name) = &change.place;
    let key = (change.resource.group, change.resource.resource, &**namespace, &**name);
    match object {
        Some(object) => {
            let json = serde_json::to_vec(object).map_err(|error| redb::Error::Io(error.into()))?;
            objects.insert(key, &*json)?;
        }
        None => drop(objects.remove(key)?),
    }
    Ok(())
}

/// What redb finds wrong with a file may be a panic nevertheless.
fn guarded<T>(path: &Path, open: impl FnOnce() -> Result<T, OpenError>) -> Result<T, OpenError> {
    catch_unwind(AssertUnwindSafe(open))
        .unwrap_or_else(|_| Err(damaged(path, "the database does not find its way in it")))
}

fn failed(path: &Path, error: io::Error) -> OpenError {
    OpenError::Io { path: path.to_owned(), error }
}

fn damaged(path: &Path, why: &str) -> OpenError {
    OpenError::Damaged { path: path.to_owned(), why: why.to_owned() }
}

fn of_database(path: &Path, error: redb::Error) -> OpenError {
    match error {
        redb::Error::Io(error)
            if !matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
        {
            failed(path, error)
        }
        redb::Error::DatabaseAlreadyOpen => OpenError::InUse(path.to_owned()),
        error => damaged(path, &error.to_string()),
    }
}
