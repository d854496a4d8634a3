//! How the directory's client gets on with a real domain controller: names to bind with, refusals, pages.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bailiwick::directory::{
    Bind, CredentialsFault, Directory, Flavour, LookupError, ServerKind, Settings, Strategy, TlsSettings,
};
use bailiwick::telemetry::Metrics;
use tokio::runtime::Handle;

use crate::samba::{DOMAIN, GROUPS, NETBIOS, PEOPLE, SERVICE, Samba};

fn settings(samba: &Samba, name: &str) -> Settings {
    let bind = Bind::Simple { dn: name.to_owned(), password_file: samba.password_file() };
    let mut settings = Settings::new(samba.urls(), bind, PEOPLE);
    settings.flavour = Flavour::ActiveDirectory;
    settings.group_search.base = GROUPS.to_owned();
    settings.tls = TlsSettings::trusting(samba.ca_file());
    settings.timeouts.connect = Duration::from_secs(5);
    settings.timeouts.operation = Duration::from_secs(5);
    settings.timeouts.total = Duration::from_secs(15);
    settings
}

fn open(settings: Settings) -> Arc<Directory> {
    Directory::new(settings, &Metrics::new().unwrap(), Handle::current()).unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(15)
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_known_for_active_directory_and_takes_every_name_to_bind_with() {
    let samba = Samba::start();
    let names = [
        format!("{SERVICE}@{DOMAIN}"),
        format!("{NETBIOS}\\{SERVICE}"),
        format!("CN={SERVICE},CN=Users,DC=ad,DC=example,DC=test"),
    ];
    for name in names {
        let about = open(settings(&samba, &name))
            .about(soon())
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let (dns_domain, netbios_domain) = (Some(DOMAIN.to_owned()), Some(NETBIOS.to_owned()));
        assert_eq!(about.kind, ServerKind::ActiveDirectory { dns_domain, netbios_domain }, "{name}");
        assert_eq!(about.is_synchronized, Some(true));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_why_it_refuses_us_and_what_it_refuses_of_the_configuration() {
    let samba = Samba::start();
    let service = settings(&samba, &samba.bind_name(SERVICE));
    let probe = async |settings: Settings| open(settings).probe(soon()).await.unwrap_err();
    let wrong = samba.path("wrong");
    std::fs::write(&wrong, "not-the-password").unwrap();
    let mut other = service.clone();
    other.bind = Bind::Simple { dn: samba.bind_name(SERVICE), password_file: wrong };
    assert_eq!(probe(other).await, LookupError::Credentials(CredentialsFault::WrongPassword));
    let mut plain = service.clone();
    plain.urls = vec![samba.ldap_url()];
    plain.tls.insecure_plaintext = true;
    let refused = probe(plain).await;
    assert!(
        matches!(&refused, LookupError::Unfit(why) if why.contains("8 (strongerAuthRequired)")),
        "{refused:?}"
    );
    let mut flavour = service.clone();
    flavour.flavour = Flavour::Rfc2307bis;
    flavour.bind = Bind::Simple {
        dn: format!("CN={SERVICE},CN=Users,DC=ad,DC=example,DC=test"),
        password_file: samba.password_file(),
    };
    assert!(matches!(probe(flavour).await, LookupError::Unfit(_)));
    samba.disable(&format!("CN={SERVICE},CN=Users,DC=ad,DC=example,DC=test"));
    assert_eq!(probe(service).await, LookupError::Credentials(CredentialsFault::Disabled));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_groups_than_a_page_has_are_found_by_searching_too() {
    let samba = Samba::start();
    let ada = samba.add_user("ada");
    samba
        .add_all((0..700).map(|number| crate::samba::Entry::group(&format!("g{number}"), &[&ada])).collect());
    let mut settings = settings(&samba, &samba.bind_name(SERVICE));
    settings.group_search.strategy = Strategy::Search;
    // A level of 700 groups takes Samba some seconds for each search of 200 alternatives.
    settings.group_search.nested = false;
    let directory = open(settings);
    let asking = (0..4).map(|_| directory.resolve("ada", None, soon()));
    for facts in futures_util::future::join_all(asking).await {
        let facts = facts.unwrap();
        let found = facts.groups.iter().filter(|group| group.group.name.starts_with('g')).count();
        assert_eq!((found, facts.partial), (700, None));
    }
}
