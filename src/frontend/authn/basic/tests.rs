use std::net::Ipv4Addr;

use tokio::runtime::Handle;

use super::*;
use crate::directory::embedded::{Access, EmbeddedDirectory};
use crate::directory::ldif::Ldif;
use crate::directory::persona::Persona;
use crate::directory::persona::samples::OPEN_COMPANY;
use crate::directory::{Bind, MatchRule, Settings};
use crate::telemetry::Metrics;
use crate::tls::{Authority, ClientContext, MinVersion, ServerContext};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_780_000_000 + second).unwrap()
}

fn basic(name: &str, password: &str) -> String {
    BASE64.encode(format!("{name}:{password}").as_bytes())
}

fn settings(url: String, base: &str) -> Settings {
    let mut settings = Settings::new(vec![url], Bind::Anonymous, base);
    settings.timeouts.total = Duration::from_secs(10);
    settings.timeouts.connect = Duration::from_secs(5);
    settings.timeouts.operation = Duration::from_secs(5);
    settings
}

/// A directory whose one right password is `right`.
async fn persona(usernames: Usernames) -> (Persona, Basic) {
    persona_within(usernames, Duration::from_secs(5)).await
}

/// The same, of which each answer is waited for so long.
async fn persona_within(usernames: Usernames, operation: Duration) -> (Persona, Basic) {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    server.set(|manner| manner.password = Some("right".to_owned()));
    let mut settings = settings(server.url(), "dc=corp,dc=example");
    settings.tls.insecure_plaintext = true;
    settings.timeouts.operation = operation;
    settings.user_search.match_rule = MatchRule::AsciiCaseFold;
    let metrics = Metrics::new().unwrap().directory;
    let directory = Directory::over(settings, None, &metrics, Handle::current()).unwrap();
    (server, Basic::new(directory, usernames).unwrap())
}

#[tokio::test]
async fn the_embedded_directory_lets_its_people_in() {
    let authority = Authority::new("embedded").unwrap();
    let identity = authority.server(&["localhost"], &[Ipv4Addr::LOCALHOST.into()]).unwrap();
    let tls = ServerContext::from_pem("ldap", &identity, None, MinVersion::Tls12).unwrap();
    let ldif = "dn: dc=example\nobjectClass: domain\ndc: example\n\n\
        dn: uid=ada,dc=example\nobjectClass: inetOrgPerson\nuid: ada\nuserPassword: love:lace\n\n\
        dn: uid=eve,dc=example\nobjectClass: inetOrgPerson\nuid: eve\nuserPassword: eve\n\
        pwdAccountLockedTime: 000001010000Z\n";
    let ldif = Ldif::parse(ldif).unwrap();
    let server = EmbeddedDirectory::start(&ldif, Access::Anonymous, tls, &Handle::current()).unwrap();
    let tls = ClientContext::from_pem("test", authority.ca_pem(), None, MinVersion::Tls12).unwrap();
    let metrics = Metrics::new().unwrap().directory;
    let settings = settings(format!("ldaps://{}", server.address()), "dc=example");
    let directory = Directory::over(settings, Some(tls), &metrics, Handle::current()).unwrap();
    let users = Basic::new(directory, Usernames::default()).unwrap();
    let said = users.authenticate(&basic("ada", "love:lace"), at(0)).await;
    assert!(
        matches!(&said, Said::Who(subject, _) if subject.user == "ada" && subject.groups.is_empty()),
        "{said:?}"
    );
    for (name, password, why) in [
        ("ada", "lovelace", "does not accept"),
        ("Ada", "love:lace", "nobody of this name"),
        ("eve", "eve", "locked"),
        ("mallory", "x", "nobody of this name"),
    ] {
        let said = users.authenticate(&basic(name, password), at(0)).await;
        assert!(matches!(&said, Said::Refused(text) if text.contains(why)), "{name}: {said:?}");
    }
    server.stop();
}

#[tokio::test]
async fn a_right_password_is_not_asked_for_again_for_a_moment() {
    let (server, users) = persona(Usernames::default()).await;
    for (second, binds) in [(0, 1), (9, 1), (10, 2)] {
        assert!(matches!(users.authenticate(&basic("ada", "right"), at(second)).await, Said::Who(..)));
        assert_eq!(server.seen().binds.len(), binds, "at {second}");
    }
    // Neither another's name nor another password profits from it.
    assert!(matches!(users.authenticate(&basic("ada", "right!"), at(10)).await, Said::Refused(_)));
}

#[tokio::test]
async fn many_requests_at_once_need_one_bind() {
    let (server, users) = persona(Usernames::default()).await;
    let credentials = basic("ada", "right");
    let requests = (0..20).map(|_| users.authenticate(&credentials, at(0)));
    let said = futures_util::future::join_all(requests).await;
    assert!(said.iter().all(|said| matches!(said, Said::Who(..))));
    assert_eq!(server.seen().binds.len(), 1);
}

