//! A second evaluator: slow and plain, written from the design alone, straight over the documents. It has no index and
//! no compile step, asks every policy every question, and shares no code with the evaluator that it is held against.

mod rules;

use std::collections::BTreeSet;

use bailiwick::model::{
    Circumstances, Decision, Facts, GroupNames, Membership, Outcome, Person, Request, Resolved,
    SourceAddress, Subject, Values,
};
use bailiwick::policy::Pattern;
use bailiwick::policy::ast::{
    AccessPolicy, AttributeCondition, AttributeType, ClearanceCondition, Conditions, Documents, Effect,
    Enforcement, GroupRef, LocationCondition, SubjectTerm, TimeCondition, Validity, Vocabulary,
};
use jiff::{Timestamp, ToSpan};

/// What the evaluation is told beside documents, request, facts and circumstances.
#[derive(Debug, Clone)]
pub struct NaiveSettings {
    /// `decisions.default`: `NoOpinion` or `Deny`.
    pub default: Decision,
    /// `decisions.whenUndetermined`: `Decided(Deny)` or `Unavailable`.
    pub when_undetermined: Outcome,
    /// `decisions.exempt`: the user's name, and the asserted group that it must stand beside where there is one.
    pub exempt: Vec<(Pattern, Option<String>)>,
    /// The key of `extra` that clearances come from, in lower case; `None`: from the directory.
    pub clearance_extra_key: Option<String>,
    /// `location.trustedClusters`.
    pub trusted_clusters: BTreeSet<String>,
    /// `directory.accounts`.
    pub accounts: NaiveAccounts,
}

/// `directory.accounts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NaiveAccounts {
    /// The account is disabled.
    pub disabled: OnAccount,
    /// The account is expired.
    pub expired: OnAccount,
    /// The account is locked.
    pub locked: OnAccount,
    /// The password is expired.
    pub password_expired: OnAccount,
    /// There is no such person.
    pub not_found: OnAccount,
    /// There are several entries.
    pub ambiguous: OnAccount,
    /// The directory could not be asked.
    pub when_unreachable: OnUnreachable,
}

/// What one state of an account does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnAccount {
    /// It refuses.
    Deny,
    /// Nothing.
    Ignore,
}

/// What is made of account states when the directory could not be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUnreachable {
    /// The last state that is known, of any age; no effect where none is.
    LastKnown,
    /// Refused.
    Deny,
}

/// What is known of the person.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NaiveFacts<'a> {
    /// Outside `directory.usernames`: known to be in no group and to have no attribute.
    NotDirectoryUser,
    /// Within `hardTTL`.
    Current(&'a Facts),
    /// Past `hardTTL`: may establish that a Deny applies, never that it does not, and never an Allow.
    Stale(&'a Facts),
    /// Could not be found out.
    Unknown,
}

/// The decision and what led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NaiveVerdict {
    /// What is done with the review, were it not cached by anyone.
    pub outcome: Outcome,
    /// The enforced policies that are true and have the decision's effect, account states as `account/…` among them;
    /// empty where the decision is a default, undetermined, or an exemption's.
    pub applying: BTreeSet<String>,
    /// The enforced policies of either effect whose truth is unknown, whatever the outcome.
    pub unknown: BTreeSet<String>,
}

/// For how long the caller keeps a reply, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NaiveTtls {
    /// `caller.authorizedTTL`.
    pub authorized: i64,
    /// `caller.unauthorizedTTL`.
    pub unauthorized: i64,
}

/// Truth in Kleene's logic, in the order in which *and* is the minimum and *or* the maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Truth {
    False,
    Unknown,
    True,
}

