//! Directories for tests: entries in memory, and a server on loopback that says what it is told to say.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::LookupError;
use super::conn::{Cut, Found, Query, ServerId};
use super::entry::Entry;
use super::frame::{FrameGuard, Limits, Peer};
use super::resolve::Search;
use crate::model::Dn;

/// Entries, searched as a directory would: by the equalities in a filter, any of which is enough.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) entries: Vec<Entry>,
    /// The server's own limit on results.
    pub(super) limit: Option<usize>,
    pub(super) asked: Mutex<Vec<Query>>,
}

impl Memory {
    pub(super) fn new(entries: &[(&str, &[(&str, &str)])]) -> Self {
        let entries = entries.iter().map(|(dn, attributes)| Entry::of(dn, attributes)).collect();
        Self { entries, ..Self::default() }
    }

    fn matches(entry: &Entry, filter: &str) -> bool {
        filter.split(['(', ')']).filter_map(|part| part.split_once('=')).any(|(attribute, value)| {
            let value = unescape(value);
            let same = |found: &&str| {
                found.eq_ignore_ascii_case(&value)
                    || matches!((Dn::parse(found), Dn::parse(&value)), (Ok(found), Ok(value)) if found == value)
            };
            attribute != "objectClass" && entry.texts(&attribute.to_ascii_lowercase()).unwrap().iter().any(same)
        })
    }
}

fn unescape(value: &str) -> String {
    ["\\28", "\\29", "\\2a", "\\5c"]
        .iter()
        .zip(["(", ")", "*", "\\"])
        .fold(value.to_owned(), |text, (code, c)| text.replace(code, c))
}

impl Search for Memory {
    async fn search(&self, query: Query) -> Result<Found, LookupError> {
        let found = self.entries.iter().filter(|entry| Self::matches(entry, &query.filter));
        let mut entries: Vec<Entry> = found.cloned().collect();
        let mut cut = None;
        if entries.len() > query.limit {
            entries.truncate(query.limit);
            cut = Some(Cut::ByUs);
        }
        if let Some(limit) = self.limit.filter(|limit| entries.len() > *limit) {
            entries.truncate(limit);
            cut = Some(Cut::ByServer(super::ResultCode::SIZE_LIMIT));
        }
        self.asked.lock().unwrap().push(query);
        Ok(Found { entries, cut, server: ServerId::new("memory".into()) })
    }
}

/// What a [`Server`] does with a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// Finds nothing, successfully.
    Empty,
    /// Never answers.
    Silent,
    /// Answers with this result code.
    Result(u8),
    /// Closes the connection.
    Close,
}

/// A server that accepts every bind.
pub(super) struct Server {
    pub(super) port: u16,
    pub(super) manner: Arc<Mutex<Manner>>,
    pub(super) connections: Arc<AtomicU32>,
    pub(super) abandoned: Arc<AtomicU32>,
    searches: Arc<AtomicU32>,
}

impl Server {
    pub(super) async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            manner: Arc::new(Mutex::new(manner)),
            connections: Arc::default(),
            abandoned: Arc::default(),
            searches: Arc::default(),
        };
        let (manner, connections) = (server.manner.clone(), server.connections.clone());
        let (abandoned, searches) = (server.abandoned.clone(), server.searches.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, manner.clone(), abandoned.clone(), searches.clone()));
            }
        });
        server
    }

    /// How many searches came, but for the first one of each connection.
    pub(super) fn searches(&self) -> u32 {
        self.searches.load(Ordering::SeqCst)
    }
}

async fn serve(
    mut stream: TcpStream,
    manner: Arc<Mutex<Manner>>,
    abandoned: Arc<AtomicU32>,
    searches: Arc<AtomicU32>,
) {
    let mut guard = FrameGuard::new(Peer::Client, Limits::default());
    let mut chunk = [0; 4096];
    let mut is_first_search = true;
    while let Ok(read @ 1..) = stream.read(&mut chunk).await {
        guard.push(&chunk[..read]);
        while let Some(frame) = guard.next().unwrap() {
            let manner = *manner.lock().unwrap();
            if frame.operation == 0x63 && !is_first_search {
                searches.fetch_add(1, Ordering::SeqCst);
            }
            let (operation, code) = match (frame.operation, manner) {
                (0x60, _) => (0x61, 0),
                // The root DSE, read at each connect.
                (0x63, _) if std::mem::take(&mut is_first_search) => (0x65, 0),
                (0x63, Manner::Empty) => (0x65, 0),
                (0x63, Manner::Result(code)) => (0x65, code),
                (0x63, Manner::Silent) => continue,
                (0x63, Manner::Close) => return,
                (0x50, _) => {
                    abandoned.fetch_add(1, Ordering::SeqCst);
                    continue;
                }
                _ => continue,
            };
            let mut answer = vec![0x30, 0x0f, 0x02, 0x04];
            answer.extend(frame.message_id.to_be_bytes());
            answer.extend([operation, 0x07, 0x0a, 0x01, code, 0x04, 0x00, 0x04, 0x00]);
            stream.write_all(&answer).await.unwrap();
        }
    }
}
