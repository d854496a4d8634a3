//! From a request to the rules that may speak of it, without looking at those that cannot.
//!
//! Every rule of every policy is a *slot*. For each dimension of a request (who, verb, API group, resource, namespace, or
//! path) the index has, for each value that some rule names, the set of the slots that accept it. The candidates of a
//! request are the intersection of these sets ([`super::candidates`]). The index may answer too many slots, never too few:
//! each candidate's rule is checked in full afterwards.

use std::collections::HashMap;

use super::ast::{Effect, Enforcement, Name, NamespacePattern, PathPattern, ResourcePattern, Rule};
use super::candidates::{Accepted, Accepts, Blocks, Dimensions, MOST_SETS};
use super::pattern::Pattern;
use super::rules::{is_get_or_create, may_be_connect, spans_many};
use super::set::{GroupRefId, Policy, Slot, Term};
use super::sparse::SparseSet;
use crate::model::{Action, NonResourceAction, ResourceAction};

/// A hash map keyed by names that a requester may choose: seeded hashing, so that nobody can make it slow.
pub type Map<V> = HashMap<Box<str>, V, foldhash::fast::RandomState>;

/// By what a name begins with, for each length of beginning (in bytes) that occurs.
type ByPrefix<V> = Vec<(usize, Map<V>)>;

/// The index of one policy set.
#[derive(Debug, Default)]
pub struct Index {
    sections: [Blocks; 8],
    subjects: Subjects,
    verbs: NameSets,
    groups: NameSets,
    resources: Resources,
    namespaces: Namespaces,
    paths: Paths,
}

/// The subject dimension.
#[derive(Debug, Default)]
struct Subjects {
    everyone: SparseSet,
    users: Map<SparseSet>,
    groups: Map<SparseSet>,
    any_group: SparseSet,
    directory: Box<[SparseSet]>,
    any_directory: SparseSet,
}

/// A dimension of exact names and `*`.
#[derive(Debug, Default)]
struct NameSets {
    /// For a name that some rule has: the slots with it and those with `*`.
    exact: Map<SparseSet>,
    any: SparseSet,
}

/// The resource dimension.
#[derive(Debug, Default)]
struct Resources {
    /// Of a resource that some rule names; `any`: by `pods/*`.
    by_resource: Map<NameSets>,
    /// By subresource alone: `*/scale`, and `*`.
    any_resource: NameSets,
}

/// The namespace dimension.
#[derive(Debug, Default)]
struct Namespaces {
    /// For a name that some rule has: the slots that accept it, those that accept any included.
    exact: Map<SparseSet>,
    /// The slots that accept any namespace: `namespaces` omitted, or `*`.
    any: SparseSet,
    /// The slots that accept no namespace: `namespaces` omitted, or `""`.
    cluster_wide: SparseSet,
    /// The other patterns by what they begin with, for each length of beginning that occurs.
    by_prefix: ByPrefix<Vec<(Pattern, SparseSet)>>,
}

/// The path dimension of non-resource rules.
#[derive(Debug, Default)]
struct Paths {
    exact: Map<SparseSet>,
    any: SparseSet,
    by_prefix: ByPrefix<SparseSet>,
}

impl Index {
    /// The index of these slots; `policies` and `slots` as they stand in the policy set.
    #[must_use]
    pub fn new(policies: &[Policy], slots: &[Slot], group_refs: usize) -> Self {
        let mut build = Build { directory: vec![Vec::new(); group_refs], ..Build::default() };
        for (at, slot) in (0_u32..).zip(slots) {
            let Some(policy) = policies.get(slot.policy as usize) else { continue };
            let Some(rule) = &slot.rule else { continue };
            build.add_subjects(at, &policy.subjects);
            match rule {
                Rule::Resource(rule) => build.add_resource_rule(at, rule),
                Rule::NonResource(rule) => build.add_path_rule(at, rule),
            }
        }
        build.finish(policies, slots)
    }

    /// The slots that name everyone, for any request.
    #[must_use]
    pub fn everyone(&self) -> &SparseSet {
        &self.subjects.everyone
    }

