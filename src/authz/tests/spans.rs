//! What the feed makes of the age of facts: as long as it misses nothing they are as if just read, whatever becomes of its
//! connection; where it may have missed something they are due to be read again.

use super::*;
use crate::directory::ChangeFeed;
use crate::directory::persona::samples::{COMPANY, OPEN_COMPANY, record};
use crate::directory::persona::{Asked, Fault, MemberOf, Outcome};

const ADA: &str = "CN=Ada Lovelace,OU=People,DC=corp,DC=example";
const BOB: &str = "CN=Bob,OU=People,DC=corp,DC=example";
const LEAF: &str = "CN=leaf,OU=Groups,DC=corp,DC=example";
const CN_LEAF: &str = "cn=leaf,ou=groups,dc=corp,dc=example";
const CN_MID: &str = "cn=mid,ou=groups,dc=corp,dc=example";
const UID_ADA: &str = "uid=ada,ou=people,dc=corp,dc=example";
const UID_BOB: &str = "uid=bob,ou=people,dc=corp,dc=example";

/// A service over a directory, who has read ada and bob.
async fn read(server: &Persona, change: impl FnOnce(&mut directory::Settings)) -> Scene {
    let scene = Scene::start(&[server], &policy("Allow", "top", "pods"), change).await;
    for user in ["ada", "bob"] {
        assert!(scene.read(user).await.unwrap().followed, "{user}");
    }
    scene
}

async fn open_ldap() -> (Persona, Scene) {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let scene = read(&server, |_| ()).await;
    (server, scene)
}

async fn domain(change: impl FnOnce(&mut directory::Settings)) -> (Persona, Scene) {
    let server = Persona::active_directory(COMPANY).await;
    server.set(|manner| manner.sees_deleted = true);
    let scene = read(&server, change).await;
    (server, scene)
}

impl Scene {
    /// Ends the connection of the feed, and waits until it is up again; `meanwhile` happens in between.
    async fn reconnected(&self, server: &Persona, meanwhile: impl FnOnce()) {
        server.down().await;
        self.until("the feed is down", |feed| !feed.is_up).await;
        meanwhile();
        server.up().await;
        self.until("the feed is up", |feed| feed.is_up).await;
        // As long as a breaker may want other servers, and a failed load another try.
        self.grow_old(Duration::from_secs(2));
    }

