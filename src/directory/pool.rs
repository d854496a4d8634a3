//! Connections to all servers: the first of the list that works, its breaker, its spares, and one more try.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

use super::LookupError;
use super::breaker::Breaker;
use super::conn::{Connection, Found, Origin, Query, jitter, root_query};

/// How often one question is sent at most.
const MAX_SEARCHES: usize = 2;
/// How often the pool looks after its connections.
const TICK: Duration = Duration::from_secs(1);
/// A connection that was idle for so long is asked whether it still works.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// The connections to every server.
pub(super) struct Pool {
    servers: Vec<Arc<ServerPool>>,
    stop: watch::Sender<bool>,
}

/// The connections to one server.
struct ServerPool {
    origin: Arc<Origin>,
    slots: Vec<Slot>,
    breaker: Mutex<Breaker>,
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

impl Pool {
    /// A pool that connects when it is first asked, or a moment later by itself.
    pub(super) fn new(origins: Vec<Arc<Origin>>) -> Arc<Self> {
        let servers = origins.into_iter().map(ServerPool::new).collect();
        Arc::new(Self { servers, stop: watch::Sender::new(false) })
    }

    /// Searches on the first server that works, and once more elsewhere where the connection, not the question, was the
    /// trouble.
    pub(super) async fn search(&self, query: &Query, deadline: Instant) -> Result<Found, LookupError> {
        let mut order = self.order()?;
        let is_alone = order.len() == 1;
        if is_alone {
            // A lone server gets the second try itself: one dead connection says little of it.
            order.extend_from_within(..);
        }
        let mut searches = 0;
        let mut last = LookupError::Lost;
        for (turn, server) in order.iter().enumerate() {
            if searches == MAX_SEARCHES || (is_alone && turn > searches) {
                break;
            }
            let result = match server.connection(deadline).await {
                Ok(connection) => {
                    searches += 1;
                    let result = connection.search(query.clone(), deadline).await;
                    server.note(&result);
                    result
                }
                Err(error) => Err(error),
            };
            match result {
                Err(error) if error.is_worth_another_server() && Instant::now() < deadline => last = error,
                done => return done,
            }
            if is_alone && last == LookupError::TimedOut {
                break;
            }
        }
        Err(last)
    }

