//! Whether a rule speaks of a request: an Allow rule must *cover* it, a Deny rule applies where it *overlaps* it (DESIGN 3.4).
//!
//! A request may carry a literal `*` (`kubectl auth can-i '*' '*'`): it stands for everything in its dimension, so that it
//! is covered only by a rule's own `*`, and overlaps any rule.

use std::collections::HashSet;

use super::ast::{
    GroupResource, Name, NamespacePattern, NonResourceRule, PathPattern, ResourcePattern, ResourceRule, Rule,
};
use super::pattern::Pattern;
use crate::model::{Action, NonResourceAction, ResourceAction};

/// Which resources are cluster-scoped: a built-in table and what the vocabulary adds.
#[derive(Debug, Clone, Default)]
pub struct Scopes {
    added: HashSet<GroupResource>,
}

/// Cluster-scoped resources of Kubernetes itself, by API group (`kubectl api-resources --namespaced=false`), with the
/// virtual ones that impersonation asks for.
const CLUSTER_SCOPED: &[(&str, &[&str])] = &[
    ("", &["componentstatuses", "groups", "namespaces", "nodes", "persistentvolumes", "users"]),
    (
        "admissionregistration.k8s.io",
        &[
            "mutatingadmissionpolicies",
            "mutatingadmissionpolicybindings",
            "mutatingwebhookconfigurations",
            "validatingadmissionpolicies",
            "validatingadmissionpolicybindings",
            "validatingwebhookconfigurations",
        ],
    ),
    ("apiextensions.k8s.io", &["customresourcedefinitions"]),
    ("apiregistration.k8s.io", &["apiservices"]),
    ("authentication.k8s.io", &["selfsubjectreviews", "tokenreviews", "uids", "userextras"]),
    (
        "authorization.k8s.io",
        &["selfsubjectaccessreviews", "selfsubjectrulesreviews", "subjectaccessreviews"],
    ),
    ("certificates.k8s.io", &["certificatesigningrequests"]),
    ("flowcontrol.apiserver.k8s.io", &["flowschemas", "prioritylevelconfigurations"]),
    ("networking.k8s.io", &["ingressclasses"]),
    ("node.k8s.io", &["runtimeclasses"]),
    ("rbac.authorization.k8s.io", &["clusterrolebindings", "clusterroles"]),
    ("scheduling.k8s.io", &["priorityclasses"]),
    ("storage.k8s.io", &["csidrivers", "csinodes", "storageclasses", "volumeattachments"]),
];

/// The subresources to which clients connect: a WebSocket reaches them with `get`, SPDY with `create`, so that in a Deny
/// the two are one verb.
const CONNECT_SUBRESOURCES: [&str; 4] = ["attach", "exec", "portforward", "proxy"];

impl Scopes {
    /// The built-in table and these resources.
    #[must_use]
    pub fn new(added: &[GroupResource]) -> Self {
        Self { added: added.iter().cloned().collect() }
    }

    /// Whether the resource is known to have no namespace. A request-side `*` is not.
    #[must_use]
    pub fn is_cluster_scoped(&self, group: &str, resource: &str) -> bool {
        CLUSTER_SCOPED.iter().any(|(known, resources)| *known == group && resources.contains(&resource))
            || (!self.added.is_empty()
                && self.added.iter().any(|added| added.group == group && added.resource == resource))
    }
}

/// Whether an Allow rule covers the request: everything that the request could mean is in the rule.
#[must_use]
pub fn covers(rule: &Rule, action: &Action) -> bool {
    match (rule, action) {
        (Rule::Resource(rule), Action::Resource(action)) => covers_resource(rule, action),
        (Rule::NonResource(rule), Action::NonResource(action)) => covers_path(rule, action),
        _ => false,
    }
}

/// Whether a Deny rule overlaps the request: something that the request could mean is in the rule.
#[must_use]
pub fn overlaps(rule: &Rule, action: &Action, scopes: &Scopes) -> bool {
    match (rule, action) {
        (Rule::Resource(rule), Action::Resource(action)) => overlaps_resource(rule, action, scopes),
        (Rule::NonResource(rule), Action::NonResource(action)) => overlaps_path(rule, action),
        _ => false,
    }
}

fn covers_resource(rule: &ResourceRule, action: &ResourceAction) -> bool {
    covered_by_name(&rule.verbs, &action.verb)
        && covered_by_name(&rule.api_groups, &action.group)
        && rule.resources.iter().any(|pattern| match pattern {
            ResourcePattern::Any => true,
            ResourcePattern::Resource(resource) => {
                action.subresource.is_empty() && *resource == action.resource
            }
            ResourcePattern::Subresource(resource, subresource) => {
                *resource == action.resource && *subresource == action.subresource
            }
            ResourcePattern::AnySubresource(resource) => {
                *resource == action.resource && !action.subresource.is_empty()
            }
            ResourcePattern::AnyWithSubresource(subresource) => *subresource == action.subresource,
        })
        && rule.namespaces.as_ref().is_none_or(|namespaces| {
            namespaces.iter().any(|namespace| match namespace {
                NamespacePattern::ClusterWide => action.namespace.is_empty(),
                NamespacePattern::Named(pattern) => covered_by_pattern(pattern, &action.namespace),
            })
        })
        && (rule.resource_names.is_empty()
            || rule.resource_names.iter().any(|pattern| covered_by_pattern(pattern, &action.name)))
}

