//! The directory goes away under load, and comes back.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bailiwick::document::Source;
use bailiwick::model::{Decision, Outcome, Resolved};
use bailiwick::policy;

use super::fixture::{
    Answer, BY_SUSPENDED, PATIENCE, READERS, Service, Site, Transport, ask, directory, eventually, group,
    person, request, spec, user_dn,
};
use crate::scene::{self, HeldFacts, Scene};
use crate::slapd::Slapd;

const HARD_TTL: Duration = Duration::from_secs(2);
const CACHE: &str = "  cache: {softTTL: 1s, hardTTL: 2s, negativeTTL: 1s}";
/// With a `server.deadline` of 3 s.
const TIMEOUTS: &str = "{connect: 400ms, operation: 600ms, total: 1s}";
/// The deadline of a review, and what a busy machine adds to it.
const ANSWERED_WITHIN: Duration = Duration::from_millis(3000 + 1500);
/// Not a multiple of the resources, so that each user asks for each of them.
const USERS: usize = 25;
const CLIENTS: usize = 4;
const PAUSE: Duration = Duration::from_millis(40);
const RESOURCES: [&str; 3] = ["pods", "secrets", "configmaps"];

fn name(user: usize) -> String {
    format!("user-{user}")
}

/// The groups of a user: two thirds read, a quarter is suspended.
fn groups(user: usize) -> Vec<&'static str> {
    let mut groups = Vec::new();
    if !user.is_multiple_of(3) {
        groups.push("readers");
    }
    if user.is_multiple_of(4) {
        groups.push("suspended");
    }
    groups
}

fn company() -> String {
    let mut ldif: String = (0..USERS).map(|user| person(&name(user))).collect();
    for of in ["readers", "suspended"] {
        let members: Vec<String> =
            (0..USERS).filter(|user| groups(*user).contains(&of)).map(|user| user_dn(&name(user))).collect();
        ldif += &group(of, &members);
    }
    ldif
}

/// A review that was answered.
#[derive(Debug, Clone)]
struct Sent {
    user: usize,
    resource: &'static str,
    at: Instant,
    answered: Instant,
    answer: Answer,
}

/// Clients that ask one review after the other until they are stopped.
struct Load {
    sent: Arc<Mutex<Vec<Sent>>>,
    stop: Arc<AtomicBool>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    async fn start(service: &Service) -> Self {
        let (sent, stop) = (Arc::<Mutex<Vec<Sent>>>::default(), Arc::<AtomicBool>::default());
        let mut clients = Vec::new();
        for client in 0..CLIENTS {
            let mut connection = service.connect().await;
            let (sent, stop) = (Arc::clone(&sent), Arc::clone(&stop));
            clients.push(tokio::spawn(async move {
                let mut number = client * 19;
                while !stop.load(Ordering::SeqCst) {
                    let (user, resource) = (number % USERS, RESOURCES[number % RESOURCES.len()]);
                    let at = Instant::now();
                    let spec = spec(&name(user), "get", resource);
                    let answer = ask(&mut connection, &spec, PATIENCE).await.unwrap();
                    let answered = Instant::now();
                    sent.lock().unwrap().push(Sent { user, resource, at, answered, answer });
                    number += 1;
                    tokio::time::sleep(PAUSE).await;
                }
            }));
        }
        Self { sent, stop, clients }
    }

    fn sent(&self) -> Vec<Sent> {
        self.sent.lock().unwrap().clone()
    }

    async fn end(self) -> Vec<Sent> {
        self.stop.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.await.unwrap();
        }
        Arc::into_inner(self.sent).unwrap().into_inner().unwrap()
    }
}

/// What the naive evaluator makes of a review, by what is known of the user.
struct Verdicts {
    current: Decision,
    stale: Decision,
    unknown: Decision,
}

impl Verdicts {
    fn of(scene: &mut Scene, user: usize, resource: &str) -> Self {
        let facts = scene::person(&groups(user));
        scene.request = request(&name(user), "get", resource);
        let mut decide = |facts| {
            scene.facts = facts;
            match scene.verdict().outcome {
                Outcome::Decided(decision) => decision,
                Outcome::Unavailable => panic!("nothing here is answered so"),
            }
        };
        Self {
            current: decide(HeldFacts::Current(facts.clone())),
            stale: decide(HeldFacts::Stale(facts)),
            unknown: decide(HeldFacts::Unknown),
        }
    }
}

