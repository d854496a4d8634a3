//! Faults for the tests of the directory's client.
//!
//! [`FaultProxy`] stands before any TCP server, LDAP or LDAPS, and fails as networks do. [`FakeServer`] is an LDAP server
//! that answers searches as no server should. Both serve on a free port of 127.0.0.1 and end when they are dropped.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bailiwick::directory::frame::{Frame, FrameGuard, Limits, Peer};
use bailiwick::tls::ServerContext;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

/// What a [`FaultProxy`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Passes everything on.
    Ok,
    /// Holds every piece of an answer back for so long.
    Latency(Duration),
    /// Resets all connections, and new ones as soon as they are accepted.
    Reset,
    /// Resets all connections and does not listen.
    Refuse,
    /// Accepts, and passes nothing on in either direction until the mode changes.
    Blackhole,
    /// Passes answers on at so many bytes a second.
    Drip(usize),
    /// Resets a connection when so many bytes of answers have passed it.
    CutAfter(usize),
}

/// A TCP proxy with faults that can be switched while it runs.
pub struct FaultProxy {
    address: SocketAddr,
    target: watch::Sender<SocketAddr>,
    mode: watch::Sender<Mode>,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl FaultProxy {
    /// A proxy before this server, in [`Mode::Ok`].
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = watch::Sender::new(target);
        let mode = watch::Sender::new(Mode::Ok);
        let accepted = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(run(listener, target.subscribe(), mode.subscribe(), Arc::clone(&accepted)));
        Self { address, target, mode, accepted, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Switches the mode, for the connections that are open too. That it takes effect has to be awaited by its effect.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Stands before this server from now on, which may be the same one: all connections are reset.
    pub fn turn(&self, target: SocketAddr) {
        self.target.send_replace(target);
    }

    /// How many connections were accepted so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    listener: TcpListener,
    target: watch::Receiver<SocketAddr>,
    mut mode: watch::Receiver<Mode>,
    accepted: Arc<AtomicUsize>,
) {
    let address = listener.local_addr().unwrap();
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        if *mode.borrow_and_update() == Mode::Refuse {
            listener = None;
            mode.wait_for(|mode| *mode != Mode::Refuse).await.unwrap();
        }
        let listening = match listener.take() {
            Some(listener) => listener,
            None => TcpListener::bind(address).await.unwrap(),
        };
        tokio::select! {
            client = listening.accept() => {
                accepted.fetch_add(1, Ordering::Relaxed);
                connections.spawn(bridge(client.unwrap().0, target.clone(), mode.clone()));
            }
            changed = mode.changed() => changed.unwrap(),
        }
        listener = Some(listening);
    }
}

/// Passes bytes between a client and the server. The client is reset unless both sides ended in good order.
async fn bridge(
    mut client: TcpStream,
    mut target: watch::Receiver<SocketAddr>,
    mut mode: watch::Receiver<Mode>,
) {
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    let broken = |mode: &Mode| matches!(mode, Mode::Reset | Mode::Refuse);
    if broken(&mode.borrow()) {
        return;
    }
    let address = *target.borrow_and_update();
    let Ok(mut server) = TcpStream::connect(address).await else { return };
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let requests = pump(from_client, to_server, mode.clone(), false);
    let answers = pump(from_server, to_client, mode.clone(), true);
    let in_order = tokio::select! {
        ended = async { tokio::try_join!(requests, answers) } => ended.is_ok(),
        _ = mode.wait_for(broken) => false,
        _ = target.changed() => false,
    };
    if in_order {
        SockRef::from(&client).set_linger(None).unwrap();
    }
}

/// What is read at once, in bytes.
const CHUNK: usize = 16 << 10;
/// How often a dripping answer drips.
const DRIP_INTERVAL: Duration = Duration::from_millis(20);

/// Passes one direction on to its end; an error where the connection is to be reset.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut mode: watch::Receiver<Mode>,
    answers: bool,
) -> std::io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    let mut passed = 0;
    // What is held back, and until when.
    let mut held = VecDeque::<(Instant, Vec<u8>)>::new();
    loop {
        let due = held.front().map(|(due, _)| *due);
        let read = tokio::select! {
            read = from.read(&mut chunk) => read?,
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                drop(mode.wait_for(|mode| *mode != Mode::Blackhole).await.unwrap());
                to.write_all(&held.pop_front().unwrap().1).await?;
                continue;
            }
        };
        let now = *mode.wait_for(|mode| *mode != Mode::Blackhole).await.unwrap();
        let bytes = &chunk[..read];
        match now {
            _ if bytes.is_empty() => {
                for (due, bytes) in held {
                    sleep_until(due).await;
                    to.write_all(&bytes).await?;
                }
                return to.shutdown().await;
            }
            Mode::Latency(delay) if answers => held.push_back((Instant::now() + delay, bytes.to_vec())),
            _ if !held.is_empty() => held.push_back((Instant::now(), bytes.to_vec())),
            Mode::Drip(bytes_a_second) if answers => {
                let intervals = 1000 / DRIP_INTERVAL.as_millis() as usize;
                for drop in bytes.chunks((bytes_a_second / intervals).max(1)) {
                    sleep(DRIP_INTERVAL).await;
                    to.write_all(drop).await?;
                }
            }
            Mode::CutAfter(limit) if answers && passed + read >= limit => {
                to.write_all(&bytes[..limit.saturating_sub(passed)]).await?;
                return Err(std::io::ErrorKind::ConnectionReset.into());
            }
            _ => to.write_all(bytes).await?,
        }
        passed += read;
    }
}

