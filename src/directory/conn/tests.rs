//! Connections to servers that say what they are told to say.

use std::path::Path;

use super::super::persona::samples::OPEN_COMPANY;
use super::super::persona::{Fault, Outcome, Persona};
use super::super::scripted::{Asked, Scripted, done, entry, usual};
use super::super::settings::Security;
use super::*;
use crate::telemetry::Metrics;

/// A server that does this whenever it is asked whether it answers.
pub(in super::super) async fn failing(fault: Fault) -> Persona {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    fail(&server, fault);
    server
}

/// Lets a server do this from now on, whenever it is asked whether it answers.
pub(in super::super) fn fail(server: &Persona, fault: Fault) {
    server.heal();
    server.fault_where(fault, |search| search.attributes == ["1.1"]);
}

/// A result without entries.
pub(in super::super) fn result(code: u32) -> Fault {
    Fault::Result(Outcome::new(code, ""))
}

/// Connections to a server on this port, with the password in this folder.
pub(in super::super) fn origin_at(port: u16, folder: &Path) -> Origin {
    let server = Server {
        label: format!("ldap://127.0.0.1:{port}").into(),
        host: "127.0.0.1".to_owned(),
        port,
        security: Security::Plaintext,
    };
    origin_for(server, folder)
}

/// Connections to this server, with the password in this folder.
pub(in super::super) fn origin_for(server: Server, folder: &Path) -> Origin {
    let metrics = Metrics::new().unwrap().directory;
    Origin {
        ours: metrics.of(&server.label),
        server,
        tls: None,
        credentials: Some(Arc::new(Credentials::new(
            Who::Simple("cn=svc".to_owned()),
            folder.join("password"),
        ))),
        timeouts: Timeouts {
            connect: Duration::from_secs(2),
            operation: Duration::from_secs(2),
            ..Timeouts::default()
        },
        pool: PoolSettings::default(),
        flavour: Flavour::default(),
        strategy: Strategy::default(),
        metrics,
        handle: Handle::current(),
        memory: Memory::default(),
    }
}

async fn connected(server: &Persona) -> (Arc<Connection>, tempfile::TempDir) {
    connected_for(server, Duration::from_millis(100)).await
}

async fn connected_for(server: &Persona, operation: Duration) -> (Arc<Connection>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("password"), "pw").unwrap();
    let mut origin = origin_at(server.port(), folder.path());
    origin.timeouts.operation = operation;
    (Arc::new(Arc::new(origin).connect(State::default()).await.unwrap()), folder)
}

pub(in super::super) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

