//! What a change feed cannot tell, and what holds then: the lives of facts.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bailiwick::model::Decision::{Allow, Deny, NoOpinion};

use crate::estate::{ACCOUNTS, Estate, LONG_LIVED, of_everyone, of_group};
use crate::faulty::{FaultProxy, Mode};
use crate::samba::{DOMAIN, Entry, PEOPLE, SERVICE, SYNC, Samba};

/// The lives of facts where they are to end within a test.
const SOFT: Duration = Duration::from_secs(1);
const HARD: Duration = Duration::from_secs(3);
const SHORT_LIVED: &str = "cache: {softTTL: 1s, hardTTL: 3s, negativeTTL: 1s, followedTTL: 10m}";

fn person(name: &str) -> String {
    format!("CN={name},{PEOPLE}")
}

fn team(samba: &Samba) -> String {
    let members = ["alice", "bob", "carl"].map(|name| samba.add_user(name));
    samba.add_group("team", &members.each_ref().map(String::as_str))
}

fn policies() -> String {
    of_everyone(&["jobs"]) + &of_group("team", "Allow", "name: team", "pods")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_see_deletions_is_bounded_by_the_lives_of_facts() {
    for feed in ["auto", "notify"] {
        let samba = Samba::start();
        let team = team(&samba);
        let line = format!("changeFeed: {feed}");
        let estate = Estate::start(samba, SERVICE, &[&line], &[SHORT_LIVED, ACCOUNTS], &policies()).await;
        let readiness = estate.readiness().await;
        assert!(readiness.contains("but for what is deleted"), "{readiness}");
        for user in ["alice", "bob", "carl"] {
            assert_eq!(estate.decides(user, "pods").await, Allow);
        }
        assert!(!estate.is_followed("alice").await, "nobody tells if she is deleted");
        estate.samba.remove_member(&team, &person("alice"));
        let seen = estate.turns("alice", "pods", NoOpinion).await;
        println!("{feed}, without the sight of deletions: a member removed {seen:.1?}");

        estate.samba.delete(&person("bob"));
        let deleted = Instant::now();
        let seen = estate.turns("bob", "jobs", Deny).await;
        println!("{feed}: a user deleted {seen:.1?}, where facts live {SOFT:?} to {HARD:?}");
        assert_eq!(estate.decides("carl", "pods").await, Allow);
        estate.samba.delete(&team);
        let seen = estate.turns("carl", "pods", NoOpinion).await;
        println!("{feed}: a group deleted {seen:.1?}");
        assert!(deleted.elapsed() < Duration::from_secs(20));
    }
}

/// A proxy before the domain controller, and the lines that go through it.
async fn proxied(samba: &Samba) -> (FaultProxy, String) {
    let target: SocketAddr = format!("{}:636", samba.urls()[0].replace("ldaps://", "")).parse().unwrap();
    let proxy = FaultProxy::start(target).await;
    let section = samba.section(SYNC, &["changeFeed: auto", "pollInterval: 500ms"], &[]);
    let section = section.replace(&samba.urls()[0], &format!("ldaps://{}", proxy.address()));
    let ca = "caFile:";
    (proxy, section.replace(ca, &format!("serverName: dc1.{DOMAIN}, {ca}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_keeps_facts_alive_and_without_it_they_end_with_their_hard_life() {
    let samba = Samba::start();
    let team = team(&samba);
    let (proxy, section) = proxied(&samba).await;
    let estate = Estate::over(samba, &format!("{section}  {SHORT_LIVED}\n"), &policies()).await;
    for user in ["alice", "bob", "carl"] {
        assert_eq!(estate.decides(user, "pods").await, Allow);
    }
    let loads = estate.loads().await;
    tokio::time::sleep(HARD + SOFT).await;
    for user in ["alice", "bob", "carl"] {
        assert_eq!(estate.decides(user, "pods").await, Allow);
    }
    assert_eq!(
        estate.loads().await,
        loads,
        "nobody is looked up again while the feed says that nothing changed"
    );

    proxy.set(Mode::Refuse);
    let cut = Instant::now();
    estate.fed(false).await;
    println!("the feed is known to be down after {:.1?}", cut.elapsed());
    assert_eq!(estate.decides("alice", "pods").await, Allow, "as old as the feed's last word");
    estate.samba.remove_member(&team, &person("bob"));
    estate.turns("alice", "pods", NoOpinion).await;
    println!("facts ended {:.1?} after the cut, with a hard life of {HARD:?}", cut.elapsed());
    assert!(cut.elapsed() < HARD + Duration::from_secs(3));
    assert_eq!(estate.decides("bob", "pods").await, NoOpinion);
    assert_eq!(estate.decides("alice", "jobs").await, Allow, "what needs no directory goes on");

    proxy.set(Mode::Ok);
    let back = Instant::now();
    estate.fed(true).await;
    println!("the feed is up again after {:.1?}", back.elapsed());
    estate.turns("alice", "pods", Allow).await;
    assert_eq!(estate.decides("bob", "pods").await, NoOpinion);
    assert!(estate.is_followed("alice").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_goes_on_where_it_was_cut_and_only_what_changed_is_looked_up() {
    for feed in ["auto", "notify"] {
        let samba = Samba::start();
        let team = team(&samba);
        let line = format!("changeFeed: {feed}");
        let mut estate = Estate::start(samba, SYNC, &[&line], &[LONG_LIVED, ACCOUNTS], &policies()).await;
        for user in ["alice", "bob", "carl"] {
            assert_eq!(estate.decides(user, "pods").await, Allow);
        }
        estate.samba.stop();
        estate.fed(false).await;
        estate.samba.restart();
        // Before anybody follows it again, as likely as not.
        estate.samba.disable(&person("bob"));
        let back = Instant::now();
        estate.turns("bob", "pods", Deny).await;
        println!("{feed}: seen {:.1?} after the domain controller was back", back.elapsed());
        estate.fed(true).await;
        let loads = estate.loads().await;
        assert_eq!(estate.decides("carl", "pods").await, Allow);
        assert_eq!(estate.decides("alice", "pods").await, Allow);
        assert_eq!(estate.loads().await, loads, "{feed}: nothing that was told concerns them");
        estate.samba.remove_member(&team, &person("carl"));
        estate.turns("carl", "pods", NoOpinion).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_controller_that_hangs_is_noticed_and_followed_again() {
    let samba = Samba::start();
    let team = team(&samba);
    let estate = Estate::start(samba, SYNC, &["changeFeed: auto"], &[LONG_LIVED], &policies()).await;
    assert_eq!(estate.decides("alice", "pods").await, Allow);
    estate.samba.freeze();
    let frozen = Instant::now();
    estate.fed(false).await;
    println!("a domain controller that hangs: the feed is down after {:.1?}", frozen.elapsed());
    assert_eq!(estate.decides("alice", "pods").await, Allow);
    assert_eq!(estate.decides("carl", "pods").await, NoOpinion, "he is not known");
    estate.samba.thaw();
    estate.fed(true).await;
    estate.samba.remove_member(&team, &person("alice"));
    estate.turns("alice", "pods", NoOpinion).await;
    estate.turns("carl", "pods", Allow).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_and_groups_of_one_unit_are_followed_though_they_are_in_groups_outside_of_it() {
    let samba = Samba::start();
    let alice = samba.add_user("alice");
    let mut team = Entry::group("team", &[&alice]);
    team.dn = format!("CN=team,{PEOPLE}");
    samba.add(team);
    let ldap = [
        "changeFeed: dirsync",
        "pollInterval: 200ms",
        &format!("groupSearch: {{base: \"{PEOPLE}\"}}"),
        // Neither can be asked for with DirSync: both are computed.
        "attributes: {groups: {from: memberOf}, principal: {from: msDS-PrincipalName}}",
    ];
    let words = "apiVersion: bailiwick.dev/v1alpha1\nkind: Vocabulary\nmetadata: {name: words}\nspec: {attributes: \
                 {groups: {type: string}, principal: {type: string}}}\n---\n";
    let estate = Estate::start(samba, SYNC, &ldap, &[LONG_LIVED], &(policies() + words)).await;
    assert_eq!(estate.decides("alice", "pods").await, Allow);
    assert!(estate.is_followed("alice").await, "she is in `Domain Users`, which stands elsewhere");
    estate.samba.remove_member(&format!("CN=team,{PEOPLE}"), &alice);
    estate.turns("alice", "pods", NoOpinion).await;
}
