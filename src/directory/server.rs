//! The connections to one server, its breaker, and the care for both.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::sync::Semaphore;

use super::about::PAGED_RESULTS;
use super::breaker::Breaker;
use super::bridge::State;
use super::conn::{Connection, Cut, Found, Origin, Query, Waiting, jitter};
use super::paging;
use super::{LookupError, ResultCode};

/// A connection that was idle for so long is asked whether it still works, or closed if it was for one search.
const IDLE: Duration = Duration::from_secs(30);

/// The connections to one server.
pub(super) struct ServerPool {
    pub(super) origin: Arc<Origin>,
    slots: Vec<Slot>,
    exclusive: Exclusive,
    breaker: Mutex<Breaker>,
}

/// Connections for searches that need one to themselves.
struct Exclusive {
    /// As many may be under way at once.
    turns: Semaphore,
    idle: Mutex<Vec<Arc<Connection>>>,
}

/// The place of one connection.
#[derive(Default)]
struct Slot {
    current: ArcSwapOption<Connection>,
    /// Held while a connection is being made, so that many who need one make one.
    opening: tokio::sync::Mutex<Option<Failure>>,
    is_renewing: AtomicBool,
}

/// Why the last attempt to connect failed, and when.
struct Failure {
    at: Instant,
    error: LookupError,
}

impl ServerPool {
    pub(super) fn new(origin: Arc<Origin>) -> Arc<Self> {
        let slots = (0..origin.pool.connections).map(|_| Slot::default()).collect();
        let turns = Semaphore::new(origin.pool.connections);
        let exclusive = Exclusive { turns, idle: Mutex::default() };
        Arc::new(Self { origin, slots, exclusive, breaker: Mutex::default() })
    }

    pub(super) fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The least loaded connection, or a new one where there is none. Missing spares are made by [`look_after`](Self::look_after), so
    /// that nobody waits for them.
    pub(super) async fn connection(
        self: &Arc<Self>,
        deadline: Instant,
    ) -> Result<Arc<Connection>, LookupError> {
        let ready = self.slots.iter().filter_map(Slot::usable).max_by_key(|connection| connection.free());
        match ready {
            Some(ready) => Ok(ready),
            None => self.opened(0, deadline).await,
        }
    }

    /// The connection of a slot, made where there is none.
    async fn opened(
        self: &Arc<Self>,
        slot: usize,
        deadline: Instant,
    ) -> Result<Arc<Connection>, LookupError> {
        let asked = Instant::now();
        let this = self.clone();
        let _waiting = Waiting::on(&self.origin);
        self.apart(deadline, async move { this.open(slot, asked, false).await }).await
    }

