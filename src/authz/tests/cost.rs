//! What a look-up takes of the directory, counted, and what becomes of many at once.

use super::*;
use crate::directory::persona::samples::{COMPANY, OPEN_COMPANY, group, record};
use crate::directory::{ChangeFeed, Strategy};

const ADA: &str = "CN=Ada Lovelace,OU=People,DC=corp,DC=example";
/// No feed, and time enough: nobody asks but for the reviews, and nothing twice.
fn without_feed(settings: &mut directory::Settings) {
    settings.change_feed = ChangeFeed::Off;
    (settings.timeouts.operation, settings.timeouts.total) = (TOO_LONG, TOO_LONG);
    settings.group_search.max_groups = 6_000;
    settings.group_search.max_depth = 64;
}

/// A service without a feed whose group names are resolved.
async fn scene(server: &Persona, change: impl FnOnce(&mut directory::Settings)) -> Arc<Scene> {
    let scene = Scene::begin(&[server], &policy("Allow", "leaf", "pods"), |settings| {
        without_feed(settings);
        change(settings);
    });
    assert!(scene.authorizer.settled(TOO_LONG).await);
    server.forget();
    Arc::new(scene)
}

/// A domain in which ada is in so many groups more.
async fn domain(groups: usize) -> Persona {
    let mut ldif = COMPANY.to_owned() + "\n";
    for number in 0..groups {
        let name = format!("g{number}");
        let dn = format!("CN={name},OU=Groups,DC=corp,DC=example");
        ldif += &group(&dn, "group", ("sAMAccountName", &name), std::iter::once(ADA.to_owned()));
    }
    Persona::active_directory(&ldif).await
}

fn reviews(scene: &Arc<Scene>, users: impl Iterator<Item = String>) -> tokio::task::JoinSet<Decision> {
    let mut reviews = tokio::task::JoinSet::new();
    for user in users {
        let scene = Arc::clone(scene);
        reviews.spawn(async move { scene.decides(&user, "pods").await });
    }
    reviews
}

/// The groups of `COMPANY` that ada is in, and those that everybody is in.
const USUAL: usize = 5;

#[tokio::test]
async fn three_hundred_groups_of_active_directory_are_asked_for_in_two_searches_beside_each_other() {
    let server = domain(300).await;
    let scene = scene(&server, |_| ()).await;
    server.hold(|search| search.filter.contains("objectSid"));
    let mut under_way = reviews(&scene, ["ada".to_owned()].into_iter());
    server.held(2).await;
    server.release();
    assert_eq!(under_way.join_next().await.unwrap().unwrap(), Decision::Allow);
    assert_eq!(server.seen().questions().len(), 4, "the person, the token, 200 names and the others");
    assert_eq!(scene.held("ada").unwrap().groups.len(), 300 + USUAL);
    server.forget();
    scene.read("CORP\\ada").await.unwrap();
    assert_eq!(server.seen().questions().len(), 2, "the names are known");
    server.forget();
    scene.grow_old(Duration::from_secs(3 * 3_600));
    scene.read("ada").await.unwrap();
    assert_eq!(server.seen().questions().len(), 1, "where the person stands is known too");
}

#[tokio::test]
async fn values_that_come_in_ranges_are_read_to_their_end() {
    // `memberOf` of one person, with 1,500 values at a time.
    let server = domain(3_200).await;
    let scene = scene(&server, |settings| settings.group_search.strategy = Strategy::MemberOf).await;
    let facts = scene.read("ada").await.unwrap();
    assert_eq!(facts.partial, None);
    let direct = facts.groups.iter().filter(|membership| membership.group.name.starts_with('g')).count();
    assert_eq!(direct, 3_200);
}

