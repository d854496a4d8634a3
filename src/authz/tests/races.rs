//! A change while something is being read, on either side: the old answer is never what is held afterwards.

use super::*;
use crate::directory::ChangeFeed;
use crate::directory::persona::Asked;
use crate::directory::persona::samples::{COMPANY, OPEN_COMPANY, record};

const LEAF: &str = "CN=leaf,OU=Groups,DC=corp,DC=example";
const ADA: &str = "CN=Ada Lovelace,OU=People,DC=corp,DC=example";
const BOB: &str = "CN=Bob,OU=People,DC=corp,DC=example";
const CN_LEAF: &str = "cn=leaf,ou=groups,dc=corp,dc=example";
const CN_MID: &str = "cn=mid,ou=groups,dc=corp,dc=example";
const CN_TOP: &str = "cn=top,ou=groups,dc=corp,dc=example";
const UID_ADA: &str = "uid=ada,ou=people,dc=corp,dc=example";
const UID_BOB: &str = "uid=bob,ou=people,dc=corp,dc=example";

/// A domain controller that tells of deletions.
async fn domain() -> Persona {
    let server = Persona::active_directory(COMPANY).await;
    server.set(|manner| manner.sees_deleted = true);
    server
}

/// A review that is under way.
fn review(scene: &Arc<Scene>, user: &'static str) -> tokio::task::JoinHandle<Decision> {
    let scene = Arc::clone(scene);
    tokio::spawn(async move { scene.decides(user, "pods").await })
}

#[tokio::test]
async fn a_load_that_read_the_old_chain_is_read_again() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let scene = Arc::new(Scene::start(&[&server], &policy("Allow", "top", "pods"), |_| ()).await);
    // The last search of three: the chain was read by then.
    server.hold(|search| search.scope == "sub" && search.filter.contains(CN_TOP));
    let under_way = review(&scene, "ada");
    server.held(1).await;
    server.change(|content| content.remove_value(CN_MID, "member", CN_LEAF));
    // Who is in it is asked after it was told that it changed.
    server.until(|seen| seen.searches_of("base", CN_MID) == 1).await;
    server.release();
    assert_eq!(under_way.await.unwrap(), Decision::NoOpinion);
    assert_eq!(scene.decides("ada", "pods").await, Decision::NoOpinion);
}

#[tokio::test]
async fn who_joined_while_the_members_were_being_read_is_given_up_when_they_were() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let policies = policy("Allow", "others", "pods") + &policy("Deny", "top", "pods");
    let attributes = [("cn", "others"), ("member", UID_BOB)];
    let others = record("cn=others,ou=groups,dc=corp,dc=example", "groupOfNames", &attributes);
    server.change(|content| content.add(&others));
    let scene = Arc::new(Scene::start(&[&server], &policies, |_| ()).await);
    // The load has read by then that bob is in nothing but `others`.
    server.hold(|search| search.scope == "sub" && search.filter.contains("cn=others"));
    server.hold(|search| search.scope == "base" && search.base == CN_TOP);
    let under_way = review(&scene, "bob");
    server.held(1).await;
    server.change(|content| content.add_value(CN_TOP, "member", UID_BOB));
    server.held(2).await;
    server.release_oldest();
    assert_eq!(under_way.await.unwrap(), Decision::Allow, "nobody knows yet");
    assert_eq!(names(&scene.held("bob").unwrap()), BTreeSet::from(["others"]));
    server.release();
    scene.turns_to("bob", "pods", Decision::Deny).await;
    assert_eq!(scene.decides("bob", "pods").await, Decision::Deny);
}

#[tokio::test]
async fn a_group_that_nobody_was_known_to_be_in_joins_another_while_it_is_asked_what_it_is() {
    const DENIED: &str = "CN=denied,OU=Groups,DC=corp,DC=example";
    // By `uSNChanged` it is told by its name alone that `leaf` joined.
    for feed in [ChangeFeed::Notify, ChangeFeed::DirSync] {
        let server = domain().await;
        server.change(|content| content.add(&record(DENIED, "group", &[("sAMAccountName", "denied")])));
        let policies = policy("Allow", "leaf", "pods") + &policy("Deny", "denied", "pods");
        let change = |settings: &mut directory::Settings| settings.change_feed = feed;
        let scene = Arc::new(Scene::start(&[&server], &policies, change).await);
        scene.read("bob").await.unwrap();
        server.hold(|search| search.filter.contains("objectSid") && search.filter.starts_with("(|"));
        let under_way = review(&scene, "ada");
        server.held(1).await;
        server.change(|content| {
            content.add_value(DENIED, "member", LEAF);
            content.add_value(DENIED, "member", BOB);
        });
        // Both are told together.
        scene.given_up("bob").await;
        server.release();
        assert_eq!(under_way.await.unwrap(), Decision::Deny, "{feed:?}");
        assert_eq!(scene.decides("ada", "pods").await, Decision::Deny, "{feed:?}");
    }
}

