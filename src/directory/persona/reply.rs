//! Responses, and how they become bytes.

use bytes::BytesMut;
use lber::structure::StructureTag;

use crate::directory::embedded::message::{
    EXTENDED_RESPONSE, SEARCH_DONE, SEARCH_ENTRY, context, encode, entry, message, octets, result, sequence,
};
use lber::common::TagClass;
use lber::structure::PL;

const SEARCH_REFERENCE: u64 = 19;
const INTERMEDIATE_RESPONSE: u64 = 25;
const NOTICE_OF_DISCONNECTION: &str = "1.3.6.1.4.1.1466.20036";

/// How an operation ends.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    pub code: u32,
    pub matched: String,
    pub text: String,
    /// Where else to ask (result 10).
    pub referral: Vec<String>,
    pub(super) controls: Vec<StructureTag>,
}

impl Outcome {
    /// A result with its code (RFC 4511, appendix A) and what the server says to it.
    pub fn new(code: u32, text: &str) -> Self {
        Self { code, text: text.to_owned(), ..Self::default() }
    }

    pub(super) fn success() -> Self {
        Self::default()
    }

    /// Invalid credentials as Active Directory puts it, with its sub-code: `52e`, `533`, `775`.
    pub fn credentials(data: &str) -> Self {
        let text = format!(
            "80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data {data}, v2580"
        );
        Self::new(49, &text)
    }

    pub(super) fn with(mut self, control: StructureTag) -> Self {
        self.controls.push(control);
        self
    }

    fn parts(self) -> Vec<StructureTag> {
        let mut parts = result(i64::from(self.code), self.matched, self.text);
        if !self.referral.is_empty() {
            parts.push(constructed(TagClass::Context, 3, self.referral.into_iter().map(octets).collect()));
        }
        parts
    }
}

/// One response to a search.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    Entry { dn: String, attributes: Vec<(String, Vec<Vec<u8>>)>, controls: Vec<StructureTag> },
    Reference(Vec<String>),
    Intermediate { name: &'static str, value: StructureTag },
    Done(Outcome),
}

impl Reply {
    pub(super) fn bytes(self, message_id: i32) -> BytesMut {
        match self {
            Self::Entry { dn, attributes, controls } => {
                bytes(message_id, SEARCH_ENTRY, entry(&dn, attributes), controls)
            }
            Self::Reference(urls) => {
                bytes(message_id, SEARCH_REFERENCE, urls.into_iter().map(octets).collect(), Vec::new())
            }
            Self::Intermediate { name, value } => {
                let parts = vec![context(0, name), context(1, encoded(value))];
                bytes(message_id, INTERMEDIATE_RESPONSE, parts, Vec::new())
            }
            Self::Done(outcome) => outcome_bytes(message_id, SEARCH_DONE, outcome),
        }
    }
}

/// The response that ends an operation, by the number of its tag.
pub(super) fn outcome_bytes(message_id: i32, operation: u64, mut outcome: Outcome) -> BytesMut {
    let controls = std::mem::take(&mut outcome.controls);
    bytes(message_id, operation, outcome.parts(), controls)
}

/// How a server writes a Notice of Disconnection (RFC 4511, section 4.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Its name is part of the operation.
    Proper,
    /// Its name stands beside the operation, as Active Directory writes it.
    Misplaced,
}

impl Notice {
    pub(super) fn bytes(self, code: u32) -> BytesMut {
        let name = context(10, NOTICE_OF_DISCONNECTION);
        let mut parts = Outcome::new(code, "the server is about to disconnect").parts();
        let mut out = BytesMut::new();
        if self == Self::Proper {
            parts.push(name);
            encode(&mut out, sequence(message(0, EXTENDED_RESPONSE, parts)));
        } else {
            let mut whole = message(0, EXTENDED_RESPONSE, parts);
            whole.push(name);
            encode(&mut out, sequence(whole));
        }
        out
    }
}

fn bytes(message_id: i32, operation: u64, parts: Vec<StructureTag>, controls: Vec<StructureTag>) -> BytesMut {
    let mut whole = message(message_id, operation, parts);
    if !controls.is_empty() {
        whole.push(constructed(TagClass::Context, 0, controls));
    }
    let mut out = BytesMut::new();
    encode(&mut out, sequence(whole));
    out
}

pub(super) fn encoded(tag: StructureTag) -> BytesMut {
    let mut out = BytesMut::new();
    encode(&mut out, tag);
    out
}

pub(super) fn constructed(class: TagClass, id: u64, parts: Vec<StructureTag>) -> StructureTag {
    StructureTag { class, id, payload: PL::C(parts) }
}