    /// Makes connections on the background runtime, so that a caller that goes away does not leave half a bind behind.
    async fn apart<T: Send + 'static>(
        &self,
        deadline: Instant,
        opening: impl Future<Output = Result<T, LookupError>> + Send + 'static,
    ) -> Result<T, LookupError> {
        match tokio::time::timeout_at(deadline.into(), self.origin.handle.spawn(opening)).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(LookupError::Lost),
            Err(_) => Err(LookupError::Deadline),
        }
    }

    async fn open(&self, slot: usize, asked: Instant, renew: bool) -> Result<Arc<Connection>, LookupError> {
        let slot = self.slots.get(slot).ok_or(LookupError::Lost)?;
        let mut failure = slot.opening.lock().await;
        if !renew && let Some(current) = slot.usable() {
            return Ok(current);
        }
        if let Some(failure) = failure.as_ref().filter(|failure| failure.at >= asked) {
            return Err(failure.error.clone());
        }
        match self.connect(State::default()).await {
            Ok(connection) => {
                slot.current.store(Some(connection.clone()));
                *failure = None;
                Ok(connection)
            }
            Err(error) => {
                *failure = Some(Failure { at: Instant::now(), error: error.clone() });
                Err(error)
            }
        }
    }

    /// A new connection; log, breaker and metrics hear of it.
    async fn connect(&self, state: State) -> Result<Arc<Connection>, LookupError> {
        match self.origin.connect(state).await {
            Ok(connection) => {
                self.change(Breaker::connected);
                self.origin.ours.up.set(1);
                Ok(Arc::new(connection))
            }
            Err(error) => {
                match &error {
                    // These say nothing of the server's health. They are in the log once, where they were found out.
                    LookupError::Credentials(_) | LookupError::Password(_) => {
                        self.breaker().set_aside(Instant::now());
                        if self.slots.iter().all(|slot| slot.usable().is_none()) {
                            self.origin.ours.up.set(0);
                        }
                    }
                    error => {
                        tracing::warn!(server = %self.origin.server.label, %error, "no connection to the directory");
                        self.failed(error);
                    }
                }
                Err(error)
            }
        }
    }

    /// A connection outside of the slots.
    pub(super) async fn dedicated(
        self: &Arc<Self>,
        deadline: Instant,
    ) -> Result<Arc<Connection>, LookupError> {
        let this = self.clone();
        self.apart(deadline, async move { this.connect(State::paced()).await }).await
    }

    /// Searches on this connection, for which somebody asked then; in pages, where that is wished for and needed.
    pub(super) async fn search(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        query: &Query,
        asked: Instant,
        deadline: Instant,
    ) -> Result<Found, LookupError> {
        let about = connection.about();
        let can_page = query.paged && about.supports(PAGED_RESULTS);
        if can_page && about.is_active_directory() {
            return match paging::first_page(connection, query, asked, deadline).await? {
                Some(found) => Ok(found),
                None => self.paged(query, deadline).await,
            };
        }
        let found = connection.search_since(asked, query.clone(), deadline).await?;
        if !can_page || found.cut != Some(Cut::ByServer(ResultCode::SIZE_LIMIT)) {
            return Ok(found);
        }
        match self.paged(query, deadline).await {
            // It does not page this search. What it gave before stands, as the part that it is.
            Err(error) if error.is_of_one_question() => Ok(found),
            result => result,
        }
    }

    /// Searches in pages, on a connection that nobody else has.
    async fn paged(self: &Arc<Self>, query: &Query, deadline: Instant) -> Result<Found, LookupError> {
        let asked = Instant::now();
        let waiting = Waiting::on(&self.origin);
        let turn = tokio::time::timeout_at(deadline.into(), self.exclusive.turns.acquire());
        let Ok(Ok(_turn)) = turn.await else { return Err(LookupError::Deadline) };
        let connection = match self.exclusive.take() {
            Some(connection) => connection,
            None => {
                let this = self.clone();
                self.apart(deadline, async move { this.connect(State::default()).await }).await?
            }
        };
        drop(waiting);
        let found = paging::pages(&connection, query, asked, deadline).await?;
        // Not where it failed, or the caller went away: then a page may still be under way.
        self.exclusive.give_back(connection);
        Ok(found)
    }

    /// Tells breaker and metrics how a search went.
    pub(super) fn note<T>(&self, result: &Result<T, LookupError>) {
        match result {
            Err(LookupError::Deadline | LookupError::Stopped) => {}
            Err(error) if error.is_worth_another_server() => self.failed(error),
            Ok(_) | Err(_) => {
                self.origin.ours.up.set(1);
                self.change(Breaker::succeeded);
            }
        }
    }

    fn failed(&self, error: &LookupError) {
        self.origin.ours.up.set(0);
        self.change(|breaker| breaker.failed(error.clone(), Instant::now(), jitter()));
    }

    fn change(&self, change: impl FnOnce(&mut Breaker)) {
        let mut breaker = self.breaker();
        change(&mut breaker);
        self.origin.ours.breaker_open.set(i64::from(!breaker.is_closed()));
    }

    /// One round of care. Whatever takes time is done in the background.
    pub(super) fn look_after(self: &Arc<Self>, is_preferred: bool) {
        let now = Instant::now();
        let (is_closed, is_probe_due) = {
            let breaker = self.breaker();
            (breaker.is_closed(), breaker.is_probe_due(now))
        };
        for (index, slot) in self.slots.iter().enumerate() {
            match slot.usable() {
                Some(connection) if connection.is_aged() && (is_closed || is_probe_due) => self.renew(index),
                Some(connection) if connection.idle() >= IDLE || (is_probe_due && index == 0) => {
                    let this = self.clone();
                    self.origin.handle.spawn(async move { this.note(&connection.ping().await) });
                }
                Some(_) => {}
                None => {
                    slot.current.store(None);
                    if (is_closed && is_preferred) || (is_probe_due && index == 0) {
                        self.renew(index);
                    }
                }
            }
        }
        self.exclusive.idle().retain(|connection| connection.idle() < IDLE && !connection.is_aged());
    }

    /// Ends its connections; what is under way on them is answered first.
    pub(super) fn stop(&self) {
        self.slots.iter().for_each(|slot| slot.current.store(None));
        self.exclusive.idle().clear();
    }

    /// Makes a new connection for a slot, one at a time; the old one serves until then, and ends with its last search.
    fn renew(self: &Arc<Self>, index: usize) {
        let Some(slot) = self.slots.get(index) else { return };
        if slot.is_renewing.swap(true, Ordering::AcqRel) {
            return;
        }
        let renew = slot.usable().is_some();
        let this = self.clone();
        self.origin.handle.spawn(async move {
            // What went wrong is in the log and in the breaker.
            let _ = this.open(index, Instant::now(), renew).await;
            if let Some(slot) = this.slots.get(index) {
                slot.is_renewing.store(false, Ordering::Release);
            }
        });
    }
}

impl Exclusive {
    fn idle(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Arc<Connection>> {
        let mut idle = self.idle();
        idle.retain(|connection| connection.is_usable() && !connection.is_aged());
        idle.pop()
    }

    fn give_back(&self, connection: Arc<Connection>) {
        self.idle().push(connection);
    }
}

impl Slot {
    fn usable(&self) -> Option<Arc<Connection>> {
        self.current.load_full().filter(|connection| connection.is_usable())
    }
}

#[cfg(test)]
mod tests;
