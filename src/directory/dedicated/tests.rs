//! Streams from servers that say what they are told to say.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::conn::tests::{origin_at, soon};
use super::super::pool::Pool;
use super::super::scripted::{ABANDON, Asked, SEARCH, Scripted, done, entry, intermediate, usual};
use super::super::search::ping;
use super::*;

const SYNC_STATE: &str = "1.3.6.1.4.1.4203.1.9.1.2";
const SYNC_REQUEST: &str = "1.3.6.1.4.1.4203.1.9.1.1";
const SYNC_INFO: &str = "1.3.6.1.4.1.4203.1.9.1.4";

/// A server whose searches below `o=feed` are answered by nothing: the test does that. Others find nothing.
async fn server() -> Scripted {
    Scripted::start(|asked| {
        Some(usual(asked, &[]).unwrap_or_else(|| match asked.name.as_str() {
            "o=feed" => Vec::new(),
            _ => done(asked, 0, &[]),
        }))
    })
    .await
}

fn pool(servers: &[&Scripted], operation: Duration) -> (Arc<Pool>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("password"), "pw").unwrap();
    let origins = servers.iter().map(|server| {
        let mut origin = origin_at(server.port, folder.path());
        origin.timeouts.operation = operation;
        Arc::new(origin)
    });
    (Pool::new(origins.collect()), folder)
}

async fn follow(dedicated: &Dedicated) -> Stream {
    let control = RawControl { ctype: SYNC_REQUEST.to_owned(), crit: true, val: Some(vec![1, 2]) };
    dedicated.stream("o=feed", Scope::Subtree, "(objectClass=*)", &["1.1"], vec![control]).await.unwrap()
}

/// The request of the stream, once it has come.
async fn asked(server: &Scripted) -> Asked {
    until(|| server.asked.lock().unwrap().iter().find(|asked| asked.name == "o=feed").cloned()).await
}

