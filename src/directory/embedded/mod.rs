//! The embedded directory: a small LDAP server over an LDIF, for the demo, the tests and trying policies out.
//!
//! It answers binds, searches and "Who am I?" over LDAPS on the loopback interface. It reads untrusted bytes behind the
//! same [frame guard](super::frame) as the client. Its schema is a handful of syntaxes; values are compared without
//! regard to case unless something else is known of the attribute; passwords are never returned. It changes nothing:
//! another LDIF can be put in its place while it serves.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdTcpListener};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::ldif::Ldif;
use crate::tls::ServerContext;
use tree::Tree;

pub(in crate::directory) mod filter;
pub(in crate::directory) mod message;
mod password;
mod session;
pub(in crate::directory) mod tree;
pub(in crate::directory) mod values;

/// How many connections are served at once; one more is closed as soon as it is accepted.
pub const MAX_CONNECTIONS: usize = 256;
/// How long a client may take for its TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait when the system has no connection to give, as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who may search. The root DSE is open to all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Who has bound with a name and a password.
    Authenticated,
    /// Everybody.
    Anonymous,
}

/// A running directory. It ends with [`stop`](Self::stop) or when it is dropped.
#[derive(Debug)]
pub struct EmbeddedDirectory {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    tree: ArcSwap<Tree>,
    access: Access,
}

impl EmbeddedDirectory {
    /// Serves an LDIF on a free port of 127.0.0.1, over TLS; `handle` is the runtime that serves.
    ///
    /// # Errors
    /// Where the system gives no port.
    pub fn start(ldif: &Ldif, access: Access, tls: Arc<ServerContext>, handle: &Handle) -> io::Result<Self> {
        let listener = StdTcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = {
            let _runtime = handle.enter();
            TcpListener::from_std(listener)?
        };
        let shared = Arc::new(Shared { tree: ArcSwap::from_pointee(Tree::new(ldif)), access });
        let accepting = handle.spawn(serve(listener, tls, Arc::clone(&shared)));
        Ok(Self { address, shared, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Puts another LDIF in the place of the present one. Searches that run see the old one to their end.
    pub fn replace(&self, ldif: &Ldif) {
        self.shared.tree.store(Arc::new(Tree::new(ldif)));
    }

    /// Stops listening and cuts all connections.
    pub fn stop(&self) {
        self.accepting.abort();
    }
}

impl Drop for EmbeddedDirectory {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Accepts connections until it is dropped, which ends them.
async fn serve(listener: TcpListener, tls: Arc<ServerContext>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = listener.accept().await;
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((_, peer)) if connections.len() >= MAX_CONNECTIONS => {
                tracing::warn!(%peer, limit = MAX_CONNECTIONS, "too many connections to the embedded directory");
            }
            Ok((stream, _)) => {
                connections.spawn(connection(stream, Arc::clone(&tls), Arc::clone(&shared)));
            }
            Err(error) => {
                tracing::warn!(%error, "the embedded directory cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, tls: Arc<ServerContext>, shared: Arc<Shared>) {
    let served = match timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
        Ok(Ok(stream)) => session::serve(stream, &shared).await,
        Ok(Err(error)) => Err(io::Error::other(error)),
        Err(elapsed) => Err(elapsed.into()),
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the embedded directory failed");
    }
}

#[cfg(test)]
mod tests;
