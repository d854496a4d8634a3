use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::*;
use crate::directory::embedded::{Access, EmbeddedDirectory};
use crate::directory::ldif::Ldif;
use crate::directory::persona::Persona;
use crate::directory::persona::samples::{COMPANY, OPEN_COMPANY};
use crate::directory::{Bind, Settings};
use crate::telemetry::Metrics;
use crate::tls::{Authority, ClientContext, MinVersion, ServerContext};

const ADA: &str = "uid=ada,ou=people,dc=corp,dc=example";

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn settings(url: String, base: &str) -> Settings {
    let mut settings = Settings::new(vec![url], Bind::Anonymous, base);
    settings.tls.insecure_plaintext = true;
    settings.timeouts.total = Duration::from_secs(10);
    settings.timeouts.connect = Duration::from_secs(5);
    settings.timeouts.operation = Duration::from_secs(5);
    settings
}

fn open_ldap(server: &Persona) -> Arc<Directory> {
    let settings = settings(server.url(), "dc=corp,dc=example");
    Directory::over(settings, None, &Metrics::new().unwrap().directory, Handle::current()).unwrap()
}

async fn log_on(directory: &Directory, user: &str, password: &str) -> LogOn {
    directory.authenticate(user, password, deadline()).await.unwrap()
}

#[tokio::test]
async fn a_password_is_tried_once_as_the_person_and_on_a_connection_that_ends() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    server.set(|manner| manner.password = Some("right".to_owned()));
    let directory = open_ldap(&server);
    let accepted = log_on(&directory, "ada", "right").await;
    assert!(matches!(&accepted, LogOn::Accepted(dn) if dn.as_str() == ADA), "{accepted:?}");
    let wrong = LogOn::Refused(LogOnRefusal::Password(CredentialsFault::Unsaid));
    assert_eq!(log_on(&directory, "ada", "wrong").await, wrong);
    assert_eq!(server.seen().binds, [ADA, ADA]);
    let ours = 2;
    server.until(|seen| seen.open <= ours).await;
}

#[tokio::test]
async fn nothing_is_bound_for_an_empty_password_or_an_unknown_name() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let directory = open_ldap(&server);
    for (user, password, why) in [
        ("ada", "", LogOnRefusal::EmptyPassword),
        ("carl", "x", LogOnRefusal::NotFound),
        ("ADA", "x", LogOnRefusal::NotFound),
        ("*", "x", LogOnRefusal::NotFound),
        ("ada)(uid=*", "x", LogOnRefusal::NotFound),
    ] {
        assert_eq!(log_on(&directory, user, password).await, LogOn::Refused(why), "{user}");
    }
    assert!(server.seen().binds.is_empty());
}

#[tokio::test]
async fn an_account_that_is_disabled_is_refused_before_its_password_is_sent() {
    let server = Persona::active_directory(COMPANY).await;
    server.set(|manner| manner.password = Some("right".to_owned()));
    let ada = "CN=Ada Lovelace,OU=People,DC=corp,DC=example";
    server.change(|content| content.set(ada, "userAccountControl", &["514"]));
    let folder = tempfile::tempdir().unwrap();
    let password_file = folder.path().join("password");
    std::fs::write(&password_file, "right").unwrap();
    let mut settings = settings(server.url(), "DC=corp,DC=example");
    settings.bind = Bind::Simple { dn: "CORP\\svc".to_owned(), password_file };
    let directory =
        Directory::over(settings, None, &Metrics::new().unwrap().directory, Handle::current()).unwrap();
    let disabled = LogOn::Refused(LogOnRefusal::Account(AccountFault::Disabled));
    assert_eq!(log_on(&directory, "ada", "right").await, disabled);
    assert!(server.seen().binds.iter().all(|name| name != ada));
    assert!(matches!(log_on(&directory, "bob", "right").await, LogOn::Accepted(_)));
    for other in ["CORP\\bob", "bob@corp.example"] {
        assert_eq!(
            log_on(&directory, other, "right").await,
            LogOn::Refused(LogOnRefusal::OtherName),
            "{other}"
        );
    }
    assert_eq!(log_on(&directory, "BOB", "right").await, LogOn::Refused(LogOnRefusal::NotFound));
}

#[tokio::test]
async fn a_server_says_more_than_that_a_password_is_wrong() {
    use crate::directory::persona::Outcome;
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let directory = open_ldap(&server);
    for (outcome, fault) in [
        (Outcome::new(49, ""), CredentialsFault::Unsaid),
        (Outcome::credentials("52e"), CredentialsFault::WrongPassword),
        (Outcome::credentials("533"), CredentialsFault::Disabled),
        (Outcome::credentials("775"), CredentialsFault::Locked),
        (Outcome::new(19, "locked"), CredentialsFault::Locked),
        (Outcome::new(48, ""), CredentialsFault::Unsaid),
        (Outcome::new(53, "Account inactivated"), CredentialsFault::Disabled),
    ] {
        server.refuse_binds(outcome);
        let refused = LogOn::Refused(LogOnRefusal::Password(fault));
        assert_eq!(log_on(&directory, "ada", "x").await, refused);
    }
}

