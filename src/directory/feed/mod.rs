//! Change feeds: learning of changes in the directory as they happen, so that what is held can be kept for long and is still
//! given up at once. A feed only ever says what is no longer certain.
//!
//! A feed has a connection of its own, follows one server, and has that server asked first for as long as it is up: another
//! one may not have heard of a change yet. Where it stops, everything is as old as its last word; where it goes on from
//! where it stopped, nothing was missed.
//!
//! - `syncrepl`: OpenLDAP pushes each change (RFC 4533).
//! - `dirsync`: Active Directory is asked for the changes since the last time (MS-ADTS 3.1.1.3.4.1.3).
//! - `notify`: Active Directory says that something changed (MS-ADTS 3.1.1.3.4.1.9), and is then asked what by `uSNChanged`.
//! - `poll`: whatever changed since the last time, by `uSNChanged`, or by `modifyTimestamp` elsewhere.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use futures_util::FutureExt;
use tokio::sync::watch;

use super::LookupError;
use super::about::{About, ServerKind, unfit};
use super::dedicated::Dedicated;
use super::pool::Pool;
use super::resolve::{Resolver, Search, Wording};
use super::search::{Found, Query, ServerId};
use super::settings::{ChangeFeed, word};
use crate::model::{Dn, EntityId, Facts, Person, Trigger};
use crate::telemetry::DirectoryMetrics;
pub use change::{Change, ChangeHandler, EntryChange};
use dir_sync::DirSync;
#[cfg(any(fuzzing, test))]
pub(super) use fuzzing::{read_entry, read_value};
use members::Members;
use pause::Pause;
use scope::Scope;
use sync_repl::SyncRepl;
use timestamps::Timestamps;
use usn::Usn;

mod change;
mod dir_sync;
#[cfg(any(fuzzing, test))]
mod fuzzing;
mod members;
mod pause;
mod polling;
mod scope;
mod sync;
mod sync_repl;
mod timestamps;
mod usn;

/// How often the metrics say how old the feed's last word is.
const LAG_INTERVAL: Duration = Duration::from_secs(1);

/// The change feed of a directory.
pub(super) struct Feed {
    pool: Arc<Pool>,
    resolver: Arc<Resolver>,
    kind: ChangeFeed,
    settings: FeedSettings,
    handler: ChangeHandler,
    state: Arc<FeedState>,
    metrics: DirectoryMetrics,
}

/// What a feed needs of the settings of a directory.
#[derive(Debug, Clone)]
pub(super) struct FeedSettings {
    pub(super) users: String,
    pub(super) groups: String,
    pub(super) interval: Duration,
    pub(super) operation: Duration,
}

/// What others may know of a feed.
#[derive(Debug, Default)]
pub(super) struct FeedState {
    /// Set while the feed is up.
    following: ArcSwapOption<Following>,
    /// The server that changes were told of last, also while the feed is down.
    teller: ArcSwapOption<ServerId>,
    shown: Mutex<FeedStatus>,
}

/// What a feed that is up follows.
#[derive(Debug)]
struct Following {
    since: Instant,
    server: ServerId,
    base: Dn,
    /// Whether it tells of everything that facts depend on, deletions included.
    is_complete: bool,
    /// Whether entries are told by their `entryUUID`, which we may be unable to read.
    is_by_uuid: bool,
    /// Whether it was said that we are.
    is_said: AtomicBool,
}

/// What there is to say of a change feed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FeedStatus {
    /// The mechanism: `syncrepl`, `dirsync`, `usn` or `timestamps`.
    pub mechanism: Option<&'static str>,
    /// Whether it is up.
    pub is_up: bool,
    /// Whether it tells of everything, deletions included, so that facts can be kept for longer.
    pub is_complete: bool,
    /// How often it asks; `None` where it is told at once.
    pub every: Option<Duration>,
    /// The server that it follows.
    pub server: Option<String>,
    /// Until when everything is known to have been told.
    pub confirmed: Option<Instant>,
    /// What went wrong last; empty where nothing did since it came up.
    pub trouble: String,
}

/// A mechanism of one of the kinds, with its place in the stream of changes. It outlives connections.
enum Mechanism {
    SyncRepl(SyncRepl),
    DirSync(DirSync),
    Usn(Usn),
    Timestamps(Timestamps),
}

