//! One connection: requests in, responses out, in their order.

use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::message::{self, Code, Ending, Malformed, Request, Search};
use super::tree::{Node, Scope, Tree, root_dse};
use super::{Access, Shared, password};
use crate::directory::frame::{Frame, FrameError, FrameGuard, Limits, Peer};
use crate::model::Dn;

/// How large a request may be: 1 MiB is a filter of some ten thousand names. The depth bounds the nesting of filters.
const LIMITS: Limits = Limits { max_message: 1 << 20, max_depth: 32 };
/// After so many requests a connection is closed, with a notice.
const MAX_REQUESTS: u32 = 1_000_000;
/// A connection without a request for so long is closed.
const IDLE: Duration = Duration::from_secs(15 * 60);
/// A client that takes none of its responses for so long is given up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How much is read, and how much of the responses gathered before it is sent, in bytes.
const CHUNK: usize = 64 << 10;

/// Serves one connection until it ends, by whichever side. Requests are answered one after the other, so a client may
/// send many before it reads, as long as it does read: responses that nobody takes stop the reading of requests.
///
/// # Errors
/// Where the stream fails or a time-out passes.
pub(super) async fn serve<S>(mut stream: S, shared: &Shared) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut session = Session { shared, bound: None, requests: 0 };
    let mut guard = FrameGuard::new(Peer::Client, LIMITS);
    let mut out = BytesMut::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        let flow = loop {
            match session.next(&mut guard, &mut out) {
                ControlFlow::Continue(true) if out.len() < CHUNK => {}
                ControlFlow::Continue(true) => send(&mut stream, &mut out).await?,
                ControlFlow::Continue(false) => break ControlFlow::Continue(()),
                ControlFlow::Break(()) => break ControlFlow::Break(()),
            }
        };
        send(&mut stream, &mut out).await?;
        if flow.is_break() {
            return stream.shutdown().await;
        }
        let read = timeout(IDLE, stream.read(&mut chunk)).await??;
        match chunk.get(..read) {
            None | Some([]) => return Ok(()),
            Some(bytes) => guard.push(bytes),
        }
    }
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, out: &mut BytesMut) -> io::Result<()> {
    while !out.is_empty() {
        if timeout(WRITE_TIMEOUT, stream.write_buf(out)).await?? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    timeout(WRITE_TIMEOUT, stream.flush()).await?
}

struct Session<'a> {
    shared: &'a Shared,
    /// Who the client is; `None` while it is anonymous.
    bound: Option<Dn>,
    requests: u32,
}

