//! One connection: bound, limited, and watched. Every search has a deadline, ends its message id, and outlives a caller
//! that goes away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ldap3::controls::MatchedValues;
use ldap3::{Ldap, LdapError, ResultEntry, Scope, SearchOptions, SearchStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::credentials::Credentials;
use super::entry::Entry;
use super::link::Link;
use super::settings::{PoolSettings, Server, Timeouts};
use super::{LookupError, ResultCode, Unreachable};
use crate::telemetry::DirectoryMetrics;
use crate::tls::ClientContext;

/// A connection is renewed after so many operations: `ldap3` keeps a little for each.
const MAX_OPERATIONS: u64 = 200_000;
/// So many time-outs in a row mean that nobody is there, though the connection does not say so.
const MAX_TIMEOUTS: u32 = 3;
/// The largest limit of entries that a server is told.
const MAX_TOLD_LIMIT: i32 = 100;
/// The most that one search may return, in bytes of names and values.
const MAX_RESULT_BYTES: usize = 16 << 20;
/// How long an abandoned search may take to be told to the server.
const ABANDON: Duration = Duration::from_millis(200);
/// A root DSE that says this is Active Directory's (MS-ADTS 3.1.1.3.4.3.1).
const ACTIVE_DIRECTORY: &str = "1.2.840.113556.1.4.800";

/// One search.
#[derive(Debug, Clone)]
pub(super) struct Query {
    pub(super) base: String,
    pub(super) scope: Scope,
    pub(super) filter: String,
    pub(super) attributes: Vec<String>,
    /// The most entries to return.
    pub(super) limit: usize,
    /// Which values to return (RFC 3876), where the server can choose; where it cannot, it returns them all.
    pub(super) only_values: Option<String>,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) entries: Vec<Entry>,
    /// Set where there may be more.
    pub(super) cut: Option<Cut>,
}

/// Who cut a result short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// We did: there are more entries than [`Query::limit`].
    ByUs,
    /// The server did (result codes 3, 4, 11), or more than 16 MiB came.
    ByServer(ResultCode),
}

/// What a server says of itself (RFC 4512, 5.1), read at each connect.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct RootDse {
    pub(super) vendor: Option<String>,
    pub(super) is_active_directory: bool,
}

/// What connections to one server have in common.
pub(super) struct Origin {
    pub(super) server: Server,
    pub(super) tls: Option<Arc<ClientContext>>,
    /// `None`: nobody in particular.
    pub(super) credentials: Option<Arc<Credentials>>,
    pub(super) timeouts: Timeouts,
    pub(super) pool: PoolSettings,
    pub(super) metrics: DirectoryMetrics,
    pub(super) handle: Handle,
    /// Held while binding, so that a wrong password is sent once and not once for each connection.
    pub(super) binding: tokio::sync::Mutex<()>,
}

/// A bound connection.
pub(super) struct Connection {
    origin: Arc<Origin>,
    link: Link,
    permits: Arc<Semaphore>,
    retire_at: Instant,
    started: Instant,
    /// When it was last used, in milliseconds after `started`.
    used: AtomicU64,
    operations: AtomicU64,
    timeouts_in_a_row: AtomicU32,
}

impl Origin {
    /// Connects, binds, and reads the root DSE.
    pub(super) async fn connect(self: &Arc<Self>) -> Result<Connection, LookupError> {
        // Read before the network is touched: a password that was refused is no reason to trouble the server.
        let identity = match self.credentials.clone() {
            Some(credentials) => {
                let reading = credentials.clone();
                let secret = tokio::task::spawn_blocking(move || reading.read()).await;
                Some((credentials, secret.map_err(|_| LookupError::Stopped)??))
            }
            None => None,
        };
        let link = self
            .timed("connect", async {
                let link =
                    Link::open(&self.server, self.tls.as_deref(), self.timeouts.connect, &self.handle).await;
                link.map_err(|error| {
                    LookupError::Unreachable(Unreachable {
                        server: self.server.label.clone(),
                        reason: error.to_string().into(),
                    })
                })
            })
            .await?;
        let connection = Connection {
            origin: self.clone(),
            permits: Arc::new(Semaphore::new(self.pool.in_flight)),
            retire_at: Instant::now() + self.pool.max_age.mul_f64(0.9 + 0.2 * jitter()),
            started: Instant::now(),
            used: AtomicU64::new(0),
            operations: AtomicU64::new(0),
            timeouts_in_a_row: AtomicU32::new(0),
            link,
        };
        if let Some((credentials, secret)) = identity {
            let _turn = self.binding.lock().await;
            credentials.check(&secret)?;
            let bound = self.timed("bind", connection.bind(&credentials.dn, &secret.text)).await;
            if bound == Err(LookupError::Credentials) {
                credentials.refused(&secret);
                tracing::error!(server = %self.server.label, dn = credentials.dn, "the directory refuses the service's password");
            }
            bound?;
        }
        let root = connection.root_dse().await?;
        if root.is_active_directory {
            return Err(LookupError::Protocol("Active Directory is not available in this version"));
        }
        tracing::info!(server = %self.server.label, vendor = root.vendor, "connected to the directory");
        Ok(connection)
    }

