//! The shapes of RFC 4511, as far as a decoder stumbles over their absence. Everything here runs after the walk over the
//! headers, so elements are well formed; nothing recurses.

use super::{Frame, FrameError, Header, Peer};

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const ENUMERATED: u8 = 0x0a;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const CONTROLS: u8 = 0xa0;
const REFERRAL: u8 = 0xa3;
const SASL_CREDENTIALS: u8 = 0x87;
const RESPONSE_NAME: u8 = 0x8a;
const RESPONSE_VALUE: u8 = 0x8b;
const INTERMEDIATE_NAME: u8 = 0x80;
const INTERMEDIATE_VALUE: u8 = 0x81;

const ABANDON_REQUEST: u8 = 0x50;
const BIND_RESPONSE: u8 = 0x61;
const SEARCH_ENTRY: u8 = 0x64;
const SEARCH_DONE: u8 = 0x65;
const SEARCH_REFERENCE: u8 = 0x73;
const EXTENDED_RESPONSE: u8 = 0x78;
const INTERMEDIATE_RESPONSE: u8 = 0x79;

/// Bind, unbind, search, modify, add, delete, rename, compare, abandon, extended.
const REQUESTS: [u8; 10] = [0x60, 0x42, 0x63, 0x66, 0x68, 0x4a, 0x6c, 0x6e, 0x50, 0x77];

/// RFC 4511, section 4.4.1.
const NOTICE_OF_DISCONNECTION: &[u8] = b"1.3.6.1.4.1.1466.20036";
/// RFC 2696: the one control whose value `ldap3` decodes for us, by recursion and with panics.
const PAGED_RESULTS: &[u8] = b"1.2.840.113556.1.4.319";

/// An integer that is wanted in 32 bits has at most so many octets.
const MAX_INTEGER_OCTETS: usize = 4;

/// Checks the content of an LDAPMessage; gives its id and the identifier of its operation.
pub(super) fn check_message(peer: Peer, content: &[u8]) -> Result<(i32, u8), FrameError> {
    let mut parts = Elements(content);
    let message_id = match parts.next() {
        Some((INTEGER, octets)) => message_id(octets)?,
        _ => return Err(FrameError::BadMessageId),
    };
    let (operation, body) = parts.next().ok_or(FrameError::BadOperation(0))?;
    match peer {
        Peer::Client if !REQUESTS.contains(&operation) => return Err(FrameError::BadOperation(operation)),
        Peer::Client if message_id == 0 => return Err(FrameError::BadMessageId),
        Peer::Client => {}
        Peer::Server => {
            check_response(operation, body)?;
            if message_id == 0 && operation != EXTENDED_RESPONSE {
                return Err(FrameError::BadMessageId);
            }
        }
    }
    match parts.next() {
        None => {}
        Some((CONTROLS, controls)) => check_controls(controls)?,
        // Active Directory puts the name of its Notice of Disconnection here.
        Some((RESPONSE_NAME, name))
            if peer == Peer::Server && message_id == 0 && std::str::from_utf8(name).is_ok() => {}
        Some(_) => return Err(FrameError::BadControls("something else follows the operation")),
    }
    match parts.next() {
        None => Ok((message_id, operation)),
        Some(_) => Err(FrameError::BadControls("something follows them")),
    }
}

/// See [`Frame::disconnection_notice`].
pub(super) fn disconnection_notice(frame: &Frame) -> Option<u32> {
    if frame.message_id != 0 || frame.operation != EXTENDED_RESPONSE {
        return None;
    }
    let (_, content) = Elements(&frame.bytes).next()?;
    let mut parts = Elements(content).skip(1);
    let (_, body) = parts.next()?;
    let named = Elements(body).chain(parts).any(|part| part == (RESPONSE_NAME, NOTICE_OF_DISCONNECTION));
    match Elements(body).next() {
        Some((ENUMERATED, code)) if named => {
            Some(code.iter().fold(0, |sum, &octet| (sum << 8) | u32::from(octet)))
        }
        _ => None,
    }
}

/// See [`Frame::abandoned`].
pub(super) fn abandoned(frame: &Frame) -> Option<i32> {
    let (_, content) = Elements(&frame.bytes).next()?;
    match Elements(content).nth(1)? {
        (ABANDON_REQUEST, octets) => message_id(octets).ok(),
        _ => None,
    }
}

fn message_id(octets: &[u8]) -> Result<i32, FrameError> {
    match octets.first() {
        Some(&first) if first < 0x80 && octets.len() <= MAX_INTEGER_OCTETS => {
            Ok(octets.iter().fold(0, |sum, &octet| (sum << 8) | i32::from(octet)))
        }
        _ => Err(FrameError::BadMessageId),
    }
}

fn check_response(operation: u8, body: &[u8]) -> Result<(), FrameError> {
    let checked = match operation {
        BIND_RESPONSE | SEARCH_DONE | EXTENDED_RESPONSE => check_result(body),
        SEARCH_ENTRY => check_entry(body),
        SEARCH_REFERENCE => check_uris(body),
        INTERMEDIATE_RESPONSE => check_intermediate(body),
        unknown => return Err(FrameError::BadOperation(unknown)),
    };
    checked.map_err(|what| FrameError::BadShape { operation, what })
}

