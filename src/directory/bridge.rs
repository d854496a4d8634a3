//! The bridge between the network and `ldap3`: both directions pass the frame guard, and an answer passes only where
//! it is one to the question with its message id. `ldap3` panics where a search is answered by anything but search
//! responses.
//!
//! `ldap3` hands results on through channels without a bound. On a connection whose searches go on for as long as it
//! lives, the bridge therefore counts what was passed on and is not read yet, and reads no more from the server while
//! that is [`MAX_UNREAD`]; TCP then slows the server.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::frame::{Frame, FrameError, FrameGuard, Limits, Peer};
use super::link::Wire;

/// How long a server may take no bytes before it counts as gone.
const WRITE_STALL: Duration = Duration::from_secs(5);
/// How much may have been passed on and not be read yet, in bytes, on a connection that is paced. One message, and what was
/// read from the network with it, may come on top.
pub(super) const MAX_UNREAD: usize = 4 << 20;
/// What is read at once, in bytes.
const CHUNK: usize = 16 * 1024;
/// UnbindRequest (RFC 4511, 4.3) with a message id that no operation reaches.
const UNBIND: [u8; 10] = *b"\x30\x08\x02\x04\x7f\xff\xff\xff\x42\x00";

const BIND_REQUEST: u8 = 0x60;
const SEARCH_REQUEST: u8 = 0x63;
const ABANDON_REQUEST: u8 = 0x50;
const EXTENDED_REQUEST: u8 = 0x77;
const BIND_RESPONSE: u8 = 0x61;
const SEARCH_ENTRY: u8 = 0x64;
const SEARCH_DONE: u8 = 0x65;
const SEARCH_REFERENCE: u8 = 0x73;
const EXTENDED_RESPONSE: u8 = 0x78;
const INTERMEDIATE_RESPONSE: u8 = 0x79;

/// What became of a connection.
#[derive(Debug, Default)]
pub(super) struct State {
    ended: AtomicBool,
    /// Tells the bridge not to go on.
    killed: Notify,
    draining: AtomicBool,
    /// `None` where the reader is never behind: it is a task that does nothing else, and has a deadline.
    unread: Option<Unread>,
}

/// What was passed on and is not read yet.
#[derive(Debug, Default)]
struct Unread {
    sizes: Mutex<Sizes>,
    room: Notify,
}

/// The sizes of unread messages, in their order, by the message id of their search.
#[derive(Debug, Default)]
struct Sizes {
    by_search: HashMap<i32, VecDeque<usize>>,
    total: usize,
}

impl State {
    /// The state of a connection on which no more than [`MAX_UNREAD`] is unread: whoever searches must say what was read.
    pub(super) fn paced() -> Self {
        Self { unread: Some(Unread::default()), ..Self::default() }
    }

    /// Whether new operations may be sent.
    pub(super) fn is_open(&self) -> bool {
        !self.ended.load(Ordering::Acquire) && !self.draining.load(Ordering::Acquire)
    }

    /// Nothing more comes.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Ends the connection at once, without taking leave of the server.
    pub(super) fn kill(&self) {
        self.end();
        self.killed.notify_one();
    }

    /// Whether what was read has to be said.
    pub(super) fn is_paced(&self) -> bool {
        self.unread.is_some()
    }

    fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// The oldest unread message of this search was read.
    pub(super) fn was_read(&self, search: i32) {
        let Some(unread) = &self.unread else { return };
        let mut sizes = unread.sizes();
        if let Some(size) = sizes.by_search.get_mut(&search).and_then(VecDeque::pop_front) {
            sizes.total -= size;
            unread.room.notify_one();
        }
    }

    /// Nobody reads this search any more.
    pub(super) fn is_over(&self, search: i32) {
        let Some(unread) = &self.unread else { return };
        let mut sizes = unread.sizes();
        if let Some(left) = sizes.by_search.remove(&search) {
            sizes.total -= left.into_iter().sum::<usize>();
            unread.room.notify_one();
        }
    }