impl Session<'_> {
    /// Answers the next request; says whether there was one.
    fn next(&mut self, guard: &mut FrameGuard, out: &mut BytesMut) -> ControlFlow<(), bool> {
        let frame = match guard.next() {
            Ok(Some(frame)) => frame,
            Ok(None) => return ControlFlow::Continue(false),
            Err(error) => {
                tracing::debug!(%error, "a client of the embedded directory does not speak LDAP");
                message::write_disconnection(out, Ending::new(Code::ProtocolError, refusal(error)));
                return ControlFlow::Break(());
            }
        };
        self.requests += 1;
        if self.requests > MAX_REQUESTS {
            let ending = Ending::new(Code::AdminLimitExceeded, "too many requests on one connection");
            message::write_disconnection(out, ending);
            return ControlFlow::Break(());
        }
        self.answer(&frame, out).map_continue(|()| true)
    }

    fn answer(&mut self, frame: &Frame, out: &mut BytesMut) -> ControlFlow<()> {
        let ending = match Request::read(frame) {
            Ok((Request::Unbind, _)) => return ControlFlow::Break(()),
            Ok((Request::Abandon, _)) => return ControlFlow::Continue(()),
            Ok((_, true)) => {
                Ending::new(Code::UnavailableCriticalExtension, "a critical control is not known")
            }
            Ok((Request::Bind { version, name, password }, _)) => {
                self.bind(version, &name, password.as_deref())
            }
            Ok((Request::Search(search), _)) => self.search(frame.message_id, &search, out),
            Ok((Request::Extended { name }, _)) if name == message::WHO_AM_I.as_bytes() => {
                let authorization = self.bound.as_ref().map(|dn| format!("dn:{}", dn.as_str()));
                message::write_who_am_i(out, frame.message_id, authorization.unwrap_or_default());
                return ControlFlow::Continue(());
            }
            Ok((Request::Extended { .. }, _)) => {
                Ending::new(Code::ProtocolError, "the extended operation is not known")
            }
            Ok((Request::Other, _)) => {
                Ending::new(Code::UnwillingToPerform, "this directory is only searched")
            }
            Err(Malformed(what)) => Ending::new(Code::ProtocolError, what),
        };
        message::write_ending(out, frame, ending);
        ControlFlow::Continue(())
    }

    /// A simple bind (RFC 4513, section 5.1). Whatever it answers but success, the client is anonymous afterwards.
    fn bind(&mut self, version: i64, name: &str, password: Option<&[u8]>) -> Ending {
        self.bound = None;
        let Some(password) = password else {
            return Ending::new(Code::AuthMethodNotSupported, "only simple binds are supported");
        };
        if version != 3 {
            return Ending::new(Code::ProtocolError, "only LDAP version 3 is supported");
        }
        match (name, password, self.shared.access) {
            ("", [], Access::Anonymous) => return Ending::new(Code::Success, ""),
            ("", [], Access::Authenticated) => {
                return Ending::new(Code::InappropriateAuthentication, "anonymous binds are not allowed");
            }
            (_, [], _) => return Ending::new(Code::UnwillingToPerform, "a bind needs a password"),
            _ => {}
        }
        let Ok(dn) = Dn::parse(name) else {
            return Ending::new(Code::InvalidDnSyntax, "the name is no distinguished name");
        };
        let tree = self.shared.tree.load();
        let passwords = tree.entry(&dn).map_or([].as_slice(), |node| &node.passwords);
        if !passwords.iter().any(|stored| password::matches(stored, password)) {
            return Ending::new(Code::InvalidCredentials, "");
        }
        self.bound = Some(dn);
        Ending::new(Code::Success, "")
    }

    fn search(&self, message_id: i32, search: &Search, out: &mut BytesMut) -> Ending {
        let tree = self.shared.tree.load();
        if search.base.is_empty() && search.scope == Scope::Base {
            let root = Some(root_dse(&tree)).filter(|root| search.filter.matches(root) == Some(true));
            return write_found(out, message_id, search, root.iter());
        }
        if self.bound.is_none() && self.shared.access == Access::Authenticated {
            return Ending::new(Code::InsufficientAccessRights, "a search needs a bind");
        }
        let Ok(base) = Dn::parse(&search.base) else {
            return Ending::new(Code::InvalidDnSyntax, "the base is no distinguished name");
        };
        match tree.search(&base, search.scope, &search.filter) {
            Some(found) => write_found(out, message_id, search, found),
            None => Ending { matched: matched(&tree, &base), ..Ending::new(Code::NoSuchObject, "") },
        }
    }
}

fn matched(tree: &Tree, base: &Dn) -> String {
    tree.matched(base).to_owned()
}

fn write_found<'a>(
    out: &mut BytesMut,
    message_id: i32,
    search: &Search,
    found: impl Iterator<Item = &'a Node>,
) -> Ending {
    for (count, node) in (0..).zip(found) {
        if search.size_limit > 0 && count == search.size_limit {
            return Ending::new(Code::SizeLimitExceeded, "");
        }
        let attributes = search.selected(node).map(|held| held.shown(search.types_only));
        message::write_entry(out, message_id, node.dn.as_str(), attributes.collect());
    }
    Ending::new(Code::Success, "")
}

fn refusal(error: FrameError) -> &'static str {
    match error {
        FrameError::TooLarge { .. } | FrameError::TooManyElements => "the message is too large",
        FrameError::TooDeep { .. } => "the message is nested too deeply",
        _ => "the message is no LDAP request",
    }
}