    /// Shows that a server can be reached, that it accepts our credentials, and that it answers.
    pub(super) async fn probe(&self, deadline: Instant) -> Result<(), LookupError> {
        match self.search(&root_query(), deadline).await {
            // A server may hide its root DSE; it has answered.
            Ok(_) | Err(LookupError::Refused(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The servers to try, the best first.
    fn order(&self) -> Result<Vec<Arc<ServerPool>>, LookupError> {
        if *self.stop.borrow() {
            return Err(LookupError::Stopped);
        }
        let now = Instant::now();
        let mut order: Vec<_> =
            self.servers.iter().filter(|server| server.breaker().is_closed()).cloned().collect();
        order.sort_by_key(|server| server.breaker().prefers_others(now));
        if order.is_empty() {
            let last_resort = self.servers.iter().filter(|server| server.breaker().try_as_last_resort(now));
            order.extend(last_resort.cloned());
        }
        if order.is_empty() {
            let known = self.servers.iter().find_map(|server| server.breaker().last_error());
            return Err(known.unwrap_or(LookupError::Lost));
        }
        Ok(order)
    }

    /// Looks after the connections until stopped: renews, fills, probes, asks idle ones whether they work.
    pub(super) async fn maintain(self: Arc<Self>) {
        let mut stopped = self.stop.subscribe();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => return,
                _ = tick.tick() => {}
            }
            let preferred = self.order_without_last_resort().into_iter().next();
            for server in &self.servers {
                let is_preferred = preferred.as_ref().is_some_and(|preferred| Arc::ptr_eq(preferred, server));
                server.look_after(is_preferred);
            }
        }
    }

    /// Whether some server answered when it was last asked, as far as is known.
    pub(super) fn is_up(&self) -> bool {
        self.servers.iter().any(|server| server.breaker().is_closed())
    }

    fn order_without_last_resort(&self) -> Vec<Arc<ServerPool>> {
        if self.is_up() { self.order().unwrap_or_default() } else { Vec::new() }
    }

    /// Ends all connections; what is under way on them is answered first.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
        for slot in self.servers.iter().flat_map(|server| &server.slots) {
            slot.current.store(None);
        }
    }
}

impl ServerPool {
    fn new(origin: Arc<Origin>) -> Arc<Self> {
        let slots = (0..origin.pool.connections).map(|_| Slot::default()).collect();
        Arc::new(Self { origin, slots, breaker: Mutex::default() })
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The least loaded connection, or a new one where there is none. Missing spares are made by [`Pool::maintain`], so
    /// that nobody waits for them.
    async fn connection(self: &Arc<Self>, deadline: Instant) -> Result<Arc<Connection>, LookupError> {
        let ready = self.slots.iter().filter_map(Slot::usable).max_by_key(|connection| connection.free());
        match ready {
            Some(ready) => Ok(ready),
            None => self.opened(0, deadline).await,
        }
    }

    /// The connection of a slot, made where there is none. It is made on the background runtime, so that a caller that
    /// goes away does not leave half a bind behind.
    async fn opened(
        self: &Arc<Self>,
        slot: usize,
        deadline: Instant,
    ) -> Result<Arc<Connection>, LookupError> {
        let asked = Instant::now();
        let this = self.clone();
        let opening = self.origin.handle.spawn(async move { this.open(slot, asked, false).await });
        match tokio::time::timeout_at(deadline.into(), opening).await {
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
        match self.origin.connect().await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                slot.current.store(Some(connection.clone()));
                *failure = None;
                self.breaker().connected();
                self.up(1);
                self.count();
                Ok(connection)
            }
            Err(error) => {
                tracing::warn!(server = %self.origin.server.label, %error, "no connection to the directory");
                *failure = Some(Failure { at: Instant::now(), error: error.clone() });
                match &error {
                    // A refusal of our credentials says nothing of the server's health, and is remembered elsewhere.
                    LookupError::Credentials | LookupError::Password(_) => self.up(0),
                    error => self.failed(error),
                }
                Err(error)
            }
        }
    }

    /// Tells breaker and metrics how a search went.
    fn note<T>(&self, result: &Result<T, LookupError>) {
        match result {
            Err(LookupError::Deadline | LookupError::Stopped) => {}
            Err(error) if error.is_worth_another_server() => self.failed(error),
            Ok(_) | Err(_) => {
                self.up(1);
                self.breaker().succeeded();
            }
        }
    }

    fn failed(&self, error: &LookupError) {
        self.up(0);
        self.breaker().failed(error.clone(), Instant::now(), jitter());
    }

    fn up(&self, value: i64) {
        self.origin.metrics.up.with_label_values(&[&self.origin.server.label]).set(value);
    }

