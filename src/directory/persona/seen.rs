//! What a server saw: counts of each kind of operation, and every search as text.

use std::fmt::{self, Write as _};

use lber::structure::{PL, StructureTag};

use crate::directory::embedded::message::{Malformed, Parts};

/// What came so far.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Connections that were accepted, and those that are open now.
    pub connections: usize,
    pub open: usize,
    /// The name of each bind, in order, whether it was accepted or not.
    pub binds: Vec<String>,
    pub searches: Vec<Asked>,
    pub abandons: usize,
    pub unbinds: usize,
    /// Operations that nobody here knows, such as extended ones.
    pub others: usize,
    /// Searches that are not answered yet, over all connections, and the most of them at once. Feeds do not count.
    pub in_flight: usize,
    pub most_in_flight: usize,
    /// Feeds that run.
    pub feeds: usize,
    /// Searches whose answer is held.
    pub held: usize,
}

/// A search as it was asked. Its text is `sub ou=groups,dc=x (cn=a) cn entryUUID`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The connection, counted from 1.
    pub connection: usize,
    pub base: String,
    /// `base`, `one` or `sub`.
    pub scope: &'static str,
    /// As RFC 4515 writes it.
    pub filter: String,
    pub attributes: Vec<String>,
    pub size_limit: i64,
    /// The OIDs of its controls.
    pub controls: Vec<String>,
}

impl Seen {
    /// The searches of this scope whose base begins so.
    pub fn searches_of(&self, scope: &str, base: &str) -> usize {
        let alike = |asked: &&Asked| asked.scope == scope && asked.base.starts_with(base);
        self.searches.iter().filter(alike).count()
    }

    /// The searches but for those of the root DSE, as text.
    pub fn questions(&self) -> Vec<String> {
        self.searches.iter().filter(|asked| !asked.is_of_the_root()).map(Asked::to_string).collect()
    }
}

impl Asked {
    /// Whether this asks what the server says of itself.
    pub fn is_of_the_root(&self) -> bool {
        self.base.is_empty() && self.scope == "base"
    }

    pub(super) fn read(
        connection: usize,
        operation: StructureTag,
        controls: Vec<String>,
    ) -> Result<Self, Malformed> {
        let mut parts = Parts::of(operation)?;
        let base = parts.text()?;
        let scope = ["base", "one", "sub"][usize::try_from(parts.number()?).unwrap().min(2)];
        let _aliases = parts.any()?;
        let size_limit = parts.number()?;
        let (_seconds, _types_only) = (parts.any()?, parts.any()?);
        let mut filter = String::new();
        write_filter(&mut filter, parts.any()?);
        let mut attributes = Vec::new();
        for attribute in parts.constructed()? {
            attributes.push(text(&attribute.expect_primitive().unwrap_or_default()));
        }
        Ok(Self { connection, base, scope, filter, attributes, size_limit, controls })
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.scope, self.base, self.filter)?;
        self.attributes.iter().try_for_each(|attribute| write!(f, " {attribute}"))
    }
}

/// Writes a filter as RFC 4515 does.
fn write_filter(out: &mut String, filter: StructureTag) {
    out.push('(');
    match (filter.id, filter.payload) {
        (id @ 0..=2, PL::C(parts)) => {
            out.push(['&', '|', '!'][usize::try_from(id).unwrap()]);
            parts.into_iter().for_each(|part| write_filter(out, part));
        }
        (4, PL::C(parts)) => write_substrings(out, parts),
        (9, PL::C(parts)) => write_extensible(out, parts),
        (id, PL::C(parts)) => {
            let mut parts = parts.into_iter().filter_map(StructureTag::expect_primitive);
            let operator = match id {
                5 => ">=",
                6 => "<=",
                8 => "~=",
                _ => "=",
            };
            let (attribute, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let _ = write!(out, "{}{operator}{}", text(&attribute), text(&value));
        }
        (_, PL::P(attribute)) => {
            let _ = write!(out, "{}=*", text(&attribute));
        }
    }
    out.push(')');
}

fn write_substrings(out: &mut String, parts: Vec<StructureTag>) {
    let mut parts = parts.into_iter();
    let attribute = parts.next().and_then(StructureTag::expect_primitive).unwrap_or_default();
    let _ = write!(out, "{}=", text(&attribute));
    let pieces = parts.next().and_then(StructureTag::expect_constructed).unwrap_or_default();
    let last_is_open = pieces.last().is_none_or(|piece| piece.id != 2);
    for piece in pieces {
        let (id, value) = (piece.id, piece.expect_primitive().unwrap_or_default());
        out.push_str(if id == 0 { "" } else { "*" });
        out.push_str(&text(&value));
    }
    out.push_str(if last_is_open { "*" } else { "" });
}

fn write_extensible(out: &mut String, parts: Vec<StructureTag>) {
    let part = |wanted: u64| {
        let found = parts.iter().find(|part| part.id == wanted).cloned();
        found.and_then(StructureTag::expect_primitive).unwrap_or_default()
    };
    let _ = write!(out, "{}:{}:={}", text(&part(2)), text(&part(1)), text(&part(3)));
}

/// A value with what has to be escaped.
fn text(octets: &[u8]) -> String {
    let escape = |octet: u8| format!("\\{octet:02x}");
    match std::str::from_utf8(octets) {
        Ok(text) => text
            .chars()
            .map(|character| match character {
                '*' | '(' | ')' | '\\' | '\0' => escape(u8::try_from(character).unwrap()),
                character => character.to_string(),
            })
            .collect(),
        Err(_) => octets.iter().map(|octet| escape(*octet)).collect(),
    }
}
