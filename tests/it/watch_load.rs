//! Watches under load: the real front end over HTTPS, many who watch, and writers that change, delete and make objects.
//! Whatever the pace, each who watches must see each change once, in its order. The everyday tests run it small, and
//! `benches/watches.rs` at its size.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bailiwick::tls::{Authority, ClientContext, MinVersion};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpSocket;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// Longer than anything takes that does not hang.
const PATIENCE: Duration = Duration::from_secs(120);
/// The last object that is made: who has seen it has seen all.
const END: &str = "zz-the-end";

/// How much is done.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub watchers: usize,
    pub objects: usize,
    pub changes: usize,
    /// Changes a second; 0: as fast as it goes.
    pub rate: usize,
    pub writers: usize,
    /// How much text an object has, in bytes.
    pub bytes: usize,
}

/// The front end as a process, and its folder.
pub struct Server {
    process: Child,
    address: std::net::SocketAddr,
    tls: Arc<ClientContext>,
    _folder: tempfile::TempDir,
}

/// What is known of each object: its version, by name.
type State = BTreeMap<String, u64>;

/// A change as somebody saw it: its version, its kind, the name.
type Change = (u64, u8, String);

impl Server {
    pub fn start(binary: &str) -> Self {
        let authority = Authority::new("load").unwrap();
        let own = authority.server(&["localhost"], &["127.0.0.1".parse().unwrap()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("server.pem", &own.cert_pem);
        write("server.key", &own.key_pem);
        write("tokens.csv", "token-0,user-0,0\ntoken-1,user-1,1\ntoken-2,user-2,2\ntoken-3,user-3,3\n");
        write(
            "frontend.yaml",
            "apiVersion: bailiwick.dev/v1alpha1\nkind: FrontendConfiguration\n\
             server: {listen: \"127.0.0.1:0\", tls: {certFile: server.pem, keyFile: server.key}}\n\
             authentication: {tokenFile: tokens.csv}\nauthorization: {modes: [AlwaysAllow]}\n\
             log: {format: json, level: info}\n",
        );
        let (process, address) = serve(binary, folder.path());
        let tls = ClientContext::from_pem("test", authority.ca_pem(), None, MinVersion::Tls12).unwrap();
        Self { process, address, tls, _folder: folder }
    }

    /// A connection; `window` is how much its socket takes that nobody reads, in bytes.
    async fn connect(&self, window: Option<u32>) -> SendRequest<Full<Bytes>> {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(window) = window {
            socket.set_recv_buffer_size(window).unwrap();
        }
        let stream =
            self.tls.connect("127.0.0.1", socket.connect(self.address).await.unwrap()).await.unwrap();
        let (requests, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        requests
    }

    /// Resident memory at present and at most, in MiB, and processor time in seconds.
    pub fn costs(&self) -> (usize, usize, f64) {
        let read =
            |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", self.process.id())).unwrap();
        let status = read("status");
        let of = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            line.split_whitespace().next().unwrap().parse::<usize>().unwrap() >> 10
        };
        let stat = read("stat");
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        // utime and stime, proc_pid_stat(5), in the hundredths of a second that Linux shows.
        let ticks = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
        (of("VmRSS:"), of("VmHWM:"), ticks / 100.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

fn serve(binary: &str, folder: &Path) -> (Child, std::net::SocketAddr) {
    let mut process = Command::new(binary)
        .args(["frontend", "--config"])
        .arg(folder.join("frontend.yaml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
        let line: Value = serde_json::from_str(&line).ok()?;
        line["address"].as_str()?.parse().ok()
    });
    // What it says from here on is read, so that it does not wait for that.
    std::thread::spawn(move || lines.for_each(drop));
    (process, address.expect("it serves"))
}

async fn ask(
    requests: &mut SendRequest<Full<Bytes>>,
    user: usize,
    method: Method,
    target: &str,
    body: Option<Value>,
) -> hyper::Response<Incoming> {
    let body = Full::new(body.map(|body| body.to_string().into()).unwrap_or_default());
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header("host", "127.0.0.1")
        .header("authorization", format!("Bearer token-{}", user % 4))
        .header("content-type", "application/json")
        .body(body)
        .unwrap();
    requests.ready().await.unwrap();
    requests.send_request(request).await.unwrap()
}

async fn done(
    requests: &mut SendRequest<Full<Bytes>>,
    method: Method,
    target: &str,
    body: Option<Value>,
) -> Value {
    let answer = ask(requests, 0, method, target, body).await;
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(status.is_success(), "{target}: {status} {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}

fn version_of(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

/// What there is, and the version of the list.
async fn list(server: &Server) -> (State, u64) {
    let mut requests = server.connect(None).await;
    let list = done(&mut requests, Method::GET, MAPS, None).await;
    let named = |item: &Value| (item["metadata"]["name"].as_str().unwrap().to_owned(), version_of(item));
    (list["items"].as_array().unwrap().iter().map(named).collect(), version_of(&list))
}

fn map_of(name: &str, began: Instant, text: &str) -> Value {
    let at = began.elapsed().as_micros().to_string();
    json!({"metadata": {"name": name}, "data": {"at": at, "text": text}})
}

/// Writer `number` changes its own objects, each in its turn; each tenth time it deletes one and makes it anew. Gives
/// the versions that it was answered.
async fn write(server: Arc<Server>, load: Load, number: usize, began: Instant) -> Vec<u64> {
    let mut requests = server.connect(None).await;
    let text = "x".repeat(load.bytes);
    let own = load.objects / load.writers;
    let mut versions = Vec::new();
    let mut count = 0;
    let changes = load.changes / load.writers;
    while count < changes {
        if load.rate > 0 {
            let due = Duration::from_secs_f64((count * load.writers) as f64 / load.rate as f64);
            tokio::time::sleep_until((began + due).into()).await;
        }
        let name = format!("o-{}", number * own + count % own);
        let one = format!("{MAPS}/{name}");
        if count % 10 == 9 && count + 1 < changes {
            done(&mut requests, Method::DELETE, &one, None).await;
            let made = done(&mut requests, Method::POST, MAPS, Some(map_of(&name, began, &text))).await;
            versions.push(version_of(&made));
            count += 2;
        } else {
            let changed = done(&mut requests, Method::PUT, &one, Some(map_of(&name, began, &text))).await;
            versions.push(version_of(&changed));
            count += 1;
        }
    }
    versions
}

/// Who watches: what they saw, how often they had to resume, and how old changes were when they came, in microseconds.
#[derive(Debug, Default)]
struct Seen {
    changes: Vec<Change>,
    resumed: usize,
    delays: Vec<u32>,
}

fn part<'a>(line: &'a str, before: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(before)?;
    rest.split_once('"').map(|(value, _)| value)
}

impl Seen {
    /// Whether this was the last line.
    fn take(&mut self, line: &str, began: Instant) -> bool {
        let kind = part(line, "\"type\":\"").unwrap();
        assert_ne!(kind, "ERROR", "{line}");
        let name = part(line, "\"name\":\"").unwrap().to_owned();
        let version = part(line, "\"resourceVersion\":\"").unwrap().parse().unwrap();
        if let (false, Some(at)) = (kind == "DELETED", part(line, "\"at\":\"")) {
            let age = began.elapsed().as_micros().saturating_sub(at.parse().unwrap());
            self.delays.push(u32::try_from(age).unwrap());
        }
        let is_end = name == END;
        self.changes.push((version, kind.as_bytes()[0], name));
        is_end
    }

    /// Reads a watch to its end, or to the end of all.
    async fn read(&mut self, mut body: Incoming, began: Instant) -> bool {
        let mut rest = Vec::new();
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            rest.extend_from_slice(&data);
            let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else { continue };
            let whole: Vec<u8> = rest.drain(..=end).collect();
            if std::str::from_utf8(&whole).unwrap().lines().any(|line| self.take(line, began)) {
                return true;
            }
        }
        false
    }
}

async fn begin(server: &Server, user: usize, since: u64, window: Option<u32>) -> Incoming {
    let mut requests = server.connect(window).await;
    let target = format!("{MAPS}?watch=true&resourceVersion={since}&timeoutSeconds=600");
    let answer = ask(&mut requests, user, Method::GET, &target, None).await;
    assert_eq!(answer.status().as_u16(), 200);
    answer.into_body()
}

/// Goes on from a watch until all is seen, resuming where it was cut off.
async fn follow(server: Arc<Server>, user: usize, since: u64, body: Incoming, began: Instant) -> Seen {
    let mut seen = Seen::default();
    let mut body = Some(body);
    while !seen.read(body.take().unwrap(), began).await {
        seen.resumed += 1;
        let last = seen.changes.last().map_or(since, |(version, ..)| *version);
        body = Some(begin(&server, user, last, None).await);
    }
    seen
}

/// What a run was like. Everything that must hold was asserted when there is one.
#[derive(Debug)]
pub struct Report {
    /// Changes a second.
    pub rate: f64,
    pub resumed: usize,
    /// How old changes were when they were seen, in milliseconds: the median, 99 of 100, the oldest.
    pub delays: [f64; 3],
    /// What the slow one got before it was cut off.
    pub slow: usize,
}

/// Makes the objects, lets everybody watch, changes, and holds what each saw to what was done. One more reads nothing
/// while the others do; it must be cut off, and see the rest when it resumes.
pub async fn run(server: &Arc<Server>, load: Load) -> Report {
    let mut requests = server.connect(None).await;
    let text = "x".repeat(load.bytes);
    let before = Instant::now();
    for number in 0..load.objects {
        done(&mut requests, Method::POST, MAPS, Some(map_of(&format!("o-{number}"), before, &text))).await;
    }
    let (mut state, since) = list(server).await;
    let mut bodies = Vec::new();
    for user in 0..load.watchers {
        bodies.push(begin(server, user, since, None).await);
    }
    let unread = begin(server, 0, since, Some(4 << 10)).await;
    let began = Instant::now();
    let watching: Vec<_> = bodies
        .into_iter()
        .enumerate()
        .map(|(user, body)| tokio::spawn(follow(Arc::clone(server), user, since, body, began)))
        .collect();
    let writing: Vec<_> = (0..load.writers)
        .map(|number| tokio::spawn(write(Arc::clone(server), load, number, began)))
        .collect();
    let mut versions = Vec::new();
    for writer in writing {
        versions.extend(writer.await.unwrap());
    }
    let rate = load.changes as f64 / began.elapsed().as_secs_f64();
    versions.push(version_of(&done(&mut requests, Method::POST, MAPS, Some(map_of(END, began, ""))).await));
    versions.sort_unstable();

    let mut all: Option<Vec<Change>> = None;
    let (mut resumed, mut delays) = (0, Vec::new());
    for watcher in watching {
        let seen = tokio::time::timeout(PATIENCE, watcher).await.expect("everybody sees the end").unwrap();
        resumed += seen.resumed;
        delays.extend(seen.delays);
        match &all {
            None => all = Some(seen.changes),
            Some(all) => assert!(*all == seen.changes, "two who watch have seen different things"),
        }
    }
    let all = all.unwrap();
    assert_eq!(all.len(), load.changes + 1, "each change is seen once");
    assert!(all.is_sorted_by(|one, next| one.0 < next.0), "and in its order");
    let stored = all.iter().filter(|(_, kind, _)| *kind != b'D').map(|(version, ..)| *version);
    assert_eq!(stored.collect::<Vec<u64>>(), versions, "what was seen is what the writers were answered");
    for (version, kind, name) in &all {
        let had = if *kind == b'D' { state.remove(name) } else { state.insert(name.clone(), *version) };
        assert_eq!(had.is_some(), *kind != b'A', "{name} at {version}");
    }
    assert_eq!(state, list(server).await.0, "what was seen leads to what there is");

    let mut late = Seen::default();
    assert!(!late.read(unread, began).await, "who reads nothing is cut off");
    let slow = late.changes.len();
    let last = late.changes.last().map_or(since, |(version, ..)| *version);
    let rest = begin(server, 0, last, None).await;
    assert!(late.read(rest, began).await, "and sees the rest when they resume");
    assert!(late.changes == all, "of which nothing is lost");

    delays.sort_unstable();
    let at = |share: f64| f64::from(delays[((delays.len() - 1) as f64 * share) as usize]) / 1000.0;
    Report { rate, resumed, delays: [at(0.5), at(0.99), at(1.0)], slow }
}