fn covered_by_name(names: &[Name], asked: &str) -> bool {
    names.iter().any(|name| match name {
        Name::Any => true,
        Name::Exact(exact) => exact == asked && asked != "*",
    })
}

fn covered_by_pattern(pattern: &Pattern, asked: &str) -> bool {
    // An object may be called `*`: a pattern that says just that (`\*`) means it alone.
    if asked == "*" { pattern.is_any() || pattern.as_exact() == Some("*") } else { pattern.matches(asked) }
}

fn covers_path(rule: &NonResourceRule, action: &NonResourceAction) -> bool {
    covered_by_name(&rule.verbs, &action.verb)
        && rule.paths.iter().any(|pattern| match pattern {
            PathPattern::Any => true,
            PathPattern::Exact(path) => *path == action.path,
            PathPattern::Prefix(prefix) => action.path.starts_with(prefix.as_str()),
        })
}

fn overlaps_resource(rule: &ResourceRule, action: &ResourceAction, scopes: &Scopes) -> bool {
    let spans = spans_many(&action.verb);
    overlaps_name(&rule.api_groups, &action.group)
        && rule.resources.iter().any(|pattern| {
            overlaps_pattern(pattern, action)
                && (overlaps_name(&rule.verbs, &action.verb)
                    || (is_get_or_create(&action.verb)
                        && may_connect(pattern, action)
                        && rule
                            .verbs
                            .iter()
                            .any(|verb| matches!(verb, Name::Exact(verb) if is_get_or_create(verb)))))
        })
        && (rule.resource_names.is_empty()
            || action.name == "*"
            || (action.name.is_empty() && spans)
            || rule.resource_names.iter().any(|pattern| pattern.matches(&action.name)))
        && rule.namespaces.as_ref().is_none_or(|namespaces| {
            action.namespace == "*"
                || (action.namespace.is_empty()
                    && spans
                    && !scopes.is_cluster_scoped(&action.group, &action.resource))
                || namespaces.iter().any(|namespace| match namespace {
                    NamespacePattern::ClusterWide => action.namespace.is_empty(),
                    NamespacePattern::Named(pattern) => pattern.matches(&action.namespace),
                })
        })
}

/// Whether a request with this verb and without a name or namespace reaches every name or namespace.
pub(super) fn spans_many(verb: &str) -> bool {
    matches!(verb, "list" | "watch" | "deletecollection" | "*")
}

pub(super) fn is_get_or_create(verb: &str) -> bool {
    matches!(verb, "get" | "create")
}

/// Whether the request could be for a subresource to which clients connect.
pub(super) fn may_be_connect(action: &ResourceAction) -> bool {
    stands_for_any_subresource(action) || is_connect(&action.subresource)
}

/// Whether, among the subresources that both the rule and the request stand for, there is one to which clients connect.
fn may_connect(pattern: &ResourcePattern, action: &ResourceAction) -> bool {
    if !stands_for_any_subresource(action) {
        return is_connect(&action.subresource);
    }
    match pattern {
        ResourcePattern::Any | ResourcePattern::AnySubresource(_) => true,
        ResourcePattern::Resource(_) => false,
        ResourcePattern::Subresource(_, subresource) | ResourcePattern::AnyWithSubresource(subresource) => {
            is_connect(subresource)
        }
    }
}

fn stands_for_any_subresource(action: &ResourceAction) -> bool {
    action.subresource == "*" || (action.resource == "*" && action.subresource.is_empty())
}

fn is_connect(subresource: &str) -> bool {
    CONNECT_SUBRESOURCES.contains(&subresource)
}

fn overlaps_name(names: &[Name], asked: &str) -> bool {
    asked == "*"
        || names.iter().any(|name| match name {
            Name::Any => true,
            Name::Exact(exact) => exact == asked,
        })
}

fn overlaps_pattern(pattern: &ResourcePattern, action: &ResourceAction) -> bool {
    let any_resource = action.resource == "*";
    let any_subresource = stands_for_any_subresource(action);
    match pattern {
        ResourcePattern::Any => true,
        ResourcePattern::Resource(resource) => {
            (any_resource || *resource == action.resource)
                && (any_subresource || action.subresource.is_empty())
        }
        ResourcePattern::Subresource(resource, subresource) => {
            (any_resource || *resource == action.resource)
                && (any_subresource || *subresource == action.subresource)
        }
        ResourcePattern::AnySubresource(resource) => {
            (any_resource || *resource == action.resource)
                && (any_subresource || !action.subresource.is_empty())
        }
        ResourcePattern::AnyWithSubresource(subresource) => {
            any_subresource || *subresource == action.subresource
        }
    }
}

