//! Audit lines of reviews that came over the wire.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_one_line_with_all_that_led_to_it() {
    let house = House::start(Setup { people: Whose::Embedded, ..Setup::default() });
    house
        .status_of(json!({"user": "ada", "uid": "7", "groups": ["x"], "extra": {"token": ["hunter2"]},
            "resourceAttributes": {"namespace": "payments", "verb": "get", "version": "v1", "resource": "secrets", "name": "k"}}))
        .await;
    let mut lines = house.audit();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let mut line = lines.remove(0);
    assert!(line["id"].take().as_str().unwrap().ends_with("-1"));
    assert!(line["facts"]["ageSeconds"].take().is_number());
    let durations = line["durationMicros"].take();
    assert!(["total", "facts", "evaluate"].iter().all(|stage| durations[stage].is_u64()), "{durations}");
    let reason = "GZ-1042 secrets of payments are kept elsewhere";
    let expected = json!({"id": null, "time": NOW, "cluster": "prod-1", "user": "ada", "uid": "7", "groups": ["x"],
        "groupCount": 1, "extraKeys": ["token"],
        "resourceAttributes": {"verb": "get", "version": "v1", "resource": "secrets", "namespace": "payments", "name": "k"},
        "decision": "Deny", "cause": "policy", "reason": reason, "policies": ["no-secrets"], "would": "Deny",
        "facts": {"ageSeconds": null, "stale": false, "partial": false, "followed": false}, "revision": &*house.authorizer.revision(),
        "durationMicros": null});
    assert_eq!(line, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_that_was_one_too_many_leaves_a_line() {
    let (house, directory) = overload::blocked(Setup { max_in_flight: 1, ..Setup::default() }).await;
    let first = tokio::spawn({
        let house = Arc::clone(&house);
        async move { house.ask(overload::question("v1")).await }
    });
    until("the first review asks the directory", || directory.searches() > 0).await;
    house.ask(overload::question("v1")).await;
    let lines = house.audit();
    first.abort();
    let said: Vec<_> = lines.iter().map(|line| (&line["user"], &line["decision"], &line["cause"])).collect();
    assert_eq!(said, [(&json!("ada"), &json!("Deny"), &json!("overload"))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_cannot_forge_a_line_nor_fill_the_disk() {
    let house = House::start(Setup::default());
    let path = json!({"path": "/version", "verb": "get"});
    for user in ["eve\n{\"decision\":\"Allow\"}\u{1b}[2J\u{202e}", &"a".repeat(10_000)] {
        house.status_of(json!({"user": user, "nonResourceAttributes": path})).await;
    }
    let lines = house.audit_lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains(r#""user":"eve\n{\"decision\":\"Allow\"}\u001b[2J\u202e""#), "{}", lines[0]);
    assert!(lines[1].len() < 1_000 && lines[1].contains("aaa…"), "{}", lines[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_review_leave_no_audit_line() {
    let house = House::start(Setup::default());
    assert_eq!(house.ask("{}").await.status, 400);
    assert!(house.audit().is_empty());
}
