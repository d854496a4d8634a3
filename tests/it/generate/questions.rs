//! Random settings, requests, facts and circumstances.

use std::collections::BTreeMap;

use bailiwick::model::{
    AccountState, Action, Circumstances, Decision, Facts, GroupMembership, GroupNames, NonResourceAction,
    Outcome, Partial, Person, Request, Resolved, ResourceAction, SourceAddress, Subject, UnreadableState,
    Values,
};
use bailiwick::policy::Pattern;
use jiff::{Timestamp, ToSpan};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::naive::{NaiveAccounts, NaiveSettings, OnAccount, OnUnreachable};
use crate::scene::{HeldFacts, exempt_by_default, group_id, membership, nobody, person};

/// The first is empty.
pub(super) const USERS: &[&str] =
    &["", "alice", "bob", "system:serviceaccount:ci:deployer", "system:node:n1"];
pub(super) const ASSERTED_GROUPS: &[&str] = &["oncall", "break-glass", "system:nodes"];
/// What groups of the directory are called.
pub(super) const DIRECTORY_GROUPS: &[&str] = &["payments", "oncall", "risk", "staff", "twins"];
/// The names of groups that policies use, some of which are no group's or several groups'.
pub(super) const GROUP_NAMES: &[&str] = &["payments", "oncall", "risk", "twins", "ghost", "late"];
pub(super) const API_GROUPS: &[&str] = &["", "example.com", "authentication.k8s.io"];
pub(super) const RESOURCES: &[&str] = &["pods", "nodes", "namespaces", "widgets", "userextras"];
/// The first is empty.
pub(super) const SUBRESOURCES: &[&str] = &["", "exec", "proxy", "log", "scale"];
pub(super) const VERBS: &[&str] = &["get", "list", "watch", "create", "deletecollection", "impersonate"];

const CLEARANCE_KEY: &str = "example.com/clearance";
const CLEARANCES: &[&str] =
    &["public", "internal", "secret", "top-secret", "crypto", "nuclear", "Secret", "other"];

pub(super) fn settings() -> BoxedStrategy<NaiveSettings> {
    let on = || prop_oneof![Just(OnAccount::Deny), Just(OnAccount::Ignore)];
    let ignored = || prop_oneof![1 => Just(OnAccount::Deny), 3 => Just(OnAccount::Ignore)];
    let unreachable = prop_oneof![5 => Just(OnUnreachable::LastKnown), 1 => Just(OnUnreachable::Deny)];
    let accounts = (on(), on(), on(), on(), ignored(), ignored(), unreachable).prop_map(
        |(disabled, expired, locked, password_expired, not_found, ambiguous, when_unreachable)| {
            NaiveAccounts {
                disabled,
                expired,
                locked,
                password_expired,
                not_found,
                ambiguous,
                when_unreachable,
            }
        },
    );
    let exempt = prop_oneof![
        4 => Just(exempt_by_default()),
        1 => Just(Vec::new()),
        1 => Just(vec![(Pattern::parse("al*").unwrap(), Some("break-glass".to_owned()))]),
    ];
    (
        prop_oneof![3 => Just(Decision::NoOpinion), 1 => Just(Decision::Deny)],
        prop_oneof![Just(Outcome::Decided(Decision::Deny)), Just(Outcome::Unavailable)],
        exempt,
        prop_oneof![3 => Just(None), 1 => Just(Some(CLEARANCE_KEY.to_owned()))],
        subsequence(vec!["prod-1", "dev-1"], 0..=2),
        accounts,
    )
        .prop_map(|(default, when_undetermined, exempt, clearance_extra_key, trusted, accounts)| {
            NaiveSettings {
                default,
                when_undetermined,
                exempt,
                clearance_extra_key,
                trusted_clusters: trusted.into_iter().map(str::to_owned).collect(),
                accounts,
            }
        })
        .boxed()
}

