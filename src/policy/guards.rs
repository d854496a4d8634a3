//! The built-in guards, as ordinary Deny policies (DESIGN 3.6).

use super::ast::{
    AccessPolicy, Conditions, Effect, Enforcement, Name, NamespacePattern, ResourcePattern, ResourceRule,
    Rule, SubjectTerm, Validity,
};
use super::pattern::Pattern;
use super::settings::{Guard, Settings};
use crate::document::{Span, Spanned};

/// The verbs by which somebody acts as somebody else: the classic one, and those of constrained impersonation
/// (kubernetes/enhancements, KEP-5284).
const IMPERSONATE: [&str; 5] = [
    "impersonate",
    "impersonate:arbitrary-node",
    "impersonate:associated-node",
    "impersonate:serviceaccount",
    "impersonate:user-info",
];

/// The groups in which impersonation's virtual resources stand: the core group for users, groups and serviceaccounts,
/// `authentication.k8s.io` for the rest and for constrained impersonation.
const IMPERSONATION_GROUPS: [&str; 2] = ["", "authentication.k8s.io"];

const SERVICE_ACCOUNT: &str = "system:serviceaccount:";
const NODE: &str = "system:node:";

/// The policies of the guards that are on.
#[must_use]
pub fn policies(settings: &Settings) -> Vec<AccessPolicy> {
    settings
        .guards
        .iter()
        .map(|guard| match guard {
            Guard::ImpersonateExempt => impersonate_exempt(settings),
            Guard::ImpersonateExtras => impersonate_extras(settings),
        })
        .collect()
}

fn impersonate_exempt(settings: &Settings) -> AccessPolicy {
    let users: Vec<Pattern> = settings.exempt.iter().map(|exempt| exempt.user.clone()).collect();
    let mut rules = vec![rule("groups", vec![Pattern::exact("system:masters")])];
    if !users.is_empty() {
        rules.push(rule("users", users));
    }
    for exempt in &settings.exempt {
        if let Some((namespace, name)) = service_accounts(&exempt.user) {
            let mut account = rule("serviceaccounts", vec![name]);
            account.namespaces = Some(vec![NamespacePattern::Named(namespace)]);
            rules.push(account);
        }
        rules.extend(nodes(&exempt.user).map(|node| rule("nodes", vec![node])));
    }
    policy(Guard::ImpersonateExempt, rules, Vec::new(), "impersonating this identity is not permitted")
}

/// The namespaces and names of the ServiceAccounts whose user names a pattern matches, as they are impersonated: not as
/// `users`. Where a star stands for the `:` between the two, each is what it can be at most.
fn service_accounts(user: &Pattern) -> Option<(Pattern, Pattern)> {
    let written = user.to_string();
    match written.strip_prefix(SERVICE_ACCOUNT).map(|rest| rest.split_once(':')) {
        Some(Some((namespace, name))) => Some((Pattern::parse(namespace).ok()?, Pattern::parse(name).ok()?)),
        Some(None) => {
            let namespace = user.prefix().strip_prefix(SERVICE_ACCOUNT)?;
            (user.as_exact().is_none())
                .then(|| (Pattern::prefixed(namespace), Pattern::suffixed(user.suffix())))
        }
        None => may_begin_with(user, SERVICE_ACCOUNT).then(|| (Pattern::prefixed(""), ending_of(user))),
    }
}

/// The names of the nodes whose user names a pattern matches.
fn nodes(user: &Pattern) -> Option<Pattern> {
    match user.to_string().strip_prefix(NODE) {
        Some(node) => Pattern::parse(node).ok(),
        None => may_begin_with(user, NODE).then(|| ending_of(user)),
    }
}

/// Whether a pattern's first star may stand for the rest of this beginning.
fn may_begin_with(user: &Pattern, beginning: &str) -> bool {
    user.as_exact().is_none() && beginning.starts_with(user.prefix())
}

/// What the names end with, that no `:` is in.
fn ending_of(user: &Pattern) -> Pattern {
    match user.suffix().rsplit_once(':') {
        Some((_, "")) | None => Pattern::suffixed(user.suffix().trim_end_matches(':')),
        Some((_, name)) => Pattern::exact(name),
    }
}

fn impersonate_extras(settings: &Settings) -> AccessPolicy {
    let keys = [Some(&settings.source_address_key), settings.clearance_extra_key.as_ref()];
    let resources = keys
        .into_iter()
        .flatten()
        .map(|key| ResourcePattern::Subresource("userextras".to_owned(), key.clone()))
        .collect();
    let mut extras = rule("userextras", Vec::new());
    extras.resources = resources;
    let proxies = settings.proxies.iter().map(|proxy| SubjectTerm::User(proxy.clone())).collect();
    policy(
        Guard::ImpersonateExtras,
        vec![extras],
        proxies,
        "impersonating this extra key is for proxies only",
    )
}

fn rule(resource: &str, names: Vec<Pattern>) -> ResourceRule {
    ResourceRule {
        api_groups: IMPERSONATION_GROUPS.iter().map(|group| Name::Exact((*group).to_owned())).collect(),
        resources: vec![ResourcePattern::Resource(resource.to_owned())],
        resource_names: names,
        namespaces: None,
        verbs: IMPERSONATE.iter().map(|verb| Name::Exact((*verb).to_owned())).collect(),
    }
}

fn policy(guard: Guard, rules: Vec<ResourceRule>, except: Vec<SubjectTerm>, message: &str) -> AccessPolicy {
    let nowhere = Span::default();
    AccessPolicy {
        name: Spanned::new(format!("guard/{}", guard.as_str()), nowhere),
        annotations: std::collections::BTreeMap::new(),
        description: None,
        effect: Effect::Deny,
        enforcement: Enforcement::Enforce,
        clusters: Vec::new(),
        validity: Validity::default(),
        subjects: vec![Spanned::new(SubjectTerm::Everyone, nowhere)],
        except_subjects: except.into_iter().map(|term| Spanned::new(term, nowhere)).collect(),
        rules: rules.into_iter().map(|rule| Spanned::new(Rule::Resource(rule), nowhere)).collect(),
        when: Conditions::default(),
        unless: Vec::new(),
        message: Some(message.to_owned()),
    }
}
