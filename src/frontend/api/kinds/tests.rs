use serde_json::json;

use super::*;
use crate::frontend::resources::find;

const RBAC: &str = "rbac.authorization.k8s.io";

/// The fields that are wrong with an object, in the order in which they are told.
fn faults(group: &str, resource: &str, object: Value, old: Option<Value>) -> Vec<String> {
    let kind = find(group, resource).unwrap();
    let mut object = object;
    default(kind, &mut object);
    let Err(error) = validate(kind, &object, old.as_ref()) else { return Vec::new() };
    assert_eq!(error.code, 422);
    let causes = error.details["causes"].as_array().unwrap();
    causes.iter().map(|cause| cause["field"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn names_are_what_their_kind_has() {
    for (group, resource, name, is_right) in [
        ("", "namespaces", "team-a", true),
        ("", "namespaces", "team.a", false),
        ("", "namespaces", "Team", false),
        ("", "configmaps", "team.a", true),
        ("", "configmaps", "a_b", false),
        ("", "configmaps", "-a", false),
        (RBAC, "clusterroles", "system:Node/x", false),
        (RBAC, "clusterroles", "system:Node", true),
        (RBAC, "clusterroles", "..", false),
        (RBAC, "clusterroles", "a\nb", false),
    ] {
        let found = faults(group, resource, json!({"metadata": {"name": name}}), None);
        assert_eq!(found.is_empty(), is_right, "{name}: {found:?}");
    }
    assert_eq!(faults("", "configmaps", json!({"metadata": {}}), None), ["metadata.name"]);
}

#[test]
fn metadata_is_in_order() {
    let found = faults(
        "",
        "configmaps",
        json!({"metadata": {
            "name": "a", "labels": {"ok": "ok", "not ok": "x", "y": "not ok"}, "finalizers": ["not ok"],
            "annotations": {"Ok/ok": "anything goes", "a b": ""}, "ownerReferences": [{"kind": "Pod"}],
        }}),
        None,
    );
    assert_eq!(
        found,
        [
            "metadata.labels",
            "metadata.labels",
            "metadata.annotations",
            "metadata.finalizers",
            "metadata.ownerReferences.apiVersion",
            "metadata.ownerReferences.name",
            "metadata.ownerReferences.uid",
        ]
    );
    let large = json!({"metadata": {"name": "a", "annotations": {"a": "x".repeat(257 << 10)}}});
    assert_eq!(faults("", "configmaps", large, None), ["metadata.annotations"]);
}

#[test]
fn a_pod_has_containers_that_can_be_told_apart() {
    let pod = |spec: Value| json!({"metadata": {"name": "a"}, "spec": spec});
    let c = |name: &str| json!({"name": name, "image": "i"});
    for (spec, expected) in [
        (json!({"containers": [c("a"), c("b")]}), &[][..]),
        (json!({}), &["spec.containers"]),
        (json!({"containers": [c("a")], "initContainers": [c("a")]}), &["spec.containers[0].name"]),
        (json!({"containers": [{}]}), &["spec.containers[0].name", "spec.containers[0].image"]),
        (
            json!({"containers": [{"name": "A", "image": " i"}]}),
            &["spec.containers[0].name", "spec.containers[0].image"],
        ),
        (json!({"containers": [c("a")], "restartPolicy": "Maybe"}), &["spec.restartPolicy"]),
        (json!({"containers": [c("a")], "ephemeralContainers": [c("e")]}), &["spec.ephemeralContainers"]),
        (
            json!({"containers": [{"name": "a", "image": "i", "ports": [{"containerPort": 70_000}, {}]}]}),
            &["spec.containers[0].ports[0].containerPort", "spec.containers[0].ports[1].containerPort"],
        ),
        (
            json!({"containers": [{"name": "a", "image": "i", "volumeMounts": [{"name": "v"}]}], "volumes": [{"name": "w"}]}),
            &["spec.containers[0].volumeMounts[0].name", "spec.containers[0].volumeMounts[0].mountPath"],
        ),
    ] {
        assert_eq!(faults("", "pods", pod(spec.clone()), None), expected, "{spec}");
    }
}

#[test]
fn of_a_pod_only_little_can_be_changed() {
    let kind = find("", "pods").unwrap();
    let mut old = json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "a", "image": "i"}], "nodeName": "n"}});
    default(kind, &mut old);
    let changed = |pointer: &str, value: Value| {
        let mut new = old.clone();
        *new.pointer_mut(pointer).unwrap() = value;
        faults("", "pods", new, Some(old.clone()))
    };
    assert_eq!(changed("/spec/containers/0/image", json!("j")), Vec::<String>::new());
    assert_eq!(changed("/spec/nodeName", json!("other")), ["spec"]);
    assert_eq!(changed("/spec/containers/0/name", json!("b")), ["spec"]);
}

