use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::directory::frame::{FrameError, FrameGuard, Limits, Peer};

/// A bind with the message id 1, and searches of the whole tree for `uid=ada` with the ids 2 and so on, in raw bytes.
const BIND: &[u8] = b"\x30\x13\x02\x01\x01\x60\x0e\x02\x01\x03\x04\x06cn=svc\x80\x01x";
const BOUND: &[u8] = b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00";

fn search_for_ada(id: u8) -> Vec<u8> {
    let body = b"\x04\x12dc=corp,dc=example\x0a\x01\x02\x0a\x01\x00\x02\x01\x00\x02\x01\x00\x01\x01\x00\
        \xa3\x0a\x04\x03uid\x04\x03ada\x30\x04\x04\x02cn";
    let length = u8::try_from(body.len()).unwrap();
    [&[0x30, length + 5, 0x02, 0x01, id, 0x63, length], body.as_slice()].concat()
}

/// Everything that a server answers to one search, until it closes or says no more; `Err` where it resets.
async fn raw(fault: Fault) -> Result<Vec<u8>, std::io::ErrorKind> {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    server.fault(fault);
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(&[BIND, &search_for_ada(2)].concat()).await.unwrap();
    let mut bound = vec![0; BOUND.len()];
    stream.read_exact(&mut bound).await.unwrap();
    assert_eq!(bound, BOUND);
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest).await {
        Ok(_) => Ok(rest),
        Err(error) => Err(error.kind()),
    }
}

/// What the frame guard makes of it: the operations with their message ids, and why it reads no further.
fn frames(bytes: &[u8]) -> (Vec<(i32, u8)>, Option<FrameError>) {
    let mut guard = FrameGuard::new(Peer::Server, Limits::default());
    guard.push(bytes);
    let mut frames = Vec::new();
    loop {
        match guard.next() {
            Ok(Some(frame)) => frames.push((frame.message_id, frame.operation)),
            Ok(None) => return (frames, None),
            Err(error) => return (frames, Some(error)),
        }
    }
}

#[tokio::test]
async fn bytes_are_wrong_in_each_way() {
    let whole = raw(Fault::CutWith(Outcome::new(0, ""))).await.unwrap();
    assert_eq!(frames(&whole), (vec![(2, 0x64), (2, 0x65)], None));
    assert_eq!(
        frames(&raw(Fault::WrongMessageId).await.unwrap()).0,
        [(100_000_002, 0x64), (100_000_002, 0x65)]
    );
    assert_eq!(frames(&raw(Fault::Truncated).await.unwrap()).1, Some(FrameError::ChildOverrun));
    assert!(matches!(frames(&raw(Fault::TooLong).await.unwrap()).1, Some(FrameError::TooLarge { .. })));
    assert_eq!(frames(&raw(Fault::Nested(100)).await.unwrap()).1, Some(FrameError::TooDeep { limit: 16 }));
    assert_eq!(frames(&raw(Fault::OtherKind(Outcome::new(12, ""))).await.unwrap()).0, [(2, 0x78)]);
    assert_eq!(raw(Fault::Bytes(b"HTTP/1.1".to_vec())).await.unwrap(), b"HTTP/1.1");
}

#[tokio::test]
async fn connections_end_in_each_way() {
    assert_eq!(raw(Fault::Close).await.unwrap(), b"");
    assert_eq!(raw(Fault::Reset).await, Err(std::io::ErrorKind::ConnectionReset));
    let half = raw(Fault::CloseInEntry).await.unwrap();
    assert!(half.len() > 10 && frames(&half) == (Vec::new(), None), "{half:x?}");
    for notice in [Notice::Proper, Notice::Misplaced] {
        let bytes = raw(Fault::Notice(52, notice)).await.unwrap();
        let mut guard = FrameGuard::new(Peer::Server, Limits::default());
        guard.push(&bytes);
        assert_eq!(guard.next().unwrap().unwrap().disconnection_notice(), Some(52), "{notice:?}");
    }
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    server.fault(Fault::ResetInEntry);
    let mut ldap = client(&server).await;
    assert!(ldap.search(ROOT, Scope::Subtree, "(uid=ada)", vec!["cn"]).await.is_err());
}

#[tokio::test]
async fn all_connections_can_be_ended() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let endings: [fn(&Persona); 3] = [
        |server| server.close_all(),
        |server| server.reset_all(),
        |server| server.disconnect_all(52, Notice::Misplaced),
    ];
    for end in endings {
        let ldap = client(&server).await;
        end(&server);
        server.until(|seen| seen.open == 0).await;
        while !ldap.clone().is_closed() {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(server.seen().connections, 3);
}

#[tokio::test]
async fn results_befall_the_searches_that_are_meant() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let mut ldap = client(&server).await;
    server.fault_next(2, Fault::Result(Outcome::new(51, "busy")));
    server.fault_where(Fault::Result(Outcome::new(50, "")), |search| search.filter == "(uid=bob)");
    for (filter, code) in [("(uid=ada)", 51), ("(uid=bob)", 51), ("(uid=ada)", 0), ("(uid=bob)", 50)] {
        assert_eq!(search(&mut ldap, ROOT, Scope::Subtree, filter, &["1.1"]).await.code(), code, "{filter}");
    }
    assert_eq!(read(&mut ldap, "", &["objectClass"]).await.len(), 1, "the root DSE is left out");
    server.heal();
    server.fault(Fault::CutWith(Outcome::new(3, "")));
    let cut = search(&mut ldap, ROOT, Scope::Subtree, "(uid=bob)", &["1.1"]).await;
    assert_eq!((cut.names(), cut.code()), (vec!["uid=bob"], 3));
    server.heal();
    server.fault(Fault::Delay(Duration::from_millis(20)));
    let started = std::time::Instant::now();
    assert_eq!(below(&mut ldap, "(uid=bob)").await, ["uid=bob"]);
    assert!(started.elapsed() >= Duration::from_millis(20));
}

#[tokio::test]
async fn a_search_that_hangs_can_be_abandoned() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let mut ldap = client(&server).await;
    server.fault(Fault::Hang);
    let mut stream = feed(&mut ldap, ROOT, "(uid=ada)", &["1.1"]).await;
    server.until(|seen| seen.in_flight == 1).await;
    let id = stream.ldap_handle().last_id();
    ldap.abandon(id).await.unwrap();
    server.until(|seen| seen.in_flight == 0 && seen.abandons == 1).await;
}

#[tokio::test]
async fn references_and_referrals_lead_back_to_where_they_came_from() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let mut ldap = client(&server).await;
    let here = format!("{}/{ROOT}??sub", server.url());
    server.fault(Fault::ReferenceToItself);
    let found = search(&mut ldap, ROOT, Scope::Subtree, "(uid=ada)", &["1.1"]).await;
    assert_eq!((found.entries.len(), found.code(), found.result.refs), (1, 0, vec![here.clone()]));
    server.heal();
    server.fault(Fault::ReferralToItself);
    let found = search(&mut ldap, ROOT, Scope::Subtree, "(uid=ada)", &["1.1"]).await;
    assert_eq!((found.entries.len(), found.code(), found.result.refs), (0, 10, vec![here]));
}
