//! Why a decision is what it is: for `bailiwick explain`, `POST /explain` and the tour.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::eval::{self, Bound, Cause, Evaluated, Evaluation, Recorder, Truth, View};
use crate::model::{AccountState, Circumstances, Decision, Facts, Outcome, Person, Request};
use crate::policy::PolicySet;
use crate::policy::ast::{Effect, Enforcement};

/// One decision with everything that led to it, in words. Its JSON form is what `-o json` and `POST /explain` show.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// What is answered: `Allow`, `Deny`, `NoOpinion` or `Unavailable`.
    pub decision: &'static str,
    /// What holds at this instant; differs from `decision` where it changes before the caller forgets the answer.
    pub decision_now: &'static str,
    /// Which part of the service decided.
    pub cause: &'static str,
    /// What the user is told.
    pub reason: String,
    /// What was unknown.
    pub evaluation_error: String,
    /// The policies, and states of the account, that made the decision.
    pub policies: Vec<String>,
    /// The next instant at which it could change by time alone (RFC 3339).
    pub valid_until: Option<String>,
    /// The decision with all shadow policies enforced; absent where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would: Option<&'static str>,
    /// The revision of the policy set.
    pub revision: String,
    /// For when it is decided (RFC 3339).
    pub time: String,
    /// Which cluster asks.
    pub cluster: Option<String>,
    /// The source address, or why it is not known.
    pub source: String,
    /// What is known of the subject.
    pub facts: FactsShown,
    /// The policies of which a rule speaks of the request.
    pub near: Vec<PolicyShown>,
    /// The decision, for exit codes.
    #[serde(skip)]
    pub outcome: Outcome,
}

/// What is known of the subject.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FactsShown {
    /// `current`, `stale`, `unknown` (not asked, or not answered), or `outside` (no directory user).
    pub state: &'static str,
    /// Whether there is such a person: `found`, `not found`, `ambiguous`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person: Option<&'static str>,
    /// The person's DN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dn: Option<String>,
    /// The groups, each with how it was reached.
    pub groups: Vec<GroupShown>,
    /// Whether there may be more groups.
    pub partial: bool,
    /// The attributes; `null` where the values cannot be read.
    pub attributes: BTreeMap<String, Option<Vec<String>>>,
    /// What the directory says of the account, where it says anything.
    pub account: Vec<String>,
    /// When it was read (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_at: Option<String>,
}

/// One group.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupShown {
    /// Its name.
    pub name: String,
    /// Its DN; absent for a security identifier that the directory does not resolve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dn: Option<String>,
    /// From the person's direct group to this one.
    pub path: Vec<String>,
}

/// One policy that is near.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyShown {
    /// Its name.
    pub name: String,
    /// `Allow` or `Deny`.
    pub effect: &'static str,
    /// `Enforce` or `Shadow`.
    pub enforcement: &'static str,
    /// Where it was written.
    pub source: String,
    /// Which of its rules speaks of the request.
    pub rule: u32,
    /// `true`, `false` or `unknown`.
    pub truth: &'static str,
    /// Why it is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// Its parts.
    pub parts: Vec<PartShown>,
}

/// One part of a policy.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PartShown {
    /// Its place in the document.
    pub part: String,
    /// What it asks for, or what was found.
    pub detail: String,
    /// `true`, `false` or `unknown`.
    pub truth: &'static str,
}

impl Explanation {
    /// Decides one request by the code that serves, and records what it looked at.
    #[must_use]
    pub fn of(
        bound: &Bound,
        settings: &eval::Settings,
        request: &Request,
        view: View<'_>,
        circumstances: &Circumstances,
    ) -> Self {
        let set = bound.set();
        let mut recorder = Recorder::default();
        let now = eval::decide(bound, settings, request, view, circumstances, &mut recorder);
        let reply = eval::reply(bound, settings, request, view, circumstances, &mut eval::Off);
        let would = has_shadow(set).then(|| {
            eval::would(bound, settings, request, view, view, circumstances, &mut recorder).as_str()
        });
        let mut near: Vec<PolicyShown> =
            recorder.policies.iter().filter_map(|policy| shown(set, policy)).collect();
        near.sort_by_key(|policy| (rank(policy), policy.name.clone()));
        Self {
            decision: reply.outcome.as_str(),
            decision_now: now.outcome.as_str(),
            cause: reply.cause.as_str(),
            reason: reply.reason(set),
            evaluation_error: reply.unknowns(set),
            policies: reply.names(set).map(str::to_owned).collect(),
            valid_until: (now.until < jiff::Timestamp::MAX).then(|| now.until.to_string()),
            would,
            revision: set.revision().to_string(),
            time: circumstances.now.to_string(),
            cluster: circumstances.cluster.as_deref().map(str::to_owned),
            source: match circumstances.source {
                crate::model::SourceAddress::Known(address) => address.to_string(),
                unknown => unknown.unknown_because().unwrap_or_default().to_owned(),
            },
            facts: FactsShown::of(view, &reply),
            near,
            outcome: reply.outcome,
        }
    }

