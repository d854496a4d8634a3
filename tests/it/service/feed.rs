//! How soon a change of a real directory is seen where OpenLDAP pushes changes.

use std::time::{Duration, Instant};

use bailiwick::model::Decision::{self, Allow, Deny, NoOpinion};
use bailiwick::tls::https::Connection;

use super::fixture::{
    PATIENT, Service, Site, Transport, ask, directory, eventually, group, group_dn, person, policy, spec,
    user_dn,
};
use crate::slapd::{SYNCPROV, Slapd};

/// Lives that a test does not live to see the end of: what changes, changes by the feed.
const LONG_LIVED: &str = "  cache: {softTTL: 1h, hardTTL: 2h, negativeTTL: 1h, followedTTL: 3h}";
/// Changes of one kind that are measured.
const ROUNDS: usize = 20;
/// What no change takes to be seen, on the busiest machine.
const GENEROUS: Duration = Duration::from_secs(10);

/// Alice in `leaf` < `mid` < `top`; bob in `others` only; `suspended` and `quarantine`, which somebody else is in.
fn company() -> String {
    let people: String = ["alice", "bob", "zoe"].iter().map(|uid| person(uid)).collect();
    people
        + &group("leaf", &[user_dn("alice"), user_dn("zoe")])
        + &group("mid", &[group_dn("leaf"), user_dn("zoe")])
        + &group("top", &[group_dn("mid")])
        + &group("others", &[user_dn("bob"), user_dn("zoe")])
        + &group("suspended", &[user_dn("zoe")])
        + &group("quarantine", &[user_dn("zoe")])
        + &group("excepted", &[user_dn("zoe")])
}

fn policies() -> String {
    let named = |name: &str| format!("[{{kind: DirectoryGroup, name: {name}}}]");
    let excepted = policy("most", "Allow", "[{kind: Everyone}]", "[secrets]")
        .replace("  rules:", "  exceptSubjects: [{kind: DirectoryGroup, name: excepted}]\n  rules:");
    policy("top", "Allow", &named("top"), "[pods]")
        + &policy("others", "Allow", &named("others"), "[pods]")
        + &policy("suspended", "Deny", &named("suspended"), "[pods]")
        + &excepted
}

struct Scene {
    slapd: Slapd,
    service: Service,
    /// Kept open, so that no handshake is measured.
    connection: tokio::sync::Mutex<Connection>,
    _site: Site,
}

impl Scene {
    async fn new() -> Self {
        let slapd = Slapd::start(&company(), SYNCPROV);
        let site = Site::new(&[("all.yaml", &policies())]);
        site.configure(&directory(&slapd, Transport::Ldaps, PATIENT, LONG_LIVED));
        let service = Service::start(&site).await;
        eventually("the feed is up", async || service.metric("directory_feed_up").await > 0.5).await;
        let connection = service.connect().await.into();
        Self { slapd, service, connection, _site: site }
    }

    fn member(&self, what: &str, member: &str, group: &str) {
        let group = group_dn(group);
        self.slapd.modify(&format!("dn: {group}\nchangetype: modify\n{what}: member\nmember: {member}\n"));
    }

    /// Asks until the answer is this; how long after now it first was.
    async fn turns_to(&self, user: &str, resource: &str, expected: Decision) -> Duration {
        let changed = Instant::now();
        let mut connection = self.connection.lock().await;
        loop {
            let asked = Instant::now();
            let answer = ask(&mut connection, &spec(user, "get", resource), GENEROUS).await.unwrap();
            if answer.decision == expected {
                return asked - changed;
            }
            assert!(changed.elapsed() < GENEROUS, "{user} {resource} is {answer:?}");
        }
    }

    async fn decides(&self, user: &str, resource: &str) -> Decision {
        self.service.decides(user, "get", resource).await
    }
}

