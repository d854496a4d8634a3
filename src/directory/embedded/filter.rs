//! Search filters (RFC 4511, section 4.5.1.7), evaluated to true, false or undefined.

use lber::common::TagClass;
use lber::structure::StructureTag;

use super::message::{Malformed, Parts};
use super::tree::{Node, Tree, kind};
use super::values::Syntax;

/// A filter. It is as deep as its message at most, so walking it by recursion is bounded by the frame guard's depth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::directory) enum Filter {
    And(Vec<Self>),
    Or(Vec<Self>),
    Not(Box<Self>),
    Equal(Assertion),
    AtLeast(Assertion),
    AtMost(Assertion),
    Present(Box<str>),
    Substrings(Substrings),
    /// Undefined for every entry: no rule is supported here.
    Extensible(Extensible),
    /// Undefined for every entry: substrings of a name or a number.
    Undefined,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::directory) struct Assertion {
    /// The attribute description in lower case.
    pub(in crate::directory) attribute: Box<str>,
    /// The value's normal form; `None` where the value is not of the attribute's syntax, which makes it undefined.
    pub(in crate::directory) normal: Option<Box<[u8]>>,
}

/// A match by a rule that is named (RFC 4511, section 4.5.1.7.7).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::directory) struct Extensible {
    pub(in crate::directory) rule: Box<str>,
    /// The attribute description in lower case.
    pub(in crate::directory) attribute: Box<str>,
    pub(in crate::directory) value: Box<[u8]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::directory) struct Substrings {
    attribute: Box<str>,
    initial: Box<[u8]>,
    any: Vec<Box<[u8]>>,
    last: Box<[u8]>,
}

impl Filter {
    pub(in crate::directory) fn read(tag: StructureTag) -> Result<Self, Malformed> {
        if tag.class != TagClass::Context {
            return Err(Malformed("a filter with an unknown tag"));
        }
        let all = |tag| Parts::of(tag)?.map(Self::read).collect::<Result<Vec<_>, _>>();
        match tag.id {
            0 => Ok(Self::And(all(tag)?)),
            1 => Ok(Self::Or(all(tag)?)),
            2 => match all(tag)?.pop() {
                Some(negated) => Ok(Self::Not(Box::new(negated))),
                None => Err(Malformed("a negation of nothing")),
            },
            // An approximate match is one that is at least as good as equality.
            3 | 8 => Ok(Self::Equal(Assertion::read(tag)?)),
            4 => Ok(Substrings::read(tag)?.map_or(Self::Undefined, Self::Substrings)),
            5 => Ok(Self::AtLeast(Assertion::read(tag)?)),
            6 => Ok(Self::AtMost(Assertion::read(tag)?)),
            7 => match tag.expect_primitive() {
                Some(attribute) => Ok(Self::Present(description(attribute)?)),
                None => Err(Malformed("a presence filter without an attribute")),
            },
            9 => Ok(Self::Extensible(Extensible::read(tag))),
            _ => Err(Malformed("a filter with an unknown tag")),
        }
    }

    /// Whether an entry matches; `None` is "undefined" (X.511, section 7.8.1).
    pub(in crate::directory) fn matches(&self, node: &Node) -> Option<bool> {
        match self {
            Self::And(filters) => combine(filters, node, false),
            Self::Or(filters) => combine(filters, node, true),
            Self::Not(filter) => filter.matches(node).map(|matches| !matches),
            Self::Present(attribute) => Some(node.attributes.iter().any(|held| held.is(attribute))),
            Self::Equal(it) => it.any(node, |normal, asserted| normal == asserted),
            Self::AtLeast(it) => it.any(node, |normal, asserted| normal >= asserted),
            Self::AtMost(it) => it.any(node, |normal, asserted| normal <= asserted),
            Self::Substrings(substrings) => Some(substrings.matches(node)),
            Self::Extensible(_) | Self::Undefined => None,
        }
    }

