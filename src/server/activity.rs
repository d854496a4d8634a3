//! What a connection is doing, and for how long it may.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::{HEAD_TIMEOUT, IDLE_TIMEOUT, KEEP_ALIVE, Peer, WRITE_TIMEOUT};
use crate::tls::TlsStream;

/// How often a connection's bounds are looked at.
pub(super) const TICK: Duration = Duration::from_millis(500);
/// How long a connection that is being drained may stay open without a request: for requests that are on their way.
const DRAIN_LINGER: Duration = Duration::from_millis(500);
/// actix answers 408 to a first request whose head takes too long; only what is later than that is ended here.
const AFTER_ACTIX: Duration = Duration::from_secs(1);

/// What a connection is doing. Shared by its transport, its requests and its watchdog, all on one thread.
#[derive(Debug)]
pub(super) struct Activity {
    in_flight: Cell<u32>,
    quiet_since: Cell<Instant>,
    head_since: Cell<Option<Instant>>,
    blocked_since: Cell<Option<Instant>>,
    draining_since: Cell<Option<Instant>>,
}

/// Why a connection has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// Nothing was asked for too long, or nothing more is to be asked.
    Idle,
    /// The head of a request does not come to its end.
    SlowHead,
    /// What we send is not read.
    SlowReader,
    /// The grace of draining is over.
    Grace,
}

impl Activity {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            in_flight: Cell::new(0),
            quiet_since: Cell::new(Instant::now()),
            head_since: Cell::new(None),
            blocked_since: Cell::new(None),
            draining_since: Cell::new(None),
        })
    }

    /// A request has begun; it ends when its answer was sent or dropped.
    pub(super) fn begin(self: &Rc<Self>) -> InFlight {
        self.in_flight.set(self.in_flight.get().saturating_add(1));
        self.head_since.set(None);
        InFlight(self.clone())
    }

    /// The connection is to end after what it is answering.
    pub(super) fn drain(&self) {
        if self.draining_since.get().is_none() {
            self.draining_since.set(Some(Instant::now()));
        }
    }

    /// Whether an HTTP/1.1 connection has to end now.
    pub(super) fn overdue_http1(&self, grace: Duration) -> Option<Overdue> {
        let over =
            |since: Cell<Option<Instant>>, bound| since.get().is_some_and(|since| since.elapsed() > bound);
        if self.in_flight.get() == 0 && over(self.head_since.clone(), HEAD_TIMEOUT + AFTER_ACTIX) {
            return Some(Overdue::SlowHead);
        }
        self.overdue(KEEP_ALIVE, grace)
    }

    /// Whether an HTTP/2 connection has to end now.
    pub(super) fn overdue_http2(&self, grace: Duration) -> Option<Overdue> {
        self.overdue(IDLE_TIMEOUT, grace)
    }

    fn overdue(&self, idle: Duration, grace: Duration) -> Option<Overdue> {
        let quiet = (self.in_flight.get() == 0).then(|| self.quiet_since.get().elapsed());
        let draining = self.draining_since.get().map(|since| since.elapsed());
        if self.blocked_since.get().is_some_and(|since| since.elapsed() > WRITE_TIMEOUT) {
            Some(Overdue::SlowReader)
        } else if draining.is_some_and(|draining| draining > grace) {
            Some(Overdue::Grace)
        } else if quiet.is_some_and(|quiet| quiet > idle)
            || draining.is_some_and(|draining| draining > DRAIN_LINGER)
                && quiet.is_some_and(|quiet| quiet > DRAIN_LINGER)
        {
            Some(Overdue::Idle)
        } else {
            None
        }
    }

    fn has_read(&self) {
        if self.in_flight.get() == 0 && self.head_since.get().is_none() {
            self.head_since.set(Some(Instant::now()));
        }
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct InFlight(Rc<Activity>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get().saturating_sub(1));
        self.0.quiet_since.set(Instant::now());
    }
}

/// A connection, encrypted or not, that notes what it does.
#[derive(Debug)]
pub(super) struct Transport {
    stream: Stream,
    pub(super) connected: Connected,
}

/// What every request of a connection is told of it.
#[derive(Debug, Clone)]
pub(super) struct Connected {
    pub(super) peer: Peer,
    pub(super) activity: Rc<Activity>,
}

#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Transport {
    pub(super) fn new(stream: Stream, peer: Peer) -> Self {
        Self { stream, connected: Connected { peer, activity: Activity::new() } }
    }

    fn note(&self, blocked: bool) {
        let since = &self.connected.activity.blocked_since;
        match (blocked, since.get()) {
            (true, None) => since.set(Some(Instant::now())),
            (false, Some(_)) => since.set(None),
            _ => {}
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        };
        if buffer.filled().len() > before {
            self.connected.activity.has_read();
        }
        result
    }
}

impl AsyncWrite for Transport {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        };
        self.note(result.is_pending());
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
