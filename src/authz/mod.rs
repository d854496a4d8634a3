//! The service: what to ask, the facts, the decision, within a deadline.

mod changes;
mod checks;
mod explanation;
mod follow;
mod held;
mod lag;
mod names;
mod preparations;
mod storms;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::runtime::Handle;

use changes::Changes;
use preparations::Preparations;

use crate::cache::{Entry, FactsCache, Lookup};
use crate::directory::{Directory, Usernames};
use crate::eval::{self, Bound, Evaluation, Off, Plan, Prepared, View, Would};
use crate::model::{Circumstances, Decision, Facts, GroupNames, Outcome, Request};
use crate::policy::PolicySet;
use crate::store::Store;
use crate::telemetry::audit::{Audit, Durations, FactsUsed, Record};
use crate::telemetry::{Metrics, Stage};

pub use checks::Check;
pub use explanation::{
    Explanation, FactsShown, GroupShown, PartShown, PolicyShown, effect_name, enforcement_name,
};
pub use held::{BackingOffShown, ConfirmedShown, FeedShown, HeldShown};

/// What is left of a review's deadline for deciding and answering when the facts do not come.
const RESERVE: Duration = Duration::from_millis(50);

/// What is answered to one review.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The decision, or that there is none to be had.
    pub outcome: Outcome,
    /// For the user, where it is a Deny: one line, at most 200 characters, no secrets. Empty otherwise.
    pub reason: String,
    /// What was unknown; empty where nothing was.
    pub evaluation_error: String,
}

/// Why a review could not even be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Too many reviews were in flight.
    Overload,
    /// The deadline passed.
    Deadline,
    /// The review is larger than `server.maxBodyBytes`.
    TooLarge,
    /// The review failed by a mistake of ours: it panicked.
    Internal,
}

/// What the service is made of.
pub struct Parts {
    /// The policy set in force.
    pub store: Arc<Store<PolicySet>>,
    /// Who is in the directory; `None` with `directory.kind: none`.
    pub people: Option<People>,
    /// How policies are combined.
    pub settings: eval::Settings,
    /// `server.deadline`: for one review, everything included.
    pub deadline: Duration,
    /// The metrics.
    pub metrics: Metrics,
    /// The audit lines.
    pub audit: Audit,
    /// What time it is.
    pub clock: Clock,
    /// Where background work runs.
    pub handle: Handle,
}

/// Reads the wall clock. The demo's can be set, so that office hours can be shown at night.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The directory's side of the service.
pub struct People {
    /// The client.
    pub directory: Arc<Directory>,
    /// Which users are the directory's.
    pub usernames: Usernames,
    /// The facts.
    pub cache: FactsCache<Prepared>,
    /// The time that one resolution may take: `directory.ldap.timeouts.total`.
    pub timeout: Duration,
}

/// The service behind both listeners.
pub struct Authorizer {
    store: Arc<Store<PolicySet>>,
    people: Option<People>,
    settings: eval::Settings,
    deadline: Duration,
    metrics: Metrics,
    audit: Audit,
    clock: Clock,
    bound: ArcSwap<Bound>,
    /// The names that `bound` was bound by.
    names: Mutex<GroupNames>,
    changes: Arc<Changes>,
    /// How many changed groups are being looked at whose members are not known.
    asking: AtomicUsize,
    preparations: Preparations,
    epoch: AtomicU64,
    names_known: AtomicBool,
    draining: AtomicBool,
}

/// The facts that one review may use.
enum Held {
    Outside,
    Current(Arc<Entry<Prepared>>, Arc<Prepared>),
    Stale(Arc<Entry<Prepared>>, Arc<Prepared>),
    Unreachable,
}

