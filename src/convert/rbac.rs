//! RBAC manifests as policies: one for each binding, with the rules of its role.
//!
//! Semantics: `k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/rbac.go`, `pkg/apis/rbac/v1/evaluation_helpers.go`, and for
//! aggregation `pkg/controller/clusterroleaggregation/clusterroleaggregation_controller.go`.

use std::collections::HashMap;

use super::manifests::{Binding, Manifests, Role, Rule, Subject, SubjectKind};
use super::tree::{list, map, name, policy, text, word};
use super::{Converted, Policy, begin, finish};
use crate::document::{self, Diagnostic, Diagnostics, Node, Source, Span, Spanned, quoted};
use crate::policy::Pattern;

/// Makes policies of the Roles, ClusterRoles and bindings of these sources: YAML or JSON, one object or many, also as
/// `kubectl get -o yaml` writes them.
///
/// # Errors
/// With everything that cannot be read or cannot be carried over.
pub fn rbac(sources: &[Source]) -> Result<Converted, Diagnostics> {
    let mut diagnostics = begin(sources);
    let mut manifests = Manifests::default();
    for document in document::parse(sources, &mut diagnostics) {
        manifests.add(&document.root, &mut diagnostics);
    }
    for (kind, count) in &manifests.others {
        let message =
            format!("{count} of the kind {} are no objects of RBAC, and were passed over", quoted(kind));
        diagnostics.push(Diagnostic::warning(None, message));
    }
    let roles = Roles::of(&manifests.roles, &mut diagnostics);
    let mut seen = HashMap::new();
    let mut policies = Vec::new();
    for binding in &manifests.bindings {
        let again = seen.insert((&*binding.namespace, &*binding.name.value), ());
        if again.is_some() {
            let message = format!("{} is there twice", binding.called());
            diagnostics.push(Diagnostic::error(binding.name.span, message).help("convert one of the two"));
            continue;
        }
        let Some(rules) = roles.rules_of(binding, &mut diagnostics) else { continue };
        policies.extend(convert(binding, rules, &mut diagnostics));
    }
    finish(&policies, diagnostics)
}

/// What each role allows, by namespace (empty for a ClusterRole) and name.
struct Roles<'m>(HashMap<(&'m str, &'m str), Vec<&'m Rule>>);

impl<'m> Roles<'m> {
    fn of(roles: &'m [Role], diagnostics: &mut Diagnostics) -> Self {
        let mut by_name: HashMap<(&str, &str), &Role> = HashMap::new();
        for role in roles {
            if by_name.insert((&role.namespace, &role.name.value), role).is_some() {
                let message = format!("there is another role {}", quoted(&role.name.value));
                diagnostics.push(Diagnostic::error(role.name.span, message).help("convert one of the two"));
            }
        }
        let rules = by_name.iter().map(|(key, role)| (*key, union(role, roles)));
        Self(rules.collect())
    }

    fn rules_of(&self, binding: &'m Binding, diagnostics: &mut Diagnostics) -> Option<&[&'m Rule]> {
        let role = &binding.role;
        let namespace = if role.is_cluster_role { "" } else { &*binding.namespace };
        let rules = self.0.get(&(namespace, &*role.name.value)).map(Vec::as_slice);
        if rules.is_none() {
            let kind = if role.is_cluster_role { "ClusterRole" } else { "Role" };
            let message = format!("the {kind} {} is not among what is converted", quoted(&role.name.value));
            let help = format!("add it: `kubectl get {} {} -o yaml`", kind.to_lowercase(), role.name.value);
            diagnostics.push(Diagnostic::error(role.name.span, message).help(help));
        }
        rules
    }
}

/// The rules of a role. Those of an aggregated one are the union of the rules of whichever ClusterRoles it selects, also
/// over several steps: a controller writes them, over whatever stood there.
fn union<'m>(role: &'m Role, roles: &'m [Role]) -> Vec<&'m Rule> {
    let mut rules: Vec<&Rule> = Vec::new();
    let mut reached: Vec<&Role> = vec![role];
    let mut at = 0;
    while let Some(from) = reached.get(at).copied() {
        at += 1;
        let Some(selectors) = &from.selectors else {
            rules.extend(from.rules.iter());
            continue;
        };
        let selected = roles.iter().filter(|other| {
            other.namespace.is_empty() && selectors.iter().any(|selector| selector.selects(&other.labels))
        });
        for other in selected {
            if !reached.iter().any(|known| std::ptr::eq(*known, other)) {
                reached.push(other);
            }
        }
    }
    let mut different: Vec<&Rule> = Vec::new();
    for rule in rules {
        if !different.iter().any(|known| known.says_as_much(rule)) {
            different.push(rule);
        }
    }
    different
}

impl Binding {
    /// As people call it.
    fn called(&self) -> String {
        match &*self.namespace {
            "" => format!("ClusterRoleBinding {}", quoted(&self.name.value)),
            namespace => format!("RoleBinding {}", quoted(&format!("{namespace}/{}", self.name.value))),
        }
    }
}

