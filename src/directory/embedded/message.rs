//! Requests out of frames, and responses into bytes (RFC 4511).

use bytes::BytesMut;
use lber::common::TagClass;
use lber::structure::{PL, StructureTag};
use lber::structures::{ASNTag, Enumerated, Integer, OctetString, Tag};
use lber::universal::Types;

use super::filter::Filter;
use super::tree::{Held, Node, Scope};
use crate::directory::frame::Frame;

/// "Who am I?" (RFC 4532).
pub(super) const WHO_AM_I: &str = "1.3.6.1.4.1.4203.1.11.3";
const NOTICE_OF_DISCONNECTION: &str = "1.3.6.1.4.1.1466.20036";
/// ManageDsaIT (RFC 3296): there are no referrals here, so it changes nothing.
const MANAGE_DSA_IT: &str = "2.16.840.1.113730.3.4.2";

/// Responses, by the numbers of their tags.
pub(in crate::directory) const BIND_RESPONSE: u64 = 1;
pub(in crate::directory) const SEARCH_ENTRY: u64 = 4;
pub(in crate::directory) const SEARCH_DONE: u64 = 5;
pub(in crate::directory) const EXTENDED_RESPONSE: u64 = 24;

/// A request that is not of the form of RFC 4511.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(in crate::directory) struct Malformed(pub(in crate::directory) &'static str);

/// What a client wants.
#[derive(Debug)]
pub(in crate::directory) enum Request {
    Bind {
        version: i64,
        name: String,
        /// `None` where the method is not "simple".
        password: Option<Vec<u8>>,
    },
    Unbind,
    /// Every operation before it has been answered already.
    Abandon,
    Search(Search),
    Extended {
        name: Vec<u8>,
    },
    /// Something that changes or compares entries.
    Other,
}

#[derive(Debug)]
pub(in crate::directory) struct Search {
    pub(in crate::directory) base: String,
    pub(in crate::directory) scope: Scope,
    /// In entries; 0 for no limit.
    pub(in crate::directory) size_limit: i64,
    pub(in crate::directory) types_only: bool,
    pub(in crate::directory) filter: Filter,
    /// In lower case; empty for all user attributes.
    pub(in crate::directory) attributes: Vec<String>,
}

impl Request {
    /// Reads what the guard let through; says also whether a critical control came with it that is not known here.
    pub(in crate::directory) fn read(frame: &Frame) -> Result<(Self, bool), Malformed> {
        let (operation, controls) = open(frame)?;
        let critical = has_unknown_critical(&controls);
        let request = match frame.operation {
            0x60 => Self::bind(Parts::of(operation)?)?,
            0x42 => Self::Unbind,
            0x50 => Self::Abandon,
            0x63 => Self::Search(Search::read(Parts::of(operation)?)?),
            0x77 => Self::Extended { name: Parts::of(operation)?.octets()? },
            _ => Self::Other,
        };
        Ok((request, critical))
    }

    fn bind(mut parts: Parts) -> Result<Self, Malformed> {
        let version = parts.number()?;
        let name = parts.text()?;
        let authentication = parts.any()?;
        let simple = authentication.class == TagClass::Context && authentication.id == 0;
        let password = authentication.expect_primitive().filter(|_| simple);
        Ok(Self::Bind { version, name, password })
    }
}

/// The operation of a message that the guard let through, and its controls.
pub(in crate::directory) fn open(frame: &Frame) -> Result<(StructureTag, Vec<Control>), Malformed> {
    let (_, message) =
        lber::parse::parse_tag(&frame.bytes).map_err(|_| Malformed("the message is no BER"))?;
    let mut parts = Parts::of(message)?;
    parts.next();
    let operation = parts.any()?;
    let controls = match parts.next() {
        Some(controls) => Parts::of(controls)?.map(Control::read).collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    Ok((operation, controls))
}

impl Search {
    /// What is asked for of an entry (RFC 4511, section 4.5.1.8; `+` is RFC 3673).
    pub(in crate::directory) fn selected<'a>(&self, node: &'a Node) -> impl Iterator<Item = &'a Held> {
        node.attributes.iter().filter(|held| {
            let all = if held.operational { "+" } else { "*" };
            (self.attributes.is_empty() && !held.operational)
                || self.attributes.iter().any(|wanted| wanted == all || held.is(wanted))
        })
    }

    fn read(mut parts: Parts) -> Result<Self, Malformed> {
        let base = parts.text()?;
        let scope = match parts.number()? {
            0 => Scope::Base,
            1 => Scope::OneLevel,
            2 => Scope::Subtree,
            _ => return Err(Malformed("a scope that is none")),
        };
        let _aliases = parts.number()?;
        let size_limit = parts.number()?;
        let _seconds = parts.number()?;
        let types_only = parts.octets()?.iter().any(|&octet| octet != 0);
        let filter = Filter::read(parts.any()?)?;
        let mut wanted = parts.constructed()?;
        let mut attributes = Vec::new();
        while wanted.0.len() > 0 {
            attributes.push(wanted.text()?.to_ascii_lowercase());
        }
        Ok(Self { base, scope, size_limit, types_only, filter, attributes })
    }
}