/// How a [`FakeServer`] answers a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// These entries, and this result code: 0 success, 4 size limit exceeded, 51 busy, 52 unavailable.
    Result(Vec<(String, Vec<(String, String)>)>, u8),
    /// A Notice of Disconnection with "unavailable", and the end of the connection.
    NoticeOfDisconnection,
    /// A successful result of a search that nobody sent.
    WrongMessageId,
    /// A result whose last element ends before it begins: its parent has room for half a header.
    TruncatedElement,
    /// An element that says to be longer than its parent.
    LyingLength,
    /// The start of a message of 2 GiB.
    HugeLength,
    /// 83 KB of sequences in sequences, which end a process that decodes them by recursion.
    DeepNesting,
    /// A well-formed message of a hundred sequences in sequences.
    HundredDeep,
    /// The search is to be gone on with at this URL, by a reference and by the result as well (RFC 4511, 4.5.3 and 4.1.10).
    Referral(String),
    /// An operation that LDAP does not have.
    UnknownOperation,
    /// A bind's response, which is well-formed, in answer to a search.
    OtherOperation,
    /// Nothing, for ever.
    Hang,
}

/// An LDAP server that accepts every bind, answers a read of the root DSE with an empty one, and every other search with
/// its [`Answer`].
pub struct FakeServer {
    address: SocketAddr,
    answer: watch::Sender<Answer>,
    searches: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl FakeServer {
    /// A server that answers so; over TLS where a context is given, otherwise in plain text.
    pub async fn start(answer: Answer, tls: Option<Arc<ServerContext>>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = watch::Sender::new(answer);
        let searches = Arc::new(AtomicUsize::new(0));
        let (answers, counted) = (answer.subscribe(), Arc::clone(&searches));
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, answers, counted) = (tls.clone(), answers.clone(), Arc::clone(&counted));
                connections.spawn(async move {
                    match tls {
                        None => respond(stream, answers, &counted).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => respond(stream, answers, &counted).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Self { address, answer, searches, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers the searches that come from now on so.
    pub fn set(&self, answer: Answer) {
        self.answer.send_replace(answer);
    }

    /// How many searches came so far, those of the root DSE not counted.
    pub fn searches(&self) -> usize {
        self.searches.load(Ordering::Relaxed)
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves one connection; `None` when it ends.
async fn respond<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    answer: watch::Receiver<Answer>,
    searches: &AtomicUsize,
) -> Option<()> {
    let mut guard = FrameGuard::new(Peer::Client, Limits::default());
    let mut chunk = vec![0; CHUNK];
    loop {
        while let Some(request) = guard.next().ok()? {
            let id = request.message_id;
            let bytes = match request.operation {
                0x60 => message(id, 0x61, &result(0)),
                0x63 if reads_root(&request) => root(id),
                0x63 => {
                    searches.fetch_add(1, Ordering::Relaxed);
                    let answer = answer.borrow().clone();
                    let bytes = bytes_of(&answer, id);
                    if answer == Answer::NoticeOfDisconnection {
                        stream.write_all(&bytes).await.ok()?;
                        return stream.shutdown().await.ok();
                    }
                    bytes
                }
                0x42 => return stream.shutdown().await.ok(),
                0x77 => message(id, 0x78, &result(2)),
                _ => Vec::new(),
            };
            stream.write_all(&bytes).await.ok()?;
            stream.flush().await.ok()?;
        }
        match stream.read(&mut chunk).await {
            Ok(read @ 1..) => guard.push(&chunk[..read]),
            _ => return None,
        }
    }
}

/// Whether a search is of base scope and without a base.
fn reads_root(request: &Frame) -> bool {
    request.bytes.windows(5).any(|window| window == b"\x04\x00\x0a\x01\x00")
}

fn root(id: i32) -> Vec<u8> {
    let version = ("supportedLDAPVersion".to_owned(), "3".to_owned());
    [entry(id, "", &[version]), message(id, 0x65, &result(0))].concat()
}

/// The bytes that answer a search with this message id.
fn bytes_of(answer: &Answer, id: i32) -> Vec<u8> {
    match answer {
        Answer::Result(entries, code) => {
            let entries = entries.iter().flat_map(|(dn, attributes)| entry(id, dn, attributes));
            entries.chain(message(id, 0x65, &result(*code))).collect()
        }
        Answer::NoticeOfDisconnection => {
            message(0, 0x78, &[result(52), element(0x8a, b"1.3.6.1.4.1.1466.20036")].concat())
        }
        Answer::WrongMessageId => message(id + 1000, 0x65, &result(0)),
        Answer::TruncatedElement => message(id, 0x65, &[result(0).as_slice(), b"\x04"].concat()),
        Answer::LyingLength => message(id, 0x65, b"\x0a\x01\x00\x04\x00\x04\x7fshort"),
        Answer::HugeLength => b"\x30\x84\x7f\xff\xff\xff\x02\x01\x01".to_vec(),
        Answer::DeepNesting => {
            let nested = |left: u32| [&[0x30, 0x83], &(left * 5).to_be_bytes()[1..]].concat();
            (0..16_600).rev().flat_map(nested).collect()
        }
        Answer::HundredDeep => {
            let nested = (0..100).fold(Vec::new(), |inner, _| element(0x30, &inner));
            message(id, 0x64, &[element(0x04, b"cn=deep"), nested].concat())
        }
        Answer::Referral(url) => {
            let url = element(0x04, url.as_bytes());
            let result = [result(10), element(0xa3, &url)].concat();
            [message(id, 0x73, &url), message(id, 0x65, &result)].concat()
        }
        Answer::UnknownOperation => message(id, 0x7e, &result(0)),
        Answer::OtherOperation => message(id, 0x61, &result(0)),
        Answer::Hang => Vec::new(),
    }
}

/// A SearchResultEntry.
fn entry(id: i32, dn: &str, attributes: &[(String, String)]) -> Vec<u8> {
    let attributes: Vec<u8> = attributes
        .iter()
        .flat_map(|(name, value)| {
            let values = element(0x31, &element(0x04, value.as_bytes()));
            element(0x30, &[element(0x04, name.as_bytes()), values].concat())
        })
        .collect();
    message(id, 0x64, &[element(0x04, dn.as_bytes()), element(0x30, &attributes)].concat())
}

/// An LDAPResult with this code, and neither name nor text.
fn result(code: u8) -> Vec<u8> {
    [0x0a, 0x01, code, 0x04, 0x00, 0x04, 0x00].to_vec()
}

/// An LDAPMessage.
fn message(id: i32, operation: u8, body: &[u8]) -> Vec<u8> {
    element(0x30, &[element(0x02, &id.to_be_bytes()), element(operation, body)].concat())
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x84], length.as_slice(), content].concat()
}

mod tests {
    use std::io::ErrorKind;

    use bailiwick::directory::frame::FrameError;
    use tokio::time::timeout;

    use super::*;

    const SHORTLY: Duration = Duration::from_millis(150);

    /// A server that sends back what it gets.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        address
    }

    async fn exchange(stream: &mut TcpStream, text: &str) -> std::io::Result<String> {
        stream.write_all(text.as_bytes()).await?;
        let mut answer = vec![0; text.len()];
        stream.read_exact(&mut answer).await?;
        Ok(String::from_utf8(answer).unwrap())
    }

    #[tokio::test]
    async fn a_proxy_passes_bytes_on_and_ends_with_them() {
        let proxy = FaultProxy::start(echo().await).await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(exchange(&mut stream, "hello").await.unwrap(), "hello");
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut [0; 9]).await.unwrap(), 0);
        assert_eq!(proxy.accepted(), 1);
    }

    #[tokio::test]
    async fn a_proxy_that_is_turned_to_another_server_resets_what_is_open() {
        let proxy = FaultProxy::start(echo().await).await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(exchange(&mut stream, "hello").await.unwrap(), "hello");
        proxy.turn(echo().await);
        assert_eq!(stream.read(&mut [0; 9]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(exchange(&mut stream, "hello").await.unwrap(), "hello");
    }

    #[tokio::test]
    async fn latency_and_drips_take_their_time() {
        let proxy = FaultProxy::start(echo().await).await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(exchange(&mut stream, "warm").await.unwrap(), "warm");
        for mode in [Mode::Latency(SHORTLY), Mode::Drip(50)] {
            proxy.set(mode);
            let start = Instant::now();
            assert_eq!(exchange(&mut stream, "0123456789").await.unwrap(), "0123456789");
            assert!(start.elapsed() >= SHORTLY, "{mode:?} took {:?}", start.elapsed());
        }
    }

    #[tokio::test]
    async fn reset_and_refuse_end_connections_and_ok_mends_them() {
        let proxy = FaultProxy::start(echo().await).await;
        for mode in [Mode::Reset, Mode::Refuse] {
            let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
            assert_eq!(exchange(&mut stream, "hello").await.unwrap(), "hello");
            proxy.set(mode);
            let error = stream.read(&mut [0; 9]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{mode:?}");
            let again = async { exchange(&mut TcpStream::connect(proxy.address()).await?, "x").await };
            assert!(again.await.is_err(), "{mode:?}");
            proxy.set(Mode::Ok);
            let mended = async {
                loop {
                    if let Ok(stream) = &mut TcpStream::connect(proxy.address()).await
                        && exchange(stream, "x").await.is_ok()
                    {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            };
            timeout(Duration::from_secs(10), mended).await.expect("the proxy passes bytes again");
        }
    }

    #[tokio::test]
    async fn a_black_hole_keeps_what_it_swallowed_until_it_is_none() {
        let proxy = FaultProxy::start(echo().await).await;
        proxy.set(Mode::Blackhole);
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        let mut answer = [0; 5];
        assert!(timeout(SHORTLY, stream.read_exact(&mut answer)).await.is_err());
        proxy.set(Mode::Ok);
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"hello");
    }

    #[tokio::test]
    async fn an_answer_is_cut_after_as_many_bytes_as_are_wanted() {
        let proxy = FaultProxy::start(echo().await).await;
        proxy.set(Mode::CutAfter(3));
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        let mut answer = Vec::new();
        let error = stream.read_to_end(&mut answer).await.unwrap_err();
        assert_eq!((error.kind(), answer.len() <= 3), (ErrorKind::ConnectionReset, true));
    }

    /// A search of the whole tree below `x`, with message id 7, after a bind with message id 6.
    const BIND_AND_SEARCH: &[u8] = b"\x30\x0c\x02\x01\x06\x60\x07\x02\x01\x03\x04\x00\x80\x00\
        \x30\x20\x02\x01\x07\x63\x1b\x04\x01x\x0a\x01\x02\x0a\x01\x00\x02\x01\x00\x02\x01\x00\x01\x01\x00\
        \x87\x05class\x30\x00";

    /// What the frame guard makes of an answer: id, operation and length of each frame, and how it ends.
    async fn guarded(answer: Answer) -> (Vec<(i32, u8)>, Result<(), FrameError>) {
        let server = FakeServer::start(answer, None).await;
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(BIND_AND_SEARCH).await.unwrap();
        let mut guard = FrameGuard::new(Peer::Server, Limits::default());
        let mut frames = Vec::new();
        let mut chunk = vec![0; CHUNK];
        loop {
            match guard.next() {
                Err(error) => return (frames, Err(error)),
                Ok(Some(frame)) => frames.push((frame.message_id, frame.operation)),
                Ok(None) => match timeout(SHORTLY, stream.read(&mut chunk)).await {
                    Ok(Ok(read @ 1..)) => guard.push(&chunk[..read]),
                    _ => return (frames, Ok(())),
                },
            }
        }
    }

    #[tokio::test]
    async fn the_answers_of_the_fake_server_are_the_faults_that_they_are_called() {
        let found = ("cn=a".to_owned(), vec![("cn".to_owned(), "a".to_owned())]);
        let too_large =
            FrameError::TooLarge { length: 0x7fff_ffff + 6, limit: Limits::default().max_message };
        for (answer, frames, end) in [
            (Answer::Result(vec![found.clone(), found], 4), vec![(7, 0x64), (7, 0x64), (7, 0x65)], Ok(())),
            (Answer::Result(vec![], 51), vec![(7, 0x65)], Ok(())),
            (Answer::NoticeOfDisconnection, vec![(0, 0x78)], Ok(())),
            (Answer::WrongMessageId, vec![(1007, 0x65)], Ok(())),
            (Answer::OtherOperation, vec![(7, 0x61)], Ok(())),
            (Answer::Hang, vec![], Ok(())),
            (Answer::TruncatedElement, vec![], Err(FrameError::Truncated)),
            (Answer::LyingLength, vec![], Err(FrameError::ChildOverrun)),
            (Answer::HugeLength, vec![], Err(too_large)),
            (Answer::DeepNesting, vec![], Err(FrameError::TooDeep { limit: 16 })),
            (Answer::UnknownOperation, vec![], Err(FrameError::BadOperation(0x7e))),
        ] {
            let expected = ([vec![(6, 0x61)], frames].concat(), end);
            assert_eq!(guarded(answer.clone()).await, expected, "{answer:?}");
        }
    }

    #[tokio::test]
    async fn the_fake_server_answers_for_the_root_and_counts_other_searches() {
        let server = FakeServer::start(Answer::Hang, None).await;
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        let root = b"\x30\x1f\x02\x01\x01\x63\x1a\x04\x00\x0a\x01\x00\x0a\x01\x00\x02\x01\x00\x02\x01\x00\x01\x01\x00\
            \x87\x05class\x30\x00";
        stream.write_all(root).await.unwrap();
        let read = timeout(Duration::from_secs(10), stream.read(&mut [0; 99])).await;
        assert!(read.expect("an answer").unwrap() > 0);
        assert_eq!(server.searches(), 0);
        server.set(Answer::Result(vec![], 52));
        stream.write_all(BIND_AND_SEARCH).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(&message(7, 0x65, &result(52))) {
            let read = timeout(Duration::from_secs(10), stream.read_buf(&mut answer)).await;
            assert!(read.expect("an answer").unwrap() > 0);
        }
        assert_eq!(server.searches(), 1);
    }
}
