//! Who makes changes: in memory whoever asks for one, one after the other; on a disk a thread of its own, which takes all
//! that wait, judges them in their order, commits them together, publishes them, and answers.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use super::contents::{Contents, Draft};
use super::disk::{Disk, OpenError};
use super::state::State;
use super::{StorageError, lock};

/// How many changes may wait to be taken; who comes then waits for a place.
const MAX_WAITING: usize = 1_024;

/// How many changes are committed together at most.
const MAX_GROUP: usize = 1_024;

/// No further change is taken into a group whose objects have more bytes of JSON than this.
const MAX_GROUP_BYTES: usize = 16 << 20;

/// A change to judge. It leaves what is to be called when it is known whether it was kept.
type Change = Box<dyn FnOnce(&mut Draft<'_>) -> Answer + Send>;

/// Answers whoever asked for a change; with the error, where it could not be kept.
type Answer = Box<dyn FnOnce(Result<(), StorageError>) + Send>;

/// Who makes changes.
pub(super) enum Writer {
    /// Objects are in memory alone. These are always the published ones, but while a change is made.
    Memory(Box<Mutex<Contents>>),
    /// Objects are on a disk too.
    Disk(Thread),
}

/// The thread that writes to the disk. It ends when this is dropped, after what waits, and lets go of the directory.
pub(super) struct Thread {
    changes: Option<mpsc::Sender<Change>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn in_memory(contents: Contents) -> Self {
        Self::Memory(Box::new(Mutex::new(contents)))
    }

    pub(super) fn on_disk(
        disk: Disk,
        contents: Contents,
        published: Arc<Mutex<State>>,
    ) -> Result<Self, OpenError> {
        let (changes, waiting) = mpsc::channel(MAX_WAITING);
        let thread = std::thread::Builder::new()
            .name("storage".to_owned())
            .spawn(move || run(waiting, disk, contents, &published))
            .map_err(OpenError::Thread)?;
        Ok(Self::Disk(Thread { changes: Some(changes), thread: Some(thread) }))
    }

    pub(super) async fn write<T: Send + 'static>(
        &self,
        published: &Mutex<State>,
        change: impl FnOnce(&mut Draft<'_>) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        match self {
            Self::Memory(contents) => {
                let mut contents = lock(contents);
                let mut draft = Draft::of(&mut contents);
                let result = change(&mut draft);
                lock(published).publish(draft.into_changes());
                result
            }
            Self::Disk(thread) => thread.write(change).await,
        }
    }
}

impl Thread {
    async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Draft<'_>) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let ended = || StorageError::Unwritable("what writes to it has ended".to_owned());
        let (answer, answered) = oneshot::channel();
        let change: Change = Box::new(move |draft| {
            let result = change(draft);
            // Nobody may be waiting any more.
            Box::new(move |kept| drop(answer.send(kept.and(result))))
        });
        let changes = self.changes.as_ref().ok_or_else(ended)?;
        changes.send(change).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        drop(self.changes.take());
        if let Some(thread) = self.thread.take() {
            // It has told of its panic already, if it ended by one.
            let _ended = thread.join();
        }
    }
}

/// The life of the thread. `ahead` is the objects as they will be when the group is kept.
fn run(mut waiting: mpsc::Receiver<Change>, mut disk: Disk, mut ahead: Contents, published: &Mutex<State>) {
    while let Some(first) = waiting.blocking_recv() {
        let mut draft = Draft::of(&mut ahead);
        let mut answers = vec![first(&mut draft)];
        while answers.len() < MAX_GROUP && draft.bytes() < MAX_GROUP_BYTES {
            let Ok(next) = waiting.try_recv() else { break };
            answers.push(next(&mut draft));
        }
        let changes = draft.into_changes();
        // Refusals alone are of what is on the disk already.
        let kept = if changes.is_empty() { Ok(()) } else { disk.commit(&changes) };
        match kept {
            Ok(()) => lock(published).publish(changes),
            // Refused are all of them, the refusals too: they may be because of what did not come to be.
            Err(_) => ahead = lock(published).contents().clone(),
        }
        for answer in answers {
            answer(kept.clone());
        }
    }
}
