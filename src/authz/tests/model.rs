//! Whatever changes while whatever is read, in whatever order: once the feed has told of it, nothing is answered from that
//! is not as if it had just been read.
//!
//! Each run has a seed, which is printed where it fails; the interleaving with the network is not repeated by it. More runs:
//! `BAILIWICK_RUNS=1000 cargo test --lib authz::tests::model`.

mod steps;
mod world;

use std::collections::BTreeMap;

use super::*;
use crate::directory::ChangeFeed;
use steps::{Random, Steps};
use world::{Expected, World};

/// How many runs each test makes, unless the environment says another number.
const RUNS: u64 = 12;
/// Steps of one run.
const STEPS: usize = 60;

/// What the feed of a run has to stand.
#[derive(Debug, Clone, Copy)]
struct Trials {
    feed: ChangeFeed,
    /// Connections end.
    disconnects: bool,
}

/// Every group takes something away, one that does not exist too: whoever joins one must not be answered from what is
/// held.
fn policies() -> String {
    (0..8).map(|number| policy("Deny", &format!("g{number}"), "pods")).collect()
}

/// What whoever tests wants otherwise.
#[allow(clippy::disallowed_methods, reason = "how long to test is for whoever tests to say")]
fn wish(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Makes runs over fresh directories. Seeds are told apart by their test.
async fn model_check(first_seed: u64, trials: Trials, world: impl Fn() -> World) {
    let mut compared = 0;
    let first_seed = wish("BAILIWICK_SEED").unwrap_or(first_seed);
    for seed in first_seed..first_seed + wish("BAILIWICK_RUNS").unwrap_or(RUNS) {
        compared += run(seed, trials, world()).await;
    }
    assert!(compared > 0, "nothing was ever held");
    println!("{trials:?}: {compared} facts compared");
}

/// One run; returns how many facts were compared that were held.
async fn run(seed: u64, trials: Trials, mut world: World) -> usize {
    let server = world.server().await;
    let configure = |settings: &mut directory::Settings| settings.change_feed = trials.feed;
    let scene = Arc::new(Scene::start(&[&server], &policies(), configure).await);
    let mut random = Random::new(seed);
    let mut steps = Steps::new(&scene, &server);
    let mut compared = 0;
    for turn in 0..STEPS {
        steps.step(&mut random, &mut world, trials.disconnects).await;
        if turn % 12 == 11 {
            steps.settle().await;
            compared += agrees(seed, &scene, &world, &steps).await;
        }
    }
    steps.settle().await;
    compared += agrees(seed, &scene, &world, &steps).await;
    // And whoever is asked for now is as the directory has them, when the pause after a failure is over.
    scene.grow_old(Duration::from_secs(2));
    let end = Instant::now() + TOO_LONG;
    for user in world.users() {
        let expected = world.expected(&user);
        // What was held agreed already; of the rest the feed may not have told yet.
        while scene.read(&user).await.is_none_or(|facts| Expected::of(&facts) != expected) {
            let read = scene.held(&user).map(|facts| Expected::of(&facts));
            assert!(
                Instant::now() < end,
                "seed {seed}: {user} is read as\n{read:?}\nand is\n{expected:?}\n{}",
                steps.log()
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    compared
}

/// Waits until everything that is held is as the directory has it; returns how much that is.
async fn agrees(seed: u64, scene: &Scene, world: &World, steps: &Steps<'_>) -> usize {
    let end = Instant::now() + TOO_LONG;
    loop {
        let held = world.users().into_iter().filter_map(|user| Some((user.clone(), scene.held(&user)?)));
        let held: BTreeMap<String, Arc<Facts>> = held.collect();
        let wrong = held.iter().find(|(user, facts)| Expected::of(facts) != world.expected(user));
        let Some((user, facts)) = wrong else { return held.len() };
        let (is, ought) = (Expected::of(facts), world.expected(user));
        assert!(
            Instant::now() < end,
            "seed {seed}: {user} is held as\n{is:?}\nand is\n{ought:?}\nfeed {:?}\n{}",
            scene.directory.feed(),
            steps.log()
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

const WITHOUT_TROUBLE: bool = false;
const WITH_TROUBLE: bool = true;

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn nothing_old_is_answered_from_where_openldap_pushes_changes() {
    let trials = Trials { feed: ChangeFeed::SyncRepl, disconnects: WITHOUT_TROUBLE };
    model_check(1_000_000, trials, World::open_ldap).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn nothing_old_is_answered_from_where_openldap_pushes_changes_and_connections_end() {
    let trials = Trials { feed: ChangeFeed::SyncRepl, disconnects: WITH_TROUBLE };
    model_check(2_000_000, trials, World::open_ldap).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn nothing_old_is_answered_from_where_active_directory_tells_changes_by_dirsync() {
    let trials = Trials { feed: ChangeFeed::Auto, disconnects: WITHOUT_TROUBLE };
    model_check(3_000_000, trials, World::active_directory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn nothing_old_is_answered_from_where_active_directory_notifies() {
    let trials = Trials { feed: ChangeFeed::Notify, disconnects: WITHOUT_TROUBLE };
    model_check(4_000_000, trials, World::active_directory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn nothing_old_is_answered_from_where_active_directory_is_polled_and_connections_end() {
    let trials = Trials { feed: ChangeFeed::Poll, disconnects: WITH_TROUBLE };
    model_check(5_000_000, trials, World::active_directory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn nothing_old_is_answered_from_where_active_directory_tells_by_dirsync_and_connections_end() {
    let trials = Trials { feed: ChangeFeed::DirSync, disconnects: WITH_TROUBLE };
    model_check(6_000_000, trials, World::active_directory).await;
}
