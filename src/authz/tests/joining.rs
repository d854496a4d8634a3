//! A group that changed and is too large to be compared with what is held: whoever joined it is not known.

use super::*;
use crate::directory::persona::samples::{COMPANY, OPEN_COMPANY, group};

const EVERYONE: &str = "cn=everyone,ou=groups,dc=corp,dc=example";
const CN_TOP: &str = "cn=top,ou=groups,dc=corp,dc=example";
const OTHERS: &str = "cn=others,ou=groups,dc=corp,dc=example";
const UID_BOB: &str = "uid=bob,ou=people,dc=corp,dc=example";
/// One more than is compared.
const MANY: usize = 20_001;

/// A directory with a group of many, which is in `top`.
async fn crowd() -> Persona {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let members = (0..MANY).map(|number| format!("uid=n{number},ou=people,dc=corp,dc=example"));
    server.change(|content| {
        content.add(&group(EVERYONE, "groupOfNames", ("cn", "everyone"), members));
        content.add_value(CN_TOP, "member", EVERYONE);
        content.add(&group(OTHERS, "groupOfNames", ("cn", "others"), [UID_BOB.to_owned()].into_iter()));
    });
    server
}

fn join(server: &Persona) {
    server.change(|content| content.add_value(EVERYONE, "member", UID_BOB));
}

#[tokio::test]
async fn where_a_deny_names_it_or_a_group_above_it_nobody_is_answered_from_what_was_held() {
    for denied in ["everyone", "top"] {
        let server = crowd().await;
        let policies = policy("Allow", "others", "pods") + &policy("Deny", denied, "pods");
        let scene = Scene::start(&[&server], &policies, |_| ()).await;
        assert_eq!(scene.decides("bob", "pods").await, Decision::Allow);
        scene.read("ada").await.unwrap();
        join(&server);
        scene.given_up("bob").await;
        assert_eq!(scene.decides("bob", "pods").await, Decision::Deny, "{denied}");
        assert!(scene.held("ada").is_none(), "it may have been ada");
    }
}

#[tokio::test]
async fn where_the_name_in_a_deny_stands_for_no_one_group_it_may_be_this_one() {
    let server = crowd().await;
    let policies = policy("Allow", "others", "pods") + &policy("Deny", "unheard-of", "secrets");
    let scene = Scene::start(&[&server], &policies, |_| ()).await;
    scene.read("bob").await.unwrap();
    join(&server);
    scene.given_up("bob").await;
}

#[tokio::test]
async fn where_no_deny_is_concerned_everybody_is_answered_from_what_was_held_once_more_and_then_as_it_is() {
    let server = crowd().await;
    let policies = policy("Allow", "everyone", "pods") + &policy("Deny", "leaf", "secrets");
    let scene = Scene::start(&[&server], &policies, |_| ()).await;
    assert_eq!(scene.decides("bob", "pods").await, Decision::NoOpinion);
    server.hold(|search| search.scope == "sub" && search.filter.contains("member=cn=everyone"));
    join(&server);
    // Where it stands is being looked at.
    server.held(1).await;
    server.release();
    // What is asked for from now on is due to be read again, also when the feed tells that all is well.
    scene.turns_to("bob", "pods", Decision::Allow).await;
}

#[tokio::test]
async fn of_a_large_group_no_more_is_read_than_shows_that_it_is_large() {
    const CROWD: &str = "CN=crowd,OU=Groups,DC=corp,DC=example";
    let server = Persona::active_directory(COMPANY).await;
    let members = (0..MANY + 20_000).map(|number| format!("CN=n{number},OU=People,DC=corp,DC=example"));
    server.change(|content| content.add(&group(CROWD, "group", ("sAMAccountName", "crowd"), members)));
    let change = |settings: &mut directory::Settings| settings.change_feed = directory::ChangeFeed::Notify;
    let scene = Scene::start(&[&server], &policy("Deny", "crowd", "pods"), change).await;
    scene.read("bob").await.unwrap();
    server.forget();
    server.change(|content| content.add_value(CROWD, "member", "CN=Bob,OU=People,DC=corp,DC=example"));
    scene.given_up("bob").await;
    let ranges = server.seen().searches_of("base", CROWD);
    assert!((2..=15).contains(&ranges), "{ranges} searches");
}
