//! What a real directory says, and how soon a change of it is seen.

use std::time::{Duration, Instant};

use bailiwick::model::Decision::{Allow, Deny, NoOpinion};
use serde_json::Value;

use super::fixture::{
    PATIENT, Service, Site, Transport, directory, eventually, group, group_dn, person, policy, user_dn,
};
use crate::slapd::{GROUPS, PEOPLE, Slapd};

const LONG_LIVED: &str = "  cache: {softTTL: 60s, hardTTL: 5m, negativeTTL: 60s}";

/// Alice four levels below `g4`, bob in a cycle, carl in 300 groups, a name that is hard to write, and two groups of one
/// name.
fn awkward_company() -> String {
    let eva = format!("cn=Éva\\, Müller (ops),{PEOPLE}");
    let mut ldif = String::new();
    for uid in ["alice", "bob", "carl", "dora"] {
        ldif += &person(uid);
    }
    ldif +=
        &format!("dn: {eva}\nobjectClass: inetOrgPerson\nuid: eva\ncn: Éva, Müller (ops)\nsn: Müller\n\n");
    ldif += &group("g1", &[user_dn("alice")]);
    for level in 2..=4 {
        ldif += &group(&format!("g{level}"), &[group_dn(&format!("g{}", level - 1))]);
    }
    ldif += &group("c1", &[group_dn("c2"), user_dn("bob")]);
    ldif += &group("c2", &[group_dn("c1")]);
    ldif += &group("operators", &[eva]);
    for number in 0..300 {
        ldif += &group(&format!("many-{number}"), &[user_dn("carl")]);
    }
    for branch in ["east", "west"] {
        ldif += &format!("dn: ou={branch},{GROUPS}\nobjectClass: organizationalUnit\nou: {branch}\n\n");
        let member = user_dn("carl");
        ldif += &format!(
            "dn: cn=twins,ou={branch},{GROUPS}\nobjectClass: groupOfNames\ncn: twins\nmember: {member}\n\n"
        );
    }
    ldif
}