/// A feed on a connection.
pub(super) struct Run {
    feed: Arc<Feed>,
    link: Arc<Dedicated>,
    scope: Scope,
    wording: Wording,
    members: Members,
}

/// Searches on the feed's own connection.
#[derive(Clone, Copy)]
pub(super) struct OnLink<'a> {
    link: &'a Dedicated,
    patience: Duration,
}

impl Search for OnLink<'_> {
    async fn search(&self, query: Query) -> Result<Found, LookupError> {
        self.link.search(query, Instant::now() + self.patience).await
    }

    async fn about(&self) -> Result<Arc<About>, LookupError> {
        Ok(self.link.about().clone())
    }
}

impl Feed {
    pub(super) fn new(
        pool: Arc<Pool>,
        resolver: Arc<Resolver>,
        kind: ChangeFeed,
        settings: FeedSettings,
        handler: ChangeHandler,
        state: Arc<FeedState>,
        metrics: DirectoryMetrics,
    ) -> Self {
        Self { pool, resolver, kind, settings, handler, state, metrics }
    }

    /// Follows the directory until stopped.
    pub(super) async fn run(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        let following = self.follow();
        let showing = self.show_lag();
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => {}
            () = following => {}
            () = showing => {}
        }
        self.down("it is being stopped");
    }

    async fn follow(self: &Arc<Self>) {
        let mut mechanism: Option<Mechanism> = None;
        let mut pause = Pause::new();
        let mut said = None;
        loop {
            let error = self.attempt(&mut mechanism).await;
            let was_up = self.down(&error.to_string());
            match &error {
                LookupError::Stopped => return,
                // Said once, and not again before something else is wrong.
                _ if was_up.is_zero() && said.as_ref() == Some(&error) => {
                    tracing::debug!(%error, "the change feed is still down");
                }
                LookupError::Unfit(_) => tracing::error!(%error, "no change feed"),
                _ => tracing::warn!(%error, "the change feed is down"),
            }
            said = Some(error);
            pause.wait(was_up, super::conn::jitter(), &self.pool).await;
        }
    }

    /// One connection's life. A mistake of ours ends it as a lost connection would, and what was told before is in doubt.
    async fn attempt(self: &Arc<Self>, mechanism: &mut Option<Mechanism>) -> LookupError {
        match AssertUnwindSafe(self.connected(mechanism)).catch_unwind().await {
            Ok(Ok(never)) => match never {},
            Ok(Err(error)) => error,
            Err(_) => {
                *mechanism = None;
                LookupError::Protocol("the change feed failed by a mistake of ours")
            }
        }
    }

    async fn connected(
        self: &Arc<Self>,
        mechanism: &mut Option<Mechanism>,
    ) -> Result<std::convert::Infallible, LookupError> {
        let link = Arc::new(self.pool.dedicated(Instant::now() + self.settings.operation * 4).await?);
        let about = link.about().clone();
        let kind = choose(&about, self.kind)?;
        let scope = Scope::of(&about, &self.settings.users, &self.settings.groups)?;
        let mut run = Run {
            feed: Arc::clone(self),
            members: Members::new(Arc::clone(self), Arc::clone(&link)),
            wording: self.resolver.wording(&about),
            scope,
            link: Arc::clone(&link),
        };
        let fitting = mechanism.take().filter(|known| known.word() == kind).filter(|known| known.fits(&link));
        if fitting.is_none() {
            // What was followed before cannot be gone on with.
            self.tell(Change::Interrupted);
        }
        let mechanism = mechanism.insert(fitting.unwrap_or_else(|| Mechanism::new(kind, &about)));
        match mechanism {
            Mechanism::SyncRepl(it) => it.run(&mut run).await,
            Mechanism::DirSync(it) => polling::run(it, &mut run, self.wakes()).await,
            Mechanism::Usn(it) => polling::run(it, &mut run, self.wakes()).await,
            Mechanism::Timestamps(it) => polling::run(it, &mut run, false).await,
        }
    }

    /// Tells, after what is remembered here was forgotten: whoever reads again because of it must not find it.
    fn tell(&self, change: Change) {
        match &change {
            Change::Entry(EntryChange { id, .. }) | Change::Vanished(id) => self.resolver.forget(Some(id)),
            Change::Anything | Change::Interrupted => self.resolver.forget(None),
            Change::Members { .. } | Change::MembersUnknown { .. } | Change::Confirmed { .. } => {}
        }
        (self.handler)(change);
    }

    /// Whether Active Directory is to say when there is something to ask for.
    fn wakes(&self) -> bool {
        matches!(self.kind, ChangeFeed::Auto | ChangeFeed::Notify)
    }

    /// The feed is down, because of this; says for how long it was up.
    fn down(&self, why: &str) -> Duration {
        let followed = self.state.following.swap(None);
        self.pool.pin(None);
        self.metrics.feed_up.set(0);
        self.state.show(|status| {
            status.is_up = false;
            status.server = None;
            why.clone_into(&mut status.trouble);
        });
        followed.map_or(Duration::ZERO, |followed| followed.since.elapsed())
    }

    async fn show_lag(&self) {
        let begun = Instant::now();
        let mut tick = tokio::time::interval(LAG_INTERVAL);
        loop {
            tick.tick().await;
            let confirmed = self.state.status().confirmed;
            self.metrics.feed_lag.set(confirmed.unwrap_or(begun).elapsed().as_secs_f64());
        }
    }
}

