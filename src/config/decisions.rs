//! `decisions`, `caller`, `location` and `clearance`.

use jiff::SignedDuration;

use crate::document::{
    Diagnostic, Diagnostics, Fields, Node, Spanned, any_list, choice, duration_or_zero, spanned, text,
};
use crate::eval::{self, DefaultDecision, WhenUndetermined};
use crate::policy::{self, Exempt, Guard, Pattern};

/// What the API server was told of us.
#[derive(Debug, Default)]
pub(super) struct Caller {
    failure_policy: Option<FailurePolicy>,
    position: Option<Position>,
}

/// `caller.failurePolicy`: what the API server does where we do not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FailurePolicy {
    NoOpinion,
    Deny,
}

/// `caller.position`: where in the API server's chain we stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    BeforeRbac,
    AfterRbac,
    Only,
}

pub(super) fn caller(
    node: &Node,
    eval: &mut eval::Settings,
    diagnostics: &mut Diagnostics,
) -> Option<Caller> {
    let mut fields = Fields::open(node, diagnostics)?;
    let authorized = fields.optional("authorizedTTL", diagnostics, ttl);
    let unauthorized = fields.optional("unauthorizedTTL", diagnostics, ttl);
    let failure_policies = choice(&[("NoOpinion", FailurePolicy::NoOpinion), ("Deny", FailurePolicy::Deny)]);
    let failure_policy = fields.optional("failurePolicy", diagnostics, failure_policies);
    let positions = choice(&[
        ("BeforeRBAC", Position::BeforeRbac),
        ("AfterRBAC", Position::AfterRbac),
        ("Only", Position::Only),
    ]);
    let position = fields.optional("position", diagnostics, positions);
    fields.finish(diagnostics);
    eval.authorized_ttl = authorized.unwrap_or(eval.authorized_ttl);
    eval.unauthorized_ttl = unauthorized.unwrap_or(eval.unauthorized_ttl);
    Some(Caller { failure_policy, position })
}

pub(super) fn decisions(
    node: &Node,
    caller: &Caller,
    eval: &mut eval::Settings,
    policy: &mut policy::Settings,
    diagnostics: &mut Diagnostics,
) -> Option<()> {
    let mut fields = Fields::open(node, diagnostics)?;
    let defaults = choice(&[("NoOpinion", DefaultDecision::NoOpinion), ("Deny", DefaultDecision::Deny)]);
    let default = fields.optional("default", diagnostics, spanned(defaults));
    let undetermined =
        choice(&[("Deny", WhenUndetermined::Deny), ("Unavailable", WhenUndetermined::Unavailable)]);
    let when_undetermined = fields.optional("whenUndetermined", diagnostics, spanned(undetermined));
    // An empty list is meant here: nobody but ourselves is exempt, no guard is on.
    let exempt = fields.optional("exempt", diagnostics, any_list(exempt));
    let guards = fields.optional("guards", diagnostics, any_list(choice(&Guard::WORDS)));
    fields.finish(diagnostics);
    if let Some(Spanned { value, span }) = default {
        eval.default = value;
        if value == DefaultDecision::Deny && caller.position.is_none() {
            let help = "set `caller.position` to BeforeRBAC, AfterRBAC or Only; before RBAC, everything that no policy \
                        allows is refused, whatever RBAC says";
            let message = "`default: Deny` needs `caller.position` stated";
            diagnostics.push(Diagnostic::error(span, message).help(help));
        }
    }
    if let Some(Spanned { value, span }) = when_undetermined {
        eval.when_undetermined = value;
        if value == WhenUndetermined::Unavailable && caller.failure_policy != Some(FailurePolicy::Deny) {
            let help = "an API server with another failure policy would let such requests pass: say \
                        `caller.failurePolicy: Deny` where its AuthorizationConfiguration does";
            let message = "`whenUndetermined: Unavailable` needs `caller.failurePolicy: Deny` stated";
            diagnostics.push(Diagnostic::error(span, message).help(help));
        }
    }
    if let Some(exempt) = exempt {
        policy.exempt = exempt;
    }
    if let Some(guards) = guards {
        policy.guards = guards.into_iter().collect();
    }
    Some(())
}

pub(super) fn location(
    node: &Node,
    policy: &mut policy::Settings,
    diagnostics: &mut Diagnostics,
) -> Option<()> {
    let mut fields = Fields::open(node, diagnostics)?;
    if let Some(key) = fields.optional("sourceAddressKey", diagnostics, extra_key) {
        policy.source_address_key = key;
    }
    let clusters = fields.optional("trustedClusters", diagnostics, any_list(text));
    let proxies = fields.optional("proxies", diagnostics, any_list(text));
    fields.finish(diagnostics);
    policy.trusted_clusters = clusters.unwrap_or_default().into_iter().collect();
    policy.proxies = proxies.unwrap_or_default();
    Some(())
}

pub(super) fn clearance(
    node: &Node,
    policy: &mut policy::Settings,
    diagnostics: &mut Diagnostics,
) -> Option<()> {
    let mut fields = Fields::open(node, diagnostics)?;
    policy.clearance_extra_key = fields.optional("extraKey", diagnostics, extra_key);
    fields.finish(diagnostics);
    Some(())
}

/// A key of `extra`: API servers send them in lower case.
fn extra_key(node: &Node, diagnostics: &mut Diagnostics) -> Option<String> {
    let key = text(node, diagnostics)?;
    if key != key.to_lowercase() {
        let message = format!("`{key}` would never be met: keys of `extra` arrive in lower case");
        let help = format!("write `{}`", key.to_lowercase());
        diagnostics.push(Diagnostic::error(node.span, message).help(help));
        return None;
    }
    Some(key)
}

fn exempt(node: &Node, diagnostics: &mut Diagnostics) -> Option<Exempt> {
    let mut fields = Fields::open(node, diagnostics)?;
    let user = fields.required("user", diagnostics, |node, diagnostics| {
        let written = text(node, diagnostics)?;
        match Pattern::parse(&written) {
            Ok(pattern) if pattern.is_any() => {
                diagnostics
                    .push(Diagnostic::error(node.span, "`*` would exempt everybody from every policy"));
                None
            }
            Ok(pattern) => Some(pattern),
            Err(error) => {
                diagnostics.push(Diagnostic::error(node.span, error.to_string()));
                None
            }
        }
    });
    let group = fields.optional("group", diagnostics, text);
    fields.finish(diagnostics);
    Some(Exempt { user: user?, group })
}

/// How long the API server keeps an answer; zero where its cache is off.
fn ttl(node: &Node, diagnostics: &mut Diagnostics) -> Option<SignedDuration> {
    duration_or_zero(node, diagnostics).and_then(|read| SignedDuration::try_from(read).ok())
}
