//! One connection: bound, limited, and watched. Every search has a deadline, ends its message id, and outlives a caller
//! that goes away.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ldap3::controls::RawControl;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::about::{About, ServerKind, root_query, unfit};
use super::bridge::State;
use super::credentials::{Content, Credentials, Secret, Who};
use super::link::Link;
pub(super) use super::search::{Cut, Found, Query, ServerId};
use super::search::{Part, Room, Running, ldap_error, ping};
use super::settings::{Flavour, PoolSettings, Server, Strategy, Timeouts};
use super::{CredentialsFault, LookupError, ResultCode, Unreachable};
use crate::telemetry::{DirectoryMetrics, ServerMetrics};
use crate::tls::{ClientContext, Reload as _};

/// A connection is renewed after so many operations: `ldap3` keeps a little for each.
const MAX_OPERATIONS: u64 = 200_000;
/// So many time-outs in a row mean that nobody is there, though the connection does not say so.
const MAX_TIMEOUTS: u32 = 3;

/// What connections to one server have in common.
pub(super) struct Origin {
    pub(super) server: Server,
    pub(super) tls: Option<Arc<ClientContext>>,
    /// `None`: nobody in particular.
    pub(super) credentials: Option<Arc<Credentials>>,
    pub(super) timeouts: Timeouts,
    pub(super) pool: PoolSettings,
    pub(super) flavour: Flavour,
    pub(super) strategy: Strategy,
    pub(super) metrics: DirectoryMetrics,
    /// Those of `metrics` that are of this server alone.
    pub(super) ours: ServerMetrics,
    pub(super) handle: Handle,
    pub(super) memory: Memory,
}

/// What is kept of one server from one connection to the next.
#[derive(Default)]
pub(super) struct Memory {
    /// Held while binding, so that a wrong password is sent once and not once for each connection.
    binding: tokio::sync::Mutex<()>,
    /// The NETBIOS name of its domain, once it was read.
    netbios_domain: OnceLock<Option<String>>,
    is_introduced: AtomicBool,
}

/// A bound connection.
pub(super) struct Connection {
    origin: Arc<Origin>,
    about: Arc<About>,
    link: Link,
    /// Which of the servers behind the URL it is to.
    service: Arc<str>,
    /// What it was bound with.
    secret: Option<Content>,
    permits: Arc<Semaphore>,
    in_flight: AtomicUsize,
    retire_at: Instant,
    started: Instant,
    /// When it was last used, in milliseconds after `started`.
    used: AtomicU64,
    operations: AtomicU64,
    timeouts_in_a_row: AtomicU32,
}

impl Origin {
    /// Connects, binds, and reads the root DSE. The state is that of the connection, before anything was sent.
    pub(super) async fn connect(self: &Arc<Self>, state: State) -> Result<Connection, LookupError> {
        // Read before the network is touched: a password that was refused is no reason to trouble the server.
        let identity = match self.credentials.clone() {
            Some(credentials) => {
                let (reading, tls) = (credentials.clone(), self.tls.clone());
                let secret = tokio::task::spawn_blocking(move || {
                    // A certificate is to be shown as it is told to be: TLS itself looks at it less often.
                    if let (Who::External, Some(tls)) = (&reading.who, tls) {
                        // Where it cannot be loaded, the one before is shown; the watcher of TLS says so.
                        let _ = tls.reload();
                    }
                    reading.read()
                })
                .await;
                let secret = secret.map_err(|_| LookupError::Stopped)??;
                credentials.may_be_sent(&secret, &self.id(), Instant::now())?;
                Some((credentials, secret))
            }
            None => None,
        };
        let link = self
            .timed("connect", async {
                let (tls, budget) = (self.tls.as_deref(), self.timeouts.connect);
                let link = Link::open(&self.server, tls, state, budget, &self.handle).await;
                link.map_err(|error| self.unreachable(&error.to_string()))
            })
            .await?;
        let mut connection = Connection {
            origin: self.clone(),
            about: Arc::default(),
            service: link.peer.to_string().into(),
            secret: None,
            permits: Arc::new(Semaphore::new(self.pool.in_flight)),
            in_flight: AtomicUsize::new(0),
            retire_at: Instant::now() + self.pool.max_age.mul_f64(0.9 + 0.2 * jitter()),
            started: Instant::now(),
            used: AtomicU64::new(0),
            operations: AtomicU64::new(0),
            timeouts_in_a_row: AtomicU32::new(0),
            link,
        };
        self.ours.idle.inc();
        if let Some((credentials, secret)) = identity {
            self.prove(&connection, &credentials, &secret).await?;
            connection.secret = Some(secret.content());
        }
        let about = connection.ask_about().await?;
        about.check(&self.server.label, self.flavour, self.strategy)?;
        if about.is_synchronized == Some(false) {
            // A server that has just been started. That passes, so it says nothing of the configuration.
            return Err(self.unreachable("it has not caught up with its domain (isSynchronized is FALSE)"));
        }
        self.introduce(&about);
        if let Some(service) = &about.service {
            connection.service = Arc::from(&**service);
        }
        connection.about = Arc::new(about);
        Ok(connection)
    }

