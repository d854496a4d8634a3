//! A journey to write about.

use serde_json::json;

use super::*;

pub(super) fn journey() -> Journey {
    let step = |name: &str, outcome, detail: &str| Step {
        name: name.into(),
        outcome,
        detail: detail.into(),
        patch: None,
        micros: 5,
    };
    let stage = |name, outcome, summary: &str, steps| Stage {
        name,
        outcome,
        summary: summary.into(),
        steps,
        micros: 10,
    };
    Journey {
        id: "a-1".into(),
        received: "2026-11-24T10:00:00Z".parse().unwrap(),
        source: "127.0.0.1".into(),
        method: "POST".into(),
        uri: "/api/v1/namespaces/shop/pods".into(),
        user_agent: "curl/8".into(),
        user: Some(json!({"username": "alice", "groups": ["system:authenticated"]})),
        impersonated: None,
        attributes: Some(json!({"resourceAttributes":
            {"verb": "create", "resource": "pods", "namespace": "shop", "version": "v1", "group": "", "name": ""}})),
        stages: vec![
            stage(
                StageName::Authentication,
                Outcome::Passed,
                "you are alice",
                vec![step("token file", Outcome::Passed, "the token is alice's")],
            ),
            stage(
                StageName::Authorization,
                Outcome::Refused,
                "no",
                vec![step("RBAC", Outcome::Refused, "no rule")],
            ),
        ],
        annotations: [("authorization.k8s.io/decision".to_owned(), "forbid".to_owned())].into(),
        code: 403,
        reason: Some("Forbidden".into()),
        message: Some("no".into()),
        micros: 1_500,
    }
}

#[test]
fn the_last_journeys_are_kept_and_found_and_watched() {
    let journeys = Journeys::new(None);
    let mut watch = journeys.watch();
    for number in 0..=MAX_JOURNEYS {
        journeys.add(Journey { id: format!("a-{number}"), ..journey() });
    }
    assert!(journeys.find("a-0").is_none(), "the oldest is forgotten");
    assert_eq!(journeys.find("a-1").unwrap().id, "a-1");
    assert_eq!(
        journeys.last(2).iter().map(|journey| journey.id.as_str()).collect::<Vec<_>>(),
        ["a-1000", "a-999"]
    );
    assert!(matches!(watch.try_recv(), Err(tokio::sync::broadcast::error::TryRecvError::Lagged(_))));
    assert!(watch.try_recv().is_ok());
}