    fn begins(&self, search: i32) {
        if let Some(unread) = &self.unread {
            unread.sizes().by_search.insert(search, VecDeque::new());
        }
    }

    fn is_passed_on(&self, search: i32, size: usize) {
        let Some(unread) = &self.unread else { return };
        let mut sizes = unread.sizes();
        if let Some(messages) = sizes.by_search.get_mut(&search) {
            messages.push_back(size);
            sizes.total += size;
        }
    }

    /// Waits until less than [`MAX_UNREAD`] is unread.
    async fn room(&self) {
        let Some(unread) = &self.unread else { return };
        while unread.sizes().total >= MAX_UNREAD {
            unread.room.notified().await;
        }
    }
}

impl Unread {
    fn sizes(&self) -> MutexGuard<'_, Sizes> {
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a bridge ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("we are done with it")]
    Done,
    #[error("the server closed it")]
    Closed,
    #[error("the server takes no bytes")]
    Stalled,
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("what the server sent is no acceptable LDAP: {0}")]
    Frame(#[from] FrameError),
    #[error("the server answered operation {operation:#04x} to a request of another kind")]
    Mismatch { operation: u8 },
}

/// What an outstanding message id stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Bind,
    Search,
    Extended,
}

type Pending = Mutex<HashMap<i32, Asked>>;

/// Carries messages until either side is done.
pub(super) async fn run(server: Arc<str>, wire: Box<dyn Wire>, local: UnixStream, state: Arc<State>) {
    let (from_server, to_server) = tokio::io::split(wire);
    let (from_client, to_client) = local.into_split();
    let pending = Pending::default();
    let end = tokio::select! {
        end = requests(from_client, to_server, &pending, &state) => end,
        end = responses(from_server, to_client, &pending, &state, &server) => end,
        () = state.killed.notified() => Err(End::Done),
    };
    state.end();
    match end {
        Err(end @ (End::Done | End::Closed)) => {
            tracing::debug!(%server, reason = %end, "directory connection ended")
        }
        Err(end) => tracing::warn!(%server, reason = %end, "directory connection ended"),
        Ok(never) => match never {},
    }
}

async fn requests(
    mut client: OwnedReadHalf,
    mut server: WriteHalf<Box<dyn Wire>>,
    pending: &Pending,
    state: &State,
) -> Result<std::convert::Infallible, End> {
    let mut guard = FrameGuard::new(Peer::Client, Limits::default());
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = client.read(&mut chunk).await?;
        if read == 0 {
            let parting = async {
                server.write_all(&UNBIND).await?;
                server.shutdown().await
            };
            // Whether the server hears it makes no difference any more.
            let _ = timeout(WRITE_STALL, parting).await;
            return Err(End::Done);
        }
        guard.push(chunk.get(..read).unwrap_or_default());
        while let Some(frame) = guard.next()? {
            asked(pending, state, &frame);
            timeout(WRITE_STALL, server.write_all(&frame.bytes)).await.map_err(|_| End::Stalled)??;
        }
        timeout(WRITE_STALL, server.flush()).await.map_err(|_| End::Stalled)??;
    }
}

async fn responses(
    mut server: ReadHalf<Box<dyn Wire>>,
    mut client: OwnedWriteHalf,
    pending: &Pending,
    state: &State,
    label: &str,
) -> Result<std::convert::Infallible, End> {
    let mut guard = FrameGuard::new(Peer::Server, Limits::default());
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = server.read(&mut chunk).await?;
        if read == 0 {
            return Err(End::Closed);
        }
        guard.push(chunk.get(..read).unwrap_or_default());
        while let Some(frame) = guard.next()? {
            if frame.message_id == 0 {
                let code = frame.disconnection_notice();
                tracing::warn!(server = label, code, "the directory server is about to disconnect");
                state.drain();
            } else if is_wanted(pending, &frame)? {
                state.is_passed_on(frame.message_id, frame.bytes.len());
                client.write_all(&frame.bytes).await?;
                state.room().await;
            }
        }
    }
}

