//! Changes that make a name, a group or an account mean something else, seen by a change feed where names are configured
//! otherwise than is usual.

use std::time::Duration;

use bailiwick::model::Decision::{Allow, Deny, NoOpinion};

use crate::estate::{Estate, LONG_LIVED, of_everyone, of_group};
use crate::samba::{Entry, GROUPS, PEOPLE, SERVICE, SYNC, Samba};

const PASSWORD: &str = "Passw0rd-of-Gina";
/// `groupType` (MS-ADTS 2.2.12): a global security group, and a global distribution group.
const SECURITY: &str = "-2147483646";
const DISTRIBUTION: &str = "2";

fn person(name: &str) -> String {
    format!("CN={name},{PEOPLE}")
}

fn group(name: &str) -> String {
    format!("CN={name},{GROUPS}")
}

fn mail(name: &str) -> String {
    format!("{name}@corp.example")
}

/// People are found by `mail`, groups by `cn`.
async fn names_that_change_are_seen(feed: &str, account: &str) {
    let samba = Samba::start();
    let people = ["alice", "bob", "carl", "dora", "eve", "frank"].map(|name| samba.add_user(name));
    samba.add_user_with_password("gina", PASSWORD);
    for name in ["alice", "carl", "dora", "eve", "frank", "gina"] {
        samba.set(&person(name), "mail", &[&mail(name)]);
    }
    samba.add_group("team", &[&people[2]]);
    samba.add_group("blocked", &[&people[4]]);
    samba.add_group("kind", &[&people[5]]);
    samba.lock_after(2, Duration::from_secs(600));
    let mut elsewhere = Entry::group("twin", &[&people[4]]);
    elsewhere.dn = format!("CN=twin,{PEOPLE}");
    let elsewhere = samba.add(elsewhere);
    let policies = of_everyone(&["jobs", "secrets", "events"])
        + &of_group("team", "Allow", "name: team", "pods")
        + &of_group("blocked", "Deny", "name: blocked", "jobs")
        + &of_group("twin", "Deny", "name: twin", "secrets")
        + &of_group("kind", "Allow", "name: kind", "nodes");
    let ldap = [
        &format!("changeFeed: {feed}"),
        "pollInterval: 200ms",
        &format!("userSearch: {{base: \"{PEOPLE}\", filter: \"(mail={{username}})\"}}"),
        &format!("groupSearch: {{base: \"{GROUPS}\", name: cn}}"),
    ];
    let accounts = "accounts: {notFound: Deny, locked: Deny}";
    let estate = Estate::start(samba, account, &ldap, &[LONG_LIVED, accounts], &policies).await;
    let samba = &estate.samba;

    assert_eq!(estate.decides(&mail("alice"), "events").await, Allow);
    samba.set(&person("alice"), "mail", &["another@corp.example"]);
    estate.turns_with(&mail("alice"), "events", Deny, "no entry").await;
    assert_eq!(estate.decides(&mail("bob"), "events").await, Deny);
    samba.set(&person("bob"), "mail", &[&mail("bob")]);
    estate.turns(&mail("bob"), "events", Allow).await;

    assert_eq!(estate.decides(&mail("carl"), "pods").await, Allow);
    let crew = samba.rename(&group("team"), "crew");
    estate.turns(&mail("carl"), "pods", NoOpinion).await;
    samba.rename(&crew, "team");
    estate.turns(&mail("carl"), "pods", Allow).await;

    // Out of the base of groups, and back.
    let (dora, eve) = (mail("dora"), mail("eve"));
    assert_eq!(estate.decides(&dora, "jobs").await, Allow);
    assert_eq!(estate.decides(&eve, "jobs").await, Deny);
    let away = samba.move_to(&group("blocked"), "blocked", PEOPLE);
    estate.turns_with(&dora, "jobs", Deny, "could not find out").await;
    assert_eq!(estate.decides(&eve, "jobs").await, Deny);
    samba.move_to(&away, "blocked", GROUPS);
    estate.turns(&dora, "jobs", Allow).await;
    estate.turns_with(&eve, "jobs", Deny, "by blocked").await;

    // A name that no group had is one's that was moved to where groups are.
    assert_eq!(estate.decides(&dora, "secrets").await, Deny);
    samba.move_to(&elsewhere, "twin", GROUPS);
    estate.turns(&dora, "secrets", Allow).await;
    estate.turns_with(&eve, "secrets", Deny, "by twin").await;

    let frank = mail("frank");
    assert_eq!(estate.decides(&frank, "nodes").await, Allow);
    samba.set(&group("kind"), "groupType", &[DISTRIBUTION]);
    estate.turns(&frank, "nodes", NoOpinion).await;
    assert!((estate.service.metric("unresolved_policy_groups").await - 1.0).abs() < 0.5);
    samba.set(&group("kind"), "groupType", &[SECURITY]);
    estate.turns(&frank, "nodes", Allow).await;

    let gina = mail("gina");
    assert_eq!(estate.decides(&gina, "events").await, Allow);
    for _ in 0..2 {
        samba.bind("gina", "wrong").unwrap_err();
    }
    estate.turns_with(&gina, "events", Deny, "locked").await;
    samba.set(&person("gina"), "lockoutTime", &["0"]);
    estate.turns(&gina, "events", Allow).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_dirsync() {
    names_that_change_are_seen("dirsync", SYNC).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_dirsync_without_the_right_to_replicate() {
    names_that_change_are_seen("dirsync", SERVICE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_usn() {
    names_that_change_are_seen("poll", SYNC).await;
}
