//! Converted policies decide as the original does: held against evaluators of RBAC and ABAC that were written from
//! Kubernetes' own semantics, over random corpora with all their traps and random requests.

mod abac;
mod rbac;

use std::collections::BTreeSet;
use std::sync::Arc;

use bailiwick::convert::Converted;
use bailiwick::document::{Diagnostics, Source};
use bailiwick::eval::{self, Bound, Off, View};
use bailiwick::model::{
    Action, Circumstances, Decision, GroupNames, NonResourceAction, Outcome, Request, ResourceAction,
    SourceAddress, Subject,
};
use bailiwick::policy::{PolicySet, Settings};

use crate::scene::MONDAY_MORNING;

/// How many requests each corpus is asked.
const REQUESTS: usize = 100_000;

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014): the same each time.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    /// Some of these, perhaps one of them twice.
    pub fn some(&mut self, from: &[&str], least: usize, most: usize) -> Vec<String> {
        let count = least + self.below(most - least + 1);
        (0..count).map(|_| self.pick(from).to_owned()).collect()
    }
}

const USERS: &[&str] =
    &["alice", "bob", "", "system:serviceaccount:dev:robot", "system:serviceaccount:prod:robot", "*"];
const GROUPS: &[&str] =
    &["devs", "ops", "system:authenticated", "system:unauthenticated", "system:serviceaccounts", "*"];
const VERBS: &[&str] =
    &["get", "list", "watch", "create", "update", "delete", "deletecollection", "impersonate", "*"];
const API_GROUPS: &[&str] = &["", "apps", "rbac.authorization.k8s.io", "*"];
const RESOURCES: &[&str] = &["pods", "secrets", "deployments", "nodes", "podss", "*"];
const SUBRESOURCES: &[&str] = &["", "", "", "exec", "log", "scale", "status", "*"];
const NAMESPACES: &[&str] = &["", "dev", "prod", "dev-1", "*"];
const NAMES: &[&str] = &["", "web", "web-1", "web-*", "*", r"web-\*"];
const PATHS: &[&str] =
    &["/", "/healthz", "/healthz/", "/healthz/etcd", "/healthzz", "/metrics", "/api/*", "/*", "*"];

/// A request out of a small universe, so that much of it is spoken of.
fn request(random: &mut Random) -> Request {
    let subject = Subject {
        user: random.pick(USERS).to_owned(),
        groups: random.some(GROUPS, 0, 3),
        ..Subject::default()
    };
    let verb = random.pick(VERBS).to_owned();
    let action = if random.one_in(5) {
        Action::NonResource(NonResourceAction { verb, path: random.pick(PATHS).to_owned() })
    } else {
        Action::Resource(ResourceAction {
            verb,
            group: random.pick(API_GROUPS).to_owned(),
            resource: random.pick(RESOURCES).to_owned(),
            subresource: random.pick(SUBRESOURCES).to_owned(),
            namespace: random.pick(NAMESPACES).to_owned(),
            name: random.pick(NAMES).to_owned(),
            ..ResourceAction::default()
        })
    };
    Request { subject, action }
}

/// Converted policies, without exemptions, guards or a directory.
struct Policies(Bound);

impl Policies {
    fn of(converted: &Converted) -> Self {
        let sources = [Source::new("converted.yaml", converted.yaml.as_bytes().to_vec())];
        let settings = Settings { exempt: Vec::new(), guards: BTreeSet::new(), ..Settings::default() };
        let set = PolicySet::build(&sources, &settings)
            .unwrap_or_else(|diagnostics| panic!("{diagnostics}\n{}", converted.yaml));
        assert_eq!(set.policies().len(), converted.policies);
        Self(Bound::new(Arc::new(set), &GroupNames::default(), 1))
    }

    fn allows(&self, request: &Request) -> bool {
        let circumstances = Circumstances {
            now: MONDAY_MORNING.parse().unwrap(),
            cluster: None,
            source: SourceAddress::Missing,
        };
        let settings = eval::Settings::default();
        let decided = eval::decide(&self.0, &settings, request, View::Outside, &circumstances, &mut Off);
        match decided.outcome {
            Outcome::Decided(Decision::Allow) => true,
            Outcome::Decided(Decision::NoOpinion) => false,
            other => panic!("neither RBAC nor ABAC ever says {other:?}"),
        }
    }
}

/// Asks both the same, and shows the first request on which they differ.
fn agree(
    what: &str,
    random: &mut Random,
    policies: &Policies,
    reference: impl Fn(&Request) -> bool,
    original: &str,
    yaml: &str,
) {
    let mut allowed = 0_usize;
    for _ in 0..REQUESTS {
        let request = request(random);
        let (made, meant) = (policies.allows(&request), reference(&request));
        assert_eq!(made, meant, "{what}: {request:?}\n\n{original}\n\n{yaml}");
        allowed += usize::from(made);
    }
    assert!(allowed > REQUESTS / 200, "{what}: hardly anything is allowed: {allowed}");
    assert!(allowed < REQUESTS / 4 * 3, "{what}: hardly anything is refused: {allowed}");
}

/// All messages, in order.
fn messages(diagnostics: &Diagnostics) -> Vec<&str> {
    diagnostics.items.iter().map(|item| &*item.message).collect()
}
