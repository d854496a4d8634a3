//! How soon a change in Active Directory is seen by the next review, by each kind of change feed.

use std::time::Duration;

use bailiwick::model::Decision::{Allow, Deny, NoOpinion};

use crate::estate::{ACCOUNTS, Estate, LONG_LIVED, of_everyone, of_group, show};
use crate::fixture::policy;
use crate::samba::{BASE, Entry, GROUPS, PEOPLE, SYNC, Samba};

/// How often a change is made whose distribution is printed.
const TURNS: usize = 20;
/// Between two changes of one entry. Of more than eight in a second the further ones are a storm, which waits.
const PACE: Duration = Duration::from_millis(150);

fn person(name: &str) -> String {
    format!("CN={name},{PEOPLE}")
}

fn group(name: &str) -> String {
    format!("CN={name},{GROUPS}")
}

/// `leaf` < `middle` < `top`; a unit with a user and a group in it; somebody for each change.
fn people(samba: &Samba) {
    for name in ["alice", "bob", "carl", "dora", "eve", "fred", "gina", "henry", "jack", "kate", "lena"] {
        samba.add_user(name);
    }
    samba.add_group("leaf", &[&person("bob")]);
    samba.add_group("middle", &[&group("leaf"), &person("alice")]);
    samba.add_group("top", &[&group("middle")]);
    samba.add_group("gang", &[&person("dora")]);
    for name in ["suspended", "joiners", "special"] {
        samba.add_group(name, &[]);
    }
    samba.add_group("frozen", &[&person("fred")]);
    samba.add_group("doomed", &[&person("henry")]);
    samba.add_member(&group("special"), &person("jack"));
    let unit = format!("OU=unit,{PEOPLE}");
    samba.add(Entry::new(unit.clone(), &[("objectClass", "organizationalUnit")]));
    let mut ivy = Entry::user("ivy");
    ivy.dn = format!("CN=ivy,{unit}");
    let ivy = samba.add(ivy);
    let mut staff = Entry::group("staff", &[&ivy]);
    staff.dn = format!("CN=staff,{unit}");
    samba.add(staff);
}

fn policies(samba: &Samba) -> String {
    let domain_users = samba.identity(&format!("CN=Domain Users,CN=Users,{BASE}")).sid_text();
    [
        of_everyone(&["secrets", "configmaps", "jobs", "events"]),
        of_group("top", "Allow", "name: top", "pods"),
        of_group("suspended", "Deny", "name: suspended", "secrets"),
        of_group("frozen", "Deny", "name: frozen", "configmaps"),
        of_group("doomed", "Allow", "name: doomed", "services"),
        of_group("joiners", "Allow", "name: joiners", "endpoints"),
        of_group("members", "Allow", &format!("id: {domain_users}"), "nodes"),
        of_group("before", "Allow", &format!("dn: \"CN=staff,OU=unit,{PEOPLE}\""), "leases"),
        of_group("after", "Deny", &format!("dn: \"CN=staff,OU=renamed,{PEOPLE}\""), "events"),
        policy("payments", "Allow", "[{kind: Everyone}]", "[roles]")
            .replace("  message:", "  when: {directory: {department: [payments]}}\n  message:"),
        "apiVersion: bailiwick.dev/v1alpha1\nkind: Vocabulary\nmetadata: {name: words}\n\
         spec: {attributes: {department: {type: string}}}\n---\n"
            .to_owned(),
    ]
    .concat()
}

