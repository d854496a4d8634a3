//! The LDAP directory: whom it knows, and which groups they are in.
//!
//! [`Directory`] is what the rest of the house sees. Below it stand, from the question to the network: `resolve` and
//! `groups` (what to search, and what it means), `pool` and `breaker` (on which server), `conn` (one search, on time),
//! `bridge` and `frame` (what may reach `ldap3`), `link` (TCP and TLS).

mod about;
mod account;
mod active_directory;
mod authenticate;
mod base64;
mod ber;
mod breaker;
mod bridge;
mod conn;
mod credentials;
mod dedicated;
pub mod embedded;
mod entry;
mod error;
mod feed;
#[cfg(test)]
mod fake;
mod filter;
pub mod frame;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod groups;
pub mod ldif;
mod link;
mod logon;
mod lookup;
mod paging;
#[cfg(test)]
pub(crate) mod persona;
mod pool;
mod ranges;
mod resolve;
#[cfg(test)]
mod scripted;
mod search;
mod server;
mod settings;
mod srv;
mod table;
mod usernames;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::runtime::Handle;

pub use about::{About, ServerKind};
pub use authenticate::{AccountFault, LogOn, LogOnRefusal};
pub use error::{CredentialsFault, LookupError, PasswordFault, ResultCode, Unreachable};
pub use feed::{Change, ChangeHandler, EntryChange, FeedStatus};
pub use filter::TemplateError;
pub use lookup::{Approach, Chosen, Considered, Lookup, Met, Outcome, Searched, Verdict};
pub use search::{Cut, Step};
pub use settings::{
    Attribute, Bind, ChangeFeed, Flavour, GroupSearch, MatchRule, PoolSettings, Settings, SettingsError,
    SettingsProblem, Strategy, Timeouts, TlsSettings, UserSearch,
};
pub use usernames::{Outside, Usernames};

use crate::model::{Dn, EntityId, Facts, Group, Resolved};
use crate::telemetry::{DirectoryMetrics, Metrics};
use crate::tls::{self, ClientContext};
use conn::{Found, Memory, Origin, Query, ServerId};
use credentials::Credentials;
use feed::{Feed, FeedSettings, FeedState};
use lookup::{Log, Recording};
use pool::Pool;
use resolve::{Resolver, Search};
use settings::{Security, Server, error};

/// The directory. All of its work is done on the background runtime, whatever runtime asks.
pub struct Directory {
    core: Arc<Core>,
    total: Duration,
    handle: Handle,
    following: Following,
    _tls_watch: Option<tls::Watcher>,
}

struct Core {
    pool: Arc<Pool>,
    resolver: Arc<Resolver>,
    feed: Arc<FeedState>,
    /// How many lookups were not of the server that told of changes.
    strayed: AtomicU64,
}

/// What a change feed will need.
#[derive(Clone)]
struct Following {
    kind: ChangeFeed,
    settings: FeedSettings,
    metrics: DirectoryMetrics,
}

/// The pool with the deadline of one lookup: every search takes what is left of it.
struct Session<'a> {
    pool: &'a Pool,
    deadline: Instant,
    /// Who answered.
    servers: Mutex<Vec<ServerId>>,
}

impl<'a> Session<'a> {
    /// The server that answers now, and what it says of itself.
    async fn meet(&self) -> Result<(ServerId, Arc<About>), LookupError> {
        self.pool.about(self.deadline).await
    }

    fn new(core: &'a Core, deadline: Instant) -> Self {
        Self { pool: &core.pool, deadline, servers: Mutex::default() }
    }
}

impl Search for Session<'_> {
    async fn search(&self, query: Query) -> Result<Found, LookupError> {
        let found = self.pool.search(&query, self.deadline).await?;
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        if !servers.contains(&found.server) {
            servers.push(found.server.clone());
        }
        drop(servers);
        Ok(found)
    }

    async fn about(&self) -> Result<Arc<About>, LookupError> {
        Ok(self.meet().await?.1)
    }
}

impl Core {
    /// Facts of a user, and whether a change feed follows them. `search` is the session, or what stands in front of it.
    async fn resolve(
        &self,
        session: &Session<'_>,
        search: &impl Search,
        user: &str,
        known: Option<&Facts>,
    ) -> Result<Facts, LookupError> {
        let (watch, read_at) = (self.feed.watch(), Timestamp::now());
        self.resolver.follow(watch.is_complete());
        let facts = self.resolver.resolve(search, user, known, read_at).await;
        self.note_strays(session);
        let mut facts = facts?;
        let servers = session.servers.lock().unwrap_or_else(PoisonError::into_inner);
        facts.followed = watch.covers(&facts, &servers);
        Ok(facts)
    }

    /// Counts a lookup where it was answered by another server than the one that told of changes. What it said of groups is not
    /// to be taken for the word of that one later.
    fn note_strays(&self, session: &Session<'_>) {
        let servers = session.servers.lock().unwrap_or_else(PoisonError::into_inner);
        if self.feed.strays(&servers) {
            self.strayed.fetch_add(1, Ordering::Relaxed);
            self.resolver.forget(None);
        }
    }
}

