//! Requests out of frames, and responses into bytes (RFC 4511).

use bytes::BytesMut;
use lber::common::TagClass;
use lber::structure::{PL, StructureTag};
use lber::structures::{ASNTag, Enumerated, Integer, OctetString, Tag};
use lber::universal::Types;

use super::filter::Filter;
use super::tree::Scope;
use crate::directory::frame::Frame;

/// "Who am I?" (RFC 4532).
pub(super) const WHO_AM_I: &str = "1.3.6.1.4.1.4203.1.11.3";
const NOTICE_OF_DISCONNECTION: &str = "1.3.6.1.4.1.1466.20036";
/// ManageDsaIT (RFC 3296): there are no referrals here, so it changes nothing.
const MANAGE_DSA_IT: &str = "2.16.840.1.113730.3.4.2";

/// A request that is not of the form of RFC 4511.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(pub(super) &'static str);

/// What a client wants.
#[derive(Debug)]
pub(super) enum Request {
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
pub(super) struct Search {
    pub(super) base: String,
    pub(super) scope: Scope,
    /// In entries; 0 for no limit.
    pub(super) size_limit: i64,
    pub(super) types_only: bool,
    pub(super) filter: Filter,
    /// In lower case; empty for all user attributes.
    pub(super) attributes: Vec<String>,
}

impl Request {
    /// Reads what the guard let through; says also whether a critical control came with it that is not known here.
    pub(super) fn read(frame: &Frame) -> Result<(Self, bool), Malformed> {
        let (_, message) =
            lber::parse::parse_tag(&frame.bytes).map_err(|_| Malformed("the message is no BER"))?;
        let mut parts = Parts::of(message)?;
        parts.next();
        let operation = parts.any()?;
        let critical = match parts.next() {
            Some(controls) => has_unknown_critical(controls)?,
            None => false,
        };
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

impl Search {
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
pub(super) struct Parts(std::vec::IntoIter<StructureTag>);

impl Parts {
    pub(super) fn of(tag: StructureTag) -> Result<Self, Malformed> {
        let parts = tag.expect_constructed().ok_or(Malformed("a primitive element with parts"))?;
        Ok(Self(parts.into_iter()))
    }

    pub(super) fn any(&mut self) -> Result<StructureTag, Malformed> {
        self.0.next().ok_or(Malformed("a part is missing"))
    }

    pub(super) fn constructed(&mut self) -> Result<Self, Malformed> {
        Self::of(self.any()?)
    }

    pub(super) fn octets(&mut self) -> Result<Vec<u8>, Malformed> {
        self.any()?.expect_primitive().ok_or(Malformed("a constructed octet string"))
    }

    fn text(&mut self) -> Result<String, Malformed> {
        String::from_utf8(self.octets()?).map_err(|_| Malformed("a text that is not UTF-8"))
    }

    /// A number that is not negative, of 32 bits (`maxInt` of section 4.1.1 is 2^31-1).
    fn number(&mut self) -> Result<i64, Malformed> {
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

fn has_unknown_critical(controls: StructureTag) -> Result<bool, Malformed> {
    let mut found = false;
    for control in Parts::of(controls)? {
        let mut parts = Parts::of(control)?;
        let known = parts.octets()? == MANAGE_DSA_IT.as_bytes();
        let critical = parts.next().is_some_and(|part| {
            part.id == Types::Boolean as u64
                && part.expect_primitive().is_some_and(|octets| octets.iter().any(|&octet| octet != 0))
        });
        found |= critical && !known;
    }
    Ok(found)
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
        let code = Enumerated { inner: self.code as i64, ..Enumerated::default() };
        vec![code.into_structure(), octets(self.matched), octets(self.text)]
    }
}

/// Writes the response that ends the operation of this request; nothing where the operation has none.
pub(super) fn write_ending(out: &mut BytesMut, request: &Frame, ending: Ending) {
    let operation = match request.operation {
        0x60 => 1,
        0x63 => 5,
        0x66 => 7,
        0x68 => 9,
        0x4a => 11,
        0x6c => 13,
        0x6e => 15,
        0x77 => 24,
        _ => return,
    };
    write(out, request.message_id, operation, ending.parts());
}

/// Writes one entry of a search: its name, and its attributes with their values.
pub(super) fn write_entry(
    out: &mut BytesMut,
    message_id: i32,
    name: &str,
    attributes: Vec<(String, Vec<Vec<u8>>)>,
) {
    let attributes = attributes
        .into_iter()
        .map(|(description, values)| {
            let values = values.into_iter().map(octets).collect();
            sequence(vec![octets(description), universal(Types::Set, values)])
        })
        .collect();
    write(out, message_id, 4, vec![octets(name), sequence(attributes)]);
}

/// Writes the answer to "Who am I?".
pub(super) fn write_who_am_i(out: &mut BytesMut, message_id: i32, authorization: String) {
    let mut parts = Ending::new(Code::Success, "").parts();
    parts.push(StructureTag { id: 11, ..context(authorization.into_bytes()) });
    write(out, message_id, 24, parts);
}

/// Writes a Notice of Disconnection (section 4.4.1).
pub(super) fn write_disconnection(out: &mut BytesMut, ending: Ending) {
    let mut parts = ending.parts();
    parts.push(StructureTag { id: 10, ..context(NOTICE_OF_DISCONNECTION.into()) });
    write(out, 0, 24, parts);
}

fn write(out: &mut BytesMut, message_id: i32, operation: u64, parts: Vec<StructureTag>) {
    let id = Integer { inner: i64::from(message_id), ..Integer::default() };
    let operation = StructureTag { class: TagClass::Application, id: operation, payload: PL::C(parts) };
    let message = sequence(vec![Tag::Integer(id).into_structure(), operation]);
    if let Err(error) = lber::write::encode_into(out, message) {
        tracing::error!(%error, "a response could not be encoded");
    }
}

fn octets(bytes: impl Into<Vec<u8>>) -> StructureTag {
    OctetString { inner: bytes.into(), ..OctetString::default() }.into_structure()
}

fn context(bytes: Vec<u8>) -> StructureTag {
    StructureTag { class: TagClass::Context, id: 0, payload: PL::P(bytes) }
}

fn sequence(parts: Vec<StructureTag>) -> StructureTag {
    universal(Types::Sequence, parts)
}

fn universal(kind: Types, parts: Vec<StructureTag>) -> StructureTag {
    StructureTag { class: TagClass::Universal, id: kind as u64, payload: PL::C(parts) }
}
