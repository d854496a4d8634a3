//! The corpora of DESIGN 12, written down: made from a seed, the same on every machine. Shared by the benchmarks and by
//! the test that counts; it uses the library alone.
//!
//! **Policies.** Ten for each tenant, so `n / 10` tenants; each tenant has three namespaces (`-dev`, `-test`, `-prod`)
//! and four directory groups. Nothing applies to more than one tenant, so what matches a request does not grow with `n`.
//! Of ten policies, two are Denies; by namespaces, four name one exactly, five hold a pattern with a star (`t7-*`) and one
//! (about the namespace itself) one exactly; one has every resource of every group for every verb, one has resource
//! names with a star; three have conditions (hours, clearance, network), and one has an exception. Subjects: six are
//! directory groups (four of those by name, one by DN, one by id), two asserted groups, one a ServiceAccount, one everyone.
//!
//! **Subjects.** [`SUBJECTS`] of them. Each has the `devs` and one other group of some tenants (one tenant for 5 groups, three for
//! 30, ten for 200) and is for the rest in groups that no policy names, of [`OTHER_GROUPS`]; every second group is nested
//! in the one before it. One asserted group in five is one that policies name.
//!
//! **Requests.** Uniformly random over subjects, tenants' namespaces, verbs and resources; one in sixteen is for a
//! cluster-scoped resource. [`Corpus::home_request`] instead asks in a namespace of one of the subject's own tenants, so
//! that policies do match; [`Corpus::list_everywhere`] lists secrets over all namespaces, which overlaps a Deny of every tenant.
//!
//! **Candidates**, measured by `corpora_shape`, for subjects of 30 and 5 groups, in policies a request: 1.2 match by their
//! rules, whatever the number of policies; by rules and subjects 0.13 of 100 policies and 0.016 of 1,000; and 0.5 of any
//! number where requests are made at home.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bailiwick::document::{Span, Spanned};
use bailiwick::model::{
    Action, Circumstances, Dn, EntityId, Facts, Group, GroupMembership, GroupNames, Person, Request,
    Resolved, ResourceAction, SourceAddress, Subject, Values,
};
use bailiwick::policy::Pattern;
use bailiwick::policy::ast::{
    AccessPolicy, AttributeType, ClearanceCondition, Conditions, Days, Documents, Effect, Enforcement,
    GroupRef, Hours, LocationCondition, Name, NamespacePattern, ResourcePattern, ResourceRule, Rule,
    SubjectTerm, TimeCondition, Validity, Vocabulary,
};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Policies for each tenant.
pub const POLICIES_PER_TENANT: usize = 10;
/// Subjects of a corpus.
pub const SUBJECTS: usize = 64;
/// Groups of the directory, and as many of the cluster, that no policy names.
pub const OTHER_GROUPS: u64 = 20_000;

const TIERS: [&str; 3] = ["dev", "test", "prod"];
const ROLES: [&str; 4] = ["devs", "oncall", "admins", "auditors"];
const VERBS: [&str; 7] = ["get", "list", "watch", "create", "update", "patch", "delete"];
const RESOURCES: [(&str, &str, &str); 8] = [
    ("", "pods", ""),
    ("", "pods", "log"),
    ("", "pods", "exec"),
    ("", "secrets", ""),
    ("", "configmaps", ""),
    ("", "services", ""),
    ("apps", "deployments", ""),
    ("apps", "deployments", "scale"),
];
const CLUSTER_SCOPED: [(&str, &str); 3] =
    [("", "nodes"), ("storage.k8s.io", "storageclasses"), ("rbac.authorization.k8s.io", "clusterroles")];

/// How large a corpus is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Policies: 100 to 100,000, rounded down to whole tenants.
    pub policies: usize,
    /// Directory groups of each subject: 5, 30 or 200.
    pub directory_groups: usize,
    /// Asserted groups of each subject: 5 or 200.
    pub asserted_groups: usize,
}