impl Directory {
    /// A directory. Connections are made on `handle`, at once and whenever they are needed; that no server can be reached is
    /// no error here.
    ///
    /// # Errors
    /// Where a setting cannot be used, a certificate cannot be loaded, or the password file cannot be read.
    pub fn new(settings: Settings, metrics: &Metrics, handle: Handle) -> Result<Arc<Self>, SettingsError> {
        let checked = settings.checked()?;
        let securities = checked.servers.iter().map(|server| server.security);
        let is_protected = securities
            .chain(checked.srv.as_ref().map(|srv| srv.security))
            .any(|security| security != Security::Plaintext);
        let tls = if is_protected { Some(client_context(&settings, metrics)?) } else { None };
        Self::over(settings, tls, &metrics.directory, handle)
    }

    /// A directory whose servers are verified by a context of the caller's, such as that of the embedded directory;
    /// `settings.tls.files` are not looked at. Otherwise as [`new`](Self::new).
    ///
    /// # Errors
    /// Where a setting cannot be used, or the password file cannot be read.
    pub fn over(
        settings: Settings,
        tls: Option<Arc<ClientContext>>,
        metrics: &DirectoryMetrics,
        handle: Handle,
    ) -> Result<Arc<Self>, SettingsError> {
        let checked = settings.checked()?;
        let credentials = credentials(&settings)?;
        let origin = {
            let (settings, tls, metrics, handle) =
                (settings.clone(), tls.clone(), metrics.clone(), handle.clone());
            move |server: Server| {
                Arc::new(Origin {
                    ours: metrics.of(&server.label),
                    server,
                    tls: tls.clone(),
                    credentials: credentials.clone(),
                    timeouts: settings.timeouts,
                    pool: settings.pool,
                    flavour: settings.flavour,
                    strategy: settings.group_search.strategy,
                    metrics: metrics.clone(),
                    handle: handle.clone(),
                    memory: Memory::default(),
                })
            }
        };
        let pool = match checked.srv {
            None => Pool::new(checked.servers.into_iter().map(origin).collect()),
            Some(found) => {
                let pool = Pool::to_be_told();
                handle.spawn(srv::follow(pool.clone(), found, origin));
                pool
            }
        };
        handle.spawn(pool.clone().maintain());
        let resolver = Arc::new(Resolver::new(&settings, checked.user_filter, metrics.clone()));
        let tls_watch = tls.map(|context| tls::watch(context, tls::WATCH_INTERVAL, &handle));
        let core = Arc::new(Core { pool, resolver, feed: Arc::default(), strayed: AtomicU64::new(0) });
        let following = Following {
            kind: settings.change_feed,
            settings: FeedSettings {
                users: settings.user_search.base.clone(),
                groups: settings.group_search.base.clone(),
                interval: settings.poll_interval,
                operation: settings.timeouts.operation,
            },
            metrics: metrics.clone(),
        };
        let total = settings.timeouts.total;
        Ok(Arc::new(Self { core, total, handle, following, _tls_watch: tls_watch }))
    }

    /// Everything that the directory says of a user, by the directory's name for them ([`Usernames::directory_name`]). That
    /// there is no such user, or several, is an answer; that it could not be found out is an error. `known` are facts of the
    /// same user that are held, if there are any: they may save searches.
    ///
    /// # Errors
    /// Where the directory could not be asked, in full, within the deadline and `timeouts.total`.
    pub async fn resolve(
        &self,
        user: &str,
        known: Option<Arc<Facts>>,
        deadline: Instant,
    ) -> Result<Facts, LookupError> {
        let (core, user) = (self.core.clone(), user.to_owned());
        let deadline = self.within(deadline);
        let resolving = async move {
            let session = Session::new(&core, deadline);
            core.resolve(&session, &session, &user, known.as_deref()).await
        };
        self.run(deadline, resolving).await
    }

    /// Resolves a user as [`resolve`](Self::resolve) does where nothing is held, and tells of everything that it took: each
    /// search, also where it came to nothing.
    pub async fn lookup(&self, user: &str, deadline: Instant) -> Lookup {
        let (core, user, log) = (self.core.clone(), user.to_owned(), Arc::<Log>::default());
        let (begun, deadline, recorded) = (Instant::now(), self.within(deadline), log.clone());
        let resolving = async move {
            let session = Session::new(&core, deadline);
            let recording = Recording { session: &session, log: &recorded };
            core.resolve(&session, &recording, &user, None).await
        };
        let result = self.run(deadline, resolving).await;
        log.told(&self.core.resolver, begun.elapsed(), result)
    }

