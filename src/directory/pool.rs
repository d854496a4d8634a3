//! Connections to all servers: the first of the list that works, its breaker, its spares, and one more try.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::watch;

use super::LookupError;
use super::about::About;
use super::conn::{Connection, Found, Origin, Query, ServerId};
use super::credentials::{Content, Credentials};
use super::dedicated::Dedicated;
use super::search::ping;
use super::server::ServerPool;
use super::settings::Server;

/// How often one question is sent at most.
const MAX_SEARCHES: usize = 2;
/// How often the pool looks after its connections.
const TICK: Duration = Duration::from_secs(1);
/// How often it looks at its own password.
const SECRET_INTERVAL: Duration = Duration::from_secs(5);

/// The connections to every server.
pub(super) struct Pool {
    servers: ArcSwap<Vec<Arc<ServerPool>>>,
    /// Whether it is known which servers there are.
    names: watch::Sender<Names>,
    /// All servers that there were and that something is still under way with: one that comes back is the same one.
    origins: Mutex<Vec<Weak<Origin>>>,
    /// Who is asked first, while it is usable.
    pinned: ArcSwapOption<ServerId>,
    /// The connections that are somebody else's: they end with the pool.
    dedicated: Mutex<Vec<Weak<Connection>>>,
    stop: watch::Sender<bool>,
}

/// Whether it is known which servers there are.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Names {
    /// They are being looked for, for the first time.
    Sought,
    Known,
    /// They could not be found out so far.
    Unknown(LookupError),
}

/// What went wrong on the way from server to server.
#[derive(Default)]
pub(super) struct Trouble(Option<LookupError>);

impl Trouble {
    pub(super) fn note(&mut self, error: LookupError) {
        // That a server does not go with the configuration says more than that others cannot be reached.
        if !matches!(self.0, Some(LookupError::Unfit(_))) {
            self.0 = Some(error);
        }
    }

    pub(super) fn told(self) -> LookupError {
        self.0.unwrap_or(LookupError::Lost)
    }
}

impl Pool {
    /// A pool that connects when it is first asked, or a moment later by itself.
    pub(super) fn new(origins: Vec<Arc<Origin>>) -> Arc<Self> {
        Self::with(origins.into_iter().map(ServerPool::new).collect(), Names::Known)
    }

    /// A pool that will be told its servers. Until then, whoever searches waits.
    pub(super) fn to_be_told() -> Arc<Self> {
        Self::with(Vec::new(), Names::Sought)
    }

    fn with(servers: Vec<Arc<ServerPool>>, names: Names) -> Arc<Self> {
        Arc::new(Self {
            servers: ArcSwap::from_pointee(servers),
            names: watch::Sender::new(names),
            origins: Mutex::default(),
            pinned: ArcSwapOption::empty(),
            dedicated: Mutex::default(),
            stop: watch::Sender::new(false),
        })
    }

    /// These are the servers from now on, the first one preferred. Those that stay keep their connections; what is under way
    /// on others is answered first.
    pub(super) fn update(&self, servers: Vec<Server>, origin: impl Fn(Server) -> Arc<Origin>) {
        let before = self.servers.load_full();
        let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        origins.retain(|origin| origin.strong_count() > 0);
        let mut origin_of = |server: Server| {
            let mut known = origins.iter().filter_map(Weak::upgrade);
            known.find(|known| known.server == server).unwrap_or_else(|| {
                let new = origin(server);
                origins.push(Arc::downgrade(&new));
                new
            })
        };
        let kept = |server: &Server| before.iter().find(|known| known.origin.server == *server).cloned();
        let now: Vec<_> = servers
            .into_iter()
            .map(|server| kept(&server).unwrap_or_else(|| ServerPool::new(origin_of(server))))
            .collect();
        let is_new = before.len() != now.len() || before.iter().zip(&now).any(|(a, b)| !Arc::ptr_eq(a, b));
        if is_new {
            let servers: Vec<_> = now.iter().map(|server| &*server.origin.server.label).collect();
            tracing::info!(?servers, "the servers of the directory");
        }
        let stays = |server: &Arc<ServerPool>| now.iter().any(|other| Arc::ptr_eq(other, server));
        let gone: Vec<_> = before.iter().filter(|server| !stays(server)).cloned().collect();
        self.servers.store(Arc::new(now));
        gone.iter().for_each(|server| server.stop());
        self.names.send_replace(Names::Known);
        if *self.stop.borrow() {
            self.stop();
        }
    }