pub(super) fn request() -> BoxedStrategy<Request> {
    let extra = prop_oneof![
        1 => Just(BTreeMap::new()),
        2 => clearance_values().prop_map(|values| BTreeMap::from([(CLEARANCE_KEY.to_owned(), values)])),
    ];
    let subject =
        (select(USERS), subsequence(ASSERTED_GROUPS, 0..=2), extra).prop_map(|(user, groups, extra)| {
            Subject {
                user: user.to_owned(),
                uid: String::new(),
                groups: groups.into_iter().map(str::to_owned).collect(),
                extra,
            }
        });
    let action = prop_oneof![
        9 => resource_action().prop_map(Action::Resource),
        1 => (or_star(VERBS), select(vec!["/healthz", "/api", "/api/v1", "/", "", "*", "//api"])).prop_map(
            |(verb, path)| Action::NonResource(NonResourceAction { verb, path: path.to_owned() })
        ),
    ];
    (subject, action).prop_map(|(subject, action)| Request { subject, action }).boxed()
}

fn resource_action() -> BoxedStrategy<ResourceAction> {
    let namespace = prop_oneof![
        2 => Just(""),
        6 => select(vec!["dev", "prod", "prod-1", "kube-system"]),
        1 => Just("*"),
    ];
    let name = prop_oneof![3 => Just(""), 6 => select(vec!["web-1", "web-2", "db-1", "dev"]), 1 => Just("*")];
    let subresource = prop_oneof![3 => Just(String::new()), 2 => or_star(SUBRESOURCES)];
    (or_star(VERBS), or_star(API_GROUPS), or_star(RESOURCES), subresource, namespace, name)
        .prop_map(|(verb, group, resource, subresource, namespace, name)| ResourceAction {
            verb,
            group,
            version: "v1".to_owned(),
            resource,
            subresource,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..ResourceAction::default()
        })
        .boxed()
}

/// One of these, or a request-side `*`.
fn or_star(universe: &'static [&'static str]) -> BoxedStrategy<String> {
    prop_oneof![10 => select(universe), 1 => Just("*")].prop_map(str::to_owned).boxed()
}

pub(super) fn facts(now: Timestamp) -> BoxedStrategy<HeldFacts> {
    let person = || {
        prop_oneof![
            8 => found(now),
            1 => Just(nobody(Person::NotFound)),
            1 => Just(nobody(Person::Ambiguous)),
        ]
    };
    prop_oneof![
        6 => person().prop_map(HeldFacts::Current),
        2 => person().prop_map(HeldFacts::Stale),
        1 => Just(HeldFacts::NotDirectoryUser),
        1 => Just(HeldFacts::Unknown),
    ]
    .boxed()
}

/// Somebody whom the directory has, with nested groups, of which two may have one name.
fn found(now: Timestamp) -> BoxedStrategy<Facts> {
    let partial =
        prop_oneof![6 => Just(None), 1 => Just(Some(Partial::Count)), 1 => Just(Some(Partial::Depth))];
    let ids = vec!["payments", "oncall", "risk", "staff", "twins", "twins-2"];
    let groups = (subsequence(ids, 0..=4), prop::collection::vec(prop::option::of(0_usize..4), 4)).prop_map(
        |(ids, vias)| -> Vec<GroupMembership> {
            let membership = |(index, (id, via)): (usize, (&str, Option<usize>))| {
                membership(id, via.filter(|&via| via < index))
            };
            ids.into_iter().zip(vias).enumerate().map(membership).collect()
        },
    );
    let department = prop_oneof![
        5 => Just(Vec::new()),
        15 => subsequence(vec!["payments", "risk", "sales"], 1..=2),
        1 => Just(vec!["unreadable"]),
    ];
    let attributes = (department, clearance_values()).prop_map(|(department, clearance)| {
        let department = department.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let attributes = [("department", department), ("clearance", clearance)];
        let read = |values: Vec<String>| {
            if values == ["unreadable"] { Values::Unreadable } else { Values::Known(values.into()) }
        };
        let held = attributes.into_iter().filter(|(_, values)| !values.is_empty());
        held.map(|(name, values)| (name, read(values))).collect()
    });
    (groups, partial, attributes, account(now))
        .prop_map(|(groups, partial, attributes, account)| Facts {
            groups: groups.into_iter().collect(),
            partial,
            attributes,
            account,
            ..person(&[])
        })
        .boxed()
}

