//! Entries as a search returns them. Bytes first: whether a value is text is asked where text is needed, so that one odd
//! byte changes no other value. Never panics, whatever the server sent.

use std::sync::Arc;

use ldap3::ResultEntry;
use ldap3::asn1::{PL, StructureTag};

use super::LookupError;
use crate::model::{Dn, EntityId};

/// An entry that a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The name as the server wrote it.
    pub(super) dn: Dn,
    attributes: Vec<Attribute>,
}

/// An attribute description (RFC 4512, 2.5) with its values.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Attribute {
    /// The type's name in lower case; servers answer in their own spelling.
    name: String,
    /// What followed the name after `;`, in lower case: `binary`, `lang-en`, `range=0-1499`.
    options: Vec<String>,
    values: Vec<Vec<u8>>,
}

/// A part of an attribute's values (MS-ADTS 3.1.1.3.1.3.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Range {
    /// The attribute's name in lower case.
    pub(super) name: String,
    from: u64,
    /// The place of the first value that is missing.
    pub(super) next: u64,
}

const MALFORMED: LookupError = LookupError::Protocol("a malformed search result entry");
const RANGE: &str = "range=";

impl Entry {
    /// Reads a SearchResultEntry (RFC 4511, 4.5.2).
    pub(super) fn decode(result: ResultEntry) -> Result<Self, LookupError> {
        let mut parts = constructed(result.0)?.into_iter();
        let (Some(name), Some(attributes), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(MALFORMED);
        };
        let attributes =
            constructed(attributes)?.into_iter().map(Attribute::decode).collect::<Result<_, _>>()?;
        Ok(Self { dn: read_dn(&text(primitive(name)?)?)?, attributes })
    }

    /// The values of an attribute, by its name in lower case; none where the entry does not have it.
    ///
    /// # Errors
    /// Where the server sent only a range of the values: what is missing must not look absent.
    pub(super) fn values(&self, name: &str) -> Result<Vec<&[u8]>, LookupError> {
        let mut values = Vec::new();
        for attribute in self.attributes.iter().filter(|attribute| attribute.name == name) {
            if attribute.has_range() && attribute.range() != Some((0, None)) {
                return Err(unusable(name, "the server sent only a range of its values"));
            }
            if attribute.options.iter().all(|option| option == "binary" || option.starts_with(RANGE)) {
                values.extend(attribute.values.iter().map(Vec::as_slice));
            }
        }
        Ok(values)
    }

