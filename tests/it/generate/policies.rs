//! Random policies.

use bailiwick::policy::Pattern;
use bailiwick::policy::ast::{
    AccessPolicy, AttributeCondition, ClearanceCondition, Conditions, Days, Effect, Enforcement, GroupRef,
    Hours, LocationCondition, Name, NamespacePattern, NonResourceRule, PathPattern, ResourcePattern,
    ResourceRule, Rule, SubjectTerm, TimeCondition, Validity,
};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::questions::{
    API_GROUPS, ASSERTED_GROUPS, DIRECTORY_GROUPS, GROUP_NAMES, RESOURCES, SUBRESOURCES, USERS, VERBS,
};
use crate::scene::{group_dn, group_id, spanned};

/// A policy of any kind; its name is its own to be set.
pub fn policy(now: Timestamp) -> BoxedStrategy<AccessPolicy> {
    (
        prop_oneof![3 => Just(Effect::Allow), 2 => Just(Effect::Deny)],
        prop_oneof![6 => Just(Enforcement::Enforce), 1 => Just(Enforcement::Shadow)],
        seldom(prop::collection::vec(pattern(&["prod-*", "prod-1", "dev-1", "*"]), 1..=2)),
        validity(now),
        prop::collection::vec(term(), 1..=2),
        seldom(prop::collection::vec(term(), 1..=2)),
        prop::collection::vec(rule(), 1..=3),
        prop_oneof![3 => Just(Conditions::default()), 2 => conditions(now)],
        prop_oneof![4 => Just(Vec::new()), 1 => prop::collection::vec(conditions(now), 1..=2)],
        seldom(Just(vec!["ask in chat".to_owned()])),
    )
        .prop_map(
            |(effect, enforcement, clusters, validity, subjects, except, rules, when, unless, message)| {
                let mut policy = crate::scene::allow("unnamed", &[]);
                policy.effect = effect;
                policy.enforcement = enforcement;
                policy.clusters = clusters.into_iter().map(spanned).collect();
                policy.validity = validity;
                policy.subjects = subjects.into_iter().map(spanned).collect();
                policy.except_subjects = except.into_iter().map(spanned).collect();
                policy.rules = rules.into_iter().map(spanned).collect();
                policy.when = when;
                policy.unless = unless.into_iter().map(spanned).collect();
                policy.message = message.into_iter().next();
                policy
            },
        )
        .boxed()
}

/// A policy for everyone on pods that depends on little but time.
pub fn timely_policy(now: Timestamp) -> BoxedStrategy<AccessPolicy> {
    let hours =
        || time(now).prop_map(|time| Conditions { time: Some(spanned(time)), ..Conditions::default() });
    (
        prop_oneof![2 => Just(Effect::Allow), 1 => Just(Effect::Deny)],
        validity(now),
        prop_oneof![1 => Just(Conditions::default()), 3 => hours()],
        prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(hours(), 1..=2)],
        prop_oneof![4 => Just("everyone"), 1 => Just("dir:payments"), 1 => Just("dir:late")],
    )
        .prop_map(|(effect, validity, when, unless, subject)| {
            let mut policy = crate::scene::allow("unnamed", &["* pods"]);
            policy.effect = effect;
            policy.validity = validity;
            policy.when = when;
            policy.unless = unless.into_iter().map(spanned).collect();
            policy.subjects = vec![spanned(crate::scene::subject(subject))];
            policy
        })
        .boxed()
}

/// Nothing, three times out of four.
fn seldom<T: Clone + std::fmt::Debug>(
    strategy: impl Strategy<Value = Vec<T>>,
) -> impl Strategy<Value = Vec<T>> {
    prop_oneof![3 => Just(Vec::new()), 1 => strategy]
}

fn validity(now: Timestamp) -> BoxedStrategy<Validity> {
    let around = || select(vec![-400_000_i64, -300, -1, 0, 1, 2, 29, 30, 31, 299, 300, 301, 400_000]);
    let instant = move |offset: i64| now + offset.seconds();
    prop_oneof![
        4 => Just(Validity::default()),
        1 => around().prop_map(move |at| Validity { not_before: Some(instant(at)), not_after: None }),
        1 => around().prop_map(move |at| Validity { not_before: None, not_after: Some(instant(at)) }),
        1 => (around(), 1_i64..400).prop_map(move |(from, life)| Validity {
            not_before: Some(instant(from)),
            not_after: Some(instant(from + life)),
        }),
    ]
    .boxed()
}