    async fn timed<T>(
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

impl Connection {
    /// Whether operations may be sent on it.
    pub(super) fn is_usable(&self) -> bool {
        self.link.state.is_open()
    }

    /// Whether it should be replaced when there is time for it.
    pub(super) fn is_aged(&self) -> bool {
        Instant::now() >= self.retire_at || self.operations.load(Ordering::Relaxed) >= MAX_OPERATIONS
    }

    /// How many operations it can take at once now.
    pub(super) fn free(&self) -> usize {
        self.permits.available_permits()
    }

    /// For how long nothing was asked on it.
    pub(super) fn idle(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.used.load(Ordering::Relaxed)))
    }

    /// Searches. The search itself runs on the background runtime: a caller that goes away does not leave a message id
    /// behind.
    pub(super) async fn search(
        self: &Arc<Self>,
        query: Query,
        deadline: Instant,
    ) -> Result<Found, LookupError> {
        let (answer, answered) = oneshot::channel();
        let this = self.clone();
        self.origin.handle.spawn(async move { this.run(query, deadline, answer).await });
        answered.await.unwrap_or(Err(LookupError::Lost))
    }

    /// What the server says of itself; also shows that it answers.
    pub(super) async fn root_dse(&self) -> Result<RootDse, LookupError> {
        let deadline = Instant::now() + self.origin.timeouts.operation;
        let (answer, answered) = oneshot::channel();
        self.run(root_query(), deadline, answer).await;
        let found = match answered.await.unwrap_or(Err(LookupError::Lost)) {
            Ok(found) => found,
            // A server may hide its root DSE.
            Err(LookupError::Refused(_)) => return Ok(RootDse::default()),
            Err(error) => return Err(error),
        };
        let Some(root) = found.entries.first() else { return Ok(RootDse::default()) };
        Ok(RootDse {
            vendor: root.first("vendorname")?.map(str::to_owned),
            is_active_directory: root.texts("supportedcapabilities")?.contains(&ACTIVE_DIRECTORY),
        })
    }

    async fn bind(&self, dn: &str, password: &str) -> Result<(), LookupError> {
        let mut ldap = self.link.ldap.clone();
        ldap.with_timeout(self.origin.timeouts.operation);
        let result = ldap.simple_bind(dn, password).await.map_err(ldap_error)?;
        match ResultCode(result.rc) {
            ResultCode(0) => Ok(()),
            ResultCode::INVALID_CREDENTIALS => Err(LookupError::Credentials),
            code => Err(LookupError::Refused(code)),
        }
    }

    /// Runs a search, answers, and then cleans up.
    async fn run(
        &self,
        query: Query,
        deadline: Instant,
        answer: oneshot::Sender<Result<Found, LookupError>>,
    ) {
        let Ok(_permit) = self.permit(deadline).await else {
            let _ = answer.send(Err(LookupError::Deadline));
            return;
        };
        let started = Instant::now();
        let limit = started + self.origin.timeouts.operation;
        let until = deadline.min(limit);
        let mut search = Running { stream: None, ldap: self.link.ldap.clone() };
        let work = search.collect(&query, until);
        let result = match tokio::time::timeout_at(until.into(), work).await {
            Ok(result) => result,
            Err(_) if limit <= deadline => Err(LookupError::TimedOut),
            Err(_) => Err(LookupError::Deadline),
        };
        self.origin.record("search", started, result.as_ref().err());
        self.note(&result);
        let is_complete = matches!(&result, Ok(Found { cut: None, .. }));
        let _ = answer.send(result);
        search.finish(is_complete).await;
    }

