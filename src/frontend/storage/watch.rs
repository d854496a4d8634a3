//! Who watches, and what they are yet to be told.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use tokio::sync::mpsc;

use super::contents::is_about;
use super::history::Entry;
use super::{Event, StorageError};
use crate::frontend::resources::ResourceType;

/// How many watches there may be at a time.
pub const MAX_WATCHES: usize = 1_000;

/// How many changes may wait for one who watches; who is slower than that is cut off, and resumes from what they read.
pub const MAX_PENDING_EVENTS: usize = 1_000;

/// How large the changes that wait for one who watches may be together, in bytes of JSON; one of any size may wait.
pub const MAX_PENDING_BYTES: usize = 16 << 20;

/// The changes of objects, each once and in its order. It ends only where its reader was too slow.
#[derive(Debug)]
pub struct Watch {
    /// What had happened before it began, since the version that it was to begin at.
    missed: VecDeque<Event>,
    receiver: mpsc::Receiver<Pending>,
    /// The size of what waits.
    bytes: Arc<AtomicUsize>,
}

/// A change that waits, and its size.
type Pending = (Event, usize);

#[derive(Debug)]
struct Watcher {
    resource: &'static ResourceType,
    namespace: Option<String>,
    sender: mpsc::Sender<Pending>,
    bytes: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
pub(super) struct Watchers(Vec<Watcher>);

impl Watchers {
    pub(super) fn add(
        &mut self,
        resource: &'static ResourceType,
        namespace: Option<&str>,
        missed: VecDeque<Event>,
    ) -> Result<Watch, StorageError> {
        self.0.retain(|watcher| !watcher.sender.is_closed());
        if self.0.len() >= MAX_WATCHES {
            return Err(StorageError::Full(format!("there are {MAX_WATCHES} watches")));
        }
        let (sender, receiver) = mpsc::channel(MAX_PENDING_EVENTS);
        let bytes = Arc::new(AtomicUsize::new(0));
        let namespace = namespace.map(str::to_owned);
        self.0.push(Watcher { resource, namespace, sender, bytes: Arc::clone(&bytes) });
        Ok(Watch { missed, receiver, bytes })
    }

    /// Tells a change to all whom it concerns. Who has no room for it, or is gone, is told nothing more.
    pub(super) fn tell(&mut self, entry: &Entry) {
        self.0.retain(|watcher| {
            !is_about(entry, watcher.resource, watcher.namespace.as_deref()) || watcher.tell(entry)
        });
    }
}

impl Watcher {
    fn tell(&self, entry: &Entry) -> bool {
        let waiting = self.bytes.fetch_add(entry.bytes, Ordering::Relaxed);
        let has_room = waiting == 0 || waiting.saturating_add(entry.bytes) <= MAX_PENDING_BYTES;
        has_room && self.sender.try_send((entry.event.clone(), entry.bytes)).is_ok()
    }
}

impl Watch {
    /// The next change; `None` where the reader was cut off.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    /// A change that waits already. Unlike `next`, it never says for the scheduler's sake that there is none.
    pub fn next_now(&mut self) -> Option<Event> {
        if let Some(event) = self.missed.pop_front() {
            return Some(event);
        }
        let (event, bytes) = self.receiver.try_recv().ok()?;
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        Some(event)
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        if let Some(event) = self.missed.pop_front() {
            return Poll::Ready(Some(event));
        }
        let Some((event, bytes)) = ready!(self.receiver.poll_recv(context)) else { return Poll::Ready(None) };
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        Poll::Ready(Some(event))
    }
}

impl Stream for Watch {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll(context)
    }
}
