//! What an adversary tries: requests that are chosen to go around a Deny, or to have others refused.

use std::sync::Arc;
use std::time::Duration;

use bailiwick::authz::{Authorizer, Parts, People};
use bailiwick::cache::FactsCache;
use bailiwick::directory::Usernames;
use bailiwick::document::Source;
use bailiwick::eval::{self, Bound, Off, View};
use bailiwick::model::{Action, Decision, GroupNames, Outcome, Request, ResourceAction, Subject};
use bailiwick::policy::ast::{
    AccessPolicy, Documents, Effect, Enforcement, Name, NamespacePattern, ResourcePattern, ResourceRule,
    Rule, SubjectTerm,
};
use bailiwick::policy::{Exempt, Pattern, PolicySet, Settings, covers, overlaps};
use bailiwick::store::Store;
use bailiwick::telemetry::Metrics;
use bailiwick::telemetry::audit::{self, Audit};
use proptest::prelude::*;
use serde_json::json;
use tokio::runtime::Handle;

use crate::embedded::House;
use crate::scene::{MONDAY_MORNING, ask, deny, spanned, with_extra};

/// A policy set of these documents with nothing in front of it, and what it decides.
struct Judge(Bound);

impl Judge {
    fn new(policies: Vec<AccessPolicy>, settings: &Settings) -> Self {
        let documents = Documents { policies, ..Documents::default() };
        let set = PolicySet::compile(&documents, &[], settings).unwrap();
        Self(Bound::new(Arc::new(set), &GroupNames::default(), 1))
    }

    fn evaluate(&self, request: &Request) -> eval::Evaluation {
        let now = MONDAY_MORNING.parse().unwrap();
        let circumstances = eval::circumstances(&self.0, request, Some("prod-1".into()), now);
        eval::decide(&self.0, &eval::Settings::default(), request, View::Outside, &circumstances, &mut Off)
    }

    fn is_denied(&self, request: &Request) -> bool {
        self.evaluate(request).outcome == Outcome::Decided(Decision::Deny)
    }
}

fn exempting(user: &str) -> Settings {
    let exempt = Exempt { user: Pattern::parse(user).unwrap(), group: None };
    Settings { exempt: vec![exempt], ..Settings::default() }
}

#[test]
fn an_exempt_service_account_or_node_is_not_impersonated_however_the_exemption_is_written() {
    for (exempt, account, node, guarded) in [
        ("system:serviceaccount:kube-system:*", Some("kube-system bot"), None, true),
        ("system:serviceaccount:kube-*", Some("kube-public bot"), None, true),
        ("system:serviceaccount:*", Some("any bot"), None, true),
        ("system:serviceaccount:*-bot", Some("any some-bot"), None, true),
        ("system:serviceaccount:*-bot", Some("any human"), None, false),
        ("system:serviceaccount:*:bot", Some("any bot"), None, true),
        ("system:serviceaccount:kube-*", Some("payments bot"), None, false),
        ("system:*", Some("any bot"), Some("n1"), true),
        ("*:bot", Some("any bot"), Some("bot"), true),
        ("*:bot", Some("any human"), Some("n1"), false),
        ("system:no*", Some("any bot"), None, false),
        ("system:no*", None, Some("n1"), true),
        ("oidc:*", Some("any bot"), Some("n1"), false),
    ] {
        let judge = Judge::new(Vec::new(), &exempting(exempt));
        for verb in ["impersonate", "impersonate:serviceaccount", "impersonate:arbitrary-node"] {
            let account = account.map(|account| {
                let (namespace, name) = account.split_once(' ').unwrap();
                ask("mallory", &format!("{verb} serviceaccounts ns={namespace} name={name}"))
            });
            let node = node.map(|node| ask("mallory", &format!("{verb} nodes name={node}")));
            for request in account.into_iter().chain(node) {
                assert_eq!(judge.is_denied(&request), guarded, "{exempt}: {request:?}");
            }
        }
    }
}

