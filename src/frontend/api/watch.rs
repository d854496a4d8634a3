//! Watching objects: each change as a line of JSON, for as long as the client reads or asked for.
//!
//! Semantics: `k8s.io/apiserver/pkg/endpoints/handlers/watch.go` and `.../storage/cacher/cacher.go`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::answer::{Answer, JSON};
use super::negotiate::Form;
use super::stages::{Storing, Target};
use super::watches::Place;
use super::{Call, fields, negotiate, options, read, represent};
use crate::frontend::journey::Outcome;
use crate::frontend::request_info::RequestInfo;
use crate::frontend::resources::ResourceType;
use crate::frontend::status::ApiError;
use crate::frontend::storage::{Event, EventKind, Object, Storage, StorageError, Watch};

/// How long a watch lasts that does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// How long a watch lasts at most.
const MAX_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// How often who wants bookmarks is told how far they are.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

/// How much of what waits is sent at once, in bytes; one line of any size is.
const MAX_CHUNK: usize = 64 << 10;

/// Gives the changes of the objects that the request selects.
pub(super) fn watch(call: &Call<'_>, target: &Target<'_>) -> Result<Answer, ApiError> {
    let form = negotiate::form(call.headers, call.info)?;
    fields::check(target.kind, call.info)?;
    options::check_list(call.info, true)?;
    let timeout = timeout(call.info)?;
    let place = call.frontend.watches.enter(&call.subject.user)?;
    let since = read::version(call)?;
    let storing = Storing::begin(call);
    let namespace = Some(target.namespace).filter(|namespace| !namespace.is_empty());
    let storage = &call.frontend.storage;
    // Without a version to begin at, it begins with what there is. Who says whether they want that, wants what there is by
    // now, if only that is not older than what they know (KEP-3157).
    let initial = call.info.first(options::INITIAL).map(|_| call.info.is_set(options::INITIAL));
    let (existing, since) = match (since, initial) {
        (Some(version), None | Some(false)) => (Vec::new(), version),
        (Some(version), Some(true)) if version > storage.version() => (Vec::new(), version),
        (None, Some(false)) if call.info.first("resourceVersion").unwrap_or_default().is_empty() => {
            (Vec::new(), storage.version())
        }
        _ => {
            let list = storage.list(target.kind, namespace);
            (list.items, list.resource_version)
        }
    };
    let watch = match storage.watch(target.kind, namespace, Some(since)) {
        Ok(watch) => watch,
        Err(error @ (StorageError::TooOld { .. } | StorageError::TooNew { .. })) => {
            storing.told(Outcome::Refused, error.to_string());
            return Ok(refused(&target.refused(error)));
        }
        Err(error) => return Err(target.refused(error)),
    };
    storing.told(Outcome::Passed, format!("watching {} from version {since}", target.kind.qualified()));
    let lines = Lines {
        kind: target.kind,
        form,
        info: call.info.clone(),
        is_first: true,
        ready: VecDeque::new(),
        ready_bytes: 0,
        began: (call.now, Instant::now()),
        place,
    };
    let bookmarks = call.info.is_set("allowWatchBookmarks");
    let initial_end = (bookmarks && initial == Some(true)).then_some(since);
    let now = Instant::now();
    let state = Watching {
        existing: existing.into_iter(),
        initial_end,
        watch,
        lines,
        ends: now.checked_add(timeout).unwrap_or(now),
        bookmark: bookmarks.then(|| now.checked_add(BOOKMARK_EVERY).unwrap_or(now)),
        storage: Arc::clone(storage),
        is_over: false,
    };
    let stream = stream::unfold(state, |mut state| async move { Some((state.next().await?, state)) });
    Ok(Answer::stream(JSON, stream.boxed_local()))
}

fn timeout(info: &RequestInfo) -> Result<Duration, ApiError> {
    match info.first("timeoutSeconds").unwrap_or_default() {
        "" | "0" => Ok(DEFAULT_TIMEOUT),
        text => {
            let seconds: u64 = text.parse().map_err(|_| {
                ApiError::bad_request(format!("timeoutSeconds: Invalid value: {text:?}: it is no number"))
            })?;
            Ok(Duration::from_secs(seconds).min(MAX_TIMEOUT))
        }
    }
}

/// A watch that cannot begin where it was to: one event says so, as from an API server.
fn refused(error: &ApiError) -> Answer {
    let line = Bytes::from(line("ERROR", &error.to_json()));
    Answer::stream(JSON, stream::iter([line]).boxed_local())
}

fn line(kind: &str, object: &Value) -> String {
    let mut line = json!({"type": kind, "object": object}).to_string();
    line.push('\n');
    line
}

/// A watch while it goes on.
struct Watching {
    /// What there was when it began, and is yet to be told.
    existing: std::vec::IntoIter<Object>,
    /// The version of that, where its end is yet to be told.
    initial_end: Option<u64>,
    watch: Watch,
    lines: Lines,
    ends: Instant,
    /// When the next bookmark is due, where they are wanted.
    bookmark: Option<Instant>,
    storage: Arc<Storage>,
    is_over: bool,
}