#[test]
fn what_a_pod_may_use_says_how_it_is_treated() {
    let pod = |resources: Value| json!({"spec": {"containers": [{"resources": resources}]}});
    assert_eq!(pod::quality_of_service(&pod(json!({}))), "BestEffort");
    assert_eq!(pod::quality_of_service(&pod(json!({"requests": {"cpu": "1"}}))), "Burstable");
    let all = json!({"cpu": "1", "memory": "1Gi"});
    assert_eq!(pod::quality_of_service(&pod(json!({"limits": all, "requests": all}))), "Guaranteed");
}

#[test]
fn secrets_hold_what_their_type_says_and_texts_become_data() {
    let mut secret =
        json!({"metadata": {"name": "a"}, "data": {"a": "YQ=="}, "stringData": {"b": "text", "a": "z"}});
    default(find("", "secrets").unwrap(), &mut secret);
    assert_eq!(
        secret,
        json!({"metadata": {"name": "a"}, "type": "Opaque", "data": {"a": "eg==", "b": "dGV4dA=="}})
    );
    let tls = json!({"metadata": {"name": "a"}, "type": "kubernetes.io/tls", "data": {"tls.crt": ""}});
    assert_eq!(faults("", "secrets", tls.clone(), None), ["data[tls.key]"]);
    assert_eq!(faults("", "secrets", secret.clone(), Some(tls)), ["type"]);
    let mut frozen = secret.clone();
    frozen["immutable"] = true.into();
    assert_eq!(faults("", "secrets", secret, Some(frozen.clone())), ["immutable"]);
    let mut other = frozen.clone();
    other["data"]["a"] = "YQ==".into();
    assert_eq!(faults("", "secrets", other, Some(frozen)), ["data"]);
}

#[test]
fn the_keys_of_a_config_map_are_names_of_files() {
    let map = json!({"metadata": {"name": "a"}, "data": {"ok.txt": "", "a/b": "", "..x": "", "c": ""}, "binaryData": {"c": ""}});
    assert_eq!(faults("", "configmaps", map, None), ["data[..x]", "data[a/b]", "data[c]"]);
    let large = json!({"metadata": {"name": "a"}, "data": {"a": "x".repeat((1 << 20) + 1)}});
    assert_eq!(faults("", "configmaps", large, None), ["data"]);
}

#[test]
fn rules_are_of_resources_or_of_paths() {
    let role = |rule: Value| json!({"metadata": {"name": "a"}, "rules": [rule]});
    let paths = json!({"verbs": ["get"], "nonResourceURLs": ["/x"]});
    assert_eq!(faults(RBAC, "clusterroles", role(paths.clone()), None), Vec::<String>::new());
    assert_eq!(faults(RBAC, "roles", role(paths), None), ["rules[0].nonResourceURLs"]);
    assert_eq!(
        faults(RBAC, "roles", role(json!({})), None),
        ["rules[0].verbs", "rules[0].apiGroups", "rules[0].resources"]
    );
}

#[test]
fn what_a_binding_gives_cannot_be_changed() {
    let binding = |kind: &str, name: &str, subject: Value| {
        json!({
            "metadata": {"name": "a"}, "roleRef": {"apiGroup": RBAC, "kind": kind, "name": name},
            "subjects": [subject],
        })
    };
    let alice = json!({"kind": "User", "name": "alice"});
    let old = binding("Role", "reader", alice.clone());
    let bob = binding("Role", "reader", json!({"kind": "Group", "name": "bob"}));
    assert_eq!(faults(RBAC, "rolebindings", bob, Some(old.clone())), Vec::<String>::new());
    let more = binding("Role", "writer", alice.clone());
    assert_eq!(faults(RBAC, "rolebindings", more, Some(old)), ["roleRef"]);
    assert_eq!(faults(RBAC, "clusterrolebindings", binding("Role", "r", alice), None), ["roleRef.kind"]);
    let robot = json!({"kind": "ServiceAccount", "name": "robot"});
    assert_eq!(faults(RBAC, "rolebindings", binding("Role", "r", robot), None), ["subjects[0].namespace"]);
}

#[test]
fn generated_names_are_short_enough() {
    let long = generated_name(&"ä".repeat(100));
    assert!(long.len() <= 63, "{long}");
    assert_ne!(generated_name("a-"), generated_name("a-"));
}
