//! `directory.ldap`.

use std::collections::BTreeMap;

use super::super::Paths;
use super::super::server::min_version;
use super::Kind;
use crate::directory::{
    Attribute, Bind, ChangeFeed, Flavour, GroupSearch, MatchRule, PoolSettings, Settings, Strategy, Timeouts,
    TlsSettings, UserSearch,
};
use crate::document::{
    Diagnostic, Diagnostics, Fields, Node, Span, Spanned, Value, boolean, choice, duration, integer, list,
    map, quoted, spanned, text,
};
use crate::policy::ast::AttributeType;
use crate::tls::ClientSettings;

/// The settings, and the types of the attributes by the name that policies use.
pub(super) type Ldap = (Settings, BTreeMap<String, AttributeType>);

/// What the embedded directory sets itself.
const NOT_EMBEDDED: [&str; 7] = ["urls", "srv", "tls", "bind", "flavour", "changeFeed", "pollInterval"];

/// The settings of the embedded directory before it was started.
pub(super) fn unconnected() -> Settings {
    Settings::new(Vec::new(), Bind::Anonymous, "")
}

pub(super) fn ldap(node: &Node, kind: Kind, paths: &Paths, diagnostics: &mut Diagnostics) -> Option<Ldap> {
    let embedded = kind == Kind::Embedded;
    let before = diagnostics.items.len();
    let mut settings = unconnected();
    let mut fields = Fields::open(node, diagnostics)?;
    if embedded {
        for name in NOT_EMBEDDED {
            if let Some(span) = fields.key(name) {
                let message =
                    format!("`{name}` does not go with the embedded directory, which sets it itself");
                diagnostics.push(Diagnostic::error(span, message));
            }
        }
    } else {
        connection(&mut fields, &mut settings, paths, diagnostics);
    }
    let mut user_search =
        |node: &Node, diagnostics: &mut Diagnostics| user_search(node, embedded, diagnostics);
    let mut group_search =
        |node: &Node, diagnostics: &mut Diagnostics| group_search(node, embedded, diagnostics);
    let user = section(&mut fields, "userSearch", !embedded, diagnostics, &mut user_search);
    let group = section(&mut fields, "groupSearch", !embedded, diagnostics, &mut group_search);
    let attributes = fields.optional("attributes", diagnostics, map(spanned(attribute))).unwrap_or_default();
    let timeouts = fields.optional("timeouts", diagnostics, timeouts);
    let pool = fields.optional("pool", diagnostics, pool);
    fields.finish(diagnostics);
    let mut types = BTreeMap::new();
    for (name, Spanned { value: (attribute, kind), span }) in attributes {
        if kind == AttributeType::Clearance && types.values().any(|known| *known == kind) {
            let message = "only one attribute can be of the type `level`";
            diagnostics.push(Diagnostic::error(span, message).help("a clearance comes from one place"));
        }
        types.insert(name.value.clone(), kind);
        settings.attributes.insert(name.value, attribute);
    }
    settings.user_search = user.unwrap_or(settings.user_search);
    settings.group_search = group.unwrap_or(settings.group_search);
    settings.timeouts = timeouts.unwrap_or(settings.timeouts);
    settings.pool = pool.unwrap_or(settings.pool);
    if diagnostics.items.len() == before {
        check(&settings, embedded, node, diagnostics);
    }
    Some((settings, types))
}

/// What `Directory::new` would refuse, said where it is written. What the embedded directory sets itself is filled in for it.
fn check(settings: &Settings, embedded: bool, node: &Node, diagnostics: &mut Diagnostics) {
    let mut settings = settings.clone();
    if embedded {
        settings.urls = vec!["ldaps://localhost".to_owned()];
    }
    if let Err(error) = settings.check() {
        let message = format!("{}: {}", quoted(&error.field), error.problem);
        diagnostics.push(Diagnostic::error(place(node, &error.field), message));
    }
}