/// Every kind of change, each seen by nothing but the feed. Returns what is printed.
async fn every_change_is_seen(feed: &str, interval: &str) {
    let samba = Samba::start();
    people(&samba);
    let policies = policies(&samba);
    let ldap = [
        &format!("changeFeed: {feed}"),
        &format!("pollInterval: {interval}"),
        "attributes: {department: {from: department, type: string}}",
    ];
    let estate = Estate::start(samba, SYNC, &ldap, &[LONG_LIVED, ACCOUNTS], &policies).await;
    let samba = &estate.samba;
    println!("{feed}: {}", estate.readiness().await);
    let mut taken = Vec::new();

    // The middle of a nested chain, again and again; there and back.
    assert_eq!(estate.decides("alice", "pods").await, Allow);
    assert!(estate.is_followed("alice").await);
    assert_eq!(estate.decides("lena", "jobs").await, Allow);
    let (mut revoked, mut granted) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        tokio::time::sleep(PACE).await;
        samba.remove_member(&group("middle"), &person("alice"));
        revoked.push(estate.turns("alice", "pods", NoOpinion).await);
        tokio::time::sleep(PACE).await;
        samba.add_member(&group("middle"), &person("alice"));
        granted.push(estate.turns("alice", "pods", Allow).await);
    }
    show(&format!("{feed}: a member removed"), revoked);
    show(&format!("{feed}: a member added, who is allowed by it"), granted);
    let loads = estate.loads().await;
    assert_eq!(estate.decides("lena", "jobs").await, Allow);
    assert_eq!(estate.loads().await, loads, "none of this concerns her");
    let mut note = |what: &str, after| taken.push(format!("{what} {after:.1?}"));

    assert_eq!(estate.decides("bob", "pods").await, Allow);
    samba.remove_member(&group("middle"), &group("leaf"));
    note("a group removed from a group", estate.turns("bob", "pods", NoOpinion).await);

    assert_eq!(estate.decides("carl", "secrets").await, Allow);
    samba.add_member(&group("suspended"), &person("carl"));
    note("a user added to a group that a Deny names", estate.turns("carl", "secrets", Deny).await);

    assert_eq!(estate.decides("dora", "secrets").await, Allow);
    samba.add_member(&group("suspended"), &group("gang"));
    note("a group added to such a group", estate.turns("dora", "secrets", Deny).await);

    assert_eq!(estate.decides("eve", "jobs").await, Allow);
    samba.disable(&person("eve"));
    note("an account disabled", estate.turns_with("eve", "jobs", Deny, "disabled").await);
    samba.enable(&person("eve"));
    note("enabled", estate.turns("eve", "jobs", Allow).await);
    samba.set(&person("eve"), "accountExpires", &["132000300000000000"]);
    note("an account expired", estate.turns_with("eve", "jobs", Deny, "expired").await);

    // A Deny by a name that nobody has any more is not known to spare anybody.
    assert_eq!(estate.decides("fred", "configmaps").await, Deny);
    assert_eq!(estate.decides("gina", "configmaps").await, Allow);
    samba.set(&group("frozen"), "sAMAccountName", &["thawed"]);
    note(
        "a group renamed that a Deny names",
        estate.turns_with("gina", "configmaps", Deny, "could not find out").await,
    );
    assert_eq!(estate.decides("fred", "configmaps").await, Deny);
    assert!((estate.service.metric("unresolved_policy_groups").await - 1.0).abs() < 0.5);
    let mut namesake = Entry::group("frozen-2", &[&person("gina")]);
    namesake.attributes.retain(|(name, _)| *name != "sAMAccountName");
    namesake.attributes.push(("sAMAccountName", vec!["frozen".into()]));
    samba.add(namesake);
    note("a namesake of it", estate.turns("fred", "configmaps", Allow).await);
    estate.turns_with("gina", "configmaps", Deny, "by frozen").await;

    assert_eq!(estate.decides("kate", "endpoints").await, NoOpinion);
    samba.add_member(&group("joiners"), &person("kate"));
    note("a user added to a group that an Allow names", estate.turns("kate", "endpoints", Allow).await);
    assert_eq!(estate.decides("late", "jobs").await, Deny, "nobody");
    samba.add_user("late");
    note("a user added", estate.turns("late", "jobs", Allow).await);
    assert_eq!(estate.decides("kate", "roles").await, NoOpinion);
    samba.set(&person("kate"), "department", &["payments"]);
    note("an attribute set", estate.turns("kate", "roles", Allow).await);
    samba.set(&person("kate"), "department", &["risk"]);
    note("and changed", estate.turns("kate", "roles", NoOpinion).await);
    samba.set(&person("kate"), "sAMAccountName", &["kate2"]);
    note("a user renamed", estate.turns_with("kate", "jobs", Deny, "no entry").await);

    assert_eq!(estate.decides("ivy", "leases").await, Allow);
    assert_eq!(estate.decides("ivy", "events").await, Allow);
    samba.rename_unit(&format!("OU=unit,{PEOPLE}"), "renamed");
    note("a unit renamed that holds a user and a group", estate.turns("ivy", "leases", NoOpinion).await);
    estate.turns("ivy", "events", Deny).await;

    assert_eq!(estate.decides("jack", "nodes").await, Allow);
    let special = samba.identity(&group("special")).sid_text();
    samba.set(&person("jack"), "primaryGroupID", &[special.rsplit_once('-').unwrap().1]);
    samba.remove_member(&format!("CN=Domain Users,CN=Users,{BASE}"), &person("jack"));
    note("another primary group", estate.turns("jack", "nodes", NoOpinion).await);

    assert_eq!(estate.decides("henry", "services").await, Allow);
    assert_eq!(estate.decides("henry", "jobs").await, Allow);
    samba.delete(&group("doomed"));
    note("a group deleted", estate.turns("henry", "services", NoOpinion).await);
    samba.delete(&person("henry"));
    note("a user deleted", estate.turns_with("henry", "jobs", Deny, "no entry").await);
    println!("{feed}: {}", taken.join("; "));
}

#[tokio::test(flavor = "multi_thread")]
async fn by_dirsync_as_soon_as_it_is_notified() {
    every_change_is_seen("auto", "5s").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_dirsync_alone() {
    every_change_is_seen("dirsync", "500ms").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_usn_as_soon_as_it_is_notified() {
    every_change_is_seen("notify", "5s").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_usn_alone() {
    every_change_is_seen("poll", "500ms").await;
}
