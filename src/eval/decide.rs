//! The decision at one instant.

use jiff::Timestamp;
use smallvec::SmallVec;

use super::account::{AccountProblem, Problems, problems};
use super::facts::{Bound, Lens, View};
use super::policy::Scene;
use super::settings::{Default, Settings, WhenUndetermined};
use super::trace::Trace;
use super::truth::{Truth, Unknown};
use crate::model::{Circumstances, Decision, Outcome, Request};
use crate::policy::ast::{Effect, Enforcement};
use crate::policy::{Accepted, Drivers, PolicySet, covers, overlaps};

/// A decision with everything that led to it.
#[must_use]
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// What is to be done with the review.
    pub outcome: Outcome,
    /// Which part of the service decided.
    pub cause: Cause,
    /// The policies that are true and have the decision's effect, by their places in the policy set: in the order of
    /// their names, each once.
    pub applied: SmallVec<[u32; 8]>,
    /// The states of the account that refuse everything.
    pub accounts: SmallVec<[AccountProblem; 2]>,
    /// Whether a state of the account that would refuse everything cannot be read.
    pub account_unreadable: bool,
    /// The policies that are not known to be true or false, and why.
    pub unknown: SmallVec<[(u32, Unknown); 4]>,
    /// The next instant at which this could change by time alone.
    pub until: Timestamp,
    /// How many rules were looked at one by one.
    pub examined: u32,
}

/// Which part of the service decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A policy.
    Policy,
    /// A built-in guard.
    Guard,
    /// The state of the account.
    Account,
    /// No policy applied.
    Default,
    /// It could not be found out whether a Deny applies.
    Undetermined,
    /// The subject is exempt.
    Exempt,
}

/// What the enforced policies would decide together with all shadow policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Would {
    /// This.
    Decide(Outcome),
    /// That depends on facts that are not held; a shadow policy never asks for them.
    Unknown,
}

/// Decides one request: a function of its arguments, without clock, I/O or log (DESIGN 3.11).
pub fn decide<T: Trace>(
    bound: &Bound,
    settings: &Settings,
    request: &Request,
    view: View<'_>,
    circumstances: &Circumstances,
    trace: &mut T,
) -> Evaluation {
    if is_exempt(bound.set(), request) {
        return Evaluation::exempt();
    }
    let accounts = problems(&settings.accounts, view, circumstances.now);
    let mut tally = Tally { until: accounts.until, deny_unknown: accounts.unreadable, ..Tally::default() };
    let scene = Scene { bound, request, circumstances };
    tally.add(scene, Enforcement::Enforce, view, trace);
    tally.evaluation(bound.set(), settings, accounts)
}

/// What would be decided if all shadow policies were enforced. `shadow` is what is held anyway: nobody asks for more.
pub fn would<T: Trace>(
    bound: &Bound,
    settings: &Settings,
    request: &Request,
    view: View<'_>,
    shadow: View<'_>,
    circumstances: &Circumstances,
    trace: &mut T,
) -> Would {
    if is_exempt(bound.set(), request) {
        return Would::Decide(Outcome::Decided(Decision::NoOpinion));
    }
    let accounts = problems(&settings.accounts, view, circumstances.now);
    let mut tally = Tally { until: accounts.until, deny_unknown: accounts.unreadable, ..Tally::default() };
    let scene = Scene { bound, request, circumstances };
    tally.add(scene, Enforcement::Enforce, view, &mut super::trace::Off);
    let unknown_before = (tally.deny_unknown, tally.allow_unknown);
    tally.add(scene, Enforcement::Shadow, shadow, trace);
    let evaluation = tally.evaluation(bound.set(), settings, accounts);
    let new_unknown = (tally.deny_unknown && !unknown_before.0) || (tally.allow_unknown && !unknown_before.1);
    let settled = matches!(evaluation.cause, Cause::Account | Cause::Policy | Cause::Guard)
        && (evaluation.outcome == Outcome::Decided(Decision::Deny) || !tally.deny_unknown);
    if new_unknown && !settled { Would::Unknown } else { Would::Decide(evaluation.outcome) }
}

/// Whether the subject is answered before any policy (DESIGN 3.5).
#[must_use]
pub fn is_exempt(set: &PolicySet, request: &Request) -> bool {
    set.settings().exempt.iter().any(|exempt| exempt.matches(&request.subject))
}

