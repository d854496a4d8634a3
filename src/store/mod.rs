//! The policy set in force: read, compiled off the serving threads, kept while a newer one is broken, and published.
//!
//! - A set is loaded again when the *content* of its files changes: names and bytes are compared, not times, so that a
//!   swap of links (how Kubernetes updates a mounted ConfigMap) is never missed and a touched file is never news.
//! - A set is taken only when two readings of it agree, so that one which is being written is not taken by half.
//! - A set that cannot be read or compiled leaves the last good one in force; that is a metric, a log line (once for
//!   each content), and [`Store::last_error`].

mod sources;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::document::{self, Diagnostic, Diagnostics, Source};
use crate::telemetry::Metrics;

pub use sources::{ReadError, read_sources};

/// How often a set is read until two readings agree.
const READINGS: usize = 5;

/// The pause between two readings of a set that changed: a writer gets this long to go on.
const PAUSE: Duration = Duration::from_millis(50);

/// The shortest time between two looks at the files, whatever is configured.
const MIN_RELOAD_INTERVAL: Duration = Duration::from_millis(10);

/// `policies`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Files, or folders that are read recursively.
    pub paths: Vec<PathBuf>,
    /// The time between two looks at the files.
    pub reload_interval: Duration,
}

/// Makes a policy set of its sources, or says what is wrong with them.
pub type Compile<S> = Arc<dyn Fn(&[Source]) -> Result<S, Diagnostics> + Send + Sync>;

/// What came of looking at the files.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// They are as they were at the last look.
    Unchanged,
    /// A new set is in force; or the files are again those of the set in force, after others that were broken.
    Loaded,
    /// They are broken, in a way that was not seen at the last look.
    Failed,
}

/// The policy set in force, and how it is replaced. It follows its files for as long as it exists.
pub struct Store<S> {
    settings: Settings,
    compile: Compile<S>,
    handle: Handle,
    metrics: Metrics,
    current: ArcSwap<Published<S>>,
    changes: watch::Sender<Arc<S>>,
    last_error: Mutex<Option<String>>,
    /// What the last look saw. Held during a look: one at a time.
    seen: tokio::sync::Mutex<Seen>,
}

struct Published<S> {
    set: Arc<S>,
    revision: Arc<str>,
    content: Content,
}

/// What was seen of the files.
#[derive(PartialEq, Eq)]
enum Seen {
    Content(Content),
    /// They could not be read, for this reason.
    Unreadable(String),
}

/// The hash of the names and bytes of a set's sources.
type Content = [u8; 32];

