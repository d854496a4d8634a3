//! The entries, ready to be searched.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::filter::Filter;
use super::values::Syntax;
use crate::directory::ldif::{self, Ldif};
use crate::model::Dn;

/// Attributes that no search returns or compares; binds read the first.
const SECRETS: [&str; 3] = [USER_PASSWORD, "unicodepwd", "authpassword"];
const USER_PASSWORD: &str = "userpassword";
/// What is returned only where it is asked for: of entries, and of the root DSE.
const OPERATIONAL: &[&str] = &["entryuuid", "entrydn"];
const OF_THE_ROOT: &[&str] = &["supportedldapversion", "supportedextension", "vendorname", "namingcontexts"];

/// Entries, with an index of every value.
#[derive(Debug)]
pub(in crate::directory) struct Tree {
    nodes: Vec<Node>,
    /// By the normal form of the name.
    by_name: HashMap<Box<str>, usize>,
    index: Index,
}

/// By attribute and the normal form of its value: the nodes in ascending order.
type Index = HashMap<Box<str>, HashMap<Box<[u8]>, Vec<usize>>>;

/// An entry in its place.
#[derive(Debug)]
pub(in crate::directory) struct Node {
    /// Its name as the LDIF spells it.
    pub(in crate::directory) dn: Dn,
    pub(in crate::directory) attributes: Vec<Held>,
    /// The values of `userPassword`.
    pub(super) passwords: Vec<Vec<u8>>,
    /// The nearest ancestor that there is.
    ancestor: Option<usize>,
    /// Whether it is the parent.
    ancestor_is_parent: bool,
}

/// An attribute with what its values are compared by.
#[derive(Debug)]
pub(in crate::directory) struct Held {
    /// As the LDIF spells it.
    pub(in crate::directory) description: String,
    /// In lower case.
    lower: Box<str>,
    /// Whether it is returned only where it is asked for (RFC 4512, section 3.4).
    pub(in crate::directory) operational: bool,
    pub(in crate::directory) values: Vec<Vec<u8>>,
    /// The normal forms of those values that have one.
    pub(super) normals: Vec<Box<[u8]>>,
}

/// How far below its base a search looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::directory) enum Scope {
    Base,
    OneLevel,
    Subtree,
}

impl Tree {
    /// The entries of an LDIF.
    pub(super) fn new(ldif: &Ldif) -> Self {
        Self::of(ldif.entries().iter().map(Node::published).collect())
    }

    /// Entries in their order, each name once. They find their places by their names.
    pub(in crate::directory) fn of(mut nodes: Vec<Node>) -> Self {
        let by_name: HashMap<Box<str>, usize> =
            nodes.iter().enumerate().map(|(place, node)| (node.dn.normal().into(), place)).collect();
        let mut index = Index::new();
        for (place, node) in nodes.iter_mut().enumerate() {
            let nearest = nearest_ancestor(&node.dn, &by_name);
            node.ancestor = nearest.map(|(place, _)| place);
            node.ancestor_is_parent = nearest.is_some_and(|(_, is_parent)| is_parent);
            for held in &node.attributes {
                for key in held.keys() {
                    let values = index.entry(key.into()).or_default();
                    for normal in &held.normals {
                        let places = values.entry(normal.clone()).or_default();
                        if places.last() != Some(&place) {
                            places.push(place);
                        }
                    }
                }
            }
        }
        Self { nodes, by_name, index }
    }

    /// The entries that stand below no other one.
    pub(in crate::directory) fn contexts(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.ancestor.is_none())
    }

    pub(in crate::directory) fn entry(&self, dn: &Dn) -> Option<&Node> {
        self.nodes.get(*self.by_name.get(dn.normal())?)
    }

    /// The name of the nearest ancestor that there is.
    pub(in crate::directory) fn matched(&self, dn: &Dn) -> &str {
        let nearest = nearest_ancestor(dn, &self.by_name).and_then(|(place, _)| self.nodes.get(place));
        nearest.map_or("", |node| node.dn.as_str())
    }

    /// The matching entries in the order of the LDIF; `None` where there is no such base.
    pub(in crate::directory) fn search<'a>(
        &'a self,
        base: &Dn,
        scope: Scope,
        filter: &'a Filter,
    ) -> Option<impl Iterator<Item = &'a Node>> {
        let base = *self.by_name.get(base.normal())?;
        let candidates = match scope {
            Scope::Base => vec![base],
            Scope::OneLevel | Scope::Subtree => {
                filter.candidates(self).unwrap_or_else(|| (0..self.nodes.len()).collect())
            }
        };
        Some(candidates.into_iter().filter_map(move |place| {
            let node = self.nodes.get(place)?;
            let inside = match scope {
                Scope::Base => place == base,
                Scope::OneLevel => node.ancestor_is_parent && node.ancestor == Some(base),
                Scope::Subtree => self.is_within(place, base),
            };
            (inside && filter.matches(node) == Some(true)).then_some(node)
        }))
    }

    /// The entries with this value, in ascending order.
    pub(in crate::directory) fn with_value(&self, attribute: &str, normal: &[u8]) -> &[usize] {
        self.index.get(attribute).and_then(|values| values.get(normal)).map_or(&[], Vec::as_slice)
    }

    fn is_within(&self, place: usize, base: usize) -> bool {
        let up = |&at: &usize| self.nodes.get(at).and_then(|node| node.ancestor);
        std::iter::successors(Some(place), up).any(|at| at == base)
    }
}

