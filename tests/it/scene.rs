//! Whole questions, written in few words: documents, request, facts and circumstances, with something sensible where
//! nothing is said. What the rows of the rule table and the generators are made of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bailiwick::document::{Span, Spanned};
use bailiwick::model::{
    AccountState, Action, Circumstances, Decision, Dn, EntityId, Facts, Group, GroupMembership, GroupNames,
    NonResourceAction, Outcome, Partial, Person, Request, Resolved, ResourceAction, SourceAddress, Subject,
    Values,
};
use bailiwick::policy::Pattern;
use bailiwick::policy::ast::{
    AccessPolicy, AttributeCondition, AttributeType, Calendar, ClearanceCondition, Conditions, Days,
    Documents, Effect, Enforcement, GroupRef, GroupResource, Hours, LocationCondition, Name,
    NamespacePattern, NonResourceRule, PathPattern, ResourcePattern, ResourceRule, Rule, Site, SubjectTerm,
    TimeCondition, Validity, Vocabulary,
};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::naive::{
    self, NaiveAccounts, NaiveFacts, NaiveSettings, NaiveTtls, NaiveVerdict, OnAccount, OnUnreachable,
};

/// Everything that a decision depends on.
#[derive(Debug, Clone)]
pub struct Scene {
    pub documents: Documents,
    pub settings: NaiveSettings,
    pub request: Request,
    pub facts: HeldFacts,
    pub group_names: GroupNames,
    pub circumstances: Circumstances,
}

/// What is known of the person, owned.
#[derive(Debug, Clone, PartialEq)]
pub enum HeldFacts {
    NotDirectoryUser,
    Current(Facts),
    Stale(Facts),
    Unknown,
}

/// A Monday morning, in winter: 10:00 in London.
pub const MONDAY_MORNING: &str = "2026-11-23T10:00:00Z";

impl Scene {
    /// Alice, whom the directory knows and who is in no group, gets a pod of the namespace `dev`; there are no policies.
    pub fn new() -> Self {
        Self {
            documents: Documents { policies: Vec::new(), vocabulary: vocabulary(), tests: Vec::new() },
            settings: settings(),
            request: ask("alice", "get pods ns=dev name=web-1"),
            facts: HeldFacts::Current(person(&[])),
            group_names: group_names(),
            circumstances: Circumstances {
                now: MONDAY_MORNING.parse().unwrap(),
                cluster: Some("prod-1".into()),
                source: SourceAddress::Known("10.1.2.3".parse().unwrap()),
            },
        }
    }

    pub fn verdict(&self) -> NaiveVerdict {
        naive::decide(
            &self.documents,
            &self.settings,
            &self.request,
            self.facts.lend(),
            &self.group_names,
            &self.circumstances,
        )
    }

    pub fn least_over(&self, ttls: NaiveTtls) -> Outcome {
        naive::least_over(
            &self.documents,
            &self.settings,
            &self.request,
            self.facts.lend(),
            &self.group_names,
            &self.circumstances,
            ttls,
        )
    }
}

impl HeldFacts {
    pub fn lend(&self) -> NaiveFacts<'_> {
        match self {
            Self::NotDirectoryUser => NaiveFacts::NotDirectoryUser,
            Self::Current(facts) => NaiveFacts::Current(facts),
            Self::Stale(facts) => NaiveFacts::Stale(facts),
            Self::Unknown => NaiveFacts::Unknown,
        }
    }
}

/// The defaults of the configuration, with `prod-1` trusted.
pub fn settings() -> NaiveSettings {
    NaiveSettings {
        default: Decision::NoOpinion,
        when_undetermined: Outcome::Decided(Decision::Deny),
        exempt: exempt_by_default(),
        clearance_extra_key: None,
        trusted_clusters: BTreeSet::from(["prod-1".to_owned()]),
        accounts: NaiveAccounts {
            disabled: OnAccount::Deny,
            expired: OnAccount::Deny,
            locked: OnAccount::Ignore,
            password_expired: OnAccount::Ignore,
            not_found: OnAccount::Ignore,
            ambiguous: OnAccount::Deny,
            when_unreachable: OnUnreachable::LastKnown,
        },
    }
}

/// DESIGN 3.5.
pub fn exempt_by_default() -> Vec<(Pattern, Option<String>)> {
    [
        ("system:apiserver", None),
        ("system:kube-controller-manager", None),
        ("system:kube-scheduler", None),
        ("system:node:*", Some("system:nodes")),
        ("system:serviceaccount:kube-system:*", Some("system:serviceaccounts:kube-system")),
    ]
    .map(|(user, group)| (Pattern::parse(user).unwrap(), group.map(str::to_owned)))
    .to_vec()
}