#[tokio::test]
async fn whoever_joins_a_group_of_thousands_is_found_among_them() {
    let others = (0..3_200).map(|number| format!("CN=p{number},OU=People,DC=corp,DC=example"));
    let big = "CN=big,OU=Groups,DC=corp,DC=example";
    let ldif = COMPANY.to_owned() + "\n" + &group(big, "group", ("sAMAccountName", "big"), others);
    let server = Persona::active_directory(&ldif).await;
    // Not told who came: the members are read, 1,500 at a time.
    let polls = |settings: &mut directory::Settings| settings.change_feed = ChangeFeed::Poll;
    let scene = Scene::start(&[&server], &policy("Deny", "big", "pods"), polls).await;
    for user in ["ada", "bob"] {
        assert_eq!(scene.decides(user, "pods").await, Decision::NoOpinion);
    }
    server.change(|content| content.add_value(big, "member", "CN=Bob,OU=People,DC=corp,DC=example"));
    scene.given_up("bob").await;
    scene.turns_to("bob", "pods", Decision::Deny).await;
    assert!(scene.held("ada").is_some(), "it does not concern ada");
}

#[tokio::test]
async fn somebody_in_five_thousand_groups_is_in_all_of_them() {
    let server = domain(5_000).await;
    let scene = scene(&server, |_| ()).await;
    let facts = scene.read("ada").await.unwrap();
    assert_eq!((facts.groups.len(), facts.partial), (5_000 + USUAL, None));
    let expected = 2 + 3 + 3 + 26;
    assert_eq!(
        server.seen().questions().len(),
        expected,
        "with ranges of two attributes, and 200 names at once"
    );
}

#[tokio::test]
async fn elsewhere_a_level_of_nesting_is_a_search() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let scene = scene(&server, |_| ()).await;
    let names_of = |facts: Arc<Facts>| names(&facts).into_iter().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(names_of(scene.read("ada").await.unwrap()), ["leaf", "mid", "top"]);
    assert_eq!(server.seen().questions().len(), 2 + 3);
}

#[tokio::test]
async fn a_circle_of_fifty_groups_is_gone_round_once() {
    let mut ldif = OPEN_COMPANY.to_owned() + "\n";
    let dn = |number: usize| format!("cn=c{number},ou=groups,dc=corp,dc=example");
    for number in 0..50 {
        let mut members = vec![dn((number + 49) % 50)];
        if number == 0 {
            members.push("uid=bob,ou=people,dc=corp,dc=example".to_owned());
        }
        ldif += &group(&dn(number), "groupOfNames", ("cn", &format!("c{number}")), members.into_iter());
    }
    let server = Persona::open_ldap(&ldif).await;
    let scene = scene(&server, |_| ()).await;
    let facts = scene.read("bob").await.unwrap();
    assert_eq!((facts.groups.len(), facts.partial), (50, None));
    assert_eq!(server.seen().questions().len(), 1 + 51, "the last finds the first again");
}

#[tokio::test]
async fn a_thousand_reviews_of_one_cold_user_are_one_look_up() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let scene = scene(&server, |_| ()).await;
    server.hold(|search| search.filter.contains("(uid=ada)"));
    let mut reviews = reviews(&scene, (0..1_000).map(|_| "ada".to_owned()));
    server.held(1).await;
    server.release();
    while let Some(decision) = reviews.join_next().await {
        assert_eq!(decision.unwrap(), Decision::Allow);
    }
    assert_eq!(server.seen().questions().len(), 2 + 3);
}

#[tokio::test]
async fn a_thousand_cold_users_are_looked_up_by_as_many_at_once_as_a_directory_is_to_be_asked() {
    let mut ldif = OPEN_COMPANY.to_owned() + "\n";
    let people = || (0..1_000).map(|number| format!("p{number}"));
    for name in people() {
        let dn = format!("uid={name},ou=people,dc=corp,dc=example");
        ldif += &record(&dn, "inetOrgPerson", &[("uid", &name), ("cn", &name), ("sn", &name)]);
    }
    let server = Persona::open_ldap(&ldif).await;
    let scene = scene(&server, |_| ()).await;
    server.hold(|search| search.filter.contains("(uid=p"));
    let mut reviews = reviews(&scene, people());
    server.held(32).await;
    server.release();
    while let Some(decision) = reviews.join_next().await {
        assert_eq!(decision.unwrap(), Decision::NoOpinion);
    }
    assert_eq!((server.seen().questions().len(), server.seen().most_in_flight), (2_000, 32));
}
