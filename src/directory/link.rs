//! From a server's name to a protected connection, and from there, through the frame guard, to `ldap3`.
//!
//! `ldap3` never sees the network: its decoder recurses without limit and its driver panics on unexpected answers, so it
//! gets one end of a socket pair, and the [bridge](super::bridge) feeds it only what the guard let through.

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, StdStream};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use super::bridge;
use super::settings::{Security, Server};
use crate::tls::ClientContext;

/// How long a connection may be silent before the kernel asks whether the peer is there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;
/// How long sent data may stay unacknowledged before the kernel gives the connection up.
const USER_TIMEOUT: Duration = Duration::from_secs(15);
/// More addresses of one name are not tried.
const MAX_ADDRESSES: usize = 8;

/// A byte stream to a server, protected or not.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Wire for S {}

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("its name does not resolve")]
    Name,
    #[error("{0} took longer than timeouts.connect")]
    TimedOut(&'static str),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("it does not know StartTLS (result {0})")]
    StartTlsRefused(u8),
    #[error("its answer to StartTLS is malformed")]
    StartTlsMalformed,
    #[error("{0}")]
    Tls(#[from] crate::tls::TlsError),
    #[error("no TLS context")]
    NoContext,
    #[error("{0}")]
    Ldap(#[from] ldap3::LdapError),
}

/// A connection that `ldap3` speaks on.
pub(super) struct Link {
    pub(super) ldap: Ldap,
    pub(super) state: Arc<bridge::State>,
    /// Which of the server's addresses it is to.
    pub(super) peer: SocketAddr,
    tasks: [AbortHandle; 2],
}

impl Link {
    /// Connects, within the budget.
    pub(super) async fn open(
        server: &Server,
        tls: Option<&ClientContext>,
        state: bridge::State,
        budget: Duration,
        handle: &Handle,
    ) -> Result<Self, LinkError> {
        let (wire, peer) = dial(server, tls, Instant::now() + budget).await?;
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        let ours = tokio::net::UnixStream::from_std(ours)?;
        let settings = LdapConnSettings::new().set_std_stream(StdStream::Unix(theirs));
        let (driver, ldap) = LdapConnAsync::with_settings(settings, "ldapi:///").await?;
        let state = Arc::new(state);
        let label = server.label.clone();
        let bridge = handle.spawn(bridge::run(label, wire, ours, state.clone())).abort_handle();
        let driven = state.clone();
        let driver = handle.spawn(async move {
            // Its error is that of the socket pair, which says less than the bridge's.
            let _ = driver.drive().await;
            driven.end();
        });
        Ok(Self { ldap, state, peer, tasks: [bridge, driver.abort_handle()] })
    }

    /// Ends the connection at once; whoever waits on it learns that it is lost.
    pub(super) fn kill(&self) {
        self.state.kill();
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Tries each address of the server in turn. Each gets an equal share of what is left of the time.
async fn dial(
    server: &Server,
    tls: Option<&ClientContext>,
    deadline: Instant,
) -> Result<(Box<dyn Wire>, SocketAddr), LinkError> {
    let resolving = tokio::net::lookup_host((server.host.as_str(), server.port));
    let resolved =
        timeout_at(deadline, resolving).await.map_err(|_| LinkError::TimedOut("resolving its name"))?;
    let addresses: Vec<SocketAddr> = resolved.map_err(|_| LinkError::Name)?.take(MAX_ADDRESSES).collect();
    let mut last = LinkError::Name;
    for (tried, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let ways = u32::try_from(addresses.len() - tried).unwrap_or(1);
        match reach(server, *address, tls, Instant::now() + left / ways).await {
            Ok(wire) => return Ok((wire, *address)),
            Err(error) => {
                tracing::debug!(server = %server.label, %address, %error, "address of a directory server not reached");
                last = error;
            }
        }
    }
    Err(last)
}

async fn reach(
    server: &Server,
    address: SocketAddr,
    tls: Option<&ClientContext>,
    deadline: Instant,
) -> Result<Box<dyn Wire>, LinkError> {
    let connecting = socket(address)?.connect(address);
    let mut stream =
        timeout_at(deadline, connecting).await.map_err(|_| LinkError::TimedOut("connecting"))??;
    if server.security == Security::StartTls {
        let asking = start_tls(&mut stream);
        timeout_at(deadline, asking).await.map_err(|_| LinkError::TimedOut("StartTLS"))??;
    }
    if server.security == Security::Plaintext {
        return Ok(Box::new(stream));
    }
    let securing = secure(tls.ok_or(LinkError::NoContext)?, &server.host, stream);
    timeout_at(deadline, securing).await.map_err(|_| LinkError::TimedOut("the TLS handshake"))?
}

/// The one place where TLS begins.
async fn secure(tls: &ClientContext, name: &str, stream: TcpStream) -> Result<Box<dyn Wire>, LinkError> {
    Ok(Box::new(tls.connect(name, stream).await?))
}

fn socket(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    let options = SockRef::from(&socket);
    options.set_tcp_nodelay(true)?;
    options.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL)
            .with_retries(KEEPALIVE_PROBES),
    )?;
    #[cfg(target_os = "linux")]
    options.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(TcpSocket::from_std_stream(socket.into()))
}

/// ExtendedRequest 1.3.6.1.4.1.1466.20037 (RFC 4511, 4.14.1) with message id 1.
const START_TLS: [u8; 31] = *b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
/// The longest answer to StartTLS that is read, in bytes.
const MAX_START_TLS_ANSWER: usize = 4096;

/// Asks for TLS. Reads not a byte more than the answer: whatever comes after it must be TLS, so that nothing that
/// somebody put into the clear part can be taken for an answer in the protected one.
async fn start_tls(stream: &mut TcpStream) -> Result<(), LinkError> {
    stream.write_all(&START_TLS).await?;
    if stream.read_u8().await? != 0x30 {
        return Err(LinkError::StartTlsMalformed);
    }
    let length = match stream.read_u8().await? {
        0x81 => usize::from(stream.read_u8().await?),
        0x82 => usize::from(stream.read_u16().await?),
        0x84 => usize::try_from(stream.read_u32().await?).unwrap_or(usize::MAX),
        short @ 0..=0x7f => usize::from(short),
        _ => return Err(LinkError::StartTlsMalformed),
    };
    if length > MAX_START_TLS_ANSWER {
        return Err(LinkError::StartTlsMalformed);
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).await?;
    match start_tls_result(&answer) {
        Some(0) => Ok(()),
        Some(code) => Err(LinkError::StartTlsRefused(code)),
        None => Err(LinkError::StartTlsMalformed),
    }
}

/// The result code of the ExtendedResponse to message 1, from the content of its LDAPMessage.
fn start_tls_result(message: &[u8]) -> Option<u8> {
    let rest = message.strip_prefix(&[0x02, 0x01, 0x01, 0x78])?;
    let (first, rest) = rest.split_first()?;
    let rest = match first {
        0x81 => rest.get(1..)?,
        0x82 => rest.get(2..)?,
        0x84 => rest.get(4..)?,
        0..=0x7f => rest,
        _ => return None,
    };
    match rest {
        [0x0a, 0x01, code, ..] => Some(*code),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_start_tls_is_read_in_every_length_form() {
        assert_eq!(start_tls_result(b"\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00"), Some(0));
        assert_eq!(
            start_tls_result(b"\x02\x01\x01\x78\x84\x00\x00\x00\x07\x0a\x01\x02\x04\x00\x04\x00"),
            Some(2)
        );
        assert_eq!(start_tls_result(b"\x02\x01\x02\x78\x07\x0a\x01\x00\x04\x00\x04\x00"), None);
        assert_eq!(start_tls_result(b"\x02\x01\x01\x65\x07\x0a\x01\x00\x04\x00\x04\x00"), None);
        assert_eq!(start_tls_result(b""), None);
    }
}