fn term() -> BoxedStrategy<SubjectTerm> {
    prop_oneof![6 => leaf(), 1 => prop::collection::vec(leaf(), 1..=3).prop_map(SubjectTerm::AllOf)].boxed()
}

fn leaf() -> BoxedStrategy<SubjectTerm> {
    let group = prop_oneof![
        2 => select(GROUP_NAMES).prop_map(|name| GroupRef::Name(name.to_owned())),
        1 => select(DIRECTORY_GROUPS).prop_map(|name| GroupRef::Dn(group_dn(&name.to_uppercase()))),
        1 => select(DIRECTORY_GROUPS).prop_map(|name| GroupRef::Id(group_id(name))),
    ];
    prop_oneof![
        4 => group.prop_map(SubjectTerm::DirectoryGroup),
        2 => select(ASSERTED_GROUPS).prop_map(|name| SubjectTerm::Group(name.to_owned())),
        2 => select(&USERS[1..]).prop_map(|name| SubjectTerm::User(name.to_owned())),
        1 => Just(SubjectTerm::ServiceAccount { namespace: "ci".to_owned(), name: "deployer".to_owned() }),
        3 => Just(SubjectTerm::Everyone),
    ]
    .boxed()
}

fn rule() -> BoxedStrategy<Rule> {
    prop_oneof![
        9 => resource_rule().prop_map(Rule::Resource),
        1 => (prop::collection::vec(path(), 1..=2), names(VERBS)).prop_map(|(paths, verbs)| {
            Rule::NonResource(NonResourceRule { paths, verbs })
        }),
    ]
    .boxed()
}

fn resource_rule() -> BoxedStrategy<ResourceRule> {
    let namespace = || {
        prop_oneof![
            1 => Just(NamespacePattern::ClusterWide),
            4 => pattern(&["*", "dev", "prod", "pr*", "*-1", "kube-*"]).prop_map(NamespacePattern::Named),
        ]
    };
    (
        names(API_GROUPS),
        prop::collection::vec(resource(), 1..=2),
        seldom(prop::collection::vec(pattern(&["*", "web-*", "web-1", "*-1", "dev", "w*b*1"]), 1..=2)),
        prop_oneof![2 => Just(None), 1 => prop::collection::vec(namespace(), 1..=2).prop_map(Some)],
        names(VERBS),
    )
        .prop_map(|(api_groups, resources, resource_names, namespaces, verbs)| ResourceRule {
            api_groups,
            resources,
            resource_names,
            namespaces,
            verbs,
        })
        .boxed()
}

fn names(universe: &'static [&'static str]) -> impl Strategy<Value = Vec<Name>> {
    prop_oneof![
        1 => Just(vec![Name::Any]),
        2 => subsequence(universe, universe.len() / 2..=universe.len())
            .prop_map(|names| names.into_iter().map(|name| Name::Exact(name.to_owned())).collect()),
    ]
}

fn resource() -> BoxedStrategy<ResourcePattern> {
    let sub = || select(&SUBRESOURCES[1..]).prop_map(str::to_owned);
    let resource = || select(RESOURCES).prop_map(str::to_owned);
    prop_oneof![
        5 => Just(ResourcePattern::Any),
        4 => resource().prop_map(ResourcePattern::Resource),
        3 => (resource(), sub()).prop_map(|(resource, sub)| ResourcePattern::Subresource(resource, sub)),
        1 => resource().prop_map(ResourcePattern::AnySubresource),
        1 => sub().prop_map(ResourcePattern::AnyWithSubresource),
    ]
    .boxed()
}

fn path() -> impl Strategy<Value = PathPattern> {
    prop_oneof![
        Just(PathPattern::Any),
        select(vec!["/healthz", "/api"]).prop_map(|path| PathPattern::Exact(path.to_owned())),
        select(vec!["/", "/api/", "/he"]).prop_map(|path| PathPattern::Prefix(path.to_owned())),
    ]
}

fn pattern(texts: &'static [&'static str]) -> impl Strategy<Value = Pattern> {
    select(texts).prop_map(|text| Pattern::parse(text).unwrap())
}

/// At least one condition.
fn conditions(now: Timestamp) -> BoxedStrategy<Conditions> {
    prop_oneof![
        6 => a_condition(now),
        1 => (a_condition(now), a_condition(now)).prop_map(|(one, other)| Conditions {
            time: one.time.or(other.time),
            location: one.location.or(other.location),
            clearance: one.clearance.or(other.clearance),
            directory: if one.directory.is_empty() { other.directory } else { one.directory },
        }),
    ]
    .boxed()
}