/// Where the candidates of a request are looked for: the slots that name its subject.
pub(super) fn drivers<'a>(
    bound: &'a Bound,
    request: &Request,
    lens: Lens<'a>,
    accepted: &Accepted<'a>,
) -> Drivers<'a> {
    let index = bound.set().index();
    let mut drivers = Drivers::new();
    drivers.push(index.everyone());
    drivers.extend(index.user(&request.subject.user));
    if accepted.meets(index.any_group()) {
        drivers.extend(request.subject.groups.iter().filter_map(|group| index.group(group)));
    }
    drivers.extend(bound.directory_driver(lens));
    drivers
}

/// Whether the rule in a slot speaks of the request.
pub(super) fn speaks_of(set: &PolicySet, slot: u32, effect: Effect, request: &Request) -> bool {
    let Some(rule) = set.slots().get(slot as usize).and_then(|slot| slot.rule.as_ref()) else { return false };
    match effect {
        Effect::Allow => covers(rule, &request.action),
        Effect::Deny => overlaps(rule, &request.action, set.scopes()),
    }
}

/// What the policies came to.
#[derive(Default)]
struct Tally {
    deny: SmallVec<[u32; 8]>,
    allow: SmallVec<[u32; 8]>,
    unknown: SmallVec<[(u32, Unknown); 4]>,
    deny_unknown: bool,
    allow_unknown: bool,
    until: Timestamp,
    examined: u32,
}

impl Tally {
    fn add<T: Trace>(&mut self, scene: Scene<'_>, enforcement: Enforcement, view: View<'_>, trace: &mut T) {
        let action = &scene.request.action;
        let accepted = scene.bound.set().index().accepted(enforcement, action);
        let (lens, last_known) = (view.lens(), view.last_known());
        let effects = [Effect::Deny, Effect::Allow];
        if T::ON {
            // Everything that speaks of the request, also where the subject is another: explanations want it.
            for effect in effects {
                for slot in accepted.all(effect) {
                    self.examine(scene, slot, effect, lens, last_known, trace);
                }
            }
            return;
        }
        let drivers = drivers(scene.bound, scene.request, lens, &accepted);
        for effect in effects {
            for slot in accepted.candidates(effect, &drivers) {
                self.examine(scene, slot, effect, lens, last_known, trace);
            }
        }
    }

    fn examine<'a, T: Trace>(
        &mut self,
        scene: Scene<'a>,
        slot: u32,
        effect: Effect,
        lens: Lens<'a>,
        last_known: Option<Lens<'a>>,
        trace: &mut T,
    ) {
        self.examined += 1;
        let set = scene.bound.set();
        let Some(place) = set.slots().get(slot as usize) else { return };
        let id = place.policy;
        if self.is_settled(id, effect) || !speaks_of(set, slot, effect, scene.request) {
            return;
        }
        let Some(policy) = set.policies().get(id as usize) else { return };
        let truth = scene.truth(policy, lens, last_known, trace);
        trace.policy(id, place.number, truth);
        self.until = self.until.min(truth.until);
        match (truth.truth, effect) {
            (Truth::True, Effect::Deny) => self.deny.push(id),
            (Truth::True, Effect::Allow) => self.allow.push(id),
            (Truth::Unknown(why), effect) => {
                self.unknown.push((id, why));
                match effect {
                    Effect::Deny => self.deny_unknown = true,
                    Effect::Allow => self.allow_unknown = true,
                }
            }
            (Truth::False, _) => {}
        }
    }

    /// Whether a policy was found true or unknown already, by another of its rules: its truth is the same for each of
    /// them.
    fn is_settled(&self, id: u32, effect: Effect) -> bool {
        let applied = match effect {
            Effect::Deny => &self.deny,
            Effect::Allow => &self.allow,
        };
        applied.contains(&id) || self.unknown.iter().any(|(unknown, _)| *unknown == id)
    }

    /// DESIGN 3.2.
    fn evaluation(&mut self, set: &PolicySet, settings: &Settings, accounts: Problems) -> Evaluation {
        let Problems { found: accounts, unreadable: account_unreadable, until: _ } = accounts;
        let undetermined = match settings.when_undetermined {
            WhenUndetermined::Deny => Outcome::Decided(Decision::Deny),
            WhenUndetermined::Unavailable => Outcome::Unavailable,
        };
        self.deny.sort_unstable();
        self.allow.sort_unstable();
        self.unknown.sort_unstable_by_key(|(id, _)| *id);
        let mut applied = SmallVec::new();
        let (outcome, cause) = if !accounts.is_empty() {
            applied = std::mem::take(&mut self.deny);
            (Outcome::Decided(Decision::Deny), Cause::Account)
        } else if let Some(first) = self.deny.first() {
            let policy = set.policies().get(*first as usize);
            let guard = policy.is_some_and(|policy| policy.name.starts_with("guard/"));
            applied = std::mem::take(&mut self.deny);
            (Outcome::Decided(Decision::Deny), if guard { Cause::Guard } else { Cause::Policy })
        } else if self.deny_unknown {
            (undetermined, Cause::Undetermined)
        } else if !self.allow.is_empty() {
            applied = std::mem::take(&mut self.allow);
            (Outcome::Decided(Decision::Allow), Cause::Policy)
        } else {
            match settings.default {
                Default::NoOpinion => (Outcome::Decided(Decision::NoOpinion), Cause::Default),
                Default::Deny if self.allow_unknown => (undetermined, Cause::Undetermined),
                Default::Deny => (Outcome::Decided(Decision::Deny), Cause::Default),
            }
        };
        Evaluation {
            outcome,
            cause,
            applied,
            accounts,
            account_unreadable,
            unknown: std::mem::take(&mut self.unknown),
            until: self.until,
            examined: self.examined,
        }
    }
}