    /// The values of an attribute as text.
    ///
    /// # Errors
    /// Where a value is not UTF-8, or is only one of a range.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<&str>, LookupError> {
        let as_text = |value| std::str::from_utf8(value).map_err(|_| unusable(name, "a value is not UTF-8"));
        self.values(name)?.into_iter().map(as_text).collect()
    }

    /// The first value of an attribute as text.
    ///
    /// # Errors
    /// As [`texts`](Self::texts).
    pub(super) fn first(&self, name: &str) -> Result<Option<&str>, LookupError> {
        Ok(self.texts(name)?.into_iter().next())
    }

    /// What came of an attribute, as options and values, whatever the options mean.
    pub(super) fn parts(&self, name: &str) -> impl Iterator<Item = (&[String], &[Vec<u8>])> {
        let attributes = self.attributes.iter().filter(move |attribute| attribute.name == name);
        attributes.map(|attribute| (attribute.options.as_slice(), attribute.values.as_slice()))
    }

    /// The names of the attributes that came, in lower case.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.attributes.iter().map(|attribute| attribute.name.as_str())
    }

    /// Whether an attribute came, if without a value.
    pub(super) fn mentions(&self, name: &str) -> bool {
        self.parts(name).next().is_some()
    }

    /// Some value of an attribute as text, if only a range of its values came too.
    pub(super) fn any_text(&self, name: &str) -> Option<&str> {
        let mut attributes = self.attributes.iter().filter(|attribute| attribute.name == name);
        attributes.find_map(|attribute| std::str::from_utf8(attribute.values.first()?).ok())
    }

    /// What stays the same when the entry is renamed, where the server has it; otherwise the normal form of its name.
    ///
    /// An `entryUUID` comes first: it is what a synchronization calls the entry (RFC 4533, 1.3), and Active Directory has none.
    ///
    /// # Errors
    /// Where the identifying attribute is malformed.
    pub(super) fn id(&self) -> Result<EntityId, LookupError> {
        if let Some(uuid) = self.first("entryuuid")? {
            return Ok(EntityId::new(uuid));
        }
        if let Some(guid) = self.values("objectguid")?.first() {
            return guid_text(guid).map(|text| EntityId::new(&text));
        }
        for name in ["nsuniqueid", "ipauniqueid"] {
            if let Some(id) = self.first(name)? {
                return Ok(EntityId::new(id));
            }
        }
        if let Some(sid) = self.values("objectsid")?.first() {
            return sid_text(sid).map(|text| EntityId::new(&text));
        }
        Ok(EntityId::new(self.dn.normal()))
    }

    /// The security identifier, where the entry has one.
    ///
    /// # Errors
    /// Where it is malformed.
    pub(super) fn sid(&self) -> Result<Option<EntityId>, LookupError> {
        let sid = self.values("objectsid")?.first().map(|sid| sid_text(sid)).transpose()?;
        Ok(sid.map(|text| EntityId::new(&text)))
    }

    /// The first attribute of which the server sent only a range of the values, where there are more.
    pub(super) fn open_range(&self) -> Option<Range> {
        self.attributes.iter().find_map(|attribute| {
            let (from, to) = attribute.range()?;
            let next = to?.checked_add(1)?;
            Some(Range { name: attribute.name.clone(), from, next })
        })
    }

    /// Puts the values of the next range behind those of this one. Whether they follow on them.
    pub(super) fn extend_range(&mut self, range: &Range, more: Self) -> bool {
        let is_next = |attribute: &Attribute| {
            attribute.name == range.name
                && attribute
                    .range()
                    .is_some_and(|(from, to)| from == range.next && to.is_none_or(|to| to >= from))
        };
        let Some(next) = more.attributes.into_iter().find(is_next) else { return false };
        let last = next.range().and_then(|(_, to)| to);
        let is_open = |attribute: &&mut Attribute| {
            attribute.name == range.name
                && attribute.range().is_some_and(|(from, to)| from == range.from && to.is_some())
        };
        let Some(attribute) = self.attributes.iter_mut().find(is_open) else { return false };
        attribute.values.extend(next.values);
        attribute.options.retain(|option| !option.starts_with(RANGE));
        if last.is_some() || range.from != 0 {
            let last = last.map_or("*".to_owned(), |last| last.to_string());
            attribute.options.push(format!("{RANGE}{}-{last}", range.from));
        }
        true
    }

    /// How many bytes the values are, all together.
    pub(super) fn size(&self) -> usize {
        let values = self.attributes.iter().flat_map(|attribute| &attribute.values);
        self.dn.as_str().len() + values.map(Vec::len).sum::<usize>()
    }

    /// An entry for tests.
    #[cfg(test)]
    pub(super) fn of(dn: &str, attributes: &[(&str, &str)]) -> Self {
        let attribute = |(name, value): &(&str, &str)| {
            let (name, options) = described(name);
            Attribute { name, options, values: vec![value.as_bytes().to_vec()] }
        };
        Self { dn: Dn::parse(dn).unwrap(), attributes: attributes.iter().map(attribute).collect() }
    }
}

/// What must be asked for so that [`Entry::id`] finds it.
pub(super) const ID_ATTRIBUTES: [&str; 5] =
    ["entryUUID", "objectGUID", "nsUniqueId", "ipaUniqueID", "objectSid"];

impl Attribute {
    fn has_range(&self) -> bool {
        self.options.iter().any(|option| option.starts_with(RANGE))
    }

    /// The places of its values among all, where the server says so: the first, and the last unless it is the last of all.
    fn range(&self) -> Option<(u64, Option<u64>)> {
        let (from, to) =
            self.options.iter().find_map(|option| option.strip_prefix(RANGE))?.split_once('-')?;
        let from = from.parse().ok()?;
        if to == "*" { Some((from, None)) } else { Some((from, Some(to.parse().ok()?))) }
    }

    fn decode(tag: StructureTag) -> Result<Self, LookupError> {
        let mut parts = constructed(tag)?.into_iter();
        let (Some(description), Some(values), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(MALFORMED);
        };
        let (name, options) = described(&text(primitive(description)?)?);
        let values = constructed(values)?.into_iter().map(primitive).collect::<Result<_, _>>()?;
        Ok(Self { name, options, values })
    }
}

