//! One connection, from its acceptance to its end.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::activity::{Activity, Overdue, Stream, TICK, Transport};
use super::answer::Services;
use super::{HANDSHAKE_TIMEOUT, Peer, WRITE_TIMEOUT, http2, stopped};
use crate::tls::{Protocol, ServerContext};

/// How long a silent connection is trusted before the kernel asks whether the other end is still there.
const PROBE_AFTER: Duration = Duration::from_secs(30);
/// Between two such questions.
const PROBE_EVERY: Duration = Duration::from_secs(10);

/// What the connections of a listener have in common.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) listener: &'static str,
    pub(super) tls: Option<Arc<ServerContext>>,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) grace: Duration,
}

/// When a connection is to be drained: the listener stops, or who let it in no longer would.
pub(super) struct Drain {
    stop: watch::Receiver<bool>,
    let_in_by: Option<(watch::Receiver<u64>, u64)>,
}

impl Drain {
    pub(super) async fn called(mut self) {
        let Some((mut current, generation)) = self.let_in_by else {
            return stopped(&mut self.stop).await;
        };
        let withdrawn = async {
            if current.wait_for(|current| *current != generation).await.is_err() {
                // The context is gone; the stop is what ends the connection then.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = stopped(&mut self.stop) => {}
            () = withdrawn => {}
        }
    }
}

pub(super) async fn serve_connection(
    stream: std::net::TcpStream,
    address: SocketAddr,
    endpoint: Endpoint,
    services: Services,
) {
    let stream = match prepare(stream) {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(listener = endpoint.listener, %address, %error, "connection lost");
            return;
        }
    };
    let Some(context) = endpoint.tls else {
        let drain = Drain { stop: endpoint.stop, let_in_by: None };
        let transport =
            Transport::new(Stream::Plain(stream), Peer { address, certificate: None, presented: None });
        return serve_http1(transport, drain, endpoint.grace, &services).await;
    };
    let tls = match tokio::time::timeout(HANDSHAKE_TIMEOUT, context.accept(stream)).await {
        Ok(Ok(tls)) => tls,
        Ok(Err(error)) => {
            tracing::debug!(listener = endpoint.listener, %address, %error, "no TLS");
            return;
        }
        Err(_) => {
            tracing::debug!(listener = endpoint.listener, %address, "no TLS within the time for it");
            return;
        }
    };
    let let_in_by =
        context.requires_client_certificate().then(|| (context.client_generation(), tls.generation()));
    let drain = Drain { stop: endpoint.stop, let_in_by };
    let protocol = tls.protocol();
    let peer = Peer {
        address,
        certificate: tls.client_certificate().map(Arc::new),
        presented: tls.presented_certificate().map(Arc::new),
    };
    let transport = Transport::new(Stream::Tls(Box::new(tls)), peer);
    match protocol {
        Protocol::Http1 => serve_http1(transport, drain, endpoint.grace, &services).await,
        Protocol::Http2 => http2::serve(transport, drain, endpoint.grace, services.app).await,
    }
}

fn prepare(stream: std::net::TcpStream) -> std::io::Result<TcpStream> {
    // Without it the first answer of a TLS connection can wait for the client's delayed acknowledgement, 40 ms.
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY))?;
    socket.set_tcp_user_timeout(Some(WRITE_TIMEOUT))?;
    TcpStream::from_std(stream)
}

async fn serve_http1(transport: Transport, drain: Drain, grace: Duration, services: &Services) {
    let connected = transport.connected.clone();
    let activity = connected.activity.clone();
    let draining = Box::pin(async move {
        drain.called().await;
        activity.drain();
    });
    let served = (services.http1)(transport, draining);
    tokio::select! {
        () = served => {}
        why = watch_http1(&connected.activity, grace) => {
            tracing::debug!(address = %connected.peer.address, ?why, "connection closed");
        }
    }
}

async fn watch_http1(activity: &Rc<Activity>, grace: Duration) -> Overdue {
    loop {
        tokio::time::sleep(TICK).await;
        if let Some(why) = activity.overdue_http1(grace) {
            return why;
        }
    }
}