#[test]
fn a_source_address_under_a_key_with_a_capital_is_none() {
    let settings = Settings { trusted_clusters: ["prod-1".to_owned()].into(), ..Settings::default() };
    let judge = Judge::new(Vec::new(), &settings);
    let spec = json!({"user": "mallory", "nonResourceAttributes": {},
        "extra": {"Bailiwick.dev/source-address": ["10.1.2.3"]}});
    let spoofed = bailiwick::review::spec_from_json(&spec).unwrap();
    let honest = with_extra(ask("ada", "get /healthz"), "bailiwick.dev/source-address", &["10.1.2.3"]);
    let source = |request: &Request| {
        let now = MONDAY_MORNING.parse().unwrap();
        eval::circumstances(&judge.0, request, Some("prod-1".into()), now).source.unknown_because()
    };
    assert!(source(&spoofed).is_some());
    assert_eq!(source(&honest), None);
}

/// Names that share beginnings, end within a character, and hold what means something in a pattern.
const NAMES: [&str; 12] =
    ["a", "ab", "abc", "ä", "äb", "日本", "*", "a*", "payments-prod", "payments-dev", "x-日", ""];
const NAMESPACES: [&str; 14] = [
    "a",
    "a*",
    "ab*",
    "abc*",
    "*b",
    "ä*",
    "äb",
    "日*",
    "*本",
    r"\*",
    r"a\**",
    "payments-*",
    "*-prod",
    "p*-*d",
];
const VERBS: [&str; 8] = ["get", "list", "create", "*", "GET", "deletecollection", "impersonate", ""];
const RESOURCES: [&str; 6] = ["pods", "secrets", "*", "nodes", "Pods", ""];
const SUBRESOURCES: [&str; 7] = ["", "exec", "*", "log", "a/b", "proxy", "日本"];
const USERS: [&str; 3] = ["ada", "bob", ""];

/// One policy in few numbers: subject, effect, enforcement, verb, resource, subresource, namespaces, names.
type Seed = (u8, bool, bool, [u8; 3], Vec<u8>, Option<u8>);

fn pick<'a>(list: &[&'a str], place: u8) -> &'a str {
    list[usize::from(place) % list.len()]
}

fn name(text: &str) -> Name {
    if text == "*" { Name::Any } else { Name::Exact(text.to_owned()) }
}

fn made(
    number: usize,
    (who, allows, shadow, [verb, resource, sub], namespaces, named): &Seed,
) -> AccessPolicy {
    let resource = match (pick(&RESOURCES, *resource), pick(&SUBRESOURCES, *sub)) {
        ("*", "" | "*") => ResourcePattern::Any,
        ("*", sub) => ResourcePattern::AnyWithSubresource(sub.to_owned()),
        (resource, "") => ResourcePattern::Resource(resource.to_owned()),
        (resource, "*") => ResourcePattern::AnySubresource(resource.to_owned()),
        (resource, sub) => ResourcePattern::Subresource(resource.to_owned(), sub.to_owned()),
    };
    let namespace = |place: &u8| match *place {
        255 => NamespacePattern::ClusterWide,
        254 => NamespacePattern::Named(Pattern::parse("*").unwrap()),
        place => NamespacePattern::Named(Pattern::parse(pick(&NAMESPACES, place)).unwrap()),
    };
    let rule = ResourceRule {
        api_groups: vec![Name::Exact(String::new())],
        resources: vec![resource],
        resource_names: named
            .iter()
            .map(|place| Pattern::parse(pick(&NAMESPACES, *place)).unwrap())
            .collect(),
        namespaces: (!namespaces.is_empty()).then(|| namespaces.iter().map(namespace).collect()),
        verbs: vec![name(pick(&VERBS, *verb))],
    };
    let mut policy = deny(&format!("p{number}"), &[]);
    // Most slots are somebody else's, so that blocks and whole summary words stay empty.
    policy.subjects = vec![spanned(match who % 40 {
        0 => SubjectTerm::Everyone,
        1 => SubjectTerm::Group("system:authenticated".to_owned()),
        2 => SubjectTerm::User(USERS[number % 3].to_owned()),
        _ => SubjectTerm::User(format!("nobody-{number}")),
    })];
    policy.effect = if *allows { Effect::Allow } else { Effect::Deny };
    policy.enforcement = if *shadow { Enforcement::Shadow } else { Enforcement::Enforce };
    policy.rules = vec![spanned(Rule::Resource(rule))];
    policy
}