async fn until<T>(mut there: impl FnMut() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(value) = there() {
                return value;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap()
}

const SHORT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_stream_brings_entries_and_responses_with_their_controls_as_they_came_until_its_end() {
    let server = server().await;
    let (pool, _folder) = pool(&[&server], SHORT);
    let dedicated = pool.dedicated(soon()).await.unwrap();
    let mut stream = follow(&dedicated).await;
    let request = asked(&server).await;
    assert_eq!(request.control(SYNC_REQUEST), Some(Some(vec![1, 2])));
    assert_eq!(request.attributes, ["1.1"]);
    // A control that recursion would not survive, and that `ldap3` would take for one of its own.
    let deep = [0x30, 0x80].repeat(40_000);
    request.send(entry(&request, "cn=a", &[("cn", "a")], &[(SYNC_STATE, &deep)]));
    let Some(Streamed::Entry { name, entry: found, controls }) = stream.next().await.unwrap() else {
        panic!()
    };
    assert_eq!((name.as_str(), found.unwrap().texts("cn").unwrap()), ("cn=a", vec!["a"]));
    assert_eq!((controls[0].ctype.as_str(), controls[0].val.as_ref()), (SYNC_STATE, Some(&deep)));

    // Longer than any operation may take.
    assert!(tokio::time::timeout(SHORT * 2, stream.next()).await.is_err());
    assert!(dedicated.is_usable());
    request.send(intermediate(&request, SYNC_INFO, b"\xff\x00"));
    let Some(Streamed::Intermediate { name, value, .. }) = stream.next().await.unwrap() else { panic!() };
    assert_eq!((name.as_deref(), value.as_deref()), (Some(SYNC_INFO), Some(&b"\xff\x00"[..])));

    request.send(done(&request, 80, &[(SYNC_STATE, b"cookie")]));
    let Some(Streamed::End { code, controls }) = stream.next().await.unwrap() else { panic!() };
    assert_eq!((code, controls[0].val.as_deref()), (ResultCode(80), Some(&b"cookie"[..])));
    assert!(stream.next().await.unwrap().is_none());
    drop(stream);
    assert_eq!(dedicated.search(ping(), soon()).await.unwrap().server, dedicated.server());
    assert_eq!(server.count(ABANDON), 0, "it came to its end");
}

#[tokio::test]
async fn a_stream_that_is_dropped_is_abandoned_and_leaves_no_message_id_behind() {
    let server = server().await;
    let (pool, _folder) = pool(&[&server], SHORT);
    let dedicated = pool.dedicated(soon()).await.unwrap();
    for round in 1..=3 {
        drop(follow(&dedicated).await);
        until(|| (server.count(ABANDON) == round).then_some(())).await;
    }
    until(|| {
        // Bind, root DSE, three streams, and an abandon for each.
        let left = format!("{:?}", dedicated.connection.link().ldap);
        left.contains("data: (8, {})").then_some(())
    })
    .await;
    assert!(dedicated.is_usable());
}

#[tokio::test]
async fn searches_run_beside_a_stream_and_a_lost_connection_ends_both() {
    let server = Scripted::start(|asked| match asked.name.as_str() {
        "o=end" => None,
        "o=feed" => Some(Vec::new()),
        _ => Some(usual(asked, &[]).unwrap_or_else(|| done(asked, 0, &[]))),
    })
    .await;
    let (pool, _folder) = pool(&[&server], SHORT);
    let dedicated = pool.dedicated(soon()).await.unwrap();
    let mut stream = follow(&dedicated).await;
    let request = asked(&server).await;
    let query = || Query::new("o=x".to_owned(), Scope::Base);
    let searches = (0..50).map(|_| dedicated.search(query(), soon()));
    for found in futures_util::future::join_all(searches).await {
        assert_eq!(found.map(|found| found.entries.len()), Ok(0));
    }
    request.send(entry(&request, "cn=a", &[], &[]));
    assert!(matches!(stream.next().await, Ok(Some(Streamed::Entry { .. }))));
    let end = dedicated.search(Query::new("o=end".to_owned(), Scope::Base), soon()).await;
    assert_eq!(end, Err(LookupError::Lost));
    assert_eq!(stream.next().await.err(), Some(LookupError::Lost));
    assert!(stream.next().await.unwrap().is_none() && !dedicated.is_usable());
}

#[tokio::test]
async fn a_reader_that_is_behind_slows_the_server_and_not_the_memory() {
    let server = server().await;
    let (pool, _folder) = pool(&[&server], Duration::from_secs(5));
    let dedicated = pool.dedicated(soon()).await.unwrap();
    let mut stream = follow(&dedicated).await;
    let request = asked(&server).await;
    let value = "x".repeat(64 << 10);
    let messages = 512;
    for number in 0..messages {
        request.send(entry(&request, &format!("cn={number}"), &[("description", &value)], &[]));
    }
    request.send(done(&request, 0, &[]));
    // The connection waits for the reader, and so does whoever else is on it.
    let shortly = std::time::Instant::now() + SHORT;
    assert_eq!(dedicated.search(ping(), shortly).await, Err(LookupError::Deadline));
    let mut entries = 0;
    while let Some(streamed) = stream.next().await.unwrap() {
        entries += usize::from(matches!(streamed, Streamed::Entry { .. }));
    }
    assert_eq!(entries, messages);
    assert!(dedicated.search(ping(), soon()).await.is_ok());
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_does_not_end_the_stream() {
    let server = server().await;
    let (pool, _folder) = pool(&[&server], SHORT);
    let dedicated = pool.dedicated(soon()).await.unwrap();
    let mut stream = follow(&dedicated).await;
    let request = asked(&server).await;
    for (name, dn) in [
        ("no name", None),
        ("<GUID=43ac139d>;<SID=S-1-5-21>;CN=a,DC=x", Some("CN=a,DC=x")),
        (
            "CN=gone\nDEL:43ac139d,CN=Deleted Objects,DC=x",
            Some("CN=gone\nDEL:43ac139d,CN=Deleted Objects,DC=x"),
        ),
        ("<GUID=43ac139d>", None),
        ("cn=b", Some("cn=b")),
    ] {
        request.send(entry(&request, name, &[], &[]));
        let Some(Streamed::Entry { name: sent, entry, .. }) = stream.next().await.unwrap() else { panic!() };
        assert_eq!(sent, name);
        assert_eq!(entry.ok().map(|entry| entry.dn.as_str().to_owned()).as_deref(), dn, "{name}");
    }
}

#[tokio::test]
async fn a_pinned_server_is_asked_first_while_it_is_usable_and_says_who_answered() {
    let (first, second) = (server().await, server().await);
    let (pool, _folder) = pool(&[&first, &second], SHORT);
    let of = |server: &Scripted| format!("ldap://127.0.0.1:{}", server.port);
    let query = || Query::new("o=x".to_owned(), Scope::Base);
    let answered = async || pool.search(&query(), soon()).await.unwrap().server;
    assert_eq!(answered().await.to_string(), of(&first));
    pool.pin(Some(ServerId::new(of(&second).into())));
    assert_eq!(answered().await.to_string(), of(&second));
    assert_eq!(pool.dedicated(soon()).await.unwrap().server().to_string(), of(&second));
    drop(second);
    assert_eq!(answered().await.to_string(), of(&first));
    pool.pin(None);
    assert_eq!(answered().await.to_string(), of(&first));
}

#[tokio::test]
async fn a_connection_of_ones_own_is_to_the_first_server_that_works_and_ends_with_the_pool() {
    let (closing, good) = (Scripted::start(|_| None).await, server().await);
    let (pool, _folder) = pool(&[&closing, &good], SHORT);
    let dedicated = pool.dedicated(soon()).await.unwrap();
    assert_eq!((good.connections.load(Ordering::SeqCst), good.count(SEARCH)), (1, 1));
    assert!(!dedicated.about().is_active_directory());
    let mut stream = follow(&dedicated).await;
    asked(&good).await;
    pool.stop();
    assert_eq!(stream.next().await.err(), Some(LookupError::Lost));
    assert_eq!(pool.dedicated(soon()).await.err(), Some(LookupError::Stopped));
}
