//! Ten thousand people that nothing is known of, over one connection to the directory, and what the service holds then.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bailiwick::model::Decision::{Allow, NoOpinion};
use serde_json::Value;

use crate::fixture::{
    PATIENCE, PATIENT, Service, Site, Transport, ask, directory, group, person, policy, spec, user_dn,
};
use crate::resident::{Held, PASSING_THREADS};
use crate::slapd::Slapd;

const PEOPLE: usize = 10_000;
const CLIENTS: usize = 8;
/// In KiB.
const GROWTH: u64 = 5 << 10;
const CACHE: &str = "  cache: {softTTL: 1h, hardTTL: 2h, negativeTTL: 1h}";

fn name(number: usize) -> String {
    format!("user-{number}")
}

/// Asks once for each of them, of whom nothing is held.
async fn ask_for_everybody(service: &Service) -> Duration {
    let (status, said) = service.post("/purge", &Value::Null).await;
    assert_eq!(status, 200, "{said}");
    let begun = Instant::now();
    let clients = (0..CLIENTS).map(|client| async move {
        let mut connection = service.connect().await;
        for number in (client..PEOPLE).step_by(CLIENTS) {
            let spec = spec(&name(number), "get", "pods");
            let answer = ask(&mut connection, &spec, PATIENCE).await.unwrap();
            let expected = if number.is_multiple_of(10) { Allow } else { NoOpinion };
            assert_eq!(answer.decision, expected, "{number}: {answer:?}");
        }
    });
    futures_util::future::join_all(clients).await;
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_look_ups_on_one_connection_leave_nothing_behind() {
    let people: String = (0..PEOPLE).map(|number| person(&name(number))).collect();
    let members: Vec<String> = (0..PEOPLE).step_by(10).map(|number| user_dn(&name(number))).collect();
    let slapd = Slapd::start(&(people + &group("readers", &members)), "");
    let site = Site::new(&[(
        "all.yaml",
        &policy("all", "Allow", "[{kind: DirectoryGroup, name: readers}]", "[pods]"),
    )]);
    let section = directory(&slapd, Transport::Ldaps, PATIENT, CACHE)
        .replace("    timeouts:", "    changeFeed: \"off\"\n    pool: {connections: 1}\n    timeouts:");
    site.configure(&section);
    let mut service = Service::start(&site).await;
    let mut turns = Vec::new();
    for turn in 0..3 {
        let before = slapd.logged(&["SRCH base="]).len();
        let took = ask_for_everybody(&service).await;
        let (held, searches) = (Held::by(service.id()), slapd.logged(&["SRCH base="]).len() - before);
        println!(
            "turn {turn}: {PEOPLE} cold reviews by {searches} searches in {took:.1?}: {:.1} MiB, {} files, {} threads",
            held.mebibytes(),
            held.files,
            held.threads
        );
        assert!(searches >= PEOPLE, "{searches}");
        turns.push(held);
    }
    // The first turn warms up: it fills the cache, which is as full after each of the others.
    let [_, before, after] = turns[..] else { panic!() };
    let searches = slapd.logged(&["SRCH base=\"ou="]);
    let connections: BTreeSet<_> = searches
        .iter()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with("conn=")))
        .collect();
    assert_eq!(connections.len(), 1, "{connections:?}");
    assert!(after.memory <= before.memory + GROWTH, "{before:?} {after:?}");
    let threads = before.threads + PASSING_THREADS;
    assert!(after.files <= before.files && after.threads <= threads, "{before:?} {after:?}");
    assert!(service.is_running());
}