fn scene() -> Scene {
    let mut scene = Scene::new();
    let sources = [Source::new("all.yaml".to_owned(), READERS.as_bytes().to_vec())];
    scene.documents = policy::load(&sources).unwrap();
    for name in ["readers", "suspended"] {
        scene.group_names.names.insert(name.to_owned(), Resolved::Group(scene::group_id(name)));
    }
    scene
}

/// How the directory goes away.
#[derive(Debug, Clone, Copy)]
enum Outage {
    /// Its process ends: connections are refused.
    Killed,
    /// Its process stands still: connections are accepted, and nothing is answered.
    Frozen,
}

async fn outlive(outage: Outage) {
    let mut slapd = Slapd::start(&company(), "");
    let site = Site::new(&[("all.yaml", READERS)]);
    site.configure(&directory(&slapd, Transport::Ldaps, TIMEOUTS, CACHE));
    let service = Service::start(&site).await;
    for user in 0..USERS {
        service.ask(&name(user), "get", "pods").await;
    }
    let load = Load::start(&service).await;
    eventually("every client has asked", async || load.sent().len() > 4 * CLIENTS).await;
    match outage {
        Outage::Killed => slapd.kill(),
        Outage::Frozen => slapd.freeze(),
    }
    let gone = Instant::now();
    // By then everybody is asked for everything without a directory, at least once.
    eventually("asked without it", async || {
        load.sent().iter().filter(|sent| sent.at > gone + HARD_TTL).count() > USERS * RESOURCES.len()
            || gone.elapsed() > Duration::from_secs(8)
    })
    .await;
    let (_, verbose) = service.get("/readyz?verbose").await;
    assert!(verbose.contains("[-]directory"), "{verbose}");
    let back = Instant::now();
    match outage {
        Outage::Killed => slapd.restart(),
        Outage::Frozen => slapd.thaw(),
    }
    let allowed_again =
        |sent: &Sent| sent.at > back && sent.resource == "pods" && sent.answer.decision == Decision::Allow;
    eventually("it recovers", async || load.sent().iter().any(allowed_again)).await;
    let sent = load.end().await;
    assert_answers(&sent, gone, back);
    eventually("everybody is known again", async || {
        let mut known = true;
        for user in 0..USERS {
            known &= service.decides(&name(user), "get", "pods").await
                == Verdicts::of(&mut scene(), user, "pods").current;
        }
        known
    })
    .await;
}

fn assert_answers(sent: &[Sent], gone: Instant, back: Instant) {
    let mut scene = scene();
    let mut seen = BTreeSet::new();
    for each in sent {
        let Verdicts { current, stale, unknown } = Verdicts::of(&mut scene, each.user, each.resource);
        let decision = each.answer.decision;
        let took = each.answered - each.at;
        assert!(took < ANSWERED_WITHIN, "{took:?}: {each:?}");
        assert!(decision != Decision::Allow || current == Decision::Allow, "{each:?}");
        let without_facts = each.at > gone + HARD_TTL && each.answered < back;
        if each.answered < gone {
            assert_eq!(decision, current, "{each:?}");
        } else if without_facts {
            assert_eq!(decision, stale, "{each:?}");
            seen.insert((each.resource, decision, each.answer.reason == BY_SUSPENDED));
        } else {
            assert!([current, stale, unknown].contains(&decision), "{each:?}");
        }
    }
    // What rests on the directory is not allowed; a Deny by what was known stands, as does what needs no directory.
    let expected = BTreeSet::from([
        ("pods", Decision::NoOpinion, false),
        ("secrets", Decision::Deny, true),
        ("secrets", Decision::Deny, false),
        ("configmaps", Decision::Allow, false),
    ]);
    assert_eq!(seen, expected, "the load reached all of it while the directory was away");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_ends_under_load_costs_no_answer_and_grants_nothing() {
    outlive(Outage::Killed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_stands_still_under_load_costs_no_answer_and_grants_nothing() {
    outlive(Outage::Frozen).await;
}
