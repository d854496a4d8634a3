//! RBAC objects as they are written: roles and bindings, alone or in lists.
//!
//! Shapes: <https://github.com/kubernetes/api/blob/master/rbac/v1/types.go>.

use std::collections::BTreeMap;

use super::given;
use crate::document::{
    Diagnostic, Diagnostics, Fields, Node, Span, Spanned, Value, any_text, choice, quoted,
};

/// The API group.
const GROUP: &str = "rbac.authorization.k8s.io";

/// The versions that say the same; in `v1alpha1` a `*` was a user.
const VERSIONS: [&str; 2] = ["v1", "v1beta1"];

/// All objects of the sources.
#[derive(Default)]
pub(super) struct Manifests {
    pub(super) roles: Vec<Role>,
    pub(super) bindings: Vec<Binding>,
    /// Objects of other API groups, by kind: they say nothing about who may do what.
    pub(super) others: BTreeMap<String, usize>,
}

/// A Role or ClusterRole.
pub(super) struct Role {
    /// The namespace; empty for a ClusterRole.
    pub(super) namespace: String,
    pub(super) name: Spanned<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) rules: Vec<Rule>,
    /// `aggregationRule.clusterRoleSelectors`; none: the rules are the role's own.
    pub(super) selectors: Option<Vec<Selector>>,
}

/// One of `rules`.
pub(super) struct Rule {
    pub(super) api_groups: Vec<Spanned<String>>,
    pub(super) resources: Vec<Spanned<String>>,
    pub(super) resource_names: Vec<Spanned<String>>,
    pub(super) non_resource_urls: Vec<Spanned<String>>,
    pub(super) verbs: Vec<Spanned<String>>,
    pub(super) span: Span,
}

/// A label selector (`metav1.LabelSelector`): all of it must hold.
pub(super) struct Selector {
    equal: BTreeMap<String, String>,
    expressions: Vec<Requirement>,
}

struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Clone, Copy)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

const OPERATORS: &[(&str, Operator)] = &[
    ("In", Operator::In),
    ("NotIn", Operator::NotIn),
    ("Exists", Operator::Exists),
    ("DoesNotExist", Operator::DoesNotExist),
];

/// A RoleBinding or ClusterRoleBinding.
pub(super) struct Binding {
    /// The namespace; empty for a ClusterRoleBinding.
    pub(super) namespace: String,
    pub(super) name: Spanned<String>,
    pub(super) role: RoleRef,
    pub(super) subjects: Vec<Subject>,
    pub(super) span: Span,
}

pub(super) struct RoleRef {
    pub(super) is_cluster_role: bool,
    pub(super) name: Spanned<String>,
}

pub(super) struct Subject {
    pub(super) kind: SubjectKind,
    pub(super) name: Spanned<String>,
    pub(super) namespace: Option<Spanned<String>>,
    pub(super) span: Span,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SubjectKind {
    User,
    Group,
    ServiceAccount,
}

const SUBJECT_KINDS: &[(&str, SubjectKind)] = &[
    ("User", SubjectKind::User),
    ("Group", SubjectKind::Group),
    ("ServiceAccount", SubjectKind::ServiceAccount),
];

const ROLE_KINDS: &[(&str, bool)] = &[("Role", false), ("ClusterRole", true)];

impl Manifests {
    /// Takes in an object, or the objects of a list.
    pub(super) fn add(&mut self, node: &Node, diagnostics: &mut Diagnostics) {
        let Value::Mapping(_) = &node.value else {
            crate::document::expected("an object of Kubernetes", node, diagnostics);
            return;
        };
        let (version, kind) = (text_of(node, "apiVersion"), text_of(node, "kind"));
        let (Some(version), Some(kind)) = (version, kind) else {
            let message = "an object of Kubernetes has an `apiVersion` and a `kind`";
            diagnostics.push(Diagnostic::error(node.span, message));
            return;
        };
        let of_rbac = version.strip_prefix(GROUP).and_then(|rest| rest.strip_prefix('/'));
        match (of_rbac, kind) {
            (None, "List") if version == "v1" => self.add_items(node, diagnostics),
            (Some(_), "RoleList" | "ClusterRoleList" | "RoleBindingList" | "ClusterRoleBindingList") => {
                self.add_items(node, diagnostics);
            }
            (None, _) => *self.others.entry(kind.to_owned()).or_default() += 1,
            (Some(version), _) if !VERSIONS.contains(&version) => {
                let message = format!("{} of RBAC is not read", quoted(version));
                diagnostics.push(Diagnostic::error(node.span, message).help("write it as v1"));
            }
            (Some(_), "Role" | "ClusterRole") => {
                self.roles.extend(Role::read(node, kind == "ClusterRole", diagnostics))
            }
            (Some(_), "RoleBinding" | "ClusterRoleBinding") => {
                self.bindings.extend(Binding::read(node, kind == "ClusterRoleBinding", diagnostics));
            }
            (Some(_), _) => {
                let message = format!("{} is no kind of {GROUP}", quoted(kind));
                let words = ["Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"];
                let help = crate::document::did_you_mean_or_list(kind, words);
                diagnostics.push(Diagnostic::error(node.span, message).maybe_help(help));
            }
        }
    }

