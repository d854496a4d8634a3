//! The frame guard: what stands between the network and an LDAP decoder.
//!
//! `lber` decodes recursively and without limits, and `ldap3` panics on messages of an unexpected shape, so a directory
//! server (or whoever answers in its place) could end this process. The guard cuts the byte stream into LDAPMessages
//! (RFC 4511, section 4.1.1), walks their BER headers (RFC 4511, section 5.1; X.690, section 8.1) without recursion, and
//! hands out only messages that those decoders read without harm:
//!
//! - definite lengths, low tag numbers, children that fill their parents exactly;
//! - no more than [`Limits::max_message`] bytes, [`Limits::max_depth`] levels and [`MAX_ELEMENTS`] elements;
//! - a message id between 0 and 2^31-1, 0 being left to a server's unsolicited notification;
//! - an operation that this peer may send, and, from a server, of the shape that RFC 4511 gives it.
//!
//! What a control's value holds is opaque to the guard, except for the paged results control, which `ldap3` decodes.

use bytes::{Buf, Bytes, BytesMut};

pub(super) use shape::Elements;
use shape::check_message;

mod shape;

/// How many BER elements one message may have. A decoder allocates for each, so 16 MiB of two-byte elements would
/// otherwise become half a gigabyte; a group with a million members stays below.
pub const MAX_ELEMENTS: usize = 1 << 20;

/// Whose messages are being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A server's: responses.
    Server,
    /// A client's: requests.
    Client,
}

/// How large a message may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The whole message, in bytes.
    pub max_message: usize,
    /// How many constructed elements may stand in one another; the message itself counts.
    pub max_depth: usize,
}

impl Default for Limits {
    /// 16 MiB (an entry of a large group is a few) and 16 levels (a response needs 6).
    fn default() -> Self {
        Self { max_message: 16 << 20, max_depth: 16 }
    }
}

/// One LDAPMessage that is safe to decode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The message id; 0 for an unsolicited notification.
    pub message_id: i32,
    /// The identifier octet of the operation: `0x65` is a SearchResultDone.
    pub operation: u8,
    /// The whole message.
    pub bytes: Bytes,
}

impl Frame {
    /// The result code of a Notice of Disconnection (RFC 4511, section 4.4.1); `None` where the message is no such notice.
    /// Active Directory's form, which has the notice's name beside the operation, is recognised.
    #[must_use]
    pub fn disconnection_notice(&self) -> Option<u32> {
        shape::disconnection_notice(self)
    }

    /// The message id that an AbandonRequest (RFC 4511, section 4.11) speaks of; `None` where the message is none.
    pub(super) fn abandoned(&self) -> Option<i32> {
        shape::abandoned(self)
    }
}

/// Why a byte stream is not read any further. No message after it can be found, so the connection has to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The message is larger than allowed.
    #[error("a message of {length} bytes, where {limit} are allowed")]
    TooLarge {
        /// What it announces, in bytes.
        length: usize,
        /// What is allowed, in bytes.
        limit: usize,
    },
    /// The message has too many elements.
    #[error("a message of more than {MAX_ELEMENTS} elements")]
    TooManyElements,
    /// Elements stand too deep in one another.
    #[error("elements nested deeper than {limit} levels")]
    TooDeep {
        /// What is allowed.
        limit: usize,
    },
    /// A length that is only known at the end: LDAP forbids it.
    #[error("an indefinite length")]
    IndefiniteLength,
    /// A length of more than eight octets, or of the reserved form.
    #[error("a length of an unknown form")]
    BadLength,
    /// An element reaches past the end of its parent.
    #[error("an element reaches past the end of its parent")]
    ChildOverrun,
    /// A parent ends within the header of a child.
    #[error("a parent ends within the header of its child")]
    Truncated,
    /// An identifier that cannot stand here: the message is no sequence, or a tag number is above 30.
    #[error("unexpected identifier {0:#04x}")]
    BadTag(u8),
    /// A message id that is no integer between 0 and 2^31-1, or 0 where it may not be.
    #[error("a message id that is none")]
    BadMessageId,
    /// An operation that this peer may not send, or that nobody knows.
    #[error("unexpected operation {0:#04x}")]
    BadOperation(u8),
    /// An operation without the shape that RFC 4511 gives it.
    #[error("operation {operation:#04x}: {what}")]
    BadShape {
        /// The identifier octet of the operation.
        operation: u8,
        /// What is wrong.
        what: &'static str,
    },
    /// Controls without the shape of RFC 4511, section 4.1.11, or more than controls after the operation.
    #[error("malformed controls: {0}")]
    BadControls(&'static str),
}

/// Cuts a byte stream into messages that are safe to decode. See the [module](self).
#[derive(Debug)]
pub struct FrameGuard {
    peer: Peer,
    limits: Limits,
    buffer: BytesMut,
    /// The ends of the elements that are being walked: reused, and never longer than the depth limit.
    open: Vec<usize>,
    failed: Option<FrameError>,
}