fn convert(binding: &Binding, rules: &[&Rule], diagnostics: &mut Diagnostics) -> Option<Policy> {
    let subjects = binding.subjects.iter().map(|subject| convert_subject(subject, binding, diagnostics));
    // All of them, so that each mistake is found.
    let subjects: Vec<Option<Node>> = subjects.collect();
    let converted: Vec<Node> =
        rules.iter().flat_map(|rule| convert_rule(rule, binding, diagnostics)).collect();
    let why = match (subjects.is_empty(), converted.is_empty()) {
        (true, _) => "it has no subjects",
        (_, true) => "the rules of its role allow nothing here",
        _ => {
            let kind = if binding.role.is_cluster_role { "ClusterRole" } else { "Role" };
            let of = format!("{} of {kind} {}", binding.called(), quoted(&binding.role.name.value));
            let name = match &*binding.namespace {
                "" => name(&["clusterrolebinding", &binding.name.value]),
                namespace => name(&["rolebinding", namespace, &binding.name.value]),
            };
            let subjects = list(subjects.into_iter().collect::<Option<Vec<_>>>()?, binding.span);
            let document = policy(
                &name,
                &of.replace('`', ""),
                subjects,
                list(converted, binding.span),
                binding.name.span,
            );
            return Some(Policy { of, document });
        }
    };
    let message = format!("{} grants nothing: {why}", binding.called());
    diagnostics.push(Diagnostic::warning(binding.name.span, message));
    None
}

fn convert_subject(subject: &Subject, binding: &Binding, diagnostics: &mut Diagnostics) -> Option<Node> {
    let Subject { kind, name, namespace, span } = subject;
    if name.value.contains('*') {
        let message = format!("RBAC compares names of subjects whole: {} is nobody's", quoted(&name.value));
        let help = "remove the subject; whoever is authenticated is in the group `system:authenticated`";
        diagnostics.push(Diagnostic::error(name.span, message).help(help));
        return None;
    }
    let kind = match kind {
        SubjectKind::User => "User",
        SubjectKind::Group => "Group",
        SubjectKind::ServiceAccount => {
            let own = Spanned::new(binding.namespace.clone(), *span);
            let namespace = namespace.as_ref().unwrap_or(&own);
            if namespace.value.is_empty() {
                let message = "a ServiceAccount without a namespace is nobody in a ClusterRoleBinding";
                diagnostics.push(Diagnostic::error(*span, message).help("write its namespace, or remove it"));
                return None;
            }
            let fields = [
                ("kind", text("ServiceAccount", *span)),
                ("name", word(name)),
                ("namespace", word(namespace)),
            ];
            return Some(map(fields, *span));
        }
    };
    Some(map([("kind", text(kind, *span)), ("name", word(name))], *span))
}

/// A rule about resources, a rule about paths, or both: in RBAC one object may say both.
fn convert_rule(rule: &Rule, binding: &Binding, diagnostics: &mut Diagnostics) -> Vec<Node> {
    let mut converted = Vec::new();
    let of_resources =
        !rule.resources.is_empty() || !rule.api_groups.is_empty() || !rule.resource_names.is_empty();
    if of_resources || rule.non_resource_urls.is_empty() {
        let lists = [("apiGroups", &rule.api_groups), ("resources", &rule.resources), ("verbs", &rule.verbs)];
        match lists.iter().find(|(_, words)| words.is_empty()) {
            Some((empty, _)) => idle(rule.span, &format!("its `{empty}` are empty"), diagnostics),
            None => converted.push(resource_rule(rule, binding, diagnostics)),
        }
    }
    if !rule.non_resource_urls.is_empty() {
        if rule.verbs.is_empty() {
            idle(rule.span, "its `verbs` are empty", diagnostics);
        } else if !binding.namespace.is_empty() {
            idle(rule.span, "a RoleBinding grants no paths", diagnostics);
        } else {
            let paths = rule.non_resource_urls.iter().map(path);
            let fields =
                [("nonResourceURLs", list(paths, rule.span)), ("verbs", words(&rule.verbs, rule.span))];
            converted.push(map(fields, rule.span));
        }
    }
    converted
}

fn idle(span: Span, why: &str, diagnostics: &mut Diagnostics) {
    let message = format!("the rule allows nothing: {why}");
    let is_known = diagnostics.items.iter().any(|item| item.span == Some(span) && item.message == message);
    // A role may be bound a thousand times.
    if !is_known {
        diagnostics.push(Diagnostic::warning(span, message));
    }
}

fn resource_rule(rule: &Rule, binding: &Binding, diagnostics: &mut Diagnostics) -> Node {
    for resource in &rule.resources {
        if resource.value.split_once('/').is_some_and(|(_, subresource)| subresource.contains('*')) {
            let message = format!("RBAC has no pattern {}: it allows nothing", quoted(&resource.value));
            let help = "name each subresource, or remove it";
            diagnostics.push(Diagnostic::error(resource.span, message).help(help));
        }
    }
    let mut fields = vec![
        ("apiGroups", words(&rule.api_groups, rule.span)),
        ("resources", words(&rule.resources, rule.span)),
    ];
    if !rule.resource_names.is_empty() {
        // RBAC knows no wildcards in names.
        let names = rule.resource_names.iter().map(|name| {
            let pattern =
                if name.value.is_empty() { String::new() } else { Pattern::exact(&name.value).to_string() };
            text(pattern, name.span)
        });
        fields.push(("resourceNames", list(names, rule.span)));
    }
    if !binding.namespace.is_empty() {
        fields.push(("namespaces", list([text(&*binding.namespace, binding.span)], binding.span)));
    }
    fields.push(("verbs", words(&rule.verbs, rule.span)));
    map(fields, rule.span)
}

fn words(words: &[Spanned<String>], span: Span) -> Node {
    list(words.iter().map(word), span)
}

/// A path. However many stars stand at its end, they are one.
fn path(path: &Spanned<String>) -> Node {
    match path.value.trim_end_matches('*') {
        whole if whole.len() == path.value.len() => word(path),
        beginning => text(format!("{beginning}*"), path.span),
    }
}
