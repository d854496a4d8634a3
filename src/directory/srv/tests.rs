//! SRV records of a name server of our own.

use std::collections::BTreeSet;
use std::time::Instant;

use ldap3::Scope;

use super::super::conn::Query;
use super::super::conn::tests::{origin_for, soon};
use super::super::scripted::Scripted;
use super::nameserver::Nameserver;
use super::*;

fn srv(security: Security) -> Srv {
    Srv {
        domain: "example.test".to_owned(),
        security,
        has_server_name: false,
        nameservers: Vec::new(),
        shortest_life: Duration::from_millis(20),
    }
}

fn record(priority: u16, weight: u16, target: &str) -> Record {
    Record { priority, weight, port: 389, target: target.to_owned() }
}

fn answer(records: &[Record]) -> Answer {
    Answer { records: records.to_vec(), life: Duration::ZERO, is_ldaps: false }
}

fn hosts(order: &mut Order, srv: &Srv, records: &[Record]) -> Vec<String> {
    let servers = order.servers(srv, &answer(records)).unwrap();
    servers.into_iter().map(|server| server.host).collect()
}

#[test]
fn the_port_goes_with_the_security() {
    for (security, port, is_ldaps, label) in [
        (Security::Tls, 389, false, "ldaps://dc1.example.test:636"),
        (Security::Tls, 3268, false, "ldaps://dc1.example.test:3269"),
        (Security::Tls, 1636, false, "ldaps://dc1.example.test:1636"),
        (Security::Tls, 389, true, "ldaps://dc1.example.test:389"),
        (Security::StartTls, 389, false, "ldap://dc1.example.test:389"),
        (Security::Plaintext, 1389, false, "ldap://dc1.example.test:1389"),
    ] {
        let record = Record { port, ..record(0, 0, "dc1.example.test") };
        let server = srv(security).server(&record, is_ldaps);
        assert_eq!((&*server.label, server.security), (label, security));
    }
}

#[test]
fn a_name_outside_of_the_domain_is_not_taken_unless_the_certificate_has_a_name_of_its_own() {
    let strict = srv(Security::Tls);
    let named = Srv { has_server_name: true, ..strict.clone() };
    for (target, is_within) in [
        ("dc1.example.test", true),
        ("a.b.EXAMPLE.test", true),
        ("example.test", true),
        ("dc1.evil-example.test", false),
        ("evilexample.test", false),
        ("dc1.example.test.evil.org", false),
        ("192.0.2.1", false),
    ] {
        assert_eq!(strict.takes(target), is_within, "{target}");
        assert!(named.takes(target), "{target}");
    }
    for odd in ["", "a b", "dc1..example.test", "dc1\\046.example.test", "*.example.test"] {
        assert!(!strict.takes(odd) && !named.takes(odd), "{odd}");
    }
    let mut order = Order::default();
    let records = [record(0, 0, "dc1.evil.test"), record(1, 0, "dc2.example.test")];
    assert_eq!(hosts(&mut order, &strict, &records), ["dc2.example.test"]);
    assert_eq!(order.servers(&strict, &answer(&records[..1])), Err(OUTSIDE));
    assert_eq!(order.servers(&strict, &answer(&[record(0, 0, "")])), Err(NO_SERVICE));
}

#[test]
fn a_service_or_a_site_is_no_part_of_the_name_that_is_trusted() {
    for (domain, trust) in [
        ("example.test", "example.test"),
        ("Hamburg._sites.example.test", "example.test"),
        ("Hamburg._sites.dc._msdcs.example.test", "example.test"),
        ("_msdcs.example.test", "example.test"),
        ("_msdcs", ""),
    ] {
        assert_eq!(trusted(domain), trust, "{domain}");
        assert_eq!(is_domain(domain), !trust.is_empty(), "{domain}");
    }
}

#[test]
fn priority_comes_first_and_weight_is_a_chance() {
    let srv = srv(Security::Tls);
    let records = [
        record(10, 0, "later.example.test"),
        record(5, 1, "light.example.test"),
        record(5, 3, "heavy.example.test"),
        record(5, 0, "hardly.example.test"),
    ];
    let rounds = 2000;
    let (mut heavy, mut hardly) = (0, 0);
    for _ in 0..rounds {
        let order = hosts(&mut Order::default(), &srv, &records);
        assert_eq!(order[3], "later.example.test");
        heavy += u32::from(order[0] == "heavy.example.test");
        hardly += u32::from(order[0] == "hardly.example.test");
    }
    // Three quarters; so far off it is once in more than a million years.
    assert!((1350..1650).contains(&heavy), "{heavy} of {rounds}");
    assert!(hardly < 50, "{hardly} of {rounds}");
}

#[test]
fn the_order_stays_while_the_records_do_and_there_is_a_most() {
    let srv = srv(Security::Tls);
    let records: Vec<_> = (0..40).map(|number| record(0, 1, &format!("dc{number}.example.test"))).collect();
    let mut order = Order::default();
    let first = hosts(&mut order, &srv, &records);
    assert_eq!(first.len(), MAX_SERVERS);
    for _ in 0..20 {
        assert_eq!(hosts(&mut order, &srv, &records), first);
    }
    let some: Vec<_> = records.iter().filter(|record| first[..5].contains(&record.target)).cloned().collect();
    assert_eq!(hosts(&mut order, &srv, &some), first[..5]);
}