/// LDAPResult (section 4.1.9) and what BindResponse and ExtendedResponse add to it. A decoder tells the optional parts
/// apart by their tag numbers alone, so a number that it knows has to come with the whole identifier.
fn check_result(body: &[u8]) -> Result<(), &'static str> {
    let mut parts = Elements(body);
    match parts.next() {
        Some((ENUMERATED, code)) if (1..=MAX_INTEGER_OCTETS).contains(&code.len()) => {}
        _ => return Err("no result code"),
    }
    text(parts.next(), OCTET_STRING, "no matched DN in UTF-8")?;
    text(parts.next(), OCTET_STRING, "no diagnostic message in UTF-8")?;
    for part in parts {
        match part {
            (REFERRAL, uris) => check_uris(uris)?,
            (RESPONSE_NAME, _) => text(Some(part), RESPONSE_NAME, "a response name that is not UTF-8")?,
            (SASL_CREDENTIALS | RESPONSE_VALUE, _) => {}
            (tag, _) if matches!(tag & 0x1f, 3 | 7 | 10 | 11) => return Err("an unexpected optional part"),
            _ => {}
        }
    }
    Ok(())
}

/// SearchResultEntry (section 4.5.2).
fn check_entry(body: &[u8]) -> Result<(), &'static str> {
    let mut parts = Elements(body);
    text(parts.next(), OCTET_STRING, "no DN in UTF-8")?;
    let attributes = inside(parts.next(), SEQUENCE, "no attributes")?;
    nothing(parts.next())?;
    for attribute in attributes {
        let mut parts = inside(Some(attribute), SEQUENCE, "an attribute that is no sequence")?;
        text(parts.next(), OCTET_STRING, "an attribute without a description in UTF-8")?;
        let mut values = inside(parts.next(), SET, "an attribute without a set of values")?;
        nothing(parts.next())?;
        if values.any(|(tag, _)| tag != OCTET_STRING) {
            return Err("a value that is no octet string");
        }
    }
    Ok(())
}

/// The URIs of a referral or of a SearchResultReference.
fn check_uris(body: &[u8]) -> Result<(), &'static str> {
    for uri in Elements(body) {
        text(Some(uri), OCTET_STRING, "a URI that is no UTF-8 octet string")?;
    }
    if body.is_empty() { Err("a referral without URIs") } else { Ok(()) }
}

/// IntermediateResponse (section 4.13).
fn check_intermediate(body: &[u8]) -> Result<(), &'static str> {
    for part in Elements(body) {
        match part {
            (INTERMEDIATE_NAME, _) => text(Some(part), INTERMEDIATE_NAME, "a name that is not UTF-8")?,
            (INTERMEDIATE_VALUE, _) => {}
            _ => return Err("an unexpected part"),
        }
    }
    Ok(())
}

/// Controls (section 4.1.11).
fn check_controls(body: &[u8]) -> Result<(), FrameError> {
    Elements(body).try_for_each(|control| check_control(control).map_err(FrameError::BadControls))
}

fn check_control(control: (u8, &[u8])) -> Result<(), &'static str> {
    let mut parts = inside(Some(control), SEQUENCE, "a control that is no sequence")?;
    let oid = parts.next();
    text(oid, OCTET_STRING, "a control without an OID")?;
    let mut value = parts.next();
    if let Some((BOOLEAN, criticality)) = value {
        if criticality.len() != 1 {
            return Err("a criticality that is no boolean");
        }
        value = parts.next();
    }
    nothing(parts.next())?;
    match (oid, value) {
        (Some((_, PAGED_RESULTS)), Some((OCTET_STRING, value))) => check_paged_results(value),
        (Some((_, PAGED_RESULTS)), _) => Err("paged results without a value"),
        (_, None | Some((OCTET_STRING, _))) => Ok(()),
        _ => Err("a value that is no octet string"),
    }
}

/// RFC 2696, section 2. The value is BER of its own that nobody has walked yet.
fn check_paged_results(value: &[u8]) -> Result<(), &'static str> {
    const WHAT: &str = "malformed paged results";
    let mut outer = Elements(value);
    let mut parts = inside(outer.next(), SEQUENCE, WHAT)?;
    let size = parts.next();
    let cookie = parts.next();
    match (size, cookie) {
        (Some((INTEGER, size)), Some((OCTET_STRING, _)))
            if (1..=MAX_INTEGER_OCTETS).contains(&size.len()) => {}
        _ => return Err(WHAT),
    }
    if outer.0.is_empty() && parts.0.is_empty() { Ok(()) } else { Err(WHAT) }
}

fn text(part: Option<(u8, &[u8])>, tag: u8, otherwise: &'static str) -> Result<(), &'static str> {
    match part {
        Some((found, bytes)) if found == tag && std::str::from_utf8(bytes).is_ok() => Ok(()),
        _ => Err(otherwise),
    }
}

fn inside<'a>(
    part: Option<(u8, &'a [u8])>,
    tag: u8,
    otherwise: &'static str,
) -> Result<Elements<'a>, &'static str> {
    match part {
        Some((found, content)) if found == tag => Ok(Elements(content)),
        _ => Err(otherwise),
    }
}

fn nothing(part: Option<(u8, &[u8])>) -> Result<(), &'static str> {
    if part.is_none() { Ok(()) } else { Err("more parts than it has") }
}

/// The elements of BER in a row, as identifier and content, which may hold elements itself. Ends where the bytes are no
/// element: for content that the guard did not walk, such as the value of a control, that has to be looked at.
#[derive(Clone)]
pub(in super::super) struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    /// The elements in these bytes.
    pub(in super::super) fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The content of the next element, where it has this identifier; otherwise it is not taken.
    pub(in super::super) fn take_if(&mut self, tag: u8) -> Option<&'a [u8]> {
        let mut ahead = self.clone();
        let (found, content) = ahead.next()?;
        (found == tag).then(|| {
            *self = ahead;
            content
        })
    }

    /// What was not taken yet; after the last element, what is no element.
    pub(in super::super) fn rest(&self) -> &'a [u8] {
        self.0
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let header = Header::read(self.0).ok()??;
        let content = self.0.get(header.size..)?;
        let (content, rest) = content.split_at_checked(header.length)?;
        self.0 = rest;
        Some((header.tag, content))
    }
}
