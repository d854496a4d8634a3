//! Loads in flight: one a subject, a bounded number at once, a bounded number waiting, and a pause after a failure.

use std::collections::HashMap;
use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::entry::{Entry, Life};
use super::ledger::Ticket;
use super::look::BackingOff;
use super::{Shared, Why};
use crate::model::Facts;

/// How many loads ask the directory at once: what a domain controller is asked at worst, after an invalidation of
/// everything.
pub(super) const MAX_LOADS: usize = 32;

/// How many more may wait for their turn; further ones are refused at once.
pub(super) const MAX_WAITING_LOADS: usize = 1_024;

/// How many refreshes there may be at once, of which none waits long for its turn: after everything was due for one, those
/// that somebody waits for must not stand behind those that nobody waits for.
pub(super) const MAX_REFRESHES: usize = MAX_LOADS / 2;

/// The pause after a failed load before the same subject is tried again.
pub(super) const BACK_OFF: Duration = Duration::from_secs(1);

/// How many failures are remembered. Forgetting one costs a load.
const MAX_FAILURES: u64 = 10_000;

/// How often one load reads when the directory changes meanwhile, before whoever waits makes do with what it read.
pub(super) const ATTEMPTS: usize = 4;

/// What came of a load.
pub(super) type Outcome<P> = Result<Arc<Entry<P>>, Why>;
/// Where the outcome of a load is awaited.
pub(super) type Pending<P> = watch::Receiver<Option<Outcome<P>>>;

/// The loads in flight, by user, and the failures that are being waited out.
pub(super) struct Loads<P> {
    pending: HashMap<Arc<str>, Pending<P>, foldhash::quality::RandomState>,
    failures: Cache<Arc<str>, Failure, foldhash::quality::RandomState>,
}

#[derive(Clone)]
struct Failure {
    until: Instant,
    why: Arc<str>,
}

/// What came of asking for a load.
pub(super) enum Joined<P> {
    /// One ended just now, and this is what it brought.
    Ended(Arc<Entry<P>>),
    /// One was in flight already.
    Coalesced(Pending<P>),
    /// One was begun.
    Begun(Pending<P>),
    /// None was in flight, and none may begin.
    Refused(Why),
}

impl<P: Send + Sync + 'static> Loads<P> {
    pub(super) fn new() -> Self {
        Self {
            pending: HashMap::default(),
            failures: Cache::builder()
                .max_capacity(MAX_FAILURES)
                .eviction_policy(EvictionPolicy::lru())
                .build_with_hasher(foldhash::quality::RandomState::default()),
        }
    }

    /// Enters a load of this user into the table, unless its last one failed a moment ago or there are `max` already.
    fn begin(
        &mut self,
        shared: &Arc<Shared<P>>,
        user: &str,
        max: usize,
    ) -> Result<(Loader<P>, Pending<P>), Why> {
        if let Some(failure) = self.failures.get(user)
            && (shared.clock)() < failure.until
        {
            return Err(Why::BackingOff(failure.why));
        }
        if self.pending.len() >= max {
            return Err(Why::Overloaded);
        }
        let user: Arc<str> = user.into();
        let (sender, pending) = watch::channel(None);
        self.pending.insert(Arc::clone(&user), pending.clone());
        Ok((Loader { shared: Arc::clone(shared), user, sender, outcome: Err(Why::Aborted) }, pending))
    }

    /// Whether a load of this user is in flight, and the pause that its last one left.
    pub(super) fn state(&self, user: &str, now: Instant) -> (bool, Option<BackingOff>) {
        let pause = self.failures.get(user).and_then(|failure| {
            let left = failure.until.checked_duration_since(now).filter(|left| !left.is_zero())?;
            Some(BackingOff { why: failure.why, left })
        });
        (self.pending.contains_key(user), pause)
    }

    #[cfg(test)]
    pub(super) fn in_flight(&self) -> usize {
        self.pending.len()
    }

    fn end(&mut self, user: &Arc<str>, outcome: &Outcome<P>, now: Instant) {
        match outcome {
            Ok(_) => self.failures.invalidate(user),
            // Nothing is wrong with a directory that changes.
            Err(Why::Changed) => {}
            Err(why) => {
                let failure = Failure { until: now + BACK_OFF, why: why.to_string().into() };
                self.failures.insert(Arc::clone(user), failure);
            }
        }
        self.pending.remove(user);
    }
}