    /// The only entries that can match, in ascending order; `None` where the index does not tell.
    pub(in crate::directory) fn candidates(&self, tree: &Tree) -> Option<Vec<usize>> {
        match self {
            Self::Equal(Assertion { attribute, normal }) => Some(
                normal.as_ref().map_or_else(Vec::new, |normal| tree.with_value(attribute, normal).to_vec()),
            ),
            Self::And(all) => {
                all.iter().filter_map(|filter| filter.candidates(tree)).min_by_key(|found| found.len())
            }
            Self::Or(any) => {
                let mut found =
                    any.iter().map(|filter| filter.candidates(tree)).collect::<Option<Vec<_>>>()?.concat();
                found.sort_unstable();
                found.dedup();
                Some(found)
            }
            _ => None,
        }
    }
}

/// One filter with the `decisive` result decides; without one, a single undefined filter leaves it undefined.
fn combine(filters: &[Filter], node: &Node, decisive: bool) -> Option<bool> {
    let mut result = Some(!decisive);
    for filter in filters {
        match filter.matches(node) {
            Some(matches) if matches == decisive => return Some(decisive),
            Some(_) => {}
            None => result = None,
        }
    }
    result
}

impl Assertion {
    fn read(tag: StructureTag) -> Result<Self, Malformed> {
        let mut parts = Parts::of(tag)?;
        let attribute = description(parts.octets()?)?;
        let normal = Syntax::of(kind(&attribute)).normal(&parts.octets()?);
        Ok(Self { attribute, normal })
    }

    fn any(&self, node: &Node, compare: impl Fn(&[u8], &[u8]) -> bool) -> Option<bool> {
        let asserted = self.normal.as_ref()?;
        let mut held = node.attributes.iter().filter(|held| held.is(&self.attribute));
        Some(held.any(|held| held.normals.iter().any(|normal| compare(normal, asserted))))
    }
}

impl Extensible {
    /// Whatever its parts are: it is undefined, not malformed.
    fn read(tag: StructureTag) -> Self {
        let text = |octets: Vec<u8>| String::from_utf8_lossy(&octets).to_ascii_lowercase().into();
        let mut it = Self::default();
        for part in tag.expect_constructed().unwrap_or_default() {
            let place = part.id;
            let octets = part.expect_primitive().unwrap_or_default();
            match place {
                1 => it.rule = text(octets),
                2 => it.attribute = text(octets),
                3 => it.value = octets.into(),
                _ => {}
            }
        }
        it
    }
}

impl Substrings {
    /// `None` where the attribute's syntax has no substrings.
    fn read(tag: StructureTag) -> Result<Option<Self>, Malformed> {
        let mut parts = Parts::of(tag)?;
        let attribute = description(parts.octets()?)?;
        let syntax = Syntax::of(kind(&attribute));
        let mut it = Self { attribute, initial: Box::default(), any: Vec::new(), last: Box::default() };
        for part in parts.constructed()? {
            let place = part.id;
            let text = part.expect_primitive().ok_or(Malformed("a substring that is no octet string"))?;
            let Some(text) = syntax.fragment(&text) else { return Ok(None) };
            match place {
                0 => it.initial = text.trim_ascii_start().into(),
                1 => it.any.push(text),
                2 => it.last = text.trim_ascii_end().into(),
                _ => return Err(Malformed("a substring with an unknown tag")),
            }
        }
        Ok(Some(it))
    }

    fn matches(&self, node: &Node) -> bool {
        let mut held = node.attributes.iter().filter(|held| held.is(&self.attribute));
        held.any(|held| held.normals.iter().any(|value| self.is_in(value)))
    }

    fn is_in(&self, value: &[u8]) -> bool {
        let Some(rest) = value.strip_prefix(&*self.initial) else { return false };
        let Some(mut rest) = rest.strip_suffix(&*self.last) else { return false };
        self.any.iter().all(|part| {
            let found = rest.windows(part.len().max(1)).position(|window| window == &**part);
            let after = found.and_then(|at| rest.get(at + part.len()..));
            rest = after.unwrap_or_default();
            after.is_some()
        })
    }
}

fn description(octets: Vec<u8>) -> Result<Box<str>, Malformed> {
    match String::from_utf8(octets) {
        Ok(text) if !text.is_empty() => Ok(text.to_ascii_lowercase().into()),
        _ => Err(Malformed("an attribute description that is none")),
    }
}
