//! The directory's client before networks that fail, servers that lie, and the embedded directory.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bailiwick::directory::embedded::{Access, EmbeddedDirectory};
use bailiwick::directory::ldif::Ldif;
use bailiwick::directory::{Attribute, Bind, Directory, LookupError, Settings};
use bailiwick::model::{Partial, Person, Values};
use bailiwick::telemetry::Metrics;
use bailiwick::tls::{Authority, ClientContext, MinVersion, ServerContext};
use tokio::runtime::Handle;

use crate::faulty::{Answer, FakeServer, FaultProxy, Mode};

const PEOPLE: &str = "dn: dc=x\nobjectClass: domain\ndc: x\n\n\
    dn: uid=ada,dc=x\nobjectClass: inetOrgPerson\nuid: ada\ncn: Ada\nsn: L\ndepartmentNumber: 7\n\n\
    dn: cn=a,dc=x\nobjectClass: groupOfNames\ncn: a\nmember: uid=ada,dc=x\n\n\
    dn: cn=b,dc=x\nobjectClass: groupOfNames\ncn: b\nmember: uid=ada,dc=x\n\n\
    dn: cn=over-b,dc=x\nobjectClass: groupOfNames\ncn: over-b\nmember: cn=b,dc=x\nmember: uid=eve,dc=x\n\n\
    dn: cn=top,dc=x\nobjectClass: groupOfNames\ncn: top\nmember: cn=over-b,dc=x\nmember: cn=top,dc=x\n";
/// More than any lookup may take with `settings`.
const PATIENCE: Duration = Duration::from_millis(2500);

struct Tls {
    server: Arc<ServerContext>,
    client: Arc<ClientContext>,
}

fn tls() -> Tls {
    let authority = Authority::new("test").unwrap();
    let identity = authority.server(&["localhost"], &["127.0.0.1".parse().unwrap()]).unwrap();
    Tls {
        server: ServerContext::from_pem("test", &identity, None, MinVersion::Tls12).unwrap(),
        client: ClientContext::from_pem("test", authority.ca_pem(), None, MinVersion::Tls12).unwrap(),
    }
}

fn settings(address: SocketAddr) -> Settings {
    let mut settings = Settings::new(vec![format!("ldaps://{address}")], Bind::Anonymous, "dc=x");
    settings.attributes.insert("department".to_owned(), Attribute { from: "departmentNumber".to_owned() });
    settings.timeouts.connect = Duration::from_millis(1000);
    settings.timeouts.operation = Duration::from_millis(1000);
    settings.timeouts.total = Duration::from_millis(2000);
    settings
}

fn open(address: SocketAddr, tls: &Tls) -> Arc<Directory> {
    let metrics = Metrics::new().unwrap().directory;
    Directory::over(settings(address), Some(tls.client.clone()), &metrics, Handle::current()).unwrap()
}

fn embedded(tls: &Tls) -> EmbeddedDirectory {
    let ldif = Ldif::parse(PEOPLE).unwrap();
    EmbeddedDirectory::start(&ldif, Access::Anonymous, tls.server.clone(), &Handle::current()).unwrap()
}