fn awkward_policies() -> String {
    let group = |name: &str| format!("[{{kind: DirectoryGroup, name: {name}}}]");
    ["g4", "c1", "c2", "operators", "many-299"]
        .iter()
        .map(|name| policy(name, "Allow", &group(name), &format!("[to-{name}]")))
        .chain([policy("twins", "Deny", &group("twins"), "[jobs]")])
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn awkward_directories_are_read_over_ldaps_and_start_tls() {
    let slapd = Slapd::start(&awkward_company(), "");
    for transport in [Transport::Ldaps, Transport::StartTls] {
        let site = Site::new(&[("all.yaml", &awkward_policies())]);
        site.configure(&directory(&slapd, transport, PATIENT, LONG_LIVED));
        let service = Service::start(&site).await;
        for (user, resource, expected) in [
            ("alice", "to-g4", Allow),
            ("alice", "to-c1", NoOpinion),
            ("bob", "to-c1", Allow),
            ("bob", "to-c2", Allow),
            ("bob", "to-g4", NoOpinion),
            ("eva", "to-operators", Allow),
            ("carl", "to-many-299", Allow),
            ("carl", "to-operators", NoOpinion),
            ("nobody", "to-g4", NoOpinion),
            // Which of the two groups is meant is not known; who is in none at all is in neither.
            ("carl", "jobs", Deny),
            ("alice", "jobs", Deny),
            ("dora", "jobs", NoOpinion),
        ] {
            let answer = service.ask(user, "get", resource).await;
            assert_eq!(answer.decision, expected, "{transport:?} {user} {resource}: {}", answer.reason);
            assert_ne!(answer.reason, "by twins", "that would say that it applies");
        }
        assert!((service.metric("unresolved_policy_groups").await - 1.0).abs() < f64::EPSILON);
        let (status, verbose) = service.get("/readyz?verbose").await;
        assert!(status == 200 && verbose.contains("[-]group-names"), "{verbose}");
        let audited = site.audit();
        let jobs: Vec<&Value> =
            audited.iter().filter(|line| line["resourceAttributes"]["resource"] == "jobs").collect();
        assert!(jobs.iter().any(|line| line["cause"] == "undetermined"), "{jobs:?}");
    }
    assert!(!slapd.logged(&["STARTTLS"]).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_certificate_is_not_answered() {
    let site = Site::new(&[("all.yaml", &policy("all", "Allow", "[{kind: Everyone}]", "[pods]"))]);
    site.configure("directory: {kind: none}");
    let service = Service::start(&site).await;
    assert_eq!(service.decides("alice", "get", "pods").await, Allow);
    let until = Instant::now() + Duration::from_secs(5);
    let url = format!("{}/authorize", service.webhook);
    let refused = site.stranger().post(&url, "application/json", "{}", until).await;
    assert!(refused.is_err(), "{refused:?}");
}

fn remove(uid: &str, group: &str) -> String {
    let (group, member) = (group_dn(group), user_dn(uid));
    format!("dn: {group}\nchangetype: modify\ndelete: member\nmember: {member}\n")
}

fn team() -> (String, String) {
    let people: String = ["alice", "bob", "carl"].iter().map(|uid| person(uid)).collect();
    let members = ["alice", "bob", "carl"].map(user_dn);
    let policies = policy("team", "Allow", "[{kind: DirectoryGroup, name: team}]", "[pods]");
    (people + &group("team", &members), policies)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_seen_within_the_hard_life_of_a_fact() {
    let (people, policies) = team();
    let slapd = Slapd::start(&people, "");
    let site = Site::new(&[("all.yaml", &policies)]);
    let hard = Duration::from_secs(2);
    site.configure(&directory(
        &slapd,
        Transport::Ldaps,
        PATIENT,
        "  cache: {softTTL: 1s, hardTTL: 2s, negativeTTL: 1s}",
    ));
    let service = Service::start(&site).await;
    assert_eq!(service.decides("alice", "get", "pods").await, Allow);
    assert_eq!(service.decides("bob", "get", "pods").await, Allow);
    slapd.modify(&remove("alice", "team"));
    let changed = Instant::now();
    // Alice goes on asking; bob does not, so that nothing refreshes what is known of him.
    eventually("she is refused", async || service.decides("alice", "get", "pods").await == NoOpinion).await;
    assert!(changed.elapsed() < hard + Duration::from_secs(3), "{:?}", changed.elapsed());
    slapd.modify(&remove("bob", "team"));
    tokio::time::sleep(hard).await;
    assert_eq!(service.decides("bob", "get", "pods").await, NoOpinion);
    assert_eq!(service.decides("carl", "get", "pods").await, Allow);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_makes_a_change_seen_at_once() {
    let (people, policies) = team();
    let slapd = Slapd::start(&people, "");
    let site = Site::new(&[("all.yaml", &policies)]);
    site.configure(&directory(&slapd, Transport::Ldaps, PATIENT, LONG_LIVED));
    let service = Service::start(&site).await;
    for user in ["alice", "bob"] {
        assert_eq!(service.decides(user, "get", "pods").await, Allow);
        slapd.modify(&remove(user, "team"));
        assert_eq!(service.decides(user, "get", "pods").await, Allow, "the facts are kept");
    }
    let (status, body) = service.post("/purge?user=alice", &Value::Null).await;
    assert_eq!((status, body.as_str()), (200, r#"{"dropped":1}"#));
    assert_eq!(service.decides("alice", "get", "pods").await, NoOpinion);
    assert_eq!(service.decides("bob", "get", "pods").await, Allow, "he was not purged");
    assert_eq!(service.post("/purge", &Value::Null).await.0, 200);
    assert_eq!(service.decides("bob", "get", "pods").await, NoOpinion);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_or_locked_account_is_refused() {
    let shadow = |uid: &str, days: u32| {
        format!(
            "dn: uid={uid},{PEOPLE}\nobjectClass: inetOrgPerson\nobjectClass: shadowAccount\nuid: {uid}\ncn: {uid}\n\
             sn: {uid}\nshadowExpire: {days}\n\n"
        )
    };
    let people = person("alice") + &shadow("bob", 40_000) + &shadow("carl", 18_000);
    let slapd = Slapd::start(&people, "moduleload ppolicy\noverlay ppolicy");
    let site = Site::new(&[("all.yaml", &policy("all", "Allow", "[{kind: Everyone}]", "[pods]"))]);
    let more = format!("{LONG_LIVED}\n  accounts: {{locked: Deny}}");
    site.configure(&directory(&slapd, Transport::Ldaps, PATIENT, &more));
    let service = Service::start(&site).await;
    for (user, expected) in [("alice", Allow), ("bob", Allow), ("carl", Deny)] {
        assert_eq!(service.decides(user, "get", "pods").await, expected, "{user}");
    }
    let alice = user_dn("alice");
    slapd.modify(&format!(
        "dn: {alice}\nchangetype: modify\nadd: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z\n"
    ));
    assert_eq!(service.post("/purge", &Value::Null).await.0, 200);
    let answer = service.ask("alice", "get", "pods").await;
    assert_eq!(answer.decision, Deny, "{}", answer.reason);
    assert_eq!(service.decides("bob", "get", "pods").await, Allow);
}
