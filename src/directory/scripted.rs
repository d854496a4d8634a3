//! A server on loopback that answers each request by a function of the test's: for what one connection says and hears.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use ldap3::asn1::{PL, StructureTag};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{self, UnboundedSender};

use super::frame::{Frame, FrameGuard, Limits, Peer};

pub(super) const BIND: u8 = 0x60;
pub(super) const SEARCH: u8 = 0x63;
pub(super) const ABANDON: u8 = 0x50;
pub(super) const UNBIND: u8 = 0x42;

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// Of which connection, counted from 0.
    pub(super) connection: u32,
    pub(super) id: i32,
    pub(super) operation: u8,
    /// The base of a search, or the name of a bind.
    pub(super) name: String,
    pub(super) attributes: Vec<String>,
    pub(super) controls: Vec<(String, Option<Vec<u8>>)>,
    to: UnboundedSender<Vec<u8>>,
}

/// A running server.
pub(super) struct Scripted {
    pub(super) port: u16,
    pub(super) connections: Arc<AtomicU32>,
    /// All requests so far.
    pub(super) asked: Arc<Mutex<Vec<Asked>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Scripted {
    /// A server that answers by this function, with nothing where that is empty, and closes where there is `None`.
    pub(super) async fn start(script: impl Fn(&Asked) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connections, asked) = (Arc::<AtomicU32>::default(), Arc::<Mutex<Vec<Asked>>>::default());
        let (script, counter, log) = (Arc::new(script), connections.clone(), asked.clone());
        let task = tokio::spawn(async move {
            let mut clients = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let connection = counter.fetch_add(1, Ordering::SeqCst);
                let (script, log) = (script.clone(), log.clone());
                clients.spawn(async move {
                    let script = move |asked: Asked| {
                        let answer = script(&asked);
                        log.lock().unwrap().push(asked);
                        answer
                    };
                    serve(stream, connection, script).await
                });
            }
        });
        Self { port, connections, asked, task }
    }

    /// A server with this root DSE, that accepts every bind and finds nothing.
    pub(super) async fn with_root(root: &'static [(&'static str, &'static str)]) -> Self {
        Self::start(move |asked| Some(usual(asked, root).unwrap_or_else(|| done(asked, 0, &[])))).await
    }

    /// How many requests of this kind it got.
    pub(super) fn count(&self, operation: u8) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| asked.operation == operation).count()
    }

    /// The bases of the searches that it got, but for those of the root DSE.
    pub(super) fn searched(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        let searches = asked.iter().filter(|asked| asked.operation == SEARCH && !asked.name.is_empty());
        searches.map(|asked| asked.name.clone()).collect()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Asked {
    /// Sends something to the client, now or later.
    pub(super) fn send(&self, bytes: Vec<u8>) {
        let _ = self.to.send(bytes);
    }

    pub(super) fn control(&self, oid: &str) -> Option<Option<Vec<u8>>> {
        self.controls.iter().find(|(known, _)| known == oid).map(|(_, value)| value.clone())
    }
}

/// What any server answers: binds succeed, and this is the root DSE.
pub(super) fn usual(asked: &Asked, root: &[(&str, &str)]) -> Option<Vec<u8>> {
    match asked.operation {
        BIND => Some(bound(asked, 0, "")),
        SEARCH if asked.name.is_empty() => Some([entry(asked, "", root, &[]), done(asked, 0, &[])].concat()),
        SEARCH => None,
        _ => Some(Vec::new()),
    }
}

pub(super) fn bound(asked: &Asked, code: u8, text: &str) -> Vec<u8> {
    message(
        asked.id,
        0x61,
        &[&[0x0a, 0x01, code, 0x04, 0x00], &*element(0x04, text.as_bytes())].concat(),
        &[],
    )
}

/// The end of a search with a diagnostic message.
pub(super) fn refused(asked: &Asked, code: u8, text: &str) -> Vec<u8> {
    let body = [&[0x0a, 0x01, code, 0x04, 0x00], &*element(0x04, text.as_bytes())].concat();
    message(asked.id, 0x65, &body, &[])
}

pub(super) fn done(asked: &Asked, code: u8, controls: &[(&str, &[u8])]) -> Vec<u8> {
    message(asked.id, 0x65, &[0x0a, 0x01, code, 0x04, 0x00, 0x04, 0x00], controls)
}

pub(super) fn entry(
    asked: &Asked,
    dn: &str,
    attributes: &[(&str, &str)],
    controls: &[(&str, &[u8])],
) -> Vec<u8> {
    let attributes: Vec<u8> = attributes
        .iter()
        .flat_map(|(name, value)| {
            let values = element(0x31, &element(0x04, value.as_bytes()));
            element(0x30, &[element(0x04, name.as_bytes()), values].concat())
        })
        .collect();
    let body = [element(0x04, dn.as_bytes()), element(0x30, &attributes)].concat();
    message(asked.id, 0x64, &body, controls)
}

pub(super) fn intermediate(asked: &Asked, name: &str, value: &[u8]) -> Vec<u8> {
    message(asked.id, 0x79, &[element(0x80, name.as_bytes()), element(0x81, value)].concat(), &[])
}

/// The value of a paged results control (RFC 2696).
pub(super) fn page(size: u8, cookie: &[u8]) -> Vec<u8> {
    element(0x30, &[&[0x02, 0x01, size], &*element(0x04, cookie)].concat())
}

pub(super) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x84], length.as_slice(), content].concat()
}

