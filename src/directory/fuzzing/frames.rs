//! What the frame guard promises of a byte stream.

use lber::structure::{PL, StructureTag};

use super::{LIMITS, drain, frames};
use crate::directory::embedded::message::Request;
use crate::directory::frame::{Frame, FrameGuard, Peer};

/// The largest piece in which a stream comes, in bytes.
const MAX_PIECE: usize = 97;

/// Reads the bytes as a server's stream and as a client's:
///
/// - no bytes make the guard panic, and what it hands out, put together, is what came;
/// - in pieces of any size the stream gives the same messages and the same end;
/// - a message is of the allowed size and depth, and the decoders behind the guard read it to its end without panic.
pub fn frame_guard(bytes: &[u8]) {
    for peer in [Peer::Server, Peer::Client] {
        let (whole, end) = frames(peer, bytes);
        let joined: Vec<u8> = whole.iter().flat_map(|frame| frame.bytes.iter().copied()).collect();
        assert!(bytes.starts_with(&joined), "what is handed out is not what came");
        assert_eq!(in_pieces(peer, bytes), (whole.clone(), end), "pieces make a difference");
        for frame in &whole {
            check(peer, frame);
        }
    }
}

/// As [`frames`], in pieces whose sizes follow from the bytes, so that an input says everything.
fn in_pieces(peer: Peer, bytes: &[u8]) -> (Vec<Frame>, Option<super::FrameError>) {
    let mut guard = FrameGuard::new(peer, LIMITS);
    let mut found = Vec::new();
    let mut end = None;
    let mut rest = bytes;
    let mut dice = bytes.len();
    while !rest.is_empty() {
        dice = dice.wrapping_mul(31).wrapping_add(rest.first().copied().map_or(7, usize::from));
        let (piece, later) = rest.split_at((dice % MAX_PIECE + 1).min(rest.len()));
        rest = later;
        guard.push(piece);
        end = drain(&mut guard, &mut found);
    }
    (found, end)
}

fn check(peer: Peer, frame: &Frame) {
    assert!(frame.bytes.len() <= LIMITS.max_message);
    let (rest, message) = match lber::parse::parse_tag(&frame.bytes) {
        Ok((rest, message)) => (rest.len(), Some(message)),
        Err(_) => (usize::MAX, None),
    };
    assert_eq!(rest, 0, "the decoder does not read all of it");
    let Some(message) = message else { return };
    assert!(depth(&message) <= LIMITS.max_depth, "deeper than allowed");
    if peer == Peer::Client {
        assert_eq!(frame.disconnection_notice(), None);
        // Malformed or not: it is said.
        let _ = Request::read(frame);
        let _ = frame.abandoned();
        return;
    }
    if frame.disconnection_notice().is_some() {
        assert_eq!(frame.message_id, 0);
    }
    decode(frame, message);
}

/// As `ldap3` does (`decode_inner` of its codec, and what its callers do with an operation).
fn decode(frame: &Frame, message: StructureTag) {
    let mut parts = message.expect_constructed().unwrap_or_default();
    assert!(matches!(parts.len(), 2 | 3), "an id, an operation, and controls at most");
    // An operation that is followed by a name instead of controls is Active Directory's notice of disconnection.
    if let Some(last) = (parts.len() == 3).then(|| parts.pop()).flatten() {
        match last.payload {
            PL::C(controls) if last.id == 0 => controls.into_iter().for_each(control),
            _ => assert_eq!((last.id, frame.operation, frame.message_id), (10, 0x78, 0)),
        }
    }
    let Some(operation) = parts.pop() else { return };
    match frame.operation {
        0x64 => drop(ldap3::SearchEntry::construct(ldap3::ResultEntry::new(operation))),
        0x73 => drop(ldap3::parse_refs(operation)),
        0x79 => {}
        _ => drop(ldap3::LdapResult::from(lber::structures::Tag::StructureTag(operation))),
    }
}

/// `ldap3` panics wherever this fails.
fn control(tag: StructureTag) {
    let mut parts = tag.expect_constructed().unwrap_or_default().into_iter();
    let oid = parts.next().and_then(StructureTag::expect_primitive).map(String::from_utf8);
    assert!(matches!(oid, Some(Ok(_))), "a control without an OID");
    let mut value = parts.next();
    if let Some(StructureTag { id: 1, payload, .. }) = &value {
        assert!(matches!(payload, PL::P(octets) if !octets.is_empty()), "a criticality without a value");
        value = parts.next();
    }
    assert!(value.is_none_or(|value| value.id == 4 && matches!(value.payload, PL::P(_))));
}

/// How many constructed elements stand in one another.
fn depth(tag: &StructureTag) -> usize {
    match &tag.payload {
        PL::P(_) => 0,
        PL::C(parts) => 1 + parts.iter().map(depth).max().unwrap_or(0),
    }
}
