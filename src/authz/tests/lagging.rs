//! Several servers, of which one has not heard yet of what another one told.

use std::net::SocketAddr;

use super::*;
use crate::directory::persona::samples::{COMPANY, OPEN_COMPANY};

const CN_MID: &str = "cn=mid,ou=groups,dc=corp,dc=example";
const CN_LEAF: &str = "cn=leaf,ou=groups,dc=corp,dc=example";
const CN_TOP: &str = "cn=top,ou=groups,dc=corp,dc=example";
const UID_BOB: &str = "uid=bob,ou=people,dc=corp,dc=example";

/// After the first and after the second time at which what was given up is given up again.
const LATER: [Duration; 2] = [Duration::from_secs(17), Duration::from_secs(62)];

impl Scene {
    fn so_much_later(&self, later: Duration) {
        self.authorizer.give_up_what_is_due(Instant::now() + later);
    }
}

#[tokio::test]
async fn what_the_feed_told_is_read_again_from_the_server_that_told_it() {
    let first = Persona::open_ldap(OPEN_COMPANY).await;
    let second = first.twin().await;
    // The feed comes up on the only one that there is.
    first.down().await;
    let scene = Scene::start(&[&first, &second], &policy("Allow", "top", "pods"), |_| ()).await;
    first.up().await;
    first.lag();
    assert_eq!(scene.decides("ada", "pods").await, Decision::Allow);
    second.change(|content| content.remove_value(CN_MID, "member", CN_LEAF));
    scene.given_up("ada").await;
    assert_eq!(scene.decides("ada", "pods").await, Decision::NoOpinion);
    assert!(scene.held("ada").unwrap().followed);
    assert!(first.seen().questions().is_empty(), "{:?}", first.seen().questions());
    scene.so_much_later(LATER[1]);
    assert!(scene.held("ada").is_some(), "nothing was read from elsewhere");
}

/// A change is told, then the server that told it is gone, and the other one has not heard of it.
async fn read_from_behind(change: impl Fn(&mut crate::directory::persona::Content)) -> (Scene, [Persona; 2]) {
    let first = Persona::open_ldap(OPEN_COMPANY).await;
    let second = first.twin().await;
    let policies = policy("Allow", "mid", "pods") + &policy("Deny", "top", "secrets");
    let scene = Scene::start(&[&first, &second], &policies, |_| ()).await;
    for user in ["ada", "bob"] {
        scene.read(user).await.unwrap();
    }
    second.lag();
    first.change(change);
    (scene, [first, second])
}

#[tokio::test]
async fn what_was_read_from_a_server_that_lags_behind_is_given_up_again_and_again() {
    let (scene, [first, second]) =
        read_from_behind(|content| content.remove_value(CN_MID, "member", CN_LEAF)).await;
    scene.given_up("ada").await;
    first.down().await;
    scene.turns_to("ada", "pods", Decision::Allow).await;
    assert!(!scene.held("ada").unwrap().followed, "it is not of the server that is followed");
    scene.so_much_later(LATER[0]);
    assert!(scene.held("ada").is_none());
    // It still does not know.
    assert_eq!(scene.decides("ada", "pods").await, Decision::Allow);
    second.catch_up();
    scene.so_much_later(LATER[1]);
    scene.turns_to("ada", "pods", Decision::NoOpinion).await;
    assert!(scene.held("ada").is_some());
}

#[tokio::test]
async fn who_joined_is_given_up_again_too() {
    let (scene, [first, second]) =
        read_from_behind(|content| content.add_value(CN_TOP, "member", UID_BOB)).await;
    scene.given_up("bob").await;
    first.down().await;
    scene.turns_to("bob", "secrets", Decision::NoOpinion).await;
    second.catch_up();
    scene.so_much_later(LATER[0]);
    scene.turns_to("bob", "secrets", Decision::Deny).await;
}

#[tokio::test]
async fn the_feed_goes_on_with_a_server_that_is_behind_what_it_knows() {
    let (scene, [first, second]) =
        read_from_behind(|content| content.remove_value(CN_MID, "member", CN_LEAF)).await;
    scene.given_up("ada").await;
    first.down().await;
    let other = Some(second.url());
    scene.until("the feed is up on the other", |feed| feed.is_up && feed.server == other).await;
    scene.turns_to("ada", "pods", Decision::Allow).await;
    // It tells of what the other one told already, when it has heard of it.
    second.catch_up();
    scene.turns_to("ada", "pods", Decision::NoOpinion).await;
}

/// One address for several servers, as a name in the DNS is for the domain controllers of a domain.
struct Name {
    address: SocketAddr,
    behind: Arc<Mutex<u16>>,
    task: tokio::task::JoinHandle<()>,
}

impl Name {
    async fn of(server: &Persona) -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let behind = Arc::new(Mutex::new(server.port()));
        let port = Arc::clone(&behind);
        let task = tokio::spawn(async move {
            let mut relays = tokio::task::JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let port = *port.lock().unwrap();
                relays.spawn(async move {
                    let mut server = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { address, behind, task }
    }

    fn leads_to(&self, server: &Persona) {
        *self.behind.lock().unwrap() = server.port();
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn domain_controllers_behind_one_name_are_told_apart() {
    const MID: &str = "CN=mid,OU=Groups,DC=corp,DC=example";
    const LEAF: &str = "CN=leaf,OU=Groups,DC=corp,DC=example";
    let first = Persona::active_directory(COMPANY).await;
    let second = first.twin().await;
    for server in [&first, &second] {
        server.set(|manner| manner.sees_deleted = true);
    }
    // The feed connects once it is asked; the connections for look-ups lead to the other one.
    let name = Name::of(&first).await;
    let url = format!("ldap://{}", name.address);
    let policies = policy("Allow", "top", "pods");
    let scene = Scene::begin(&[], &policies, |settings| settings.urls = vec![url]);
    scene.until("the feed is up", |feed| feed.is_up).await;
    assert!(scene.authorizer.settled(TOO_LONG).await);
    assert!(scene.read("ada").await.unwrap().followed);
    // All connections but the feed's are of the other one from now on.
    name.leads_to(&second);
    let is_feed = |search: &crate::directory::persona::Asked| {
        search.controls.iter().any(|control| control.ends_with(".841") || control.ends_with(".528"))
    };
    first.fault_where(crate::directory::persona::Fault::Close, move |search| {
        !is_feed(search) && search.scope == "sub" && !search.filter.contains("uSNChanged")
    });
    second.lag();
    first.change(|content| content.remove_value(MID, "member", LEAF));
    scene.given_up("ada").await;
    scene.turns_to("ada@corp.example", "pods", Decision::Allow).await;
    assert!(!scene.held("ada@corp.example").unwrap().followed);
    second.catch_up();
    scene.so_much_later(LATER[0]);
    scene.turns_to("ada@corp.example", "pods", Decision::NoOpinion).await;
}