pub fn vocabulary() -> Vocabulary {
    let site = |network: &str, zone: &str| Site {
        networks: vec![network.parse().unwrap()],
        time_zone: Some(TimeZone::get(zone).unwrap()),
    };
    Vocabulary {
        levels: ["public", "internal", "secret", "top-secret"].map(|name| spanned(name.to_owned())).to_vec(),
        compartments: ["crypto", "nuclear"].map(|name| spanned(name.to_owned())).to_vec(),
        sites: BTreeMap::from([
            ("hq".to_owned(), site("10.1.0.0/16", "Europe/London")),
            ("branch".to_owned(), site("2001:db8::/32", "America/New_York")),
        ]),
        calendars: BTreeMap::from([(
            "holidays".to_owned(),
            Calendar {
                time_zone: Some(TimeZone::get("Europe/London").unwrap()),
                dates: BTreeSet::from(["2026-12-25".parse().unwrap(), "2026-10-25".parse().unwrap()]),
            },
        )]),
        attributes: BTreeMap::from([
            ("department".to_owned(), AttributeType::String),
            ("clearance".to_owned(), AttributeType::Clearance),
        ]),
        cluster_scoped: vec![GroupResource {
            resource: "widgets".to_owned(),
            group: "example.com".to_owned(),
        }],
    }
}

/// `twins` is the name of several groups, `ghost` of none, and `late` has not been resolved yet.
pub fn group_names() -> GroupNames {
    let mut names: std::collections::HashMap<_, _> = ["payments", "oncall", "risk", "staff"]
        .map(|name| (name.to_owned(), Resolved::Group(group_id(name))))
        .into();
    names.insert("twins".to_owned(), Resolved::Several);
    names.insert("ghost".to_owned(), Resolved::None);
    GroupNames { names, generation: 1 }
}

pub fn group_id(name: &str) -> EntityId {
    EntityId::new(&format!("id-of-{name}"))
}

pub fn group_dn(name: &str) -> Dn {
    Dn::parse(&format!("cn={name},ou=Groups,dc=example,dc=com")).unwrap()
}

/// The group of this name.
pub fn membership(name: &str, via: Option<usize>) -> GroupMembership {
    let (id, dn) = (group_id(name), Some(group_dn(name)));
    let sid = Some(EntityId::new(&format!("s-of-{name}")));
    let name = name.trim_end_matches("-2").into();
    GroupMembership {
        group: Arc::new(Group { id, sid, dn, name }),
        via: via.map(|index| u32::try_from(index).unwrap()),
    }
}

/// Somebody whom the directory has, with these groups, each the parent of the one before it.
pub fn person(groups: &[&str]) -> Facts {
    let found = Person::Found {
        id: EntityId::new("id-of-alice"),
        dn: Dn::parse("uid=alice,dc=example,dc=com").unwrap(),
    };
    let mut facts = Facts::without_entry(found, MONDAY_MORNING.parse().unwrap());
    facts.groups =
        groups.iter().enumerate().map(|(index, name)| membership(name, index.checked_sub(1))).collect();
    facts
}

pub fn partly(groups: &[&str]) -> Facts {
    Facts { partial: Some(Partial::Count), ..person(groups) }
}

pub fn nobody(person: Person) -> Facts {
    Facts::without_entry(person, MONDAY_MORNING.parse().unwrap())
}

pub fn with_attributes(facts: Facts, attributes: &[(&str, &[&str])]) -> Facts {
    let attributes = attributes
        .iter()
        .map(|(name, values)| {
            (*name, Values::Known(values.iter().map(|value| (*value).to_owned()).collect()))
        })
        .collect();
    Facts { attributes, ..facts }
}

pub fn with_account(facts: Facts, account: AccountState) -> Facts {
    Facts { account, ..facts }
}

/// A request, as in `get pods/exec group=apps ns=dev name=web-1` or `get /healthz`; `any-path` is the path `*`.
pub fn ask(user: &str, action: &str) -> Request {
    let mut words = action.split(' ');
    let verb = words.next().unwrap().to_owned();
    let what = words.next().unwrap();
    let subject = Subject {
        user: user.to_owned(),
        groups: vec!["system:authenticated".to_owned()],
        ..Subject::default()
    };
    if what.starts_with('/') || what == "any-path" {
        let what = if what == "any-path" { "*" } else { what };
        return Request {
            subject,
            action: Action::NonResource(NonResourceAction { verb, path: what.to_owned() }),
        };
    }
    let (resource, subresource) = what.split_once('/').unwrap_or((what, ""));
    let mut resource = ResourceAction {
        verb,
        version: "v1".to_owned(),
        resource: resource.to_owned(),
        subresource: subresource.to_owned(),
        ..ResourceAction::default()
    };
    for word in words {
        let (key, value) = word.split_once('=').unwrap();
        let field = match key {
            "group" => &mut resource.group,
            "ns" => &mut resource.namespace,
            "name" => &mut resource.name,
            other => panic!("no such part of a request: {other}"),
        };
        value.clone_into(field);
    }
    Request { subject, action: Action::Resource(resource) }
}