    /// What a group's name stands for below `groupSearch.base`.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub async fn resolve_group_name(&self, name: &str, deadline: Instant) -> Result<Resolved, LookupError> {
        let (core, name) = (self.core.clone(), name.to_owned());
        let deadline = self.within(deadline);
        let resolving = async move {
            let session = Session::new(&core, deadline);
            let resolved = core.resolver.resolve_group_name(&session, &name).await;
            core.note_strays(&session);
            resolved
        };
        self.run(deadline, resolving).await
    }

    /// All groups that a group is in, nested ones included; `None` where there may be more.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub async fn groups_above(
        &self,
        group: &EntityId,
        dn: &Dn,
        deadline: Instant,
    ) -> Result<Option<Vec<Arc<Group>>>, LookupError> {
        let (core, group, dn) = (self.core.clone(), group.clone(), dn.clone());
        let deadline = self.within(deadline);
        let resolving = async move {
            let groups = core.resolver.groups_above(&Session::new(&core, deadline), &group, &dn).await?;
            let found = groups.found.into_iter().map(|membership| membership.group);
            Ok(groups.partial.is_none().then(|| found.collect()))
        };
        self.run(deadline, resolving).await
    }

    /// Tells of changes from now on, until the directory is stopped. To be called once at most.
    pub fn follow(&self, handler: ChangeHandler) {
        let Following { kind, settings, metrics } = self.following.clone();
        if kind == ChangeFeed::Off {
            return;
        }
        let (pool, resolver) = (self.core.pool.clone(), self.core.resolver.clone());
        let stopped = pool.stopped();
        let feed = Feed::new(pool, resolver, kind, settings, handler, self.core.feed.clone(), metrics);
        self.handle.spawn(Arc::new(feed).run(stopped));
    }

    /// What there is to say of the change feed.
    #[must_use]
    pub fn feed(&self) -> FeedStatus {
        self.core.feed.status()
    }

    /// Forgets what groups are called and which groups they are in: the next lookups ask for it.
    pub fn forget_groups(&self) {
        self.core.resolver.forget(None);
    }

    /// How many lookups were answered by another server than the one whose changes were told, so that they may be of before a
    /// change that was told.
    #[must_use]
    pub fn strayed(&self) -> u64 {
        self.core.strayed.load(Ordering::Relaxed)
    }

    /// What the server says of itself that answers now.
    ///
    /// # Errors
    /// Where none can be used within the deadline and `timeouts.total`.
    pub async fn about(&self, deadline: Instant) -> Result<Arc<About>, LookupError> {
        let (core, deadline) = (self.core.clone(), self.within(deadline));
        self.run(deadline, async move { Ok(core.pool.about(deadline).await?.1) }).await
    }

    /// Whether a server can be reached, accepts our credentials, and answers.
    ///
    /// # Errors
    /// Why not. [`LookupError::Unfit`] where a server answers that cannot be used as configured, and no other can.
    pub async fn probe(&self, deadline: Instant) -> Result<(), LookupError> {
        let (core, deadline) = (self.core.clone(), self.within(deadline));
        let kind = self.following.kind;
        let probing = async move {
            core.pool.probe(deadline).await?;
            core.resolver.prove(&Session::new(&core, deadline)).await?;
            feed::check(&core.pool.about(deadline).await?.1, kind)
        };
        self.run(deadline, probing).await
    }

    /// Whether some server answered when it was last asked, as far as is known.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.core.pool.is_up()
    }

    /// Ends all connections. What is asked afterwards fails.
    pub fn stop(&self) {
        self.core.pool.stop();
    }

    fn within(&self, deadline: Instant) -> Instant {
        deadline.min(Instant::now() + self.total)
    }

    /// Does work on the background runtime, until the deadline, whatever happens to it there.
    async fn run<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl Future<Output = Result<T, LookupError>> + Send + 'static,
    ) -> Result<T, LookupError> {
        let working = self.handle.spawn(async move {
            tokio::time::timeout_at(deadline.into(), work).await.unwrap_or(Err(LookupError::Deadline))
        });
        working.await.unwrap_or(Err(LookupError::Stopped))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.stop();
    }
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory").finish_non_exhaustive()
    }
}

/// Who binds; the password has to be readable from the start.
fn credentials(settings: &Settings) -> Result<Option<Arc<Credentials>>, SettingsError> {
    let certificate = settings.tls.files.cert_file.as_ref();
    let Some(credentials) = Credentials::of(&settings.bind, certificate) else { return Ok(None) };
    let file = credentials.file().display();
    let problem = match credentials.look() {
        Ok(_) => return Ok(Some(Arc::new(credentials))),
        Err(PasswordFault::Unreadable) => SettingsProblem::Unreadable(format!("{file} cannot be read")),
        Err(_) => SettingsProblem::File(format!("{file} is empty, or is not UTF-8")),
    };
    Err(error("bind.passwordFile", problem))
}

fn client_context(settings: &Settings, metrics: &Metrics) -> Result<Arc<ClientContext>, SettingsError> {
    ClientContext::from_files("directory", settings.tls.files.clone(), metrics).map_err(|wrong| {
        let what = wrong.to_string();
        let is_unreadable = matches!(wrong.problem, tls::Problem::Missing | tls::Problem::Unreadable(_));
        error(
            "tls",
            if is_unreadable { SettingsProblem::Unreadable(what) } else { SettingsProblem::File(what) },
        )
    })
}