    async fn permit(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, LookupError> {
        let permit = self.permits.clone().acquire_owned();
        match tokio::time::timeout_at(deadline.into(), permit).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(LookupError::Deadline),
        }
    }

    fn note(&self, result: &Result<Found, LookupError>) {
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

/// A search that is under way. `ldap3` frees a message id only where `finish` is called on a stream that was not
/// adapted.
struct Running {
    stream: Option<SearchStream<'static, String, Vec<String>>>,
    ldap: Ldap,
}

impl Running {
    async fn collect(&mut self, query: &Query, until: Instant) -> Result<Found, LookupError> {
        let seconds = until.saturating_duration_since(Instant::now()).as_secs() + 1;
        self.ldap.with_search_options(
            SearchOptions::new()
                .sizelimit(size_limit(query.limit))
                .timelimit(i32::try_from(seconds).unwrap_or(i32::MAX)),
        );
        if let Some(filter) = &query.only_values {
            self.ldap.with_controls(MatchedValues::new(filter.as_str()));
        }
        let searching =
            self.ldap.streaming_search(&query.base, query.scope, &query.filter, query.attributes.clone());
        let stream = self.stream.insert(searching.await.map_err(ldap_error)?);
        let mut entries = Vec::new();
        let mut size = 0_usize;
        while let Some(result) = stream.next().await.map_err(ldap_error)? {
            if !is_entry(&result) {
                continue;
            }
            if entries.len() >= query.limit {
                return Ok(Found { entries, cut: Some(Cut::ByUs) });
            }
            let entry = Entry::decode(result)?;
            size = size.saturating_add(entry.size());
            if size > MAX_RESULT_BYTES {
                return Ok(Found { entries, cut: Some(Cut::ByServer(ResultCode::ADMIN_LIMIT)) });
            }
            entries.push(entry);
        }
        match stream.res.as_ref().map(|result| ResultCode(result.rc)) {
            None => Err(LookupError::Lost),
            Some(ResultCode(0)) => Ok(Found { entries, cut: None }),
            Some(ResultCode::SIZE_LIMIT) if entries.len() >= query.limit => {
                Ok(Found { entries, cut: Some(Cut::ByUs) })
            }
            Some(code) if code.is_limit() => Ok(Found { entries, cut: Some(Cut::ByServer(code)) }),
            Some(code) => Err(LookupError::Refused(code)),
        }
    }

    /// Tells the server to stop where the search did not come to its end, and frees the message id.
    async fn finish(mut self, is_complete: bool) {
        let Some(mut stream) = self.stream.take() else { return };
        if !is_complete && stream.res.is_none() {
            let id = stream.ldap_handle().last_id();
            let _ = tokio::time::timeout(ABANDON, self.ldap.abandon(id)).await;
        }
        let _ = stream.finish().await;
    }
}

/// Asks the server for its root DSE.
pub(super) fn root_query() -> Query {
    Query {
        base: String::new(),
        scope: Scope::Base,
        filter: "(objectClass=*)".to_owned(),
        attributes: ["supportedCapabilities", "vendorName", "vendorVersion"].map(str::to_owned).to_vec(),
        limit: 1,
        only_values: None,
    }
}

/// The limit that the server is told; 0 leaves it to the server. OpenLDAP refuses a search that asks for more than a hard
/// limit of its own, instead of giving what it would, so large limits are only kept by ourselves.
fn size_limit(limit: usize) -> i32 {
    i32::try_from(limit).ok().filter(|limit| *limit <= MAX_TOLD_LIMIT).unwrap_or(0)
}

/// Neither a reference to another server, which is not followed, nor an intermediate response.
fn is_entry(result: &ResultEntry) -> bool {
    !result.is_ref() && !result.is_intermediate()
}

fn ldap_error(error: LdapError) -> LookupError {
    match error {
        LdapError::Timeout { .. } => LookupError::TimedOut,
        LdapError::FilterParsing => LookupError::Protocol("a filter that cannot be sent"),
        LdapError::LdapResult { result } => LookupError::Refused(ResultCode(result.rc)),
        _ => LookupError::Lost,
    }
}

/// A random number between 0 and 1. Where there is no randomness, the middle will do.
pub(super) fn jitter() -> f64 {
    getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use super::super::fake::{Manner, Server as Fake};
    use super::super::settings::Security;
    use super::*;
    use crate::telemetry::Metrics;

    /// Connections to a fake server, with the password in this folder.
    pub(in super::super) fn origin(fake: &Fake, folder: &Path) -> Origin {
        Origin {
            server: Server {
                label: format!("ldap://127.0.0.1:{}", fake.port).into(),
                host: "127.0.0.1".to_owned(),
                port: fake.port,
                security: Security::Plaintext,
            },
            tls: None,
            credentials: Some(Arc::new(Credentials::new("cn=svc".to_owned(), folder.join("password")))),
            timeouts: Timeouts {
                connect: Duration::from_secs(2),
                operation: Duration::from_secs(2),
                ..Timeouts::default()
            },
            pool: PoolSettings::default(),
            metrics: Metrics::new().unwrap().directory,
            handle: Handle::current(),
            binding: tokio::sync::Mutex::default(),
        }
    }

    async fn connected(fake: &Fake) -> (Arc<Connection>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("password"), "pw").unwrap();
        let mut origin = origin(fake, folder.path());
        origin.timeouts.operation = Duration::from_millis(100);
        (Arc::new(Arc::new(origin).connect().await.unwrap()), folder)
    }

    pub(in super::super) fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[tokio::test]
    async fn ten_thousand_searches_leave_no_message_id_behind() {
        let fake = Fake::start(Manner::Empty).await;
        let (connection, _folder) = connected(&fake).await;
        for _ in 0..10_000 {
            connection.search(root_query(), soon()).await.unwrap();
        }
        // The last one's id is freed after its answer was given.
        while connection.free() < PoolSettings::default().in_flight {
            tokio::task::yield_now().await;
        }
        tokio::time::timeout(Duration::from_secs(5), async {
            while !format!("{:?}", connection.link.ldap).contains("data: (10002, {})") {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("{:?}", connection.link.ldap));
    }

    #[tokio::test]
    async fn a_search_that_times_out_is_abandoned_and_the_third_in_a_row_ends_the_connection() {
        let fake = Fake::start(Manner::Silent).await;
        let (connection, _folder) = connected(&fake).await;
        for _ in 0..MAX_TIMEOUTS {
            assert!(connection.is_usable());
            assert_eq!(connection.search(root_query(), soon()).await, Err(LookupError::TimedOut));
        }
        assert!(!connection.is_usable());
        assert!(fake.abandoned.load(Ordering::SeqCst) >= 2);
    }

    #[tokio::test]
    async fn a_search_ends_with_its_deadline_and_that_is_not_the_servers_fault() {
        let fake = Fake::start(Manner::Silent).await;
        let (connection, _folder) = connected(&fake).await;
        for _ in 0..=MAX_TIMEOUTS {
            let deadline = Instant::now() + Duration::from_millis(5);
            assert_eq!(connection.search(root_query(), deadline).await, Err(LookupError::Deadline));
        }
        assert!(connection.is_usable());
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_leaves_no_search_behind() {
        let fake = Fake::start(Manner::Silent).await;
        let (connection, _folder) = connected(&fake).await;
        let gone = tokio::time::timeout(Duration::from_millis(5), connection.search(root_query(), soon()));
        assert!(gone.await.is_err());
        let is_free = || connection.free() == PoolSettings::default().in_flight;
        assert!(!is_free());
        tokio::time::timeout(Duration::from_secs(5), async {
            while !is_free() || fake.abandoned.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn results_are_told_apart() {
        let fake = Fake::start(Manner::Result(4)).await;
        let (connection, _folder) = connected(&fake).await;
        let limit = Found { entries: Vec::new(), cut: Some(Cut::ByServer(ResultCode::SIZE_LIMIT)) };
        assert_eq!(connection.search(root_query(), soon()).await, Ok(limit));
        *fake.manner.lock().unwrap() = Manner::Result(32);
        let refused = LookupError::Refused(ResultCode(32));
        assert_eq!(connection.search(root_query(), soon()).await, Err(refused));
        *fake.manner.lock().unwrap() = Manner::Close;
        assert_eq!(connection.search(root_query(), soon()).await, Err(LookupError::Lost));
        assert!(!connection.is_usable());
    }
}
