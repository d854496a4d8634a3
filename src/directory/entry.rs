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

const MALFORMED: LookupError = LookupError::Protocol("a malformed search result entry");

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
            if attribute.options.iter().any(|option| option.starts_with("range=")) {
                return Err(unusable(name, "the server sent only a range of its values"));
            }
            if attribute.options.iter().all(|option| option == "binary") {
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

    /// What stays the same when the entry is renamed, where the server has it; otherwise the normal form of its name.
    ///
    /// # Errors
    /// Where the identifying attribute is malformed.
    pub(super) fn id(&self) -> Result<EntityId, LookupError> {
        if let Some(guid) = self.values("objectguid")?.first() {
            return guid_text(guid).map(|text| EntityId::new(&text));
        }
        for name in ["entryuuid", "nsuniqueid", "ipauniqueid"] {
            if let Some(id) = self.first(name)? {
                return Ok(EntityId::new(id));
            }
        }
        if let Some(sid) = self.values("objectsid")?.first() {
            return sid_text(sid).map(|text| EntityId::new(&text));
        }
        Ok(EntityId::new(self.dn.normal()))
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
fn sid_text(bytes: &[u8]) -> Result<String, LookupError> {
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
        let found = entry(b"uid=a", vec![attribute(b"member;range=0-1499", &[b"x"])]).unwrap();
        assert!(matches!(found.values("member"), Err(LookupError::Attribute { .. })));
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
        assert_eq!(found.id().unwrap().as_str(), "00112233-4455-6677-8899-aabbccddeeff");
        let sid = [1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x21, 2, 0, 0];
        let found = entry(b"cn=a", vec![attribute(b"objectSid", &[&sid])]).unwrap();
        assert_eq!(found.id().unwrap().as_str(), "s-1-5-32-545");
        assert_eq!(entry(b"CN=A , o=X", vec![]).unwrap().id().unwrap().as_str(), "cn=a,o=x");
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