#[tokio::test]
async fn ten_thousand_searches_leave_no_message_id_behind() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let (connection, _folder) = connected_for(&server, Duration::from_secs(5)).await;
    for _ in 0..10_000 {
        connection.search(ping(), soon()).await.unwrap();
    }
    // The last one's id is freed after its answer was given.
    while connection.free() < PoolSettings::default().in_flight {
        tokio::task::yield_now().await;
    }
    tokio::time::timeout(Duration::from_secs(5), async {
        while !format!("{:?}", connection.link.ldap).contains("data: (10002, {})") {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{:?}", connection.link.ldap));
}

#[tokio::test]
async fn a_search_that_times_out_is_abandoned_and_the_third_in_a_row_ends_the_connection() {
    let server = failing(Fault::Hang).await;
    let (connection, _folder) = connected(&server).await;
    for _ in 0..MAX_TIMEOUTS {
        assert!(connection.is_usable());
        assert_eq!(connection.search(ping(), soon()).await, Err(LookupError::TimedOut));
    }
    assert!(!connection.is_usable());
    server.until(|seen| seen.abandons >= 2).await;
}

#[tokio::test]
async fn a_search_ends_with_its_deadline_and_that_is_not_the_servers_fault() {
    let server = failing(Fault::Hang).await;
    let (connection, _folder) = connected(&server).await;
    for _ in 0..=MAX_TIMEOUTS {
        let deadline = Instant::now() + Duration::from_millis(5);
        assert_eq!(connection.search(ping(), deadline).await, Err(LookupError::Deadline));
    }
    assert!(connection.is_usable());
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_no_search_behind() {
    let server = failing(Fault::Hang).await;
    let (connection, _folder) = connected(&server).await;
    let gone = tokio::time::timeout(Duration::from_millis(5), connection.search(ping(), soon()));
    assert!(gone.await.is_err());
    let is_free = || connection.free() == PoolSettings::default().in_flight;
    assert!(!is_free());
    server.until(|seen| seen.abandons == 1).await;
    tokio::time::timeout(Duration::from_secs(5), async {
        while !is_free() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn results_are_told_apart() {
    let server = failing(result(4)).await;
    let (connection, _folder) = connected_for(&server, Duration::from_secs(5)).await;
    let limit = connection.found(Vec::new(), Some(Cut::ByServer(ResultCode::SIZE_LIMIT)), 0);
    assert_eq!(connection.search(ping(), soon()).await, Ok(limit));
    fail(&server, result(32));
    let refused = LookupError::Refused(ResultCode(32));
    assert_eq!(connection.search(ping(), soon()).await, Err(refused));
    fail(&server, Fault::Close);
    assert_eq!(connection.search(ping(), soon()).await, Err(LookupError::Lost));
    assert!(!connection.is_usable());
}

#[tokio::test]
async fn servers_behind_one_name_are_told_apart_by_their_addresses() {
    let server = failing(result(4)).await;
    let (connection, _folder) = connected_for(&server, Duration::from_secs(5)).await;
    let (one, other) = (Arc::from("192.0.2.1:636"), Arc::from("192.0.2.2:636"));
    let of = |address| connection.origin.id().of_service(address);
    let peer = Arc::from(connection.link.peer.to_string());
    assert_eq!(connection.id(), of(&peer));
    assert!(of(&one) != of(&other) && of(&one).is_at(&of(&other)));
}

const SAMBA: &[(&str, &str)] = &[
    ("supportedCapabilities", "1.2.840.113556.1.4.800"),
    ("defaultNamingContext", "DC=ad,DC=example,DC=test"),
    ("configurationNamingContext", "CN=Configuration,DC=ad,DC=example,DC=test"),
];
const PARTITIONS: &str = "CN=Partitions,CN=Configuration,DC=ad,DC=example,DC=test";

/// Answers for the partitions of Samba's domain.
fn samba(asked: &Asked) -> Vec<u8> {
    usual(asked, SAMBA).unwrap_or_else(|| {
        assert_eq!(asked.name, PARTITIONS);
        let partition = entry(asked, "CN=AD", &[("nETBIOSName", "AD")], &[]);
        [partition, done(asked, 0, &[])].concat()
    })
}

async fn connect(server: &Scripted, change: impl FnOnce(&mut Origin)) -> Result<Connection, LookupError> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("password"), "pw").unwrap();
    let mut origin = origin_at(server.port, folder.path());
    change(&mut origin);
    Arc::new(origin).connect(State::default()).await
}

#[tokio::test]
async fn active_directory_is_recognised_and_the_names_of_its_domain_are_read_once() {
    let server = Scripted::start(|asked| Some(samba(asked))).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("password"), "pw").unwrap();
    let origin = Arc::new(origin_at(server.port, folder.path()));
    for _ in 0..3 {
        let connection = origin.connect(State::default()).await.unwrap();
        let (dns_domain, netbios_domain) = (Some("ad.example.test".to_owned()), Some("AD".to_owned()));
        assert_eq!(connection.about().kind, ServerKind::ActiveDirectory { dns_domain, netbios_domain });
    }
    assert_eq!(server.searched(), [PARTITIONS]);
}

#[tokio::test]
async fn a_server_that_hides_what_it_is_can_be_used_and_one_that_is_busy_cannot() {
    for (code, about) in [
        (50, Ok(ServerKind::Other)),
        (32, Ok(ServerKind::Other)),
        (51, Err(LookupError::Refused(ResultCode::BUSY))),
        (52, Err(LookupError::Refused(ResultCode::UNAVAILABLE))),
    ] {
        let answer = move |asked: &Asked| match asked.operation {
            super::super::scripted::SEARCH => Some(done(asked, code, &[])),
            _ => usual(asked, &[]),
        };
        let server = Scripted::start(answer).await;
        let connected = connect(&server, |_| ()).await;
        assert_eq!(connected.map(|connection| connection.about().kind.clone()), about, "{code}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_go_with_the_configuration_is_unfit() {
    let (samba, other) = (Scripted::start(|asked| Some(samba(asked))).await, Scripted::with_root(&[]).await);
    let is_unfit = async |server: &Scripted, flavour, strategy| {
        let connected =
            connect(server, |origin| (origin.flavour, origin.strategy) = (flavour, strategy)).await;
        matches!(connected.err(), Some(LookupError::Unfit(_)))
    };
    assert!(is_unfit(&samba, Flavour::OpenLdap, Strategy::Auto).await);
    assert!(!is_unfit(&samba, Flavour::Auto, Strategy::TokenGroups).await);
    assert!(is_unfit(&other, Flavour::ActiveDirectory, Strategy::Auto).await);
    assert!(is_unfit(&other, Flavour::Auto, Strategy::TokenGroups).await);
}

#[tokio::test]
async fn a_domain_controller_that_has_not_caught_up_is_left_for_others() {
    let server = Scripted::with_root(&[("isSynchronized", "FALSE")]).await;
    let refused = connect(&server, |_| ()).await.err();
    assert!(matches!(refused, Some(LookupError::Unreachable(_))), "{refused:?}");
}

#[tokio::test]
async fn a_way_to_bind_that_the_server_refuses_is_a_matter_of_the_configuration() {
    for (code, is_unfit) in [(8, true), (13, true), (7, true), (48, true), (53, false), (49, false)] {
        let answer = move |asked: &Asked| match asked.operation {
            super::super::scripted::BIND => Some(super::super::scripted::bound(asked, code, "go away")),
            _ => usual(asked, &[]),
        };
        let refused = connect(&Scripted::start(answer).await, |_| ()).await.err().unwrap();
        assert_eq!(matches!(refused, LookupError::Unfit(_)), is_unfit, "{refused:?}");
        assert!(!refused.to_string().contains("go away"), "{refused}");
    }
}
