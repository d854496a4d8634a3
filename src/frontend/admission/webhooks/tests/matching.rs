//! Which requests a webhook is asked about.

use super::super::matching::{Interest, Matching};
use super::*;

/// Whether a webhook with these fields is asked about this.
fn matches(fields: Value, asked: &Attributes) -> Result<Matching, ApiError> {
    let it = Fixture::new(Vec::new());
    let any = json!([{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}]);
    let mut webhook = json!({"rules": any});
    webhook.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    Interest::read(&webhook).matches(asked, &it.storage)
}

fn of(group: &str, resource: &str, subresource: &str) -> Attributes {
    let kind = find(group, resource).unwrap();
    let namespace = if kind.namespaced { "dev" } else { "" };
    Attributes { kind, subresource: subresource.into(), namespace: namespace.into(), ..create() }
}

#[test]
fn rules_match_operation_group_version_resource_and_scope() {
    let rule = |field: &str, value: Value| {
        let mut rule =
            json!({"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]});
        rule[field] = value;
        json!({"rules": [rule]})
    };
    let (pods, log, scale) =
        (of("", "pods", ""), of("", "pods", "status"), of("apps", "deployments", "scale"));
    let nodes = of("", "nodes", "");
    let namespace = Attributes { namespace: "dev".into(), ..of("", "namespaces", "") };
    for (field, value, asked, expected) in [
        ("operations", json!(["CREATE"]), &pods, true),
        ("operations", json!(["UPDATE", "DELETE", "CONNECT"]), &pods, false),
        ("operations", json!([]), &pods, false),
        ("apiGroups", json!([""]), &pods, true),
        ("apiGroups", json!(["apps"]), &pods, false),
        ("apiGroups", json!(["apps"]), &scale, true),
        ("apiVersions", json!(["v1"]), &pods, true),
        ("apiVersions", json!(["v1beta1"]), &pods, false),
        ("resources", json!(["pods"]), &pods, true),
        ("resources", json!(["pods"]), &log, false),
        ("resources", json!(["*"]), &pods, true),
        ("resources", json!(["*"]), &log, false),
        ("resources", json!(["pods/*"]), &pods, true),
        ("resources", json!(["pods/*"]), &log, true),
        ("resources", json!(["pods/status"]), &log, true),
        ("resources", json!(["pods/status"]), &pods, false),
        ("resources", json!(["*/scale"]), &scale, true),
        ("resources", json!(["*/scale"]), &log, false),
        ("resources", json!(["configmaps", "deployments/scale"]), &scale, true),
        ("scope", json!("Namespaced"), &pods, true),
        ("scope", json!("Namespaced"), &nodes, false),
        ("scope", json!("Namespaced"), &namespace, false),
        ("scope", json!("Cluster"), &pods, false),
        ("scope", json!("Cluster"), &nodes, true),
        ("scope", json!("Cluster"), &namespace, true),
        ("scope", json!("*"), &nodes, true),
    ] {
        let matching = matches(rule(field, value.clone()), asked).unwrap();
        assert_eq!(matching == Matching::Yes, expected, "{field} {value} {asked:?}");
    }
    assert_eq!(matches(json!({"rules": []}), &pods).unwrap(), Matching::No);
}

#[test]
fn the_namespace_selector_looks_at_the_namespace_and_leaves_no_object_of_the_cluster_out() {
    let on = json!({"namespaceSelector": {"matchLabels": {"hooks": "on"}}});
    let off =
        json!({"namespaceSelector": {"matchExpressions": [{"key": "hooks", "operator": "DoesNotExist"}]}});
    let labelled = json!({"metadata": {"name": "new", "labels": {"hooks": "on"}}});
    let new = Attributes {
        namespace: "new".into(),
        name: "new".into(),
        object: Some(labelled),
        ..of("", "namespaces", "")
    };
    for (asked, is_on, is_off) in [
        (of("", "pods", ""), true, false),
        (of("", "nodes", ""), true, true),
        (new, true, false),
        // One that goes is known by what is stored.
        (
            Attributes {
                operation: Operation::Delete,
                namespace: "dev".into(),
                object: None,
                ..of("", "namespaces", "")
            },
            true,
            false,
        ),
    ] {
        assert_eq!(matches(on.clone(), &asked).unwrap() == Matching::Yes, is_on, "{asked:?}");
        assert_eq!(matches(off.clone(), &asked).unwrap() == Matching::Yes, is_off, "{asked:?}");
    }
    let nowhere = Attributes { namespace: "nowhere".into(), ..of("", "pods", "") };
    assert_eq!(matches(on, &nowhere).unwrap_err().code, 404);
}

#[test]
fn the_object_selector_looks_at_the_object_before_and_after() {
    let selector = json!({"objectSelector": {"matchLabels": {"app": "web"}}});
    let (web, bare) = (json!({"metadata": {"labels": {"app": "web"}}}), json!({"metadata": {}}));
    for (new, old, expected) in [
        (Some(&web), None, true),
        (Some(&bare), None, false),
        (Some(&bare), Some(&web), true),
        (Some(&web), Some(&bare), true),
        (None, Some(&web), true),
        (None, Some(&bare), false),
        (None, None, false),
    ] {
        let asked = Attributes { object: new.cloned(), old: old.cloned().map(Object::new), ..create() };
        assert_eq!(matches(selector.clone(), &asked).unwrap() == Matching::Yes, expected, "{new:?} {old:?}");
    }
}

#[test]
fn every_condition_must_hold_and_one_that_does_not_settles_it_whatever_is_wrong_with_others() {
    let conditions = |texts: &[&str]| {
        let each: Vec<Value> = texts
            .iter()
            .enumerate()
            .map(|(nth, text)| json!({"name": nth.to_string(), "expression": text}))
            .collect();
        matches(json!({"matchConditions": each}), &create()).unwrap()
    };
    assert_eq!(
        conditions(&["request.userInfo.username == 'alice'", "object.metadata.name == 'a'"]),
        Matching::Yes
    );
    assert_eq!(conditions(&["request.operation == 'CREATE'", "request.namespace == 'prod'"]), Matching::No);
    assert_eq!(conditions(&["object.nosuch.field == 1", "request.dryRun"]), Matching::No);
    assert!(matches!(conditions(&["true", "object.nosuch.field == 1"]), Matching::Unknown(_)));
    assert_eq!(conditions(&["oldObject == null"]), Matching::Yes);
    assert!(compile_condition("request.nobody == 1").is_err());
    assert!(compile_condition("authorizer.allowed").is_err());
}

#[tokio::test]
async fn a_condition_that_cannot_be_evaluated_refuses_or_skips_as_the_failure_policy_says() {
    for (policy, expected) in [("Fail", Err(403)), ("Ignore", Ok(()))] {
        let (server, it) = (Server::start(), Fixture::new(Vec::new()));
        let condition = json!([{"name": "odd", "expression": "object.nosuch.field == 1"}]);
        let hook = with(server.webhook("m"), "matchConditions", condition);
        it.mutating("a", json!([with(hook, "failurePolicy", json!(policy))]));
        let (admitted, _) = it.admit(create()).await;
        assert_eq!(admitted.map(drop).map_err(|error| error.code), expected, "{policy}");
        assert!(server.paths().is_empty(), "{policy}");
    }
}
