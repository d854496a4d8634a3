//! OpenLDAP's pushed changes (RFC 4533, `refreshAndPersist`).
//!
//! The place in the stream of changes is the set of change sequence numbers (`contextCSN`, one for each server that writes).
//! The first time it is read from the suffix, so that no content has to be transferred; later it is where the feed stopped.
//! The protocol has no sign of life: every few seconds the server's own numbers are compared with what was told.

use std::time::{Duration, Instant};

use ldap3::Scope;
use tokio::time::MissedTickBehavior;

use super::super::dedicated::{Stream, Streamed};
use super::super::resolve::Search;
use super::super::search::Query;
use super::super::{LookupError, ResultCode};
use super::change::{Change, EntryChange};
use super::scope::{Kind, changed};
use super::sync::{Done, Info, Mode, REFRESH_REQUIRED, State, StateKind, cookie_of, csns, request};
use super::{OnLink, Run};

/// How often the server is asked whether there is anything that was not told.
const CHECK_INTERVAL: Duration = Duration::from_secs(3);
/// How often it is asked while it is ahead of what was told.
const RECHECK_INTERVAL: Duration = Duration::from_millis(200);
/// For how long it may be ahead: a change takes a moment from being written to being told.
const BEHIND: Duration = Duration::from_secs(2);
/// The longest that bringing us up to date may take.
const REFRESH: Duration = Duration::from_secs(120);
/// More changes than this that were not told are not looked at one by one.
const MAX_MISSED: usize = 1_000;

const CONTEXT_CSN: &str = "contextCSN";
const ENDED: LookupError = LookupError::Protocol("the server ended the synchronization");

/// The place in the stream of changes: a change sequence number for each server that writes.
#[derive(Debug, Default)]
pub(super) struct SyncRepl {
    csns: Vec<String>,
    /// Whether the server cannot say what was deleted, because it keeps no log of its changes (`syncprov-sessionlog`).
    lacks_log: bool,
}

/// What is going on besides the stream.
struct Watching {
    /// When the search was sent: from then on everything is told.
    since: Instant,
    /// Since when the server is ahead of what was told.
    behind: Option<Instant>,
    phase: Phase,
    /// Whether what was deleted meanwhile was not told.
    has_gap: bool,
}

/// What the stream brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// What changed since our place in it, as it is now; the rest follows.
    Refresh,
    /// What changes.
    Live,
    /// What changed since our place in it, and that is all.
    Once,
}

impl SyncRepl {
    /// Follows until something breaks.
    pub(super) async fn run(&mut self, run: &mut Run) -> Result<std::convert::Infallible, LookupError> {
        if self.csns.is_empty() {
            self.csns = context_csns(run.search(), &run.scope.context).await?;
            if self.csns.is_empty() {
                return Err(LookupError::Protocol(
                    "the server shows no contextCSN: syncprov is not there or not readable",
                ));
            }
        }
        let mut watching = Watching::new(Phase::Refresh);
        let mut stream = self.begin(run, Mode::RefreshAndPersist).await?;
        let mut check = tokio::time::interval(CHECK_INTERVAL);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let refreshed = tokio::time::sleep(REFRESH);
        tokio::pin!(refreshed);
        loop {
            tokio::select! {
                next = stream.next() => {
                    let next = next?.ok_or(ENDED)?;
                    self.take(next, run, &mut watching)?;
                }
                () = run.members.tend() => {}
                _ = check.tick(), if watching.phase == Phase::Live => {
                    let asked = Instant::now();
                    let (link, context) = (run.link.clone(), run.scope.context.clone());
                    let search = OnLink { link: &link, patience: run.feed.settings.operation };
                    let asking = context_csns(search, &context);
                    tokio::pin!(asking);
                    // The stream is read meanwhile: an answer must not wait behind what nobody takes.
                    let theirs = loop {
                        tokio::select! {
                            theirs = &mut asking => break theirs?,
                            next = stream.next() => {
                                let next = next?.ok_or(ENDED)?;
                                self.take(next, run, &mut watching)?;
                            }
                        }
                    };
                    if self.covers(&theirs) {
                        watching.behind = None;
                        run.confirm(watching.since, asked);
                    } else if watching.behind.get_or_insert(asked).elapsed() >= BEHIND {
                        watching.behind = None;
                        self.catch_up(run, &theirs).await?;
                    } else {
                        check.reset_after(RECHECK_INTERVAL);
                    }
                }
                () = &mut refreshed, if watching.phase == Phase::Refresh => {
                    return Err(LookupError::Protocol("the server did not bring us up to date"));
                }
            }
        }
    }