fn described(description: &str) -> (String, Vec<String>) {
    let mut parts = description.split(';').map(str::to_ascii_lowercase);
    (parts.next().unwrap_or_default(), parts.collect())
}

/// Reads a name that the server sent.
pub(super) fn read_dn(text: &str) -> Result<Dn, LookupError> {
    Dn::parse(text).map_err(|_| LookupError::Protocol("an entry's name is no distinguished name"))
}

pub(super) fn unusable(attribute: &str, reason: &'static str) -> LookupError {
    LookupError::Attribute { attribute: Arc::from(attribute), reason }
}

fn constructed(tag: StructureTag) -> Result<Vec<StructureTag>, LookupError> {
    tag.expect_constructed().ok_or(MALFORMED)
}

fn primitive(tag: StructureTag) -> Result<Vec<u8>, LookupError> {
    match tag.payload {
        PL::P(bytes) => Ok(bytes),
        PL::C(_) => Err(MALFORMED),
    }
}

fn text(bytes: Vec<u8>) -> Result<String, LookupError> {
    String::from_utf8(bytes).map_err(|_| LookupError::Protocol("a name that is not UTF-8"))
}

/// An `objectGUID` as Windows writes it: the first three fields are little-endian (MS-DTYP 2.3.4.2).
fn guid_text(bytes: &[u8]) -> Result<String, LookupError> {
    let &[a0, a1, a2, a3, b0, b1, c0, c1, d0, d1, e0, e1, e2, e3, e4, e5] = bytes else {
        return Err(unusable("objectGUID", "it has not 16 bytes"));
    };
    let a = u32::from_le_bytes([a0, a1, a2, a3]);
    let b = u16::from_le_bytes([b0, b1]);
    let c = u16::from_le_bytes([c0, c1]);
    let d = u16::from_be_bytes([d0, d1]);
    let e = u64::from_be_bytes([0, 0, e0, e1, e2, e3, e4, e5]);
    Ok(format!("{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}"))
}