fn message(id: i32, operation: u8, body: &[u8], controls: &[(&str, &[u8])]) -> Vec<u8> {
    let mut parts = [element(0x02, &id.to_be_bytes()), element(operation, body)].concat();
    if !controls.is_empty() {
        let control = |(oid, value): &(&str, &[u8])| {
            element(0x30, &[element(0x04, oid.as_bytes()), element(0x04, value)].concat())
        };
        parts.extend(element(0xa0, &controls.iter().flat_map(control).collect::<Vec<_>>()));
    }
    element(0x30, &parts)
}

async fn serve(stream: TcpStream, connection: u32, script: impl Fn(Asked) -> Option<Vec<u8>>) -> Option<()> {
    let (mut from, mut into) = stream.into_split();
    let (to, mut answers) = mpsc::unbounded_channel::<Vec<u8>>();
    let writing = async {
        while let Some(bytes) = answers.recv().await {
            into.write_all(&bytes).await.ok()?;
        }
        Some(())
    };
    let reading = async {
        let mut guard = FrameGuard::new(Peer::Client, Limits::default());
        let mut chunk = vec![0; 16 << 10];
        loop {
            while let Some(frame) = guard.next().ok()? {
                to.send(script(read(&frame, connection, to.clone()))?).ok()?;
            }
            match from.read(&mut chunk).await {
                Ok(read @ 1..) => guard.push(&chunk[..read]),
                _ => return None::<()>,
            }
        }
    };
    tokio::select! { ended = writing => ended, ended = reading => ended }
}

fn read(frame: &Frame, connection: u32, to: UnboundedSender<Vec<u8>>) -> Asked {
    let mut parser = ldap3_parser(&frame.bytes).into_iter();
    let (_id, operation) = (parser.next(), parser.next().unwrap());
    let controls = parser.next().map(constructed).unwrap_or_default();
    let controls = controls.into_iter().map(|control| {
        let mut parts = constructed(control).into_iter();
        let oid = text(parts.next().unwrap());
        (oid, parts.find(|part| part.id == 4).map(bytes))
    });
    let (mut name, mut attributes) = (String::new(), Vec::new());
    match (frame.operation, operation.payload) {
        (SEARCH, PL::C(parts)) => {
            name = text(parts[0].clone());
            attributes = constructed(parts[7].clone()).into_iter().map(text).collect();
        }
        (BIND, PL::C(parts)) => name = text(parts[1].clone()),
        _ => {}
    }
    let (id, operation) = (frame.message_id, frame.operation);
    Asked { connection, id, operation, name, attributes, controls: controls.collect(), to }
}

fn ldap3_parser(bytes: &[u8]) -> Vec<StructureTag> {
    constructed(ldap3::asn1::parse_tag(bytes).unwrap().1)
}

fn constructed(tag: StructureTag) -> Vec<StructureTag> {
    tag.expect_constructed().unwrap()
}

fn bytes(tag: StructureTag) -> Vec<u8> {
    tag.expect_primitive().unwrap()
}

fn text(tag: StructureTag) -> String {
    String::from_utf8(bytes(tag)).unwrap()
}
