//! Whether a rule covers a request (in an Allow) or overlaps it (in a Deny): DESIGN 3.4.

use bailiwick::model::{Action, NonResourceAction, ResourceAction};
use bailiwick::policy::Pattern;
use bailiwick::policy::ast::{
    Effect, Name, NamespacePattern, NonResourceRule, PathPattern, ResourcePattern, ResourceRule, Rule,
    Vocabulary,
};

pub(super) fn applies(vocabulary: &Vocabulary, effect: Effect, rule: &Rule, action: &Action) -> bool {
    match (rule, action, effect) {
        (Rule::Resource(rule), Action::Resource(action), Effect::Allow) => covers(rule, action),
        (Rule::Resource(rule), Action::Resource(action), Effect::Deny) => {
            overlaps(rule, action, is_cluster_scoped(vocabulary, action))
        }
        (Rule::NonResource(rule), Action::NonResource(action), effect) => path_rule(effect, rule, action),
        (Rule::Resource(_), Action::NonResource(_), _) | (Rule::NonResource(_), Action::Resource(_), _) => {
            false
        }
    }
}

// Allow: every request that the request stands for is granted by the rule.

fn covers(rule: &ResourceRule, action: &ResourceAction) -> bool {
    rule.verbs.iter().any(|verb| name_covers(verb, &action.verb))
        && rule.api_groups.iter().any(|group| name_covers(group, &action.group))
        && rule
            .resources
            .iter()
            .any(|pattern| resource_covers(pattern, &action.resource, &action.subresource))
        && (rule.resource_names.is_empty()
            || rule.resource_names.iter().any(|it| pattern_covers(it, &action.name)))
        && rule
            .namespaces
            .as_ref()
            .is_none_or(|list| list.iter().any(|it| namespace_covers(it, &action.namespace)))
}

fn name_covers(rule: &Name, asked: &str) -> bool {
    match rule {
        Name::Any => true,
        Name::Exact(name) => asked != "*" && asked == name,
    }
}

fn resource_covers(rule: &ResourcePattern, resource: &str, subresource: &str) -> bool {
    match rule {
        ResourcePattern::Any => true,
        ResourcePattern::Resource(name) => resource != "*" && resource == name && subresource.is_empty(),
        ResourcePattern::Subresource(name, sub) => {
            resource != "*" && resource == name && subresource != "*" && subresource == sub
        }
        ResourcePattern::AnySubresource(name) => {
            resource != "*" && resource == name && !subresource.is_empty()
        }
        ResourcePattern::AnyWithSubresource(sub) => subresource != "*" && subresource == sub,
    }
}

fn pattern_covers(rule: &Pattern, asked: &str) -> bool {
    if asked == "*" { rule.is_any() || rule.to_string() == "\\*" } else { rule.matches(asked) }
}

fn namespace_covers(rule: &NamespacePattern, asked: &str) -> bool {
    match rule {
        NamespacePattern::ClusterWide => asked.is_empty(),
        NamespacePattern::Named(pattern) => pattern_covers(pattern, asked),
    }
}

// Deny: at least one of the requests that the request stands for is refused by the rule.

fn overlaps(rule: &ResourceRule, action: &ResourceAction, cluster_scoped: bool) -> bool {
    let resource_and_verb = rule.resources.iter().any(|pattern| {
        resource_overlaps(pattern, &action.resource, &action.subresource)
            && rule.verbs.iter().any(|verb| {
                name_overlaps(verb, &action.verb)
                    || (is_one_verb(verb, &action.verb)
                        && may_connect(pattern, &action.resource, &action.subresource))
            })
    });
    let group = rule.api_groups.iter().any(|group| name_overlaps(group, &action.group));
    let reads_many = matches!(action.verb.as_str(), "list" | "watch" | "deletecollection" | "*");
    let name = rule.resource_names.is_empty()
        || action.name == "*"
        || (reads_many && action.name.is_empty())
        || rule.resource_names.iter().any(|pattern| pattern.matches(&action.name));
    let namespace = match &rule.namespaces {
        None => true,
        Some(_) if action.namespace == "*" => true,
        Some(_) if action.namespace.is_empty() && reads_many && !cluster_scoped => true,
        Some(list) => list.iter().any(|pattern| match pattern {
            NamespacePattern::ClusterWide => action.namespace.is_empty(),
            NamespacePattern::Named(pattern) => pattern.matches(&action.namespace),
        }),
    };
    resource_and_verb && group && name && namespace
}