    /// The slots that name this user.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&SparseSet> {
        self.subjects.users.get(name)
    }

    /// The slots that name this asserted group.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<&SparseSet> {
        self.subjects.groups.get(name)
    }

    /// The slots that name any asserted group: where none of them is a candidate, the subject's need not be looked up.
    #[must_use]
    pub fn any_group(&self) -> &SparseSet {
        &self.subjects.any_group
    }

    /// The slots that name this group of the directory.
    #[must_use]
    pub fn directory_group(&self, group: GroupRefId) -> Option<&SparseSet> {
        self.subjects.directory.get(group.0 as usize)
    }

    /// The slots that name any group of the directory: the candidates where the person's groups are not known.
    #[must_use]
    pub fn any_directory_group(&self) -> &SparseSet {
        &self.subjects.any_directory
    }

    /// What the rules of the enforced or of the shadow policies must accept to speak of this action.
    #[must_use]
    pub fn accepted<'a>(&'a self, enforcement: Enforcement, action: &Action) -> Accepted<'a> {
        let non_resource = matches!(action, Action::NonResource(_));
        let blocks = |effect| self.blocks(enforcement, non_resource, effect);
        let allow = self.dimensions(action, false);
        let deny = if stands_for_more(action) { self.dimensions(action, true) } else { allow };
        Accepted { deny: (blocks(Effect::Deny), deny), allow: (blocks(Effect::Allow), allow) }
    }

    /// The dimension that selects best comes first.
    fn dimensions<'a>(&'a self, action: &Action, deny: bool) -> Dimensions<'a> {
        match action {
            Action::Resource(action) => [
                self.namespaces.accepts(action, deny),
                self.resources.accepts(action, deny),
                self.accepts_verb(&action.verb, deny, may_be_connect(action)),
                self.groups.accepts(&action.group, deny),
            ],
            Action::NonResource(action) => [
                self.paths.accepts(action, deny),
                self.accepts_verb(&action.verb, deny, false),
                Accepts::All,
                Accepts::All,
            ],
        }
    }

    fn blocks(&self, enforcement: Enforcement, non_resource: bool, effect: Effect) -> Blocks {
        self.sections.get(section_number(enforcement, non_resource, effect)).copied().unwrap_or_default()
    }

    fn accepts_verb<'a>(&'a self, verb: &str, deny: bool, connect: bool) -> Accepts<'a> {
        if deny && connect && is_get_or_create(verb) {
            return Accepts::union(&[self.verbs.of("get"), self.verbs.of("create")]);
        }
        self.verbs.accepts(verb, deny)
    }
}

/// Whether a Deny may overlap the action in a dimension in which an Allow does not cover it: where this is false, either
/// effect accepts the same.
fn stands_for_more(action: &Action) -> bool {
    match action {
        Action::Resource(action) => {
            let ResourceAction { verb, group, resource, subresource, namespace, .. } = action;
            [verb, group, resource, subresource, namespace].into_iter().any(|value| value == "*")
                || (namespace.is_empty() && spans_many(verb))
                || (is_get_or_create(verb) && may_be_connect(action))
        }
        Action::NonResource(NonResourceAction { verb, path }) => verb == "*" || path == "*",
    }
}

impl<'a> Accepts<'a> {
    fn union(sets: &[&'a SparseSet]) -> Self {
        let Some(&first) = sets.first() else { return Self::All };
        if sets.len() > MOST_SETS {
            return Self::All;
        }
        let mut all = [first; MOST_SETS];
        for (place, set) in all.iter_mut().zip(sets) {
            *place = set;
        }
        Self::Union { sets: all, len: sets.len() }
    }
}

impl NameSets {
    fn of(&self, name: &str) -> &SparseSet {
        self.exact.get(name).unwrap_or(&self.any)
    }

    fn accepts(&self, name: &str, deny: bool) -> Accepts<'_> {
        if deny && name == "*" { Accepts::All } else { Accepts::One(self.of(name)) }
    }
}