/// The parts of a constructed element, taken in order.
pub(in crate::directory) struct Parts(std::vec::IntoIter<StructureTag>);

impl Parts {
    pub(in crate::directory) fn of(tag: StructureTag) -> Result<Self, Malformed> {
        let parts = tag.expect_constructed().ok_or(Malformed("a primitive element with parts"))?;
        Ok(Self(parts.into_iter()))
    }

    pub(in crate::directory) fn any(&mut self) -> Result<StructureTag, Malformed> {
        self.0.next().ok_or(Malformed("a part is missing"))
    }

    pub(in crate::directory) fn constructed(&mut self) -> Result<Self, Malformed> {
        Self::of(self.any()?)
    }

    pub(in crate::directory) fn octets(&mut self) -> Result<Vec<u8>, Malformed> {
        self.any()?.expect_primitive().ok_or(Malformed("a constructed octet string"))
    }

    pub(in crate::directory) fn text(&mut self) -> Result<String, Malformed> {
        String::from_utf8(self.octets()?).map_err(|_| Malformed("a text that is not UTF-8"))
    }

    /// A number that is not negative, of 32 bits (`maxInt` of section 4.1.1 is 2^31-1).
    pub(in crate::directory) fn number(&mut self) -> Result<i64, Malformed> {
        let octets = self.octets()?;
        match octets.first() {
            Some(0..=0x7f) if octets.len() <= 4 => {
                Ok(octets.iter().fold(0, |sum, &octet| (sum << 8) | i64::from(octet)))
            }
            _ => Err(Malformed("a number out of range")),
        }
    }
}

impl Iterator for Parts {
    type Item = StructureTag;

    fn next(&mut self) -> Option<StructureTag> {
        self.0.next()
    }
}

/// A control of a request (section 4.1.11).
#[derive(Debug)]
pub(in crate::directory) struct Control {
    pub(in crate::directory) oid: Vec<u8>,
    pub(in crate::directory) critical: bool,
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "no control with a value is known to the embedded server")
    )]
    pub(in crate::directory) value: Option<Vec<u8>>,
}

impl Control {
    fn read(tag: StructureTag) -> Result<Self, Malformed> {
        let mut parts = Parts::of(tag)?;
        let oid = parts.octets()?;
        let mut value = parts.next();
        let mut critical = false;
        if let Some(part) = value.take_if(|part| part.id == Types::Boolean as u64) {
            critical = part.expect_primitive().is_some_and(|octets| octets.iter().any(|&octet| octet != 0));
            value = parts.next();
        }
        Ok(Self { oid, critical, value: value.and_then(StructureTag::expect_primitive) })
    }
}

fn has_unknown_critical(controls: &[Control]) -> bool {
    controls.iter().any(|control| control.critical && control.oid != MANAGE_DSA_IT.as_bytes())
}

/// Result codes (RFC 4511, appendix A).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    Success = 0,
    ProtocolError = 2,
    SizeLimitExceeded = 4,
    AuthMethodNotSupported = 7,
    AdminLimitExceeded = 11,
    UnavailableCriticalExtension = 12,
    NoSuchObject = 32,
    InvalidDnSyntax = 34,
    InappropriateAuthentication = 48,
    InvalidCredentials = 49,
    InsufficientAccessRights = 50,
    UnwillingToPerform = 53,
}

/// How an operation ended.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) code: Code,
    pub(super) matched: String,
    pub(super) text: &'static str,
}

impl Ending {
    pub(super) fn new(code: Code, text: &'static str) -> Self {
        Self { code, matched: String::new(), text }
    }

    fn parts(self) -> Vec<StructureTag> {
        result(self.code as i64, self.matched, self.text)
    }
}