    /// Which servers there are could not be found out, because of this. Says whether none is known.
    pub(super) fn is_unknown(&self, error: LookupError) -> bool {
        self.names.send_if_modified(|names| {
            let is_known = *names == Names::Known;
            if !is_known {
                *names = Names::Unknown(error);
            }
            !is_known
        });
        *self.names.borrow() != Names::Known
    }

    /// Becomes true when the pool is stopped.
    pub(super) fn stopped(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Searches on the first server that works, and once more elsewhere where the connection, not the question, was the
    /// trouble.
    pub(super) async fn search(&self, query: &Query, deadline: Instant) -> Result<Found, LookupError> {
        self.wait_for_names(deadline).await?;
        let mut order = self.order()?;
        let is_alone = order.len() == 1;
        if is_alone {
            // A lone server gets the second try itself: one dead connection says little of it.
            order.extend_from_within(..);
        }
        let mut searches = 0;
        let mut trouble = Trouble::default();
        for (turn, server) in order.iter().enumerate() {
            if searches == MAX_SEARCHES || (is_alone && turn > searches) {
                break;
            }
            let asked = Instant::now();
            let result = match server.connection(deadline).await {
                Ok(connection) => {
                    searches += 1;
                    let result = server.search(&connection, query, asked, deadline).await;
                    server.note(&result);
                    result
                }
                Err(error) => Err(error),
            };
            let is_time_out = matches!(result, Err(LookupError::TimedOut));
            match result {
                Err(error) if error.is_worth_another_server() && Instant::now() < deadline => {
                    trouble.note(error)
                }
                done => return done,
            }
            if is_alone && is_time_out {
                break;
            }
        }
        Err(trouble.told())
    }

    /// The server that answers now, and what it says of itself.
    pub(super) async fn about(&self, deadline: Instant) -> Result<(ServerId, Arc<About>), LookupError> {
        let connection = self.connection(deadline).await?;
        Ok((connection.id(), connection.about().clone()))
    }

    /// Shows that a server can be reached, that it accepts our credentials, and that it answers.
    pub(super) async fn probe(&self, deadline: Instant) -> Result<(), LookupError> {
        // Apart from the search: a refused bind is not an answer, a refused search is one.
        self.connection(deadline).await?;
        match self.search(&ping(), deadline).await {
            Err(error) if !error.is_of_one_question() => Err(error),
            _ => Ok(()),
        }
    }

    /// Asks this server first from now on, while it is usable: what was learnt from one server may not have come to the
    /// others yet. `None`: the first of the list again.
    pub(super) fn pin(&self, server: Option<ServerId>) {
        self.pinned.store(server.map(Arc::new));
    }

    /// A new connection to the first server that works, for the caller alone.
    pub(super) async fn dedicated(&self, deadline: Instant) -> Result<Dedicated, LookupError> {
        self.wait_for_names(deadline).await?;
        let mut trouble = Trouble::default();
        for server in self.order()? {
            match server.dedicated(deadline).await {
                Ok(connection) => {
                    let mut dedicated = self.dedicated.lock().unwrap_or_else(PoisonError::into_inner);
                    if *self.stop.borrow() {
                        return Err(LookupError::Stopped);
                    }
                    dedicated.retain(|known| known.strong_count() > 0);
                    dedicated.push(Arc::downgrade(&connection));
                    return Ok(Dedicated::new(connection));
                }
                Err(error) if error.is_worth_another_server() && Instant::now() < deadline => {
                    trouble.note(error)
                }
                Err(error) => return Err(error),
            }
        }
        Err(trouble.told())
    }

    /// A connection to the first server that works.
    async fn connection(&self, deadline: Instant) -> Result<Arc<Connection>, LookupError> {
        self.wait_for_names(deadline).await?;
        let mut trouble = Trouble::default();
        for server in self.order()? {
            match server.connection(deadline).await {
                Err(error) if error.is_worth_another_server() && Instant::now() < deadline => {
                    trouble.note(error)
                }
                done => return done,
            }
        }
        Err(trouble.told())
    }

    /// Waits until it is known which servers there are, or that they cannot be found out.
    pub(super) async fn wait_for_names(&self, deadline: Instant) -> Result<(), LookupError> {
        let mut names = self.names.subscribe();
        let waiting = names.wait_for(|names| *names != Names::Sought);
        match tokio::time::timeout_at(deadline.into(), waiting).await {
            Ok(Ok(names)) => match &*names {
                Names::Unknown(error) => Err(error.clone()),
                Names::Known | Names::Sought => Ok(()),
            },
            _ => Err(LookupError::Deadline),
        }
    }

    /// The servers to try, the best first.
    pub(super) fn order(&self) -> Result<Vec<Arc<ServerPool>>, LookupError> {
        if *self.stop.borrow() {
            return Err(LookupError::Stopped);
        }
        let now = Instant::now();
        let servers = self.servers.load();
        let mut order: Vec<_> =
            servers.iter().filter(|server| server.breaker().is_closed()).cloned().collect();
        let pinned = self.pinned.load();
        order.sort_by_key(|server| {
            let is_pinned = pinned.as_deref().is_some_and(|pinned| pinned.is_at(&server.origin.id()));
            (!is_pinned, server.breaker().prefers_others(now))
        });
        if order.is_empty() {
            let last_resort = servers.iter().filter(|server| server.breaker().try_as_last_resort(now));
            order.extend(last_resort.cloned());
        }
        if order.is_empty() {
            let known = servers.iter().find_map(|server| server.breaker().last_error());
            return Err(known.unwrap_or(LookupError::Lost));
        }
        Ok(order)
    }

    /// Looks after the connections until stopped: renews, fills, probes, asks idle ones whether they work.
    pub(super) async fn maintain(self: Arc<Self>) {
        let mut stopped = self.stop.subscribe();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut looked = Instant::now();
        loop {
            tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => return,
                _ = tick.tick() => {}
            }
            if looked.elapsed() >= SECRET_INTERVAL {
                looked = Instant::now();
                self.watch_secret().await;
            }
            let preferred = self.order_without_last_resort().into_iter().next();
            for server in self.servers.load_full().iter() {
                let is_preferred = preferred.as_ref().is_some_and(|preferred| Arc::ptr_eq(preferred, server));
                server.look_after(is_preferred);
            }
        }
    }