pub fn in_groups(mut request: Request, groups: &[&str]) -> Request {
    request.subject.groups.extend(groups.iter().map(|&group| group.to_owned()));
    request
}

pub fn with_extra(mut request: Request, key: &str, values: &[&str]) -> Request {
    request.subject.extra.insert(key.to_owned(), values.iter().map(|&value| value.to_owned()).collect());
    request
}

/// An enforced Allow for everyone under these rules; see [`rule`].
pub fn allow(name: &str, rules: &[&str]) -> AccessPolicy {
    policy(name, Effect::Allow, rules)
}

/// An enforced Deny for everyone under these rules; see [`rule`].
pub fn deny(name: &str, rules: &[&str]) -> AccessPolicy {
    policy(name, Effect::Deny, rules)
}

fn policy(name: &str, effect: Effect, rules: &[&str]) -> AccessPolicy {
    AccessPolicy {
        name: spanned(name.to_owned()),
        annotations: BTreeMap::new(),
        description: None,
        effect,
        enforcement: Enforcement::Enforce,
        clusters: Vec::new(),
        validity: Validity::default(),
        subjects: vec![spanned(SubjectTerm::Everyone)],
        except_subjects: Vec::new(),
        rules: rules.iter().map(|text| spanned(rule(text))).collect(),
        when: Conditions::default(),
        unless: Vec::new(),
        message: None,
    }
}

/// The parts of a policy that a row changes.
pub trait Writing: Sized {
    fn of(self, subjects: &[&str]) -> Self;
    fn except(self, subjects: &[&str]) -> Self;
    fn when(self, conditions: Conditions) -> Self;
    fn unless(self, elements: &[Conditions]) -> Self;
    fn clusters(self, patterns: &[&str]) -> Self;
    fn valid(self, not_before: Option<&str>, not_after: Option<&str>) -> Self;
    fn shadow(self) -> Self;
}

impl Writing for AccessPolicy {
    fn of(self, subjects: &[&str]) -> Self {
        Self { subjects: subjects.iter().map(|text| spanned(subject(text))).collect(), ..self }
    }

    fn except(self, subjects: &[&str]) -> Self {
        Self { except_subjects: subjects.iter().map(|text| spanned(subject(text))).collect(), ..self }
    }

    fn when(self, when: Conditions) -> Self {
        Self { when, ..self }
    }

    fn unless(self, elements: &[Conditions]) -> Self {
        Self { unless: elements.iter().cloned().map(spanned).collect(), ..self }
    }

    fn clusters(self, patterns: &[&str]) -> Self {
        Self {
            clusters: patterns.iter().map(|text| spanned(Pattern::parse(text).unwrap())).collect(),
            ..self
        }
    }

    fn valid(self, not_before: Option<&str>, not_after: Option<&str>) -> Self {
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        Self {
            validity: Validity { not_before: not_before.map(time), not_after: not_after.map(time) },
            ..self
        }
    }

    fn shadow(self) -> Self {
        Self { enforcement: Enforcement::Shadow, ..self }
    }
}

/// A subject, as in `dir:payments`, `dn:…`, `id:…`, `group:oncall`, `user:alice`, `sa:ci/deployer`, `everyone`, and
/// `dir:payments & group:oncall` for all of several.
pub fn subject(text: &str) -> SubjectTerm {
    if text.contains(" & ") {
        return SubjectTerm::AllOf(text.split(" & ").map(subject).collect());
    }
    match text.split_once(':').unwrap_or((text, "")) {
        ("everyone", _) => SubjectTerm::Everyone,
        ("dir", name) => SubjectTerm::DirectoryGroup(GroupRef::Name(name.to_owned())),
        ("dn", dn) => SubjectTerm::DirectoryGroup(GroupRef::Dn(Dn::parse(dn).unwrap())),
        ("id", id) => SubjectTerm::DirectoryGroup(GroupRef::Id(EntityId::new(id))),
        ("group", name) => SubjectTerm::Group(name.to_owned()),
        ("user", name) => SubjectTerm::User(name.to_owned()),
        ("sa", both) => {
            let (namespace, name) = both.split_once('/').unwrap();
            SubjectTerm::ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() }
        }
        _ => panic!("no such subject: {text}"),
    }
}

