//! `directory`.

mod ldap;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::Paths;
use crate::cache;
use crate::directory::{Settings, Usernames};
use crate::document::{
    Diagnostic, Diagnostics, Fields, Node, any_list, any_text, choice, duration, integer, text,
};
use crate::eval::{AccountEffect, WhenUnreachable};
use crate::policy::ast::AttributeType;
use ldap::{Ldap, ldap, place, unconnected};

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
    let misplaced: &[&str] = match kind {
        Some(Kind::None) => &["ldif", "ldap", "usernames", "accounts", "cache"],
        Some(Kind::Ldap) => &["ldif"],
        Some(Kind::Embedded) | None => &[],
    };
    for name in ["ldif", "ldap", "usernames", "accounts", "cache"] {
        if misplaced.contains(&name)
            && let Some(span) = fields.key(name)
        {
            let message = format!("`{name}` does not go with this `kind` of directory");
            diagnostics.push(Diagnostic::error(span, message));
        }
    }
    if kind == Some(Kind::None) {
        fields.finish(diagnostics);
        let people = People {
            kind: DirectoryKind::None,
            usernames: Usernames::default(),
            attribute_types: BTreeMap::new(),
        };
        return Some((people, cache::Settings::default(), Accounts::default()));
    }
    let ldif = match kind {
        Some(Kind::Embedded) => {
            fields.required("ldif", diagnostics, |node, diagnostics| paths.decode(node, diagnostics))
        }
        _ => fields.node("ldif").and(None),
    };
    let ldap_node = fields.node("ldap");
    // Where the kind is not known, its mistakes are not either.
    let decoded: Option<Ldap> = match kind {
        Some(Kind::Ldap) => fields
            .required("ldap", diagnostics, |node, diagnostics| ldap(node, Kind::Ldap, paths, diagnostics)),
        Some(Kind::Embedded) if ldap_node.is_some() => {
            fields.optional("ldap", diagnostics, |node, diagnostics| {
                ldap(node, Kind::Embedded, paths, diagnostics)
            })
        }
        Some(Kind::Embedded) => Some((unconnected(), BTreeMap::new())),
        Some(Kind::None) | None => None,
    };
    let usernames = fields.optional("usernames", diagnostics, usernames).unwrap_or_default();
    let accounts = fields.optional("accounts", diagnostics, accounts).unwrap_or_default();
    let mut cache = fields.optional("cache", diagnostics, cache_settings).unwrap_or_default();
    fields.finish(diagnostics);
    let (settings, attribute_types) = decoded?;
    let total = settings.timeouts.total;
    cache.load_timeout = total;
    if let Some(deadline) = deadline.filter(|deadline| total >= *deadline) {
        let span = ldap_node.map_or(node.span, |node| place(node, "timeouts.total"));
        let message =
            format!("`timeouts.total` ({total:?}) must be less than `server.deadline` ({deadline:?})");
        let help = "a review must be answered within its deadline also when the directory does not answer";
        diagnostics.push(Diagnostic::error(span, message).help(help));
    }
    let settings = Box::new(settings);
    let kind = match kind? {
        Kind::Embedded => DirectoryKind::Embedded { ldif: ldif?, settings },
        Kind::Ldap | Kind::None => DirectoryKind::Ldap(settings),
    };
    Some((People { kind, usernames, attribute_types }, cache, accounts))
}

fn usernames(node: &Node, diagnostics: &mut Diagnostics) -> Option<Usernames> {
    let mut fields = Fields::open(node, diagnostics)?;
    let strip_prefix = fields.optional("stripPrefix", diagnostics, any_text);
    let exclude = fields.optional("exclude", diagnostics, any_list(text));
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
    let followed_ttl = fields.optional("followedTTL", diagnostics, duration).unwrap_or(default.followed_ttl);
    let max_entries =
        fields.optional("maxEntries", diagnostics, integer(1..=10_000_000)).unwrap_or(default.max_entries);
    fields.finish(diagnostics);
    if soft_ttl > hard_ttl {
        let message = format!("`softTTL` ({soft_ttl:?}) must not be more than `hardTTL` ({hard_ttl:?})");
        diagnostics.push(Diagnostic::error(place(node, "softTTL"), message));
    }
    Some(cache::Settings {
        soft_ttl,
        hard_ttl,
        negative_ttl,
        followed_ttl,
        max_entries,
        load_timeout: default.load_timeout,
    })
}