impl Run {
    fn search(&self) -> OnLink<'_> {
        OnLink { link: &self.link, patience: self.feed.settings.operation }
    }

    fn tell(&self, change: Change) {
        self.feed.tell(change);
    }

    /// Tells of a changed entry, and asks for its members where it may be a group. `sid` is its security identifier, where
    /// that is known: somebody may be known to be in a group of which nothing else could be read.
    fn entry(&mut self, mut change: EntryChange, sid: Option<EntityId>, group: Option<&str>) {
        let id = change.id.clone();
        if let Some(sid) = sid {
            self.feed.resolver.forget(Some(&sid));
            change.triggers.push(Trigger::entity(&sid));
        }
        self.tell(Change::Entry(change));
        if let Some(dn) = group {
            self.members.read(id, dn);
        }
    }

    /// The feed is up: it follows this server from now on. `is_complete` where it tells of deletions too; `every` where it has
    /// to ask.
    fn up(&self, mechanism: &'static str, is_complete: bool, every: Option<Duration>) {
        let server = self.link.server();
        tracing::info!(%server, mechanism, is_complete, base = %self.scope.base, "the change feed is up");
        let untold = self.feed.resolver.untold(self.link.about());
        if let Some(why) = untold {
            tracing::warn!(why, "facts are not kept for longer though they are followed");
        }
        self.feed.pool.pin(Some(server.clone()));
        self.feed.metrics.feed_up.set(1);
        self.feed.state.show(|status| {
            *status = FeedStatus {
                mechanism: Some(mechanism),
                is_up: true,
                is_complete,
                every,
                server: Some(server.to_string()),
                confirmed: status.confirmed,
                trouble: String::new(),
            };
        });
        self.feed.state.teller.store(Some(Arc::new(server.clone())));
        let following = Following {
            since: Instant::now(),
            server,
            base: self.scope.base.clone(),
            is_complete: is_complete && untold.is_none(),
            is_by_uuid: mechanism == "syncrepl",
            is_said: AtomicBool::new(false),
        };
        self.feed.state.following.store(Some(Arc::new(following)));
    }

    /// Everything that happened until then was told, but for members that are still being read.
    fn confirm(&self, since: Instant, until: Instant) {
        let until = self.members.since().map_or(until, |begun| begun.min(until));
        self.feed.state.show(|status| status.confirmed = status.confirmed.max(Some(until)));
        self.tell(Change::Confirmed { since, until });
    }
}

impl FeedState {
    /// What there is to say of it.
    pub(super) fn status(&self) -> FeedStatus {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn show(&self, change: impl FnOnce(&mut FeedStatus)) {
        change(&mut self.shown.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether something was answered by another server than the one that told of changes last: it may not have heard of them.
    pub(super) fn strays(&self, servers: &[ServerId]) -> bool {
        let teller = self.teller.load();
        teller.as_deref().is_some_and(|teller| servers.iter().any(|server| server != teller))
    }

    /// What is followed now; to be asked for before the first search of what may be followed.
    pub(super) fn watch(&self) -> Watch<'_> {
        Watch { state: self, before: self.following.load_full() }
    }
}

/// Whether facts that are being read are followed.
pub(super) struct Watch<'a> {
    state: &'a FeedState,
    before: Option<Arc<Following>>,
}

impl Watch<'_> {
    /// Whether the feed tells of everything below its base.
    pub(super) fn is_complete(&self) -> bool {
        self.before.as_deref().is_some_and(|following| following.is_complete)
    }