impl FrameGuard {
    /// A guard at the start of a stream.
    #[must_use]
    pub fn new(peer: Peer, limits: Limits) -> Self {
        Self { peer, limits, buffer: BytesMut::new(), open: Vec::new(), failed: None }
    }

    /// Takes bytes as they came. They are kept until [`next`](Self::next) has been called often enough, so the guard holds
    /// at most one message and what was pushed last, if `next` is called until it has nothing more after every push.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next whole message; `None` while it is incomplete.
    ///
    /// # Errors
    /// Where the stream is not LDAP or breaks a limit. The error stands for good: further bytes are ignored.
    #[allow(clippy::should_implement_trait, reason = "an iterator would end at the first incomplete message")]
    pub fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let result = self.cut();
        if let Err(error) = result {
            self.failed = Some(error);
            self.buffer = BytesMut::new();
        }
        result
    }

    fn cut(&mut self) -> Result<Option<Frame>, FrameError> {
        match self.buffer.first() {
            None => return Ok(None),
            Some(&SEQUENCE) => {}
            Some(&other) => return Err(FrameError::BadTag(other)),
        }
        let Some(header) = Header::read(&self.buffer)? else { return Ok(None) };
        let total = header.length.saturating_add(header.size);
        if total > self.limits.max_message {
            return Err(FrameError::TooLarge { length: total, limit: self.limits.max_message });
        }
        if self.buffer.len() < total {
            return Ok(None);
        }
        let message = self.buffer.split_to(total).freeze();
        self.walk(&message)?;
        let (message_id, operation) =
            check_message(self.peer, message.get(header.size..).unwrap_or_default())?;
        Ok(Some(Frame { message_id, operation, bytes: message }))
    }

    /// Checks that every element is well formed and inside its parent: one pass over the headers.
    fn walk(&mut self, message: &[u8]) -> Result<(), FrameError> {
        self.open.clear();
        self.open.push(message.len());
        let mut at = 0_usize;
        let mut elements = 0_usize;
        while let Some(&end) = self.open.last() {
            if at == end {
                self.open.pop();
                continue;
            }
            elements += 1;
            if elements > MAX_ELEMENTS {
                return Err(FrameError::TooManyElements);
            }
            let rest = message.get(at..end).ok_or(FrameError::ChildOverrun)?;
            let header = Header::read(rest)?.ok_or(FrameError::Truncated)?;
            if header.length > rest.len() - header.size {
                return Err(FrameError::ChildOverrun);
            }
            at += header.size;
            if !header.is_constructed() {
                at += header.length;
            } else if self.open.len() > self.limits.max_depth {
                return Err(FrameError::TooDeep { limit: self.limits.max_depth });
            } else {
                self.open.push(at + header.length);
            }
        }
        Ok(())
    }
}

const SEQUENCE: u8 = 0x30;
const CONSTRUCTED: u8 = 0x20;
/// The tag number that announces further octets: LDAP has no tag that needs it, and `lber` does not know it.
const HIGH_TAG_NUMBER: u8 = 0x1f;
/// More octets of a length than a 64-bit number has.
const MAX_LENGTH_OCTETS: usize = 8;

/// Identifier and length of one element.
struct Header {
    tag: u8,
    /// The octets of identifier and length.
    size: usize,
    /// The octets of the content.
    length: usize,
}

impl Header {
    /// Reads the header at the start of `bytes`; `None` where they end within it.
    fn read(bytes: &[u8]) -> Result<Option<Self>, FrameError> {
        let mut rest = bytes;
        if rest.is_empty() {
            return Ok(None);
        }
        let tag = rest.get_u8();
        if tag & HIGH_TAG_NUMBER == HIGH_TAG_NUMBER {
            return Err(FrameError::BadTag(tag));
        }
        if rest.is_empty() {
            return Ok(None);
        }
        let octets = match rest.get_u8() {
            short @ 0..=0x7f => return Ok(Some(Self { tag, size: 2, length: usize::from(short) })),
            0x80 => return Err(FrameError::IndefiniteLength),
            long => usize::from(long & 0x7f),
        };
        if octets > MAX_LENGTH_OCTETS {
            return Err(FrameError::BadLength);
        }
        let Some(number) = rest.get(..octets) else { return Ok(None) };
        let length = number.iter().fold(0_u64, |sum, &octet| (sum << 8) | u64::from(octet));
        let length = usize::try_from(length).map_err(|_| FrameError::BadLength)?;
        Ok(Some(Self { tag, size: 2 + octets, length }))
    }

    fn is_constructed(&self) -> bool {
        self.tag & CONSTRUCTED != 0
    }
}

#[cfg(test)]
mod tests;