impl Resources {
    /// From the slots of `pods` and `pods/log`, of `pods/*`, of `*/scale`, and of `*`.
    fn new(
        by_resource: Map<Map<Vec<u32>>>,
        any_subresource: &Map<Vec<u32>>,
        by_subresource: Map<Vec<u32>>,
        any: Vec<u32>,
    ) -> Self {
        let with_any = |all_of_it: &[u32], subresource: Box<str>, mut slots: Vec<u32>| {
            slots.extend(by_subresource.get(&subresource).into_iter().flatten().chain(&any));
            if !subresource.is_empty() {
                slots.extend(all_of_it);
            }
            (subresource, SparseSet::new(slots))
        };
        let by_resource = by_resource.into_iter().map(|(resource, subresources)| {
            let all_of_it = any_subresource.get(&resource).map(Vec::as_slice).unwrap_or_default();
            let exact =
                subresources.into_iter().map(|(name, slots)| with_any(all_of_it, name, slots)).collect();
            (resource, NameSets { exact, any: SparseSet::new(all_of_it.to_vec()) })
        });
        let by_resource = by_resource.collect();
        Self {
            by_resource,
            any_resource: NameSets { exact: with(by_subresource, &any), any: SparseSet::new(any) },
        }
    }

    fn accepts(&self, action: &ResourceAction, deny: bool) -> Accepts<'_> {
        if deny && (action.resource == "*" || action.subresource == "*") {
            return Accepts::All;
        }
        let subresource = action.subresource.as_str();
        let of_any_resource = self.any_resource.of(subresource);
        let Some(of_it) = self.by_resource.get(action.resource.as_str()) else {
            return Accepts::One(of_any_resource);
        };
        match of_it.exact.get(subresource) {
            Some(set) => Accepts::One(set),
            None if subresource.is_empty() => Accepts::One(of_any_resource),
            None => Accepts::union(&[of_any_resource, &of_it.any]),
        }
    }
}

impl Namespaces {
    fn accepts(&self, action: &ResourceAction, deny: bool) -> Accepts<'_> {
        let namespace = action.namespace.as_str();
        if deny && (namespace == "*" || (namespace.is_empty() && spans_many(&action.verb))) {
            return Accepts::All;
        }
        if namespace.is_empty() {
            return Accepts::One(&self.cluster_wide);
        }
        let mut sets = [&self.any; MOST_SETS];
        let mut len = 1;
        if let (Some(first), Some(set)) = (sets.first_mut(), self.exact.get(namespace)) {
            *first = set;
        }
        for (length, prefixes) in &self.by_prefix {
            let Some(patterns) = namespace.get(..*length).and_then(|prefix| prefixes.get(prefix)) else {
                continue;
            };
            for (_, set) in patterns.iter().filter(|(pattern, _)| pattern.matches(namespace)) {
                let Some(place) = sets.get_mut(len) else { return Accepts::All };
                *place = set;
                len += 1;
            }
        }
        Accepts::Union { sets, len }
    }
}

impl Paths {
    fn accepts(&self, action: &NonResourceAction, deny: bool) -> Accepts<'_> {
        if deny && action.path == "*" {
            return Accepts::All;
        }
        let mut sets = [&self.any; MOST_SETS];
        let mut len = 1;
        let prefixes = self.by_prefix.iter().filter_map(|(length, prefixes)| {
            action.path.get(..*length).and_then(|prefix| prefixes.get(prefix))
        });
        for set in self.exact.get(action.path.as_str()).into_iter().chain(prefixes) {
            let Some(place) = sets.get_mut(len) else { return Accepts::All };
            *place = set;
            len += 1;
        }
        Accepts::Union { sets, len }
    }
}

/// Which of the eight sections: enforced before shadow, resources before paths, Deny before Allow.
pub(super) fn section_number(enforcement: Enforcement, non_resource: bool, effect: Effect) -> usize {
    let shadow = usize::from(enforcement == Enforcement::Shadow);
    let allow = usize::from(effect == Effect::Allow);
    shadow * 4 + usize::from(non_resource) * 2 + allow
}