/// An `objectSid` as Windows writes it (MS-DTYP 2.4.2.1).
pub(super) fn sid_text(bytes: &[u8]) -> Result<String, LookupError> {
    let wrong = || unusable("objectSid", "it is no security identifier");
    let (&[revision, count, a0, a1, a2, a3, a4, a5], rest) =
        bytes.split_first_chunk::<8>().ok_or_else(wrong)?;
    let (authorities, tail) = rest.as_chunks::<4>();
    if !tail.is_empty() || authorities.len() != usize::from(count) {
        return Err(wrong());
    }
    let authority = u64::from_be_bytes([0, 0, a0, a1, a2, a3, a4, a5]);
    let mut text = format!("s-{revision}-{authority}");
    for sub in authorities {
        text.push_str(&format!("-{}", u32::from_le_bytes(*sub)));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ldap3::asn1::TagClass;
    use proptest::prelude::*;

    fn leaf(bytes: &[u8]) -> StructureTag {
        StructureTag { class: TagClass::Universal, id: 4, payload: PL::P(bytes.to_vec()) }
    }

    fn branch(children: Vec<StructureTag>) -> StructureTag {
        StructureTag { class: TagClass::Universal, id: 16, payload: PL::C(children) }
    }

    fn entry(dn: &[u8], attributes: Vec<StructureTag>) -> Result<Entry, LookupError> {
        Entry::decode(ResultEntry::new(branch(vec![leaf(dn), branch(attributes)])))
    }

    fn attribute(description: &[u8], values: &[&[u8]]) -> StructureTag {
        branch(vec![leaf(description), branch(values.iter().map(|value| leaf(value)).collect())])
    }

    #[test]
    fn attributes_are_found_whatever_the_server_calls_them() {
        let found =
            entry(b"uid=a", vec![attribute(b"memberOf", &[b"x", b"y"]), attribute(b"cn;lang-de", &[b"z"])]);
        let found = found.unwrap();
        assert_eq!(found.texts("memberof").unwrap(), ["x", "y"]);
        assert_eq!(found.texts("cn").unwrap(), Vec::<&str>::new());
    }

    #[test]
    fn a_range_of_values_is_not_all_of_them() {
        for option in ["range=0-1499", "range=1500-*", "range=", "range=0-x", "range=x-*"] {
            let name = format!("member;{option}");
            let found = entry(b"uid=a", vec![attribute(name.as_bytes(), &[b"x"])]).unwrap();
            assert!(matches!(found.values("member"), Err(LookupError::Attribute { .. })), "{option}");
        }
        let whole = entry(b"uid=a", vec![attribute(b"member;range=0-*", &[b"x"])]).unwrap();
        assert_eq!(whole.texts("member").unwrap(), ["x"]);
    }

    #[test]
    fn ranges_that_follow_on_one_another_become_all_of_the_values() {
        let part = |option: &str, values: &[&[u8]]| {
            let name = format!("member;range={option}");
            entry(b"cn=g", vec![attribute(b"member", &[]), attribute(name.as_bytes(), values)]).unwrap()
        };
        let mut whole = part("0-1", &[b"a", b"b"]);
        let first = whole.open_range().unwrap();
        assert_eq!((first.name.as_str(), first.next), ("member", 2));
        assert!(!whole.extend_range(&first, part("3-*", &[b"d"])), "a gap");
        assert!(!whole.extend_range(&first, entry(b"cn=g", vec![attribute(b"member", &[])]).unwrap()));
        assert!(whole.extend_range(&first, part("2-2", &[b"c"])));
        assert!(whole.values("member").is_err());
        let second = whole.open_range().unwrap();
        assert!(whole.extend_range(&second, part("3-*", &[b"d"])));
        assert_eq!(whole.texts("member").unwrap(), ["a", "b", "c", "d"]);
        assert_eq!(whole.open_range(), None);
        let mut tail = part("5-6", &[b"x"]);
        let range = tail.open_range().unwrap();
        assert!(tail.extend_range(&range, part("7-*", &[])));
        assert!(tail.values("member").is_err(), "the beginning never came");
    }

    #[test]
    fn bytes_that_are_no_text_spoil_only_their_own_attribute() {
        let found =
            entry(b"uid=a", vec![attribute(b"photo", &[b"x", b"\xff"]), attribute(b"cn", &[b"A"])]).unwrap();
        assert!(found.texts("photo").is_err());
        assert_eq!(found.values("photo").unwrap(), [&b"x"[..], b"\xff"]);
        assert_eq!(found.first("cn").unwrap(), Some("A"));
        assert!(entry(b"uid=\xff", vec![]).is_err());
    }

    #[test]
    fn identities_read_as_their_servers_write_them() {
        let guid =
            [0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff];
        let found = entry(b"cn=a", vec![attribute(b"objectGUID", &[&guid])]).unwrap();
        assert_eq!(found.id().unwrap().to_string(), "00112233-4455-6677-8899-aabbccddeeff");
        let both = [attribute(b"objectGUID", &[&guid]), attribute(b"entryUUID", &[b"U-1"])];
        let both = entry(b"cn=a", both.into()).unwrap().id().unwrap();
        assert_eq!(both.to_string(), "u-1", "which a synchronization calls it by");
        let sid = [1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x21, 2, 0, 0];
        let found = entry(b"cn=a", vec![attribute(b"objectSid", &[&sid])]).unwrap();
        assert_eq!(found.id().unwrap().to_string(), "s-1-5-32-545");
        assert_eq!(entry(b"CN=A , o=X", vec![]).unwrap().id().unwrap().to_string(), "cn=a,o=x");
        assert!(entry(b"cn=a", vec![attribute(b"objectGUID", &[b"short"])]).unwrap().id().is_err());
    }

    fn any_tag() -> impl Strategy<Value = StructureTag> {
        let leaf = prop::collection::vec(any::<u8>(), 0..12).prop_map(|bytes| leaf(&bytes));
        leaf.prop_recursive(4, 24, 4, |inner| prop::collection::vec(inner, 0..4).prop_map(branch))
    }

    proptest! {
        #[test]
        fn no_shape_of_an_entry_makes_it_panic(tag in any_tag()) {
            if let Ok(found) = Entry::decode(ResultEntry::new(tag)) {
                let _ = (found.id(), found.size());
            }
        }
    }
}