/// Decides one request at one instant (DESIGN 3.2).
pub fn decide(
    documents: &Documents,
    settings: &NaiveSettings,
    request: &Request,
    facts: NaiveFacts<'_>,
    group_names: &GroupNames,
    circumstances: &Circumstances,
) -> NaiveVerdict {
    let nothing = BTreeSet::new;
    if is_exempt(&settings.exempt, &request.subject) {
        let outcome = Outcome::Decided(Decision::NoOpinion);
        return NaiveVerdict { outcome, applying: nothing(), unknown: nothing() };
    }
    let facts = never_stale_outside(facts);
    let world = World { vocabulary: &documents.vocabulary, settings, request, group_names, circumstances };

    let mut denying: BTreeSet<String> = world.account_denies(facts).into_iter().map(str::to_owned).collect();
    let (mut allowing, mut deny_unknown, mut allow_unknown) = (nothing(), nothing(), nothing());
    for policy in documents.policies.iter().filter(|policy| policy.enforcement == Enforcement::Enforce) {
        let names = match (policy.effect, world.policy(policy, facts)) {
            (_, Truth::False) => continue,
            (Effect::Deny, Truth::True) => &mut denying,
            (Effect::Deny, Truth::Unknown) => &mut deny_unknown,
            (Effect::Allow, Truth::True) => &mut allowing,
            (Effect::Allow, Truth::Unknown) => &mut allow_unknown,
        };
        names.insert(policy.name.value.clone());
    }

    let (outcome, applying) = if !denying.is_empty() {
        (Outcome::Decided(Decision::Deny), denying)
    } else if !deny_unknown.is_empty() || world.account_unreadable(facts) {
        (settings.when_undetermined, nothing())
    } else if !allowing.is_empty() {
        (Outcome::Decided(Decision::Allow), allowing)
    } else if settings.default == Decision::Deny && !allow_unknown.is_empty() {
        (settings.when_undetermined, nothing())
    } else {
        (Outcome::Decided(settings.default), nothing())
    };
    NaiveVerdict { outcome, applying, unknown: deny_unknown.union(&allow_unknown).cloned().collect() }
}

/// The reply over time, by brute force (DESIGN 3.10): the greatest outcome that is at most the decision at every second
/// of `[now, now + its TTL]`, both ends included.
pub fn least_over(
    documents: &Documents,
    settings: &NaiveSettings,
    request: &Request,
    facts: NaiveFacts<'_>,
    group_names: &GroupNames,
    circumstances: &Circumstances,
    ttls: NaiveTtls,
) -> Outcome {
    let at = |second: i64| {
        let now = circumstances.now + second.seconds();
        let then = Circumstances { now, ..circumstances.clone() };
        decide(documents, settings, request, facts, group_names, &then).outcome
    };
    [
        (Outcome::Decided(Decision::Allow), ttls.authorized),
        (Outcome::Decided(Decision::NoOpinion), ttls.unauthorized),
        (Outcome::Decided(Decision::Deny), ttls.unauthorized),
    ]
    .into_iter()
    .find(|(reply, ttl)| (0..=*ttl).all(|second| *reply <= at(second)))
    .map_or(Outcome::Unavailable, |(reply, _)| reply)
}

fn is_exempt(exempt: &[(Pattern, Option<String>)], subject: &Subject) -> bool {
    exempt.iter().any(|(user, group)| {
        user.matches(&subject.user) && group.as_ref().is_none_or(|group| subject.groups.contains(group))
    })
}

/// That somebody is outside of the directory is configuration, not a fact with an age.
fn never_stale_outside(facts: NaiveFacts<'_>) -> NaiveFacts<'_> {
    match facts {
        NaiveFacts::Current(known) | NaiveFacts::Stale(known) if known.person == Person::Outside => {
            NaiveFacts::NotDirectoryUser
        }
        other => other,
    }
}

/// Everything that a policy's truth depends on, but for the facts.
struct World<'a> {
    vocabulary: &'a Vocabulary,
    settings: &'a NaiveSettings,
    request: &'a Request,
    group_names: &'a GroupNames,
    circumstances: &'a Circumstances,
}