/// Policies, and who asks under them.
#[derive(Debug, Clone)]
pub struct Corpus {
    /// The policies and their vocabulary.
    pub documents: Documents,
    /// Every group name that the policies use, resolved.
    pub group_names: GroupNames,
    /// Who asks, with the tenants that each belongs to.
    pub people: Vec<(Subject, Facts, Vec<usize>)>,
    /// A Monday morning in office hours, in cluster `prod-1`, from inside.
    pub circumstances: Circumstances,
    tenants: usize,
    random: SplitMix64,
}

/// The generator of Steele, Lea and Flood ("Fast splittable pseudorandom number generators", 2014).
#[derive(Debug, Clone)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`, which is not zero and small enough for the bias not to matter.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }
}

impl Corpus {
    /// The corpus of a shape and a seed.
    pub fn new(shape: Shape, seed: u64) -> Self {
        let mut random = SplitMix64::new(seed);
        let now: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        let tenants = shape.policies / POLICIES_PER_TENANT;
        let policies = (0..tenants).flat_map(tenant_policies).collect();
        let names: HashMap<String, Resolved> = (0..tenants)
            .flat_map(|tenant| ROLES.map(|role| group_name(tenant, role)))
            .map(|name| (name.clone(), Resolved::Group(group_id(&name))))
            .collect();
        let people = (0..SUBJECTS).map(|index| person(index, shape, tenants, now, &mut random)).collect();
        Self {
            documents: Documents { policies, vocabulary: vocabulary(), tests: Vec::new() },
            group_names: GroupNames { names, generation: 1 },
            people,
            circumstances: Circumstances {
                now,
                cluster: Some("prod-1".into()),
                source: SourceAddress::Known("10.1.2.3".parse().unwrap()),
            },
            tenants,
            random,
        }
    }

    /// The next uniformly random request, and what the directory says of who asks.
    pub fn uniform_request(&mut self) -> (Request, &Facts) {
        let tenant = self.random.below(self.tenants as u64);
        let person = self.random.below(self.people.len() as u64);
        self.request(person, usize::try_from(tenant).unwrap())
    }

    /// The next request in a namespace of one of the subject's own tenants.
    pub fn home_request(&mut self) -> (Request, &Facts) {
        let person = self.random.below(self.people.len() as u64);
        let tenant = *self.random.pick(&self.people[usize::try_from(person).unwrap()].2);
        self.request(person, tenant)
    }

    /// A list of all secrets of the cluster by some subject.
    pub fn list_everywhere(&mut self) -> (Request, &Facts) {
        let (subject, facts, _) = self.random.pick(&self.people);
        let action = ResourceAction {
            verb: "list".to_owned(),
            version: "v1".to_owned(),
            resource: "secrets".to_owned(),
            ..ResourceAction::default()
        };
        (Request { subject: subject.clone(), action: Action::Resource(action) }, facts)
    }

    fn request(&mut self, person: u64, tenant: usize) -> (Request, &Facts) {
        let random = &mut self.random;
        let mut action = ResourceAction {
            verb: (*random.pick(&VERBS)).to_owned(),
            version: "v1".to_owned(),
            ..ResourceAction::default()
        };
        if random.below(16) == 0 {
            let (group, resource) = *random.pick(&CLUSTER_SCOPED);
            (action.group, action.resource) = (group.to_owned(), resource.to_owned());
        } else {
            let (group, resource, subresource) = *random.pick(&RESOURCES);
            action.group = group.to_owned();
            action.resource = resource.to_owned();
            action.subresource = subresource.to_owned();
            action.namespace = namespace_name(tenant, random.pick::<&str>(&TIERS));
        }
        if !["list", "watch", "create"].contains(&action.verb.as_str()) {
            action.name = format!("{}-{}", random.pick(&["web", "db"]), random.below(10));
        }
        let (subject, facts, _) = &self.people[usize::try_from(person).unwrap()];
        (Request { subject: subject.clone(), action: Action::Resource(action) }, facts)
    }
}

fn namespace_name(tenant: usize, tier: &str) -> String {
    format!("t{tenant}-{tier}")
}

fn group_name(tenant: usize, role: &str) -> String {
    format!("t{tenant}-{role}")
}

