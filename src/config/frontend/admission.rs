//! `admission`: which plugins are on, and what those of our own are told.

use crate::document::{Diagnostics, Fields, Node, choice, list, text};
use crate::frontend::admission::{FrozenAttributes, NamingRule, PLUGINS, RequiredLabels, Scope, Settings};

pub(super) fn admission(node: &Node, diagnostics: &mut Diagnostics) -> Option<Settings> {
    let default = Settings::default();
    let mut fields = Fields::open(node, diagnostics)?;
    let plugins = fields.optional("plugins", diagnostics, list(choice(PLUGINS)));
    let naming = fields.optional("namingConvention", diagnostics, list(naming_rule));
    let labels = fields.optional("requiredLabels", diagnostics, list(required_labels));
    let frozen = fields.optional("frozen", diagnostics, frozen);
    fields.finish(diagnostics);
    Some(Settings {
        plugins: plugins.unwrap_or(default.plugins),
        naming: naming.unwrap_or_default(),
        labels: labels.unwrap_or_default(),
        frozen: frozen.unwrap_or_default(),
    })
}

fn scope(fields: &mut Fields<'_>, diagnostics: &mut Diagnostics) -> Option<Scope> {
    let namespaces = fields.required("namespaces", diagnostics, list(text));
    let resources = fields.required("resources", diagnostics, list(text));
    Some(Scope { namespaces: namespaces?, resources: resources? })
}

fn naming_rule(node: &Node, diagnostics: &mut Diagnostics) -> Option<NamingRule> {
    let mut fields = Fields::open(node, diagnostics)?;
    let scope = scope(&mut fields, diagnostics);
    let prefix = fields.required("prefix", diagnostics, text);
    fields.finish(diagnostics);
    Some(NamingRule { scope: scope?, prefix: prefix? })
}

fn required_labels(node: &Node, diagnostics: &mut Diagnostics) -> Option<RequiredLabels> {
    let mut fields = Fields::open(node, diagnostics)?;
    let scope = scope(&mut fields, diagnostics);
    let labels = fields.required("labels", diagnostics, list(text));
    fields.finish(diagnostics);
    Some(RequiredLabels { scope: scope?, labels: labels? })
}

fn frozen(node: &Node, diagnostics: &mut Diagnostics) -> Option<FrozenAttributes> {
    let default = FrozenAttributes::default();
    let mut fields = Fields::open(node, diagnostics)?;
    let owner = fields.optional("ownerAnnotation", diagnostics, text);
    let class = fields.optional("classificationLabel", diagnostics, text);
    let administrators = fields.optional("administrators", diagnostics, list(text));
    fields.finish(diagnostics);
    Some(FrozenAttributes {
        owner_annotation: owner.unwrap_or(default.owner_annotation),
        classification_label: class.unwrap_or(default.classification_label),
        administrators: administrators.unwrap_or(default.administrators),
    })
}
