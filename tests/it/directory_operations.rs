//! How the directory's client keeps its connections to a real OpenLDAP: its own credentials, and who it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bailiwick::directory::{Bind, CredentialsFault, Directory, LookupError};
use bailiwick::model::Person;

use crate::directory::{group, open, patient, person, resolve, soon, until, user_dn};
use crate::nameserver::Nameserver;
use crate::slapd::{self, SERVICE, Slapd};

fn binds(slapd: &Slapd) -> usize {
    slapd.logged(&["BIND dn=", SERVICE, "method=128"]).len()
}

fn set_password(slapd: &Slapd, password: &str) {
    let change =
        format!("dn: {SERVICE}\nchangetype: modify\nreplace: userPassword\nuserPassword: {password}\n");
    slapd.modify(&change);
}

/// Lookups that go on until they are stopped; gives how many succeeded, and the first error.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    clients: Vec<tokio::task::JoinHandle<Result<(), LookupError>>>,
}

impl Load {
    fn start(directory: &Arc<Directory>) -> Self {
        let (stop, done) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let client = || {
            let (directory, stop, done) = (directory.clone(), stop.clone(), done.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    resolve(&directory, "alice").await?;
                    done.fetch_add(1, Ordering::SeqCst);
                }
                Ok(())
            })
        };
        let clients = (0..4).map(|_| client()).collect();
        Self { stop, done, clients }
    }

    fn done(&self) -> usize {
        self.done.load(Ordering::SeqCst)
    }

    async fn stop(self) -> Result<(), LookupError> {
        self.stop.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.await.unwrap()?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_changes_under_load_costs_no_lookup() {
    let slapd = Slapd::start(&(person("alice") + &group("devs", &[&user_dn("alice")])), "");
    // As a mounted Secret has it: links, of which one is swapped.
    let mount = |version: &str, password: &str| {
        let folder = slapd.path(version);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("password"), password).unwrap();
        std::os::unix::fs::symlink(version, slapd.path("..next")).unwrap();
        std::fs::rename(slapd.path("..next"), slapd.path("..data")).unwrap();
    };
    mount("..1", "svcpw");
    std::os::unix::fs::symlink("..data/password", slapd.path("mounted")).unwrap();
    let mut settings = patient(slapd.settings());
    settings.bind = Bind::Simple { dn: SERVICE.to_owned(), password_file: slapd.path("mounted") };
    let (directory, _) = open(settings);
    until("both connections are there", async || binds(&slapd) == 2).await;
    let load = Load::start(&directory);
    for (version, password) in [("..2", "second"), ("..3", "third")] {
        let (before, done) = (binds(&slapd), load.done());
        set_password(&slapd, password);
        mount(version, password);
        until("both connections are renewed", async || binds(&slapd) == before + 2).await;
        until("lookups go on", async || load.done() > done + 50).await;
    }
    assert_eq!(load.stop().await, Ok(()));
    assert!(slapd.logged(&["RESULT tag=97", "err=49"]).is_empty(), "no bind was refused");
    until("the old connections end", async || slapd.logged(&["UNBIND"]).len() >= 4 + 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_that_is_refused_is_sent_once_and_leaves_the_old_connections_serving() {
    let slapd = Slapd::start(&person("alice"), "");
    let (directory, metrics) = open(patient(slapd.settings()));
    until("both connections are there", async || binds(&slapd) == 2).await;
    let load = Load::start(&directory);
    std::fs::write(slapd.path("password"), "wrong").unwrap();
    until("it was tried", async || binds(&slapd) == 3).await;
    let done = load.done();
    until("lookups go on", async || load.done() > done + 100).await;
    // Long enough for the pool to look after its connections once or twice.
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    assert_eq!(load.stop().await, Ok(()));
    assert_eq!((binds(&slapd), slapd.logged(&["RESULT tag=97", "err=49"]).len()), (3, 1));
    assert_eq!(metrics.directory.up.with_label_values(&[&slapd.ldaps_url()]).get(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_sent_to_one_server_of_several() {
    let (first, second) = (Slapd::start(&person("alice"), ""), Slapd::start(&person("alice"), ""));
    let bundle =
        [&first, &second].map(|slapd| std::fs::read_to_string(slapd.path("ca.pem")).unwrap()).concat();
    std::fs::write(first.path("both.pem"), bundle).unwrap();
    std::fs::write(first.path("password"), "wrong").unwrap();
    let mut settings = patient(first.settings());
    settings.tls.files.ca_file = Some(first.path("both.pem"));
    settings.urls.push(second.ldaps_url());
    let (directory, _) = open(settings);
    let refused = Err(LookupError::Credentials(CredentialsFault::Unsaid));
    for answer in futures_util::future::join_all((0..20).map(|_| resolve(&directory, "alice"))).await {
        assert_eq!(answer.map(|_| ()), refused);
    }
    assert_eq!(directory.probe(soon()).await, refused);
    assert_eq!(binds(&first) + binds(&second), 1);
    std::fs::write(first.path("password"), "svcpw").unwrap();
    assert!(resolve(&directory, "alice").await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_says_who_we_are_and_a_new_one_renews_the_connections() {
    let global = format!("TLSVerifyClient demand\nauthz-regexp \"^cn=the-service$\" \"{SERVICE}\"");
    let slapd = Slapd::start_with(&person("alice"), &global, "");
    let certificate = |name| slapd::client_certificate(&slapd.path(""), name, "the-service");
    certificate("client");
    for start_tls in [false, true] {
        let mut settings = patient(slapd.settings());
        settings.urls = vec![if start_tls { slapd.ldap_url() } else { slapd.ldaps_url() }];
        settings.tls.start_tls = start_tls;
        settings.tls.files.cert_file = Some(slapd.path("client.pem"));
        settings.tls.files.key_file = Some(slapd.path("client.key"));
        settings.bind = Bind::External;
        let (directory, _) = open(settings);
        let binds = || slapd.logged(&["BIND dn=", SERVICE, "mech=EXTERNAL"]).len();
        let before = binds();
        until("both connections are there", async || binds() == before + 2).await;
        let facts = resolve(&directory, "alice").await.unwrap();
        assert!(matches!(facts.person, Person::Found { .. }), "only the service may read: {facts:?}");
        certificate("next");
        for extension in ["key", "pem"] {
            let [next, current] = ["next", "client"].map(|name| slapd.path(&format!("{name}.{extension}")));
            std::fs::rename(next, current).unwrap();
        }
        until("both connections are renewed", async || binds() == before + 4).await;
        assert!(resolve(&directory, "alice").await.is_ok());
    }
    assert_eq!(slapd.logged(&["method=128"]).len(), 0, "no password was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bind_by_certificate_that_the_server_does_not_offer_is_a_matter_of_the_configuration() {
    // It asks for no certificate, so that TLS has none to say who we are.
    let slapd = Slapd::start(&person("alice"), "");
    slapd::client_certificate(&slapd.path(""), "client", "the-service");
    let mut settings = patient(slapd.settings());
    settings.tls.files.cert_file = Some(slapd.path("client.pem"));
    settings.tls.files.key_file = Some(slapd.path("client.key"));
    settings.bind = Bind::External;
    let (directory, _) = open(settings);
    let refused = directory.probe(soon()).await.unwrap_err();
    assert!(matches!(refused, LookupError::Unfit(_)), "{refused:?}");
    assert!(resolve(&directory, "alice").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_are_found_by_srv_records_and_only_below_the_domain_unless_the_certificate_is_named() {
    let slapd = Slapd::start(&person("alice"), "");
    let nameserver = Nameserver::start().await;
    let port = |url: String| url.rsplit_once(':').unwrap().1.parse().unwrap();
    nameserver.set("_ldap._tcp.example.test", &[(0, 0, port(slapd.ldap_url()), "127.0.0.1")]);
    nameserver.set("_ldaps._tcp.example.test", &[(0, 0, port(slapd.ldaps_url()), "127.0.0.1")]);
    let mut settings = patient(slapd.settings());
    settings.urls.clear();
    settings.srv = Some("example.test".to_owned());
    settings.nameservers = vec![nameserver.address];
    let (directory, _) = open(settings.clone());
    let Err(LookupError::Unreachable(refused)) = resolve(&directory, "alice").await else { panic!() };
    assert_eq!(&*refused.reason, "its SRV records name no server below the domain");
    assert_eq!(binds(&slapd), 0, "nobody was sent there");
    for start_tls in [false, true] {
        settings.tls.start_tls = start_tls;
        settings.tls.files.server_name = Some("ldap.example.test".to_owned());
        let (directory, metrics) = open(settings.clone());
        assert!(resolve(&directory, "alice").await.is_ok());
        let url = if start_tls { slapd.ldap_url() } else { slapd.ldaps_url() };
        assert_eq!(metrics.directory.up.with_label_values(&[&url]).get(), 1);
    }
    settings.tls.files.server_name = Some("other.example.test".to_owned());
    let refused = resolve(&open(settings).0, "alice").await;
    assert!(matches!(refused, Err(LookupError::Unreachable(_))), "{refused:?}");
}