impl Authorizer {
    /// Puts the service together, and follows the policy store: names are resolved, then a new set is in force.
    #[must_use]
    pub fn start(parts: Parts) -> Arc<Self> {
        let Parts { store, people, settings, deadline, metrics, audit, clock, handle } = parts;
        let bound = Bound::new(store.current(), &GroupNames::default(), 0);
        let authorizer = Arc::new(Self {
            names_known: AtomicBool::new(people.is_none() || bound.set().group_names().next().is_none()),
            bound: ArcSwap::from_pointee(bound),
            store,
            people,
            settings,
            deadline,
            metrics,
            audit,
            clock,
            names: Mutex::default(),
            changes: Arc::default(),
            asking: AtomicUsize::new(0),
            preparations: Preparations::default(),
            epoch: AtomicU64::new(1),
            draining: AtomicBool::new(false),
        });
        authorizer.record_set();
        follow::begin(&authorizer, &handle);
        authorizer
    }

    /// Answers one review, within the deadline, whatever happens.
    pub async fn review(&self, request: Request, cluster: Option<Arc<str>>) -> Reply {
        let started = Instant::now();
        let bound = self.bound.load_full();
        let plan = eval::plan(&bound, &self.settings, &request, self.is_directory_user(&request));
        let planned = started.elapsed();
        let held = match plan {
            Plan::Directory => {
                self.facts(&bound, &request, started + self.deadline.saturating_sub(RESERVE)).await
            }
            Plan::Exempt | Plan::RequestAlone => self.held_for_nothing(&request),
        };
        let fetched = started.elapsed();
        // After the wait for the facts: the caller's cache counts from the answer.
        let now = (self.clock)();
        let circumstances = eval::circumstances(&bound, &request, cluster, now);
        let evaluation = eval::reply(&bound, &self.settings, &request, held.view(), &circumstances, &mut Off);
        let would = self.would(&bound, &request, &held, &circumstances);
        let reply = Reply {
            outcome: evaluation.outcome,
            reason: evaluation.reason(bound.set()),
            evaluation_error: evaluation.unknowns(bound.set()),
        };
        let total = started.elapsed();
        let facts = fetched.saturating_sub(planned);
        let durations = Durations { total, facts, evaluate: total.saturating_sub(facts) };
        self.record(
            &bound,
            request,
            circumstances,
            evaluation,
            &reply,
            held.used(now),
            would,
            plan,
            durations,
        );
        reply
    }

    /// Whether the subject is answered before any policy, and so also where nobody else can be.
    #[must_use]
    pub fn is_exempt(&self, request: &Request) -> bool {
        eval::is_exempt(self.bound.load().set(), request)
    }

    /// The answer where the fault is ours (DESIGN 3.3).
    pub fn fault(&self, fault: Fault) -> Reply {
        let outcome = match self.settings.when_undetermined {
            eval::WhenUndetermined::Unavailable => Outcome::Unavailable,
            eval::WhenUndetermined::Deny => Outcome::Decided(Decision::Deny),
        };
        let (cause, reason) = match fault {
            Fault::Overload => {
                self.metrics.overload_rejections.inc();
                (
                    "overload",
                    "bailiwick is overloaded and could not decide; this is no fault of yours: try again",
                )
            }
            Fault::Internal => {
                ("internal", "bailiwick failed to decide; this is no fault of yours: ask whoever runs it")
            }
            Fault::TooLarge => (
                "too-large",
                "this request is too large for bailiwick to decide: ask for it with a shorter selector",
            ),
            Fault::Deadline => {
                ("deadline", "bailiwick could not decide in time; this is no fault of yours: try again")
            }
        };
        self.metrics.decisions.with_label_values(&[outcome.as_str(), cause]).inc();
        Reply { outcome, reason: reason.to_owned(), evaluation_error: String::new() }
    }

    /// The answer to a review that is one too many, with its audit line: it was refused, after all.
    pub fn overloaded(&self, request: Request, cluster: Option<Arc<str>>) -> Reply {
        let reply = self.fault(Fault::Overload);
        if self.audit.is_on() {
            let bound = self.bound.load();
            let circumstances = eval::circumstances(&bound, &request, cluster, (self.clock)());
            self.audit.record(Record {
                time: circumstances.now,
                cluster: circumstances.cluster,
                source: circumstances.source,
                request,
                outcome: reply.outcome,
                cause: "overload",
                reason: reply.reason.clone(),
                evaluation_error: String::new(),
                policies: Vec::new(),
                would: None,
                facts: None,
                revision: Arc::clone(bound.set().revision()),
                valid_until: None,
                durations: Durations::default(),
            });
        }
        reply
    }

