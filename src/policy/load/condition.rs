//! `when` and `unless`.

use super::Scope;
use super::time::time;
use crate::document::{
    Diagnostic, Diagnostics, Fields, Node, Spanned, list, map, network, quoted, spanned, text,
};
use crate::policy::ast::{
    AttributeCondition, AttributeType, ClearanceCondition, Conditions, LocationCondition,
};

/// Conditions of DESIGN that need object metadata or CEL, which come in a later version.
const UNAVAILABLE: [&str; 4] = ["namespace", "object", "selector", "expressions"];

/// `when`, or one element of `unless`.
pub(super) fn conditions(node: &Node, scope: &Scope, diagnostics: &mut Diagnostics) -> Option<Conditions> {
    let mut fields = Fields::open(node, diagnostics)?;
    let location = fields.optional("location", diagnostics, |node, diagnostics| {
        location(node, scope, diagnostics).map(|location| Spanned::new(location, node.span))
    });
    let sites = location.as_ref().map_or(&[][..], |location| &location.value.sites);
    let time = fields.optional("time", diagnostics, |node, diagnostics| {
        time(node, sites, scope, diagnostics).map(|time| Spanned::new(time, node.span))
    });
    let clearance = fields.optional("clearance", diagnostics, |node, diagnostics| {
        clearance(node, scope, diagnostics).map(|clearance| Spanned::new(clearance, node.span))
    });
    let directory =
        fields.optional("directory", diagnostics, |node, diagnostics| directory(node, scope, diagnostics));
    for field in UNAVAILABLE {
        fields.unavailable(field, diagnostics);
    }
    fields.finish(diagnostics);
    Some(Conditions { time, location, clearance, directory: directory.unwrap_or_default() })
}

/// `unless`.
pub(super) fn unless(
    node: &Node,
    scope: &Scope,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<Spanned<Conditions>>> {
    list(spanned(|node: &Node, diagnostics: &mut Diagnostics| conditions(node, scope, diagnostics)))(
        node,
        diagnostics,
    )
}

fn location(node: &Node, scope: &Scope, diagnostics: &mut Diagnostics) -> Option<LocationCondition> {
    let mut fields = Fields::open(node, diagnostics)?;
    let sites = fields.optional("sites", diagnostics, list(spanned(text))).unwrap_or_default();
    for site in &sites {
        let sites = &scope.vocabulary.sites;
        scope.check("site", site, sites.contains_key(&site.value), sites.keys(), diagnostics);
    }
    let networks = fields.optional("networks", diagnostics, list(network)).unwrap_or_default();
    fields.finish(diagnostics);
    Some(LocationCondition { sites, networks })
}

fn clearance(node: &Node, scope: &Scope, diagnostics: &mut Diagnostics) -> Option<ClearanceCondition> {
    let mut fields = Fields::open(node, diagnostics)?;
    let at_least = fields.optional("atLeast", diagnostics, spanned(text));
    if let Some(level) = &at_least {
        let levels = &scope.vocabulary.levels;
        scope.check(
            "level",
            level,
            levels.contains(level),
            levels.iter().map(|level| &level.value),
            diagnostics,
        );
    }
    let compartments = fields.optional("compartments", diagnostics, list(spanned(text))).unwrap_or_default();
    for compartment in &compartments {
        let known = &scope.vocabulary.compartments;
        let names = known.iter().map(|known| &known.value);
        scope.check("compartment", compartment, known.contains(compartment), names, diagnostics);
    }
    fields.unavailable("dominates", diagnostics);
    fields.finish(diagnostics);
    Some(ClearanceCondition { at_least, compartments })
}

fn directory(
    node: &Node,
    scope: &Scope,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<Spanned<AttributeCondition>>> {
    let attributes = map(list(text))(node, diagnostics)?;
    let mut conditions = Vec::with_capacity(attributes.len());
    for (attribute, any_of) in attributes {
        let span = attribute.span;
        let known = &scope.vocabulary.attributes;
        scope.check("attribute", &attribute, known.contains_key(&attribute.value), known.keys(), diagnostics);
        if known.get(&attribute.value) == Some(&AttributeType::Clearance) {
            let message = format!("the attribute {} is a clearance", quoted(&attribute.value));
            let help = "compare it with `clearance: {atLeast: LEVEL}`";
            diagnostics.push(Diagnostic::error(span, message).help(help));
        }
        conditions.push(Spanned::new(AttributeCondition { attribute, any_of }, span));
    }
    Some(conditions)
}
