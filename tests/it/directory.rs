//! The directory's client against a real OpenLDAP.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bailiwick::directory::{
    Attribute, CredentialsFault, Directory, LookupError, MatchRule, ServerKind, Settings,
};
use bailiwick::model::{Facts, Partial, Person, Resolved, Values};
use bailiwick::telemetry::Metrics;
use tokio::runtime::Handle;

use crate::slapd::{self, GROUPS, PEOPLE, SERVICE, Slapd};

pub fn person(uid: &str) -> String {
    format!("dn: uid={uid},{PEOPLE}\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: {uid}\nsn: {uid}\n\n")
}

pub fn group(name: &str, members: &[&str]) -> String {
    let members: String = members.iter().map(|member| format!("member: {member}\n")).collect();
    format!("dn: cn={name},{GROUPS}\nobjectClass: groupOfNames\ncn: {name}\n{members}\n")
}

pub fn user_dn(uid: &str) -> String {
    format!("uid={uid},{PEOPLE}")
}

fn group_dn(name: &str) -> String {
    format!("cn={name},{GROUPS}")
}

pub fn open(settings: Settings) -> (Arc<Directory>, Metrics) {
    let metrics = Metrics::new().unwrap();
    (Directory::new(settings, &metrics, Handle::current()).unwrap(), metrics)
}

pub fn soon() -> Instant {
    Instant::now() + Duration::from_secs(2)
}

/// Settings for a machine that is busy with other tests.
pub fn patient(mut settings: Settings) -> Settings {
    settings.timeouts.connect = Duration::from_millis(1500);
    settings.timeouts.operation = Duration::from_millis(1500);
    settings.timeouts.total = Duration::from_secs(5);
    settings
}

pub async fn resolve(directory: &Directory, user: &str) -> Result<Facts, LookupError> {
    directory.resolve(user, None, Instant::now() + Duration::from_secs(5)).await
}

fn names(facts: &Facts) -> Vec<&str> {
    let mut names: Vec<_> = facts.groups.iter().map(|membership| &*membership.group.name).collect();
    names.sort_unstable();
    names
}

pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(15);
    while !holds().await {
        assert!(Instant::now() < patience, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_speaks_ldaps_and_start_tls_with_an_authority_from_a_file() {
    let slapd = Slapd::start(&person("alice"), "");
    let (directory, metrics) = open(patient(slapd.settings()));
    let facts = resolve(&directory, "alice").await.unwrap();
    assert!(matches!(facts.person, Person::Found { .. }), "{facts:?}");
    let up = metrics.directory.up.with_label_values(&[&slapd.ldaps_url()]);
    assert_eq!(up.get(), 1);

    let mut settings = patient(slapd.settings());
    settings.urls = vec![slapd.ldap_url()];
    settings.tls.start_tls = true;
    let (directory, _) = open(settings.clone());
    assert!(matches!(resolve(&directory, "alice").await.unwrap().person, Person::Found { .. }));
    assert!(!slapd.logged(&["STARTTLS"]).is_empty());
    assert!(!slapd.logged(&["TLS established"]).is_empty());

    settings.tls.start_tls = false;
    assert!(settings.check().is_err(), "the password would cross the network in the clear");
    settings.tls.insecure_plaintext = true;
    assert_eq!(open(settings).0.probe(soon()).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_another_authority_or_name_is_refused() {
    let slapd = Slapd::start(&person("alice"), "");
    let folder = tempfile::tempdir().unwrap();
    for start_tls in [false, true] {
        let mut settings = patient(slapd.settings());
        settings.urls = vec![if start_tls { slapd.ldap_url() } else { slapd.ldaps_url() }];
        settings.tls.start_tls = start_tls;
        let mut by_name = settings.clone();
        settings.tls.files.ca_file = Some(slapd::stranger(folder.path()));
        let refused = resolve(&open(settings).0, "alice").await;
        assert!(matches!(&refused, Err(LookupError::Unreachable(_))), "{refused:?}");

        by_name.tls.files.server_name = Some("ldap.example.test".to_owned());
        assert!(resolve(&open(by_name.clone()).0, "alice").await.is_ok());
        by_name.tls.files.server_name = Some("other.example.test".to_owned());
        let refused = resolve(&open(by_name).0, "alice").await;
        assert!(matches!(&refused, Err(LookupError::Unreachable(_))), "{refused:?}");
    }
    assert!(
        slapd.logged(&["BIND", SERVICE, "method=128"]).len() <= 4,
        "nobody sends a password to a stranger"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_nest_four_deep_and_a_cycle_ends() {
    let ldif = person("alice")
        + &person("bob")
        + &group("one", &[&user_dn("alice")])
        + &group("other", &[&user_dn("alice"), &user_dn("bob")])
        + &group("two", &[&group_dn("one"), &user_dn("bob")])
        + &group("three", &[&user_dn("bob"), &group_dn("other"), &group_dn("two")])
        + &group("four", &[&group_dn("three"), &group_dn("four")])
        + &group("one-again", &[&group_dn("four")])
        + &group("aside", &[&user_dn("bob")]);
    let slapd = Slapd::start(&ldif, "");
    let mut settings = patient(slapd.settings());
    settings.attributes.insert("surname".to_owned(), Attribute { from: "SN".to_owned() });
    settings.attributes.insert("mail".to_owned(), Attribute { from: "mail".to_owned() });
    let (directory, _) = open(settings);
    let facts = resolve(&directory, "alice").await.unwrap();
    let path = |name: &str| {
        facts.path(facts.groups.iter().find(|membership| *membership.group.name == *name).unwrap())
    };
    assert_eq!(names(&facts), ["four", "one", "one-again", "other", "three", "two"]);
    assert_eq!(path("two"), ["one", "two"]);
    assert_eq!(path("three"), ["other", "three"]);
    assert_eq!(path("one-again"), ["other", "three", "four", "one-again"]);
    assert_eq!(facts.partial, None);
    let ids: Vec<String> = facts.groups.iter().map(|membership| membership.group.id.to_string()).collect();
    assert!(ids.iter().all(|id| id.len() == 36), "entryUUIDs: {ids:?}");
    assert_eq!(facts.attributes.get("surname"), Some(&Values::Known(vec!["alice".to_owned()].into())));
    assert_eq!(facts.attributes.get("mail"), None);
    let searches = slapd.logged(&["SRCH base=\"ou=groups"]);
    assert_eq!(searches.len(), 5, "one for each level, and one that finds no more: {searches:?}");
    let Person::Found { id, dn } = &facts.person else { panic!("{facts:?}") };
    assert_eq!((dn.as_str(), id.to_string().len()), (user_dn("alice").as_str(), 36));
}

#[tokio::test(flavor = "multi_thread")]
async fn how_a_large_group_was_reached_is_known_too() {
    let crowd: Vec<String> = (0..400).map(|n| user_dn(&format!("nobody{n}"))).collect();
    let mut above: Vec<&str> = crowd.iter().map(String::as_str).collect();
    let (a, b) = (group_dn("a"), group_dn("b"));
    above.extend([a.as_str(), b.as_str()]);
    let ldif = person("alice")
        + &group("a", &[&user_dn("alice")])
        + &group("b", &[&user_dn("alice")])
        + &group("top", &above);
    let slapd = Slapd::start(&ldif, "");
    let (directory, _) = open(patient(slapd.settings()));
    let facts = resolve(&directory, "alice").await.unwrap();
    assert_eq!(names(&facts), ["a", "b", "top"]);
    assert_eq!(facts.groups.get(2).unwrap().via, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn posix_and_unique_members_count_too() {
    let ldif = format!(
        "dn: uid=alice,{PEOPLE}\nobjectClass: inetOrgPerson\nobjectClass: posixAccount\nobjectClass: shadowAccount\n\
         uid: alice\ncn: alice\nsn: a\nuidNumber: 1\ngidNumber: 100\nhomeDirectory: /\nshadowExpire: 20000\n\n\
         dn: cn=primary,{GROUPS}\nobjectClass: posixGroup\ncn: primary\ngidNumber: 100\n\n\
         dn: cn=devs,{GROUPS}\nobjectClass: posixGroup\ncn: devs\ngidNumber: 101\nmemberUid: alice\n\n\
         dn: cn=Devs2,{GROUPS}\nobjectClass: posixGroup\ncn: Devs2\ngidNumber: 102\nmemberUid: ALICE\n\n\
         dn: cn=unique,{GROUPS}\nobjectClass: groupOfUniqueNames\ncn: unique\nuniqueMember: uid=alice,{PEOPLE}\n\n\
         dn: cn=above,{GROUPS}\nobjectClass: groupOfUniqueNames\ncn: above\nuniqueMember: cn=unique,{GROUPS}\n\n"
    );
    let slapd = Slapd::start(&ldif, "");
    let (directory, _) = open(patient(slapd.settings()));
    let facts = resolve(&directory, "alice").await.unwrap();
    assert_eq!(names(&facts), ["above", "devs", "primary", "unique"]);
    assert_eq!(facts.account.expires, Some("2024-10-04T00:00:00Z".parse().unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_name_is_one_group_or_it_is_not_resolved() {
    let elsewhere = format!("dn: ou=more,{GROUPS}\nobjectClass: organizationalUnit\nou: more\n\n");
    let twin = group("twin", &[&user_dn("alice")]).replace("cn=twin,", "cn=twin,ou=more,");
    let ldif = person("alice")
        + &elsewhere
        + &group("twin", &[&user_dn("alice")])
        + &twin
        + &group("a(b)*", &[&user_dn("alice")])
        + &group("system:masters", &[&user_dn("alice")]);
    let slapd = Slapd::start(&ldif, "");
    let (directory, _) = open(patient(slapd.settings()));
    let facts = resolve(&directory, "alice").await.unwrap();
    let of = async |name: &str| directory.resolve_group_name(name, soon()).await.unwrap();
    assert_eq!(of("twin").await, Resolved::Several);
    assert_eq!(of("none").await, Resolved::None);
    assert_eq!(of("*").await, Resolved::None);
    assert_eq!(of("system:masters").await, Resolved::None);
    let id = |name: &str| {
        facts.groups.iter().find(|membership| *membership.group.name == *name).unwrap().group.id.clone()
    };
    assert_eq!(of("a(b)*").await, Resolved::Group(id("a(b)*")));
    assert_eq!(of("A(B)*").await, Resolved::Group(id("a(b)*")));
    assert_eq!(names(&facts), ["a(b)*", "directory:system:masters", "twin", "twin"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_with_a_comma_parentheses_and_an_accent_is_just_a_name() {
    let dn = format!("cn=Müller\\, Zoë (Admin) #1,{PEOPLE}");
    let ldif =
        format!("dn: {dn}\nobjectClass: inetOrgPerson\ncn: Müller, Zoë (Admin) #1\nsn: M\nuid: zoë\n\n")
            + &group("devs", &[&dn])
            + &group("all, of (them) *", &[&group_dn("devs")]).replace("dn: cn=all, of", "dn: cn=all\\, of")
            + &group("top", &[&group_dn("all\\2C of (them) \\2A")]);
    let slapd = Slapd::start(&ldif, "");
    let (directory, _) = open(patient(slapd.settings()));
    let facts = resolve(&directory, "zoë").await.unwrap();
    assert_eq!(names(&facts), ["all, of (them) *", "devs", "top"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_groups_are_found_and_followed() {
    let groups: String = (0..300).map(|n| group(&format!("g{n:03}"), &[&user_dn("alice")])).collect();
    let above: String = (0..300)
        .step_by(50)
        .map(|n| group(&format!("over{n:03}"), &[&group_dn(&format!("g{n:03}"))]))
        .collect();
    let slapd = Slapd::start(&(person("alice") + &groups + &above), "");
    let (directory, metrics) = open(patient(slapd.settings()));
    let facts = resolve(&directory, "alice").await.unwrap();
    assert_eq!((facts.groups.len(), facts.partial), (306, None));
    for above in facts.groups.iter().filter(|above| above.group.name.starts_with("over")) {
        assert_eq!(facts.path(above), [above.group.name.replace("over", "g").as_str(), &*above.group.name]);
    }
    assert_eq!(
        slapd.logged(&["SRCH base=\"ou=groups"]).len(),
        5,
        "600 clauses in three parts, between two single ones"
    );

    let mut settings = patient(slapd.settings());
    settings.group_search.max_groups = 100;
    let facts = resolve(&open(settings).0, "alice").await.unwrap();
    assert_eq!((facts.groups.len(), facts.partial), (100, Some(Partial::Count)));
    assert_eq!(metrics.directory.partial_lookups.get(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_the_server_makes_groups_partial() {
    let groups: String = (0..12).map(|n| group(&format!("g{n}"), &[&user_dn("alice")])).collect();
    let slapd = Slapd::start(&(person("alice") + &groups), "sizelimit 10\n");
    let (directory, metrics) = open(patient(slapd.settings()));
    let facts = resolve(&directory, "alice").await.unwrap();
    assert_eq!((facts.groups.len(), facts.partial), (10, Some(Partial::ServerLimit)));
    assert_eq!(metrics.directory.partial_lookups.get(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_a_limit_cut_is_done_in_pages_where_the_server_gives_more_so() {
    let groups: String = (0..700).map(|n| group(&format!("g{n}"), &[&user_dn("alice")])).collect();
    let limits = "limits users size.soft=10 size.hard=10 size.prtotal=unlimited\n";
    let slapd = Slapd::start(&(person("alice") + &groups), limits);
    let (directory, _) = open(patient(slapd.settings()));
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let directory = directory.clone();
        asking.spawn(async move { resolve(&directory, "alice").await.unwrap() });
    }
    for facts in asking.join_all().await {
        assert_eq!((facts.groups.len(), facts.partial), (700, None));
    }
    let about = directory.about(soon()).await.unwrap();
    assert_eq!(about.kind, ServerKind::OpenLdap);
    assert!(about.naming_contexts.contains(&slapd::BASE.to_owned()), "{about:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hard_limit_of_the_server_is_no_reason_to_find_nothing() {
    let groups: String = (0..12).map(|n| group(&format!("g{n}"), &[&user_dn("alice")])).collect();
    let slapd = Slapd::start(&(person("alice") + &groups), "limits users size.soft=20 size.hard=20\n");
    let facts = resolve(&open(patient(slapd.settings())).0, "alice").await.unwrap();
    assert_eq!((facts.groups.len(), facts.partial), (12, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_lookup_sees_what_changed() {
    let ldif = person("alice")
        + &group("devs", &[&user_dn("alice"), &user_dn("bob")])
        + &group("all", &[&group_dn("devs")]);
    let slapd = Slapd::start(&ldif, "");
    let (directory, _) = open(patient(slapd.settings()));
    let before = resolve(&directory, "alice").await.unwrap();
    assert_eq!(names(&before), ["all", "devs"]);
    slapd.modify(&format!(
        "dn: {}\nchangetype: modify\ndelete: member\nmember: {}\n\n\
         dn: {}\nchangetype: modrdn\nnewrdn: uid=alice2\ndeleteoldrdn: 0\n",
        group_dn("devs"),
        user_dn("alice"),
        user_dn("alice"),
    ));
    let after = resolve(&directory, "alice").await.unwrap();
    assert_eq!(names(&after), Vec::<&str>::new());
    let identity = |facts: &Facts| match &facts.person {
        Person::Found { id, dn } => (id.clone(), dn.as_str().to_owned()),
        other => panic!("{other:?}"),
    };
    assert_eq!(identity(&after).0, identity(&before).0, "renamed, and still the same person");
    assert_ne!(identity(&after).1, identity(&before).1);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_not_exactly_the_one_on_the_entry_are_nobody() {
    let slapd = Slapd::start(&person("u1"), "");
    let (directory, metrics) = open(patient(slapd.settings()));
    assert!(matches!(resolve(&directory, "u1").await.unwrap().person, Person::Found { .. }));
    let mismatches = ["U1", " u1", "u1 ", "ｕ１", "u\u{ad}1", "u1\u{200b}"];
    for name in mismatches {
        let facts = resolve(&directory, name).await.unwrap();
        assert_eq!((facts.person, facts.groups.len()), (Person::NotFound, 0), "{name:?}");
    }
    assert!(metrics.directory.identity_mismatches.get() >= 4, "slapd takes most of these for u1");
    let mut settings = patient(slapd.settings());
    settings.user_search.match_rule = MatchRule::AsciiCaseFold;
    let (folding, _) = open(settings);
    assert!(matches!(resolve(&folding, "U1").await.unwrap().person, Person::Found { .. }));
    assert_eq!(resolve(&folding, "u1 ").await.unwrap().person, Person::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_looks_like_a_filter_reaches_the_server_as_a_value() {
    let slapd = Slapd::start(&person("alice"), "");
    let (directory, _) = open(patient(slapd.settings()));
    for name in ["*)(uid=*", "*", "alice)(|(uid=*)", "a\\2a", "alice\\"] {
        assert_eq!(resolve(&directory, name).await.unwrap().person, Person::NotFound, "{name}");
    }
    assert_eq!(slapd.logged(&["filter=\"(uid=\\2A\\29\\28uid=\\2A)\""]).len(), 1);
    assert_eq!(slapd.logged(&["filter=\"(uid=\\2A)\""]).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_entries_with_one_name_are_ambiguous() {
    let twin = person("alice").replace("dn: uid=alice,", "dn: cn=alice,");
    let slapd = Slapd::start(&(person("alice") + &twin), "");
    let (directory, _) = open(patient(slapd.settings()));
    assert_eq!(resolve(&directory, "alice").await.unwrap().person, Person::Ambiguous);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_is_not_there_is_an_error_and_not_nobody() {
    let slapd = Slapd::start(&person("alice"), "");
    let mut settings = patient(slapd.settings());
    settings.group_search.base = "ou=nowhere,dc=example,dc=test".to_owned();
    let refused = resolve(&open(settings).0, "alice").await;
    assert!(matches!(refused, Err(LookupError::Refused(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_sent_once_until_the_file_has_another() {
    let slapd = Slapd::start(&person("alice"), "");
    std::fs::write(slapd.path("password"), "wrong").unwrap();
    let (directory, _) = open(patient(slapd.settings()));
    let asking = (0..20).map(|_| resolve(&directory, "alice"));
    for answer in futures_util::future::join_all(asking).await {
        assert_eq!(answer, Err(LookupError::Credentials(CredentialsFault::Unsaid)));
    }
    // Long enough for the pool to look after its connections once or twice.
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert_eq!(directory.probe(soon()).await, Err(LookupError::Credentials(CredentialsFault::Unsaid)));
    assert_eq!(slapd.logged(&["BIND", SERVICE, "method=128"]).len(), 1);
    std::fs::write(slapd.path("password"), "svcpw").unwrap();
    assert!(resolve(&directory, "alice").await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_slapd_is_down_every_lookup_ends_in_time_and_afterwards_it_recovers_by_itself() {
    let mut slapd = Slapd::start(&person("alice"), "");
    let (directory, metrics) = open(slapd.settings());
    until("found", async || resolve(&directory, "alice").await.is_ok()).await;
    slapd.kill();
    for _ in 0..20 {
        let asked = Instant::now();
        let answer = resolve(&directory, "alice").await;
        assert!(answer.is_err(), "{answer:?}");
        assert!(asked.elapsed() < Duration::from_millis(1700), "{:?}", asked.elapsed());
    }
    assert_eq!(metrics.directory.up.with_label_values(&[&slapd.ldaps_url()]).get(), 0);
    slapd.restart();
    until("recovered", async || resolve(&directory, "alice").await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_died_unnoticed_costs_no_lookup() {
    let mut slapd = Slapd::start(&person("alice"), "");
    let (directory, _) = open(patient(slapd.settings()));
    assert!(resolve(&directory, "alice").await.is_ok());
    for _ in 0..5 {
        slapd.restart();
        let answer = resolve(&directory, "alice").await;
        assert!(answer.is_ok(), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_server_answers_while_the_first_is_gone_or_frozen() {
    let (mut first, second) = (Slapd::start(&person("alice"), ""), Slapd::start(&person("alice"), ""));
    let bundle = [first.path("ca.pem"), second.path("ca.pem")]
        .map(|path| std::fs::read_to_string(path).unwrap())
        .concat();
    std::fs::write(first.path("both.pem"), bundle).unwrap();
    let mut settings = patient(first.settings());
    settings.timeouts.operation = Duration::from_millis(700);
    settings.tls.files.ca_file = Some(first.path("both.pem"));
    settings.urls.push(second.ldaps_url());
    let (directory, _) = open(settings);
    until("found", async || resolve(&directory, "alice").await.is_ok()).await;
    assert!(second.logged(&["SRCH base=\"ou=people"]).is_empty(), "the first of the list is preferred");
    first.freeze();
    for _ in 0..5 {
        let asked = Instant::now();
        let answer = resolve(&directory, "alice").await;
        assert!(answer.is_ok(), "{answer:?} after {:?}", asked.elapsed());
    }
    assert!(second.logged(&["SRCH base=\"ou=people"]).len() >= 5);
    first.thaw();
    first.kill();
    for _ in 0..5 {
        assert!(resolve(&directory, "alice").await.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_server_that_is_frozen_is_answered_for_within_the_deadline() {
    let slapd = Slapd::start(&person("alice"), "");
    let (directory, _) = open(slapd.settings());
    until("found", async || resolve(&directory, "alice").await.is_ok()).await;
    slapd.freeze();
    for _ in 0..8 {
        let deadline = Instant::now() + Duration::from_millis(1000);
        let answer = directory.resolve("alice", None, deadline).await;
        assert!(answer.is_err(), "{answer:?}");
        assert!(Instant::now() < deadline + Duration::from_millis(500));
    }
    slapd.thaw();
    until("recovered", async || resolve(&directory, "alice").await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_lookups_at_once_stay_within_what_a_server_takes() {
    let ldif = person("alice") + &group("devs", &[&user_dn("alice")]);
    let slapd = Slapd::start(&ldif, "");
    let mut settings = patient(slapd.settings());
    settings.timeouts.total = Duration::from_secs(20);
    settings.timeouts.operation = Duration::from_secs(10);
    let (directory, _) = open(settings);
    let deadline = Instant::now() + Duration::from_secs(20);
    let asking = (0..1000).map(|_| directory.resolve("alice", None, deadline));
    for answer in futures_util::future::join_all(asking).await {
        assert_eq!(answer.map(|facts| facts.groups.len()), Ok(1));
    }
    assert!(slapd.logged(&["BIND", SERVICE, "method=128"]).len() <= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_stopped_says_so_and_takes_leave() {
    let slapd = Slapd::start(&person("alice"), "");
    let (directory, _) = open(patient(slapd.settings()));
    assert!(resolve(&directory, "alice").await.is_ok());
    directory.stop();
    assert_eq!(resolve(&directory, "alice").await, Err(LookupError::Stopped));
    until("unbound", async || !slapd.logged(&["UNBIND"]).is_empty()).await;
}