/// What applies, found by looking at every policy.
fn applies(set: &PolicySet, policies: &[AccessPolicy], request: &Request) -> (Vec<String>, Vec<String>) {
    let holds = |policy: &&AccessPolicy| {
        let subject = &request.subject;
        let is_subject = match &policy.subjects[0].value {
            SubjectTerm::User(user) => *user == subject.user,
            SubjectTerm::Group(group) => subject.groups.contains(group),
            _ => true,
        };
        let rule = &policy.rules[0].value;
        policy.enforcement == Enforcement::Enforce
            && is_subject
            && match policy.effect {
                Effect::Allow => covers(rule, &request.action),
                Effect::Deny => overlaps(rule, &request.action, set.scopes()),
            }
    };
    let named = |effect| {
        let of_effect = policies.iter().filter(|policy| policy.effect == effect);
        let mut names: Vec<_> = of_effect.filter(holds).map(|policy| policy.name.value.clone()).collect();
        names.sort();
        names
    };
    (named(Effect::Deny), named(Effect::Allow))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn among_thousands_of_policies_the_index_misses_none(
        seeds in prop::collection::vec(
            (any::<u8>(), any::<bool>(), prop::bool::weighted(0.2), any::<[u8; 3]>(),
             prop::collection::vec(any::<u8>(), 0..12), prop::option::weighted(0.2, any::<u8>())),
            1..6_000,
        ),
        questions in prop::collection::vec(any::<[u8; 6]>(), 150),
    ) {
        let policies: Vec<_> = seeds.iter().enumerate().map(|(number, seed)| made(number, seed)).collect();
        let settings = Settings { exempt: Vec::new(), guards: Default::default(), ..Settings::default() };
        let judge = Judge::new(policies.clone(), &settings);
        for [user, verb, resource, sub, namespace, name] in questions {
            let action = ResourceAction {
                verb: pick(&VERBS, verb).to_owned(),
                resource: pick(&RESOURCES, resource).to_owned(),
                subresource: pick(&SUBRESOURCES, sub).to_owned(),
                namespace: pick(&NAMES, namespace).to_owned(),
                name: pick(&NAMES, name).to_owned(),
                ..ResourceAction::default()
            };
            let subject = Subject {
                user: pick(&USERS, user).to_owned(),
                groups: vec!["system:authenticated".to_owned(); usize::from(user % 3)],
                ..Subject::default()
            };
            let request = Request { subject, action: Action::Resource(action) };
            let evaluation = judge.evaluate(&request);
            let (denies, allows) = applies(judge.0.set(), &policies, &request);
            let (expected, outcome) = if !denies.is_empty() {
                (denies, Decision::Deny)
            } else if allows.is_empty() {
                (Vec::new(), Decision::NoOpinion)
            } else {
                (allows, Decision::Allow)
            };
            let applied: Vec<_> = evaluation.names(judge.0.set()).map(str::to_owned).collect();
            prop_assert_eq!(evaluation.outcome, Outcome::Decided(outcome), "{:?}", request);
            prop_assert_eq!(applied, expected, "{:?}", request);
        }
    }
}

const GROUPS: usize = 40;

