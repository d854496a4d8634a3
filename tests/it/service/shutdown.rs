//! SIGTERM: nothing that was accepted is lost.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::fixture::{PATIENCE, Service, Site, Transport, ask, directory, eventually, person, policy, spec};
use crate::slapd::Slapd;

const CLIENTS: usize = 4;
const IN_FLIGHT: usize = 6;
/// So that a review waits for a directory that stands still.
const WAITS: &str = "{connect: 10s, operation: 10s, total: 12s}";

fn allow_everybody() -> String {
    policy("everybody", "Allow", "[{kind: Everyone}]", "[pods]")
}

fn people() -> String {
    (0..IN_FLIGHT).map(|number| person(&format!("cold-{number}"))).collect::<String>() + &person("warm")
}

async fn start(site: &Site, slapd: &Slapd, timeouts: &str, deadline: &str) -> Service {
    let path = site.configure(&directory(slapd, Transport::Ldaps, timeouts, ""));
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, text.replace("deadline: 3s", &format!("deadline: {deadline}"))).unwrap();
    Service::start(site).await
}

/// Reviews of users of whom nothing is known yet, waiting for a directory that stands still.
async fn waiting(service: &Service) -> Vec<tokio::task::JoinHandle<Result<(), String>>> {
    let mut waiting = Vec::new();
    for number in 0..IN_FLIGHT {
        let mut connection = service.connect().await;
        waiting.push(tokio::spawn(async move {
            let spec = spec(&format!("cold-{number}"), "get", "pods");
            ask(&mut connection, &spec, PATIENCE).await.map(|_| ())
        }));
    }
    eventually("all of them wait", async || {
        // And the one that asks for the metric.
        service.metric("http_requests_in_flight").await > IN_FLIGHT as f64
    })
    .await;
    waiting
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_loses_no_accepted_request_and_no_audit_line() {
    let slapd = Slapd::start(&people(), "");
    let site = Site::new(&[("all.yaml", &allow_everybody())]);
    let mut service = start(&site, &slapd, WAITS, "15s").await;
    service.ask("warm", "get", "pods").await;
    slapd.freeze();
    let waiting = waiting(&service).await;
    let answered = Arc::new(AtomicUsize::new(1));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (answered, client, url) = (Arc::clone(&answered), site.client(), service.webhook.clone());
            tokio::spawn(async move {
                // Until nobody listens any more.
                while let Ok(mut connection) = client.connect(&url, Instant::now() + PATIENCE).await {
                    while ask(&mut connection, &spec("warm", "get", "pods"), PATIENCE).await.is_ok() {
                        answered.fetch_add(1, Ordering::SeqCst);
                    }
                }
            })
        })
        .collect();
    eventually("they ask", async || answered.load(Ordering::SeqCst) > 20 * CLIENTS).await;
    service.signal("-TERM");
    eventually("it takes no more", async || {
        site.client().connect(&service.webhook, Instant::now() + PATIENCE).await.is_err()
    })
    .await;
    assert!(service.is_running(), "reviews are waiting");
    slapd.thaw();
    for review in waiting {
        assert_eq!(review.await.unwrap(), Ok(()), "it was accepted before the signal");
        answered.fetch_add(1, Ordering::SeqCst);
    }
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(service.ended(PATIENCE).code(), Some(0), "{:?}", service.log());
    assert!(!service.logged("stopped").is_empty(), "{:?}", service.log());
    // A line without an answer would be a request that was accepted and lost.
    let lines = site.audit();
    assert_eq!(lines.len(), answered.load(Ordering::SeqCst));
    let ids: BTreeSet<&str> = lines.iter().map(|line| line["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), lines.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once() {
    let slapd = Slapd::start(&people(), "");
    let site = Site::new(&[("all.yaml", &allow_everybody())]);
    let mut service = start(&site, &slapd, WAITS, "15s").await;
    service.ask("warm", "get", "pods").await;
    slapd.freeze();
    let waiting = waiting(&service).await;
    service.signal("-TERM");
    eventually("it heard", async || !service.logged("stopping").is_empty()).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(service.is_running(), "it waits for the reviews");
    let begun = Instant::now();
    service.signal("-TERM");
    let ended = service.ended(PATIENCE);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(ended.code(), Some(0));
    assert!(!service.logged("stopped at once").is_empty(), "{:?}", service.log());
    for review in waiting {
        // Answered without facts or cut off, but not left waiting.
        let _either = review.await.unwrap();
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}
