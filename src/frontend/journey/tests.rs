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

#[test]
fn what_others_wrote_makes_no_journey_larger_than_its_bounds() {
    let long = || "\u{e4}".repeat(1 << 20);
    let mut huge = journey();
    (huge.uri, huge.message) = (long(), Some(long()));
    huge.annotations.insert("authorization.k8s.io/reason".to_owned(), long());
    for stage in &mut huge.stages {
        stage.summary = long();
        stage.steps.iter_mut().for_each(|step| step.detail = long());
    }
    let journeys = Journeys::new(None);
    journeys.add(huge);
    journeys.add(journey());
    let kept = journeys.last(2);
    let bytes = serde_json::to_string(&*kept[1]).unwrap().len();
    assert!(bytes < 32 << 10, "{bytes} bytes");
    assert!(kept[1].stages[0].summary.ends_with("..."));
    assert_eq!(*kept[0], journey(), "what is short is as it was");
}