/// The index while it is built: lists of slots in place of sets.
#[derive(Default)]
struct Build {
    everyone: Vec<u32>,
    users: Map<Vec<u32>>,
    groups: Map<Vec<u32>>,
    directory: Vec<Vec<u32>>,
    verbs: NameSlots,
    api_groups: NameSlots,
    by_resource: Map<Map<Vec<u32>>>,
    by_subresource: Map<Vec<u32>>,
    any_subresource: Map<Vec<u32>>,
    any_resource: Vec<u32>,
    namespaces: Map<Vec<u32>>,
    any_namespace: Vec<u32>,
    cluster_wide: Vec<u32>,
    namespace_patterns: HashMap<Pattern, Vec<u32>>,
    paths: Map<Vec<u32>>,
    path_prefixes: Map<Vec<u32>>,
    any_path: Vec<u32>,
}

#[derive(Default)]
struct NameSlots {
    exact: Map<Vec<u32>>,
    any: Vec<u32>,
}

impl Build {
    fn add_subjects(&mut self, slot: u32, terms: &[Term]) {
        for term in terms {
            self.add_subject(slot, term);
        }
    }

    fn add_subject(&mut self, slot: u32, term: &Term) {
        match term {
            Term::Everyone => self.everyone.push(slot),
            Term::User(name) => self.users.entry(name.clone()).or_default().push(slot),
            Term::Group(name) => self.groups.entry(name.clone()).or_default().push(slot),
            Term::Directory(group) => {
                if let Some(slots) = self.directory.get_mut(group.0 as usize) {
                    slots.push(slot);
                }
            }
            // All of them must hold, so that it is enough to be found by one: the one that selects best.
            Term::All(terms) => {
                let rank = |term: &&Term| match term {
                    Term::User(_) => 0,
                    Term::Directory(_) => 1,
                    Term::Group(_) => 2,
                    Term::Everyone | Term::All(_) => 3,
                };
                if let Some(term) = terms.iter().min_by_key(rank) {
                    self.add_subject(slot, term);
                }
            }
        }
    }

    fn add_resource_rule(&mut self, slot: u32, rule: &super::ast::ResourceRule) {
        self.verbs.add(slot, &rule.verbs);
        self.api_groups.add(slot, &rule.api_groups);
        for pattern in &rule.resources {
            match pattern {
                ResourcePattern::Any => self.any_resource.push(slot),
                ResourcePattern::AnyWithSubresource(subresource) => {
                    self.by_subresource.entry(subresource.as_str().into()).or_default().push(slot);
                }
                ResourcePattern::AnySubresource(resource) => {
                    self.any_subresource.entry(resource.as_str().into()).or_default().push(slot);
                    // So that the resource is one that some rule has.
                    self.by_resource.entry(resource.as_str().into()).or_default();
                }
                ResourcePattern::Resource(resource) => self.add_resource(slot, resource, ""),
                ResourcePattern::Subresource(resource, subresource) => {
                    self.add_resource(slot, resource, subresource)
                }
            }
        }
        let Some(namespaces) = &rule.namespaces else {
            self.any_namespace.push(slot);
            self.cluster_wide.push(slot);
            return;
        };
        for namespace in namespaces {
            match namespace {
                NamespacePattern::ClusterWide => self.cluster_wide.push(slot),
                NamespacePattern::Named(pattern) if pattern.is_any() => self.any_namespace.push(slot),
                NamespacePattern::Named(pattern) => match pattern.as_exact() {
                    Some(name) => self.namespaces.entry(name.into()).or_default().push(slot),
                    None => self.namespace_patterns.entry(pattern.clone()).or_default().push(slot),
                },
            }
        }
    }

    fn add_resource(&mut self, slot: u32, resource: &str, subresource: &str) {
        self.by_resource
            .entry(resource.into())
            .or_default()
            .entry(subresource.into())
            .or_default()
            .push(slot);
    }

    fn add_path_rule(&mut self, slot: u32, rule: &super::ast::NonResourceRule) {
        self.verbs.add(slot, &rule.verbs);
        for pattern in &rule.paths {
            match pattern {
                PathPattern::Any => self.any_path.push(slot),
                PathPattern::Exact(path) => self.paths.entry(path.as_str().into()).or_default().push(slot),
                PathPattern::Prefix(prefix) => {
                    self.path_prefixes.entry(prefix.as_str().into()).or_default().push(slot);
                }
            }
        }
    }