impl World<'_> {
    /// A policy's truth, stale facts put in their place (DESIGN 3.9).
    fn policy(&self, policy: &AccessPolicy, facts: NaiveFacts<'_>) -> Truth {
        let NaiveFacts::Stale(old) = facts else { return self.policy_given(policy, facts) };
        let without = self.policy_given(policy, NaiveFacts::Unknown);
        if policy.effect == Effect::Allow || without != Truth::Unknown {
            return without;
        }
        match self.policy_given(policy, NaiveFacts::Current(old)) {
            Truth::True => Truth::True,
            Truth::False | Truth::Unknown => Truth::Unknown,
        }
    }

    /// A policy's truth (DESIGN 3.1). `facts` are not stale here.
    fn policy_given(&self, policy: &AccessPolicy, facts: NaiveFacts<'_>) -> Truth {
        let rules = policy
            .rules
            .iter()
            .any(|rule| rules::applies(self.vocabulary, policy.effect, &rule.value, &self.request.action));
        all([
            any(policy.subjects.iter().map(|term| self.subject(&term.value, facts))),
            known(rules),
            self.clusters(policy),
            known(is_in_force(policy.validity, self.circumstances.now)),
            self.conditions(&policy.when, facts),
            not(any(policy.unless.iter().map(|element| self.conditions(&element.value, facts)))),
            not(any(policy.except_subjects.iter().map(|term| self.subject(&term.value, facts)))),
        ])
    }

    fn clusters(&self, policy: &AccessPolicy) -> Truth {
        if policy.clusters.is_empty() {
            return Truth::True;
        }
        match &self.circumstances.cluster {
            None => Truth::Unknown,
            Some(cluster) => known(policy.clusters.iter().any(|pattern| pattern.value.matches(cluster))),
        }
    }

    fn subject(&self, term: &SubjectTerm, facts: NaiveFacts<'_>) -> Truth {
        let subject = &self.request.subject;
        match term {
            SubjectTerm::Everyone => Truth::True,
            SubjectTerm::User(user) => known(subject.user == *user),
            SubjectTerm::Group(group) => known(subject.groups.contains(group)),
            SubjectTerm::ServiceAccount { namespace, name } => {
                known(subject.user == format!("system:serviceaccount:{namespace}:{name}"))
            }
            SubjectTerm::AllOf(terms) => all(terms.iter().map(|term| self.subject(term, facts))),
            SubjectTerm::DirectoryGroup(group) => self.directory_group(group, facts),
        }
    }

    fn directory_group(&self, group: &GroupRef, facts: NaiveFacts<'_>) -> Truth {
        let facts = match facts {
            NaiveFacts::NotDirectoryUser => return Truth::False,
            NaiveFacts::Unknown => return Truth::Unknown,
            NaiveFacts::Current(facts) | NaiveFacts::Stale(facts) => facts,
        };
        match facts.person {
            Person::NotFound | Person::Outside => return Truth::False,
            Person::Ambiguous => return Truth::Unknown,
            Person::Found { .. } => {}
        }
        let complete = facts.partial.is_none();
        let listed = match group {
            GroupRef::Dn(dn) => facts
                .groups
                .iter()
                .any(|membership| membership.group.dn.as_ref().is_some_and(|own| own == dn)),
            GroupRef::Id(id) => facts.groups.iter().any(|Membership { group, .. }| {
                group.id == *id || group.sid.as_ref().is_some_and(|sid| sid == id)
            }),
            GroupRef::Name(name) => match self.group_names.names.get(name) {
                Some(Resolved::Group(id)) => facts.is_in(id),
                // Somebody who is in no group at all is in none of this name, whichever it may be.
                Some(Resolved::None | Resolved::Several) | None if complete && facts.groups.is_empty() => {
                    false
                }
                Some(Resolved::None | Resolved::Several) | None => return Truth::Unknown,
            },
        };
        if listed {
            Truth::True
        } else if complete {
            Truth::False
        } else {
            Truth::Unknown
        }
    }

    fn conditions(&self, conditions: &Conditions, facts: NaiveFacts<'_>) -> Truth {
        all([
            conditions.time.as_ref().map_or(Truth::True, |time| known(self.time(&time.value))),
            conditions.location.as_ref().map_or(Truth::True, |location| self.location(&location.value)),
            conditions
                .clearance
                .as_ref()
                .map_or(Truth::True, |clearance| self.clearance(&clearance.value, facts)),
            all(conditions.directory.iter().map(|condition| attribute(&condition.value, facts))),
        ])
    }

    /// A range belongs to the day on which it starts; the wall clock alone says whether it is within it, so that an hour
    /// that is repeated counts twice and one that is missing is skipped.
    fn time(&self, time: &TimeCondition) -> bool {
        let wall = time.time_zone.to_datetime(self.circumstances.now);
        let opens = |day: jiff::civil::Date| {
            let bit = 1_u8 << day.weekday().to_monday_zero_offset();
            let is_excepted = time
                .except_calendars
                .iter()
                .any(|calendar| self.vocabulary.calendars[&calendar.value].dates.contains(&day));
            time.days.0 & bit != 0 && !is_excepted
        };
        let within = |day: jiff::civil::Date, start: u16, end: u16| {
            let midnight = day.at(0, 0, 0, 0);
            midnight + i64::from(start).minutes() <= wall && wall < midnight + i64::from(end).minutes()
        };
        let ranges: Vec<(u16, u16)> = match time.hours.as_slice() {
            [] => vec![(0, 24 * 60)],
            hours => hours.iter().map(|hours| (hours.start, hours.end)).collect(),
        };
        let today = wall.date();
        [today - 1.day(), today]
            .into_iter()
            .any(|day| opens(day) && ranges.iter().any(|(start, end)| within(day, *start, *end)))
    }

    fn location(&self, location: &LocationCondition) -> Truth {
        let SourceAddress::Known(address) = self.circumstances.source else { return Truth::Unknown };
        let in_site = |site: &String| {
            self.vocabulary.sites[site].networks.iter().any(|network| network.contains(&address))
        };
        known(
            location.sites.iter().any(|site| in_site(&site.value))
                || location.networks.iter().any(|network| network.contains(&address)),
        )
    }

    /// The person must have exactly one level, and nothing that the vocabulary does not know.
    fn clearance(&self, condition: &ClearanceCondition, facts: NaiveFacts<'_>) -> Truth {
        let level_of = |name: &String| self.vocabulary.levels.iter().position(|level| level.value == *name);
        let is_compartment =
            |name: &String| self.vocabulary.compartments.iter().any(|known| known.value == *name);
        let values = match self.clearance_values(facts) {
            Ok(values) => values,
            Err(truth) => return truth,
        };
        let (levels, others): (Vec<&String>, Vec<&String>) =
            values.iter().partition(|value| level_of(value).is_some());
        let [level] = levels.as_slice() else { return Truth::Unknown };
        if !others.iter().all(|value| is_compartment(value)) {
            return Truth::Unknown;
        }
        let high_enough = condition
            .at_least
            .as_ref()
            .is_none_or(|least| level_of(level).unwrap() >= level_of(&least.value).unwrap());
        let has_all = condition.compartments.iter().all(|wanted| others.contains(&&wanted.value));
        known(high_enough && has_all)
    }

    /// The values that make the person's clearance, never empty; or what the condition is without any.
    fn clearance_values(&self, facts: NaiveFacts<'_>) -> Result<Vec<String>, Truth> {
        if let Some(key) = &self.settings.clearance_extra_key {
            let trusted = self
                .circumstances
                .cluster
                .as_ref()
                .is_some_and(|it| self.settings.trusted_clusters.contains(&**it));
            return match self.request.subject.extra.get(key) {
                Some(values) if trusted && !values.is_empty() => Ok(values.clone()),
                _ => Err(Truth::Unknown),
            };
        }
        let is_clearance = |(_, kind): &(&String, &AttributeType)| **kind == AttributeType::Clearance;
        let Some((attribute, _)) = self.vocabulary.attributes.iter().find(is_clearance) else {
            return Err(Truth::Unknown);
        };
        match attribute_values(attribute, facts)? {
            [] => Err(Truth::False),
            values => Ok(values.to_vec()),
        }
    }

    /// Whether a state of the account that counts is there and cannot be understood.
    fn account_unreadable(&self, facts: NaiveFacts<'_>) -> bool {
        let (NaiveFacts::Current(facts) | NaiveFacts::Stale(facts)) = facts else { return false };
        let (accounts, unreadable) = (self.settings.accounts, facts.account.unreadable);
        [
            (accounts.disabled, unreadable.disabled),
            (accounts.expired, unreadable.expires),
            (accounts.locked, unreadable.locked),
            (accounts.password_expired, unreadable.password_expired),
        ]
        .contains(&(OnAccount::Deny, true))
    }

    /// Which account states refuse (DESIGN 3.7).
    fn account_denies(&self, facts: NaiveFacts<'_>) -> Vec<&'static str> {
        let accounts = self.settings.accounts;
        let now = self.circumstances.now;
        let mut states: Vec<(OnAccount, bool, &'static str)> = Vec::new();
        if let NaiveFacts::Current(facts) | NaiveFacts::Stale(facts) = facts {
            let account = &facts.account;
            let expired = account.expires.is_some_and(|expires| expires <= now);
            let unlocked_again = account.locked_until.is_some_and(|until| until <= now);
            let found = matches!(facts.person, Person::Found { .. });
            states.extend([
                (accounts.disabled, found && account.disabled == Some(true), "account/disabled"),
                (accounts.expired, found && expired, "account/expired"),
                (accounts.locked, found && account.locked == Some(true) && !unlocked_again, "account/locked"),
                (
                    accounts.password_expired,
                    found && account.password_expired == Some(true),
                    "account/password-expired",
                ),
                (accounts.not_found, facts.person == Person::NotFound, "account/not-found"),
                (accounts.ambiguous, facts.person == Person::Ambiguous, "account/ambiguous"),
            ]);
        }
        let mut denies: Vec<&'static str> = states
            .into_iter()
            .filter(|(does, is_so, _)| *does == OnAccount::Deny && *is_so)
            .map(|(_, _, name)| name)
            .collect();
        let unreachable = matches!(facts, NaiveFacts::Stale(_) | NaiveFacts::Unknown);
        if unreachable && accounts.when_unreachable == OnUnreachable::Deny {
            denies.push("account/unreachable");
        }
        denies
    }
}

fn known(truth: bool) -> Truth {
    if truth { Truth::True } else { Truth::False }
}

fn all(truths: impl IntoIterator<Item = Truth>) -> Truth {
    truths.into_iter().min().unwrap_or(Truth::True)
}

fn any(truths: impl IntoIterator<Item = Truth>) -> Truth {
    truths.into_iter().max().unwrap_or(Truth::False)
}

fn not(truth: Truth) -> Truth {
    match truth {
        Truth::False => Truth::True,
        Truth::Unknown => Truth::Unknown,
        Truth::True => Truth::False,
    }
}

fn is_in_force(validity: Validity, now: Timestamp) -> bool {
    validity.not_before.is_none_or(|from| from <= now) && validity.not_after.is_none_or(|until| now < until)
}

fn attribute(condition: &AttributeCondition, facts: NaiveFacts<'_>) -> Truth {
    match attribute_values(&condition.attribute.value, facts) {
        Ok(values) => known(values.iter().any(|value| condition.any_of.contains(value))),
        Err(truth) => truth,
    }
}

/// The values of an attribute; none where it is known to be absent.
fn attribute_values<'a>(attribute: &str, facts: NaiveFacts<'a>) -> Result<&'a [String], Truth> {
    match facts {
        NaiveFacts::NotDirectoryUser => Ok(&[]),
        NaiveFacts::Unknown => Err(Truth::Unknown),
        NaiveFacts::Current(facts) | NaiveFacts::Stale(facts) => match facts.person {
            Person::NotFound | Person::Outside => Ok(&[]),
            Person::Ambiguous => Err(Truth::Unknown),
            Person::Found { .. } => match facts.attributes.get(attribute) {
                None => Ok(&[]),
                Some(Values::Known(values)) => Ok(values),
                Some(Values::Unreadable) => Err(Truth::Unknown),
            },
        },
    }
}
