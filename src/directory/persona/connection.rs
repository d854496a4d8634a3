//! One connection. Requests are answered as soon as they can be, in any order.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::BytesMut;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};

use super::answer::Question;
use super::controls::Wishes;
use super::faults::{Fault, Step, written};
use super::feed::Feed;
use super::gate;
use super::pages::Pages;
use super::reply::{Outcome, outcome_bytes};
use super::seen::{Asked, Seen};
use super::server::{Order, Server};
use crate::directory::embedded::message::{self, BIND_RESPONSE, Malformed, Request, response_to};
use crate::directory::frame::{Frame, FrameGuard, Limits, Peer};

/// As the embedded server's.
const LIMITS: Limits = Limits { max_message: 4 << 20, max_depth: 32 };
/// What is read at once, in bytes.
const CHUNK: usize = 64 << 10;

/// What goes out.
#[derive(Debug)]
pub(super) enum Out {
    Bytes(BytesMut),
    Close,
    Reset,
}

pub(super) type Sender = mpsc::UnboundedSender<Out>;

/// Serves one connection to its end.
pub(super) async fn serve(mut stream: TcpStream, server: Arc<Server>) {
    let mut number = 0;
    server.seen.send_modify(|seen| {
        seen.connections += 1;
        seen.open += 1;
        number = seen.connections;
    });
    let _open = Counted::new(&server, |seen| &mut seen.open);
    let _ = stream.set_nodelay(true);
    let (out, outgoing) = mpsc::unbounded_channel();
    let (read, write) = stream.split();
    let session = Session::new(server.clone(), number, out);
    let is_reset = {
        let writing = send(outgoing, write, server);
        tokio::pin!(writing);
        tokio::select! {
            is_reset = &mut writing => is_reset,
            () = session.run(read) => writing.await,
        }
    };
    if is_reset {
        let _ = SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO));
    }
}

/// Sends what is to be sent; says whether the connection is to be reset.
async fn send(
    mut outgoing: mpsc::UnboundedReceiver<Out>,
    mut write: WriteHalf<'_>,
    server: Arc<Server>,
) -> bool {
    let mut frozen = server.frozen.subscribe();
    while let Some(out) = outgoing.recv().await {
        let _ = frozen.wait_for(|frozen| !*frozen).await;
        match out {
            Out::Bytes(bytes) => {
                if write.write_all(&bytes).await.is_err() {
                    return false;
                }
            }
            Out::Close => break,
            Out::Reset => return true,
        }
    }
    let _ = write.shutdown().await;
    false
}

/// What a connection is at.
struct Session {
    server: Arc<Server>,
    number: usize,
    out: Sender,
    is_bound: bool,
    pages: Pages,
    running: JoinSet<()>,
    /// By message id, what can be abandoned.
    abandonable: HashMap<i32, AbortHandle>,
    notifications: Arc<()>,
}

/// Takes one from a count when it is dropped.
pub(super) struct Counted {
    server: Arc<Server>,
    count: fn(&mut Seen) -> &mut usize,
}

impl Counted {
    /// A count that has been raised already.
    pub(super) fn new(server: &Arc<Server>, count: fn(&mut Seen) -> &mut usize) -> Self {
        Self { server: server.clone(), count }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.server.seen.send_modify(|seen| *(self.count)(seen) -= 1);
    }
}

impl Session {
    fn new(server: Arc<Server>, number: usize, out: Sender) -> Self {
        Self {
            server,
            number,
            out,
            is_bound: false,
            pages: Pages::default(),
            running: JoinSet::new(),
            abandonable: HashMap::new(),
            notifications: Arc::default(),
        }
    }

