//! Serving an actix application over HTTPS (HTTP/1.1 and HTTP/2) or plain HTTP/1.1, with our own accept loop.
//!
//! actix' own server advertises no stream limit and no header limit over HTTP/2, and ends without GOAWAY. Here every
//! connection, head, body, stream and pause has a bound; certificates are swapped between connections; connections that
//! were let in by client authorities since withdrawn are drained; a stop lets answers in flight out first.
//!
//! One thread accepts, and hands each connection to the worker thread that has the fewest. A worker runs its connections
//! on one single-threaded runtime, all through one instance of the application.

mod accept;
mod activity;
mod answer;
mod body;
mod connection;
mod http1;
mod http2;

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpMessage;
use tokio::sync::watch;

pub use crate::tls::{ClientCertificate, SubjectAltNames};
use crate::tls::{PresentedCertificate, ServerContext};

/// The most connections to a listener unless it says otherwise; an API server needs a few.
pub const DEFAULT_MAX_CONNECTIONS: usize = 4096;
/// How long a stop waits for answers in flight unless the listener says otherwise (`server.shutdownGrace`).
pub const DEFAULT_SHUTDOWN_GRACE: Duration = Duration::from_secs(10);
/// The longest TLS handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// The longest that the head of an HTTP/1.1 request may take from its first octet.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest that a request's body may take, from when its reader first had to wait.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest that a client may leave what we send unread.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an HTTP/1.1 connection may stay open without a request. Longer than the 90 s after which Go's client closes
/// an idle connection itself, so that its request never meets our close.
pub const KEEP_ALIVE: Duration = Duration::from_secs(120);
/// How long an HTTP/2 connection may stay open without a request.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Streams open at one time on an HTTP/2 connection: what Go's client expects of a server, and an API server asks all its
/// reviews over few connections.
pub const MAX_CONCURRENT_STREAMS: u32 = 250;
/// The longest list of headers over HTTP/2, uncompressed, in octets (RFC 9113, 6.5.2). Over HTTP/1.1 actix bounds a head
/// at 128 KiB and 96 headers.
pub const MAX_HEADER_LIST: u32 = 64 * 1024;
/// What a client may send of one HTTP/2 body before it is read, in octets.
pub const STREAM_WINDOW: u32 = 256 * 1024;
/// What a client may send of all HTTP/2 bodies on a connection before they are read, in octets.
pub const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What of one answer may wait for an HTTP/2 client's window, in octets.
pub const MAX_SEND_BUFFER: usize = 256 * 1024;
/// Streams that a client opened and reset before we looked; more end the connection (CVE-2023-44487).
pub const MAX_PENDING_RESETS: usize = 50;

/// What a listener is.
#[derive(Debug, Clone)]
pub struct ListenerSettings {
    /// Its name in the log and of its threads, such as `webhook`.
    pub name: &'static str,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Worker threads; omitted: one for each processor.
    pub workers: Option<NonZeroUsize>,
    /// The most connections; what comes beyond is accepted and closed.
    pub max_connections: usize,
    /// How long a stop (and the draining of a connection) waits for answers in flight.
    pub shutdown_grace: Duration,
}

impl ListenerSettings {
    /// A listener with the defaults.
    #[must_use]
    pub fn new(name: &'static str, listen: SocketAddr) -> Self {
        Self {
            name,
            listen,
            workers: None,
            max_connections: DEFAULT_MAX_CONNECTIONS,
            shutdown_grace: DEFAULT_SHUTDOWN_GRACE,
        }
    }
}

/// Who sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The other end of the connection.
    pub address: SocketAddr,
    /// The client's certificate, verified; `None` where none was asked for.
    pub certificate: Option<Arc<ClientCertificate>>,
    /// What the client showed where it was asked for a certificate that the handshake does not judge.
    pub presented: Option<Arc<PresentedCertificate>>,
}

/// Who sent this request; `None` only for a request that did not come through [`serve`].
#[must_use]
pub fn peer(request: &actix_web::HttpRequest) -> Option<Peer> {
    request.extensions().get::<Peer>().cloned()
}

/// Listens, and serves until `stop` says true or its sender is gone. The application is built once in each worker by
/// `configure`. Returns when every worker is ready; connections are served on threads of the listener's own.
///
/// # Errors
/// Where the address cannot be bound, a thread cannot be started, or the application cannot be built.
pub fn serve<F>(
    listener: ListenerSettings,
    tls: Option<Arc<ServerContext>>,
    configure: F,
    stop: watch::Receiver<bool>,
) -> io::Result<Running>
where
    F: Fn(&mut actix_web::web::ServiceConfig) + Clone + Send + 'static,
{
    accept::start(listener, tls, configure, stop)
}

/// A listener that serves.
#[derive(Debug)]
pub struct Running {
    /// Where it listens: the port is never 0.
    pub address: SocketAddr,
    workers: tokio::sync::mpsc::Receiver<std::convert::Infallible>,
    refused: Arc<std::sync::atomic::AtomicU64>,
}

impl Running {
    /// Waits until the listener was stopped, answers in flight were sent (or `shutdown_grace` passed), and its threads are
    /// done.
    pub async fn join(mut self) {
        while self.workers.recv().await.is_some() {}
    }

    /// How many connections were closed because there were `max_connections` already.
    #[must_use]
    pub fn refused_connections(&self) -> u64 {
        self.refused.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// Resolves when serving is to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error says that the sender is gone: nobody is left to stop us later.
    let _ = stop.wait_for(|stop| *stop).await;
}
