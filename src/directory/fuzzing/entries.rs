//! What reading an entry promises.

use std::collections::BTreeMap;

use ldap3::ResultEntry;

use super::frames;
use crate::directory::about::About;
use crate::directory::account;
use crate::directory::ber::{Elements, OCTET_STRING, SEQUENCE, SET};
use crate::directory::entry::Entry;
use crate::directory::frame::{Frame, Peer};
use crate::directory::{LookupError, feed};

/// Attributes as they came: the description in lower case, and the values.
type Sent<'a> = Vec<(String, Vec<&'a [u8]>)>;

/// Reads each SearchResultEntry of a server's stream, through the frame guard:
///
/// - it is an entry or an error, and so is everything that is read out of one; nothing panics;
/// - no value is lost, none is made up, and none is given to another attribute;
/// - of what came only as a range of its values nothing is answered as if it were all, and ranges come to an end;
/// - an identity is in one form whatever its bytes are.
pub fn entry_decoder(bytes: &[u8]) {
    let (found, _) = frames(Peer::Server, bytes);
    let mut before: Option<Entry> = None;
    for frame in found.iter().filter(|frame| frame.operation == 0x64) {
        let entry = decode(frame);
        assert!(entry.is_some() || !is_well_named(frame), "an entry is lost");
        let Some(entry) = entry else { continue };
        let sent = sent(frame);
        check_values(&entry, &sent);
        check_identity(&entry);
        read_all(&entry);
        if let Some(before) = before.replace(entry.clone()) {
            check_ranges(before, &entry);
        }
    }
}

fn decode(frame: &Frame) -> Option<Entry> {
    let (_, message) = lber::parse::parse_tag(&frame.bytes).ok()?;
    let operation = message.expect_constructed()?.into_iter().nth(1)?;
    Entry::decode(ResultEntry::new(operation)).ok()
}

/// Whether the DN is one: there is no other reason to refuse what the guard let through.
fn is_well_named(frame: &Frame) -> bool {
    let name = body(frame).and_then(|mut parts| parts.next());
    name.is_some_and(|(_, name)| {
        std::str::from_utf8(name).is_ok_and(|name| crate::model::Dn::parse(name).is_ok())
    })
}

/// The parts of the operation.
fn body(frame: &Frame) -> Option<Elements<'_>> {
    let (_, message) = Elements::of(&frame.bytes).next()?;
    Some(Elements::of(Elements::of(message).nth(1)?.1))
}

/// The same by another way than the one that is checked.
fn sent(frame: &Frame) -> Sent<'_> {
    let attributes = body(frame).and_then(|mut parts| parts.nth(1));
    let mut found = Vec::new();
    for (tag, attribute) in attributes.map(|(_, content)| Elements::of(content)).into_iter().flatten() {
        assert_eq!(tag, SEQUENCE);
        let mut parts = Elements::of(attribute);
        let (Some((OCTET_STRING, name)), Some((SET, values))) = (parts.next(), parts.next()) else {
            continue;
        };
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        found.push((name, Elements::of(values).map(|(_, value)| value).collect()));
    }
    found
}

fn check_values(entry: &Entry, sent: &Sent<'_>) {
    let count: usize = sent.iter().map(|(_, values)| values.len()).sum();
    let names: Vec<&str> = sent.iter().map(|(name, _)| name.split(';').next().unwrap_or_default()).collect();
    assert_eq!(entry.names().collect::<Vec<_>>(), names);
    let mut whole: BTreeMap<&str, Vec<&[u8]>> = BTreeMap::new();
    let mut found = 0;
    for ((description, values), name) in sent.iter().zip(&names) {
        let mut options = description.split(';').skip(1);
        let is_range = description.split(';').skip(1).any(|option| option.starts_with("range="));
        let place = whole.entry(name).or_default();
        if options.all(|option| option == "binary" || option.starts_with("range=")) {
            place.extend(values);
        }
        if is_range && !is_all(description) {
            assert!(entry.values(name).is_err(), "a range of `{name}` is taken for all of it");
        }
    }
    for (name, expected) in whole {
        found += entry.parts(name).map(|(_, values)| values.len()).sum::<usize>();
        assert!(entry.mentions(name));
        match entry.values(name) {
            Ok(values) => assert_eq!(values, expected, "`{name}`"),
            Err(LookupError::Attribute { .. }) => {
                assert!(sent.iter().any(|(sent, _)| sent.contains(";range=")))
            }
            Err(error) => assert_eq!(error, LookupError::Stopped, "an error that it has not"),
        }
        let is_text = expected.iter().all(|value| std::str::from_utf8(value).is_ok());
        assert_eq!(entry.texts(name).is_ok(), is_text && entry.values(name).is_ok());
        if let Ok(Some(first)) = entry.first(name) {
            assert_eq!(Some(&first.as_bytes()), expected.first());
        }
        let _ = entry.any_text(name);
    }
    assert_eq!(found, count, "all values, each once");
    let bytes: usize = sent.iter().flat_map(|(_, values)| values).map(|value| value.len()).sum();
    assert_eq!(entry.size(), bytes + entry.dn.as_str().len());
}

/// Whether the range of values is the whole.
fn is_all(description: &str) -> bool {
    let mut ranges = description.split(';').skip(1).filter(|option| option.starts_with("range="));
    ranges.all(|range| range == "range=0-*")
}

fn check_identity(entry: &Entry) {
    if let Ok(Some(sid)) = entry.sid() {
        assert!(sid.to_string().starts_with("s-"), "{sid:?}");
    }
    if let Ok(id) = entry.id() {
        let guid = entry.values("objectguid").ok().and_then(|values| values.first().copied());
        if guid.is_some() {
            assert_eq!(id.to_string().len(), 36, "{id:?}");
        }
    }
}

/// Two entries that came one after another, as if the second were the next range of the first.
fn check_ranges(mut whole: Entry, more: &Entry) {
    while let Some(range) = whole.open_range() {
        let (size, added) = (whole.size(), more.size());
        if !whole.extend_range(&range, more.clone()) {
            assert_eq!(whole.size(), size, "what does not follow changes nothing");
            return;
        }
        assert!(whole.size() <= size + added);
        if let Some(next) = whole.open_range().filter(|next| next.name == range.name) {
            assert!(next.next != range.next, "a range that does not go on");
        }
    }
}

/// Everything else that is read out of entries.
fn read_all(entry: &Entry) {
    let _ = About::read(entry);
    let _ = account::state(entry);
    let _ = account::complete_state(entry);
    let _ = entry.dn.is_remnant();
    feed::read_entry(entry);
}