    /// One round of care. Whatever takes time is done in the background.
    fn look_after(self: &Arc<Self>, is_preferred: bool) {
        let now = Instant::now();
        let (is_closed, is_probe_due) = {
            let breaker = self.breaker();
            (breaker.is_closed(), breaker.is_probe_due(now))
        };
        for (index, slot) in self.slots.iter().enumerate() {
            match slot.usable() {
                Some(connection) if connection.is_aged() => self.renew(index),
                Some(connection) if connection.idle() >= HEARTBEAT => {
                    let this = self.clone();
                    self.origin.handle.spawn(async move { this.note(&connection.root_dse().await) });
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
        self.count();
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

    fn count(&self) {
        let open = self.slots.iter().filter(|slot| slot.usable().is_some()).count();
        let gauge =
            self.origin.metrics.pool_connections.with_label_values(&[&self.origin.server.label, "open"]);
        gauge.set(i64::try_from(open).unwrap_or(i64::MAX));
    }
}

impl Slot {
    fn usable(&self) -> Option<Arc<Connection>> {
        self.current.load_full().filter(|connection| connection.is_usable())
    }
}

#[cfg(test)]
mod tests {
    use super::super::ResultCode;
    use super::super::conn::tests::{origin, soon};
    use super::super::fake::{Manner, Server};
    use super::*;

    fn pool(servers: &[&Server], folder: &tempfile::TempDir) -> Arc<Pool> {
        std::fs::write(folder.path().join("password"), "pw").unwrap();
        Pool::new(servers.iter().map(|server| Arc::new(origin(server, folder.path()))).collect())
    }

    #[tokio::test]
    async fn a_busy_server_is_left_for_the_next_one_and_a_refusal_is_final() {
        let (busy, good) = (Server::start(Manner::Result(51)).await, Server::start(Manner::Empty).await);
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(&[&busy, &good], &folder);
        assert!(pool.search(&root_query(), soon()).await.is_ok());
        assert_eq!((busy.searches(), good.searches()), (1, 1));
        *busy.manner.lock().unwrap() = Manner::Result(50);
        let refused = LookupError::Refused(ResultCode(50));
        assert_eq!(pool.search(&root_query(), soon()).await, Err(refused));
        assert_eq!((busy.searches(), good.searches()), (2, 1));
    }

    #[tokio::test]
    async fn a_question_is_sent_twice_at_most() {
        let folder = tempfile::tempdir().unwrap();
        let alone = Server::start(Manner::Close).await;
        assert_eq!(pool(&[&alone], &folder).search(&root_query(), soon()).await, Err(LookupError::Lost));
        assert_eq!((alone.searches(), alone.connections.load(Ordering::SeqCst)), (2, 2));
        let several = [
            Server::start(Manner::Close).await,
            Server::start(Manner::Close).await,
            Server::start(Manner::Close).await,
        ];
        let pool = pool(&several.each_ref(), &folder);
        assert_eq!(pool.search(&root_query(), soon()).await, Err(LookupError::Lost));
        assert_eq!(several.each_ref().map(Server::searches), [1, 1, 0]);
    }

    #[tokio::test]
    async fn a_server_that_failed_three_times_is_left_alone() {
        let (bad, good) = (Server::start(Manner::Close).await, Server::start(Manner::Empty).await);
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(&[&bad, &good], &folder);
        for _ in 0..10 {
            assert!(pool.search(&root_query(), soon()).await.is_ok());
        }
        assert_eq!((bad.searches(), good.searches()), (3, 10));
    }

    #[tokio::test]
    async fn many_who_need_a_connection_share_one() {
        let server = Server::start(Manner::Empty).await;
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(&[&server], &folder);
        let query = root_query();
        let asking = (0..50).map(|_| pool.search(&query, soon()));
        for answer in futures_util::future::join_all(asking).await {
            assert!(answer.is_ok(), "{answer:?}");
        }
        assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn an_aged_connection_is_replaced_without_a_search_lost_and_spares_are_made() {
        let server = Server::start(Manner::Empty).await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("password"), "pw").unwrap();
        let mut origin = origin(&server, folder.path());
        origin.pool.max_age = Duration::from_millis(10);
        let pool = Pool::new(vec![Arc::new(origin)]);
        let care = tokio::spawn(pool.clone().maintain());
        let until = Instant::now() + Duration::from_secs(10);
        while server.connections.load(Ordering::SeqCst) < 4 {
            assert!(pool.search(&root_query(), soon()).await.is_ok());
            assert!(Instant::now() < until, "never renewed");
        }
        pool.stop();
        care.await.unwrap();
        assert_eq!(pool.search(&root_query(), soon()).await, Err(LookupError::Stopped));
    }
}