    fn finish(self, policies: &[Policy], slots: &[Slot]) -> Index {
        let any_directory = SparseSet::new(self.directory.iter().flatten().copied().collect());
        let any_group = SparseSet::new(self.groups.values().flatten().copied().collect());
        let resources =
            Resources::new(self.by_resource, &self.any_subresource, self.by_subresource, self.any_resource);
        let namespaces = Namespaces {
            exact: with(self.namespaces, &self.any_namespace),
            any: SparseSet::new(self.any_namespace),
            cluster_wide: SparseSet::new(self.cluster_wide),
            by_prefix: namespaces_by_prefix(self.namespace_patterns),
        };
        let mut by_prefix = ByPrefix::new();
        for (prefix, slots) in self.path_prefixes {
            let length = prefix.len();
            of_length(&mut by_prefix, length).insert(prefix, SparseSet::new(slots));
        }
        Index {
            sections: sections(policies, slots),
            subjects: Subjects {
                everyone: SparseSet::new(self.everyone),
                users: with(self.users, &[]),
                groups: with(self.groups, &[]),
                any_group,
                directory: self.directory.into_iter().map(SparseSet::new).collect(),
                any_directory,
            },
            verbs: self.verbs.finish(),
            groups: self.api_groups.finish(),
            resources,
            namespaces,
            paths: Paths { exact: with(self.paths, &[]), any: SparseSet::new(self.any_path), by_prefix },
        }
    }
}

impl NameSlots {
    fn add(&mut self, slot: u32, names: &[Name]) {
        for name in names {
            match name {
                Name::Any => self.any.push(slot),
                Name::Exact(name) => self.exact.entry(name.as_str().into()).or_default().push(slot),
            }
        }
    }

    fn finish(self) -> NameSets {
        NameSets { exact: with(self.exact, &self.any), any: SparseSet::new(self.any) }
    }
}

/// The sets of these lists, each with the slots that accept any name.
fn with(lists: Map<Vec<u32>>, any: &[u32]) -> Map<SparseSet> {
    lists
        .into_iter()
        .map(|(name, mut slots)| {
            slots.extend(any);
            (name, SparseSet::new(slots))
        })
        .collect()
}

fn namespaces_by_prefix(patterns: HashMap<Pattern, Vec<u32>>) -> ByPrefix<Vec<(Pattern, SparseSet)>> {
    let mut by_prefix: ByPrefix<Vec<(Pattern, SparseSet)>> = ByPrefix::new();
    for (pattern, slots) in patterns {
        let prefix: Box<str> = pattern.prefix().into();
        let of_prefix = of_length(&mut by_prefix, prefix.len()).entry(prefix).or_default();
        of_prefix.push((pattern, SparseSet::new(slots)));
    }
    by_prefix
}

fn of_length<V>(by_prefix: &mut ByPrefix<V>, length: usize) -> &mut Map<V> {
    let at = by_prefix.iter().position(|(known, _)| *known == length).unwrap_or_else(|| {
        by_prefix.push((length, Map::default()));
        by_prefix.len() - 1
    });
    // The position was found or made just now.
    #[allow(clippy::indexing_slicing, reason = "the index is that of an element of this vector")]
    &mut by_prefix[at].1
}

/// Where each section begins and ends: slots are laid out section by section, each on a block of its own.
fn sections(policies: &[Policy], slots: &[Slot]) -> [Blocks; 8] {
    let mut sections: [Option<Blocks>; 8] = [None; 8];
    for (at, slot) in (0_u32..).zip(slots) {
        let (Some(policy), Some(rule)) = (policies.get(slot.policy as usize), &slot.rule) else { continue };
        let number = section_number(policy.enforcement, matches!(rule, Rule::NonResource(_)), policy.effect);
        if let Some(section) = sections.get_mut(number) {
            let start = section.map_or(at / 64, |blocks| blocks.start);
            *section = Some(Blocks { start, end: at / 64 + 1 });
        }
    }
    sections.map(Option::unwrap_or_default)
}
