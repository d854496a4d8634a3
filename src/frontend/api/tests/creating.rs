use super::*;

#[tokio::test]
async fn an_object_is_created_with_what_only_the_server_says_of_it() {
    let world = World::new().await;
    let mut sent = pod("web", &json!({"mutate": "me"}));
    sent["metadata"]["uid"] = "mine".into();
    sent["metadata"]["creationTimestamp"] = Value::Null;
    sent["status"] = json!({"phase": "Running"});
    world.stages();
    let made = world.post(PODS, sent).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let object = &made.body;
    assert_ne!(meta::text(object, "uid"), "mine");
    assert_eq!(meta::text(object, "creationTimestamp"), "2026-03-01T12:00:00Z");
    assert_eq!(meta::text(object, "namespace"), "default");
    assert_eq!(object["metadata"]["labels"]["mutated"], "pod");
    assert_eq!(object["metadata"]["resourceVersion"], "103");
    assert_eq!(object["status"], json!({"phase": "Pending", "qosClass": "BestEffort"}));
    assert_eq!(object["spec"]["containers"][0]["imagePullPolicy"], "Always");
    assert_eq!(object["spec"]["restartPolicy"], "Always");
    assert_eq!(world.get(&format!("{PODS}/web")).await.body, *object);
    use {Outcome::Passed, StageName::*};
    assert_eq!(world.stages(), [(Admission, Passed), (Storage, Passed), (Storage, Passed)]);
}

#[tokio::test]
async fn what_is_not_admitted_or_valid_is_not_kept() {
    let world = World::new().await;
    world.stages();
    let refused = world.post(PODS, pod("web", &json!({"refuse": "me"}))).await;
    assert_eq!((refused.code, refused.message()), (403, "pods \"web\" is forbidden: it is labelled so"));
    assert_eq!(world.stages(), [(StageName::Admission, Outcome::Refused)]);
    let refused = world.post(PODS, json!({"metadata": {"name": "web"}, "spec": {"containers": []}})).await;
    assert_eq!(refused.code, 422);
    assert_eq!(refused.message(), "Pod \"web\" is invalid: spec.containers: Required value");
    assert_eq!(world.get(PODS).await.names(), Vec::<&str>::new());
}

#[tokio::test]
async fn a_dry_run_passes_all_stages_and_keeps_nothing() {
    let world = World::new().await;
    let made = world.post(&format!("{PODS}?dryRun=All"), pod("web", &json!({"mutate": "me"}))).await;
    assert_eq!((made.code, &made.body["metadata"]["labels"]["mutated"]), (201, &json!("pod")));
    assert_eq!(world.get(&format!("{PODS}/web")).await.code, 404);
    let refused = world.post(&format!("{PODS}?dryRun=All"), pod("web", &json!({"refuse": "me"}))).await;
    assert_eq!(refused.code, 403);
}

#[tokio::test]
async fn what_the_body_says_must_agree_with_the_path() {
    let world = World::new().await;
    for (field, value, text) in [
        ("apiVersion", "v2", "the API version in the data (v2) does not match the expected API version (v1)"),
        (
            "kind",
            "Secret",
            "the kind in the data (Secret) does not match the expected kind (Pod in version \"v1\")",
        ),
    ] {
        let mut sent = pod("web", &json!({}));
        sent[field] = value.into();
        let refused = world.post(PODS, sent).await;
        assert_eq!((refused.code, refused.message()), (400, text));
    }
    let mut sent = pod("web", &json!({}));
    sent["metadata"]["namespace"] = "team-a".into();
    let refused = world.post(PODS, sent).await;
    assert_eq!(
        (refused.code, refused.message()),
        (400, "the namespace of the provided object does not match the namespace sent on the request")
    );
    let refused = world.post("/api/v1/namespaces/nowhere/pods", pod("web", &json!({}))).await;
    assert_eq!(refused.code, 403);
}