impl<S: Send + Sync + 'static> Store<S> {
    /// Loads the first set on this thread, and follows its files on `handle` from then on.
    ///
    /// # Errors
    /// Where the first set cannot be read or compiled: there is no last good one then.
    pub fn open(
        settings: Settings,
        compile: Compile<S>,
        metrics: &Metrics,
        handle: Handle,
    ) -> Result<Arc<Self>, Diagnostics> {
        let sources = read_settled(None, &settings.paths).map_err(|error| unreadable(&error))?;
        let content = content(&sources);
        let first = Published {
            set: Arc::new(compile(&sources)?),
            revision: document::revision(&sources).into(),
            content,
        };
        let store = Arc::new(Self {
            compile,
            handle,
            metrics: metrics.clone(),
            changes: watch::Sender::new(Arc::clone(&first.set)),
            current: ArcSwap::from_pointee(first),
            last_error: Mutex::new(None),
            seen: tokio::sync::Mutex::new(Seen::Content(content)),
            settings,
        });
        store.record_success();
        store.handle.spawn(follow(Arc::downgrade(&store), store.settings.reload_interval));
        Ok(store)
    }

    /// The set in force. Wait-free.
    #[must_use]
    pub fn current(&self) -> Arc<S> {
        Arc::clone(&self.current.load().set)
    }

    /// The revision of the set in force.
    #[must_use]
    pub fn revision(&self) -> Arc<str> {
        Arc::clone(&self.current.load().revision)
    }

    /// Tells of each new set, after [`Self::current`] returns it.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<S>> {
        self.changes.subscribe()
    }

    /// Why the files as they are now are not in force; `None` where they are. May have several lines.
    #[must_use]
    pub fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at the files now, and loads them if they changed. Reads and compiles off the calling thread.
    pub async fn reload(self: &Arc<Self>) -> Reload {
        let mut seen = self.seen.lock().await;
        let (paths, expected) = (self.settings.paths.clone(), seen.content());
        let read = self.blocking(move || read_changed(&paths, expected)).await;
        let read = read.unwrap_or_else(|error| Err(ReadError::Aborted(error)));
        let now = Seen::of(&read);
        if *seen == now {
            return Reload::Unchanged;
        }
        let outcome = match read {
            Ok(sources) => self.load(sources).await,
            Err(error) => Err(error.to_string()),
        };
        // Noted last: a look that is given up half-way is made again.
        *seen = now;
        match outcome {
            Ok(()) => Reload::Loaded,
            Err(error) => {
                self.metrics.policy_reloads.with_label_values(&["failure"]).inc();
                tracing::error!(error, revision = %self.revision(), "policies not loaded; the last good set stays in force");
                self.set_last_error(Some(error));
                Reload::Failed
            }
        }
    }

    /// Puts the set of these sources in force, unless it is already.
    async fn load(self: &Arc<Self>, sources: Vec<Source>) -> Result<(), String> {
        let content = content(&sources);
        if self.current.load().content == content {
            self.set_last_error(None);
            tracing::info!(revision = %self.revision(), "the policy files are those of the set in force again");
            return Ok(());
        }
        let store = Arc::clone(self);
        let revision: Arc<str> = document::revision(&sources).into();
        let compiled = self.blocking(move || (store.compile)(&sources)).await?;
        let set = Arc::new(compiled.map_err(|diagnostics| diagnostics.to_string())?);
        self.current.store(Arc::new(Published { set: Arc::clone(&set), revision, content }));
        self.changes.send_replace(set);
        self.set_last_error(None);
        self.record_success();
        Ok(())
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        let done = self.handle.spawn_blocking(work).await;
        done.map_err(|error| format!("loading the policies ended without a result: {error}"))
    }

    fn record_success(&self) {
        let revision = self.revision();
        self.metrics.policy_reloads.with_label_values(&["success"]).inc();
        self.metrics.policy_set_info.reset();
        self.metrics.policy_set_info.with_label_values(&[&*revision]).set(1);
        if let Ok(now) = SystemTime::now().duration_since(UNIX_EPOCH) {
            self.metrics.policy_last_success.set(now.as_secs_f64());
        }
        tracing::info!(%revision, "policies loaded");
    }

    fn set_last_error(&self, error: Option<String>) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }
}

/// Looks at the files again and again, until the store is gone.
async fn follow<S: Send + Sync + 'static>(store: Weak<Store<S>>, interval: Duration) {
    loop {
        tokio::time::sleep(interval.max(MIN_RELOAD_INTERVAL)).await;
        let Some(store) = store.upgrade() else { return };
        // What came of it is in the metrics, the log and the last error.
        let _ = store.reload().await;
    }
}

/// Reads the files: once where they are as expected, otherwise until two readings agree.
fn read_changed(paths: &[PathBuf], expected: Option<Content>) -> Result<Vec<Source>, ReadError> {
    let read = read_sources(paths);
    if expected.is_some() && Seen::of(&read).content() == expected {
        return read;
    }
    read_settled(Some(read), paths)
}

/// Reads until two readings agree, in what the files contain or in why they cannot be read. Pauses between readings,
/// but not between the first two where none was made before.
fn read_settled(
    before: Option<Result<Vec<Source>, ReadError>>,
    paths: &[PathBuf],
) -> Result<Vec<Source>, ReadError> {
    let mut pause = before.is_some();
    let mut before = Seen::of(&before.unwrap_or_else(|| read_sources(paths)));
    for _ in 1..READINGS {
        if std::mem::replace(&mut pause, true) {
            std::thread::sleep(PAUSE);
        }
        let read = read_sources(paths);
        let seen = Seen::of(&read);
        if seen == before {
            return read;
        }
        before = seen;
    }
    Err(ReadError::Unsettled)
}

impl Seen {
    fn of(read: &Result<Vec<Source>, ReadError>) -> Self {
        match read {
            Ok(sources) => Self::Content(content(sources)),
            Err(error) => Self::Unreadable(error.to_string()),
        }
    }

    fn content(&self) -> Option<Content> {
        match self {
            Self::Content(content) => Some(*content),
            Self::Unreadable(_) => None,
        }
    }
}

fn content(sources: &[Source]) -> Content {
    let mut hash = Sha256::new();
    for part in sources.iter().flat_map(|source| [source.name.as_bytes(), &source.bytes]) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

fn unreadable(error: &ReadError) -> Diagnostics {
    Diagnostics { items: vec![Diagnostic::error(None, error.to_string())], sources: Vec::new() }
}