    fn add_items(&mut self, node: &Node, diagnostics: &mut Diagnostics) {
        match given(field(node, "items")).map(|items| (&items.value, items)) {
            None => {}
            Some((Value::Sequence(items), _)) => items.iter().for_each(|item| self.add(item, diagnostics)),
            Some((_, other)) => crate::document::expected("a list", other, diagnostics),
        }
    }
}

impl Role {
    fn read(node: &Node, of_cluster: bool, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::open(node, diagnostics)?;
        let (namespace, name, labels) = head(&mut fields, of_cluster, diagnostics)?;
        let rules = items(fields.node("rules"), diagnostics, Rule::read);
        let selectors = match given(of_cluster.then(|| fields.node("aggregationRule")).flatten()) {
            None => None,
            Some(rule) => {
                let mut fields = Fields::open(rule, diagnostics)?;
                let selectors = items(fields.node("clusterRoleSelectors"), diagnostics, Selector::read);
                fields.finish(diagnostics);
                Some(selectors)
            }
        };
        fields.finish(diagnostics);
        Some(Self { namespace, name, labels, rules, selectors })
    }
}

impl Rule {
    /// Whether the two are one rule, wherever they stand.
    pub(super) fn says_as_much(&self, other: &Self) -> bool {
        self.api_groups == other.api_groups
            && self.resources == other.resources
            && self.resource_names == other.resource_names
            && self.non_resource_urls == other.non_resource_urls
            && self.verbs == other.verbs
    }

    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::open(node, diagnostics)?;
        let mut words = |name| items(fields.node(name), diagnostics, spanned_text);
        let rule = Self {
            api_groups: words("apiGroups"),
            resources: words("resources"),
            resource_names: words("resourceNames"),
            non_resource_urls: words("nonResourceURLs"),
            verbs: words("verbs"),
            span: node.span,
        };
        fields.finish(diagnostics);
        Some(rule)
    }
}

impl Selector {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        // `{}` is a selector: it selects everything.
        if matches!(&node.value, Value::Mapping(entries) if entries.is_empty()) {
            return Some(Self { equal: BTreeMap::new(), expressions: Vec::new() });
        }
        let mut fields = Fields::open(node, diagnostics)?;
        let equal = texts(fields.node("matchLabels"), diagnostics);
        let expressions = items(fields.node("matchExpressions"), diagnostics, Requirement::read);
        fields.finish(diagnostics);
        Some(Self { equal, expressions })
    }

    /// Whether an object with these labels is selected.
    pub(super) fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.equal.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.expressions.iter().all(|requirement| requirement.holds(labels))
    }
}

impl Requirement {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::open(node, diagnostics)?;
        let key = fields.required("key", diagnostics, any_text);
        let operator = fields.required("operator", diagnostics, choice(OPERATORS));
        let values = items(fields.node("values"), diagnostics, any_text);
        fields.finish(diagnostics);
        Some(Self { key: key?, operator: operator?, values })
    }

    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let is_one = value.is_some_and(|value| self.values.contains(value));
        match self.operator {
            Operator::In => is_one,
            Operator::NotIn => !is_one,
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

impl Binding {
    fn read(node: &Node, of_cluster: bool, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::open(node, diagnostics)?;
        let head = head(&mut fields, of_cluster, diagnostics);
        let role = fields.required("roleRef", diagnostics, RoleRef::read);
        let subjects = items(fields.node("subjects"), diagnostics, Subject::read);
        fields.finish(diagnostics);
        let ((namespace, name, _), role) = (head?, role?);
        if of_cluster && !role.is_cluster_role {
            let message = "a ClusterRoleBinding binds a ClusterRole, not a Role";
            diagnostics.push(Diagnostic::error(role.name.span, message));
            return None;
        }
        Some(Self { namespace, name, role, subjects, span: node.span })
    }
}

impl RoleRef {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::open(node, diagnostics)?;
        let group = fields.optional("apiGroup", diagnostics, spanned_text);
        let is_cluster_role = fields.required("kind", diagnostics, choice(ROLE_KINDS));
        let name = fields.required("name", diagnostics, spanned_text);
        fields.finish(diagnostics);
        is_of(group, GROUP, diagnostics)?;
        Some(Self { is_cluster_role: is_cluster_role?, name: name? })
    }
}