    /// Reads requests until the client is done or the connection is given up. What is unanswered then stays so.
    async fn run(mut self, mut read: ReadHalf<'_>) {
        let mut guard = FrameGuard::new(Peer::Client, LIMITS);
        let mut chunk = vec![0; CHUNK];
        let mut orders = self.server.orders.subscribe();
        let mut frozen = self.server.frozen.subscribe();
        loop {
            tokio::select! {
                Ok(()) = orders.changed() => {
                    let order = *orders.borrow_and_update();
                    self.obey(order);
                    return std::future::pending().await;
                }
                count = read.read(&mut chunk) => match count {
                    Ok(count @ 1..) => guard.push(&chunk[..count]),
                    _ => return,
                },
                Some(_) = self.running.join_next() => continue,
            }
            let _ = frozen.wait_for(|frozen| !*frozen).await;
            loop {
                let frame = match guard.next() {
                    Ok(Some(frame)) => frame,
                    Ok(None) => break,
                    Err(_) => return,
                };
                while self.running.try_join_next().is_some() {}
                let max_pending = self.server.manner().max_pending;
                if max_pending.is_some_and(|max| self.running.len() >= max) || !self.take(&frame) {
                    return;
                }
            }
        }
    }

    fn obey(&self, order: Option<Order>) {
        match order {
            Some(Order::Notice(code, notice)) => {
                self.send(notice.bytes(code));
                let _ = self.out.send(Out::Close);
            }
            Some(Order::Reset) => drop(self.out.send(Out::Reset)),
            Some(Order::Close) | None => drop(self.out.send(Out::Close)),
        }
    }

    /// Does what a request asks; says whether the connection goes on.
    fn take(&mut self, frame: &Frame) -> bool {
        let id = frame.message_id;
        match Request::read(frame) {
            Ok((Request::Unbind, _)) => {
                self.server.seen.send_modify(|seen| seen.unbinds += 1);
                return false;
            }
            Ok((Request::Abandon, _)) => self.abandon(frame),
            Ok((Request::Bind { name, password, .. }, _)) => {
                let outcome = self.bind(&name, password.as_deref());
                self.is_bound = outcome.code == 0 && !name.is_empty();
                self.server.seen.send_modify(|seen| seen.binds.push(name));
                if self.server.manner().answers_binds {
                    self.send(outcome_bytes(id, BIND_RESPONSE, outcome));
                }
            }
            Ok((Request::Search(search), _)) => match self.question(frame) {
                Ok((asked, wishes)) => self.search(id, search, asked, wishes),
                Err(Malformed(what)) => self.refuse(frame, Outcome::new(2, what)),
            },
            Ok((Request::Extended { .. } | Request::Other, _)) => {
                self.server.seen.send_modify(|seen| seen.others += 1);
                self.refuse(frame, Outcome::new(53, "this directory is only searched"));
            }
            Err(Malformed(what)) => self.refuse(frame, Outcome::new(2, what)),
        }
        true
    }

    fn refuse(&self, frame: &Frame, outcome: Outcome) {
        if let Some(response) = response_to(frame.operation) {
            self.send(outcome_bytes(frame.message_id, response, outcome));
        }
    }

    fn send(&self, bytes: BytesMut) {
        let _ = self.out.send(Out::Bytes(bytes));
    }

    fn bind(&self, name: &str, password: Option<&[u8]>) -> Outcome {
        let manner = self.server.manner();
        let is_active_directory = self.server.view().is_active_directory();
        match (manner.refuses_binds, password) {
            // No bind while notifications are waited for.
            _ if Arc::strong_count(&self.notifications) > 1 => Outcome::new(51, ""),
            (Some(outcome), _) => outcome,
            (None, None) => Outcome::new(7, "only simple binds are supported"),
            (None, Some([])) if name.is_empty() => Outcome::success(),
            (None, Some([])) => Outcome::new(53, "unauthenticated bind (DN with no password) disallowed"),
            (None, Some(password)) => match manner.password {
                Some(right) if right.as_bytes() != password && is_active_directory => {
                    Outcome::credentials("52e")
                }
                Some(right) if right.as_bytes() != password => Outcome::new(49, ""),
                _ => Outcome::success(),
            },
        }
    }