fn group_id(name: &str) -> EntityId {
    EntityId::new(&format!("id-{name}"))
}

fn group_dn(name: &str) -> Dn {
    Dn::parse(&format!("cn={name},ou=groups,dc=example,dc=com")).unwrap()
}

/// Somebody with exactly as many groups as the shape says, all different.
fn person(
    index: usize,
    shape: Shape,
    tenants: usize,
    now: Timestamp,
    random: &mut SplitMix64,
) -> (Subject, Facts, Vec<usize>) {
    let of_tenants = match shape.directory_groups {
        0..30 => 1,
        30..200 => 3,
        _ => 10,
    };
    let mut own = BTreeSet::new();
    while own.len() < of_tenants.min(tenants) {
        own.insert(usize::try_from(random.below(tenants as u64)).unwrap());
    }
    let mut names: Vec<String> = own
        .iter()
        .flat_map(|&tenant| {
            [group_name(tenant, "devs"), group_name(tenant, random.pick::<&str>(&ROLES[1..]))]
        })
        .collect();
    fill(&mut names, shape.directory_groups, "org", random);
    let mut asserted = vec!["system:authenticated".to_owned()];
    asserted.extend(own.iter().take(shape.asserted_groups / 5).map(|tenant| format!("team-{tenant}")));
    fill(&mut asserted, shape.asserted_groups, "claim", random);

    let user = format!("user-{index}");
    let found = Person::Found {
        id: EntityId::new(&format!("id-{user}")),
        dn: Dn::parse(&format!("uid={user},ou=people,dc=example,dc=com")).unwrap(),
    };
    let mut facts = Facts::without_entry(found, now);
    facts.groups = names
        .iter()
        .enumerate()
        .map(|(at, name)| {
            let group =
                Group { id: group_id(name), sid: None, dn: Some(group_dn(name)), name: name.as_str().into() };
            GroupMembership {
                group: Arc::new(group),
                via: (at % 2 == 1).then(|| u32::try_from(at - 1).unwrap()),
            }
        })
        .collect();
    let clearance = (*random.pick(&["public", "internal", "secret"])).to_owned();
    facts.attributes = [("clearance", Values::Known(vec![clearance].into()))].into_iter().collect();
    (Subject { user, groups: asserted, ..Subject::default() }, facts, own.into_iter().collect())
}

/// Adds groups that no policy names until there are `count`.
fn fill(names: &mut Vec<String>, count: usize, prefix: &str, random: &mut SplitMix64) {
    let mut known: BTreeSet<String> = names.iter().cloned().collect();
    while names.len() < count {
        let name = format!("{prefix}-{}", random.below(OTHER_GROUPS));
        if known.insert(name.clone()) {
            names.push(name);
        }
    }
}

fn vocabulary() -> Vocabulary {
    Vocabulary {
        levels: ["public", "internal", "secret"].map(|level| spanned(level.to_owned())).to_vec(),
        attributes: BTreeMap::from([("clearance".to_owned(), AttributeType::Clearance)]),
        ..Vocabulary::default()
    }
}