/// People, and groups of which the first by name has a value that no text can be made of.
fn one_bad_name_among_good() -> (String, String) {
    let mut ldif = "dn: dc=example\nobjectClass: domain\ndc: example\n\n\
                    dn: cn=service,dc=example\nobjectClass: person\ncn: service\nuserPassword: secret\n\n\
                    dn: ou=bad,dc=example\nobjectClass: groupOfNames\nou: bad\ncn: bad\ncn:: //79\nmember: uid=x,dc=example\n"
        .to_owned();
    let mut names = vec!["bad".to_owned()];
    for number in 0..GROUPS {
        let name = format!("good-{number:02}");
        ldif += &format!(
            "\ndn: cn={name},dc=example\nobjectClass: groupOfNames\ncn: {name}\nmember: uid=ada,dc=example\n"
        );
        names.push(name);
    }
    let subjects: Vec<_> =
        names.iter().map(|name| format!("{{kind: DirectoryGroup, name: {name}}}")).collect();
    let policy = format!(
        "apiVersion: bailiwick.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {{name: p}}\nspec:\n  effect: Deny\n  \
         subjects: [{}]\n  rules: [{{apiGroups: [\"\"], resources: [pods], verbs: [get]}}]\n",
        subjects.join(", ")
    );
    (ldif, policy)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_group_that_cannot_be_resolved_leaves_the_others_resolved() {
    let (ldif, policy) = one_bad_name_among_good();
    let house = House::new();
    let server = house.serve(&ldif);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("p.yaml"), policy).unwrap();
    let metrics = Metrics::new().unwrap();
    let handle = Handle::current();
    let store = bailiwick::store::Settings {
        paths: vec![folder.path().to_owned()],
        reload_interval: Duration::from_secs(3600),
    };
    let compile = Arc::new(|sources: &[Source]| PolicySet::build(sources, &Settings::default()));
    let people = People {
        directory: house.client(server.address()),
        usernames: Usernames::default(),
        cache: FactsCache::new(bailiwick::cache::Settings::default(), &metrics, handle.clone()),
        timeout: Duration::from_secs(4),
    };
    let audit = audit::Settings { path: "-".into(), level: audit::Level::Off };
    let authorizer = Authorizer::start(Parts {
        store: Store::open(store, compile, &metrics, handle.clone()).unwrap(),
        people: Some(people),
        settings: eval::Settings::default(),
        deadline: Duration::from_secs(5),
        audit: Audit::start(&audit, metrics.audit_dropped.clone()).unwrap(),
        metrics,
        clock: Arc::new(jiff::Timestamp::now),
        handle,
    });
    assert!(authorizer.settled(Duration::from_secs(20)).await);
    let names = authorizer.checks().into_iter().find(|check| check.name == "group-names").unwrap();
    let expected =
        "group names in policies that are not one group's: `bad`: the directory has not answered for it";
    assert_eq!(names.detail, expected);
}

#[test]
fn the_admin_token_does_not_cross_a_network_in_plain_text() {
    let refusal = |listen: &str, tls: &str| {
        let text = format!(
            "{{apiVersion: bailiwick.dev/v1alpha1, kind: Configuration, directory: {{kind: none}}, policies: {{paths: [p]}},\n\
             server: {{listen: \"127.0.0.1:0\", tls: {{certFile: c, keyFile: k}}}},\n\
             admin: {{listen: \"{listen}\", tokenFile: t{tls}}}}}\n"
        );
        let source = Source::new("c.yaml", text.into_bytes());
        bailiwick::config::Configuration::read(source).err().map(|error| error.to_string())
    };
    assert_eq!(refusal("127.0.0.1:0", ""), None);
    assert_eq!(refusal("0.0.0.0:0", ", tls: {certFile: c, keyFile: k}"), None);
    assert!(refusal("0.0.0.0:0", "").unwrap().contains("would cross the network in the clear"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_whose_name_cannot_be_read_does_not_end_its_members_lookups() {
    let (ldif, _) = one_bad_name_among_good();
    let ldif = ldif + "\ndn: uid=x,dc=example\nobjectClass: inetOrgPerson\nuid: x\n";
    let house = House::new();
    let server = house.serve(&ldif);
    let client = house.client(server.address());
    let deadline = std::time::Instant::now() + Duration::from_secs(4);
    let facts = client.resolve("x", None, deadline).await.unwrap();
    let names: Vec<_> = facts.groups.iter().map(|membership| &*membership.group.name).collect();
    assert_eq!(names, ["ou=bad,dc=example"]);
}