#[tokio::test]
async fn a_password_that_was_sent_and_is_not_answered_is_told_from_one_that_was_not_sent() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    server.set(|manner| manner.answers_binds = false);
    let mut settings = settings(server.url(), "dc=corp,dc=example");
    settings.timeouts.operation = Duration::from_millis(300);
    let directory =
        Directory::over(settings, None, &Metrics::new().unwrap().directory, Handle::current()).unwrap();
    assert!(matches!(log_on(&directory, "ada", "x").await, LogOn::Unanswered(_)));
    let soon = Instant::now() + Duration::from_millis(200);
    let late = directory.authenticate("ada", "x", soon).await;
    assert!(matches!(late, Ok(LogOn::Unanswered(LookupError::Deadline))), "{late:?}");
    assert_eq!(server.seen().binds, [ADA, ADA]);
}

#[tokio::test]
async fn what_is_no_answer_is_an_error_and_no_refusal() {
    use crate::directory::persona::Outcome;
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let directory = open_ldap(&server);
    for code in [1, 2, 7, 8, 10, 14, 51, 52, 80] {
        server.refuse_binds(Outcome::new(code, ""));
        let result = directory.authenticate("ada", "x", deadline()).await;
        assert_eq!(result, Err(LookupError::Refused(ResultCode(code))));
    }
    server.down().await;
    assert!(directory.authenticate("ada", "x", deadline()).await.is_err());
}

#[tokio::test]
async fn the_embedded_directory_knows_its_people_by_their_passwords() {
    let authority = Authority::new("embedded").unwrap();
    let identity = authority.server(&["localhost"], &[Ipv4Addr::LOCALHOST.into()]).unwrap();
    let tls = ServerContext::from_pem("ldap", &identity, None, MinVersion::Tls12).unwrap();
    let ldif = "dn: dc=example\nobjectClass: domain\ndc: example\n\n\
        dn: uid=ada,dc=example\nobjectClass: inetOrgPerson\nuid: ada\nuserPassword: lovelace\n";
    let ldif = Ldif::parse(ldif).unwrap();
    let server = EmbeddedDirectory::start(&ldif, Access::Anonymous, tls, &Handle::current()).unwrap();
    let mut settings = settings(format!("ldaps://{}", server.address()), "dc=example");
    settings.tls.insecure_plaintext = false;
    let tls = ClientContext::from_pem("test", authority.ca_pem(), None, MinVersion::Tls12).unwrap();
    let metrics = Metrics::new().unwrap().directory;
    let directory = Directory::over(settings, Some(tls), &metrics, Handle::current()).unwrap();
    assert!(matches!(log_on(&directory, "ada", "lovelace").await, LogOn::Accepted(_)));
    for wrong in ["Lovelace", "lovelace ", "\0", "lovelace\0"] {
        let refused = LogOn::Refused(LogOnRefusal::Password(CredentialsFault::Unsaid));
        assert_eq!(log_on(&directory, "ada", wrong).await, refused, "{wrong:?}");
    }
}

#[test]
fn each_part_of_an_accounts_state_keeps_it_out() {
    use crate::model::UnreadableState;
    let now: Timestamp = "2026-06-01T12:00:00Z".parse().unwrap();
    let good = AccountState::default();
    let unreadable = |unreadable| AccountState { unreadable, ..good.clone() };
    for (account, fault) in [
        (good.clone(), None),
        (AccountState { disabled: Some(false), ..good.clone() }, None),
        (AccountState { disabled: Some(true), ..good.clone() }, Some(AccountFault::Disabled)),
        (AccountState { locked: Some(true), ..good.clone() }, Some(AccountFault::Locked)),
        (AccountState { expires: Some(now), ..good.clone() }, Some(AccountFault::Expired)),
        (AccountState { password_expired: Some(true), ..good.clone() }, Some(AccountFault::PasswordExpired)),
        (unreadable(UnreadableState { locked: true, ..Default::default() }), Some(AccountFault::Unreadable)),
        (
            unreadable(UnreadableState { disabled: true, ..Default::default() }),
            Some(AccountFault::Unreadable),
        ),
    ] {
        assert_eq!(AccountFault::of(&account, now), fault, "{account:?}");
    }
    let later = now + jiff::SignedDuration::from_secs(1);
    assert_eq!(AccountFault::of(&AccountState { expires: Some(later), ..good }, now), None);
}