fn overlaps_path(rule: &NonResourceRule, action: &NonResourceAction) -> bool {
    overlaps_name(&rule.verbs, &action.verb)
        && (action.path == "*"
            || rule.paths.iter().any(|pattern| match pattern {
                PathPattern::Any => true,
                PathPattern::Exact(path) => *path == action.path,
                PathPattern::Prefix(prefix) => action.path.starts_with(prefix.as_str()),
            }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(
        resources: &[ResourcePattern],
        verbs: &[&str],
        namespaces: Option<&[&str]>,
        names: &[&str],
    ) -> Rule {
        Rule::Resource(ResourceRule {
            api_groups: vec![Name::Any],
            resources: resources.to_vec(),
            resource_names: names.iter().map(|name| Pattern::parse(name).unwrap()).collect(),
            namespaces: namespaces.map(|list| {
                list.iter()
                    .map(|name| match Pattern::parse(name) {
                        Ok(pattern) => NamespacePattern::Named(pattern),
                        Err(_) => NamespacePattern::ClusterWide,
                    })
                    .collect()
            }),
            verbs: verbs
                .iter()
                .map(|verb| if *verb == "*" { Name::Any } else { Name::Exact((*verb).to_owned()) })
                .collect(),
        })
    }

    fn action(verb: &str, resource: &str, namespace: &str, name: &str) -> Action {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        Action::Resource(ResourceAction {
            verb: verb.into(),
            resource: resource.into(),
            subresource: subresource.into(),
            namespace: namespace.into(),
            name: name.into(),
            ..ResourceAction::default()
        })
    }

    fn secrets() -> ResourcePattern {
        ResourcePattern::Resource("secrets".into())
    }

    #[test]
    fn rule_3_4_an_allow_must_cover() {
        let everything = rule(&[ResourcePattern::Any], &["*"], None, &[]);
        let read = rule(&[secrets()], &["get", "list"], Some(&["*"]), &[]);
        let named = rule(&[secrets()], &["get", "list"], None, &["*"]);
        for (rule, action, expected) in [
            (&everything, action("*", "*", "", ""), true),
            (&read, action("*", "secrets", "a", ""), false),
            (&read, action("get", "*", "a", "x"), false),
            (&read, action("get", "secrets", "a", "x"), true),
            (&read, action("list", "secrets", "", ""), false),
            (&read, action("get", "secrets", "*", "x"), true),
            (&read, action("get", "secrets/status", "a", "x"), false),
            (&named, action("list", "secrets", "a", ""), false),
            (&named, action("get", "secrets", "a", "x"), true),
        ] {
            assert_eq!(covers(rule, &action), expected, "{rule:?} {action:?}");
        }
    }

    #[test]
    fn rule_3_4_a_deny_applies_where_it_overlaps() {
        let scopes = Scopes::default();
        let vault = rule(&[secrets()], &["get", "list", "watch"], Some(&["vault"]), &[]);
        let one = rule(&[secrets()], &["get", "list"], None, &["root"]);
        let exec =
            rule(&[ResourcePattern::Subresource("pods".into(), "exec".into())], &["create"], None, &[]);
        let node = rule(&[ResourcePattern::Resource("nodes".into())], &["list"], Some(&["vault"]), &[]);
        for (rule, action, expected) in [
            (&vault, action("list", "secrets", "", ""), true),
            (&vault, action("get", "secrets", "", "x"), false),
            (&vault, action("list", "secrets", "other", ""), false),
            (&vault, action("*", "*", "", ""), true),
            (&vault, action("delete", "secrets", "vault", "x"), false),
            (&one, action("list", "secrets", "a", ""), true),
            (&one, action("get", "secrets", "a", "other"), false),
            (&exec, action("get", "pods/exec", "a", "x"), true),
            (&exec, action("create", "pods/exec", "a", "x"), true),
            (&exec, action("get", "pods", "a", "x"), false),
            (&exec, action("get", "pods/*", "a", "x"), true),
            (&node, action("list", "nodes", "", ""), false),
        ] {
            assert_eq!(overlaps(rule, &action, &scopes), expected, "{rule:?} {action:?}");
        }
    }

    #[test]
    fn paths_are_compared_byte_for_byte() {
        let rule = Rule::NonResource(NonResourceRule {
            paths: vec![PathPattern::Prefix("/debug/".into()), PathPattern::Exact("/metrics".into())],
            verbs: vec![Name::Exact("get".into())],
        });
        for (path, expected) in [
            ("/metrics", true),
            ("/metrics/", false),
            ("/debug/x", true),
            ("/debug", false),
            ("//metrics", false),
        ] {
            let action = Action::NonResource(NonResourceAction { verb: "get".into(), path: path.into() });
            assert_eq!(covers(&rule, &action), expected, "{path}");
        }
    }
}