fn asked(pending: &Pending, state: &State, frame: &Frame) {
    let mut pending = pending.lock().unwrap_or_else(PoisonError::into_inner);
    let asked = match frame.operation {
        BIND_REQUEST => Asked::Bind,
        SEARCH_REQUEST => {
            state.begins(frame.message_id);
            Asked::Search
        }
        EXTENDED_REQUEST => Asked::Extended,
        ABANDON_REQUEST => {
            if let Some(abandoned) = frame.abandoned() {
                pending.remove(&abandoned);
            }
            return;
        }
        _ => return,
    };
    pending.insert(frame.message_id, asked);
}

/// Whether an answer is to be passed on. One to a message id that is not outstanding is dropped: it answers what was
/// abandoned.
fn is_wanted(pending: &Pending, frame: &Frame) -> Result<bool, End> {
    let mut pending = pending.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(asked) = pending.get(&frame.message_id) else { return Ok(false) };
    let is_last = match (asked, frame.operation) {
        (Asked::Search, SEARCH_ENTRY | SEARCH_REFERENCE | INTERMEDIATE_RESPONSE) => false,
        (Asked::Search, SEARCH_DONE)
        | (Asked::Bind, BIND_RESPONSE)
        | (Asked::Extended, EXTENDED_RESPONSE) => true,
        (_, operation) => return Err(End::Mismatch { operation }),
    };
    if is_last {
        pending.remove(&frame.message_id);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    const SEARCH: &[u8] = b"\x30\x25\x02\x01\x02\x63\x20\x04\x00\x0a\x01\x00\x0a\x01\x00\x02\x01\x00\x02\x01\x00\x01\x01\x00\x87\x0bobjectClass\x30\x00";
    const DONE: &[u8] = b"\x30\x0c\x02\x01\x02\x65\x07\x0a\x01\x00\x04\x00\x04\x00";
    const BOUND: &[u8] = b"\x30\x0c\x02\x01\x02\x61\x07\x0a\x01\x00\x04\x00\x04\x00";
    const STRANGER: &[u8] = b"\x30\x0c\x02\x01\x09\x65\x07\x0a\x01\x00\x04\x00\x04\x00";
    const NOTICE: &[u8] =
        b"\x30\x24\x02\x01\x00\x78\x1f\x0a\x01\x34\x04\x00\x04\x00\x8a\x161.3.6.1.4.1.1466.20036";

    fn bridged() -> (UnixStream, DuplexStream, Arc<State>) {
        bridged_with(State::default())
    }

    fn bridged_with(state: State) -> (UnixStream, DuplexStream, Arc<State>) {
        let (wire, server) = tokio::io::duplex(CHUNK);
        let (client, local) = UnixStream::pair().unwrap();
        let state = Arc::new(state);
        tokio::spawn(run("test".into(), Box::new(wire), local, state.clone()));
        (client, server, state)
    }

    async fn ask(client: &mut UnixStream, server: &mut DuplexStream) {
        let mut search = SEARCH.to_vec();
        search[1] = u8::try_from(SEARCH.len() - 2).unwrap();
        search[6] = u8::try_from(SEARCH.len() - 7).unwrap();
        search[25] = 11;
        client.write_all(&search).await.unwrap();
        let mut seen = vec![0; search.len()];
        server.read_exact(&mut seen).await.unwrap();
        assert_eq!(seen, search);
    }

    #[tokio::test]
    async fn answers_pass_and_strangers_do_not() {
        let (mut client, mut server, state) = bridged();
        ask(&mut client, &mut server).await;
        server.write_all(STRANGER).await.unwrap();
        server.write_all(DONE).await.unwrap();
        let mut seen = vec![0; DONE.len()];
        client.read_exact(&mut seen).await.unwrap();
        assert_eq!(seen, DONE);
        assert!(state.is_open());
    }

    #[tokio::test]
    async fn what_comes_for_an_abandoned_search_is_dropped() {
        let (mut client, mut server, state) = bridged();
        ask(&mut client, &mut server).await;
        let abandon = b"\x30\x06\x02\x01\x03\x50\x01\x02";
        client.write_all(abandon).await.unwrap();
        let mut seen = [0; 8];
        server.read_exact(&mut seen).await.unwrap();
        assert_eq!(&seen, abandon);
        server.write_all(DONE).await.unwrap();
        server.write_all(NOTICE).await.unwrap();
        drop(server);
        let mut passed = Vec::new();
        client.read_to_end(&mut passed).await.unwrap();
        assert!(passed.is_empty() && !state.is_open(), "{passed:?}");
    }

    /// A SearchResultEntry of the search with message id 2, without attributes, with a name of so many bytes.
    fn entry(name: u32) -> Vec<u8> {
        let header = |tag: u8, length: u32| [&[tag, 0x84], &length.to_be_bytes()[..]].concat();
        let body = [header(0x04, name), vec![b'a'; name as usize], vec![0x30, 0]].concat();
        let body_length = u32::try_from(body.len()).unwrap();
        [header(0x30, body_length + 9), vec![2, 1, 2], header(0x64, body_length), body].concat()
    }

    #[tokio::test]
    async fn a_reader_that_is_behind_stops_the_reading_from_the_server_until_it_has_caught_up() {
        const SIZE: u32 = 256 << 10;
        let (mut client, mut server, state) = bridged_with(State::paced());
        ask(&mut client, &mut server).await;
        let message = entry(SIZE);
        let total = MAX_UNREAD / message.len() + 8;
        let length = message.len();
        let sending = tokio::spawn(async move {
            for _ in 0..total {
                server.write_all(&message).await.unwrap();
            }
            server
        });
        // Whoever sits behind `ldap3`'s channels: takes all bytes, and reads no message.
        let mut taken = vec![0; length];
        let most = MAX_UNREAD.div_ceil(length);
        for _ in 0..most {
            client.read_exact(&mut taken).await.unwrap();
        }
        let more = tokio::time::timeout(Duration::from_millis(100), client.read_exact(&mut taken)).await;
        assert!(more.is_err(), "passed on beyond what may be unread");
        assert!(!sending.is_finished());
        state.was_read(2);
        client.read_exact(&mut taken).await.unwrap();
        state.is_over(2);
        for _ in most + 1..total {
            client.read_exact(&mut taken).await.unwrap();
        }
        sending.await.unwrap();
        assert!(state.is_open());
    }

    #[tokio::test]
    async fn a_search_that_is_answered_by_something_else_ends_the_connection() {
        let (mut client, mut server, state) = bridged();
        ask(&mut client, &mut server).await;
        server.write_all(BOUND).await.unwrap();
        assert_eq!(client.read(&mut [0; 64]).await.unwrap(), 0);
        assert!(!state.is_open());
    }

    #[tokio::test]
    async fn garbage_ends_the_connection() {
        let (mut client, mut server, state) = bridged();
        server.write_all(b"HTTP/1.1 400 Bad Request\r\n").await.unwrap();
        assert_eq!(client.read(&mut [0; 64]).await.unwrap(), 0);
        assert!(!state.is_open());
    }

    #[tokio::test]
    async fn after_a_notice_of_disconnection_no_operation_is_sent() {
        let (mut client, mut server, state) = bridged();
        ask(&mut client, &mut server).await;
        server.write_all(NOTICE).await.unwrap();
        server.write_all(DONE).await.unwrap();
        let mut seen = vec![0; DONE.len()];
        client.read_exact(&mut seen).await.unwrap();
        assert_eq!(
            seen, DONE,
            "what was asked before is still answered, and the notice does not reach the client"
        );
        assert!(!state.is_open());
    }

    #[tokio::test]
    async fn the_server_hears_an_unbind_when_the_client_is_done() {
        let (client, mut server, _state) = bridged();
        drop(client);
        let mut seen = Vec::new();
        server.read_to_end(&mut seen).await.unwrap();
        assert_eq!(seen, UNBIND);
    }
}