    /// A new password renews every connection, by the care for each.
    async fn watch_secret(&self) {
        if let Some(credentials) = self.credentials() {
            // Reading does not panic; if it did, there is the next time.
            let _ = tokio::task::spawn_blocking(move || credentials.watch()).await;
        }
    }

    /// Whether some server answered when it was last asked, as far as is known.
    pub(super) fn is_up(&self) -> bool {
        self.servers.load().iter().any(|server| server.breaker().is_closed())
    }

    /// Whether some server did what was asked when it was last asked, as far as is known.
    pub(super) fn is_well(&self) -> bool {
        self.servers.load().iter().any(|server| server.breaker().is_well())
    }

    /// What our secret is recognised by, as it was last looked at.
    pub(super) fn secret(&self) -> Option<Content> {
        self.credentials()?.newest()
    }

    fn credentials(&self) -> Option<Arc<Credentials>> {
        self.servers.load().first()?.origin.credentials.clone()
    }

    fn order_without_last_resort(&self) -> Vec<Arc<ServerPool>> {
        if self.is_up() { self.order().unwrap_or_default() } else { Vec::new() }
    }

    /// Ends all connections; what is under way on them is answered first.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
        // Whoever waits for names is to learn of it.
        self.names.send_replace(Names::Known);
        self.servers.load().iter().for_each(|server| server.stop());
        let dedicated = self.dedicated.lock().unwrap_or_else(PoisonError::into_inner);
        dedicated.iter().filter_map(Weak::upgrade).for_each(|connection| connection.link().kill());
    }
}

#[cfg(test)]
impl Pool {
    pub(super) fn each_breaker(&self, change: impl Fn(&mut super::breaker::Breaker)) {
        self.servers.load().iter().for_each(|server| change(&mut server.breaker()));
    }

    pub(super) fn watch_secret_now(&self) {
        self.credentials().unwrap().watch();
    }
}

#[cfg(test)]
mod tests {
    use super::super::ResultCode;
    use super::super::conn::tests::{fail, failing, origin_at, result, soon};
    use super::super::persona::samples::OPEN_COMPANY;
    use super::super::persona::{Fault, Persona};
    use super::super::scripted::Scripted;
    use super::super::settings::Flavour;
    use super::*;

    fn pool(servers: &[&Persona], folder: &tempfile::TempDir) -> Arc<Pool> {
        std::fs::write(folder.path().join("password"), "pw").unwrap();
        Pool::new(servers.iter().map(|server| Arc::new(origin_at(server.port(), folder.path()))).collect())
    }

    async fn good() -> Persona {
        Persona::open_ldap(OPEN_COMPANY).await
    }