    fn abandon(&mut self, frame: &Frame) {
        self.server.seen.send_modify(|seen| seen.abandons += 1);
        let Ok((operation, _)) = message::open(frame) else { return };
        let octets = operation.expect_primitive().unwrap_or_default();
        let id = octets.iter().fold(0, |sum, &octet| (sum << 8) | i32::from(octet));
        if let Some(running) = self.abandonable.remove(&id) {
            running.abort();
        }
    }

    fn question(&self, frame: &Frame) -> Result<(Asked, Wishes), Malformed> {
        let kind = self.server.view().kind;
        let (operation, controls) = message::open(frame)?;
        let wishes = Wishes::read(controls, kind)?;
        let asked = Asked::read(self.number, operation, wishes.oids.clone())?;
        Ok((asked, wishes))
    }

    /// Answers from the content of this moment, at once or when nothing holds the answer any more.
    fn search(&mut self, id: i32, search: message::Search, asked: Asked, wishes: Wishes) {
        let server = self.server.clone();
        let (mut fault, opens) = (server.fault_for(&asked), server.gate.at(&asked));
        let late = match fault {
            Some(Fault::Delay(time)) if wishes.is_feed() => fault.take().map(|_| time),
            _ => None,
        };
        let is_held = opens.is_some();
        let is_feed = wishes.is_feed() && fault.is_none();
        server.seen.send_modify(|seen| {
            seen.searches.push(asked.clone());
            seen.held += usize::from(is_held);
            if is_feed {
                seen.feeds += 1;
            } else {
                seen.in_flight += 1;
                seen.most_in_flight = seen.most_in_flight.max(seen.in_flight);
            }
        });
        let counted =
            Counted::new(&server, if is_feed { |seen| &mut seen.feeds } else { |seen| &mut seen.in_flight });
        let held = opens.map(|opens| (opens, Counted::new(&server, |seen| &mut seen.held)));
        let (view, manner) = (server.view(), server.manner());
        let question = Question {
            directory: &server.directory,
            view: &view,
            manner: &manner,
            host: &server.host,
            is_bound: self.is_bound,
            search: &search,
            wishes: &wishes,
        };
        if is_feed {
            let mut feed = Feed::open(&question, &self.notifications);
            feed.late = late;
            self.spawn(id, counted, held, feed.run(server, search, wishes, id, self.out.clone()));
            return;
        }
        let replies = if wishes.sync.is_some() {
            super::syncrepl::poll(&question)
        } else if wishes.dir_sync.is_some() {
            super::dirsync::poll(&question)
        } else {
            question.answer(&mut self.pages)
        };
        let url = format!("ldap://{}", server.address);
        let steps = match fault {
            Some(fault) => fault.steps(replies, id, &asked, &url),
            None => vec![Step::Send(written(replies, id))],
        };
        let waits = steps.iter().any(|step| matches!(step, Step::Wait(_) | Step::Hang));
        if waits || held.is_some() {
            self.spawn(id, counted, held, go(steps, self.out.clone()));
        } else {
            steps.into_iter().for_each(|step| do_now(step, &self.out));
        }
    }

    fn spawn(
        &mut self,
        id: i32,
        counted: Counted,
        held: Option<(Arc<Semaphore>, Counted)>,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let handle = self.running.spawn(async move {
            let _counted = counted;
            if let Some((opens, _held)) = held {
                gate::pass(&opens).await;
            }
            work.await;
        });
        self.abandonable.insert(id, handle);
    }
}

/// Does one step after the other.
async fn go(steps: Vec<Step>, out: Sender) {
    for step in steps {
        match step {
            Step::Wait(time) => tokio::time::sleep(time).await,
            Step::Hang => std::future::pending().await,
            step => do_now(step, &out),
        }
    }
}

/// Does a step that takes no time. Nobody may be there any more to see it.
fn do_now(step: Step, out: &Sender) {
    let _ = match step {
        Step::Send(bytes) => out.send(Out::Bytes(bytes)),
        Step::Reset => out.send(Out::Reset),
        Step::Close | Step::Wait(_) | Step::Hang => out.send(Out::Close),
    };
}