impl Watching {
    /// What is sent next; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(chunk) = self.lines.chunk() {
                return Some(chunk);
            }
            if self.is_over {
                return None;
            }
            if let Some(object) = self.existing.next() {
                self.lines.existing(&object);
                continue;
            }
            if let Some(version) = self.initial_end.take() {
                self.lines.bookmark(version, true);
                continue;
            }
            let due = self.bookmark.unwrap_or(self.ends).min(self.ends);
            tokio::select! {
                biased;
                event = self.watch.next() => match event {
                    Some(event) => {
                        self.lines.event(&event);
                        // What waits behind it goes with it.
                        while self.lines.has_room() && let Some(event) = self.watch.next_now() {
                            self.lines.event(&event);
                        }
                    }
                    // Who was too slow asks again from what they have read.
                    None => self.is_over = true,
                },
                () = tokio::time::sleep_until(due) => self.tick(),
            }
        }
    }

    /// Time is up, for a bookmark or for all of it.
    fn tick(&mut self) {
        let now = Instant::now();
        if self.bookmark.is_some() {
            // Whatever happened up to this version waits here already, and goes before it.
            let version = self.storage.version();
            while let Some(event) = self.watch.next_now() {
                self.lines.event(&event);
            }
            self.lines.bookmark(version, false);
            self.bookmark = now.checked_add(BOOKMARK_EVERY);
        }
        self.is_over |= now >= self.ends;
    }
}

/// The lines of one watch.
struct Lines {
    kind: &'static ResourceType,
    form: Form,
    info: RequestInfo,
    /// Whether no table has been sent yet: the first has the columns.
    is_first: bool,
    ready: VecDeque<Bytes>,
    /// The size of what is ready, in bytes.
    ready_bytes: usize,
    /// When the request came, by both clocks.
    began: (Timestamp, Instant),
    place: Place,
}

impl Lines {
    fn has_room(&self) -> bool {
        self.ready_bytes < MAX_CHUNK
    }

    /// What is ready, as one piece.
    fn chunk(&mut self) -> Option<Bytes> {
        self.ready_bytes = 0;
        if self.ready.len() < 2 {
            return self.ready.pop_front();
        }
        let lines: Vec<Bytes> = self.ready.drain(..).collect();
        Some(lines.concat().into())
    }

    fn make_ready(&mut self, line: Bytes) {
        self.ready_bytes = self.ready_bytes.saturating_add(line.len());
        self.ready.push_back(line);
    }

    /// A change, as it looks through the selectors: what comes to be selected is added, what ceases to be is deleted.
    fn event(&mut self, event: &Event) {
        let is = fields::selects(&self.info, &event.object);
        let was = event.previous.as_ref().is_some_and(|previous| fields::selects(&self.info, previous));
        match (event.kind, was, is) {
            (EventKind::Deleted, true, _) => self.change("DELETED", event),
            (EventKind::Modified, true, false) => {
                // As it was when it was selected, with the version of the change.
                let mut last = event.previous.as_deref().cloned().unwrap_or_default();
                super::meta::set(&mut last, "resourceVersion", event.resource_version.to_string());
                self.push("DELETED", &last);
            }
            (EventKind::Modified, true, true) => self.change("MODIFIED", event),
            (EventKind::Added | EventKind::Modified, false, true) => self.change("ADDED", event),
            _ => {}
        }
    }

    /// An object that was there.
    fn existing(&mut self, object: &Value) {
        if fields::selects(&self.info, object) {
            self.push("ADDED", object);
        }
    }

    /// The object of a change as it is: the same line for all who watch objects.
    fn change(&mut self, kind: &'static str, event: &Event) {
        if self.form != Form::Objects {
            self.push(kind, &event.object);
            return;
        }
        let write =
            || line(kind, &represent::watched(self.kind, self.form, self.now(), &event.object, false));
        let line = self.place.lines().line(event.resource_version, kind, write);
        self.make_ready(line);
    }

    fn push(&mut self, kind: &str, object: &Value) {
        let shown = represent::watched(self.kind, self.form, self.now(), object, self.is_first);
        self.is_first = false;
        self.make_ready(line(kind, &shown).into());
    }

    /// How far the watch is: an object with nothing but a version; and perhaps that this is the end of what there was.
    fn bookmark(&mut self, version: u64, is_initial_end: bool) {
        let mut object = json!({
            "apiVersion": self.kind.api_version(), "kind": self.kind.kind,
            "metadata": {"resourceVersion": version.to_string(), "creationTimestamp": null},
        });
        if is_initial_end {
            super::meta::set(&mut object, "annotations", json!({"k8s.io/initial-events-end": "true"}));
        }
        let object = match self.form {
            Form::Metadata => represent::object(self.kind, self.form, self.now(), &object),
            Form::Objects | Form::Table(_) => object,
        };
        self.make_ready(line("BOOKMARK", &object).into());
    }

    fn now(&self) -> Timestamp {
        let (then, instant) = self.began;
        then.checked_add(instant.elapsed()).unwrap_or(then)
    }
}
