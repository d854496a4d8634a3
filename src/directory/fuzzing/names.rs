//! What reading names, and texts of entries, promises.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use crate::directory::ldif::Ldif;
use crate::model::Dn;

/// The most names that one input is read as.
const MAX_NAMES: usize = 4;

/// Reads each line as a distinguished name:
///
/// - it is one, or an error with a place in the text;
/// - the normal form is a name, equal to the one it was made of, and its own normal form;
/// - "stands below" is an order: it is reflexive, transitive, and both ways only between equal names; the root is above all;
/// - the nearest common ancestor is above both names, the same from either side, and nothing nearer is.
pub fn dn(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let names: Vec<Dn> = text.split('\n').take(MAX_NAMES).filter_map(one).collect();
    for a in &names {
        for b in &names {
            let (a_in_b, b_in_a) = (a.is_within(b), b.is_within(a));
            assert_eq!(a_in_b && b_in_a, a == b, "{a:?} {b:?}");
            let common = a.common_ancestor(b);
            assert!(a.is_within(&common) && b.is_within(&common), "{a:?} {b:?} {common:?}");
            assert_eq!(common, b.common_ancestor(a), "{a:?} {b:?}");
            assert_eq!(common == *b, a_in_b, "{a:?} {b:?}");
            assert_eq!(Dn::parse(common.as_str()).as_ref(), Ok(&common));
            for c in &names {
                assert!(!(a_in_b && b.is_within(c)) || a.is_within(c), "{a:?} {b:?} {c:?}");
                assert!(!(a.is_within(c) && b.is_within(c)) || common.is_within(c), "{a:?} {b:?} {c:?}");
            }
        }
    }
}

fn one(text: &str) -> Option<Dn> {
    let dn = match Dn::parse(text) {
        Ok(dn) => dn,
        Err(error) => {
            assert!(error.at <= text.len() && !error.reason.is_empty());
            return None;
        }
    };
    assert_eq!(dn.as_str(), text);
    let normal = Dn::parse(dn.normal());
    assert_eq!(normal.as_ref(), Ok(&dn));
    let normal = normal.unwrap_or_default();
    assert_eq!(normal.normal(), dn.normal(), "a normal form that has another");
    assert_eq!(dn.clone().compact().normal(), dn.normal());
    assert_eq!(normal.is_remnant(), dn.is_remnant());
    assert!(dn.is_within(&Dn::default()));
    assert_eq!(hash(&dn), hash(&normal));
    if dn != Dn::default() {
        let child = Dn::parse(&format!("cn=below\\, it,{text}"));
        let child = child.unwrap_or_default();
        assert!(child.is_within(&dn) && !dn.is_within(&child), "{child:?}");
        assert_eq!(child.common_ancestor(&dn), dn);
    }
    Some(dn)
}

fn hash(dn: &Dn) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(dn)
}

/// Reads the text as LDIF:
///
/// - it is entries, or an error that names one of its lines;
/// - an entry has a name that no other has, and attributes with values, none of them twice;
/// - written again, with every value in base64, it is read as the same.
pub fn ldif(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let read = match Ldif::parse(text) {
        Ok(read) => read,
        Err(error) => {
            assert!((1..=text.lines().count().max(1)).contains(&error.line), "{error}");
            return;
        }
    };
    let mut names = HashSet::new();
    for entry in read.entries() {
        assert!(names.insert(entry.dn.normal()), "{:?} twice", entry.dn);
        assert!(!entry.attributes.is_empty());
        for attribute in &entry.attributes {
            let distinct: HashSet<_> = attribute.values.iter().collect();
            assert!(!distinct.is_empty() && distinct.len() == attribute.values.len());
            assert_eq!(entry.values(&attribute.description).count(), distinct.len());
        }
    }
    let again = Ldif::parse(&written(&read)).map(|again| format!("{again:?}"));
    assert_eq!(again, Ok(format!("{read:?}")));
}

fn written(ldif: &Ldif) -> String {
    let mut text = String::from("version: 1\n");
    for entry in ldif.entries() {
        text.push_str(&format!("\ndn:: {}\n", base64(entry.dn.as_str().as_bytes())));
        for attribute in &entry.attributes {
            for value in &attribute.values {
                text.push_str(&format!("{}:: {}\n", attribute.description, base64(value)));
            }
        }
    }
    text
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits =
            group.iter().chain([&0, &0]).take(3).fold(0_usize, |sum, &octet| sum << 8 | usize::from(octet));
        for place in 0..4 {
            let digit = DIGITS.get(bits >> (18 - 6 * place) & 63).copied().unwrap_or(b'=');
            text.push(char::from(if place > group.len() { b'=' } else { digit }));
        }
    }
    text
}