/// A rule, as in `get,list pods,pods/exec group=apps,* ns=dev-*, name=web-*` (an empty element of `ns` is cluster-wide;
/// the core group where none is named) or `get /healthz,/api/*`; `any-path` is the path `*`.
pub fn rule(text: &str) -> Rule {
    let names = |list: &str| -> Vec<Name> {
        list.split(',')
            .map(|name| if name == "*" { Name::Any } else { Name::Exact(name.to_owned()) })
            .collect()
    };
    let mut words = text.split(' ');
    let verbs = names(words.next().unwrap());
    let what = words.next().unwrap();
    if what.starts_with('/') || what == "any-path" {
        return Rule::NonResource(NonResourceRule { paths: what.split(',').map(path).collect(), verbs });
    }
    let mut rule = ResourceRule {
        api_groups: vec![Name::Exact(String::new())],
        resources: what.split(',').map(resource).collect(),
        resource_names: Vec::new(),
        namespaces: None,
        verbs,
    };
    for word in words {
        match word.split_once('=').unwrap() {
            ("group", list) => rule.api_groups = names(list),
            ("ns", list) => rule.namespaces = Some(list.split(',').map(namespace).collect()),
            ("name", list) => {
                rule.resource_names = list.split(',').map(|name| Pattern::parse(name).unwrap()).collect();
            }
            (other, _) => panic!("no such part of a rule: {other}"),
        }
    }
    Rule::Resource(rule)
}

fn path(text: &str) -> PathPattern {
    match text.strip_suffix('*') {
        _ if text == "any-path" => PathPattern::Any,
        Some(prefix) => PathPattern::Prefix(prefix.to_owned()),
        None => PathPattern::Exact(text.to_owned()),
    }
}

fn resource(text: &str) -> ResourcePattern {
    match text.split_once('/') {
        None if text == "*" => ResourcePattern::Any,
        None => ResourcePattern::Resource(text.to_owned()),
        Some(("*", subresource)) => ResourcePattern::AnyWithSubresource(subresource.to_owned()),
        Some((resource, "*")) => ResourcePattern::AnySubresource(resource.to_owned()),
        Some((resource, subresource)) => {
            ResourcePattern::Subresource(resource.to_owned(), subresource.to_owned())
        }
    }
}

fn namespace(text: &str) -> NamespacePattern {
    if text.is_empty() {
        NamespacePattern::ClusterWide
    } else {
        NamespacePattern::Named(Pattern::parse(text).unwrap())
    }
}

/// Hours (in minutes) on days (bit 0 is Monday) in a zone, but on no holiday where `holidays`.
pub fn hours(days: u8, ranges: &[(u16, u16)], zone: &str, holidays: bool) -> Conditions {
    let time = TimeCondition {
        days: Days(days),
        hours: ranges.iter().map(|&(start, end)| Hours { start, end }).collect(),
        time_zone: TimeZone::get(zone).unwrap(),
        except_calendars: if holidays { vec![spanned("holidays".to_owned())] } else { Vec::new() },
    };
    Conditions { time: Some(spanned(time)), ..Conditions::default() }
}

pub fn at_site(site: &str) -> Conditions {
    let location = LocationCondition { sites: vec![spanned(site.to_owned())], networks: Vec::new() };
    Conditions { location: Some(spanned(location)), ..Conditions::default() }
}

pub fn from_network(network: &str) -> Conditions {
    let location = LocationCondition { sites: Vec::new(), networks: vec![network.parse().unwrap()] };
    Conditions { location: Some(spanned(location)), ..Conditions::default() }
}

pub fn cleared(at_least: Option<&str>, compartments: &[&str]) -> Conditions {
    let clearance = ClearanceCondition {
        at_least: at_least.map(|level| spanned(level.to_owned())),
        compartments: compartments.iter().map(|&name| spanned(name.to_owned())).collect(),
    };
    Conditions { clearance: Some(spanned(clearance)), ..Conditions::default() }
}

pub fn in_department(any_of: &[&str]) -> Conditions {
    let condition = AttributeCondition {
        attribute: spanned("department".to_owned()),
        any_of: any_of.iter().map(|&value| value.to_owned()).collect(),
    };
    Conditions { directory: vec![spanned(condition)], ..Conditions::default() }
}

/// A value that stands nowhere in particular.
pub fn spanned<T>(value: T) -> Spanned<T> {
    Spanned::new(value, Span::default())
}