    /// Decides one request with a full trace, as `bailiwick explain` does; changes no metric and writes no audit line.
    pub async fn explain(&self, request: Request, cluster: Option<Arc<str>>) -> serde_json::Value {
        let explanation = self.explain_at(&request, cluster, (self.clock)()).await;
        serde_json::to_value(explanation).unwrap_or(serde_json::Value::Null)
    }

    /// Decides one request for an instant, with a full trace.
    pub async fn explain_at(
        &self,
        request: &Request,
        cluster: Option<Arc<str>>,
        now: Timestamp,
    ) -> Explanation {
        let bound = self.bound.load_full();
        let deadline = Instant::now() + self.deadline.saturating_sub(RESERVE);
        let held = match eval::plan(&bound, &self.settings, request, self.is_directory_user(request)) {
            Plan::Exempt => self.held_for_nothing(request),
            // Also where the enforced policies do not need it: the explanation shows shadow policies, and who it is.
            Plan::RequestAlone | Plan::Directory => self.facts(&bound, request, deadline).await,
        };
        let circumstances = eval::circumstances(&bound, request, cluster, now);
        Explanation::of(&bound, &self.settings, request, held.view(), &circumstances)
    }

    /// Drops the cached facts of one user, or of all. Returns how many subjects were dropped.
    pub async fn purge(&self, user: Option<&str>) -> u64 {
        let Some(people) = &self.people else { return 0 };
        people.directory.forget_groups();
        let dropped = match user {
            Some(user) => people.cache.invalidate_user(user),
            None => people.cache.invalidate_all(),
        };
        self.metrics.directory.invalidations.with_label_values(&["purge"]).inc_by(dropped);
        dropped
    }

    /// What `GET /policies` shows: revision, and for each policy its name, effect, enforcement and source.
    #[must_use]
    pub fn policies(&self) -> serde_json::Value {
        let bound = self.bound.load();
        let set = bound.set();
        let policies: Vec<serde_json::Value> = set
            .policies()
            .iter()
            .map(|policy| {
                serde_json::json!({
                    "name": &*policy.name,
                    "effect": effect_name(policy.effect),
                    "enforcement": enforcement_name(policy.enforcement),
                    "source": &*policy.source,
                })
            })
            .collect();
        serde_json::json!({ "revision": &**set.revision(), "policies": policies })
    }

    /// The revision of the policy set in force.
    #[must_use]
    pub fn revision(&self) -> Arc<str> {
        Arc::clone(self.bound.load().set().revision())
    }