/// Where the field with this path (`timeouts.total`) is written, or else the innermost mapping that it would be in.
pub(super) fn place(node: &Node, path: &str) -> Span {
    path.split('.')
        .try_fold(node, |node, name| match &node.value {
            Value::Mapping(entries) => match entries.iter().find(|(key, _)| key.value == name) {
                Some((_, inner)) => Ok(inner),
                None => Err(node),
            },
            _ => Err(node),
        })
        .unwrap_or_else(|innermost| innermost)
        .span
}

/// `urls`, `srv`, `tls`, `bind`, `flavour`, `changeFeed` and `pollInterval`.
fn connection(
    fields: &mut Fields<'_>,
    settings: &mut Settings,
    paths: &Paths,
    diagnostics: &mut Diagnostics,
) {
    let urls = fields.optional("urls", diagnostics, list(text));
    settings.srv = fields.optional("srv", diagnostics, text);
    if fields.key("urls").is_none() && fields.key("srv").is_none() {
        fields.missing("urls", diagnostics, Some("name the servers: `urls: [ldaps://dc1.example.com]`"));
    }
    settings.urls = urls.unwrap_or_default();
    let tls = fields.optional("tls", diagnostics, |node, diagnostics| tls(node, paths, diagnostics));
    settings.tls = tls.unwrap_or_default();
    let bind = fields.required("bind", diagnostics, |node, diagnostics| bind(node, paths, diagnostics));
    settings.bind = bind.unwrap_or(Bind::Anonymous);
    settings.flavour = fields.optional("flavour", diagnostics, choice(&Flavour::WORDS)).unwrap_or_default();
    let feed = fields.optional("changeFeed", diagnostics, choice(&ChangeFeed::WORDS));
    settings.change_feed = feed.unwrap_or_default();
    let interval = fields.optional("pollInterval", diagnostics, duration);
    settings.poll_interval = interval.unwrap_or(settings.poll_interval);
}

/// `userSearch` or `groupSearch`.
fn section<T>(
    fields: &mut Fields<'_>,
    name: &'static str,
    required: bool,
    diagnostics: &mut Diagnostics,
    decode: &mut dyn FnMut(&Node, &mut Diagnostics) -> Option<T>,
) -> Option<T> {
    if required && fields.key(name).is_none() {
        fields.missing(name, diagnostics, Some("its `base` says below which entry to search"));
        return None;
    }
    fields.optional(name, diagnostics, decode)
}

fn tls(node: &Node, paths: &Paths, diagnostics: &mut Diagnostics) -> Option<TlsSettings> {
    let mut fields = Fields::open(node, diagnostics)?;
    let mut path = |name, diagnostics: &mut Diagnostics| {
        fields.optional(name, diagnostics, |node, diagnostics| paths.decode(node, diagnostics))
    };
    let ca_file = path("caFile", diagnostics);
    let cert_file = path("certFile", diagnostics);
    let key_file = path("keyFile", diagnostics);
    let server_name = fields.optional("serverName", diagnostics, text);
    let min_version = fields.optional("minVersion", diagnostics, min_version).unwrap_or_default();
    let start_tls = fields.optional("startTLS", diagnostics, boolean).unwrap_or_default();
    let insecure_plaintext = fields.optional("insecurePlaintext", diagnostics, boolean).unwrap_or_default();
    fields.finish(diagnostics);
    let files = ClientSettings { ca_file, server_name, cert_file, key_file, min_version };
    Some(TlsSettings { files, start_tls, insecure_plaintext })
}

fn bind(node: &Node, paths: &Paths, diagnostics: &mut Diagnostics) -> Option<Bind> {
    let mut fields = Fields::open(node, diagnostics)?;
    let sasl = fields.optional("sasl", diagnostics, choice(&[("external", ())]));
    let dn = fields.optional("dn", diagnostics, text);
    let password_file =
        fields.optional("passwordFile", diagnostics, |node, diagnostics| paths.decode(node, diagnostics));
    let [has_sasl, has_dn, has_password] =
        ["sasl", "dn", "passwordFile"].map(|name| fields.key(name).is_some());
    fields.finish(diagnostics);
    if has_sasl == has_dn || has_dn != has_password {
        let message = "`bind` needs `dn` and `passwordFile`, or `sasl: external`";
        diagnostics.push(Diagnostic::error(node.span, message));
        return None;
    }
    match (dn, password_file) {
        (Some(dn), Some(password_file)) => Some(Bind::Simple { dn, password_file }),
        _ => sasl.map(|()| Bind::External),
    }
}