fn name_overlaps(rule: &Name, asked: &str) -> bool {
    match rule {
        Name::Any => true,
        Name::Exact(name) => asked == "*" || asked == name,
    }
}

fn resource_overlaps(rule: &ResourcePattern, resource: &str, subresource: &str) -> bool {
    if resource == "*" && subresource.is_empty() {
        return true;
    }
    let same_resource = |name: &str| resource == "*" || resource == name;
    match rule {
        ResourcePattern::Any => true,
        ResourcePattern::Resource(name) => {
            same_resource(name) && (subresource.is_empty() || subresource == "*")
        }
        ResourcePattern::Subresource(name, sub) => {
            same_resource(name) && (subresource == sub || subresource == "*")
        }
        ResourcePattern::AnySubresource(name) => same_resource(name) && !subresource.is_empty(),
        ResourcePattern::AnyWithSubresource(sub) => subresource == sub || subresource == "*",
    }
}

/// `get` and `create`, where clients reach one thing by either.
fn is_one_verb(rule: &Name, asked: &str) -> bool {
    let Name::Exact(rule) = rule else { return false };
    ["get", "create"].contains(&rule.as_str()) && ["get", "create"].contains(&asked)
}

/// Whether, among the subresources that both the rule and the request stand for, there is one that is connected to.
fn may_connect(rule: &ResourcePattern, resource: &str, subresource: &str) -> bool {
    let connects = |sub: &str| ["exec", "attach", "portforward", "proxy"].contains(&sub);
    let any_subresource = subresource == "*" || (resource == "*" && subresource.is_empty());
    if !any_subresource {
        return connects(subresource);
    }
    match rule {
        ResourcePattern::Any | ResourcePattern::AnySubresource(_) => true,
        ResourcePattern::Resource(_) => false,
        ResourcePattern::Subresource(_, sub) | ResourcePattern::AnyWithSubresource(sub) => connects(sub),
    }
}

fn path_rule(effect: Effect, rule: &NonResourceRule, action: &NonResourceAction) -> bool {
    let path_matches = |pattern: &PathPattern| match (pattern, action.path.as_str(), effect) {
        (PathPattern::Any, _, _) => true,
        (_, "*", Effect::Allow) => false,
        (_, "*", Effect::Deny) => true,
        (PathPattern::Exact(path), asked, _) => asked == path,
        (PathPattern::Prefix(prefix), asked, _) => asked.starts_with(prefix.as_str()),
    };
    let verb_matches = |verb: &Name| match effect {
        Effect::Allow => name_covers(verb, &action.verb),
        Effect::Deny => name_overlaps(verb, &action.verb),
    };
    rule.paths.iter().any(path_matches) && rule.verbs.iter().any(verb_matches)
}

/// Whether the resource is known never to be in a namespace. A `*` is no known resource.
fn is_cluster_scoped(vocabulary: &Vocabulary, action: &ResourceAction) -> bool {
    CLUSTER_SCOPED
        .iter()
        .any(|(group, resources)| *group == action.group && resources.contains(&action.resource.as_str()))
        || vocabulary
            .cluster_scoped
            .iter()
            .any(|it| it.group == action.group && it.resource == action.resource)
}

const CLUSTER_SCOPED: &[(&str, &[&str])] = &[
    ("", &["nodes", "namespaces", "persistentvolumes", "componentstatuses", "users", "groups"]),
    ("storage.k8s.io", &["storageclasses", "volumeattachments", "csidrivers", "csinodes"]),
    ("rbac.authorization.k8s.io", &["clusterroles", "clusterrolebindings"]),
    ("apiextensions.k8s.io", &["customresourcedefinitions"]),
    ("apiregistration.k8s.io", &["apiservices"]),
    (
        "admissionregistration.k8s.io",
        &[
            "mutatingwebhookconfigurations",
            "validatingwebhookconfigurations",
            "validatingadmissionpolicies",
            "validatingadmissionpolicybindings",
        ],
    ),
    ("certificates.k8s.io", &["certificatesigningrequests"]),
    ("scheduling.k8s.io", &["priorityclasses"]),
    ("networking.k8s.io", &["ingressclasses"]),
    ("node.k8s.io", &["runtimeclasses"]),
    ("flowcontrol.apiserver.k8s.io", &["flowschemas", "prioritylevelconfigurations"]),
    ("authentication.k8s.io", &["tokenreviews", "selfsubjectreviews", "uids", "userextras"]),
    (
        "authorization.k8s.io",
        &["subjectaccessreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews"],
    ),
];
