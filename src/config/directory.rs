//! `directory`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::Paths;
use super::server::min_version;
use crate::cache;
use crate::directory::{
    Attribute, Bind, ChangeFeed, Flavour, GroupSearch, MatchRule, PoolSettings, Settings, Strategy, Timeouts,
    TlsSettings, UserSearch, Usernames,
};
use crate::document::{
    Diagnostic, Diagnostics, Fields, Node, Spanned, boolean, choice, duration, integer, list, map, spanned,
    text,
};
use crate::eval::{AccountEffect, WhenUnreachable};
use crate::policy::ast::AttributeType;
use crate::tls::ClientSettings;

/// `directory.accounts`, as the evaluation wants it.
pub type Accounts = crate::eval::Accounts;

/// `directory`: where people are looked up.
#[derive(Debug, Clone)]
pub struct People {
    /// `kind`, and what belongs to it.
    pub kind: DirectoryKind,
    /// `usernames`.
    pub usernames: Usernames,
    /// The types of the attributes that are read, by the name that policies use.
    pub attribute_types: BTreeMap<String, AttributeType>,
}

/// `directory.kind`.
#[derive(Debug, Clone)]
pub enum DirectoryKind {
    /// `none`: nobody is in a directory.
    None,
    /// `ldap`.
    Ldap(Box<Settings>),
    /// `embedded`: an LDIF file served by the process itself, and asked like any other directory. Servers, TLS and bind of
    /// these settings are filled in when it was started.
    Embedded {
        /// `ldif`.
        ldif: PathBuf,
        /// `ldap`, but for `urls`, `tls` and `bind`.
        settings: Box<Settings>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    None,
    Ldap,
    Embedded,
}

pub(super) fn directory(
    node: &Node,
    paths: &Paths,
    deadline: Option<Duration>,
    diagnostics: &mut Diagnostics,
) -> Option<(People, cache::Settings, Accounts)> {
    let mut fields = Fields::open(node, diagnostics)?;
    let kinds = choice(&[("none", Kind::None), ("ldap", Kind::Ldap), ("embedded", Kind::Embedded)]);
    let kind = fields.required("kind", diagnostics, kinds);
    let ldif =
        fields.optional("ldif", diagnostics, spanned(|node, diagnostics| paths.decode(node, diagnostics)));
    let ldap_node = fields.node("ldap");
    let usernames = fields.optional("usernames", diagnostics, usernames).unwrap_or_default();
    let accounts = fields.optional("accounts", diagnostics, accounts).unwrap_or_default();
    let cache = fields.optional("cache", diagnostics, cache_settings);
    fields.finish(diagnostics);
    let kind = kind?;
    let mut attribute_types = BTreeMap::new();
    let ldap = ldap_node.and_then(|node| ldap(node, kind, paths, &mut attribute_types, diagnostics));
    let misplaced = |what: &str| format!("`{what}` does not go with this `kind`");
    let kind = match kind {
        Kind::None => {
            if let Some(node) = ldap_node {
                diagnostics.push(Diagnostic::error(node.span, misplaced("ldap")));
            }
            DirectoryKind::None
        }
        Kind::Ldap => {
            if ldap_node.is_none() {
                diagnostics.push(Diagnostic::error(node.span, "the field `ldap` is missing"));
            }
            DirectoryKind::Ldap(Box::new(ldap?))
        }
        Kind::Embedded => {
            if ldif.is_none() {
                diagnostics.push(Diagnostic::error(node.span, "the field `ldif` is missing"));
            }
            let settings = ldap.unwrap_or_else(unconnected);
            DirectoryKind::Embedded { ldif: ldif.as_ref()?.value.clone(), settings: Box::new(settings) }
        }
    };
    if let (DirectoryKind::None | DirectoryKind::Ldap(_), Some(ldif)) = (&kind, &ldif) {
        diagnostics.push(Diagnostic::error(ldif.span, misplaced("ldif")));
    }
    let mut cache = cache.unwrap_or_default();
    if let DirectoryKind::Ldap(settings) | DirectoryKind::Embedded { settings, .. } = &kind {
        cache.load_timeout = settings.timeouts.total;
        if let Some(deadline) = deadline.filter(|deadline| settings.timeouts.total >= *deadline) {
            let message = format!(
                "`timeouts.total` ({:?}) must be less than `server.deadline` ({deadline:?})",
                settings.timeouts.total
            );
            let help =
                "a review must be answered within its deadline also when the directory does not answer";
            diagnostics.push(Diagnostic::error(ldap_node.unwrap_or(node).span, message).help(help));
        }
    }
    Some((People { kind, usernames, attribute_types }, cache, accounts))
}

/// The settings of the embedded directory before it was started.
fn unconnected() -> Settings {
    Settings::new(Vec::new(), Bind::External, "")
}

fn ldap(
    node: &Node,
    kind: Kind,
    paths: &Paths,
    attribute_types: &mut BTreeMap<String, AttributeType>,
    diagnostics: &mut Diagnostics,
) -> Option<Settings> {
    let embedded = kind == Kind::Embedded;
    let mut settings = unconnected();
    let mut fields = Fields::open(node, diagnostics)?;
    let mut connected = true;
    if embedded {
        for name in ["urls", "srv", "tls", "bind", "flavour", "changeFeed"] {
            if let Some(span) = fields.key(name) {
                let message =
                    format!("`{name}` does not go with the embedded directory, which sets it itself");
                diagnostics.push(Diagnostic::error(span, message));
            }
        }
    } else {
        let urls = fields.optional("urls", diagnostics, list(text));
        settings.srv = fields.optional("srv", diagnostics, text);
        if let Some(tls) =
            fields.optional("tls", diagnostics, |node, diagnostics| tls(node, paths, diagnostics))
        {
            settings.tls = tls;
        }
        let bind = fields.required("bind", diagnostics, |node, diagnostics| bind(node, paths, diagnostics));
        let flavours = choice(&[
            ("auto", Flavour::Auto),
            ("activeDirectory", Flavour::ActiveDirectory),
            ("openldap", Flavour::OpenLdap),
            ("rfc2307", Flavour::Rfc2307),
            ("rfc2307bis", Flavour::Rfc2307bis),
        ]);
        settings.flavour = fields.optional("flavour", diagnostics, flavours).unwrap_or_default();
        let feeds = choice(&[
            ("auto", ChangeFeed::Auto),
            ("off", ChangeFeed::Off),
            ("syncrepl", ChangeFeed::SyncRepl),
            ("dirsync", ChangeFeed::DirSync),
            ("notify", ChangeFeed::Notify),
            ("poll", ChangeFeed::Poll),
        ]);
        settings.change_feed = fields.optional("changeFeed", diagnostics, feeds).unwrap_or_default();
        settings.urls = urls.unwrap_or_default();
        connected = bind.is_some();
        if let Some(bind) = bind {
            settings.bind = bind;
        }
    }
    let user = fields
        .optional("userSearch", diagnostics, |node, diagnostics| user_search(node, embedded, diagnostics));
    let group = fields
        .optional("groupSearch", diagnostics, |node, diagnostics| group_search(node, embedded, diagnostics));
    let attributes = fields.optional("attributes", diagnostics, map(attribute)).unwrap_or_default();
    settings.timeouts = fields.optional("timeouts", diagnostics, timeouts).unwrap_or(settings.timeouts);
    settings.pool = fields.optional("pool", diagnostics, pool).unwrap_or(settings.pool);
    if !embedded {
        for (name, is_there) in [("userSearch", user.is_some()), ("groupSearch", group.is_some())] {
            if !is_there && fields.key(name).is_none() {
                fields.missing(name, diagnostics, Some("its `base` says below which entry to search"));
            }
        }
    }
    fields.finish(diagnostics);
    for (Spanned { value: name, span }, (attribute, kind)) in attributes {
        if kind == AttributeType::Clearance && attribute_types.values().any(|known| *known == kind) {
            diagnostics.push(Diagnostic::error(span, "only one attribute can be of the type `level`"));
        }
        attribute_types.insert(name.clone(), kind);
        settings.attributes.insert(name, attribute);
    }
    settings.user_search = user.unwrap_or(settings.user_search);
    settings.group_search = group.unwrap_or(settings.group_search);
    if !embedded
        && connected
        && !diagnostics.has_errors()
        && let Err(error) = settings.check()
    {
        diagnostics.push(Diagnostic::error(node.span, error.to_string()));
    }
    Some(settings)
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
    fields.finish(diagnostics);
    match (sasl, dn, password_file) {
        (Some(()), None, None) => Some(Bind::External),
        (None, Some(dn), Some(password_file)) => Some(Bind::Simple { dn, password_file }),
        _ => {
            let message = "`bind` needs `dn` and `passwordFile`, or `sasl: external`";
            diagnostics.push(Diagnostic::error(node.span, message));
            None
        }
    }
}

fn user_search(node: &Node, embedded: bool, diagnostics: &mut Diagnostics) -> Option<UserSearch> {
    let mut fields = Fields::open(node, diagnostics)?;
    let base = base(&mut fields, embedded, diagnostics);
    let filter = fields.optional("filter", diagnostics, text);
    let rules = choice(&[("exact", MatchRule::Exact), ("asciiCaseFold", MatchRule::AsciiCaseFold)]);
    let rule = fields.optional("match", diagnostics, rules);
    fields.finish(diagnostics);
    let mut search = UserSearch::new(&base?);
    search.filter = filter.unwrap_or(search.filter);
    search.match_rule = rule.unwrap_or_default();
    Some(search)
}

fn group_search(node: &Node, embedded: bool, diagnostics: &mut Diagnostics) -> Option<GroupSearch> {
    let mut fields = Fields::open(node, diagnostics)?;
    let base = base(&mut fields, embedded, diagnostics);
    let strategy = fields.optional(
        "strategy",
        diagnostics,
        choice(&[("auto", Strategy::Auto), ("search", Strategy::Search)]),
    );
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
    search.name = name.unwrap_or(search.name);
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

fn usernames(node: &Node, diagnostics: &mut Diagnostics) -> Option<Usernames> {
    let mut fields = Fields::open(node, diagnostics)?;
    let strip_prefix = fields.node("stripPrefix").and_then(|node| node.as_text().map(str::to_owned));
    let exclude = match fields.node("exclude") {
        Some(Node { value: crate::document::Value::Sequence(items), .. }) if items.is_empty() => None,
        Some(node) => list(text)(node, diagnostics),
        None => None,
    };
    fields.finish(diagnostics);
    Some(Usernames { strip_prefix: strip_prefix.unwrap_or_default(), exclude: exclude.unwrap_or_default() })
}

fn accounts(node: &Node, diagnostics: &mut Diagnostics) -> Option<Accounts> {
    let mut accounts = Accounts::default();
    let mut fields = Fields::open(node, diagnostics)?;
    for (name, effect) in [
        ("disabled", &mut accounts.disabled),
        ("expired", &mut accounts.expired),
        ("locked", &mut accounts.locked),
        ("passwordExpired", &mut accounts.password_expired),
        ("notFound", &mut accounts.not_found),
        ("ambiguous", &mut accounts.ambiguous),
    ] {
        let effects = choice(&[("Deny", AccountEffect::Deny), ("Ignore", AccountEffect::Ignore)]);
        if let Some(said) = fields.optional(name, diagnostics, effects) {
            *effect = said;
        }
    }
    let unreachable = choice(&[("LastKnown", WhenUnreachable::LastKnown), ("Deny", WhenUnreachable::Deny)]);
    if let Some(said) = fields.optional("whenUnreachable", diagnostics, unreachable) {
        accounts.when_unreachable = said;
    }
    fields.finish(diagnostics);
    Some(accounts)
}

fn cache_settings(node: &Node, diagnostics: &mut Diagnostics) -> Option<cache::Settings> {
    let default = cache::Settings::default();
    let mut fields = Fields::open(node, diagnostics)?;
    let soft_ttl = fields.optional("softTTL", diagnostics, duration).unwrap_or(default.soft_ttl);
    let hard_ttl = fields.optional("hardTTL", diagnostics, duration).unwrap_or(default.hard_ttl);
    let negative_ttl = fields.optional("negativeTTL", diagnostics, duration).unwrap_or(default.negative_ttl);
    let max_entries =
        fields.optional("maxEntries", diagnostics, integer(1..=10_000_000)).unwrap_or(default.max_entries);
    fields.finish(diagnostics);
    if soft_ttl > hard_ttl {
        let message = "`softTTL` must not be more than `hardTTL`";
        diagnostics.push(Diagnostic::error(node.span, message));
    }
    Some(cache::Settings {
        soft_ttl,
        hard_ttl,
        negative_ttl,
        max_entries,
        load_timeout: default.load_timeout,
    })
}
