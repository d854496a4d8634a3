//! Policy documents as they were written, checked in themselves and against each other, before they are compiled.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use ipnet::IpNet;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::pattern::Pattern;
use crate::document::{Node, Spanned};
use crate::model::{AccountState, Decision, Dn, EntityId};

/// All documents that were loaded together. Every name that one of them uses (level, compartment, site, calendar,
/// attribute) is known to the vocabulary, and no two policies, and no two tests, have one name.
#[derive(Debug, Clone, Default)]
pub struct Documents {
    /// The policies, in the order of the files and of the documents in them; the order has no meaning.
    pub policies: Vec<AccessPolicy>,
    /// All `Vocabulary` documents as one.
    pub vocabulary: Vocabulary,
    /// The tests.
    pub tests: Vec<PolicyTest>,
}

/// An `AccessPolicy` document.
#[derive(Debug, Clone)]
pub struct AccessPolicy {
    /// `metadata.name`.
    pub name: Spanned<String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// `spec.description`.
    pub description: Option<String>,
    /// `spec.effect`.
    pub effect: Effect,
    /// `spec.enforcement`; `Enforce` where omitted.
    pub enforcement: Enforcement,
    /// `spec.clusters`; empty where omitted: every cluster.
    pub clusters: Vec<Spanned<Pattern>>,
    /// `spec.validity`.
    pub validity: Validity,
    /// `spec.subjects`: any of them.
    pub subjects: Vec<Spanned<SubjectTerm>>,
    /// `spec.exceptSubjects`: none of them.
    pub except_subjects: Vec<Spanned<SubjectTerm>>,
    /// `spec.rules`: any of them.
    pub rules: Vec<Spanned<Rule>>,
    /// `spec.when`: all of it; [`Conditions::default`] where omitted.
    pub when: Conditions,
    /// `spec.unless`: any element that fully holds excuses.
    pub unless: Vec<Spanned<Conditions>>,
    /// `spec.message`: shown to the user on a Deny; one line, at most 200 characters.
    pub message: Option<String>,
}

/// What a policy does where it applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Grants.
    Allow,
    /// Refuses, whatever others grant.
    Deny,
}

/// Whether a policy takes part in decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Enforcement {
    /// It does.
    Enforce,
    /// It is only reported what it would have done.
    Shadow,
}

/// From when (inclusive) until when (exclusive) a policy is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Validity {
    /// `notBefore`.
    pub not_before: Option<Timestamp>,
    /// `notAfter`.
    pub not_after: Option<Timestamp>,
}

/// One element of `subjects` or `exceptSubjects`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SubjectTerm {
    /// A group of the directory, nested membership included.
    DirectoryGroup(GroupRef),
    /// A group that the cluster asserts.
    Group(String),
    /// A user name that the cluster asserts.
    User(String),
    /// The user `system:serviceaccount:NAMESPACE:NAME`.
    ServiceAccount {
        /// The ServiceAccount's namespace.
        namespace: String,
        /// The ServiceAccount's name.
        name: String,
    },
    /// All of these; at least one, and none of them `AllOf` itself.
    AllOf(Vec<SubjectTerm>),
    /// Whoever asks.
    Everyone,
}

/// How a policy names a group of the directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum GroupRef {
    /// By name, resolved below `groupSearch.base` from the policies' side.
    Name(String),
    /// By DN.
    Dn(Dn),
    /// By SID, GUID or entryUUID.
    Id(EntityId),
}

/// One element of `rules`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// With `apiGroups` and `resources`.
    Resource(ResourceRule),
    /// With `nonResourceURLs`.
    NonResource(NonResourceRule),
}

/// A rule about resources. Every list is non-empty but for `resource_names`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceRule {
    /// `apiGroups`: exact, or `*`.
    pub api_groups: Vec<Name>,
    /// `resources`.
    pub resources: Vec<ResourcePattern>,
    /// `resourceNames`; empty where omitted: any name and none.
    pub resource_names: Vec<Pattern>,
    /// `namespaces`; `None` where omitted: anywhere.
    pub namespaces: Option<Vec<NamespacePattern>>,
    /// `verbs`: exact, or `*`.
    pub verbs: Vec<Name>,
}

/// A rule about paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NonResourceRule {
    /// `nonResourceURLs`.
    pub paths: Vec<PathPattern>,
    /// `verbs`: exact, or `*`.
    pub verbs: Vec<Name>,
}

/// A name that is compared exactly, or `*` for any.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Name {
    /// `*`.
    Any,
    /// Exactly this.
    Exact(String),
}

/// One element of `resources`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ResourcePattern {
    /// `*`: every resource and every subresource.
    Any,
    /// `pods`: the resource without its subresources.
    Resource(String),
    /// `pods/exec`: one subresource.
    Subresource(String, String),
    /// `pods/*`: every subresource of the resource, not the resource itself.
    AnySubresource(String),
    /// `*/scale`: this subresource of every resource.
    AnyWithSubresource(String),
}

/// One element of `namespaces`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamespacePattern {
    /// `""`: cluster-scoped, or all namespaces at once.
    ClusterWide,
    /// A namespace's name; never matches an empty one.
    Named(Pattern),
}

/// One element of `nonResourceURLs`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathPattern {
    /// `*`.
    Any,
    /// Exactly this path.
    Exact(String),
    /// Every path that begins with this (written with a `*` at its end).
    Prefix(String),
}

