//! The directory's client against the embedded directory, and against servers and networks that fail.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bailiwick::directory::embedded::{Access, EmbeddedDirectory};
use bailiwick::directory::ldif::Ldif;
use bailiwick::directory::{Bind, Directory, LookupError, Settings, TlsSettings};
use bailiwick::model::{Facts, Person};
use bailiwick::telemetry::Metrics;
use bailiwick::tls::{Authority, MinVersion, ServerContext};
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::faulty::{Answer, FakeServer, FaultProxy, Mode};

const LDIF: &str = "\
dn: dc=example
objectClass: domain
dc: example

dn: cn=service,dc=example
objectClass: person
cn: service
userPassword: secret

dn: uid=ada,dc=example
objectClass: inetOrgPerson
uid: ada

dn: cn=inner,dc=example
objectClass: groupOfNames
cn: inner
member: UID=ada, DC=example

dn: cn=outer,dc=example
objectClass: groupOfNames
cn: outer
member: cn=inner,dc=example
";

/// An authority, and the files that the client's settings name.
pub struct House {
    authority: Authority,
    folder: tempfile::TempDir,
}

impl House {
    pub fn new() -> Self {
        let authority = Authority::new("house").unwrap();
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("ca.pem", authority.ca_pem()), ("password", "secret")] {
            let mut file = std::fs::File::create(folder.path().join(name)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }
        Self { authority, folder }
    }

    fn tls(&self) -> Arc<ServerContext> {
        let identity = self.authority.server(&["localhost"], &[Ipv4Addr::LOCALHOST.into()]).unwrap();
        ServerContext::from_pem("ldap", &identity, None, MinVersion::Tls12).unwrap()
    }

    pub fn serve(&self, ldif: &str) -> EmbeddedDirectory {
        let ldif = Ldif::parse(ldif).unwrap();
        EmbeddedDirectory::start(&ldif, Access::Authenticated, self.tls(), &Handle::current()).unwrap()
    }

    pub fn client(&self, server: SocketAddr) -> Arc<Directory> {
        let password_file = self.folder.path().join("password");
        let bind = Bind::Simple { dn: "cn=service,dc=example".to_owned(), password_file };
        let mut settings = Settings::new(vec![format!("ldaps://{server}")], bind, "dc=example");
        settings.tls = TlsSettings::trusting(self.folder.path().join("ca.pem"));
        settings.timeouts.connect = Duration::from_millis(1500);
        settings.timeouts.operation = Duration::from_millis(1500);
        settings.timeouts.total = Duration::from_secs(4);
        Directory::new(settings, &Metrics::new().unwrap(), Handle::current()).unwrap()
    }
}

async fn resolve(directory: &Directory, user: &str) -> Result<Facts, LookupError> {
    directory.resolve(user, None, (Instant::now() + Duration::from_secs(4)).into_std()).await
}

async fn groups(directory: &Directory, user: &str) -> Vec<String> {
    let facts = resolve(directory, user).await.unwrap();
    assert!(facts.partial.is_none(), "{facts:?}");
    facts.groups.iter().map(|membership| membership.group.name.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn people_and_their_nested_groups_are_resolved_from_an_ldif_that_changes() {
    let house = House::new();
    let server = house.serve(LDIF);
    let client = house.client(server.address());
    assert_eq!(groups(&client, "ada").await, ["inner", "outer"]);
    assert_eq!(resolve(&client, "bob").await.unwrap().person, Person::NotFound);
    server.replace(&Ldif::parse(&LDIF.replace("member: cn=inner", "member: cn=nobody")).unwrap());
    assert_eq!(groups(&client, "ada").await, ["inner"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_fails_is_no_answer_and_one_that_mends_is_used_again() {
    let house = House::new();
    let server = house.serve(LDIF);
    let proxy = FaultProxy::start(server.address()).await;
    let client = house.client(proxy.address());
    assert_eq!(groups(&client, "ada").await, ["inner", "outer"]);
    for mode in [Mode::Reset, Mode::Refuse, Mode::Blackhole, Mode::CutAfter(10)] {
        proxy.set(mode);
        let failed = resolve(&client, "ada").await;
        assert!(failed.is_err(), "{mode:?}: {failed:?}");
        proxy.set(Mode::Ok);
        let patience = Instant::now() + Duration::from_secs(15);
        while resolve(&client, "ada").await.is_err() {
            assert!(Instant::now() < patience, "never recovered from {mode:?}");
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_of_a_faulty_server_is_taken_for_somebody_who_is_not_there() {
    let house = House::new();
    for answer in [
        Answer::Result(vec![], 51),
        Answer::Result(vec![], 52),
        Answer::Result(
            vec![("uid=ada,dc=example".to_owned(), vec![("uid".to_owned(), "ada".to_owned())])],
            4,
        ),
        Answer::NoticeOfDisconnection,
        Answer::WrongMessageId,
        Answer::OtherOperation,
        Answer::UnknownOperation,
        Answer::TruncatedElement,
        Answer::LyingLength,
        Answer::HugeLength,
        Answer::DeepNesting,
        Answer::Hang,
    ] {
        let server = FakeServer::start(answer.clone(), Some(house.tls())).await;
        let client = house.client(server.address());
        let resolved = resolve(&client, "ada").await;
        assert!(resolved.is_err(), "{answer:?}: {resolved:?}");
        assert!(server.searches() > 0, "{answer:?} was never asked");
    }
}
