//! A name server for tests: it knows SRV records and nothing else. Also used by `tests/it`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;

/// Records as priority, weight, port and target, by the name that they stand at (without the dot at its end).
pub type Zone = BTreeMap<String, Vec<(u16, u16, u16, String)>>;

/// A running name server.
pub struct Nameserver {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: tokio::task::JoinHandle<()>,
}

struct State {
    zone: Zone,
    is_broken: bool,
    asked: Vec<String>,
}

/// How long its answers hold, in seconds.
const TTL: u32 = 1;

impl Nameserver {
    pub async fn start() -> Self {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { zone: Zone::new(), is_broken: false, asked: Vec::new() }));
        let shared = state.clone();
        let task = tokio::spawn(async move {
            let mut query = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut query).await {
                let answer = answer(&query[..length], &mut shared.lock().unwrap());
                let _ = socket.send_to(&answer, from).await;
            }
        });
        Self { address, state, task }
    }

    /// What stands at a name from now on: priority, weight, port and target of each record.
    pub fn set(&self, name: &str, records: &[(u16, u16, u16, &str)]) {
        let records = records
            .iter()
            .map(|(priority, weight, port, target)| (*priority, *weight, *port, (*target).to_owned()));
        self.state.lock().unwrap().zone.insert(name.to_owned(), records.collect());
    }

    /// Whether it answers SERVFAIL to everything from now on.
    pub fn break_down(&self, is_broken: bool) {
        self.state.lock().unwrap().is_broken = is_broken;
    }

    /// The names that it was asked for.
    pub fn asked(&self) -> Vec<String> {
        self.state.lock().unwrap().asked.clone()
    }
}

impl Drop for Nameserver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// RFC 1035, 4.1, with one question and no compression.
fn answer(query: &[u8], state: &mut State) -> Vec<u8> {
    let mut labels = Vec::new();
    let mut at = 12;
    while query[at] != 0 {
        let length = usize::from(query[at]);
        labels.push(String::from_utf8(query[at + 1..=at + length].to_vec()).unwrap().to_ascii_lowercase());
        at += 1 + length;
    }
    let question = &query[12..at + 5];
    let name = labels.join(".");
    state.asked.push(name.clone());
    let found = state.zone.get(&name).cloned().unwrap_or_default();
    let code = match (state.is_broken, found.is_empty()) {
        (true, _) => 2,
        (_, true) => 3,
        (_, false) => 0,
    };
    let count = if code == 0 { u16::try_from(found.len()).unwrap() } else { 0 };
    let mut answer = query[..2].to_vec();
    answer.extend([0x84, 0x80 | code, 0, 1]);
    answer.extend(count.to_be_bytes());
    answer.extend([0; 4]);
    answer.extend(question);
    for (priority, weight, port, target) in found.iter().take(count.into()) {
        let mut data: Vec<u8> =
            [*priority, *weight, *port].iter().flat_map(|number| number.to_be_bytes()).collect();
        for label in target.split('.').filter(|label| !label.is_empty()) {
            data.push(u8::try_from(label.len()).unwrap());
            data.extend(label.as_bytes());
        }
        data.push(0);
        answer.extend([0xc0, 12, 0, 33, 0, 1]);
        answer.extend(TTL.to_be_bytes());
        answer.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        answer.extend(data);
    }
    answer
}