fn a_condition(now: Timestamp) -> BoxedStrategy<Conditions> {
    prop_oneof![
        3 => time(now).prop_map(|time| Conditions { time: Some(spanned(time)), ..Conditions::default() }),
        1 => location().prop_map(|location| Conditions { location: Some(spanned(location)), ..Conditions::default() }),
        2 => clearance().prop_map(|it| Conditions { clearance: Some(spanned(it)), ..Conditions::default() }),
        1 => attribute().prop_map(|it| Conditions { directory: vec![spanned(it)], ..Conditions::default() }),
    ].boxed()
}

fn time(now: Timestamp) -> BoxedStrategy<TimeCondition> {
    let zones =
        select(vec!["Europe/London", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"]);
    let days = prop_oneof![2 => Just(Days(0x7f)), 1 => Just(Days(0x1f)), 1 => (1_u8..=0x7f).prop_map(Days)];
    zones
        .prop_flat_map(move |zone| {
            let time_zone = TimeZone::get(zone).unwrap();
            let calendars = seldom(Just(vec![spanned("holidays".to_owned())]));
            let hours = prop::collection::vec(range(now, &time_zone), 0..=3);
            (days.clone(), hours, calendars).prop_map(move |(days, hours, except_calendars)| TimeCondition {
                days,
                hours,
                time_zone: time_zone.clone(),
                except_calendars,
            })
        })
        .boxed()
}

/// A range shorter than a day, which may run over midnight, on half hours or with an edge at or beside the minute that
/// the clock of the zone shows now; or just one whole day.
fn range(now: Timestamp, zone: &TimeZone) -> BoxedStrategy<Hours> {
    let wall = zone.to_datetime(now).time();
    let minute = u16::try_from(i32::from(wall.hour()) * 60 + i32::from(wall.minute())).unwrap();
    let edge = (0_u16..=2).prop_map(move |later| (minute + later + 1439) % 1440);
    prop_oneof![
        3 => (0_u16..48, 1_u16..48).prop_map(|(start, length)| (start * 30, length * 30)),
        1 => (0_u16..8, 1_u16..4).prop_map(|(start, length)| (start * 30, length * 30)),
        3 => (edge.clone(), 1_u16..1440),
        3 => (edge, 1_u16..1440).prop_map(|(end, length)| ((end + 1440 - length) % 1440, length)),
        1 => Just((0, 1440)),
    ]
    .prop_map(|(start, length)| Hours { start, end: start + length })
    .boxed()
}

fn location() -> BoxedStrategy<LocationCondition> {
    let site = select(vec!["hq", "branch"]).prop_map(|site| spanned(site.to_owned()));
    let network = select(vec!["10.0.0.0/8", "10.1.2.3/32", "2001:db8::/64", "0.0.0.0/0"])
        .prop_map(|network| network.parse().unwrap());
    prop_oneof![
        site.clone().prop_map(|site| LocationCondition { sites: vec![site], networks: Vec::new() }),
        network.clone().prop_map(|network| LocationCondition { sites: Vec::new(), networks: vec![network] }),
        (site, network)
            .prop_map(|(site, network)| LocationCondition { sites: vec![site], networks: vec![network] }),
    ]
    .boxed()
}

fn clearance() -> BoxedStrategy<ClearanceCondition> {
    let level = select(vec!["public", "internal", "secret", "top-secret"])
        .prop_map(|level| spanned(level.to_owned()));
    let compartments = |least: usize| {
        subsequence(vec!["crypto", "nuclear"], least..=2)
            .prop_map(|names| names.into_iter().map(|name| spanned(name.to_owned())).collect::<Vec<_>>())
    };
    prop_oneof![
        3 => (level, compartments(0)).prop_map(|(level, compartments)| ClearanceCondition {
            at_least: Some(level),
            compartments,
        }),
        1 => compartments(1).prop_map(|compartments| ClearanceCondition { at_least: None, compartments }),
    ]
    .boxed()
}

fn attribute() -> BoxedStrategy<AttributeCondition> {
    subsequence(vec!["payments", "risk", "Risk"], 1..=2)
        .prop_map(|values| AttributeCondition {
            attribute: spanned("department".to_owned()),
            any_of: values.into_iter().map(str::to_owned).collect(),
        })
        .boxed()
}