/// Joins the load of this user that is in flight, or begins one.
pub(super) fn join<P, F, Fut, E>(shared: &Arc<Shared<P>>, user: &str, load: &Arc<F>) -> Joined<P>
where
    P: Send + Sync + 'static,
    F: Fn(Option<Arc<Facts>>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Facts, E>> + Send + 'static,
    E: Display + Send + 'static,
{
    let mut loads = shared.loads();
    if let Some(pending) = loads.pending.get(user) {
        return Joined::Coalesced(pending.clone());
    }
    // A load publishes before it leaves the table: one that ended since the caller looked is seen here.
    if let Some((entry, Life::Fresh | Life::Soft)) = shared.find(user) {
        return Joined::Ended(entry);
    }
    let begun = loads.begin(shared, user, MAX_LOADS + MAX_WAITING_LOADS);
    drop(loads);
    match begun {
        Ok((loader, pending)) => {
            loader.spawn(Arc::clone(load), None);
            Joined::Begun(pending)
        }
        Err(why) => Joined::Refused(why),
    }
}

/// Begins a load that nobody waits for, unless one is in flight, just ended, or must not begin. That is no loss: the
/// entry answers until its hard life ends, and the next hit asks again.
pub(super) fn refresh<P, F, Fut, E>(shared: &Arc<Shared<P>>, user: &str, load: impl FnOnce() -> F)
where
    P: Send + Sync + 'static,
    F: Fn(Option<Arc<Facts>>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Facts, E>> + Send + 'static,
    E: Display + Send + 'static,
{
    let mut loads = shared.loads();
    if loads.pending.contains_key(user) || shared.find(user).is_some_and(|(_, life)| life == Life::Fresh) {
        return;
    }
    let Ok(permit) = Arc::clone(&shared.refreshes).try_acquire_owned() else { return };
    let begun = loads.begin(shared, user, MAX_LOADS + MAX_WAITING_LOADS);
    drop(loads);
    if let Ok((loader, _)) = begun {
        loader.spawn(Arc::new(load()), Some(permit));
    }
}

/// Awaits the outcome of a load.
pub(super) async fn outcome<P>(mut pending: Pending<P>) -> Outcome<P> {
    match pending.wait_for(Option::is_some).await {
        Ok(outcome) => outcome.clone().unwrap_or(Err(Why::Aborted)),
        Err(_) => Err(Why::Aborted),
    }
}

/// One load. However it ends, by a panic or with its runtime too, it leaves the table and its waiters are told.
struct Loader<P: Send + Sync + 'static> {
    shared: Arc<Shared<P>>,
    user: Arc<str>,
    sender: watch::Sender<Option<Outcome<P>>>,
    outcome: Outcome<P>,
}

impl<P: Send + Sync + 'static> Loader<P> {
    /// Runs the load in the background. To be called without the lock of the loads: a runtime that is stopping drops the
    /// load at once. `refresh` is its place among the refreshes, where it is one.
    fn spawn<F, Fut, E>(self, load: Arc<F>, refresh: Option<OwnedSemaphorePermit>)
    where
        F: Fn(Option<Arc<Facts>>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Facts, E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        let handle = self.shared.handle.clone();
        handle.spawn(async move {
            let outcome = self.run(&load).await;
            self.end(outcome);
            drop(refresh);
        });
    }

    /// Waits for its turn, resolves, and publishes. Where the directory changes each time meanwhile, what was published last
    /// is invalid, and there is no failure to be waited out.
    async fn run<F, Fut, E>(&self, load: &Arc<F>) -> Outcome<P>
    where
        F: Fn(Option<Arc<Facts>>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Facts, E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        let shared = &self.shared;
        let end = tokio::time::Instant::now() + shared.settings.load_timeout;
        let turn = tokio::time::timeout_at(end, shared.permits.acquire()).await;
        let _turn = turn.map_err(|_| Why::Late)?.map_err(|_| Why::Aborted)?;
        let mut late = Why::Late;
        for _ in 0..ATTEMPTS {
            let ticket = Ticket::new(shared);
            let begun = (shared.clock)();
            let held = shared.held(&self.user).map(|entry| Arc::clone(&entry.facts));
            let facts = tokio::time::timeout_at(end, load(held)).await.map_err(|_| late)?;
            let facts = facts.map_err(|error| Why::Load(error.to_string().into()))?;
            let entry = Arc::new(Entry::new(facts, begun, ticket.stamp));
            if shared.publish(&self.user, &entry) {
                return Ok(entry);
            }
            late = Why::Changed;
        }
        Err(Why::Changed)
    }

    fn end(mut self, outcome: Outcome<P>) {
        self.outcome = outcome;
    }
}

impl<P: Send + Sync + 'static> Drop for Loader<P> {
    fn drop(&mut self) {
        let outcome = std::mem::replace(&mut self.outcome, Err(Why::Aborted));
        self.shared.loads().end(&self.user, &outcome, (self.shared.clock)());
        self.sender.send_replace(Some(outcome));
    }
}