#[tokio::test]
async fn nobody_is_locked_out_of_the_directory_by_wrong_passwords() {
    let (server, users) = persona(Usernames::default()).await;
    let guesses: Vec<String> = (0..50).map(|number| basic("ada", &format!("guess-{number}"))).collect();
    let requests = guesses.iter().map(|guess| users.authenticate(guess, at(0)));
    let said = futures_util::future::join_all(requests).await;
    assert!(said.iter().all(|said| matches!(said, Said::Refused(_))));
    assert_eq!(server.seen().binds.len(), MAX_FAILURES);
    assert!(matches!(users.authenticate(&basic("ada", "right"), at(1)).await, Said::Refused(_)));
    assert!(matches!(users.authenticate(&basic("bob", "right"), at(1)).await, Said::Who(..)));
    let later = at(WINDOW.as_secs());
    assert!(matches!(users.authenticate(&basic("ada", "right"), later).await, Said::Who(..)));
}

#[tokio::test]
async fn a_client_that_keeps_sending_one_wrong_password_does_no_harm() {
    let (server, users) = persona(Usernames::default()).await;
    for second in 0..20 {
        assert!(matches!(users.authenticate(&basic("ada", "old"), at(second)).await, Said::Refused(_)));
    }
    assert_eq!(server.seen().binds.len(), 1);
    assert!(matches!(users.authenticate(&basic("ada", "right"), at(20)).await, Said::Who(..)));
}

#[tokio::test]
async fn what_cannot_be_a_users_name_and_password_never_reaches_the_directory() {
    let (server, users) = persona(Usernames::default()).await;
    for encoded in [
        basic("ada", ""),
        basic("", "right"),
        basic("system:admin", "right"),
        basic("ada\0", "right"),
        basic("ada", "ri\nght"),
        basic(&"a".repeat(257), "right"),
        BASE64.encode(b"ada"),
        BASE64.encode(b"ada:\xff"),
        basic("ada", "right").trim_end_matches('=').to_owned() + "!",
        basic("ada", &"x".repeat(MAX_BYTES)),
        String::new(),
    ] {
        assert!(matches!(users.authenticate(&encoded, at(0)).await, Said::Refused(_)), "{encoded}");
    }
    assert!(
        server.seen().binds.is_empty()
            && server.seen().searches.iter().all(|search| !search.base.contains("ou=people"))
    );
}

#[tokio::test]
async fn a_user_has_one_spelling_though_the_directory_would_take_more() {
    let (server, users) = persona(Usernames::default()).await;
    for name in ["ADA", "Ada", " ada", "ada "] {
        assert!(matches!(users.authenticate(&basic(name, "right"), at(0)).await, Said::Refused(_)), "{name}");
    }
    assert!(server.seen().binds.is_empty());
}

#[tokio::test]
async fn a_user_is_called_with_the_prefix_and_excluded_ones_do_not_log_on() {
    let usernames = Usernames { strip_prefix: "corp#".to_owned(), exclude: vec!["corp#bob".to_owned()] };
    let (_server, users) = persona(usernames).await;
    let said = users.authenticate(&basic("ada", "right"), at(0)).await;
    assert!(matches!(&said, Said::Who(subject, _) if subject.user == "corp#ada"), "{said:?}");
    assert!(matches!(users.authenticate(&basic("bob", "right"), at(0)).await, Said::Refused(_)));
    assert!(matches!(users.authenticate(&basic("corp#ada", "right"), at(0)).await, Said::Refused(_)));
}

#[tokio::test]
async fn a_directory_that_is_away_is_a_failure_and_counts_against_nobody() {
    let (server, users) = persona(Usernames::default()).await;
    server.down().await;
    for number in 0..5 {
        let said = users.authenticate(&basic("ada", &format!("x{number}")), at(0)).await;
        assert!(matches!(said, Said::Failed(_)));
    }
    assert_eq!(users.judge.attempts.held(&users.judge.digester.trace(["ada"]), &[0; 32], at(0)), None);
}

#[tokio::test]
async fn no_more_passwords_than_so_many_are_judged_at_one_time() {
    let (_server, users) = persona(Usernames::default()).await;
    let all = users.judge.under_way.acquire_many(u32::try_from(MAX_UNDER_WAY).unwrap()).await.unwrap();
    assert!(matches!(users.authenticate(&basic("ada", "right"), at(0)).await, Said::Failed(_)));
    drop(all);
    assert!(matches!(users.authenticate(&basic("ada", "right"), at(0)).await, Said::Who(..)));
}

#[tokio::test]
async fn a_directory_that_answers_late_locks_nobody_out_either() {
    let (server, users) = persona_within(Usernames::default(), Duration::from_millis(300)).await;
    server.set(|manner| manner.answers_binds = false);
    for guess in 0..MAX_FAILURES + 2 {
        let said = users.authenticate(&basic("ada", &format!("guess-{guess}")), at(0)).await;
        assert_eq!(matches!(said, Said::Failed(_)), guess < MAX_FAILURES, "{said:?}");
    }
    assert_eq!(server.seen().binds.len(), MAX_FAILURES);
}
