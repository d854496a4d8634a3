//! Accepting connections, and the threads that serve them.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::web::ServiceConfig;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, LocalSet};

use super::connection::{Endpoint, serve_connection};
use super::{ListenerSettings, Running, answer, http1, stopped};
use crate::tls::ServerContext;

/// Connections that the kernel completes before we take them.
const BACKLOG: i32 = 1024;
/// How long accepting pauses after an error of ours, such as no file descriptors left.
const BACK_OFF: Duration = Duration::from_millis(100);
/// Between two log lines about connections that were closed because there were too many.
const LOG_REFUSALS_EVERY: u64 = 1000;

/// A connection on its way to a worker. It counts from here on.
struct Accepted {
    stream: std::net::TcpStream,
    address: SocketAddr,
    place: Place,
}

/// A worker as the acceptor sees it.
struct Worker {
    queue: mpsc::UnboundedSender<Accepted>,
    connections: Arc<AtomicUsize>,
}

/// One of the connections that a worker has; given back when dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(connections: &Arc<AtomicUsize>) -> Self {
        connections.fetch_add(1, Ordering::Relaxed);
        Self(connections.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(super) fn start<F>(
    settings: ListenerSettings,
    tls: Option<Arc<ServerContext>>,
    configure: F,
    stop: watch::Receiver<bool>,
) -> io::Result<Running>
where
    F: Fn(&mut ServiceConfig) + Clone + Send + 'static,
{
    let socket = bind(settings.listen)?;
    let address = socket.local_addr()?;
    let count = settings
        .workers
        .map_or_else(|| std::thread::available_parallelism().map_or(1, NonZeroUsize::get), NonZeroUsize::get);
    let (done, workers_done) = mpsc::channel(1);
    let refused = Arc::new(AtomicU64::new(0));
    let mut workers = Vec::with_capacity(count);
    for number in 0..count {
        let endpoint = Endpoint {
            tls: tls.clone(),
            stop: stop.clone(),
            grace: settings.shutdown_grace,
            listener: settings.name,
        };
        workers.push(start_worker(number, endpoint, configure.clone(), done.clone())?);
    }
    let acceptor = Acceptor {
        listener: settings.name,
        max_connections: settings.max_connections,
        workers,
        refused: refused.clone(),
    };
    let runtime = runtime()?;
    std::thread::Builder::new().name(format!("{}-accept", settings.name)).spawn(move || {
        let _done = done;
        runtime.block_on(acceptor.run(socket, stop));
    })?;
    Ok(Running { address, workers: workers_done, refused })
}

fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // So that a restart need not wait for the last connections of the run before to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

struct Acceptor {
    listener: &'static str,
    max_connections: usize,
    workers: Vec<Worker>,
    refused: Arc<AtomicU64>,
}

impl Acceptor {
    /// Ends with the listening socket and the workers' queues closed.
    async fn run(self, socket: std::net::TcpListener, mut stop: watch::Receiver<bool>) {
        let socket = match tokio::net::TcpListener::from_std(socket) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::error!(listener = self.listener, %error, "cannot listen");
                return;
            }
        };
        loop {
            let accepted = tokio::select! {
                biased;
                () = stopped(&mut stop) => return,
                accepted = socket.accept() => accepted,
            };
            match accepted.and_then(|(stream, address)| Ok((stream.into_std()?, address))) {
                Ok((stream, address)) => self.hand_over(stream, address),
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    tracing::error!(listener = self.listener, %error, "cannot accept a connection");
                    tokio::select! {
                        () = stopped(&mut stop) => return,
                        () = tokio::time::sleep(BACK_OFF) => {}
                    }
                }
            }
        }
    }

    /// Gives a connection to the worker that has the fewest; closes it where all together have too many.
    fn hand_over(&self, stream: std::net::TcpStream, address: SocketAddr) {
        let load = |worker: &Worker| worker.connections.load(Ordering::Relaxed);
        if self.workers.iter().map(load).sum::<usize>() >= self.max_connections {
            let before = self.refused.fetch_add(1, Ordering::Relaxed);
            if before.is_multiple_of(LOG_REFUSALS_EVERY) {
                tracing::warn!(
                    listener = self.listener,
                    max_connections = self.max_connections,
                    refused = before.saturating_add(1),
                    "connection closed: there are too many"
                );
            }
            return;
        }
        if let Some(worker) = self.workers.iter().min_by_key(|worker| load(worker)) {
            let place = Place::take(&worker.connections);
            // A worker that is gone drops the connection.
            let _ = worker.queue.send(Accepted { stream, address, place });
        }
    }
}

/// The client gave up before we took its connection; the next one is not affected.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

fn start_worker<F>(
    number: usize,
    endpoint: Endpoint,
    configure: F,
    done: mpsc::Sender<Infallible>,
) -> io::Result<Worker>
where
    F: Fn(&mut ServiceConfig) + Clone + Send + 'static,
{
    let (queue, connections) = mpsc::unbounded_channel();
    let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
    let runtime = runtime()?;
    std::thread::Builder::new().name(format!("{}-{number}", endpoint.listener)).spawn(move || {
        let _done = done;
        LocalSet::new().block_on(&runtime, async move {
            match http1::service(configure).await {
                Ok(services) => {
                    let _ = ready.send(Ok(()));
                    work(connections, endpoint, services).await;
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        });
    })?;
    let gone = |_| io::Error::other("a worker thread ended while the application was built");
    is_ready.recv().map_err(gone)??;
    Ok(Worker { queue, connections: Arc::default() })
}

/// Serves what comes in until the acceptor is gone, then lets what is open come to its end, for as long as the grace lasts.
async fn work(mut queue: mpsc::UnboundedReceiver<Accepted>, endpoint: Endpoint, services: answer::Services) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            accepted = queue.recv() => match accepted {
                Some(Accepted { stream, address, place }) => {
                    let (endpoint, services) = (endpoint.clone(), services.clone());
                    open.spawn_local(async move {
                        let _place = place;
                        serve_connection(stream, address, endpoint, services).await;
                    });
                }
                None => break,
            },
            Some(ended) = open.join_next() => report(ended),
        }
    }
    let drained = async {
        while let Some(ended) = open.join_next().await {
            report(ended);
        }
    };
    if tokio::time::timeout(endpoint.grace, drained).await.is_err() {
        tracing::warn!(
            listener = endpoint.listener,
            connections = open.len(),
            "stopped with open connections"
        );
    }
}

/// A panic outside a handler ended one connection, and no other.
fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection ended by a fault of ours");
    }
}