fn tenant_policies(tenant: usize) -> [AccessPolicy; POLICIES_PER_TENANT] {
    let group = |role: &str| SubjectTerm::DirectoryGroup(GroupRef::Name(group_name(tenant, role)));
    let by_dn = |role: &str| SubjectTerm::DirectoryGroup(GroupRef::Dn(group_dn(&group_name(tenant, role))));
    let by_id = |role: &str| SubjectTerm::DirectoryGroup(GroupRef::Id(group_id(&group_name(tenant, role))));
    let team = || SubjectTerm::Group(format!("team-{tenant}"));
    let deployer =
        SubjectTerm::ServiceAccount { namespace: namespace_name(tenant, "dev"), name: "deployer".to_owned() };
    let [dev, prod, all] = ["dev", "prod", "*"].map(|tier| namespace_name(tenant, tier));
    let policy =
        |number: usize, effect, subject, rule| policy(&format!("t{tenant}-{number}"), effect, subject, rule);
    let (allow, deny) = (Effect::Allow, Effect::Deny);

    let workloads = policy(
        0,
        allow,
        group("devs"),
        rule("apps", &["deployments"], &dev, &["get", "list", "watch", "patch"]),
    );
    let pods =
        policy(1, allow, group("devs"), rule("", &["pods", "pods/log"], &all, &["get", "list", "watch"]));
    let mut oncall = policy(
        2,
        allow,
        group("oncall"),
        rule("apps", &["deployments", "deployments/scale"], &prod, &["get", "patch"]),
    );
    oncall.when.time = Some(spanned(office_hours()));
    let admins = policy(3, allow, by_id("admins"), rule("*", &["*"], &all, &["*"]));
    let mut secrets = policy(4, allow, by_dn("auditors"), rule("", &["secrets"], &all, &["get", "list"]));
    secrets.when.clearance = Some(spanned(ClearanceCondition {
        at_least: Some(spanned("secret".to_owned())),
        compartments: Vec::new(),
    }));
    let mut keep = policy(5, deny, SubjectTerm::Everyone, rule("", &["namespaces"], &prod, &["delete"]));
    keep.except_subjects = vec![spanned(group("admins"))];
    let mut inside = policy(6, deny, team(), rule("", &["secrets"], &prod, &["get", "list", "watch"]));
    let network = LocationCondition { sites: Vec::new(), networks: vec!["10.0.0.0/8".parse().unwrap()] };
    inside.unless = vec![spanned(Conditions { location: Some(spanned(network)), ..Conditions::default() })];
    let mut web = rule("", &["configmaps"], &all, &["get", "update"]);
    web.resource_names = vec![Pattern::parse("web-*").unwrap()];
    let web = policy(7, allow, team(), web);
    let deploy = policy(8, allow, deployer, rule("", &["pods"], &dev, &["create"]));
    let logs = policy(9, allow, group("oncall"), rule("", &["*/log", "pods/exec"], &all, &["get", "create"]));
    [workloads, pods, oncall, admins, secrets, keep, inside, web, deploy, logs]
}

fn policy(name: &str, effect: Effect, subject: SubjectTerm, rule: ResourceRule) -> AccessPolicy {
    AccessPolicy {
        name: spanned(name.to_owned()),
        annotations: BTreeMap::new(),
        description: None,
        effect,
        enforcement: Enforcement::Enforce,
        clusters: Vec::new(),
        validity: Validity::default(),
        subjects: vec![spanned(subject)],
        except_subjects: Vec::new(),
        rules: vec![spanned(Rule::Resource(rule))],
        when: Conditions::default(),
        unless: Vec::new(),
        message: None,
    }
}

fn rule(group: &str, resources: &[&str], namespace: &str, verbs: &[&str]) -> ResourceRule {
    let name = |text: &str| if text == "*" { Name::Any } else { Name::Exact(text.to_owned()) };
    let resource = |text: &&str| match text.split_once('/') {
        None if *text == "*" => ResourcePattern::Any,
        None => ResourcePattern::Resource((*text).to_owned()),
        Some(("*", subresource)) => ResourcePattern::AnyWithSubresource(subresource.to_owned()),
        Some((resource, "*")) => ResourcePattern::AnySubresource(resource.to_owned()),
        Some((resource, subresource)) => {
            ResourcePattern::Subresource(resource.to_owned(), subresource.to_owned())
        }
    };
    ResourceRule {
        api_groups: vec![name(group)],
        resources: resources.iter().map(resource).collect(),
        resource_names: Vec::new(),
        namespaces: Some(vec![NamespacePattern::Named(Pattern::parse(namespace).unwrap())]),
        verbs: verbs.iter().map(|verb| name(verb)).collect(),
    }
}

fn office_hours() -> TimeCondition {
    TimeCondition {
        days: Days(0x1f),
        hours: vec![Hours { start: 8 * 60, end: 18 * 60 }],
        time_zone: TimeZone::get("Europe/London").unwrap(),
        except_calendars: Vec::new(),
    }
}

fn spanned<T>(value: T) -> Spanned<T> {
    Spanned::new(value, Span::default())
}