#[tokio::test]
async fn a_group_that_is_renamed_while_it_is_asked_what_it_is_called_is_not_remembered_by_its_old_name() {
    let server = domain().await;
    let scene = Arc::new(Scene::start(&[&server], &policy("Allow", "leaf", "pods"), |_| ()).await);
    scene.read("bob").await.unwrap();
    let is_of_sids = |search: &Asked| search.filter.contains("objectSid");
    server.hold(is_of_sids);
    let under_way = review(&scene, "ada");
    server.held(1).await;
    server.change(|content| {
        content.set(LEAF, "sAMAccountName", &["blatt"]);
        content.set(BOB, "userAccountControl", &["514"]);
    });
    // The one is told after the other.
    scene.given_up("bob").await;
    server.release();
    assert_ne!(under_way.await.unwrap(), Decision::Deny);
    let expected = BTreeSet::from(["blatt", "mid", "top", "Domain Users", "Users"]);
    assert_eq!(names(&scene.read("ada").await.unwrap()), expected);
    server.forget();
    assert_eq!(names(&scene.read("CORP\\ada").await.unwrap()), expected);
    assert!(!server.seen().searches.iter().any(is_of_sids), "it is remembered by the new one");
}

#[tokio::test]
async fn a_purge_forgets_what_groups_were_called() {
    let server = domain().await;
    let off = |settings: &mut directory::Settings| settings.change_feed = ChangeFeed::Off;
    let scene = Scene::begin(&[&server], &policy("Allow", "leaf", "pods"), off);
    scene.read("ada").await.unwrap();
    server.change(|content| content.set(LEAF, "sAMAccountName", &["blatt"]));
    assert_eq!(scene.authorizer.purge(Some("ada")).await, 1);
    assert!(names(&scene.read("ada").await.unwrap()).contains("blatt"));
}

#[tokio::test]
async fn a_group_that_is_deleted_before_it_is_asked_what_it_was_takes_those_above_it_along() {
    for feed in [ChangeFeed::Poll, ChangeFeed::DirSync] {
        let server = domain().await;
        server.change(|content| content.add_value(LEAF, "member", BOB));
        let change = |settings: &mut directory::Settings| settings.change_feed = feed;
        let scene = Arc::new(Scene::start(&[&server], &policy("Allow", "top", "pods"), change).await);
        scene.read("bob").await.unwrap();
        server.hold(|search| search.scope == "base" && search.base == ADA);
        let under_way = review(&scene, "ada");
        server.held(1).await;
        server.change(|content| content.delete(LEAF));
        scene.given_up("bob").await;
        server.release();
        assert_eq!(under_way.await.unwrap(), Decision::NoOpinion, "{feed:?}");
        let read = scene.read("ada").await.unwrap();
        assert_eq!(names(&read), BTreeSet::from(["Domain Users", "Users"]), "{feed:?}");
    }
}

#[tokio::test]
async fn a_group_that_is_renamed_while_it_waits_to_be_read_is_read_by_its_new_name() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let group = |name: &str| format!("cn={name},ou=groups,dc=corp,dc=example");
    server.change(|content| {
        for number in 0..8 {
            let dn = group(&format!("busy{number}"));
            content.add(&record(&dn, "groupOfNames", &[("cn", "busy"), ("member", UID_ADA)]));
        }
        content.add(&record(&group("late"), "groupOfNames", &[("cn", "late"), ("member", UID_ADA)]));
    });
    let scene = Scene::start(&[&server], &policy("Deny", "later", "pods"), |_| ()).await;
    for user in ["ada", "bob"] {
        scene.read(user).await.unwrap();
    }
    server.hold(|search| search.scope == "base" && search.base.contains("ou=groups"));
    server.change(|content| {
        // As many as are read at once.
        (0..8).for_each(|number| content.add_value(&group(&format!("busy{number}")), "member", CN_TOP));
    });
    server.held(8).await;
    server.change(|content| {
        content.add_value(&group("late"), "member", UID_BOB);
        content.rename(&group("late"), &group("later"));
    });
    // Its rename is told to whoever is in it.
    eventually("the rename was told", || scene.held("ada").is_none()).await;
    assert!(scene.held("bob").is_some());
    server.release();
    scene.given_up("bob").await;
    scene.turns_to("bob", "pods", Decision::Deny).await;
}

#[tokio::test]
async fn nobody_is_locked_out_by_changes_of_everything_that_come_without_end() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let scene = Scene::start(&[&server], &policy("Deny", "leaf", "pods"), |_| ()).await;
    for is_of_a_group in [false, true] {
        let change = || async {
            match is_of_a_group {
                false => scene.authorizer.take(directory::Change::Anything, &Handle::current()),
                true => scene.authorizer.joined_by_somebody(crate::model::EntityId::new("g"), None).await,
            }
        };
        let end = Instant::now() + TOO_LONG;
        loop {
            scene.read("ada").await;
            change().await;
            if scene.held("ada").is_some() {
                break;
            }
            assert!(Instant::now() < end, "nothing that is read outlives the next change");
        }
        // And yet the last of them is acted on.
        scene.given_up("ada").await;
    }
}
