//! A policy set: all policies and the vocabulary, checked, compiled, indexed, immutable, with a revision.

use std::collections::HashMap;
use std::sync::Arc;

use ipnet::IpNet;

use super::ast::{
    AccessPolicy, AttributeType, Calendar, Documents, Effect, Enforcement, GroupRef, Rule, SubjectTerm,
    TimeCondition, Validity, Vocabulary,
};
use super::index::{Index, section_number};
use super::pattern::Pattern;
use super::rules::Scopes;
use super::settings::Settings;
use super::{check, guards};
use crate::document::{self, Diagnostics, Source, Span, Spanned};

/// All policies and vocabulary that were loaded together. Immutable; its revision is a hash of the content of the
/// sources, so that two replicas with the same files show the same one.
#[derive(Debug)]
pub struct PolicySet {
    revision: Arc<str>,
    policies: Vec<Policy>,
    slots: Vec<Slot>,
    index: Index,
    group_refs: Vec<GroupRef>,
    scopes: Scopes,
    levels: Vec<String>,
    compartments: Vec<String>,
    attributes: Vec<String>,
    clearance_attribute: Option<String>,
    settings: Settings,
    warnings: Diagnostics,
}

/// One policy, compiled.
#[derive(Debug)]
pub struct Policy {
    /// `metadata.name`; of a built-in guard `guard/` and its name.
    pub name: Arc<str>,
    /// Allow or Deny.
    pub effect: Effect,
    /// Enforce or Shadow.
    pub enforcement: Enforcement,
    /// The clusters in which it holds; empty: every cluster.
    pub clusters: Box<[Pattern]>,
    /// When it holds.
    pub validity: Validity,
    /// Any of these.
    pub subjects: Box<[Term]>,
    /// None of these.
    pub except_subjects: Box<[Term]>,
    /// All of this.
    pub when: Conditions,
    /// None of these.
    pub unless: Box<[Conditions]>,
    /// Shown to the user on a Deny.
    pub message: Box<str>,
    /// Whether its truth can depend on the directory.
    pub needs_directory: bool,
    /// The file and line of its document; empty for a guard.
    pub source: Arc<str>,
}

/// One rule of one policy, at its place in the index.
#[derive(Debug)]
pub struct Slot {
    /// The policy, by its place.
    pub policy: u32,
    /// The rule's place in the policy's `rules`.
    pub number: u32,
    /// The rule; `None` in the slots that only fill a block between two sections.
    pub rule: Option<Rule>,
}

/// One element of `subjects`, with directory groups interned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Term {
    /// Whoever asks.
    Everyone,
    /// This user; a ServiceAccount is one too.
    User(Box<str>),
    /// This asserted group.
    Group(Box<str>),
    /// This group of the directory.
    Directory(GroupRefId),
    /// All of these.
    All(Box<[Term]>),
}

/// A directory group that some policy names, by its place in [`PolicySet::group_refs`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupRefId(pub u32);

/// `when`, or one element of `unless`, with names resolved.
#[derive(Debug, Default)]
pub struct Conditions {
    /// Days and hours, and the calendars that are excepted.
    pub time: Option<TimeWindow>,
    /// Any of these networks; those of the sites are among them.
    pub location: Option<Box<[IpNet]>>,
    /// At least this.
    pub clearance: Option<RequiredClearance>,
    /// All of these.
    pub attributes: Box<[AttributeTest]>,
}

/// Days and hours in a zone, with the days of the excepted calendars.
#[derive(Debug)]
pub struct TimeWindow {
    /// As it was written.
    pub condition: TimeCondition,
    /// Those of the vocabulary's calendars that it excepts.
    pub except: Box<[Calendar]>,
}

/// A clearance that a person must have. Levels and compartments are places in the policy set's lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredClearance {
    /// The lowest level that is enough.
    pub level: Option<usize>,
    /// All of these.
    pub compartments: Box<[usize]>,
}

/// An attribute and the values of which one must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeTest {
    /// The attribute's name.
    pub attribute: Box<str>,
    /// Any of these.
    pub any_of: Box<[Box<str>]>,
}

impl PolicySet {
    /// Loads, checks and compiles. Warnings are kept with the set.
    ///
    /// # Errors
    /// Everything that is wrong with the sources, all at once; then there is no policy set.
    pub fn build(sources: &[Source], settings: &Settings) -> Result<Self, Diagnostics> {
        let documents = super::load(sources)?;
        Self::compile(&documents, sources, settings)
    }

