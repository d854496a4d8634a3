//! `GET /facts`: what the service holds of one user, over time, without a trace of the question.

use super::*;
use crate::faulty::{Answer, FakeServer};

fn get(user: &str) -> Value {
    json!({"user": user, "resourceAttributes": {"namespace": "team-a", "verb": "create", "resource": "pods"}})
}

async fn held(house: &House, user: &str) -> Value {
    let response = house.ask_admin(Method::GET, &format!("/facts?user={user}"), None).await;
    assert_eq!(response.status, 200, "{response:?}");
    json_of(&response)
}

/// A clock that is set by the test.
fn clock() -> (cache::Clock, Arc<std::sync::Mutex<Duration>>) {
    let (start, later) = (Instant::now(), Arc::<std::sync::Mutex<Duration>>::default());
    let reading = Arc::clone(&later);
    (Arc::new(move || start + *reading.lock().unwrap()), later)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_ages_and_is_told_at_each_age() {
    let (cache_clock, later) = clock();
    let house = House::start(Setup { people: Whose::Embedded, cache_clock, ..Setup::default() });
    let absent = held(&house, "ada").await;
    assert_eq!(
        [&absent["state"], &absent["facts"], &absent["ageSeconds"]],
        [&json!("absent"), &Value::Null, &Value::Null]
    );
    house.status_of(get("ada")).await;
    for (seconds, state, of) in [(0, "fresh", "current"), (61, "soft", "current"), (300, "hard", "stale")] {
        *later.lock().unwrap() = Duration::from_secs(seconds);
        let shown = held(&house, "ada").await;
        assert_eq!([&shown["state"], &shown["facts"]["state"]], [state, of], "{shown}");
        assert_eq!(shown["ageSeconds"], json!(f64::from(u32::try_from(seconds).unwrap())));
        assert_eq!([&shown["outside"], &shown["loading"]], [false, false]);
    }
    house.ask_admin(Method::POST, "/purge?user=ada", None).await;
    let shown = held(&house, "ada").await;
    assert_eq!(shown["state"], "invalid");
    let facts = &shown["facts"];
    assert_eq!([&facts["person"], &facts["dn"]], ["found", "uid=ada,dc=example"]);
    let outer = facts["groups"].as_array().unwrap().iter().find(|group| group["name"] == "outer").unwrap();
    assert_eq!(outer["path"], json!(["inner", "outer"]));
    house.status_of(get("ada")).await;
    assert_eq!(held(&house, "ada").await["state"], "fresh");
    // Two reviews and a purge; the questions between them count for nothing.
    let metrics = house.metrics().await;
    for line in [
        r#"bailiwick_facts_cache_requests_total{result="miss"} 2"#,
        r#"bailiwick_http_requests_total{code="200",route="/facts"} 6"#,
    ] {
        assert!(metrics.contains(line), "{line} is missing:\n{metrics}");
    }
    assert!(!metrics.contains(r#"result="hit"} 1"#), "{metrics}");
    assert_eq!(house.audit().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_and_users_outside_of_the_directory_are_told_apart() {
    let house = House::start(Setup { people: Whose::Embedded, ..Setup::default() });
    house.status_of(get("nobody")).await;
    let nobody = held(&house, "nobody").await;
    assert_eq!([&nobody["state"], &nobody["facts"]["person"]], ["fresh", "not found"]);
    let outside = held(&house, "system%3Anode%3An1").await;
    assert_eq!((&outside["user"], &outside["outside"]), (&json!("system:node:n1"), &json!(true)));
    assert_eq!(outside["outsideBecause"], "names that begin with `system:` are Kubernetes' own");
    let house = House::start(Setup::default());
    let outside = held(&house, "ada").await;
    assert_eq!((&outside["outside"], &outside["feed"]), (&json!(true), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_is_named_once_and_nothing_else() {
    let house = House::start(Setup { people: Whose::Embedded, ..Setup::default() });
    for target in
        ["/facts", "/facts?user=", "/facts?usr=ada", "/facts?user=ada&user=bob", "/facts?user=ada&x="]
    {
        let response = house.ask_admin(Method::GET, target, None).await;
        assert_eq!(response.status, 400, "{target}");
    }
    assert_eq!(house.ask_admin(Method::POST, "/facts?user=ada", None).await.status, 405);
    assert_eq!(held(&house, "a%20b%26user%3D%00%F0%9F%98%80").await["user"], "a b&user=\0\u{1f600}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_is_under_way_or_failed_a_moment_ago_is_told() {
    let directory = FakeServer::start(Answer::Hang, None).await;
    let house = Arc::new(House::start(Setup { people: Whose::At(directory.address()), ..Setup::default() }));
    let asking = tokio::spawn({
        let house = Arc::clone(&house);
        async move { house.status_of(get("ada")).await }
    });
    let end = patience();
    while held(&house, "ada").await["loading"] != true {
        assert!(Instant::now() < end, "it is never under way");
        tokio::task::yield_now().await;
    }
    asking.abort();
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let house = House::start(Setup { people: Whose::At(gone), ..Setup::default() });
    house.status_of(get("ada")).await;
    let shown = held(&house, "ada").await;
    assert_eq!(shown["state"], "absent");
    let why = shown["backingOff"]["why"].as_str().unwrap();
    assert!(why.contains("cannot be reached"), "{why}");
    assert!(shown["backingOff"]["secondsLeft"].as_f64().unwrap() <= 1.0);
}
