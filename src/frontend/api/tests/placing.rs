//! Which node a pod gets, and that it is taken away.

use super::*;

fn binding(name: &str, node: &str) -> Value {
    json!({"metadata": {"name": name, "annotations": {"a": "b"}}, "target": {"kind": "Node", "name": node}})
}

#[tokio::test]
async fn a_pod_is_bound_to_a_node_once() {
    let world = World::new().await;
    world.post(PODS, pod("web", &json!({}))).await;
    let path = format!("{PODS}/web/binding");
    let dry = world.post(&format!("{path}?dryRun=All"), binding("web", "node-1")).await;
    assert_eq!((dry.code, &dry.body["status"]), (201, &json!("Success")));
    let bound = world.post(&path, binding("web", "node-1")).await;
    assert_eq!((bound.code, &bound.body["status"]), (201, &json!("Success")), "{}", bound.text);
    let pod = world.get(&format!("{PODS}/web")).await.body;
    assert_eq!(pod["spec"]["nodeName"], "node-1");
    assert_eq!(pod["metadata"]["annotations"]["a"], "b");
    assert_eq!(pod["status"]["conditions"][0]["type"], "PodScheduled");
    let again = world.post(&path, binding("web", "node-2")).await;
    assert_eq!(again.code, 409);
    assert_eq!(
        again.message(),
        "Operation cannot be fulfilled on pods/binding \"web\": pod web is already assigned to node \"node-1\""
    );
}

#[tokio::test]
async fn a_binding_among_the_bindings_names_its_pod() {
    let world = World::new().await;
    world.post(PODS, pod("web", &json!({}))).await;
    let path = "/api/v1/namespaces/default/bindings";
    assert_eq!(world.post(path, binding("web", "node-1")).await.code, 201);
    assert_eq!(world.get(&format!("{PODS}/web")).await.body["spec"]["nodeName"], "node-1");
    assert_eq!(world.post(path, binding("other", "node-1")).await.code, 404);
    assert_eq!(world.get(path).await.code, 405);
}

#[tokio::test]
async fn a_binding_that_is_not_in_order_binds_nothing() {
    let world = World::new().await;
    let made = world.post(PODS, pod("web", &json!({}))).await.body;
    let path = format!("{PODS}/web/binding");
    let refused = world.post(&path, binding("other", "node-1")).await;
    assert_eq!((refused.code, refused.message()), (400, "name in URL does not match name in Binding object"));
    assert_eq!(world.post(&path, binding("web", "")).await.code, 422);
    let mut wrong = binding("web", "node-1");
    wrong["target"]["kind"] = "Pod".into();
    assert_eq!(world.post(&path, wrong).await.code, 422);
    let mut other = binding("web", "node-1");
    other["metadata"]["uid"] = "another".into();
    assert_eq!(world.post(&path, other).await.code, 409);
    let mut refused = binding("web", "node-1");
    refused["metadata"]["labels"] = json!({"refuse": "me"});
    assert_eq!(world.post(&path, refused).await.code, 403);
    assert_eq!(world.get(&format!("{PODS}/web")).await.body, made);
}

#[tokio::test]
async fn an_eviction_deletes_the_pod_as_it_says() {
    let world = World::new().await;
    let made = world.post(PODS, pod("web", &json!({}))).await.body;
    let path = format!("{PODS}/web/eviction");
    let eviction = |options: Value| json!({"metadata": {"name": "web"}, "deleteOptions": options});
    let refused = world.post(&path, json!({"metadata": {"name": "other"}})).await;
    assert_eq!(refused.message(), "name in URL does not match name in Eviction object");
    for (options, code) in [
        (json!({"dryRun": ["All"]}), 201),
        (json!({"preconditions": {"uid": "another"}}), 409),
        (json!({"propagationPolicy": "Sideways"}), 422),
    ] {
        assert_eq!(world.post(&path, eviction(options)).await.code, code);
        assert_eq!(world.get(&format!("{PODS}/web")).await.code, 200);
    }
    let uid = &made["metadata"]["uid"];
    let evicted = world.post(&path, eviction(json!({"preconditions": {"uid": uid}}))).await;
    assert_eq!((evicted.code, &evicted.body["status"]), (201, &json!("Success")));
    assert_eq!(world.get(&format!("{PODS}/web")).await.code, 404);
    assert_eq!(world.post(&path, eviction(json!({}))).await.code, 404);
}

#[tokio::test]
async fn admission_is_asked_about_an_eviction_and_a_finalizer_holds_its_pod() {
    let world = World::new().await;
    let mut held = pod("web", &json!({}));
    held["metadata"]["finalizers"] = json!(["example.org/wait"]);
    world.post(PODS, held).await;
    let path = format!("{PODS}/web/eviction");
    let refused = json!({"metadata": {"name": "web", "labels": {"refuse": "me"}}});
    assert_eq!(world.post(&path, refused).await.code, 403);
    assert!(!meta::is_going(&world.get(&format!("{PODS}/web")).await.body));
    assert_eq!(world.post(&path, json!({"metadata": {"name": "web"}})).await.code, 201);
    assert!(meta::is_going(&world.get(&format!("{PODS}/web")).await.body));
}