/// None, one level, a level and compartments, or something that is no clearance.
fn clearance_values() -> BoxedStrategy<Vec<String>> {
    let owned = |values: Vec<&str>| values.into_iter().map(str::to_owned).collect::<Vec<_>>();
    prop_oneof![
        2 => Just(Vec::new()),
        6 => select(&CLEARANCES[..4]).prop_map(|level| vec![level.to_owned()]),
        6 => (select(&CLEARANCES[..4]), subsequence(&CLEARANCES[4..6], 1..=2)).prop_map(move |(level, mut rest)| {
            rest.push(level);
            owned(rest)
        }),
        4 => subsequence(CLEARANCES, 1..=3).prop_map(owned),
        1 => Just(vec!["unreadable".to_owned()]),
    ].boxed()
}

/// An account that is mostly in order, and otherwise about to change, or just has.
pub(super) fn account(now: Timestamp) -> BoxedStrategy<AccountState> {
    let sometimes = || prop_oneof![4 => Just(None), 1 => Just(Some(false)), 1 => Just(Some(true))];
    let around = move || {
        let instant = select(vec![-86_400_i64, -1, 0, 1, 29, 30, 31, 300, 301, 86_400]);
        prop_oneof![2 => Just(None), 1 => instant.prop_map(move |offset| Some(now + offset.seconds()))]
    };
    let seldom = || prop::bool::weighted(0.05);
    let unreadable =
        (seldom(), seldom(), seldom(), seldom()).prop_map(|(disabled, locked, expires, password_expired)| {
            UnreadableState { disabled, locked, expires, password_expired }
        });
    let any = (sometimes(), sometimes(), around(), around(), sometimes(), unreadable).prop_map(
        |(disabled, locked, locked_until, expires, password_expired, unreadable)| AccountState {
            disabled,
            locked,
            locked_until,
            expires,
            password_expired,
            unreadable,
        },
    );
    prop_oneof![6 => Just(AccountState::default()), 1 => any].boxed()
}

/// Each name resolves to its group, to another, to none or to several, or has not been resolved yet.
pub(super) fn group_names() -> BoxedStrategy<GroupNames> {
    let resolved = prop_oneof![
        8 => Just(Some(None)),
        1 => select(DIRECTORY_GROUPS).prop_map(|name| Some(Some(Resolved::Group(group_id(name))))),
        1 => Just(Some(Some(Resolved::None))),
        1 => Just(Some(Some(Resolved::Several))),
        1 => Just(None),
    ];
    prop::collection::vec(resolved, GROUP_NAMES.len())
        .prop_map(|all| {
            let own = |name: &str| Resolved::Group(group_id(name));
            let names = GROUP_NAMES
                .iter()
                .zip(all)
                .filter_map(|(name, other)| Some(((*name).to_owned(), other?.unwrap_or_else(|| own(name)))))
                .collect();
            GroupNames { names, generation: 1 }
        })
        .boxed()
}

pub(super) fn circumstances(now: Timestamp) -> BoxedStrategy<Circumstances> {
    let address = select(vec!["10.1.2.3", "10.2.0.1", "2001:db8::1", "192.0.2.7"]);
    let source = prop_oneof![
        6 => address.prop_map(|address| SourceAddress::Known(address.parse().unwrap())),
        1 => select(vec![
            SourceAddress::Missing,
            SourceAddress::Several,
            SourceAddress::Malformed,
            SourceAddress::Untrusted,
        ]),
    ];
    let cluster = prop_oneof![1 => Just(None), 4 => Just(Some("prod-1")), 2 => Just(Some("dev-1"))];
    (cluster, source)
        .prop_map(move |(cluster, source)| Circumstances { now, cluster: cluster.map(Into::into), source })
        .boxed()
}