    async fn begin(&self, run: &Run, mode: Mode) -> Result<Stream, LookupError> {
        let mut attributes = vec!["objectClass", run.wording.group_name.as_str()];
        attributes.extend(run.wording.user_names.iter().map(String::as_str));
        let control = request(mode, &cookie_of(&self.csns));
        let base = run.scope.base.as_str();
        run.link.stream(base, Scope::Subtree, "(objectClass=*)", &attributes, vec![control]).await
    }

    /// Takes what the stream brought.
    fn take(&mut self, what: Streamed, run: &mut Run, watching: &mut Watching) -> Result<(), LookupError> {
        match what {
            Streamed::Entry { name, entry, controls } => {
                let Some(state) = State::read(&controls)? else { return Ok(()) };
                match (state.kind, entry) {
                    (StateKind::Present, _) => watching.misses(run),
                    (StateKind::Delete, _) => {
                        let settings = &run.feed.settings;
                        if run.scope.may_take_others_along(&name, [&settings.users, &settings.groups]) {
                            run.tell(Change::Anything);
                        }
                        run.entry(EntryChange::gone(state.id), None, None);
                    }
                    (StateKind::Add | StateKind::Modify, Ok(entry)) => {
                        let kind = Kind::of(&entry);
                        if run.scope.is_container(&entry) {
                            // It may have been renamed or moved here, and with it whatever stands below it.
                            run.tell(Change::Anything);
                        }
                        let change = changed(state.id, &entry, kind, &run.wording);
                        run.entry(change, None, kind.may_be_group().then_some(name.as_str()));
                    }
                    (StateKind::Add | StateKind::Modify, Err(error)) => {
                        tracing::warn!(%error, "a changed entry cannot be read");
                        run.entry(EntryChange::gone(state.id), None, None);
                        run.tell(Change::Anything);
                    }
                }
                self.advance(state.cookie);
            }
            Streamed::Intermediate { name, value, .. } => {
                match Info::read(name.as_deref(), value.as_deref())? {
                    None => {}
                    Some(Info::NewCookie(cookie)) => self.advance(Some(cookie)),
                    Some(Info::RefreshDelete { cookie, done }) => {
                        self.advance(cookie);
                        self.refreshed(done, run, watching);
                    }
                    Some(Info::RefreshPresent { cookie, done }) => {
                        watching.misses(run);
                        self.advance(cookie);
                        self.refreshed(done, run, watching);
                    }
                    Some(Info::IdSet { cookie, deleted, ids }) => {
                        if deleted {
                            ids.into_iter().for_each(|id| run.tell(Change::Vanished(id)));
                        } else {
                            watching.misses(run);
                        }
                        self.advance(cookie);
                    }
                }
            }
            Streamed::End { code, controls } => {
                self.advance(Done::read(&controls).and_then(|done| done.cookie));
                let error = if code == ResultCode(0) { ENDED } else { LookupError::Refused(code) };
                // It may be our place in the stream that it cannot use: it forgot it, or was put back to an older state.
                let is_lost = watching.phase == Phase::Refresh && error.is_of_one_question();
                if is_lost || code == ResultCode(REFRESH_REQUIRED) {
                    // From now on, as if for the first time.
                    self.csns.clear();
                    run.tell(Change::Interrupted);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// The server has told everything up to now.
    fn refreshed(&self, done: bool, run: &Run, watching: &mut Watching) {
        if !done || watching.phase != Phase::Refresh {
            return;
        }
        watching.phase = Phase::Live;
        run.up("syncrepl", true, None);
        run.confirm(watching.since, watching.since);
    }

    /// Takes over where the stream stands.
    fn advance(&mut self, cookie: Option<Vec<u8>>) {
        for csn in cookie.iter().flat_map(|cookie| csns(cookie)) {
            match self.csns.iter_mut().find(|known| server_of(known) == server_of(&csn)) {
                Some(known) if *known < csn => *known = csn,
                Some(_) => {}
                None => self.csns.push(csn),
            }
        }
    }

    /// Whether nothing was written that was not told.
    fn covers(&self, theirs: &[String]) -> bool {
        theirs
            .iter()
            .all(|csn| self.csns.iter().any(|known| server_of(known) == server_of(csn) && known >= csn))
    }

    /// Looks for what was written and not told. Where it is found, the stream is broken, and is begun again where it stopped.
    /// Where nothing is, it was deleted, or was written outside of what is followed or where we may not see it.
    async fn catch_up(&mut self, run: &mut Run, theirs: &[String]) -> Result<(), LookupError> {
        let clauses: String = theirs
            .iter()
            .filter_map(|csn| {
                let known = self.csns.iter().find(|known| server_of(known) == server_of(csn))?;
                (known < csn).then(|| format!("(&(entryCSN>={known})(!(entryCSN={known})))"))
            })
            .collect();
        let is_new_server =
            theirs.iter().any(|csn| self.csns.iter().all(|known| server_of(known) != server_of(csn)));
        if is_new_server {
            return Err(LookupError::Protocol("a server writes that was not known before"));
        }
        let query = Query {
            filter: format!("(|{clauses})"),
            attributes: vec!["1.1".to_owned()],
            limit: MAX_MISSED,
            ..Query::new(run.scope.base.as_str().to_owned(), Scope::Subtree)
        };
        let found = run.search().search(query).await?;
        if !found.entries.is_empty() || found.cut.is_some() {
            return Err(LookupError::Protocol("the server did not tell of changes that it has"));
        }
        if !self.lacks_log {
            self.refresh(run).await?;
        }
        self.advance(Some(cookie_of(theirs)));
        Ok(())
    }

    /// Takes what a refresh brings that is not gone on with: what was deleted, as far as the server can say.
    async fn refresh(&mut self, run: &mut Run) -> Result<(), LookupError> {
        let mut stream = self.begin(run, Mode::RefreshOnly).await?;
        let until = Instant::now() + run.feed.settings.operation * 4;
        let mut watching = Watching::new(Phase::Once);
        loop {
            let next = tokio::time::timeout_at(until.into(), stream.next()).await;
            let next = next.map_err(|_| LookupError::TimedOut)??.ok_or(ENDED)?;
            if let Streamed::End { code: ResultCode(0), controls } = next {
                if Done::read(&controls).is_none_or(|done| !done.names_deleted) {
                    watching.misses(run);
                }
                self.lacks_log = watching.has_gap;
                return Ok(());
            }
            self.take(next, run, &mut watching)?;
            if watching.has_gap {
                // What is still there says nothing. Where others write what we may not see, this happens again and again,
                // so that it is done once.
                tracing::warn!(
                    "the directory does not say what was deleted: `syncprov-sessionlog` is not set, or too short"
                );
                self.lacks_log = true;
                return Ok(());
            }
        }
    }
}

impl Watching {
    fn new(phase: Phase) -> Self {
        Self { since: Instant::now(), behind: None, phase, has_gap: false }
    }

    /// Something was deleted, and what is not told. That is said before the place in the stream moves on.
    fn misses(&mut self, run: &Run) {
        if !std::mem::replace(&mut self.has_gap, true) {
            run.tell(Change::Interrupted);
        }
    }
}

/// The server that wrote a change: the third part of its number (`time#count#server#modification`).
fn server_of(csn: &str) -> &str {
    csn.split('#').nth(2).unwrap_or_default()
}

/// The numbers of the last changes that the server has.
async fn context_csns(directory: impl Search, context: &str) -> Result<Vec<String>, LookupError> {
    let query = Query {
        attributes: vec![CONTEXT_CSN.to_owned()],
        limit: 1,
        ..Query::new(context.to_owned(), Scope::Base)
    };
    let found = directory.search(query).await?;
    let Some(entry) = found.entries.first() else { return Ok(Vec::new()) };
    Ok(entry.texts("contextcsn")?.into_iter().map(str::to_owned).collect())
}