    /// The decision; `None` where there is none to be had.
    #[must_use]
    pub fn decided(&self) -> Option<Decision> {
        match self.outcome {
            Outcome::Decided(decision) => Some(decision),
            Outcome::Unavailable => None,
        }
    }
}

/// Whether a policy set has any shadow policy.
pub(super) fn has_shadow(set: &PolicySet) -> bool {
    set.policies().iter().any(|policy| policy.enforcement == Enforcement::Shadow)
}

/// The name of an effect, as in documents.
#[must_use]
pub fn effect_name(effect: Effect) -> &'static str {
    match effect {
        Effect::Allow => "Allow",
        Effect::Deny => "Deny",
    }
}

/// The name of an enforcement, as in documents.
#[must_use]
pub fn enforcement_name(enforcement: Enforcement) -> &'static str {
    match enforcement {
        Enforcement::Enforce => "Enforce",
        Enforcement::Shadow => "Shadow",
    }
}

impl FactsShown {
    fn of(view: View<'_>, evaluation: &Evaluation) -> Self {
        let nothing = |state| Self {
            state,
            person: None,
            dn: None,
            groups: Vec::new(),
            partial: false,
            attributes: BTreeMap::new(),
            account: Vec::new(),
            read_at: None,
        };
        match view {
            _ if evaluation.cause == Cause::Exempt => nothing("exempt"),
            View::Outside => nothing("outside"),
            View::Unreachable => nothing("unknown"),
            View::Current(prepared) => Self::read("current", prepared.facts()),
            View::Stale(prepared) => Self::read("stale", prepared.facts()),
        }
    }

    /// Facts that were read.
    #[must_use]
    pub fn read(state: &'static str, facts: &Facts) -> Self {
        let (person, dn) = match &facts.person {
            Person::Found { dn, .. } => ("found", Some(dn.as_str().to_owned())),
            Person::NotFound => ("not found", None),
            Person::Ambiguous => ("ambiguous", None),
            Person::Outside => ("outside", None),
        };
        Self {
            state,
            person: Some(person),
            dn,
            groups: facts
                .groups
                .iter()
                .map(|group| GroupShown {
                    name: group.group.name.to_string(),
                    dn: group.group.dn.as_ref().map(|dn| dn.as_str().to_owned()),
                    path: facts.path(group).into_iter().map(str::to_owned).collect(),
                })
                .collect(),
            partial: facts.partial.is_some(),
            attributes: facts
                .attributes
                .iter()
                .map(|(name, values)| (name.to_owned(), values.known().map(<[String]>::to_vec)))
                .collect(),
            account: account(&facts.account),
            read_at: Some(facts.read_at.to_string()),
        }
    }
}

fn account(state: &AccountState) -> Vec<String> {
    let AccountState { disabled, locked, locked_until, expires, password_expired, unreadable } = state;
    let mut said = Vec::new();
    let mut say = |what: &str, is: Option<bool>| {
        if let Some(is) = is {
            said.push(if is { what.to_owned() } else { format!("not {what}") });
        }
    };
    say("disabled", *disabled);
    say("locked", *locked);
    say("password expired", *password_expired);
    said.extend(locked_until.map(|until| format!("locked until {until}")));
    said.extend(expires.map(|at| format!("expires at {at}")));
    for (what, is_unreadable) in [
        ("disabled", unreadable.disabled),
        ("locked", unreadable.locked),
        ("password expired", unreadable.password_expired),
        ("expired", unreadable.expires),
    ] {
        if is_unreadable {
            said.push(format!("whether {what} cannot be read"));
        }
    }
    said
}

fn shown(set: &PolicySet, evaluated: &Evaluated) -> Option<PolicyShown> {
    let policy = set.policies().get(evaluated.policy as usize)?;
    let because = match evaluated.truth.truth {
        Truth::Unknown(why) => Some(why.describe(set)),
        Truth::False | Truth::True => None,
    };
    let parts = evaluated.notes.iter();
    Some(PolicyShown {
        name: policy.name.to_string(),
        effect: effect_name(policy.effect),
        enforcement: enforcement_name(policy.enforcement),
        source: policy.source.to_string(),
        rule: evaluated.rule,
        truth: truth_name(evaluated.truth.truth),
        because,
        parts: parts
            .map(|note| PartShown {
                part: note.part.clone(),
                detail: note.detail.clone(),
                truth: truth_name(note.truth),
            })
            .collect(),
    })
}

fn truth_name(truth: Truth) -> &'static str {
    match truth {
        Truth::False => "false",
        Truth::Unknown(_) => "unknown",
        Truth::True => "true",
    }
}

/// What applies first, what is unknown next.
fn rank(policy: &PolicyShown) -> u8 {
    match (policy.truth, policy.effect) {
        ("true", "Deny") => 0,
        ("true", _) => 1,
        ("unknown", _) => 2,
        _ => 3,
    }
}