    pub(super) fn id(&self) -> ServerId {
        ServerId::new(self.server.label.clone())
    }

    /// Binds, if this secret may still be sent when it is its turn.
    async fn prove(
        &self,
        connection: &Connection,
        credentials: &Credentials,
        secret: &Secret,
    ) -> Result<(), LookupError> {
        let server = self.id();
        let _turn = self.memory.binding.lock().await;
        let _proving = match credentials.is_accepted(secret) {
            true => None,
            false => Some(credentials.proving.lock().await),
        };
        credentials.may_be_sent(secret, &server, Instant::now())?;
        let bound = self.timed("bind", connection.bind(&credentials.who, &secret.text)).await;
        match &bound {
            Ok(()) => credentials.accepted(secret, &server),
            Err(error @ LookupError::Credentials(fault)) => {
                credentials.refused(secret, &server, *fault, Instant::now());
                tracing::error!(%server, who = ?credentials.who, %error, "the service's own bind is refused, and not tried again soon");
            }
            Err(_) => {}
        }
        bound
    }

    pub(super) fn unreachable(&self, reason: &str) -> LookupError {
        LookupError::Unreachable(Unreachable { server: self.server.label.clone(), reason: reason.into() })
    }

    /// Says in the log to whom we are talking: all of it when the server is met for the first time.
    fn introduce(&self, about: &About) {
        let server = &*self.server.label;
        if self.memory.is_introduced.swap(true, Ordering::Relaxed) {
            tracing::debug!(server, kind = %about.kind, "connected to the directory");
            return;
        }
        let (dns_domain, netbios_domain) = match &about.kind {
            ServerKind::ActiveDirectory { dns_domain, netbios_domain } => {
                (dns_domain.as_deref(), netbios_domain.as_deref())
            }
            _ => (None, None),
        };
        tracing::info!(
            server,
            kind = %about.kind,
            vendor = about.vendor,
            version = about.version,
            host = about.dns_host_name,
            dns_domain,
            netbios_domain,
            naming_contexts = ?about.naming_contexts,
            is_synchronized = about.is_synchronized,
            is_global_catalog_ready = about.is_global_catalog_ready,
            sasl_mechanisms = ?about.sasl_mechanisms,
            controls = about.controls.len(),
            pages = about.supports(super::about::PAGED_RESULTS),
            "connected to the directory"
        );
    }

    pub(super) async fn timed<T>(
        &self,
        operation: &str,
        work: impl Future<Output = Result<T, LookupError>>,
    ) -> Result<T, LookupError> {
        let started = Instant::now();
        let result = work.await;
        self.record(operation, started, result.as_ref().err());
        result
    }

    fn record(&self, operation: &str, started: Instant, error: Option<&LookupError>) {
        let result = error.map_or("success", LookupError::label);
        let server = &*self.server.label;
        self.metrics.operations.with_label_values(&[server, operation, result]).inc();
        let took = started.elapsed().as_secs_f64();
        self.metrics.operation_duration.with_label_values(&[server, operation]).observe(took);
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        // The server is no longer one of ours: so are its metrics, which would otherwise grow with every name that the DNS
        // ever gave.
        self.metrics.forget(&self.server.label);
    }
}

impl Connection {
    /// Whether operations may be sent on it.
    pub(super) fn is_usable(&self) -> bool {
        self.link.state.is_open()
    }