async fn recovered(directory: &Directory) {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = directory.resolve("ada", None, Instant::now() + PATIENCE).await;
        match answer {
            Ok(_) => return,
            Err(error) => assert!(Instant::now() < until, "never recovered: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_directory_is_asked_as_any_other() {
    let tls = tls();
    let server = embedded(&tls);
    let directory = open(server.address(), &tls);
    let facts = directory.resolve("ada", None, Instant::now() + PATIENCE).await.unwrap();
    let paths: Vec<_> = facts.groups.iter().map(|group| facts.path(group).join(" < ")).collect();
    assert_eq!(paths, ["a", "b", "b < over-b", "b < over-b < top"]);
    assert_eq!(facts.attributes.get("department"), Some(&Values::Known(vec!["7".to_owned()].into())));
    assert_eq!(
        directory.resolve("*", None, Instant::now() + PATIENCE).await.unwrap().person,
        Person::NotFound
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_network_does_a_lookup_ends_in_time_and_nothing_has_to_be_restarted() {
    let tls = tls();
    let server = embedded(&tls);
    let proxy = FaultProxy::start(server.address()).await;
    let directory = open(proxy.address(), &tls);
    recovered(&directory).await;
    let whole = directory.resolve("ada", None, Instant::now() + PATIENCE).await.unwrap();
    for mode in [
        Mode::Reset,
        Mode::Refuse,
        Mode::Blackhole,
        Mode::Drip(50),
        Mode::CutAfter(300),
        Mode::Latency(Duration::from_millis(1500)),
    ] {
        proxy.set(mode);
        for _ in 0..3 {
            let asked = Instant::now();
            let answer = directory.resolve("ada", None, asked + PATIENCE).await;
            assert!(asked.elapsed() < PATIENCE, "{mode:?}: {:?}", asked.elapsed());
            // Where it came through after all, it came whole.
            if let Ok(facts) = answer {
                assert_eq!((facts.groups, facts.partial), (whole.groups.clone(), None), "{mode:?}");
            }
        }
        proxy.set(Mode::Ok);
        recovered(&directory).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_server_says_it_is_never_taken_for_nobody_or_for_no_groups() {
    let tls = tls();
    for lie in [
        Answer::NoticeOfDisconnection,
        Answer::WrongMessageId,
        Answer::TruncatedElement,
        Answer::LyingLength,
        Answer::HugeLength,
        Answer::DeepNesting,
        Answer::UnknownOperation,
        Answer::OtherOperation,
        Answer::Hang,
        Answer::Result(Vec::new(), 1),
        Answer::Result(Vec::new(), 32),
        Answer::Result(Vec::new(), 51),
        Answer::Result(Vec::new(), 4),
        Answer::Result(vec![("no name".to_owned(), Vec::new())], 0),
    ] {
        let server = FakeServer::start(lie.clone(), Some(tls.server.clone())).await;
        let directory = open(server.address(), &tls);
        let asked = Instant::now();
        let answer = directory.resolve("ada", None, asked + PATIENCE).await;
        assert!(answer.is_err(), "{lie:?}: {answer:?}");
        assert!(asked.elapsed() < PATIENCE, "{lie:?}: {:?}", asked.elapsed());
        assert!(server.searches() > 0, "{lie:?}: {answer:?}");
        server.set(Answer::Result(Vec::new(), 0));
        recovered(&directory).await;
        let answer = directory.resolve("ada", None, Instant::now() + PATIENCE).await;
        assert_eq!(answer.map(|facts| facts.person), Ok(Person::NotFound), "after {lie:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_is_cut_short_is_partial_for_groups_and_ambiguous_for_people() {
    let tls = tls();
    let entry = |dn: &str, cn: &str| {
        let attributes =
            [("uid", "ada"), ("cn", cn)].map(|(name, value)| (name.to_owned(), value.to_owned()));
        (dn.to_owned(), attributes.to_vec())
    };
    let server =
        FakeServer::start(Answer::Result(vec![entry("uid=ada", "Ada")], 0), Some(tls.server.clone())).await;
    let directory = open(server.address(), &tls);
    let facts = directory.resolve("ada", None, Instant::now() + PATIENCE).await.unwrap();
    assert_eq!((facts.groups.len(), facts.partial), (0, None), "nobody is a group of themselves");
    server.set(Answer::Result(vec![entry("uid=ada", "Ada")], 4));
    let answer = directory.resolve("ada", None, Instant::now() + PATIENCE).await;
    assert!(matches!(answer, Err(LookupError::Refused(_))), "there may be another one: {answer:?}");
    server.set(Answer::Result(vec![entry("uid=ada", "Ada"), entry("uid=ada,o=2", "Ada")], 4));
    let facts = directory.resolve("ada", None, Instant::now() + PATIENCE).await.unwrap();
    assert_eq!(facts.person, Person::Ambiguous);
    assert_ne!(facts.partial, Some(Partial::ServerLimit), "ambiguous says it already");
}