    /// How often a server was asked whether it answers.
    fn pings(server: &Persona) -> usize {
        server.seen().searches.iter().filter(|search| search.attributes == ["1.1"]).count()
    }

    #[tokio::test]
    async fn a_busy_server_is_left_for_the_next_one_and_a_refusal_is_final() {
        let (busy, good) = (failing(result(51)).await, good().await);
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(&[&busy, &good], &folder);
        assert!(pool.search(&ping(), soon()).await.is_ok());
        assert_eq!((pings(&busy), pings(&good)), (1, 1));
        fail(&busy, result(50));
        let refused = LookupError::Refused(ResultCode(50));
        assert_eq!(pool.search(&ping(), soon()).await, Err(refused));
        assert_eq!((pings(&busy), pings(&good)), (2, 1));
    }

    #[tokio::test]
    async fn a_question_is_sent_twice_at_most() {
        let folder = tempfile::tempdir().unwrap();
        let alone = failing(Fault::Close).await;
        assert_eq!(pool(&[&alone], &folder).search(&ping(), soon()).await, Err(LookupError::Lost));
        assert_eq!((pings(&alone), alone.seen().connections), (2, 2));
        let several = [failing(Fault::Close).await, failing(Fault::Close).await, failing(Fault::Close).await];
        let pool = pool(&several.each_ref(), &folder);
        assert_eq!(pool.search(&ping(), soon()).await, Err(LookupError::Lost));
        assert_eq!(several.each_ref().map(pings), [1, 1, 0]);
    }

    #[tokio::test]
    async fn a_server_that_failed_three_times_is_left_alone() {
        let (bad, good) = (failing(Fault::Close).await, good().await);
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(&[&bad, &good], &folder);
        for _ in 0..10 {
            assert!(pool.search(&ping(), soon()).await.is_ok());
        }
        assert_eq!((pings(&bad), pings(&good)), (3, 10));
    }

    #[tokio::test]
    async fn many_who_need_a_connection_share_one() {
        let server = good().await;
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(&[&server], &folder);
        let query = ping();
        let asking = (0..50).map(|_| pool.search(&query, soon()));
        for answer in futures_util::future::join_all(asking).await {
            assert!(answer.is_ok(), "{answer:?}");
        }
        assert_eq!(server.seen().connections, 1);
    }

    #[tokio::test]
    async fn an_aged_connection_is_replaced_without_a_search_lost_and_spares_are_made() {
        let server = good().await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("password"), "pw").unwrap();
        let mut origin = origin_at(server.port(), folder.path());
        origin.pool.max_age = Duration::from_millis(10);
        let pool = Pool::new(vec![Arc::new(origin)]);
        let care = tokio::spawn(pool.clone().maintain());
        let until = Instant::now() + Duration::from_secs(10);
        while server.seen().connections < 4 {
            assert!(pool.search(&ping(), soon()).await.is_ok());
            assert!(Instant::now() < until, "never renewed");
        }
        pool.stop();
        care.await.unwrap();
        assert_eq!(pool.search(&ping(), soon()).await, Err(LookupError::Stopped));
    }

    #[tokio::test]
    async fn a_server_that_does_not_go_with_the_configuration_is_named_though_another_is_away() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("password"), "pw").unwrap();
        let unfit = Scripted::with_root(&[("objectClass", "OpenLDAProotDSE")]).await;
        let fit = Scripted::with_root(&[("supportedCapabilities", "1.2.840.113556.1.4.800")]).await;
        let pool = |ports: &[u16]| {
            let origins = ports.iter().map(|port| {
                let mut origin = origin_at(*port, folder.path());
                origin.flavour = Flavour::ActiveDirectory;
                Arc::new(origin)
            });
            Pool::new(origins.collect())
        };
        // Nobody listens at port 1.
        for ports in [vec![unfit.port], vec![unfit.port, 1], vec![1, unfit.port]] {
            let pool = pool(&ports);
            let refused = pool.probe(soon()).await;
            assert!(matches!(refused, Err(LookupError::Unfit(_))), "{ports:?} {refused:?}");
            assert!(matches!(pool.search(&ping(), soon()).await, Err(LookupError::Unfit(_))), "{ports:?}");
        }
        let pool = pool(&[unfit.port, fit.port]);
        assert_eq!(pool.probe(soon()).await, Ok(()));
        assert!(pool.about(soon()).await.unwrap().1.is_active_directory());
        assert!(unfit.searched().is_empty());
    }
}