fn user_search(node: &Node, embedded: bool, diagnostics: &mut Diagnostics) -> Option<UserSearch> {
    let mut fields = Fields::open(node, diagnostics)?;
    let base = base(&mut fields, embedded, diagnostics);
    let filter = fields.optional("filter", diagnostics, text);
    let rule = fields.optional("match", diagnostics, choice(&MatchRule::WORDS));
    fields.finish(diagnostics);
    let mut search = UserSearch::new(&base?);
    search.filter = filter;
    search.match_rule = rule.unwrap_or_default();
    Some(search)
}

fn group_search(node: &Node, embedded: bool, diagnostics: &mut Diagnostics) -> Option<GroupSearch> {
    let mut fields = Fields::open(node, diagnostics)?;
    let base = base(&mut fields, embedded, diagnostics);
    let strategy = fields.optional("strategy", diagnostics, choice(&Strategy::WORDS));
    let nested = fields.optional("nested", diagnostics, boolean);
    let max_depth = fields.optional("maxDepth", diagnostics, integer(1..=64));
    let max_groups = fields.optional("maxGroups", diagnostics, integer(1..=100_000));
    let name = fields.optional("name", diagnostics, text);
    fields.finish(diagnostics);
    let mut search = GroupSearch::new(&base?);
    search.strategy = strategy.unwrap_or_default();
    search.nested = nested.unwrap_or(search.nested);
    search.max_depth = max_depth.unwrap_or(search.max_depth);
    search.max_groups = max_groups.unwrap_or(search.max_groups);
    search.name = name;
    Some(search)
}

/// Where to search; of the embedded directory everything, unless it says otherwise.
fn base(fields: &mut Fields<'_>, embedded: bool, diagnostics: &mut Diagnostics) -> Option<String> {
    if embedded {
        return Some(fields.optional("base", diagnostics, text).unwrap_or_default());
    }
    fields.required("base", diagnostics, text)
}

fn attribute(node: &Node, diagnostics: &mut Diagnostics) -> Option<(Attribute, AttributeType)> {
    let mut fields = Fields::open(node, diagnostics)?;
    let from = fields.required("from", diagnostics, text);
    let kinds = choice(&[("string", AttributeType::String), ("level", AttributeType::Clearance)]);
    let kind = fields.optional("type", diagnostics, kinds);
    fields.finish(diagnostics);
    Some((Attribute { from: from? }, kind.unwrap_or(AttributeType::String)))
}

fn timeouts(node: &Node, diagnostics: &mut Diagnostics) -> Option<Timeouts> {
    let default = Timeouts::default();
    let mut fields = Fields::open(node, diagnostics)?;
    let connect = fields.optional("connect", diagnostics, duration);
    let operation = fields.optional("operation", diagnostics, duration);
    let total = fields.optional("total", diagnostics, duration);
    fields.finish(diagnostics);
    Some(Timeouts {
        connect: connect.unwrap_or(default.connect),
        operation: operation.unwrap_or(default.operation),
        total: total.unwrap_or(default.total),
    })
}

fn pool(node: &Node, diagnostics: &mut Diagnostics) -> Option<PoolSettings> {
    let default = PoolSettings::default();
    let mut fields = Fields::open(node, diagnostics)?;
    let connections = fields.optional("connections", diagnostics, integer(1..=64));
    let in_flight = fields.optional("inFlight", diagnostics, integer(1..=1000));
    let max_age = fields.optional("maxAge", diagnostics, duration);
    fields.finish(diagnostics);
    Some(PoolSettings {
        connections: connections.unwrap_or(default.connections),
        in_flight: in_flight.unwrap_or(default.in_flight),
        max_age: max_age.unwrap_or(default.max_age),
    })
}