impl Node {
    /// An entry without a place yet.
    pub(in crate::directory) fn new(dn: Dn, attributes: Vec<Held>, passwords: Vec<Vec<u8>>) -> Self {
        Self { dn, attributes, passwords, ancestor: None, ancestor_is_parent: false }
    }

    /// An entry of an LDIF as it is shown: without its secrets, with a UUID and its own name.
    fn published(entry: &ldif::Entry) -> Self {
        let mut attributes: Vec<Held> = entry
            .attributes
            .iter()
            .filter(|attribute| !SECRETS.contains(&kind(&attribute.description.to_ascii_lowercase())))
            .map(|attribute| Held::new(&attribute.description, attribute.values.clone(), OPERATIONAL))
            .collect();
        if !attributes.iter().any(|held| held.is("entryuuid")) {
            attributes.push(Held::new(
                "entryUUID",
                vec![entry_uuid(entry.dn.normal()).into_bytes()],
                OPERATIONAL,
            ));
        }
        attributes.push(Held::new("entryDN", vec![entry.dn.as_str().as_bytes().to_vec()], OPERATIONAL));
        Self::new(entry.dn.clone(), attributes, entry.values(USER_PASSWORD).map(<[u8]>::to_vec).collect())
    }
}

impl Held {
    /// An attribute with its values; `operational` are the types, in lower case, that are returned only where they are
    /// asked for.
    pub(in crate::directory) fn new(description: &str, values: Vec<Vec<u8>>, operational: &[&str]) -> Self {
        let lower: Box<str> = description.to_ascii_lowercase().into();
        let syntax = Syntax::of(kind(&lower));
        let normals = values.iter().filter_map(|value| syntax.normal(value)).collect();
        let operational = operational.contains(&kind(&lower));
        Self { description: description.to_owned(), lower, operational, values, normals }
    }

    /// The description with the values, or without them where only types are wanted.
    pub(in crate::directory) fn shown(&self, types_only: bool) -> (String, Vec<Vec<u8>>) {
        let values = if types_only { Vec::new() } else { self.values.clone() };
        (self.description.clone(), values)
    }

    /// Whether this is what a request calls `wanted`, in lower case: a type stands for its subtypes with options, too
    /// (RFC 4512, section 2.5.2).
    pub(in crate::directory) fn is(&self, wanted: &str) -> bool {
        self.keys().any(|key| key == wanted)
    }

    fn keys(&self) -> impl Iterator<Item = &str> {
        let kind = kind(&self.lower);
        let full = (kind.len() < self.lower.len()).then_some(&*self.lower);
        std::iter::once(kind).chain(full)
    }
}

/// The type of an attribute description: what stands before its options.
pub(in crate::directory) fn kind(description: &str) -> &str {
    description.split(';').next().unwrap_or_default()
}

/// The nearest ancestor that there is, and whether it is the parent.
fn nearest_ancestor(dn: &Dn, by_name: &HashMap<Box<str>, usize>) -> Option<(usize, bool)> {
    let ancestors = std::iter::successors(parent(dn.normal()), |name| parent(name));
    ancestors.enumerate().find_map(|(steps, name)| by_name.get(name).map(|&place| (place, steps == 0)))
}

/// What follows the first comma that is not escaped: of a name in normal form, the parent's.
fn parent(name: &str) -> Option<&str> {
    let mut escaped = false;
    let comma = name.find(|character| {
        let separates = character == ',' && !escaped;
        escaped = character == '\\' && !escaped;
        separates
    })?;
    name.get(comma + 1..)
}

/// The server's own entry (RFC 4512, section 5.1).
pub(super) fn root_dse(tree: &Tree) -> Node {
    let texts = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>();
    let contexts: Vec<Vec<u8>> = tree.contexts().map(|node| node.dn.as_str().as_bytes().to_vec()).collect();
    let mut attributes = vec![
        ("objectClass", texts(&["top"])),
        ("supportedLDAPVersion", texts(&["3"])),
        ("supportedExtension", texts(&[super::message::WHO_AM_I])),
        ("vendorName", texts(&["Bailiwick"])),
    ];
    if !contexts.is_empty() {
        attributes.push(("namingContexts", contexts));
    }
    let attributes =
        attributes.into_iter().map(|(description, values)| Held::new(description, values, OF_THE_ROOT));
    Node::new(Dn::default(), attributes.collect(), Vec::new())
}

/// A UUID of version 8 (RFC 9562, section 5.8) that is the same wherever the DN, in its normal form, is.
pub(in crate::directory) fn entry_uuid(dn: &str) -> String {
    let digest = Sha256::digest(dn);
    let bytes = digest.iter().take(16).fold(0_u128, |sum, &octet| (sum << 8) | u128::from(octet));
    let bytes = bytes & !(0xf << 76) & !(0b11 << 62) | (8 << 76) | (0b10 << 62);
    let hex = format!("{bytes:032x}");
    let mut uuid = String::with_capacity(36);
    for (at, digit) in hex.chars().enumerate() {
        if matches!(at, 8 | 12 | 16 | 20) {
            uuid.push('-');
        }
        uuid.push(digit);
    }
    uuid
}
