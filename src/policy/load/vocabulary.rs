//! `Vocabulary`: all documents of the kind make one.

use std::collections::{BTreeSet, HashMap};

use jiff::civil::Date;

use super::name::is_subdomain;
use super::time::time_zone;
use super::{Headed, report_second};
use crate::document::{
    Diagnostic, Diagnostics, Fields, Node, Span, Spanned, choice, list, map, network, quoted, spanned, text,
};
use crate::policy::ast::{AttributeType, Calendar, GroupResource, Site, Vocabulary};

const ATTRIBUTE_TYPES: &[(&str, AttributeType)] =
    &[("string", AttributeType::String), ("clearance", AttributeType::Clearance)];

/// The vocabulary so far, and where each of its names was defined.
#[derive(Default)]
pub(super) struct Builder {
    vocabulary: Vocabulary,
    defined: HashMap<(Namespace, String), Span>,
    levels: Option<Span>,
    clearance_attribute: Option<Spanned<String>>,
}

/// Names in one of these are different from each other.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Namespace {
    /// Levels and compartments: both are values of one attribute.
    Clearance,
    Site,
    Calendar,
    Attribute,
}

impl Builder {
    /// Adds a document.
    pub(super) fn add(&mut self, document: Headed<'_>, diagnostics: &mut Diagnostics) {
        let Some(mut fields) = document.spec.and_then(|spec| Fields::open(spec, diagnostics)) else { return };
        fields.optional("clearance", diagnostics, |node, diagnostics| self.clearance(node, diagnostics));
        for (name, site) in fields.optional("sites", diagnostics, map(site)).unwrap_or_default() {
            self.define(Namespace::Site, "site", &name, diagnostics);
            self.vocabulary.sites.insert(name.value, site);
        }
        for (name, calendar) in fields.optional("calendars", diagnostics, map(calendar)).unwrap_or_default() {
            self.define(Namespace::Calendar, "calendar", &name, diagnostics);
            self.vocabulary.calendars.insert(name.value, calendar);
        }
        for (name, kind) in fields.optional("attributes", diagnostics, map(attribute)).unwrap_or_default() {
            self.attribute(name, kind, diagnostics);
        }
        let cluster_scoped = fields.optional("clusterScoped", diagnostics, list(group_resource));
        self.vocabulary.cluster_scoped.extend(cluster_scoped.unwrap_or_default());
        fields.finish(diagnostics);
    }

    /// All of it.
    pub(super) fn finish(self) -> Vocabulary {
        self.vocabulary
    }

    fn clearance(&mut self, node: &Node, diagnostics: &mut Diagnostics) -> Option<()> {
        let mut fields = Fields::open(node, diagnostics)?;
        if let Some(key) = fields.key("levels") {
            if let Some(first) = self.levels.replace(key) {
                // Their order is their meaning, and two lists have none between them.
                report_second("list of", &Spanned::new("levels".to_owned(), key), first, diagnostics);
            }
            for level in fields.optional("levels", diagnostics, list(spanned(word))).unwrap_or_default() {
                self.define(Namespace::Clearance, "level or compartment", &level, diagnostics);
                self.vocabulary.levels.push(level);
            }
        }
        for compartment in
            fields.optional("compartments", diagnostics, list(spanned(word))).unwrap_or_default()
        {
            self.define(Namespace::Clearance, "level or compartment", &compartment, diagnostics);
            self.vocabulary.compartments.push(compartment);
        }
        fields.finish(diagnostics);
        Some(())
    }

    fn attribute(&mut self, name: Spanned<String>, kind: AttributeType, diagnostics: &mut Diagnostics) {
        self.define(Namespace::Attribute, "attribute", &name, diagnostics);
        if kind == AttributeType::Clearance {
            if let Some(first) = &self.clearance_attribute {
                let message = "only one attribute may be the clearance";
                let help = format!("{} is already", quoted(&first.value));
                diagnostics.push(Diagnostic::error(name.span, message).help(help));
            }
            self.clearance_attribute = Some(name.clone());
        }
        self.vocabulary.attributes.insert(name.value, kind);
    }

    fn define(
        &mut self,
        namespace: Namespace,
        kind: &str,
        name: &Spanned<String>,
        diagnostics: &mut Diagnostics,
    ) {
        match self.defined.get(&(namespace, name.value.clone())) {
            Some(first) => report_second(kind, name, *first, diagnostics),
            None => {
                self.defined.insert((namespace, name.value.clone()), name.span);
            }
        }
    }
}

/// A level or compartment: white space around it would be compared, and seen by nobody.
fn word(node: &Node, diagnostics: &mut Diagnostics) -> Option<String> {
    let word = text(node, diagnostics)?;
    if word.trim() != word || word.contains(char::is_control) {
        let message = "this must not begin or end with white space, nor hold control characters";
        diagnostics.push(Diagnostic::error(node.span, message));
    }
    Some(word)
}

fn site(node: &Node, diagnostics: &mut Diagnostics) -> Option<Site> {
    let mut fields = Fields::open(node, diagnostics)?;
    let networks = fields.required("networks", diagnostics, list(network));
    let time_zone = fields.optional("timeZone", diagnostics, time_zone);
    fields.finish(diagnostics);
    // A site with a mistake in it is still a site: its name is not unknown.
    Some(Site { networks: networks.unwrap_or_default(), time_zone })
}

fn calendar(node: &Node, diagnostics: &mut Diagnostics) -> Option<Calendar> {
    let mut fields = Fields::open(node, diagnostics)?;
    let time_zone = fields.optional("timeZone", diagnostics, time_zone);
    let dates = fields.required("dates", diagnostics, list(date)).unwrap_or_default();
    fields.finish(diagnostics);
    Some(Calendar { time_zone, dates: BTreeSet::from_iter(dates) })
}

fn date(node: &Node, diagnostics: &mut Diagnostics) -> Option<Date> {
    let written = text(node, diagnostics)?;
    let date = written.parse().ok().filter(|date: &Date| date.to_string() == written);
    if date.is_none() {
        let message = format!("{} is not a date", quoted(&written));
        diagnostics.push(Diagnostic::error(node.span, message).help("a date is written as `2026-12-25`"));
    }
    date
}

fn attribute(node: &Node, diagnostics: &mut Diagnostics) -> Option<AttributeType> {
    let mut fields = Fields::open(node, diagnostics)?;
    let kind = fields.required("type", diagnostics, choice(ATTRIBUTE_TYPES));
    fields.finish(diagnostics);
    Some(kind.unwrap_or(AttributeType::String))
}

fn group_resource(node: &Node, diagnostics: &mut Diagnostics) -> Option<GroupResource> {
    let written = text(node, diagnostics)?;
    if !is_subdomain(&written) {
        let message = format!("{} is not a resource", quoted(&written));
        let help = "a resource is written with its group, as `widgets.example.com`";
        diagnostics.push(Diagnostic::error(node.span, message).help(help));
        return None;
    }
    let (resource, group) = written.split_once('.').unwrap_or((&written, ""));
    Some(GroupResource { resource: resource.to_owned(), group: group.to_owned() })
}