/// Writes the response that ends the operation of this request; nothing where the operation has none.
pub(super) fn write_ending(out: &mut BytesMut, request: &Frame, ending: Ending) {
    if let Some(response) = response_to(request.operation) {
        write(out, request.message_id, response, ending.parts());
    }
}

/// The number of the response that ends an operation, given the identifier octet of its request.
pub(in crate::directory) fn response_to(request: u8) -> Option<u64> {
    match request {
        0x60 => Some(BIND_RESPONSE),
        0x63 => Some(SEARCH_DONE),
        0x66 => Some(7),
        0x68 => Some(9),
        0x4a => Some(11),
        0x6c => Some(13),
        0x6e => Some(15),
        0x77 => Some(EXTENDED_RESPONSE),
        _ => None,
    }
}

/// Writes one entry of a search: its name, and its attributes with their values.
pub(super) fn write_entry(
    out: &mut BytesMut,
    message_id: i32,
    name: &str,
    attributes: Vec<(String, Vec<Vec<u8>>)>,
) {
    write(out, message_id, SEARCH_ENTRY, entry(name, attributes));
}

/// Writes the answer to "Who am I?".
pub(super) fn write_who_am_i(out: &mut BytesMut, message_id: i32, authorization: String) {
    let mut parts = Ending::new(Code::Success, "").parts();
    parts.push(context(11, authorization));
    write(out, message_id, EXTENDED_RESPONSE, parts);
}

/// Writes a Notice of Disconnection (section 4.4.1).
pub(super) fn write_disconnection(out: &mut BytesMut, ending: Ending) {
    let mut parts = ending.parts();
    parts.push(context(10, NOTICE_OF_DISCONNECTION));
    write(out, 0, EXTENDED_RESPONSE, parts);
}

fn write(out: &mut BytesMut, message_id: i32, operation: u64, parts: Vec<StructureTag>) {
    encode(out, sequence(message(message_id, operation, parts)));
}

/// The parts of a message without controls: its id and its operation.
pub(in crate::directory) fn message(
    message_id: i32,
    operation: u64,
    parts: Vec<StructureTag>,
) -> Vec<StructureTag> {
    vec![
        integer(i64::from(message_id)),
        StructureTag { class: TagClass::Application, id: operation, payload: PL::C(parts) },
    ]
}

/// The parts of an LDAPResult (section 4.1.9).
pub(in crate::directory) fn result(
    code: i64,
    matched: impl Into<Vec<u8>>,
    text: impl Into<Vec<u8>>,
) -> Vec<StructureTag> {
    vec![enumerated(code), octets(matched), octets(text)]
}

/// The parts of a SearchResultEntry (section 4.5.2).
pub(in crate::directory) fn entry(name: &str, attributes: Vec<(String, Vec<Vec<u8>>)>) -> Vec<StructureTag> {
    let attributes = attributes
        .into_iter()
        .map(|(description, values)| {
            let values = values.into_iter().map(octets).collect();
            sequence(vec![octets(description), universal(Types::Set, values)])
        })
        .collect();
    vec![octets(name), sequence(attributes)]
}

pub(in crate::directory) fn encode(out: &mut BytesMut, tag: StructureTag) {
    if let Err(error) = lber::write::encode_into(out, tag) {
        tracing::error!(%error, "a response could not be encoded");
    }
}

pub(in crate::directory) fn octets(bytes: impl Into<Vec<u8>>) -> StructureTag {
    OctetString { inner: bytes.into(), ..OctetString::default() }.into_structure()
}

pub(in crate::directory) fn integer(number: i64) -> StructureTag {
    Tag::Integer(Integer { inner: number, ..Integer::default() }).into_structure()
}

pub(in crate::directory) fn enumerated(number: i64) -> StructureTag {
    Enumerated { inner: number, ..Enumerated::default() }.into_structure()
}

/// A primitive element with a tag of its context.
pub(in crate::directory) fn context(id: u64, bytes: impl Into<Vec<u8>>) -> StructureTag {
    StructureTag { class: TagClass::Context, id, payload: PL::P(bytes.into()) }
}

pub(in crate::directory) fn sequence(parts: Vec<StructureTag>) -> StructureTag {
    universal(Types::Sequence, parts)
}

pub(in crate::directory) fn universal(kind: Types, parts: Vec<StructureTag>) -> StructureTag {
    StructureTag { class: TagClass::Universal, id: kind as u64, payload: PL::C(parts) }
}
