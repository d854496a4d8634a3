use lber::structure::StructureTag;
use ldap3::controls::{Control, ControlType, EntryState, MakeCritical, RefreshMode, SyncRequest, SyncState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::slapd_bytes::*;
use super::*;
use crate::directory::embedded::message::{context, encode, enumerated, integer, message, octets, sequence};
use crate::directory::frame::{FrameGuard, Limits, Peer};
use crate::directory::persona::controls;
use crate::directory::persona::reply::constructed;
use lber::common::TagClass;

/// What slapd was loaded with.
const LDIF: &str = r"
dn: dc=example,dc=test
objectClass: domain
dc: example
entryUUID: 00000000-0000-4000-8000-000000000001

dn: ou=groups,dc=example,dc=test
objectClass: organizationalUnit
ou: groups
entryUUID: 00000000-0000-4000-8000-000000000002

dn: ou=people,dc=example,dc=test
objectClass: organizationalUnit
ou: people
entryUUID: 00000000-0000-4000-8000-000000000003

dn: cn=g,ou=groups,dc=example,dc=test
objectClass: groupOfNames
cn: g
member: uid=ada,ou=people,dc=example,dc=test
entryUUID: 00000000-0000-4000-8000-000000000004

dn: uid=ada,ou=people,dc=example,dc=test
objectClass: inetOrgPerson
uid: ada
entryUUID: 00000000-0000-4000-8000-000000000005
";
const ZED: &str = "dn: uid=zed,ou=people,dc=example,dc=test\nobjectClass: inetOrgPerson\nuid: zed\n\
                   entryUUID: 00000000-0000-4000-8000-000000000006\n";
const BASE: &str = "dc=example,dc=test";
const GROUP: &str = "cn=g,ou=groups,dc=example,dc=test";

/// A consumer that reads bytes.
struct Raw {
    stream: TcpStream,
    guard: FrameGuard,
}

impl Raw {
    async fn new(server: &Persona) -> Self {
        let stream = TcpStream::connect(server.address()).await.unwrap();
        Self { stream, guard: FrameGuard::new(Peer::Server, Limits::default()) }
    }

    /// Asks for refreshAndPersist, or once only.
    async fn ask(&mut self, id: i32, base: &str, filter: StructureTag, stays: bool, cookie: Option<&str>) {
        let mut sync = vec![enumerated(if stays { 3 } else { 1 })];
        sync.extend(cookie.map(octets));
        let truth = |truth: bool| controls::boolean(truth);
        let parts = vec![
            octets(base),
            enumerated(2),
            enumerated(0),
            integer(0),
            integer(0),
            truth(false),
            filter,
            sequence(vec![octets("1.1")]),
        ];
        let mut whole = message(id, 3, parts);
        whole.push(constructed(
            TagClass::Context,
            0,
            vec![controls::control(controls::SYNC, sequence(sync))],
        ));
        let mut bytes = bytes::BytesMut::new();
        encode(&mut bytes, sequence(whole));
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// What has come is what slapd sent, given the stamps of our own changes.
    async fn gets(&mut self, captured: &[u8], stamps: &[String]) {
        let mut expected = captured.to_vec();
        for (number, stamp) in stamps.iter().enumerate() {
            let placeholder = format!("{:.<40}", format!("<change {number}>"));
            assert_eq!(placeholder.len(), stamp.len());
            while let Some(at) = expected.windows(40).position(|window| window == placeholder.as_bytes()) {
                expected[at..at + 40].copy_from_slice(stamp.as_bytes());
            }
        }
        let mut came = vec![0; expected.len()];
        let reading = tokio::time::timeout(Duration::from_secs(10), self.stream.read_exact(&mut came));
        assert!(reading.await.is_ok(), "{came:x?}");
        assert!(came == expected, "{}\n{}", came.escape_ascii(), expected.escape_ascii());
        self.guard.push(&came);
        while self.guard.next().unwrap().is_some() {}
    }
}

fn all() -> StructureTag {
    context(7, "objectClass")
}

fn cookie(stamp: &str) -> String {
    format!("rid=000,csn={stamp}")
}

/// Does what was done to slapd, and gives the stamps before it and after each change.
struct Changes<'a> {
    server: &'a Persona,
    stamps: Vec<String>,
}

impl<'a> Changes<'a> {
    fn new(server: &'a Persona) -> Self {
        Self { server, stamps: vec![server.change(|content| content.csn())] }
    }

    fn make(&mut self, change: impl FnOnce(&mut Content)) {
        self.stamps.push(self.server.change(|content| {
            change(content);
            content.csn()
        }));
    }

    fn last(&self) -> String {
        cookie(self.stamps.last().unwrap())
    }
}

#[tokio::test]
async fn the_bytes_are_slapds() {
    let server = Persona::open_ldap(LDIF).await;
    let mut changes = Changes::new(&server);
    let first = changes.last();
    let mut staying = Raw::new(&server).await;
    staying.ask(2, BASE, all(), true, Some(&first)).await;
    staying.gets(UP_TO_DATE, &[]).await;
    changes.make(|content| content.add_value(GROUP, "member", "uid=bob,ou=people,dc=example,dc=test"));
    staying.gets(MEMBER_ADDED, &changes.stamps).await;
    changes.make(|content| content.add(ZED));
    staying.gets(ADDED, &changes.stamps).await;
    let zed = ["uid=zed,ou=people,dc=example,dc=test", "uid=zed2,ou=people,dc=example,dc=test"];
    changes.make(|content| content.rename(zed[0], zed[1]));
    staying.gets(RENAMED, &changes.stamps).await;
    changes.make(|content| content.delete(zed[1]));
    staying.gets(DELETED, &changes.stamps).await;

    let mut looking = Raw::new(&server).await;
    let filter = constructed(TagClass::Context, 3, vec![octets("cn"), octets("g")]);
    looking.ask(3, "ou=groups,dc=example,dc=test", filter, true, Some(&changes.last())).await;
    looking
        .gets(
            &UP_TO_DATE
                .iter()
                .enumerate()
                .map(|(at, octet)| if at == 4 { 3 } else { *octet })
                .collect::<Vec<_>>(),
            &[],
        )
        .await;
    let renamed = "cn=g2,ou=groups,dc=example,dc=test";
    changes.make(|content| content.rename(GROUP, renamed));
    looking.gets(NOT_FOUND_ANY_MORE, &changes.stamps).await;
    changes.make(|content| content.rename(renamed, GROUP));
    looking.gets(FOUND, &changes.stamps).await;
    changes.make(|content| content.set("uid=ada,ou=people,dc=example,dc=test", "sn", &["Q"]));
    looking.gets(ELSEWHERE, &changes.stamps).await;

    let last = changes.last();
    for (stays, cookie, captured) in [
        (false, Some(&first), POLL_SINCE_0),
        (false, Some(&last), POLL_UP_TO_DATE),
        (false, None, POLL_ALL),
        (true, Some(&first), STAY_SINCE_0),
        (true, None, STAY_ALL),
        (false, Some(&cookie("20990101000000.000000Z#000000#000#000000")), FUTURE),
    ] {
        let mut consumer = Raw::new(&server).await;
        consumer.ask(2, BASE, all(), stays, cookie.map(String::as_str)).await;
        consumer.gets(captured, &changes.stamps).await;
    }
}

#[tokio::test]
async fn who_comes_from_before_the_log_is_told_what_is_there_or_refused() {
    let server = Persona::open_ldap(LDIF).await;
    let mut changes = Changes::new(&server);
    let first = changes.last();
    changes.make(|content| content.set("uid=ada,ou=people,dc=example,dc=test", "sn", &["1"]));
    for _ in 0..2 {
        changes.make(|content| content.add(ZED));
        changes.make(|content| content.delete("uid=zed,ou=people,dc=example,dc=test"));
    }
    server.change(Content::cut_log);
    for (stays, captured) in [(false, POLL_BEYOND_THE_LOG), (true, STAY_BEYOND_THE_LOG)] {
        let mut consumer = Raw::new(&server).await;
        consumer.ask(2, BASE, all(), stays, Some(&first)).await;
        consumer.gets(captured, &changes.stamps).await;
    }
    server.set(|manner| manner.refuses_stale_cookies = true);
    let mut consumer = Raw::new(&server).await;
    consumer.ask(2, BASE, all(), true, Some(&first)).await;
    consumer.gets(STALE, &[]).await;
}

#[tokio::test]
async fn a_client_hears_of_changes_and_may_be_cut_by_a_limit() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let mut ldap = client(&server).await;
    let request = |server: &Persona| SyncRequest {
        mode: RefreshMode::RefreshAndPersist,
        cookie: Some(cookie(&server.change(|content| content.csn())).into_bytes()),
        reload_hint: false,
    };
    ldap.with_controls(request(&server).critical());
    let mut stream = feed(&mut ldap, "dc=corp,dc=example", "(objectClass=*)", &["member"]).await;
    assert!(next(&mut stream).await.is_intermediate());
    assert_eq!(server.seen().feeds, 1);
    server.change(|content| content.remove_value(CN_LEAF, "member", UID_ADA));
    let entry = next(&mut stream).await;
    let Some(Control(Some(ControlType::SyncState), raw)) = entry.1.first() else { panic!("{entry:?}") };
    let state: SyncState = raw.parse();
    assert!(matches!(state.state, EntryState::Modify));
    assert_eq!(state.entry_uuid, uuid_octets(&server.change(|content| content.uuid(CN_LEAF))));
    assert_eq!(SearchEntry::construct(entry).dn, CN_LEAF);
    server.end_feeds(Outcome::new(4096, ""));
    assert!(stream.next().await.unwrap().is_none());
    assert_eq!(stream.finish().await.rc, 4096);
    server.set(|manner| manner.size_limit = Some(3));
    ldap.with_controls(SyncRequest { cookie: None, ..request(&server) }.critical());
    let cut = search(&mut ldap, "dc=corp,dc=example", Scope::Subtree, "(objectClass=*)", &["1.1"]).await;
    assert_eq!((cut.entries.len(), cut.code()), (3, 4));
}
