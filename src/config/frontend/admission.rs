//! `admission`: which plugins are on, and what those of our own are told.

use crate::document::{Diagnostic, Diagnostics, Fields, Node, choice, integer, list, text};
use crate::frontend::admission::{
    FrozenAttributes, NamingRule, PLUGINS, RequiredLabels, Scope, ServiceAddress, Settings,
};

pub(super) fn admission(node: &Node, diagnostics: &mut Diagnostics) -> Option<Settings> {
    let default = Settings::default();
    let mut fields = Fields::open(node, diagnostics)?;
    let plugins = fields.optional("plugins", diagnostics, list(choice(PLUGINS)));
    let naming = fields.optional("namingConvention", diagnostics, list(naming_rule));
    let labels = fields.optional("requiredLabels", diagnostics, list(required_labels));
    let frozen = fields.optional("frozen", diagnostics, frozen);
    let services = fields.optional("services", diagnostics, list(service));
    fields.finish(diagnostics);
    Some(Settings {
        plugins: plugins.unwrap_or(default.plugins),
        naming: naming.unwrap_or_default(),
        labels: labels.unwrap_or_default(),
        frozen: frozen.unwrap_or_default(),
        services: services.unwrap_or_default(),
    })
}

fn service(node: &Node, diagnostics: &mut Diagnostics) -> Option<ServiceAddress> {
    let mut fields = Fields::open(node, diagnostics)?;
    let namespace = fields.required("namespace", diagnostics, text);
    let name = fields.required("name", diagnostics, text);
    let port = fields.optional("port", diagnostics, integer(1..=65_535));
    let address = fields.required("address", diagnostics, host_and_port);
    fields.finish(diagnostics);
    Some(ServiceAddress { namespace: namespace?, name: name?, port: port.unwrap_or(443), address: address? })
}

/// `HOST:PORT`, the host of an IPv6 address in brackets.
fn host_and_port(node: &Node, diagnostics: &mut Diagnostics) -> Option<String> {
    let written = text(node, diagnostics)?;
    let is_one = written.rsplit_once(':').is_some_and(|(host, port)| {
        let is_host = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte));
        let is_bare_v6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
        !host.is_empty() && is_host && !is_bare_v6 && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if !is_one {
        let message = "this must be an address with a port, as `127.0.0.1:8444`";
        diagnostics.push(Diagnostic::error(node.span, message));
    }
    is_one.then_some(written)
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
