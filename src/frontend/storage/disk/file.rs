//! The file under the database. It remembers what redb does not tell apart: whether the system could not make sure of what
//! was written.

use std::fs::File;
use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

/// How a file is.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Once `fdatasync` has failed, what was written may be gone though it can still be read, and a second `fdatasync`
    /// would not tell: nothing written from then on can be relied on.
    sync_failed: AtomicBool,
    /// Plays a full disk.
    #[cfg(test)]
    pub(super) is_full: AtomicBool,
    /// Plays a disk that fails.
    #[cfg(test)]
    pub(super) is_broken: AtomicBool,
}

impl Health {
    pub(super) fn sync_failed(&self) -> bool {
        self.sync_failed.load(Ordering::Relaxed)
    }
}

/// A file whose health is noted.
#[derive(Debug)]
pub(super) struct Noted {
    file: FileBackend,
    health: Arc<Health>,
}

impl Noted {
    pub(super) fn new(file: File, health: Arc<Health>) -> Result<Self, redb::DatabaseError> {
        Ok(Self { file: FileBackend::new(file)?, health })
    }

    fn before_write(&self) -> io::Result<()> {
        #[cfg(test)]
        if self.health.is_full.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        #[cfg(test)]
        if self.health.is_broken.load(Ordering::Relaxed) {
            return Err(io::Error::other("the disk is broken"));
        }
        self.file.sync_data()
    }
}

impl StorageBackend for Noted {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.before_write()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let synced = self.sync();
        if synced.is_err() {
            self.health.sync_failed.store(true, Ordering::Relaxed);
        }
        synced
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.before_write()?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }
}
