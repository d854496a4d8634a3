//! Reviews exactly as an API server sends them, and whole answers.

use super::*;

/// What is asked and what is answered, but for `kind` and `apiVersion`. Specs are v1's.
fn rows() -> Vec<(&'static str, Value, Value)> {
    let groups = json!(["eng", "system:authenticated"]);
    vec![
        (
            "a resource, with everything that an API server may send",
            json!({"resourceAttributes": {"namespace": "team-a", "verb": "list", "group": "apps", "version": "v1",
                    "resource": "deployments",
                    "fieldSelector": {"requirements": [{"key": "metadata.name", "operator": "In", "values": ["web"]}]},
                    "labelSelector": {"requirements": [
                        {"key": "tier", "operator": "In", "values": ["gold", "silver"]},
                        {"key": "old", "operator": "DoesNotExist"}]}},
                "user": "alice", "uid": "1f2e", "groups": groups,
                "extra": {"example.org/source-ip": ["10.1.2.3"]}}),
            json!({"allowed": true}),
        ),
        (
            "a resource that is denied",
            json!({"resourceAttributes": {"namespace": "payments", "verb": "get", "version": "v1",
                    "resource": "secrets", "name": "card-key"}, "user": "alice", "groups": groups}),
            json!({"allowed": false, "denied": true, "reason": "GZ-1042 secrets of payments are kept elsewhere"}),
        ),
        (
            "a list over all namespaces, which would show the one that is denied",
            json!({"resourceAttributes": {"verb": "list", "version": "v1", "resource": "secrets"},
                "user": "alice", "groups": groups}),
            json!({"allowed": false, "denied": true, "reason": "GZ-1042 secrets of payments are kept elsewhere"}),
        ),
        (
            "a resource of which no policy speaks",
            json!({"resourceAttributes": {"namespace": "team-b", "verb": "delete", "version": "v1",
                    "resource": "pods", "name": "web-0"}, "user": "alice", "groups": groups}),
            json!({"allowed": false}),
        ),
        (
            "everything there is, as `kubectl auth can-i '*' '*'` asks; the first Deny by name is the guard",
            json!({"resourceAttributes": {"verb": "*", "group": "*", "version": "*", "resource": "*"},
                "user": "alice", "groups": groups}),
            json!({"allowed": false, "denied": true, "reason": "impersonating this identity is not permitted"}),
        ),
        (
            "a path",
            json!({"nonResourceAttributes": {"path": "/version", "verb": "get"}, "user": "bob", "groups": groups}),
            json!({"allowed": true}),
        ),
        (
            "a path that only looks like one that is allowed",
            json!({"nonResourceAttributes": {"path": "//version", "verb": "get"}, "user": "bob", "groups": groups}),
            json!({"allowed": false}),
        ),
        (
            "no path at all, which is legal",
            json!({"nonResourceAttributes": {}, "user": "bob", "groups": ["system:authenticated"]}),
            json!({"allowed": false}),
        ),
        (
            "a subject that is nobody",
            json!({"resourceAttributes": {"namespace": "team-a", "verb": "get", "resource": "pods"}}),
            json!({"allowed": false}),
        ),
        (
            "a node, which is exempt",
            json!({"resourceAttributes": {"namespace": "payments", "verb": "get", "resource": "secrets"},
                "user": "system:node:n1", "groups": ["system:nodes", "system:authenticated"]}),
            json!({"allowed": false}),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn reviews_of_both_versions_are_answered_in_their_own() {
    let house = House::start(Setup::default());
    let client = house.api_server();
    for version in ["v1", "v1beta1"] {
        for (what, mut spec, status) in rows() {
            if version == "v1beta1"
                && let Some(groups) = spec.as_object_mut().unwrap().remove("groups")
            {
                spec["group"] = groups;
            }
            let url = format!("{}/authorize?timeout=30s", house.webhook_url());
            let body = review(version, &spec);
            let response = client.post(&url, "application/json", body, patience()).await.unwrap();
            assert_eq!(
                (response.status.as_u16(), &response.headers["content-type"]),
                (200, &"application/json".parse().unwrap()),
                "{what}"
            );
            let expected = json!({"apiVersion": format!("authorization.k8s.io/{version}"),
                "kind": "SubjectAccessReview", "status": status});
            assert_eq!(json_of(&response), expected, "{what}, {version}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_in_the_request_is_never_believed() {
    let house = House::start(Setup::default());
    let spec = json!({"resourceAttributes": {"verb": "delete", "resource": "nodes"}, "user": "mallory"});
    let body = review_v1(&spec).replace(r#""allowed":false"#, r#""allowed":true"#);
    assert_eq!(json_of(&house.ask(body).await)["status"], json!({"allowed": false}));
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_of_the_directory_count_beside_those_of_the_cluster() {
    let house = House::start(Setup { people: Whose::Embedded, ..Setup::default() });
    let create = |user: &str| json!({"resourceAttributes": {"namespace": "team-a", "verb": "create", "resource": "pods"}, "user": user});
    assert_eq!(house.status_of(create("ada")).await, json!({"allowed": true}));
    assert_eq!(house.status_of(create("bob")).await, json!({"allowed": false}));
}
