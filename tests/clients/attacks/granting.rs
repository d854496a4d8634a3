//! Getting more than one has: by roles, by the accounts of pods, by what only others may write.

use serde_json::{Value, json};

use super::{DEVELOPMENT, JSON, JSON_PATCH, MERGE_PATCH, PRODUCTION, Scene};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const REFUSED: &str = "403 Admission Refused";
const FORBIDDEN: &str = "403 Authorization Refused";

fn rule(group: &str, resource: &str, verb: &str) -> Value {
    json!([{"apiGroups": [group], "resources": [resource], "verbs": [verb]}])
}

fn binding(kind: &str, role: &str) -> Value {
    let group = "rbac.authorization.k8s.io";
    json!({"metadata": {"name": "b"}, "roleRef": {"apiGroup": group, "kind": kind, "name": role},
        "subjects": [{"apiGroup": group, "kind": "User", "name": "nina"}]})
}

#[test]
fn whoever_may_write_roles_grants_only_what_they_have() {
    let scene = Scene::new();
    let admin = scene.demo.kubectl("admin");
    let resources = "--resource=roles,rolebindings,clusterroles,clusterrolebindings";
    admin.ok(&["create", "clusterrole", "writer", "--verb=get,list,create,update,patch,delete", resources]);
    admin.ok(&["create", "clusterrolebinding", "writer", "--clusterrole=writer", "--user=nina"]);
    admin.ok(&["create", "clusterrole", "maps", "--verb=get", "--resource=configmaps"]);
    admin.ok(&["create", "clusterrolebinding", "maps", "--clusterrole=maps", "--user=nina"]);
    let nina = |method: &str, kind: &str, path: &str, body: &Value| {
        let body = body.to_string();
        let ended = scene.ask(
            &scene.static_token("nina"),
            &["-X", method, "-H", kind, "-d", &body],
            &format!("{RBAC}{path}"),
        );
        assert_eq!(ended.user(), "nina");
        ended.how()
    };
    let (roles, bindings) = ("/namespaces/default/roles", "/namespaces/default/rolebindings");
    let role = |rules: Value| json!({"metadata": {"name": "r"}, "rules": rules});
    let secrets = rule("", "secrets", "get");
    for rules in
        [secrets.clone(), rule("*", "*", "*"), rule("rbac.authorization.k8s.io", "roles", "escalate")]
    {
        assert_eq!(nina("POST", JSON, roles, &role(rules.clone())), REFUSED, "{rules}");
        assert_eq!(nina("POST", JSON, "/clusterroles", &role(rules)), REFUSED);
    }
    let paths = json!([{"nonResourceURLs": ["/debug/*"], "verbs": ["get"]}]);
    assert_eq!(nina("POST", JSON, "/clusterroles", &role(paths)), REFUSED);
    let selectors = json!({"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]});
    let aggregated = json!({"metadata": {"name": "r"}, "rules": [], "aggregationRule": selectors});
    assert_eq!(nina("POST", JSON, "/clusterroles", &aggregated), REFUSED);

    assert_eq!(nina("POST", JSON, roles, &role(rule("", "configmaps", "get"))), "201 Storage Passed");
    let mine = &*format!("{roles}/r");
    assert_eq!(nina("PUT", JSON, mine, &role(secrets.clone())), REFUSED);
    assert_eq!(nina("PATCH", MERGE_PATCH, mine, &json!({"rules": secrets})), REFUSED);
    let strategic = "Content-Type: application/strategic-merge-patch+json";
    assert_eq!(nina("PATCH", strategic, mine, &json!({"rules": secrets})), REFUSED);
    let add = json!([{"op": "add", "path": "/rules/-", "value": secrets[0]}]);
    assert_eq!(nina("PATCH", JSON_PATCH, mine, &add), REFUSED);

    assert_eq!(nina("POST", JSON, bindings, &binding("ClusterRole", "cluster-admin")), REFUSED);
    assert_eq!(nina("POST", JSON, "/clusterrolebindings", &binding("ClusterRole", "cluster-admin")), REFUSED);
    let later = binding("ClusterRole", "to-be-made-later");
    assert_eq!(nina("POST", JSON, bindings, &later), "404 Admission Refused");
    assert_eq!(nina("POST", JSON, bindings, &binding("Role", "r")), "201 Storage Passed");
    let other = json!({"roleRef": {"kind": "ClusterRole", "name": "cluster-admin"}});
    assert_eq!(nina("PATCH", MERGE_PATCH, &format!("{bindings}/b"), &other), REFUSED);
    let joined = json!({"subjects": binding("", "")["subjects"]});
    let administrators = "/clusterrolebindings/cluster-admin";
    assert_eq!(nina("PATCH", MERGE_PATCH, administrators, &joined), REFUSED);
    let hidden = json!({"subjects": joined["subjects"], "metadata": {"finalizers": ["example.com/a"]}});
    assert_eq!(nina("PATCH", MERGE_PATCH, administrators, &hidden), REFUSED, "more than its life is changed");
}

#[test]
fn a_pod_runs_as_nobody_elses_account_and_says_nothing_of_its_own_state() {
    let scene = Scene::new();
    let pods = format!("{DEVELOPMENT}/pods");
    let pod = |more: Value| {
        let mut pod = json!({"metadata": {"name": "pay-a", "labels": {"app": "a"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}, "status": {"phase": "Running", "podIP": "10.0.0.1"}});
        json_patch::merge(&mut pod, &more);
        pod.to_string()
    };
    let create = |more: Value| scene.alice(&["-H", JSON, "-d", &pod(more)], &pods).how();
    for account in ["deployer", "../ci/deployer", "ci/deployer"] {
        assert_eq!(create(json!({"spec": {"serviceAccountName": account}})), REFUSED, "{account}");
    }
    let owner = json!({"metadata": {"annotations": {"bailiwick.dev/owner": "bob"}}});
    assert_eq!(create(owner.clone()), REFUSED);
    assert_eq!(
        create(json!({"spec": {"serviceAccount": "deployer", "serviceAccountName": "default"}})),
        "201 Storage Passed"
    );
    let pod = format!("{pods}/pay-a");
    let patch = |path: &str, patch: &Value| {
        scene.alice(&["-X", "PATCH", "-H", MERGE_PATCH, "-d", &patch.to_string()], path).how()
    };
    let status = json!({"status": {"phase": "Succeeded"}});
    assert_eq!(patch(&format!("{pod}/status"), &status), FORBIDDEN);
    assert_eq!(patch(&pod, &status), "200 Storage Passed", "and nothing comes of it:");
    let account = json!({"spec": {"serviceAccountName": "deployer"}});
    assert_eq!(patch(&pod, &account), "422 Admission Refused");
    assert_eq!(patch(&pod, &json!({"metadata": {"labels": {"app": null}}})), "422 Admission Refused");
    assert_eq!(patch(&pod, &owner), REFUSED);
    // Who writes the status writes nothing else.
    let through = json!({"spec": {"nodeName": "node-1"}, "metadata": {"labels": {"app": "z"}, "annotations": {"a": "b"}}});
    let arguments = ["-X", "PATCH", "-H", MERGE_PATCH, "-d", &through.to_string()];
    scene.admin(&arguments, &format!("{pod}/status"));
    let stored = scene.admin(&[], &pod).json();
    assert_eq!(stored["status"], json!({"phase": "Pending", "qosClass": "BestEffort"}));
    assert_eq!(
        (&stored["spec"]["serviceAccountName"], &stored["spec"]["serviceAccount"]),
        (&json!("default"), &json!("default"))
    );
    assert_eq!(
        (&stored["spec"]["nodeName"], &stored["metadata"]["labels"]),
        (&Value::Null, &json!({"app": "a"}))
    );
    assert_eq!(stored["metadata"]["annotations"], json!({"bailiwick.dev/owner": "alice"}));
}

#[test]
fn nobody_takes_a_token_of_an_account_and_a_node_only_what_its_pods_need() {
    let scene = Scene::new();
    let token = "/api/v1/namespaces/ci/serviceaccounts/deployer/token";
    let take = ["-H", JSON, "-d", "{}"];
    assert_eq!(scene.alice(&take, token).how(), FORBIDDEN);
    assert_eq!(scene.alice(&take, token.trim_end_matches("/token")).how(), FORBIDDEN);
    assert_eq!(scene.ask(&scene.static_token("nina"), &take, token).how(), FORBIDDEN);
    let node = scene.certificate("people/node-1");
    assert_eq!(scene.ask(&node, &take, token).how(), FORBIDDEN);
    let of_another =
        r#"{"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "pay-web-1"}}}"#;
    assert_eq!(scene.ask(&node, &["-H", JSON, "-d", of_another], token).how(), FORBIDDEN);
    // A pod of this node runs as the account `default`: no token of it without the pod.
    let unbound = format!("{PRODUCTION}/serviceaccounts/default/token");
    assert_eq!(scene.ask(&node, &take, &unbound).how(), REFUSED);
    assert_eq!(scene.ask(&node, &[], &format!("{PRODUCTION}/secrets/pay-db")).how(), FORBIDDEN);
    assert_eq!(scene.ask(&node, &[], "/api/v1/secrets").how(), FORBIDDEN);
    let label = |node: &str, label: &str| {
        let patch = json!({"metadata": {"labels": {label: "b"}}}).to_string();
        let node_1 = scene.certificate("people/node-1");
        let arguments = ["-X", "PATCH", "-H", MERGE_PATCH, "-d", &patch];
        scene.ask(&node_1, &arguments, &format!("/api/v1/nodes/{node}")).how()
    };
    assert_eq!(label("node-2", "a"), FORBIDDEN);
    assert_eq!(label("node-1", "node-restriction.kubernetes.io/a"), REFUSED);
    // Reviews and journeys tell of others: they are for who may ask.
    let review = json!({"spec": {"user": "bob", "resourceAttributes": {"verb": "get", "resource": "pods"}}})
        .to_string();
    let reviews = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    assert_eq!(scene.alice(&["-H", JSON, "-d", &review], reviews).how(), FORBIDDEN);
    let tokens = "/apis/authentication.k8s.io/v1/tokenreviews";
    assert_eq!(scene.alice(&["-H", JSON, "-d", r#"{"spec": {"token": "x"}}"#], tokens).how(), FORBIDDEN);
    assert_eq!(scene.alice(&[], "/debug/journeys").how(), FORBIDDEN);
    assert_eq!(scene.alice(&[], "/debug/../debug/journeys").how(), FORBIDDEN);
}