#[tokio::test]
async fn there_is_one_object_of_a_name_unless_it_is_generated() {
    let world = World::new().await;
    assert_eq!(world.post(PODS, pod("web", &json!({}))).await.code, 201);
    let again = world.post(PODS, pod("web", &json!({}))).await;
    assert_eq!((again.code, again.message()), (409, "pods \"web\" already exists"));
    for _ in 0..3 {
        let mut sent = pod("", &json!({}));
        sent["metadata"] = json!({"generateName": "job-"});
        let made = world.post(PODS, sent).await;
        let name = meta::text(&made.body, "name");
        assert!(made.code == 201 && name.starts_with("job-") && name.len() == 9, "{}", made.text);
    }
    let mut both = pod("web", &json!({}));
    both["metadata"]["generateName"] = "we".into();
    assert_eq!(world.post(PODS, both).await.code, 409, "a name that the client gave is no chance's");
    let unnamed = world.post(PODS, json!({"spec": {"containers": [{"name": "c", "image": "i"}]}})).await;
    assert_eq!(
        (unnamed.code, unnamed.message()),
        (422, "Pod \"\" is invalid: metadata.name: Required value: name or generateName is required")
    );
}

#[tokio::test]
async fn fields_that_are_not_known_are_refused_told_or_left_out() {
    let world = World::new().await;
    let text = br#"{"metadata": {"name": "web"}, "spec": {"containers": [{"name": "c", "image": "i", "bogus": 1, "image": "j"}]}}"#;
    let strict = world.ask("POST", &format!("{PODS}?fieldValidation=Strict"), &[], text).await;
    assert_eq!(
        (strict.code, strict.message()),
        (
            400,
            "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: duplicate field \
             \"spec.containers[0].image\", unknown field \"spec.containers[0].bogus\""
        )
    );
    let ignored = world.ask("POST", &format!("{PODS}?fieldValidation=Ignore&dryRun=All"), &[], text).await;
    assert_eq!((ignored.code, world.warnings().len()), (201, 0));
    let warned = world.ask("POST", PODS, &[], text).await;
    assert_eq!(warned.code, 201);
    assert_eq!(warned.body["spec"]["containers"][0].get("bogus"), None);
    assert_eq!(
        world.warnings(),
        ["duplicate field \"spec.containers[0].image\"", "unknown field \"spec.containers[0].bogus\""]
    );
    let wrong = world.post(PODS, json!({"metadata": {"name": "x"}, "spec": {"containers": "none"}})).await;
    assert_eq!(
        (wrong.code, wrong.message()),
        (400, "Pod in version \"v1\" cannot be handled as a Pod: spec.containers: expected a list")
    );
}

#[tokio::test]
async fn bodies_may_be_json_yaml_or_protobuf_and_nothing_else() {
    let world = World::new().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let yaml = [("content-type", "application/yaml")];
    let made = world.ask("POST", maps, &yaml, b"metadata:\n  name: a\ndata:\n  answer: \"42\"\n").await;
    assert_eq!((made.code, &made.body["data"]["answer"]), (201, &json!("42")));
    let broken = world.ask("POST", maps, &yaml, b"metadata: [").await;
    assert_eq!(broken.code, 400);
    let large = vec![b'#'; (512 << 10) + 1];
    assert_eq!(world.ask("POST", maps, &yaml, &large).await.code, 413);
    // A namespace as `kubectl create namespace` sends it.
    let protobuf = [("content-type", "application/vnd.kubernetes.protobuf")];
    let body = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09Namespace\x12\x0f\x0a\x09\x0a\x03new\x12\x00\x1a\x00\x12\x00\x1a\x00\x1a\x00\x22\x00";
    let made = world.ask("POST", "/api/v1/namespaces", &protobuf, body).await;
    assert_eq!((made.code, meta::text(&made.body, "name")), (201, "new"), "{}", made.text);
    assert_eq!(made.body["status"]["phase"], "Active");
    let other = world.ask("POST", maps, &[("content-type", "text/xml")], b"<a/>").await;
    assert_eq!(other.code, 415);
    let packed = world.ask("POST", maps, &[("content-encoding", "gzip")], b"").await;
    assert_eq!(packed.code, 415);
    for body in [&b""[..], b"[]", b"{", b"null"] {
        assert_eq!(world.ask("POST", maps, &[], body).await.code, 400);
    }
}