    /// Whether somebody is held and due to be read again: a review then asks the directory, behind its answer.
    async fn is_due(&self, server: &Persona, user: &str) -> bool {
        assert!(self.held(user).is_some(), "{user} is not held");
        let before = questions_of(server, user);
        self.read(user).await.unwrap();
        // What is asked, is asked at once.
        for _ in 0..50 {
            if questions_of(server, user) > before {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        false
    }
}

fn is_sync(search: &Asked) -> bool {
    search.controls.iter().any(|control| control.ends_with(".4203.1.9.1.1"))
}

/// How often a person was asked for.
fn questions_of(server: &Persona, user: &str) -> usize {
    let names = [format!("(uid={user})"), format!("(sAMAccountName={user})")];
    let is_it = |search: &&Asked| {
        names.iter().any(|name| search.filter.contains(name)) || (user == "ada" && search.base == ADA)
    };
    server.seen().searches.iter().filter(is_it).count()
}

#[tokio::test]
async fn with_the_servers_log_a_disconnect_costs_nothing_and_misses_nothing() {
    let (server, scene) = open_ldap().await;
    scene.reconnected(&server, || server.change(|content| content.delete(UID_BOB))).await;
    scene.given_up("bob").await;
    assert!(!scene.is_due(&server, "ada").await, "nothing concerned ada");
    assert_eq!(scene.read("bob").await.unwrap().person, Person::NotFound);
}

#[tokio::test]
async fn an_entry_that_nobody_knows_and_that_went_while_nothing_was_told_makes_everything_due() {
    let (server, scene) = open_ldap().await;
    let spare = "ou=spare,dc=corp,dc=example";
    server.change(|content| content.add(&record(spare, "organizationalUnit", &[("ou", "spare")])));
    scene.given_up("ada").await;
    scene.read("ada").await.unwrap();
    scene.reconnected(&server, || server.change(|content| content.delete(spare))).await;
    assert!(scene.is_due(&server, "ada").await, "it may have stood above ada");
}

#[tokio::test]
async fn without_the_servers_log_everything_is_due_to_be_read_again() {
    for refuses in [false, true] {
        let (server, scene) = open_ldap().await;
        server.set(|manner| manner.refuses_stale_cookies = refuses);
        let meanwhile = || {
            server.change(|content| {
                content.delete(UID_BOB);
                content.cut_log();
            });
        };
        scene.reconnected(&server, meanwhile).await;
        // `e-syncRefreshRequired` (4096), or all that is still there.
        assert!(scene.is_due(&server, "ada").await, "{refuses}");
        scene.becomes("bob", |facts| facts.person == Person::NotFound).await;
    }
}

impl Scene {
    /// Uses what is held of somebody until it is this.
    async fn becomes(&self, user: &str, is_so: impl Fn(&Facts) -> bool) {
        let end = Instant::now() + TOO_LONG;
        while !self.read(user).await.is_some_and(|facts| is_so(&facts)) {
            assert!(Instant::now() < end, "{user} is {:?}", self.held(user));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

#[tokio::test]
async fn a_server_that_tells_nothing_more_is_noticed_by_its_marks() {
    let (server, scene) = open_ldap().await;
    server.mute_feeds();
    server.change(|content| content.remove_value(CN_MID, "member", CN_LEAF));
    scene.given_up("ada").await;
    assert!(scene.held("bob").is_some(), "nothing was missed");
    assert_eq!(scene.decides("ada", "pods").await, Decision::NoOpinion);
}

#[tokio::test]
async fn a_deletion_that_is_not_told_is_noticed_too() {
    let (server, scene) = open_ldap().await;
    server.mute_feeds();
    server.change(|content| content.delete(UID_BOB));
    scene.given_up("bob").await;
    assert!(scene.held("ada").is_some(), "nothing was missed");
    scene.until("the feed is up", |feed| feed.is_up).await;
}

#[tokio::test]
async fn a_server_that_keeps_no_log_is_asked_once_what_it_did_not_tell() {
    const SECRET: &str = "ou=secret,dc=corp,dc=example";
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    server.change(|content| content.add(&record(SECRET, "organizationalUnit", &[])));
    server.hide(|name, _| name == SECRET);
    let scene = read(&server, |_| ()).await;
    // Others write what we may not see, and the marks are ahead of what was told.
    server.mute_feeds();
    for round in 0..2 {
        server.change(|content| {
            content.set(SECRET, "description", &[&round.to_string()]);
            content.cut_log();
        });
        let changed = Some(Instant::now());
        scene.until("it is known that nothing was missed", |feed| feed.confirmed > changed).await;
        assert_eq!(
            scene.is_due(&server, "ada").await,
            round == 0,
            "the first time nobody knows what was deleted"
        );
    }
    let syncs = server.seen().searches.iter().filter(|search| is_sync(search)).count();
    assert_eq!((syncs, server.seen().feeds), (2, 1));
}

#[tokio::test]
async fn a_server_that_freezes_is_given_up_and_taken_up_again() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let scene = read(&server, |settings| {
        settings.timeouts.operation = Duration::from_secs(1);
        settings.timeouts.connect = Duration::from_secs(1);
    })
    .await;
    server.freeze();
    scene.until("the feed is down", |feed| !feed.is_up).await;
    server.change(|content| content.remove_value(CN_MID, "member", CN_LEAF));
    server.thaw();
    scene.until("the feed is up", |feed| feed.is_up).await;
    scene.given_up("ada").await;
    assert!(scene.held("bob").is_some());
}

#[tokio::test]
async fn however_the_feed_ends_it_goes_on_where_it_stopped() {
    let (server, scene) = open_ldap().await;
    server.end_feeds(Outcome::new(52, "shutting down"));
    scene.until("the feed is down", |feed| !feed.is_up).await;
    server.change(|content| content.remove_value(CN_MID, "member", CN_LEAF));
    scene.given_up("ada").await;
    // The next one dies in the middle of what it says first.
    server.fault_where(Fault::CloseInEntry, is_sync);
    server.close_all();
    scene.until("the feed is down", |feed| !feed.is_up).await;
    server.change(|content| content.add_value(CN_MID, "member", UID_BOB));
    server.until(|seen| seen.searches.iter().filter(|search| is_sync(search)).count() > 2).await;
    server.heal();
    scene.given_up("bob").await;
}

#[tokio::test]
async fn a_domain_controller_that_was_put_back_makes_everything_due() {
    for feed in [ChangeFeed::DirSync, ChangeFeed::Poll] {
        let (server, scene) = domain(|settings| settings.change_feed = feed).await;
        server.set(|manner| manner.root("highestCommittedUSN", &["1000001"]));
        scene.until("it is noticed", |feed| feed.trouble.contains("went back")).await;
        scene.until("the feed is up", |feed| feed.is_up).await;
        assert!(scene.is_due(&server, "ada").await, "{feed:?}");
    }
}

#[tokio::test]
async fn a_cookie_that_is_refused_makes_everything_due() {
    let (server, scene) = domain(|settings| settings.change_feed = ChangeFeed::DirSync).await;
    server.fault_where(Fault::Result(Outcome::new(12, "0000202C: Unable to unmarshall cookie")), |search| {
        search.controls.iter().any(|control| control.ends_with(".841"))
    });
    scene.until("it is noticed", |feed| !feed.is_up).await;
    server.heal();
    scene.until("the feed is up", |feed| feed.is_up).await;
    assert!(scene.is_due(&server, "ada").await);
    server.change(|content| content.remove_value(LEAF, "member", ADA));
    scene.given_up("ada").await;
}

#[tokio::test]
async fn a_feed_that_does_not_see_deletions_confirms_nothing_and_tells_of_the_rest() {
    for feed in [ChangeFeed::DirSync, ChangeFeed::Notify, ChangeFeed::Poll] {
        let server = Persona::active_directory(COMPANY).await;
        let change = |settings: &mut directory::Settings| settings.change_feed = feed;
        let scene = Scene::start(&[&server], &policy("Allow", "top", "pods"), change).await;
        for user in ["ada", "bob"] {
            assert!(!scene.read(user).await.unwrap().followed);
        }
        server.change(|content| content.delete(BOB));
        server.change(|content| content.remove_value(LEAF, "member", ADA));
        scene.given_up("ada").await;
        assert!(scene.held("bob").is_some(), "{feed:?}: nobody told");
        let told = scene.directory.feed();
        assert_eq!((told.is_up, told.is_complete, told.confirmed), (true, false, None), "{feed:?}");
        scene.grow_old(Duration::from_secs(2 * 3_600));
        assert!(scene.held("bob").is_none(), "too old to allow");
    }
}

#[tokio::test]
async fn where_notifications_are_refused_the_server_is_asked_at_intervals() {
    for feed in [ChangeFeed::Auto, ChangeFeed::Notify] {
        let server = Persona::active_directory(COMPANY).await;
        server.set(|manner| (manner.sees_deleted, manner.max_notifications) = (true, 0));
        let scene = read(&server, |settings| settings.change_feed = feed).await;
        server.change(|content| content.remove_value(LEAF, "member", ADA));
        scene.given_up("ada").await;
    }
}

#[tokio::test]
async fn a_feed_that_stops_bounds_what_is_allowed() {
    let (server, scene) = domain(|settings| settings.change_feed = ChangeFeed::Poll).await;
    server.down().await;
    scene.until("the feed is down", |feed| !feed.is_up).await;
    assert_eq!(scene.metrics.directory.feed_up.get(), 0);
    assert_eq!(scene.decides("ada", "pods").await, Decision::Allow, "it is not old yet");
    scene.grow_old(Duration::from_secs(2 * 3_600));
    assert_ne!(scene.decides("ada", "pods").await, Decision::Allow);
}

#[tokio::test]
async fn facts_with_an_entry_whose_uuid_cannot_be_read_are_not_followed_by_uuids() {
    for hidden in [CN_MID, UID_ADA] {
        let server = Persona::open_ldap(OPEN_COMPANY).await;
        server.hide(move |name, kind| name == hidden && kind == "entryuuid");
        let scene = Scene::start(&[&server], &policy("Allow", "top", "pods"), |_| ()).await;
        assert!(!scene.read("ada").await.unwrap().followed, "{hidden}");
        assert!(scene.read("bob").await.unwrap().followed, "nothing of bob's is hidden");
    }
}

/// What a person has to have to be found, beside a name.
fn found_by(clause: &str) -> impl FnOnce(&mut directory::Settings) {
    let filter = format!("(&(sAMAccountName={{username}}){clause})");
    move |settings| {
        settings.change_feed = ChangeFeed::DirSync;
        settings.user_search.filter = Some(filter);
    }
}

#[tokio::test]
async fn somebody_who_is_found_no_more_by_any_part_of_the_filter_is_given_up() {
    for clause in ["(extensionAttribute5=k8s)", "(!(extensionAttribute6=*))", "(extensionAttribute5=k*)"] {
        let server = Persona::active_directory(COMPANY).await;
        server.set(|manner| manner.sees_deleted = true);
        for user in [ADA, BOB] {
            server.change(|content| content.set(user, "extensionAttribute5", &["k8s"]));
        }
        let scene = read(&server, found_by(clause)).await;
        server.change(|content| match clause.starts_with("(!") {
            true => content.set(ADA, "extensionAttribute6", &["x"]),
            false => content.set(ADA, "extensionAttribute5", &[]),
        });
        scene.given_up("ada").await;
        assert!(scene.held("bob").is_some());
        assert_eq!(scene.decides("ada", "pods").await, Decision::NoOpinion, "{clause}");
    }
}

#[tokio::test]
async fn an_account_that_expires_by_the_shadow_schema_is_given_up() {
    let (server, scene) = domain(|settings| settings.change_feed = ChangeFeed::DirSync).await;
    server.change(|content| content.set(ADA, "shadowExpire", &["1"]));
    scene.given_up("ada").await;
}

#[tokio::test]
async fn facts_that_depend_on_what_no_feed_tells_are_not_followed() {
    let server = Persona::active_directory(COMPANY).await;
    server.set(|manner| manner.sees_deleted = true);
    let clause = format!("(memberOf={LEAF})");
    let scene = Scene::start(&[&server], &policy("Allow", "top", "pods"), found_by(&clause)).await;
    let facts = scene.read("ada").await.unwrap();
    assert!(matches!(facts.person, Person::Found { .. }) && !facts.followed);
}

#[tokio::test]
async fn groups_that_are_known_by_an_overlays_word_are_not_followed_and_those_of_active_directory_are() {
    let by_member_of = |settings: &mut directory::Settings| {
        settings.group_search.strategy = directory::Strategy::MemberOf;
    };
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    server.change(|content| content.maintain_member_of(MemberOf::Direct));
    let scene = Scene::start(&[&server], &policy("Allow", "top", "pods"), by_member_of).await;
    scene.read("bob").await.unwrap();
    // The overlay has not written yet what the feed told.
    server.change(|content| {
        content.maintain_member_of(MemberOf::AsGiven);
        content.set(UID_ADA, "memberOf", &[CN_LEAF]);
        content.remove_value(CN_LEAF, "member", UID_ADA);
    });
    let read = scene.read("ada").await.unwrap();
    assert!(names(&read).contains("leaf") && !read.followed);

    let (_server, scene) = domain(by_member_of).await;
    assert!(scene.held("ada").unwrap().followed);
}