#[tokio::test]
async fn with_ldaps_its_own_records_are_preferred() {
    let nameserver = Nameserver::start().await;
    nameserver.set("_ldap._tcp.example.test", &[(0, 0, 389, "dc1.example.test")]);
    let with = |security| Srv { nameservers: vec![nameserver.address], ..srv(security) };
    let found = with(Security::Tls).resolve().await.unwrap();
    assert_eq!((found.records.as_slice(), found.is_ldaps), (&[record(0, 0, "dc1.example.test")][..], false));
    assert_eq!(found.life, Duration::from_secs(1));
    nameserver.set("_ldaps._tcp.example.test", &[(0, 0, 1636, "DC2.example.test")]);
    let found = with(Security::Tls).resolve().await.unwrap();
    assert_eq!(
        (found.records[0].target.as_str(), found.records[0].port, found.is_ldaps),
        ("dc2.example.test", 1636, true)
    );
    assert!(!with(Security::StartTls).resolve().await.unwrap().is_ldaps);
    let elsewhere = Srv { domain: "nowhere.test".to_owned(), ..with(Security::Tls) };
    assert_eq!(elsewhere.resolve().await, Err(NO_RECORDS));
    nameserver.break_down(true);
    assert_eq!(with(Security::Tls).resolve().await, Err(NO_ANSWER));
}

/// A pool that follows the records of a name server, in the clear. The records name addresses, which no name can be made to
/// be here; so the domain is that of an address.
async fn following(nameserver: &Nameserver, folder: &tempfile::TempDir) -> Arc<Pool> {
    std::fs::write(folder.path().join("password"), "pw").unwrap();
    let found =
        Srv { domain: DOMAIN.to_owned(), nameservers: vec![nameserver.address], ..srv(Security::Plaintext) };
    let pool = Pool::to_be_told();
    let folder = folder.path().to_owned();
    tokio::spawn(follow(pool.clone(), found, move |server| Arc::new(origin_for(server, &folder))));
    pool
}

const DOMAIN: &str = "0.0.1";
const AT: &str = "_ldap._tcp.0.0.1";

async fn ask(pool: &Pool) -> Result<String, LookupError> {
    let found = pool.search(&Query::new("o=x".to_owned(), Scope::Base), soon()).await;
    found.map(|found| found.server.to_string())
}

async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(15);
    while !holds().await {
        assert!(Instant::now() < patience);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn servers_come_and_go_and_those_that_stay_keep_their_connections() {
    let nameserver = Nameserver::start().await;
    let servers =
        [Scripted::with_root(&[]).await, Scripted::with_root(&[]).await, Scripted::with_root(&[]).await];
    let of = |number: usize| format!("ldap://127.0.0.1:{}", servers[number].port);
    let name = |listed: &[usize]| {
        let at = |(priority, number): (u16, &usize)| (priority, 0, servers[*number].port, "127.0.0.1");
        nameserver.set(AT, &(0..).zip(listed).map(at).collect::<Vec<_>>());
    };
    name(&[0, 1]);
    let folder = tempfile::tempdir().unwrap();
    let pool = following(&nameserver, &folder).await;
    assert_eq!(ask(&pool).await, Ok(of(0)), "whoever asks first waits for the names");
    name(&[2, 0]);
    until(async || ask(&pool).await == Ok(of(2))).await;
    name(&[0]);
    until(async || ask(&pool).await == Ok(of(0))).await;
    let connections = |number: usize| servers[number].connections.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!((connections(0), connections(1)), (1, 0));
    let gone = async || servers[2].count(super::super::scripted::UNBIND) == 1;
    until(gone).await;
    pool.stop();
}

#[tokio::test]
async fn a_resolution_that_fails_keeps_what_was_known_and_before_that_it_is_said() {
    let nameserver = Nameserver::start().await;
    nameserver.break_down(true);
    let folder = tempfile::tempdir().unwrap();
    let pool = following(&nameserver, &folder).await;
    let Err(LookupError::Unreachable(unreachable)) = ask(&pool).await else { panic!() };
    assert_eq!((&*unreachable.server, &*unreachable.reason), (AT, NO_ANSWER));
    let server = Scripted::with_root(&[]).await;
    nameserver.set(AT, &[(0, 0, server.port, "127.0.0.1")]);
    nameserver.break_down(false);
    until(async || ask(&pool).await.is_ok()).await;
    nameserver.break_down(true);
    let asked = nameserver.asked().len();
    until(async || nameserver.asked().len() > asked + 2).await;
    assert!(ask(&pool).await.is_ok());
    nameserver.break_down(false);
    nameserver.set(AT, &[]);
    let asked = nameserver.asked().len();
    until(async || nameserver.asked().len() > asked + 2).await;
    assert!(ask(&pool).await.is_ok(), "no records are no servers that went away");
    let names: BTreeSet<String> = nameserver.asked().into_iter().collect();
    assert_eq!(names, BTreeSet::from([AT.to_owned()]));
    pool.stop();
    assert_eq!(ask(&pool).await, Err(LookupError::Stopped));
}

#[tokio::test]
async fn whoever_waits_for_the_names_waits_no_longer_than_its_deadline() {
    let pool = Pool::to_be_told();
    let shortly = Instant::now() + Duration::from_millis(50);
    let asked = pool.search(&Query::new(String::new(), Scope::Base), shortly).await;
    assert_eq!(asked, Err(LookupError::Deadline));
    let stopping = async {
        tokio::task::yield_now().await;
        pool.stop();
    };
    let (asked, ()) = tokio::join!(ask(&pool), stopping);
    assert_eq!(asked, Err(LookupError::Stopped));
}
