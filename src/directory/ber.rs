//! The little of BER (X.690) that is written and read outside of `ldap3`: the values of controls.

use bytes::BytesMut;
use lber::common::TagClass;
use lber::structure::{PL, StructureTag};
use lber::structures::{ASNTag, Enumerated, Integer, OctetString};
use lber::universal::Types;

pub(super) use super::frame::Elements;

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const ENUMERATED: u8 = 0x0a;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

pub(super) fn octets(bytes: impl Into<Vec<u8>>) -> StructureTag {
    OctetString { inner: bytes.into(), ..OctetString::default() }.into_structure()
}

/// An integer that is not negative: `lber` writes some of the others wrong.
pub(super) fn integer(number: u32) -> StructureTag {
    Integer { inner: i64::from(number), ..Integer::default() }.into_structure()
}

pub(super) fn enumerated(number: i64) -> StructureTag {
    Enumerated { inner: number, ..Enumerated::default() }.into_structure()
}

pub(super) fn boolean(is: bool) -> StructureTag {
    let payload = PL::P(vec![if is { 0xff } else { 0 }]);
    StructureTag { class: TagClass::Universal, id: Types::Boolean as u64, payload }
}

pub(super) fn sequence(parts: Vec<StructureTag>) -> StructureTag {
    StructureTag { class: TagClass::Universal, id: Types::Sequence as u64, payload: PL::C(parts) }
}

/// The bytes of an element.
pub(super) fn encoded(tag: StructureTag) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    // Writing to memory does not fail.
    let _ = lber::write::encode_into(&mut bytes, tag);
    bytes.to_vec()
}

/// The elements inside of the one element with this tag that `bytes` are.
pub(super) fn whole(bytes: &[u8], tag: u8) -> Option<Elements<'_>> {
    let mut outer = Elements::of(bytes);
    let content = outer.take_if(tag)?;
    outer.rest().is_empty().then(|| Elements::of(content))
}

/// An integer of 64 bits at most.
pub(super) fn number(octets: &[u8]) -> Option<i64> {
    let (first, rest) = octets.split_first()?;
    if octets.len() > 8 {
        return None;
    }
    let sign = i64::from(i8::from_be_bytes([*first]));
    Some(rest.iter().fold(sign, |sum, octet| (sum << 8) | i64::from(*octet)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for given in [0, 1, 127, 128, 255, 256, 0x7fff_ffff, 0x8000_0001, u32::MAX] {
            let bytes = encoded(integer(given));
            let (tag, octets) = Elements::of(&bytes).next().unwrap();
            assert_eq!((tag, number(octets)), (INTEGER, Some(i64::from(given))));
        }
        assert_eq!(number(b"\xff\x7f"), Some(-129));
        let value = encoded(sequence(vec![enumerated(3), octets(*b"x"), boolean(true)]));
        let parts: Vec<_> = whole(&value, SEQUENCE).unwrap().collect();
        assert_eq!(parts, [(ENUMERATED, &b"\x03"[..]), (OCTET_STRING, b"x"), (BOOLEAN, b"\xff")]);
        assert_eq!(number(b""), None);
        assert_eq!(number(&[1; 9]), None);
    }
}
