//! `rules`.

use super::access_policy::pattern;
use super::name::is_subdomain;
use crate::document::{Diagnostic, Diagnostics, Fields, Node, any_text, list, quoted, text};
use crate::policy::ast::{
    Name, NamespacePattern, NonResourceRule, PathPattern, ResourcePattern, ResourceRule, Rule,
};

/// The fields that only a rule about resources has.
const RESOURCE_FIELDS: [&str; 4] = ["apiGroups", "resources", "resourceNames", "namespaces"];

/// The verbs that everybody knows, and that are therefore never meant in capitals.
const COMMON_VERBS: [&str; 12] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "impersonate",
    "post",
    "put",
    "head",
];

pub(super) fn rule(node: &Node, diagnostics: &mut Diagnostics) -> Option<Rule> {
    let mut fields = Fields::open(node, diagnostics)?;
    let rule = if fields.key("nonResourceURLs").is_some() {
        non_resource_rule(&mut fields, diagnostics).map(Rule::NonResource)
    } else {
        resource_rule(&mut fields, diagnostics).map(Rule::Resource)
    };
    fields.finish(diagnostics);
    rule
}

fn non_resource_rule(fields: &mut Fields<'_>, diagnostics: &mut Diagnostics) -> Option<NonResourceRule> {
    for field in RESOURCE_FIELDS {
        if let Some(span) = fields.key(field) {
            let message = format!("{} says nothing in a rule with `nonResourceURLs`", quoted(field));
            let help = "a rule is about resources or about paths: write two rules";
            diagnostics.push(Diagnostic::error(span, message).help(help));
        }
    }
    let paths = fields.required("nonResourceURLs", diagnostics, list(path));
    let verbs = fields.required("verbs", diagnostics, list(verb));
    Some(NonResourceRule { paths: paths?, verbs: verbs? })
}

fn resource_rule(fields: &mut Fields<'_>, diagnostics: &mut Diagnostics) -> Option<ResourceRule> {
    if fields.key("apiGroups").is_none() {
        let help = "the core group is `apiGroups: [\"\"]`; a rule about paths has `nonResourceURLs`";
        fields.missing("apiGroups", diagnostics, Some(help));
    }
    let api_groups = fields.optional("apiGroups", diagnostics, list(api_group));
    let resources = fields.required("resources", diagnostics, list(resource));
    let resource_names = fields.optional("resourceNames", diagnostics, list(pattern));
    let namespaces = fields.optional("namespaces", diagnostics, list(namespace));
    let verbs = fields.required("verbs", diagnostics, list(verb));
    Some(ResourceRule {
        api_groups: api_groups?,
        resources: resources?,
        resource_names: resource_names.unwrap_or_default(),
        namespaces,
        verbs: verbs?,
    })
}

fn verb(node: &Node, diagnostics: &mut Diagnostics) -> Option<Name> {
    let written = text(node, diagnostics)?;
    let lower = written.to_ascii_lowercase();
    let help = if written == "*" {
        return Some(Name::Any);
    } else if written.contains('*') {
        "`*` alone stands for every verb; otherwise name each".to_owned()
    } else if written.contains(|c: char| c.is_whitespace() || c.is_control()) {
        "a verb has no white space in it; write a list".to_owned()
    } else if lower != written && COMMON_VERBS.contains(&lower.as_str()) {
        format!("did you mean {}?", quoted(&lower))
    } else {
        return Some(Name::Exact(written));
    };
    refuse(node, &written, "a verb", help, diagnostics)
}

fn api_group(node: &Node, diagnostics: &mut Diagnostics) -> Option<Name> {
    let written = any_text(node, diagnostics)?;
    let help = if written == "*" {
        return Some(Name::Any);
    } else if written.contains('*') {
        "`*` alone stands for every group; otherwise name each".to_owned()
    } else if written == "core" || written == "v1" {
        "the core group is written `\"\"`".to_owned()
    } else if let Some((group, _version)) = written.split_once('/') {
        format!("write it without a version: {}", quoted(group))
    } else if written.is_empty() || is_subdomain(&written) {
        return Some(Name::Exact(written));
    } else {
        "a group is written as `apps` or `networking.k8s.io`, the core group as `\"\"`".to_owned()
    };
    refuse(node, &written, "an API group", help, diagnostics)
}

/// `res`, `res/sub`, `res/*`, `*/sub` or `*`. A subresource may hold slashes: an `extra` key that is impersonated does.
fn resource(node: &Node, diagnostics: &mut Diagnostics) -> Option<ResourcePattern> {
    let written = text(node, diagnostics)?;
    let help = match written.split_once('/') {
        None if written == "*" => return Some(ResourcePattern::Any),
        None if is_resource(&written) => return Some(ResourcePattern::Resource(written)),
        Some(("*", "*")) => "`*` alone covers every resource and every subresource".to_owned(),
        Some((resource, "*")) if is_resource(resource) => {
            return Some(ResourcePattern::AnySubresource(resource.to_owned()));
        }
        Some(("*", sub)) if is_subresource(sub) => {
            return Some(ResourcePattern::AnyWithSubresource(sub.to_owned()));
        }
        Some((resource, sub)) if is_resource(resource) && is_subresource(sub) => {
            return Some(ResourcePattern::Subresource(resource.to_owned(), sub.to_owned()));
        }
        _ if is_resource(&written.to_lowercase()) => {
            format!("resources are in lower case and in the plural: {}", quoted(&written.to_lowercase()))
        }
        _ => "a resource is written as `pods`, `pods/log`, `pods/*`, `*/scale` or `*`".to_owned(),
    };
    refuse(node, &written, "a resource", help, diagnostics)
}

fn is_resource(text: &str) -> bool {
    is_subdomain(text)
}

fn is_subresource(text: &str) -> bool {
    let odd = |c: char| c == '*' || c.is_whitespace() || c.is_control() || c.is_uppercase();
    !text.is_empty() && !text.contains(odd)
}

fn namespace(node: &Node, diagnostics: &mut Diagnostics) -> Option<NamespacePattern> {
    let written = any_text(node, diagnostics)?;
    if written.is_empty() {
        return Some(NamespacePattern::ClusterWide);
    }
    if !written
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-*".contains(&byte))
    {
        let help = "a namespace is made of lower-case letters, digits and `-`; `*` is a wildcard".to_owned();
        return refuse(node, &written, "a namespace", help, diagnostics);
    }
    pattern(node, diagnostics).map(NamespacePattern::Named)
}

fn path(node: &Node, diagnostics: &mut Diagnostics) -> Option<PathPattern> {
    let written = text(node, diagnostics)?;
    let (path, prefix) = match written.strip_suffix('*') {
        Some("") => return Some(PathPattern::Any),
        Some(path) => (path, true),
        None => (written.as_str(), false),
    };
    let help = if !path.starts_with('/') {
        "a path begins with `/`; `*` alone stands for every path"
    } else if path.contains('*') {
        "`*` may only stand at the end"
    } else if path.contains(|c: char| c == '?' || c == '#' || c.is_whitespace() || c.is_control()) {
        "a path has no query and no white space"
    } else if prefix {
        return Some(PathPattern::Prefix(path.to_owned()));
    } else {
        return Some(PathPattern::Exact(written));
    };
    refuse(node, &written, "a path", help.to_owned(), diagnostics)
}

fn refuse<T>(
    node: &Node,
    written: &str,
    what: &str,
    help: String,
    diagnostics: &mut Diagnostics,
) -> Option<T> {
    diagnostics.push(Diagnostic::error(node.span, format!("{} is not {what}", quoted(written))).help(help));
    None
}