    /// Whether it should be replaced when there is time for it: it is old, or our password is another by now.
    pub(super) fn is_aged(&self) -> bool {
        Instant::now() >= self.retire_at
            || self.operations.load(Ordering::Relaxed) >= MAX_OPERATIONS
            || self.is_outdated()
    }

    fn is_outdated(&self) -> bool {
        let newest = self.origin.credentials.as_ref().and_then(|credentials| credentials.newest());
        newest.is_some() && newest != self.secret
    }

    /// How many operations it can take at once now.
    pub(super) fn free(&self) -> usize {
        self.permits.available_permits()
    }

    /// For how long nothing was asked on it.
    pub(super) fn idle(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.used.load(Ordering::Relaxed)))
    }

    /// Whose it is.
    pub(super) fn id(&self) -> ServerId {
        self.origin.id().of_service(&self.service)
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.origin.handle
    }

    pub(super) fn operation_timeout(&self) -> Duration {
        self.origin.timeouts.operation
    }

    /// What the server said of itself when it was connected to.
    pub(super) fn about(&self) -> &Arc<About> {
        &self.about
    }

    /// Searches, in one operation.
    pub(super) async fn search(
        self: &Arc<Self>,
        query: Query,
        deadline: Instant,
    ) -> Result<Found, LookupError> {
        self.search_since(Instant::now(), query, deadline).await
    }

    /// The same, for somebody who asked for a connection then.
    pub(super) async fn search_since(
        self: &Arc<Self>,
        asked: Instant,
        query: Query,
        deadline: Instant,
    ) -> Result<Found, LookupError> {
        let room = Room::of(&query);
        let (part, _) = self.part(asked, query, Vec::new(), room, deadline).await?;
        Ok(self.found(part.entries, part.cut, 0))
    }

    /// Searches, with these controls beside those of the query. The search itself runs on the background runtime: a caller
    /// that goes away does not leave a message id behind.
    pub(super) async fn part(
        self: &Arc<Self>,
        asked: Instant,
        query: Query,
        more_controls: Vec<RawControl>,
        room: Room,
        deadline: Instant,
    ) -> Result<(Part, Room), LookupError> {
        let (answer, answered) = oneshot::channel();
        let this = self.clone();
        let work = async move { this.run(asked, query, more_controls, room, deadline, answer).await };
        self.origin.handle.spawn(work);
        answered.await.unwrap_or(Err(LookupError::Lost))
    }

    /// What this server found, in so many pages.
    pub(super) fn found(&self, entries: Vec<super::entry::Entry>, cut: Option<Cut>, pages: u32) -> Found {
        Found { entries, cut, server: self.id(), pages }
    }

    /// Shows that the server answers.
    pub(super) async fn ping(self: &Arc<Self>) -> Result<(), LookupError> {
        let deadline = Instant::now() + self.origin.timeouts.operation;
        match self.search(ping(), deadline).await {
            // A server may hide its root DSE; it has answered.
            Err(error) if !error.is_of_one_question() => Err(error),
            _ => Ok(()),
        }
    }

    /// What the server says of itself.
    async fn ask_about(&self) -> Result<About, LookupError> {
        let mut about = match self.ask(root_query()).await {
            Ok(part) => part.entries.first().map(About::read).unwrap_or_default(),
            // A server may hide its root DSE.
            Err(error) if error.is_of_one_question() => About::default(),
            Err(error) => return Err(error),
        };
        let netbios_query = about.netbios_query();
        let ServerKind::ActiveDirectory { netbios_domain, .. } = &mut about.kind else { return Ok(about) };
        let known = &self.origin.memory.netbios_domain;
        if let (None, Some(query)) = (known.get(), netbios_query) {
            match self.ask(query).await {
                Ok(part) => {
                    let name = part.entries.first().and_then(|entry| entry.first("netbiosname").ok()?);
                    let _ = known.set(name.map(str::to_owned));
                }
                Err(error) if error.is_of_one_question() => {}
                Err(error) => return Err(error),
            }
        }
        *netbios_domain = known.get().cloned().flatten();
        Ok(about)
    }

    /// A search of a connection that nobody else has yet.
    async fn ask(&self, query: Query) -> Result<Part, LookupError> {
        let deadline = Instant::now() + self.origin.timeouts.operation;
        let room = Room::of(&query);
        let (answer, answered) = oneshot::channel();
        self.run(Instant::now(), query, Vec::new(), room, deadline, answer).await;
        answered.await.unwrap_or(Err(LookupError::Lost)).map(|(part, _)| part)
    }

    async fn bind(&self, who: &Who, password: &str) -> Result<(), LookupError> {
        let mut ldap = self.link.ldap.clone();
        ldap.with_timeout(self.origin.timeouts.operation);
        let result = match who {
            Who::Simple(name) => ldap.simple_bind(name, password).await,
            Who::External => ldap.sasl_external_bind().await,
        };
        let result = result.map_err(ldap_error)?;
        match ResultCode(result.rc) {
            ResultCode(0) => Ok(()),
            ResultCode::INVALID_CREDENTIALS => {
                Err(LookupError::Credentials(CredentialsFault::of(&result.text)))
            }
            ResultCode::CONSTRAINT_VIOLATION => Err(LookupError::Credentials(CredentialsFault::Locked)),
            code if code.is_about_the_way_to_bind() => {
                Err(unfit(&self.origin.server.label, format!("refuses this way to bind with result {code}")))
            }
            code => Err(LookupError::Refused(code)),
        }
    }

    /// Runs a search, answers, and then cleans up.
    async fn run(
        &self,
        asked: Instant,
        query: Query,
        more_controls: Vec<RawControl>,
        mut room: Room,
        deadline: Instant,
        answer: oneshot::Sender<Result<(Part, Room), LookupError>>,
    ) {
        let Ok(_permit) = self.permit(deadline).await else {
            let _ = answer.send(Err(LookupError::Deadline));
            return;
        };
        let _busy = Busy::of(self);
        let started = Instant::now();
        self.origin.ours.wait.observe((started - asked).as_secs_f64());
        let limit = started + self.origin.timeouts.operation;
        let until = deadline.min(limit);
        let mut search = Running::new(&self.link, self.secret.is_some());
        let work = search.collect(&query, more_controls, &mut room, until);
        let result = match tokio::time::timeout_at(until.into(), work).await {
            Ok(result) => result,
            Err(_) if limit <= deadline => Err(LookupError::TimedOut),
            Err(_) => Err(LookupError::Deadline),
        };
        self.origin.record("search", started, result.as_ref().err());
        self.note(&result);
        let _ = answer.send(result.map(|part| (part, room)));
        search.finish().await;
    }

    async fn permit(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, LookupError> {
        if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let _waiting = Waiting::on(&self.origin);
        let permit = self.permits.clone().acquire_owned();
        match tokio::time::timeout_at(deadline.into(), permit).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(LookupError::Deadline),
        }
    }

    fn note<T>(&self, result: &Result<T, LookupError>) {
        self.operations.fetch_add(1, Ordering::Relaxed);
        let used = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.used.store(used, Ordering::Relaxed);
        match result {
            Err(LookupError::TimedOut) => {
                let before = self.timeouts_in_a_row.fetch_add(1, Ordering::Relaxed);
                if before + 1 >= MAX_TIMEOUTS {
                    tracing::warn!(server = %self.origin.server.label, "directory connection given up: it does not answer");
                    self.link.kill();
                }
            }
            Err(LookupError::Lost) => self.link.kill(),
            Err(LookupError::Deadline) => {}
            _ => self.timeouts_in_a_row.store(0, Ordering::Relaxed),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.origin.ours.idle.dec();
    }
}

/// An operation that is under way: for the metrics.
struct Busy<'a>(&'a Connection);

impl<'a> Busy<'a> {
    fn of(connection: &'a Connection) -> Self {
        if connection.in_flight.fetch_add(1, Ordering::Relaxed) == 0 {
            connection.origin.ours.idle.dec();
            connection.origin.ours.in_use.inc();
        }
        Self(connection)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.origin.ours.in_use.dec();
            self.0.origin.ours.idle.inc();
        }
    }
}

/// Somebody who waits for a connection: for the metrics.
pub(super) struct Waiting<'a>(&'a Origin);

impl<'a> Waiting<'a> {
    pub(super) fn on(origin: &'a Origin) -> Self {
        origin.ours.waiters.inc();
        Self(origin)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.ours.waiters.dec();
    }
}

/// A random number between 0 and 1. Where there is no randomness, the middle will do.
pub(super) fn jitter() -> f64 {
    getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
pub(super) mod tests;