#[tokio::test]
async fn nobody_grants_what_they_have_not_got() {
    let world = World::new().await;
    let path = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
    let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
    let role = json!({"metadata": {"name": "reader"}, "rules": rules}).to_string();
    let refused = world.ask_as("eve", "POST", path, &[], role.clone().into()).await;
    assert_eq!(refused.code, 403);
    assert_eq!(world.ask("POST", path, &[], role.as_bytes()).await.code, 201);
    let reader = format!("{path}/reader");
    let refused = world.ask_as("eve", "PUT", &reader, &[], role.into()).await;
    assert_eq!(refused.code, 403);
    // Nor is it asked for another place than the one that is changed, whatever a patch removes.
    let patch = json!([
        {"op": "remove", "path": "/metadata/namespace"}, {"op": "remove", "path": "/metadata/name"},
        {"op": "add", "path": "/rules/0/verbs/-", "value": "delete"},
    ]);
    let kind = [("content-type", "application/json-patch+json")];
    let refused = world.ask_as("eve", "PATCH", &reader, &kind, patch.to_string().into()).await;
    let message = "roles.rbac.authorization.k8s.io \"reader\" is forbidden: you have not got that yourself in \"default\"";
    assert_eq!((refused.code, refused.message()), (403, message));
}

#[tokio::test]
async fn reviews_are_answered_and_not_kept() {
    let world = World::new().await;
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let answered =
        world.post(path, json!({"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}})).await;
    assert_eq!((answered.code, &answered.body["status"]["reason"]), (201, &json!("asked by alice")));
    assert_eq!(answered.body["kind"], "SelfSubjectAccessReview");
    assert_eq!(world.get(path).await.code, 405);
    assert_eq!(world.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json!({})).await.code, 201);
}

#[tokio::test]
async fn a_token_is_issued_for_an_account_and_what_it_is_bound_to() {
    let world = World::new().await;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    world.post(accounts, json!({"metadata": {"name": "robot"}})).await;
    let path = format!("{accounts}/robot/token");
    let issued = world.post(&path, json!({"spec": {"audiences": ["a"]}})).await;
    assert_eq!((issued.code, &issued.body["status"]["token"]), (201, &json!("of robot")));
    assert_eq!(issued.body["spec"]["expirationSeconds"], 3_600);
    assert_eq!(world.post(&path, json!({"spec": {"expirationSeconds": 60}})).await.code, 422);
    let missing = world.post(&format!("{accounts}/nobody/token"), json!({"spec": {}})).await;
    assert_eq!((missing.code, missing.message()), (404, "serviceaccounts \"nobody\" not found"));
    let bound =
        |name: &str| json!({"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": name}}});
    assert_eq!(world.post(&path, bound("web")).await.code, 404);
    world.post(PODS, pod("web", &json!({}))).await;
    assert_eq!(world.post(&path, bound("web")).await.code, 400, "the pod runs as somebody else");
    let mut own = pod("own", &json!({}));
    own["spec"]["serviceAccountName"] = "robot".into();
    let own = world.post(PODS, own).await;
    let issued = world.post(&path, bound("own")).await;
    assert_eq!(issued.body["spec"]["boundObjectRef"]["uid"], own.body["metadata"]["uid"]);
}

#[tokio::test]
async fn a_name_that_admission_gave_is_kept_or_is_taken_and_no_object_is_without_one() {
    let world = World::new().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    for metadata in [json!({}), json!({"generateName": "job-"})] {
        let mut sent = json!({"metadata": metadata});
        sent["metadata"]["labels"] = json!({"call": "fixed"});
        world.delete(maps).await;
        assert_eq!(world.post(maps, sent.clone()).await.code, 201);
        let again = world.post(maps, sent).await;
        assert_eq!((again.code, &again.body["reason"]), (409, &json!("AlreadyExists")), "{}", again.text);
        assert_eq!(world.get(maps).await.names(), ["fixed"]);
    }
}
