//! Looking whether the files of a context changed.

use std::sync::Arc;
use std::time::Duration;

use super::error::LoadError;

/// How often files are looked at: an operator who swaps a certificate waits no longer than this.
pub const WATCH_INTERVAL: Duration = Duration::from_secs(5);

/// What can be loaded again while it is in use.
pub trait Reload: Send + Sync + 'static {
    /// Reads everything again, and swaps it in where it changed and is sound.
    ///
    /// # Errors
    /// Where something cannot be read or used; the last good state stays in force.
    fn reload(&self) -> Result<Reloaded, LoadError>;

    /// What it is, for the log.
    fn usage(&self) -> &str;
}

/// What a reload came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded {
    /// The files say what they said before.
    Unchanged,
    /// What is new is in force.
    Changed,
}

/// A running watch; dropping it ends the watch.
#[derive(Debug)]
pub struct Watcher(tokio::task::JoinHandle<()>);

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Reloads whenever the *content* of the files changed. Kubernetes changes a mounted Secret by swapping a symbolic link
/// (`..data`) beside the files, so that no event ever names the files themselves, and content is all that can be relied on.
pub fn watch(target: Arc<dyn Reload>, interval: Duration, handle: &tokio::runtime::Handle) -> Watcher {
    Watcher(handle.spawn(async move {
        let mut failing: Option<String> = None;
        loop {
            tokio::time::sleep(interval).await;
            let reading = target.clone();
            let Ok(result) = tokio::task::spawn_blocking(move || reading.reload()).await else { continue };
            match result {
                Ok(Reloaded::Changed) => {
                    tracing::info!(usage = target.usage(), "certificates reloaded");
                    failing = None;
                }
                Ok(Reloaded::Unchanged) => {
                    if failing.take().is_some() {
                        tracing::info!(usage = target.usage(), "certificates are what they were before");
                    }
                }
                Err(error) => {
                    let error = error.to_string();
                    if failing.as_ref() != Some(&error) {
                        tracing::error!(
                            usage = target.usage(),
                            error,
                            "certificates kept: the new ones do not load"
                        );
                    }
                    failing = Some(error);
                }
            }
        }
    }))
}