    /// Waits until the group names of the policy set in force were asked for once; no longer than this.
    pub async fn settled(&self, within: Duration) -> bool {
        let end = Instant::now() + within;
        while !self.names_known.load(Ordering::Acquire) {
            if Instant::now() >= end {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        true
    }

    /// Says not ready from now on, so that nobody new comes while the process stops.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Waits until all audit lines are written; no longer than this. Returns whether they are.
    pub fn flush_audit(&self, within: Duration) -> bool {
        self.audit.flush(within)
    }

    fn is_directory_user(&self, request: &Request) -> bool {
        self.people
            .as_ref()
            .is_some_and(|people| people.usernames.directory_name(&request.subject.user).is_some())
    }

    /// Where the directory is not needed: who is none of its users is known to be in no group.
    fn held_for_nothing(&self, request: &Request) -> Held {
        if self.is_directory_user(request) { Held::Unreachable } else { Held::Outside }
    }

    async fn facts(&self, bound: &Bound, request: &Request, deadline: Instant) -> Held {
        let user = request.subject.user.as_str();
        let Some((people, name)) =
            self.people.as_ref().and_then(|people| Some((people, people.usernames.directory_name(user)?)))
        else {
            return Held::Outside;
        };
        let load = || {
            let (directory, name, timeout) = (Arc::clone(&people.directory), name.to_owned(), people.timeout);
            move |known| {
                let (directory, name) = (Arc::clone(&directory), name.clone());
                async move { directory.resolve(&name, known, Instant::now() + timeout).await }
            }
        };
        match people.cache.get(user, load, deadline).await {
            Lookup::Fresh(entry) => {
                let prepared = self.preparations.of(bound, &entry);
                Held::Current(entry, prepared)
            }
            Lookup::Stale(entry, why) => {
                tracing::debug!(%why, "stale facts");
                let prepared = self.preparations.of(bound, &entry);
                Held::Stale(entry, prepared)
            }
            Lookup::Failed(why) => {
                tracing::debug!(%why, "no facts");
                Held::Unreachable
            }
        }
    }

    /// The decision with all shadow policies enforced, from what is held anyway.
    fn would(
        &self,
        bound: &Bound,
        request: &Request,
        held: &Held,
        circumstances: &Circumstances,
    ) -> Option<Would> {
        if !explanation::has_shadow(bound.set()) {
            return None;
        }
        let peeked = match (held, &self.people) {
            (Held::Unreachable, Some(people)) => match people.cache.peek(&request.subject.user) {
                Lookup::Fresh(entry) => {
                    let prepared = self.preparations.of(bound, &entry);
                    Some(Held::Current(entry, prepared))
                }
                Lookup::Stale(..) | Lookup::Failed(_) => None,
            },
            _ => None,
        };
        let shadow = peeked.as_ref().unwrap_or(held);
        let would =
            eval::would(bound, &self.settings, request, held.view(), shadow.view(), circumstances, &mut Off);
        self.metrics.shadow_decisions.with_label_values(&[would.as_str()]).inc();
        Some(would)
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "everything that one audit line says; called from one place"
    )]
    fn record(
        &self,
        bound: &Bound,
        request: Request,
        circumstances: Circumstances,
        evaluation: Evaluation,
        reply: &Reply,
        facts: Option<FactsUsed>,
        would: Option<Would>,
        plan: Plan,
        durations: Durations,
    ) {
        let metrics = &self.metrics;
        if plan == Plan::Exempt {
            metrics.exempt.inc();
        }
        let cause = evaluation.cause.as_str();
        metrics.decisions.with_label_values(&[evaluation.outcome.as_str(), cause]).inc();
        metrics.observe(Stage::Total, durations.total);
        metrics.observe(Stage::Evaluate, durations.evaluate);
        if plan == Plan::Directory {
            metrics.observe(Stage::Facts, durations.facts);
        }
        if let Some(facts) = &facts {
            metrics.facts_age.observe(facts.age.as_secs_f64());
        }
        if !self.audit.is_on() {
            return;
        }
        let set = bound.set();
        let names = evaluation.names(set).map(Arc::from).collect();
        self.audit.record(Record {
            time: circumstances.now,
            cluster: circumstances.cluster,
            source: circumstances.source,
            request,
            outcome: evaluation.outcome,
            cause,
            reason: reply.reason.clone(),
            evaluation_error: reply.evaluation_error.clone(),
            policies: names,
            would: would.map(Would::as_str),
            facts,
            revision: Arc::clone(set.revision()),
            valid_until: (evaluation.until < Timestamp::MAX).then_some(evaluation.until),
            durations,
        });
    }
}

impl Held {
    fn view(&self) -> View<'_> {
        match self {
            Self::Outside => View::Outside,
            Self::Current(_, prepared) => View::Current(prepared),
            Self::Stale(_, prepared) => View::Stale(prepared),
            Self::Unreachable => View::Unreachable,
        }
    }

    fn used(&self, now: Timestamp) -> Option<FactsUsed> {
        let (facts, stale): (&Facts, bool) = match self {
            Self::Current(entry, _) => (&entry.facts, false),
            Self::Stale(entry, _) => (&entry.facts, true),
            Self::Outside | Self::Unreachable => return None,
        };
        let age = Duration::try_from(now.duration_since(facts.read_at)).unwrap_or_default();
        Some(FactsUsed { age, stale, partial: facts.partial.is_some(), followed: facts.followed })
    }
}