    /// Whether the feed tells of every change to these facts: it was up all the time, they are of its server, and everything in
    /// them is below its base and known by what the feed calls it.
    pub(super) fn covers(&self, facts: &Facts, servers: &[ServerId]) -> bool {
        let now = self.state.following.load_full();
        let (Some(before), Some(now)) = (&self.before, now) else { return false };
        let Person::Found { id, dn: person } = &facts.person else { return false };
        let is_below = |dn: &Dn| dn.is_within(&now.base);
        let mut ids = facts.groups.iter().map(|membership| &membership.group.id).chain([id]);
        now.is_complete
            && Arc::ptr_eq(before, &now)
            && servers.iter().all(|server| *server == now.server)
            && is_below(person)
            && facts.groups.iter().all(|membership| membership.group.dn.as_ref().is_some_and(is_below))
            && (!now.is_by_uuid || ids.all(|id| now.knows(id)))
    }
}

impl Following {
    /// Whether an identity is one by which entries are told of. Where it is not, that is said once.
    fn knows(&self, id: &EntityId) -> bool {
        let is_known = sync::is_uuid(id);
        if !is_known && !self.is_said.swap(true, Ordering::Relaxed) {
            tracing::warn!(%id, "entryUUID cannot be read: whoever's facts have this entry is not followed");
        }
        is_known
    }
}

impl Mechanism {
    fn new(kind: &str, about: &About) -> Self {
        match kind {
            "syncrepl" => Self::SyncRepl(SyncRepl::default()),
            "dirsync" => Self::DirSync(DirSync::default()),
            _ if about.is_active_directory() => Self::Usn(Usn::default()),
            _ => Self::Timestamps(Timestamps::default()),
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::SyncRepl(_) => "syncrepl",
            Self::DirSync(_) => "dirsync",
            Self::Usn(_) => "usn",
            Self::Timestamps(_) => "timestamps",
        }
    }

    /// Whether its place in the stream of changes means something to this server.
    fn fits(&self, link: &Dedicated) -> bool {
        match self {
            // Change sequence numbers and timestamps are those of the content.
            Self::SyncRepl(_) | Self::Timestamps(_) => true,
            Self::DirSync(it) => it.fits(link.about()),
            Self::Usn(it) => it.fits(link.about()),
        }
    }
}

/// The best mechanism that the server has, or the one that was asked for.
fn choose(about: &About, asked: ChangeFeed) -> Result<&'static str, LookupError> {
    let is_active_directory = about.is_active_directory();
    let has_sync = about.supports(sync::SYNC_REQUEST) && about.kind == ServerKind::OpenLdap;
    let has_dir_sync = is_active_directory && about.supports(dir_sync::DIR_SYNC);
    let polled = if is_active_directory { "usn" } else { "timestamps" };
    let cannot = |why: &str| {
        let asked = word(asked, &ChangeFeed::WORDS);
        Err(unfit(
            "the directory server",
            format!("is {}, which cannot do `changeFeed: {asked}`{why}", about.kind),
        ))
    };
    match asked {
        ChangeFeed::Auto if has_sync => Ok("syncrepl"),
        ChangeFeed::Auto if has_dir_sync => Ok("dirsync"),
        ChangeFeed::Auto | ChangeFeed::Poll => Ok(polled),
        ChangeFeed::SyncRepl if about.supports(sync::SYNC_REQUEST) => Ok("syncrepl"),
        ChangeFeed::SyncRepl if about.kind == ServerKind::OpenLdap => {
            cannot(": its overlay syncprov is not there")
        }
        ChangeFeed::SyncRepl => cannot(""),
        ChangeFeed::DirSync if has_dir_sync => Ok("dirsync"),
        ChangeFeed::Notify if is_active_directory => Ok("usn"),
        ChangeFeed::DirSync | ChangeFeed::Notify => cannot(""),
        ChangeFeed::Off => cannot(""),
    }
}

/// Whether the server can do what was asked for.
///
/// # Errors
/// Where it cannot, by name.
pub(super) fn check(about: &About, asked: ChangeFeed) -> Result<(), LookupError> {
    if asked == ChangeFeed::Off { Ok(()) } else { choose(about, asked).map(drop) }
}