    /// Checks documents against the settings and compiles them.
    ///
    /// # Errors
    /// Everything in which the documents and the settings do not fit each other.
    pub fn compile(
        documents: &Documents,
        sources: &[Source],
        settings: &Settings,
    ) -> Result<Self, Diagnostics> {
        let diagnostics = check::against_settings(documents, sources, settings);
        if diagnostics.has_errors() {
            return Err(diagnostics);
        }
        let mut compile =
            Compile { vocabulary: &documents.vocabulary, interned: HashMap::new(), refs: Vec::new() };
        let guards = guards::policies(settings);
        let mut written: Vec<&AccessPolicy> = documents.policies.iter().chain(&guards).collect();
        written.sort_by(|one, other| one.name.value.cmp(&other.name.value));
        let lines = Lines::new(sources);
        let policies: Vec<Policy> = written.iter().map(|policy| compile.policy(policy, &lines)).collect();
        let slots = lay_out(&written);
        let index = Index::new(&policies, &slots, compile.refs.len());
        let vocabulary = &documents.vocabulary;
        let texts = |list: &[Spanned<String>]| list.iter().map(|text| text.value.clone()).collect();
        Ok(Self {
            revision: document::revision(sources).into(),
            policies,
            slots,
            index,
            group_refs: compile.refs,
            scopes: Scopes::new(&vocabulary.cluster_scoped),
            levels: texts(&vocabulary.levels),
            compartments: texts(&vocabulary.compartments),
            attributes: vocabulary.attributes.keys().cloned().collect(),
            clearance_attribute: vocabulary
                .attributes
                .iter()
                .find(|(_, kind)| **kind == AttributeType::Clearance)
                .map(|(name, _)| name.clone()),
            settings: settings.clone(),
            warnings: diagnostics,
        })
    }

    /// A hash of the content of the sources: 16 hexadecimal digits.
    #[must_use]
    pub fn revision(&self) -> &Arc<str> {
        &self.revision
    }

    /// The policies and the guards, in the order of their names.
    #[must_use]
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// The rules at their places in the index.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The index.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The directory groups that the policies name.
    #[must_use]
    pub fn group_refs(&self) -> &[GroupRef] {
        &self.group_refs
    }

    /// The names among the directory groups that the policies name: what must be resolved from their side.
    pub fn group_names(&self) -> impl Iterator<Item = &str> {
        self.group_refs.iter().filter_map(|group| match group {
            GroupRef::Name(name) => Some(name.as_str()),
            GroupRef::Dn(_) | GroupRef::Id(_) => None,
        })
    }

    /// Which resources are cluster-scoped.
    #[must_use]
    pub fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// The levels of clearance, lowest first.
    #[must_use]
    pub fn levels(&self) -> &[String] {
        &self.levels
    }

    /// The compartments.
    #[must_use]
    pub fn compartments(&self) -> &[String] {
        &self.compartments
    }

    /// The attributes that the vocabulary lets policies use.
    pub fn attribute_names(&self) -> impl Iterator<Item = &str> {
        self.attributes.iter().map(String::as_str)
    }

    /// The attribute in which the directory keeps a person's clearance.
    #[must_use]
    pub fn clearance_attribute(&self) -> Option<&str> {
        self.clearance_attribute.as_deref()
    }

    /// The settings that it was compiled with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What is suspicious, but no error.
    #[must_use]
    pub fn warnings(&self) -> &Diagnostics {
        &self.warnings
    }
}

/// The slots of all rules, section by section; a section begins on a block of its own.
fn lay_out(policies: &[&AccessPolicy]) -> Vec<Slot> {
    let mut sections: [Vec<Slot>; 8] = Default::default();
    for (place, policy) in (0_u32..).zip(policies) {
        for (number, rule) in (0_u32..).zip(&policy.rules) {
            let non_resource = matches!(rule.value, Rule::NonResource(_));
            let section = section_number(policy.enforcement, non_resource, policy.effect);
            if let Some(slots) = sections.get_mut(section) {
                slots.push(Slot { policy: place, number, rule: Some(rule.value.clone()) });
            }
        }
    }
    let mut slots: Vec<Slot> = Vec::new();
    for section in sections {
        slots.extend(section);
        while !slots.len().is_multiple_of(64) {
            slots.push(Slot { policy: 0, number: 0, rule: None });
        }
    }
    slots
}

struct Compile<'a> {
    vocabulary: &'a Vocabulary,
    interned: HashMap<GroupRef, GroupRefId>,
    refs: Vec<GroupRef>,
}

