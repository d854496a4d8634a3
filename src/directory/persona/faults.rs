//! What a server can do wrong.

use std::time::Duration;

use bytes::BytesMut;
use lber::common::TagClass;

use super::reply::{Notice, Outcome, Reply, constructed, outcome_bytes};
use super::seen::Asked;
use crate::directory::embedded::message::{EXTENDED_RESPONSE, encode, integer, sequence};

/// A message id that no client has in use.
const STRANGER: i32 = 100_000_000;

/// What becomes of a search instead of its answer.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The answer comes so much later.
    Delay(Duration),
    /// No answer comes.
    Hang,
    /// This result, without any entry.
    Result(Outcome),
    /// The entries, and then this result: a search that was cut.
    CutWith(Outcome),
    /// The connection is closed, or reset, before the answer.
    Close,
    Reset,
    /// The same in the middle of the first entry.
    CloseInEntry,
    ResetInEntry,
    /// A Notice of Disconnection with this code; then the connection is closed.
    Notice(u32, Notice),
    /// The answer is that of another message id.
    WrongMessageId,
    /// An element that reaches past the end of its message.
    Truncated,
    /// A message that announces two gigabytes.
    TooLong,
    /// An entry with so many elements in one another.
    Nested(usize),
    /// Entries, and a reference to the very same place.
    ReferenceToItself,
    /// A referral (result 10) to the very same place.
    ReferralToItself,
    /// A result that is no search's, but an extended operation's: so Samba refuses critical controls.
    OtherKind(Outcome),
    /// These bytes.
    Bytes(Vec<u8>),
}

/// What is done, one after the other, to answer a search.
#[derive(Debug)]
pub(super) enum Step {
    Wait(Duration),
    Hang,
    Send(BytesMut),
    Close,
    Reset,
}

impl Fault {
    pub(super) fn steps(self, replies: Vec<Reply>, message_id: i32, asked: &Asked, url: &str) -> Vec<Step> {
        let answer = |message_id, replies| Step::Send(written(replies, message_id));
        let result = |outcome| vec![Step::Send(Reply::Done(outcome).bytes(message_id))];
        let here = || vec![format!("{url}/{}??{}", asked.base, asked.scope)];
        match self {
            Self::Delay(time) => vec![Step::Wait(time), answer(message_id, replies)],
            Self::Hang => vec![Step::Hang],
            Self::Result(outcome) => result(outcome),
            Self::CutWith(outcome) => {
                let mut replies = replies;
                replies.retain(|reply| !matches!(reply, Reply::Done(_)));
                replies.push(Reply::Done(outcome));
                vec![answer(message_id, replies)]
            }
            Self::Close => vec![Step::Close],
            Self::Reset => vec![Step::Reset],
            Self::CloseInEntry => vec![half(replies, message_id), Step::Close],
            Self::ResetInEntry => vec![half(replies, message_id), Step::Reset],
            Self::Notice(code, notice) => vec![Step::Send(notice.bytes(code)), Step::Close],
            Self::WrongMessageId => vec![answer(STRANGER + message_id, replies)],
            Self::Truncated => vec![Step::Send(truncated(message_id))],
            Self::TooLong => vec![Step::Send(BytesMut::from(&b"\x30\x84\x7f\xff\xff\xff"[..]))],
            Self::Nested(depth) => vec![Step::Send(nested(message_id, depth))],
            Self::ReferenceToItself => {
                let mut replies = replies;
                replies.insert(replies.len().saturating_sub(1), Reply::Reference(here()));
                vec![answer(message_id, replies)]
            }
            Self::ReferralToItself => result(Outcome { referral: here(), ..Outcome::new(10, "") }),
            Self::OtherKind(outcome) => {
                vec![Step::Send(outcome_bytes(message_id, EXTENDED_RESPONSE, outcome))]
            }
            Self::Bytes(bytes) => vec![Step::Send(BytesMut::from(&*bytes))],
        }
    }
}

pub(super) fn written(replies: Vec<Reply>, message_id: i32) -> BytesMut {
    let mut out = BytesMut::new();
    replies.into_iter().for_each(|reply| out.extend_from_slice(&reply.bytes(message_id)));
    out
}

/// The first half of the first response.
fn half(mut replies: Vec<Reply>, message_id: i32) -> Step {
    replies.truncate(1);
    let mut bytes = written(replies, message_id);
    bytes.truncate(bytes.len() / 2);
    Step::Send(bytes)
}

/// A result whose own length is longer than what is left of its message.
fn truncated(message_id: i32) -> BytesMut {
    let mut bytes = Reply::Done(Outcome::success()).bytes(message_id);
    let at = bytes.len() - 8;
    bytes[at] = 0x70;
    bytes
}

fn nested(message_id: i32, depth: usize) -> BytesMut {
    let inner = (0..depth).fold(sequence(Vec::new()), |inner, _| sequence(vec![inner]));
    let operation = constructed(TagClass::Application, 4, vec![inner]);
    let mut out = BytesMut::new();
    encode(&mut out, sequence(vec![integer(i64::from(message_id)), operation]));
    out
}