fn print(what: &str, mut delays: Vec<Duration>) {
    delays.sort_unstable();
    let at = |percent: usize| delays[(delays.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    println!(
        "{what}: the first review that is answered so was sent {:.1} ms (median), {:.1} (p90), {:.1} (most) after the change",
        at(50),
        at(90),
        at(100)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_a_group_in_the_middle_of_a_chain_and_joining_one_that_is_denied_are_seen_at_once() {
    let it = Scene::new().await;
    let (mut left, mut joined, mut excepted, mut granted) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        assert_eq!(it.decides("alice", "pods").await, Allow);
        it.member("delete", &group_dn("leaf"), "mid");
        left.push(it.turns_to("alice", "pods", NoOpinion).await);
        it.member("add", &group_dn("leaf"), "mid");
        granted.push(it.turns_to("alice", "pods", Allow).await);

        assert_eq!(it.decides("bob", "pods").await, Allow);
        it.member("add", &user_dn("bob"), "suspended");
        joined.push(it.turns_to("bob", "pods", Deny).await);
        it.member("delete", &user_dn("bob"), "suspended");
        it.turns_to("bob", "pods", Allow).await;

        assert_eq!(it.decides("bob", "secrets").await, Allow);
        it.member("add", &user_dn("bob"), "excepted");
        excepted.push(it.turns_to("bob", "secrets", NoOpinion).await);
        it.member("delete", &user_dn("bob"), "excepted");
        it.turns_to("bob", "secrets", Allow).await;
    }
    print("leaving the middle of a chain", left);
    print("joining a denied group", joined);
    print("joining an exception", excepted);
    print("joining an allowed group", granted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_put_into_a_denied_one_takes_its_members_with_it() {
    let it = Scene::new().await;
    assert_eq!(it.decides("alice", "pods").await, Allow);
    it.member("add", &group_dn("mid"), "quarantine");
    assert_eq!(it.decides("alice", "pods").await, Allow, "nobody names that group");
    it.member("add", &group_dn("quarantine"), "suspended");
    it.turns_to("alice", "pods", Deny).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_entries_and_names_is_seen_at_once() {
    let it = Scene::new().await;
    assert_eq!(it.decides("new", "pods").await, NoOpinion);
    it.slapd.modify(&person("new").replace("objectClass", "changetype: add\nobjectClass"));
    it.member("add", &user_dn("new"), "others");
    it.turns_to("new", "pods", Allow).await;
    it.slapd.modify(&format!("dn: {}\nchangetype: delete\n", user_dn("new")));
    it.turns_to("new", "pods", NoOpinion).await;

    assert_eq!(it.decides("zoe", "pods").await, Deny);
    let suspended = group_dn("suspended");
    it.slapd.modify(&format!("dn: {suspended}\nchangetype: modrdn\nnewrdn: cn=elsewhere\ndeleteoldrdn: 1\n"));
    eventually("the name is unresolved", async || {
        (it.service.metric("unresolved_policy_groups").await - 1.0).abs() < f64::EPSILON
    })
    .await;
    // Which group was meant is not known any more, so that whoever is in some group is not let in.
    assert_eq!(it.decides("bob", "pods").await, Deny);
    it.slapd.modify(&format!(
        "dn: {}\nchangetype: modrdn\nnewrdn: cn=suspended\ndeleteoldrdn: 1\n",
        group_dn("elsewhere")
    ));
    it.turns_to("bob", "pods", Allow).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_feed_goes_on_where_it_stopped_and_says_so() {
    let mut it = Scene::new().await;
    assert_eq!(it.decides("alice", "pods").await, Allow);
    it.slapd.kill();
    eventually("the feed is down", async || it.service.metric("directory_feed_up").await < 0.5).await;
    let (_, verbose) = it.service.get("/readyz?verbose").await;
    assert!(verbose.contains("[-]change-feed"), "{verbose}");
    it.slapd.restart();
    it.member("delete", &group_dn("leaf"), "mid");
    it.turns_to("alice", "pods", NoOpinion).await;
    eventually("the feed is up again", async || it.service.metric("directory_feed_up").await > 0.5).await;
    assert_eq!(it.decides("alice", "pods").await, NoOpinion);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_changes_of_a_group_locks_nobody_out_of_it() {
    let it = Scene::new().await;
    assert_eq!(it.decides("alice", "pods").await, Allow);
    let changes: String = (0..2_000)
        .map(|number| {
            format!(
                "dn: {}\nchangetype: modify\nreplace: description\ndescription: {number}\n\n",
                group_dn("leaf")
            )
        })
        .collect();
    let storm = std::thread::scope(|scope| {
        let storming = scope.spawn(|| {
            let begun = Instant::now();
            it.slapd.modify(&changes);
            begun.elapsed()
        });
        let handle = tokio::runtime::Handle::current();
        let (mut refused, mut asked) = (Vec::new(), 0);
        while !storming.is_finished() {
            let asking = it.service.ask("alice", "get", "pods");
            let answer = tokio::task::block_in_place(|| handle.block_on(asking));
            asked += 1;
            refused.extend((answer.decision != Allow).then_some(answer));
        }
        assert!(
            refused.is_empty(),
            "of {asked} reviews during the storm: {refused:?} {:?}",
            it.service.log().last()
        );
        storming.join().unwrap()
    });
    println!("2000 changes of one group in {storm:?}, and nobody was locked out");
    // The old one was not used for so long that it is closed.
    *it.connection.lock().await = it.service.connect().await;
    it.member("delete", &user_dn("alice"), "leaf");
    it.turns_to("alice", "pods", NoOpinion).await;
}
