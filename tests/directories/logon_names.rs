//! The names by which a domain controller is asked for a user, and whom each of them finds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bailiwick::directory::{Directory, Flavour, LookupError, MatchRule, Settings, UserSearch};
use bailiwick::model::{Dn, Facts, Person};
use bailiwick::telemetry::Metrics;
use tokio::runtime::Handle;

use crate::samba::{BASE, Entry, PEOPLE, SERVICE, Samba};

pub fn open(settings: Settings) -> (Arc<Directory>, Metrics) {
    let metrics = Metrics::new().unwrap();
    (Directory::new(settings, &metrics, Handle::current()).unwrap(), metrics)
}

/// A time that nothing here needs.
pub fn later() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

pub async fn resolve(directory: &Directory, user: &str) -> Result<Facts, LookupError> {
    directory.resolve(user, None, later()).await
}

/// The DN of the entry that this user is, or what else is said.
async fn whom(directory: &Directory, user: &str) -> String {
    match resolve(directory, user).await {
        Ok(Facts { person: Person::Found { dn, .. }, .. }) => dn.as_str().to_owned(),
        Ok(facts) => format!("{:?}", facts.person),
        Err(error) => error.to_string(),
    }
}

/// A user with a written user principal name, which need not be the account name with the domain's.
fn user(name: &str, principal: &str) -> Entry {
    let mut entry = Entry::user(name);
    entry.attributes.retain(|(attribute, _)| *attribute != "userPrincipalName");
    if !principal.is_empty() {
        entry.attributes.push(("userPrincipalName", vec![principal.into()]));
    }
    entry
}

#[tokio::test(flavor = "multi_thread")]
async fn each_form_of_a_name_finds_its_account_and_no_other_spelling_does() {
    let samba = Samba::start();
    let alice = samba.add(user("alice", "alice@ad.example.test"));
    let implicit = samba.add(user("implicit", ""));
    let elsewhere = samba.add(user("elsewhere", "e.where@corp.example"));
    let odd = samba.add(user("odd (one)", "odd*(1)@corp.example"));
    let umlaut = samba.add(user("jürgen", "jürgen@corp.example"));
    let nobody = "NotFound".to_owned();
    let table: &[(&str, &str, &str)] = &[
        // The name, whom it finds exactly, and whom with folded case.
        ("alice", &alice, &alice),
        ("ALICE", &nobody, &alice),
        (" alice", &nobody, &nobody),
        ("alice ", &nobody, &nobody),
        ("alice  ", &nobody, &nobody),
        ("ａlice", &nobody, &nobody),
        ("alice\u{200b}", &nobody, &nobody),
        ("alicé", &nobody, &nobody),
        ("ADEX\\alice", &alice, &alice),
        ("adex\\alice", &nobody, &alice),
        ("ADEX\\Alice", &nobody, &alice),
        ("OTHER\\alice", &nobody, &nobody),
        ("ad.example.test\\alice", &nobody, &nobody),
        ("\\alice", &nobody, &nobody),
        ("alice@ad.example.test", &alice, &alice),
        ("alice@AD.EXAMPLE.TEST", &nobody, &alice),
        ("alice@adex", &nobody, &nobody),
        ("alice@corp.example", &nobody, &nobody),
        ("alice@ad.example.test ", &nobody, &nobody),
        ("implicit@ad.example.test", &implicit, &implicit),
        ("Implicit@ad.example.test", &nobody, &implicit),
        ("elsewhere", &elsewhere, &elsewhere),
        ("e.where", &nobody, &nobody),
        ("e.where@corp.example", &elsewhere, &elsewhere),
        ("E.Where@corp.example", &nobody, &elsewhere),
        ("elsewhere@ad.example.test", &elsewhere, &elsewhere),
        ("elsewhere@corp.example", &nobody, &nobody),
        ("e.where@ad.example.test", &nobody, &nobody),
        ("odd (one)", &odd, &odd),
        ("odd*(1)@corp.example", &odd, &odd),
        ("odd*", &nobody, &nobody),
        ("jürgen", &umlaut, &umlaut),
        ("jurgen", &nobody, &nobody),
        ("JÜRGEN", &nobody, &nobody),
        ("*", &nobody, &nobody),
        ("", &nobody, &nobody),
        ("@ad.example.test", &nobody, &nobody),
        ("ADEX\\", &nobody, &nobody),
        // Not below the base of people.
        ("Administrator", &nobody, &nobody),
    ];
    for (rule, flavour) in
        [(MatchRule::Exact, Flavour::Auto), (MatchRule::AsciiCaseFold, Flavour::ActiveDirectory)]
    {
        let mut settings = samba.settings(SERVICE);
        settings.flavour = flavour;
        settings.user_search.match_rule = rule;
        let (directory, _) = open(settings);
        assert_eq!(directory.probe(later()).await, Ok(()));
        for (name, exactly, folded) in table {
            let expected = if rule == MatchRule::Exact { exactly } else { folded };
            assert_eq!(whom(&directory, name).await, **expected, "{rule:?} {name:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_two_accounts_have_is_nobodys() {
    let samba = Samba::start();
    samba.add(user("alice", ""));
    let bob = samba.add(user("bob", "bob@corp.example"));
    let mut settings = samba.settings(SERVICE);
    settings.user_search.filter = Some("(description={username})".to_owned());
    for name in ["alice", "bob"] {
        samba.set(&format!("CN={name},{PEOPLE}"), "description", &["the one"]);
    }
    let (directory, _) = open(settings);
    assert_eq!(whom(&directory, "the one").await, "Ambiguous");
    samba.set(&bob, "description", &["The one"]);
    assert_eq!(
        whom(&directory, "the one").await,
        "Ambiguous",
        "by case alone: which one is meant is a guess"
    );
    samba.set(&bob, "description", &[]);
    assert_eq!(whom(&directory, "the one").await, format!("CN=alice,{PEOPLE}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_of_ones_own_and_attributes_work_as_elsewhere() {
    let samba = Samba::start();
    let alice = samba.add_user("alice");
    samba.set(&alice, "mail", &["a.smith@corp.example"]);
    samba.set(&alice, "department", &["7"]);
    let mut settings = samba.settings(SERVICE);
    settings.user_search = UserSearch::new(BASE);
    settings.user_search.filter = Some("(&(objectCategory=person)(mail={username}))".to_owned());
    let attribute = bailiwick::directory::Attribute { from: "department".to_owned() };
    settings.attributes.insert("department".to_owned(), attribute);
    let (directory, _) = open(settings);
    let facts = resolve(&directory, "a.smith@corp.example").await.unwrap();
    let Person::Found { dn, .. } = &facts.person else { panic!("{facts:?}") };
    assert_eq!(*dn, Dn::parse(&alice).unwrap());
    assert_eq!(facts.attributes.get("department").unwrap().known().unwrap(), ["7"]);
    assert!(!facts.groups.is_empty());
    assert_eq!(whom(&directory, "A.Smith@corp.example").await, "NotFound");
}