impl Evaluation {
    fn exempt() -> Self {
        Self {
            outcome: Outcome::Decided(Decision::NoOpinion),
            cause: Cause::Exempt,
            applied: SmallVec::new(),
            accounts: SmallVec::new(),
            account_unreadable: false,
            unknown: SmallVec::new(),
            until: Timestamp::MAX,
            examined: 0,
        }
    }

    /// The names of what applied: states of the account first, then policies.
    pub fn names<'a>(&'a self, set: &'a PolicySet) -> impl Iterator<Item = &'a str> {
        let policies = self.applied.iter().filter_map(|id| set.policies().get(*id as usize));
        self.accounts.iter().map(|problem| problem.name()).chain(policies.map(|policy| &*policy.name))
    }

    /// What the user is told: one line, empty but for a Deny.
    #[must_use]
    pub fn reason(&self, set: &PolicySet) -> String {
        if self.outcome != Outcome::Decided(Decision::Deny) {
            return String::new();
        }
        if let Some(problem) = self.accounts.first() {
            return problem.message().to_owned();
        }
        let first = self.applied.first().and_then(|id| set.policies().get(*id as usize));
        match (self.cause, first) {
            (Cause::Undetermined, _) => {
                "bailiwick could not find out whether this is denied; this is no fault of yours: \
                                         ask whoever runs it"
                    .to_owned()
            }
            (_, Some(policy)) if !policy.message.is_empty() => policy.message.to_string(),
            (_, Some(policy)) => format!("denied by policy {}", policy.name),
            (_, None) => "no policy allows this".to_owned(),
        }
    }

    /// What was unknown, for `evaluationError`: the account, at most four policies, and how many more there are.
    #[must_use]
    pub fn unknowns(&self, set: &PolicySet) -> String {
        const MOST: usize = 4;
        let mut text = String::new();
        if self.account_unreadable {
            text.push_str("the state of the account in the directory cannot be read");
        }
        for (id, why) in self.unknown.iter().take(MOST) {
            if let Some(policy) = set.policies().get(*id as usize) {
                let separator = if text.is_empty() { "" } else { "; " };
                text.push_str(separator);
                text.push_str(&format!("policy {}: {}", policy.name, why.describe(set)));
            }
        }
        if let Some(more) = self.unknown.len().checked_sub(MOST).filter(|more| *more > 0) {
            text.push_str(&format!("; and {more} more"));
        }
        text
    }
}

impl Cause {
    /// The cause in metrics and audit lines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Guard => "guard",
            Self::Account => "account",
            Self::Default => "default",
            Self::Undetermined => "undetermined",
            Self::Exempt => "exempt",
        }
    }
}

impl Would {
    /// The value of the label `would`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decide(outcome) => outcome.as_str(),
            Self::Unknown => "unknown",
        }
    }
}
