//! `AccessPolicy`.

use super::condition::{conditions, unless};
use super::rule::rule;
use super::subject::{except_term, term};
use super::{Headed, Scope};
use crate::document::{
    Diagnostic, Diagnostics, Fields, Node, choice, list, quoted, spanned, text, timestamp,
};
use crate::policy::Pattern;
use crate::policy::ast::{AccessPolicy, Effect, Enforcement, Validity};

/// The longest message to a user, in characters: it ends in an error message of `kubectl`.
const MAX_MESSAGE_CHARS: usize = 200;

const EFFECTS: &[(&str, Effect)] = &[("Allow", Effect::Allow), ("Deny", Effect::Deny)];

const ENFORCEMENTS: &[(&str, Enforcement)] =
    &[("Enforce", Enforcement::Enforce), ("Shadow", Enforcement::Shadow)];

pub(super) fn decode(
    document: Headed<'_>,
    scope: &Scope,
    diagnostics: &mut Diagnostics,
) -> Option<AccessPolicy> {
    let mut fields = Fields::open(document.spec?, diagnostics)?;
    let description = fields.optional("description", diagnostics, text);
    let effect = fields.required("effect", diagnostics, choice(EFFECTS));
    let enforcement = fields.optional("enforcement", diagnostics, choice(ENFORCEMENTS));
    let clusters = fields.optional("clusters", diagnostics, list(spanned(pattern)));
    let validity = fields.optional("validity", diagnostics, validity);
    let subjects = fields.required("subjects", diagnostics, list(spanned(term)));
    let except_subjects = fields.optional("exceptSubjects", diagnostics, list(spanned(except_term)));
    let rules = fields.required("rules", diagnostics, list(spanned(rule)));
    let when = fields.optional("when", diagnostics, |node, diagnostics| conditions(node, scope, diagnostics));
    let unless = fields.optional("unless", diagnostics, |node, diagnostics| unless(node, scope, diagnostics));
    let message = fields.optional("message", diagnostics, message);
    fields.finish(diagnostics);
    Some(AccessPolicy {
        name: document.name?,
        annotations: document.annotations.into_iter().map(|(key, value)| (key.value, value)).collect(),
        description,
        effect: effect?,
        enforcement: enforcement.unwrap_or(Enforcement::Enforce),
        clusters: clusters.unwrap_or_default(),
        validity: validity.unwrap_or_default(),
        subjects: subjects?,
        except_subjects: except_subjects.unwrap_or_default(),
        rules: rules?,
        when: when.unwrap_or_default(),
        unless: unless.unwrap_or_default(),
        message,
    })
}

/// A name in which `*` is a wildcard.
pub(super) fn pattern(node: &Node, diagnostics: &mut Diagnostics) -> Option<Pattern> {
    let written = text(node, diagnostics)?;
    Pattern::parse(&written)
        .map_err(|error| {
            let message = format!("{} is not a pattern: {error}", quoted(&written));
            diagnostics.push(Diagnostic::error(node.span, message));
        })
        .ok()
}

fn validity(node: &Node, diagnostics: &mut Diagnostics) -> Option<Validity> {
    let mut fields = Fields::open(node, diagnostics)?;
    let not_before = fields.optional("notBefore", diagnostics, timestamp);
    let not_after = fields.optional("notAfter", diagnostics, timestamp);
    if let (Some(from), Some(until)) = (not_before, not_after)
        && from >= until
    {
        let span = fields.node("notAfter").map_or(fields.span(), |node| node.span);
        let message = "`notAfter` is not after `notBefore`: the policy would never be in force";
        diagnostics.push(Diagnostic::error(span, message));
    }
    fields.finish(diagnostics);
    Some(Validity { not_before, not_after })
}

fn message(node: &Node, diagnostics: &mut Diagnostics) -> Option<String> {
    let message = text(node, diagnostics)?;
    let wrong = if message.contains(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
        Some(("a message is one line, without control characters", "fold it with `>-`"))
    } else if message.chars().count() > MAX_MESSAGE_CHARS {
        Some(("a message is at most 200 characters long", "say where to ask, and explain it there"))
    } else {
        None
    };
    if let Some((wrong, help)) = wrong {
        diagnostics.push(Diagnostic::error(node.span, wrong).help(help));
        return None;
    }
    Some(message)
}