impl Compile<'_> {
    fn policy(&mut self, policy: &AccessPolicy, lines: &Lines<'_>) -> Policy {
        let subjects = self.terms(&policy.subjects);
        let except_subjects = self.terms(&policy.except_subjects);
        let when = self.conditions(&policy.when);
        let unless: Box<[Conditions]> =
            policy.unless.iter().map(|unless| self.conditions(&unless.value)).collect();
        let in_terms = |terms: &[Term]| terms.iter().any(Term::needs_directory);
        let needs_directory = in_terms(&subjects)
            || in_terms(&except_subjects)
            || std::iter::once(&when).chain(&*unless).any(Conditions::needs_directory);
        Policy {
            name: policy.name.value.as_str().into(),
            effect: policy.effect,
            enforcement: policy.enforcement,
            clusters: policy.clusters.iter().map(|cluster| cluster.value.clone()).collect(),
            validity: policy.validity,
            subjects,
            except_subjects,
            when,
            unless,
            message: policy.message.as_deref().unwrap_or_default().into(),
            needs_directory,
            source: lines.place(policy.name.span),
        }
    }

    fn terms(&mut self, terms: &[Spanned<SubjectTerm>]) -> Box<[Term]> {
        terms.iter().map(|term| self.term(&term.value)).collect()
    }

    fn term(&mut self, term: &SubjectTerm) -> Term {
        match term {
            SubjectTerm::Everyone => Term::Everyone,
            SubjectTerm::User(name) => Term::User(name.as_str().into()),
            SubjectTerm::Group(name) => Term::Group(name.as_str().into()),
            SubjectTerm::ServiceAccount { namespace, name } => {
                Term::User(format!("system:serviceaccount:{namespace}:{name}").into())
            }
            SubjectTerm::DirectoryGroup(group) => Term::Directory(self.intern(group)),
            SubjectTerm::AllOf(terms) => Term::All(terms.iter().map(|term| self.term(term)).collect()),
        }
    }

    fn intern(&mut self, group: &GroupRef) -> GroupRefId {
        if let Some(known) = self.interned.get(group) {
            return *known;
        }
        let id = GroupRefId(u32::try_from(self.refs.len()).unwrap_or(u32::MAX));
        self.refs.push(group.clone());
        self.interned.insert(group.clone(), id);
        id
    }

    fn conditions(&self, conditions: &super::ast::Conditions) -> Conditions {
        let vocabulary = self.vocabulary;
        Conditions {
            time: conditions.time.as_ref().map(|time| TimeWindow {
                condition: whole_day_where_omitted(time.value.clone()),
                except: time
                    .value
                    .except_calendars
                    .iter()
                    .filter_map(|name| vocabulary.calendars.get(&name.value).cloned())
                    .collect(),
            }),
            location: conditions.location.as_ref().map(|location| {
                let sites = location.value.sites.iter().filter_map(|name| vocabulary.sites.get(&name.value));
                sites.flat_map(|site| &site.networks).chain(&location.value.networks).copied().collect()
            }),
            clearance: conditions.clearance.as_ref().map(|clearance| {
                // A name that is not known cannot come here; if it did, nobody would have it.
                let place = |list: &[Spanned<String>], name: &Spanned<String>| {
                    list.iter().position(|known| known.value == name.value).unwrap_or(usize::MAX)
                };
                let clearance = &clearance.value;
                RequiredClearance {
                    level: clearance.at_least.as_ref().map(|level| place(&vocabulary.levels, level)),
                    compartments: clearance
                        .compartments
                        .iter()
                        .map(|name| place(&vocabulary.compartments, name))
                        .collect(),
                }
            }),
            attributes: conditions
                .directory
                .iter()
                .map(|test| AttributeTest {
                    attribute: test.value.attribute.value.as_str().into(),
                    any_of: test.value.any_of.iter().map(|value| value.as_str().into()).collect(),
                })
                .collect(),
        }
    }
}

fn whole_day_where_omitted(mut time: TimeCondition) -> TimeCondition {
    if time.hours.is_empty() {
        time.hours.push(super::ast::Hours { start: 0, end: 24 * 60 });
    }
    time
}

impl Term {
    fn needs_directory(&self) -> bool {
        match self {
            Self::Directory(_) => true,
            Self::All(terms) => terms.iter().any(Self::needs_directory),
            Self::Everyone | Self::User(_) | Self::Group(_) => false,
        }
    }
}

impl Conditions {
    fn needs_directory(&self) -> bool {
        self.clearance.is_some() || !self.attributes.is_empty()
    }
}

/// Where the lines of each source begin.
struct Lines<'a> {
    sources: &'a [Source],
    ends: Vec<Vec<usize>>,
}

impl<'a> Lines<'a> {
    fn new(sources: &'a [Source]) -> Self {
        let ends = |source: &Source| {
            source.bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect()
        };
        Self { sources, ends: sources.iter().map(ends).collect() }
    }

    /// `FILE:LINE` of a span; nothing for the guards, which were not written anywhere.
    fn place(&self, span: Span) -> Arc<str> {
        match (self.sources.get(span.source as usize), self.ends.get(span.source as usize)) {
            (Some(source), Some(ends)) if span != Span::default() => {
                let line = ends.partition_point(|end| *end < span.start as usize) + 1;
                format!("{}:{line}", source.name).into()
            }
            _ => "".into(),
        }
    }
}