impl Subject {
    fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::open(node, diagnostics)?;
        let group = fields.optional("apiGroup", diagnostics, spanned_text);
        let kind = fields.required("kind", diagnostics, choice(SUBJECT_KINDS));
        let name = fields.required("name", diagnostics, spanned_text);
        let namespace = given(fields.node("namespace")).and_then(|node| spanned_text(node, diagnostics));
        fields.finish(diagnostics);
        let kind = kind?;
        let expected = if kind == SubjectKind::ServiceAccount { "" } else { GROUP };
        is_of(group, expected, diagnostics)?;
        let namespace = namespace.filter(|namespace| !namespace.value.is_empty());
        Some(Self { kind, name: name?, namespace, span: node.span })
    }
}

/// Reports an `apiGroup` that is given and is another one: it would mean something else.
fn is_of(group: Option<Spanned<String>>, expected: &str, diagnostics: &mut Diagnostics) -> Option<()> {
    match group {
        Some(group) if group.value != expected => {
            let message =
                format!("the `apiGroup` must be {} here, and is {}", quoted(expected), quoted(&group.value));
            diagnostics.push(Diagnostic::error(group.span, message));
            None
        }
        _ => Some(()),
    }
}

/// Namespace, name and labels; other metadata says nothing about who may do what.
fn head(
    fields: &mut Fields<'_>,
    of_cluster: bool,
    diagnostics: &mut Diagnostics,
) -> Option<(String, Spanned<String>, BTreeMap<String, String>)> {
    fields.key("apiVersion");
    fields.key("kind");
    let metadata = fields.required("metadata", diagnostics, |node, _| Some(node))?;
    let text = |name, diagnostics: &mut Diagnostics| {
        given(field(metadata, name)).and_then(|node| spanned_text(node, diagnostics))
    };
    let Some(name) = text("name", diagnostics).filter(|name| !name.value.is_empty()) else {
        diagnostics.push(Diagnostic::error(metadata.span, "the object has no `metadata.name`"));
        return None;
    };
    let labels = texts(field(metadata, "labels"), diagnostics);
    let namespace = text("namespace", diagnostics).filter(|namespace| !namespace.value.is_empty());
    match (of_cluster, namespace) {
        (true, None) => Some((String::new(), name, labels)),
        (false, Some(namespace)) => Some((namespace.value, name, labels)),
        (true, Some(namespace)) => {
            diagnostics.push(Diagnostic::error(namespace.span, "an object of the cluster has no namespace"));
            None
        }
        (false, None) => {
            let message =
                "the object has no `metadata.namespace`: which it is applied to decides what it says";
            diagnostics.push(Diagnostic::error(metadata.span, message).help("write its namespace into it"));
            None
        }
    }
}

fn field<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    match &node.value {
        Value::Mapping(entries) => entries.iter().find(|(key, _)| key.value == name).map(|(_, value)| value),
        _ => None,
    }
}

fn text_of<'n>(node: &'n Node, name: &str) -> Option<&'n str> {
    field(node, name)?.as_text()
}

fn spanned_text(node: &Node, diagnostics: &mut Diagnostics) -> Option<Spanned<String>> {
    any_text(node, diagnostics).map(|text| Spanned::new(text, node.span))
}

/// The elements of a list that may be left out, or be empty.
fn items<T>(
    node: Option<&Node>,
    diagnostics: &mut Diagnostics,
    decode: impl FnMut(&Node, &mut Diagnostics) -> Option<T>,
) -> Vec<T> {
    given(node).and_then(|node| crate::document::any_list(decode)(node, diagnostics)).unwrap_or_default()
}

/// A mapping of texts that may be left out, or be empty.
fn texts(node: Option<&Node>, diagnostics: &mut Diagnostics) -> BTreeMap<String, String> {
    let node =
        given(node).filter(|node| !matches!(&node.value, Value::Mapping(entries) if entries.is_empty()));
    let entries = node.and_then(|node| crate::document::map(any_text)(node, diagnostics)).unwrap_or_default();
    entries.into_iter().map(|(key, value)| (key.value, value)).collect()
}