/// What `when`, or one element of `unless`, asks for; all of it must hold. Empty: always true.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conditions {
    /// `time`.
    pub time: Option<Spanned<TimeCondition>>,
    /// `location`.
    pub location: Option<Spanned<LocationCondition>>,
    /// `clearance`.
    pub clearance: Option<Spanned<ClearanceCondition>>,
    /// `directory`: all of these.
    pub directory: Vec<Spanned<AttributeCondition>>,
}

/// Days and hours in a time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeCondition {
    /// The days on which a range may start; every day where omitted.
    pub days: Days,
    /// The ranges, at least one; the whole day where omitted.
    pub hours: Vec<Hours>,
    /// The zone: `timeZone`, or the one zone of the sites that stand beside it.
    pub time_zone: TimeZone,
    /// `exceptCalendars`: a range that starts on a day of one of these does not open.
    pub except_calendars: Vec<Spanned<String>>,
}

/// A set of weekdays: bit 0 is Monday, bit 6 is Sunday.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Days(pub u8);

/// A range of a day's hours, in minutes after midnight of the day on which it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hours {
    /// Inclusive; 0 to 1439.
    pub start: u16,
    /// Exclusive; above `start`, up to 2880 (a range that runs over midnight ends above 1440).
    pub end: u16,
}

/// Where the request comes from: any of the sites or networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocationCondition {
    /// Names of sites in the vocabulary.
    pub sites: Vec<Spanned<String>>,
    /// Networks, with their host bits zero.
    pub networks: Vec<IpNet>,
}

/// What clearance the person must have; at least one of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClearanceCondition {
    /// `atLeast`: a level of the vocabulary.
    pub at_least: Option<Spanned<String>>,
    /// `compartments`: all of these.
    pub compartments: Vec<Spanned<String>>,
}

/// One attribute of the person's entry: any of these values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeCondition {
    /// The attribute's name in the vocabulary.
    pub attribute: Spanned<String>,
    /// The values, compared byte for byte; at least one.
    pub any_of: Vec<String>,
}

/// All `Vocabulary` documents as one.
#[derive(Debug, Clone, Default)]
pub struct Vocabulary {
    /// The levels of clearance, lowest first.
    pub levels: Vec<Spanned<String>>,
    /// The compartments; none of them is the name of a level.
    pub compartments: Vec<Spanned<String>>,
    /// The sites, by name.
    pub sites: BTreeMap<String, Site>,
    /// The calendars, by name.
    pub calendars: BTreeMap<String, Calendar>,
    /// The attributes that policies may use, by name; at most one is of the type clearance.
    pub attributes: BTreeMap<String, AttributeType>,
    /// Resources known to be cluster-scoped beside the built-in table.
    pub cluster_scoped: Vec<GroupResource>,
}

/// A place with networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Its networks; at least one.
    pub networks: Vec<IpNet>,
    /// Its time zone.
    pub time_zone: Option<TimeZone>,
}

/// A list of days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    /// Its zone, for people to read: days are compared with the start day of a range in the range's own zone.
    pub time_zone: Option<TimeZone>,
    /// The days.
    pub dates: BTreeSet<Date>,
}

/// The type of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttributeType {
    /// Text, compared byte for byte.
    String,
    /// The person's clearance: exactly one level, and any number of compartments, one a value.
    Clearance,
}

/// A resource in an API group, as in `widgets.example.com`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupResource {
    /// The resource, in the plural.
    pub resource: String,
    /// The API group; empty for the core group.
    pub group: String,
}

/// A `PolicyTest` document.
#[derive(Debug, Clone)]
pub struct PolicyTest {
    /// `metadata.name`.
    pub name: Spanned<String>,
    /// `spec.directory`.
    pub directory: TestDirectory,
    /// `spec.attributes`: where an attribute of the vocabulary is in the directory's entries; one that is not listed is
    /// the LDAP attribute of the same name.
    pub attributes: BTreeMap<String, String>,
    /// `spec.location.trustedClusters`.
    pub trusted_clusters: Vec<String>,
    /// `spec.cases`; at least one, each with a name of its own.
    pub cases: Vec<Spanned<TestCase>>,
}

/// Where the cases of a test get their facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TestDirectory {
    /// Nobody is in a directory (`directory` omitted); a case may give `facts`.
    None,
    /// The directory cannot be reached (`directory: unavailable`).
    Unavailable,
    /// An LDIF file; its path is relative to the folder of the document's file.
    Ldif(Spanned<PathBuf>),
}

/// One case of a test.
#[derive(Debug, Clone)]
pub struct TestCase {
    /// What it shows.
    pub name: Spanned<String>,
    /// When.
    pub at: Timestamp,
    /// From which cluster.
    pub cluster: Option<String>,
    /// The `spec` of a v1 SubjectAccessReview, as a tree.
    pub request: Spanned<Node>,
    /// Facts given in the case itself, instead of a directory's.
    pub facts: Option<InlineFacts>,
    /// The decision that is expected.
    pub decision: Decision,
    /// Exactly which policies are expected to have applied with that effect; `None` where the case does not say.
    pub policies: Option<BTreeSet<String>>,
}

/// Facts that are written down in a test.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InlineFacts {
    /// Group names; each counts as one group with exactly that name.
    pub groups: Vec<String>,
    /// Attributes by name, with their values.
    pub attributes: BTreeMap<String, Vec<String>>,
    /// `account: {disabled: , locked: , expires: , passwordExpired: }`.
    pub account: AccountState,
}
