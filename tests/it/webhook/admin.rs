//! The admin listener's routes.

use std::collections::BTreeSet;

use super::*;

/// The metrics of DESIGN 8 that this version has; those of the change feeds are not among them.
const METRICS: &str = "
    decisions_total decision_duration_seconds shadow_decisions_total exempt_total http_requests_total
    http_requests_in_flight overload_rejections_total directory_operations_total directory_operation_duration_seconds
    directory_up directory_pool_connections directory_invalidations_total facts_cache_requests_total facts_cache_entries
    policy_set_info policies policy_reloads_total policy_last_success_timestamp_seconds facts_age_seconds
    identity_mismatches_total partial_lookups_total unresolved_policy_groups expression_errors_total audit_dropped_total
    tls_certificate_expiry_timestamp_seconds build_info";

fn get(verb: &str, user: &str) -> Value {
    json!({"user": user, "resourceAttributes": {"namespace": "team-a", "verb": verb, "resource": "pods"}})
}

/// The names of metrics that have a value.
fn names(metrics: &str) -> BTreeSet<&str> {
    let samples = metrics.lines().filter(|line| !line.starts_with('#'));
    samples.filter_map(|line| line.split(['{', ' ']).next()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_the_design_is_there_after_a_few_reviews() {
    let house = House::start(Setup { people: Whose::Embedded, ..Setup::default() });
    for user in ["ada", "ada", "bob", "system:apiserver"] {
        house.status_of(get("create", user)).await;
    }
    house.ask_admin(Method::POST, "/purge?user=ada", None).await;
    let metrics = house.metrics().await;
    let names = names(&metrics);
    for name in METRICS.split_whitespace() {
        let is_there =
            ["", "_count"].iter().any(|end| names.contains(format!("bailiwick_{name}{end}").as_str()));
        assert!(is_there, "{name} is missing:\n{metrics}");
    }
    assert!(names.contains("process_resident_memory_bytes") && names.contains("process_open_fds"));
    for line in [
        r#"bailiwick_decisions_total{cause="policy",decision="Allow"} 2"#,
        r#"bailiwick_decisions_total{cause="exempt",decision="NoOpinion"} 1"#,
        "bailiwick_exempt_total 1",
        r#"bailiwick_decision_duration_seconds_count{stage="total"} 4"#,
        r#"bailiwick_decision_duration_seconds_count{stage="facts"} 3"#,
        r#"bailiwick_facts_cache_requests_total{result="hit"} 1"#,
        r#"bailiwick_directory_invalidations_total{cause="purge"} 1"#,
        r#"bailiwick_http_requests_total{code="200",route="/authorize"} 4"#,
        r#"bailiwick_policies{effect="Deny",enforcement="Shadow"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line} is missing:\n{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_send_makes_no_label() {
    let house = House::start(Setup::default());
    let client = house.api_server();
    let targets = [
        "/secret-path",
        "/clusters/prod-1/authorize",
        "/clusters/hostile%20name/authorize",
        "/clusters/zz/authorize",
    ];
    for target in targets {
        let body = Some(review_v1(&get("hostile-verb", "hostile-user")));
        send(&client, &house.webhook_url(), Method::POST, target, body).await.unwrap();
        send(&client, &house.webhook_url(), Method::from_bytes(b"HOSTILE").unwrap(), target, None)
            .await
            .unwrap();
    }
    let metrics = house.metrics().await;
    for text in ["secret-path", "hostile", "HOSTILE", "zz", "prod-1"] {
        assert!(!metrics.contains(text), "{text}:\n{metrics}");
    }
    let requests: BTreeSet<&str> =
        metrics.lines().filter(|line| line.starts_with("bailiwick_http_requests_total")).collect();
    let expected = [
        r#"bailiwick_http_requests_total{code="200",route="/authorize"} 0"#,
        r#"bailiwick_http_requests_total{code="200",route="/clusters/{cluster}/authorize"} 1"#,
        r#"bailiwick_http_requests_total{code="400",route="/clusters/{cluster}/authorize"} 1"#,
        r#"bailiwick_http_requests_total{code="403",route="/clusters/{cluster}/authorize"} 1"#,
        r#"bailiwick_http_requests_total{code="404",route="other"} 2"#,
        r#"bailiwick_http_requests_total{code="405",route="/clusters/{cluster}/authorize"} 3"#,
    ];
    assert_eq!(requests, expected.into());
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_is_said_in_a_word_or_check_by_check() {
    let house = House::start(Setup { people: Whose::Embedded, ..Setup::default() });
    house.status_of(get("create", "ada")).await;
    let text =
        |response: Response| (response.status.as_u16(), String::from_utf8(response.body.to_vec()).unwrap());
    assert_eq!(text(house.ask_admin(Method::GET, "/livez", None).await), (200, "ok".to_owned()));
    assert_eq!(text(house.ask_admin(Method::GET, "/readyz", None).await), (200, "ok".to_owned()));
    let verbose = text(house.ask_admin(Method::GET, "/readyz?verbose", None).await);
    let revision = house.authorizer.revision();
    let expected = format!(
        "[+]draining: serving\n[+]policies (not required): revision {revision}\n\
         [+]group-names (not required): each group name in policies is one group's\n\
         [+]directory (not required): answers\nreadyz check passed\n"
    );
    assert_eq!(verbose, (200, expected));
    house.authorizer.drain();
    assert_eq!(house.ask_admin(Method::GET, "/readyz", None).await.status, 503);
    let (status, verbose) = text(house.ask_admin(Method::GET, "/readyz?verbose", None).await);
    assert!(verbose.starts_with("[-]draining: the process is stopping\n"), "{verbose}");
    assert!(status == 503 && verbose.ends_with("readyz check failed\n"), "{status} {verbose}");
    assert_eq!(house.ask_admin(Method::GET, "/livez", None).await.status, 200, "who is stopping is alive");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_and_by_which_policies_is_shown() {
    let house = House::start(Setup::default());
    let version = json_of(&house.ask_admin(Method::GET, "/version", None).await);
    let keys: Vec<&str> = version.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys.len(), 4, "{version}");
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert!(
        version["commit"].is_string() && version["tzdata"].as_str().unwrap().starts_with("20"),
        "{version}"
    );
    let policies = json_of(&house.ask_admin(Method::GET, "/policies", None).await);
    assert_eq!(
        (&policies["revision"], &version["policyRevision"]),
        (&json!(&*house.authorizer.revision()), &policies["revision"])
    );
    let shadow =
        policies["policies"].as_array().unwrap().iter().find(|policy| policy["name"] == "no-exec").unwrap();
    assert_eq!((&shadow["effect"], &shadow["enforcement"]), (&json!("Deny"), &json!("Shadow")));
    assert!(shadow["source"].as_str().unwrap().contains("policies.yaml"), "{shadow}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explanation_shows_the_decision_the_person_and_the_policies_and_leaves_no_trace() {
    let house = House::start(Setup { people: Whose::Embedded, ..Setup::default() });
    let review = Some(review_v1(&get("create", "ada")));
    let explained = json_of(&house.ask_admin(Method::POST, "/explain?cluster=prod-2", review.clone()).await);
    let shown =
        [&explained["decision"], &explained["cluster"], &explained["policies"], &explained["facts"]["dn"]];
    assert_eq!(
        shown,
        [&json!("Allow"), &json!("prod-2"), &json!(["lovelaces-write"]), &json!("uid=ada,dc=example")]
    );
    assert_eq!(explained["time"], NOW);
    let outer =
        explained["facts"]["groups"].as_array().unwrap().iter().find(|group| group["name"] == "outer");
    assert!(outer.is_some(), "{explained}");
    assert!(house.audit().is_empty());
    assert!(!names(&house.metrics().await).contains("bailiwick_decisions_total"));
    for target in ["/explain?clutser=prod-2", "/explain?cluster="] {
        assert_eq!(house.ask_admin(Method::POST, target, review.clone()).await.status, 400, "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_drops_one_user_or_everybody_and_never_by_mistake() {
    let house = House::start(Setup { people: Whose::Embedded, ..Setup::default() });
    for user in ["ada", "bob"] {
        house.status_of(get("create", user)).await;
    }
    for (target, dropped) in [
        ("/purge?usr=ada", None),
        ("/purge?user=", None),
        ("/purge?user=nobody", Some(0)),
        ("/purge?user=ada", Some(1)),
        ("/purge?user=ada", Some(0)),
    ] {
        let response = house.ask_admin(Method::POST, target, None).await;
        match dropped {
            Some(dropped) => assert_eq!(json_of(&response), json!({"dropped": dropped}), "{target}"),
            None => assert_eq!(response.status, 400, "{target}"),
        }
    }
    // How many that were is only nearly known; that all facts are read again is certain.
    assert!(json_of(&house.ask_admin(Method::POST, "/purge", None).await)["dropped"].is_u64());
    house.status_of(get("create", "bob")).await;
    let metrics = house.metrics().await;
    assert!(metrics.contains(r#"bailiwick_facts_cache_requests_total{result="miss"} 3"#), "{metrics}");
}
