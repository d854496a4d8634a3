use super::*;
use crate::frontend::storage::Preconditions;
use serde_json::Map;

#[tokio::test]
async fn an_object_is_deleted_and_given_back() {
    let world = World::new().await;
    let made = world.post(PODS, pod("web", &json!({}))).await;
    let path = format!("{PODS}/web");
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background", "dryRun": ["All"]});
    let shown = world.ask("DELETE", &path, &[], options.to_string().as_bytes()).await;
    assert_eq!((shown.code, &shown.body), (200, &made.body));
    assert_eq!(world.get(&path).await.code, 200);
    let gone = world.ask("DELETE", &path, &[], br#"{"gracePeriodSeconds": 0}"#).await;
    assert_eq!((gone.code, &gone.body["kind"]), (200, &json!("Pod")));
    assert_eq!(world.get(&path).await.code, 404);
    assert_eq!(world.delete(&path).await.code, 404);
}

#[tokio::test]
async fn what_is_expected_of_an_object_must_hold_for_it_to_be_deleted() {
    let world = World::new().await;
    let made = world.post(PODS, pod("web", &json!({}))).await;
    let path = format!("{PODS}/web");
    for field in ["uid", "resourceVersion"] {
        let options = json!({"preconditions": {field: "other"}}).to_string();
        let refused = world.ask("DELETE", &path, &[], options.as_bytes()).await;
        assert_eq!((refused.code, refused.message().contains("Precondition failed")), (409, true));
    }
    let options = json!({"preconditions": {"uid": made.body["metadata"]["uid"]}}).to_string();
    assert_eq!(world.ask("DELETE", &path, &[], options.as_bytes()).await.code, 200);
    world.post(PODS, pod("kept", &json!({"refuse": "me"}))).await;
}

#[tokio::test]
async fn a_finalizer_holds_an_object_until_it_is_removed() {
    let world = World::new().await;
    let mut held = pod("web", &json!({}));
    held["metadata"]["finalizers"] = json!(["example.org/wait"]);
    world.post(PODS, held).await;
    let path = format!("{PODS}/web");
    let marked = world.delete(&path).await;
    assert_eq!(meta::text(&marked.body, "deletionTimestamp"), "2026-03-01T12:00:00Z");
    assert_eq!(world.get(&path).await.code, 200);
    let more = json!({"metadata": {"finalizers": ["example.org/wait", "example.org/more"]}});
    assert_eq!(world.patch("merge-patch", &path, more).await.code, 422);
    let free = world.patch("merge-patch", &path, json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(free.code, 200);
    assert_eq!(world.get(&path).await.code, 404);
}

#[tokio::test]
async fn a_namespace_takes_along_what_is_in_it() {
    let world = World::new().await;
    let pods = "/api/v1/namespaces/team-a/pods";
    world.post(pods, pod("free", &json!({}))).await;
    let mut held = pod("held", &json!({}));
    held["metadata"]["finalizers"] = json!(["example.org/wait"]);
    world.post(pods, held).await;
    let going = world.delete("/api/v1/namespaces/team-a").await;
    assert_eq!(going.body["status"]["phase"], "Terminating");
    assert_eq!(world.get(&format!("{pods}/free")).await.code, 404);
    assert_eq!(world.get("/api/v1/namespaces/team-a").await.code, 200, "something holds it");
    assert_eq!(world.post(pods, pod("late", &json!({}))).await.code, 403);
    world.patch("merge-patch", &format!("{pods}/held"), json!({"metadata": {"finalizers": []}})).await;
    assert_eq!(world.get(&format!("{pods}/held")).await.code, 404);
    assert_eq!(world.get("/api/v1/namespaces/team-a").await.code, 404);
}

#[tokio::test]
async fn a_collection_is_deleted_as_far_as_it_is_selected() {
    let world = World::new().await;
    for (name, tier) in [("a", "gold"), ("b", "silver"), ("c", "gold")] {
        world.post(PODS, pod(name, &json!({"tier": tier}))).await;
    }
    let gone = world.delete(&format!("{PODS}?labelSelector=tier%3Dgold")).await;
    assert_eq!((gone.code, gone.names()), (200, vec!["a", "c"]));
    assert_eq!(world.get(PODS).await.names(), ["b"]);
    assert_eq!(world.delete("/api/v1/pods").await.code, 405);
    assert_eq!(world.delete("/api/v1/namespaces").await.code, 405);
}

#[tokio::test]
async fn whatever_changes_while_its_namespace_is_deleted_goes_along() {
    let world = World::new().await;
    let storage = Arc::clone(&world.services.storage);
    let maps = crate::frontend::resources::find("", "configmaps").unwrap();
    for round in 0..20 {
        let namespace = format!("ns-{round}");
        world.post("/api/v1/namespaces", json!({"metadata": {"name": namespace}})).await;
        let path = format!("/api/v1/namespaces/{namespace}/configmaps");
        // So large that it takes a while to be marked.
        let data: Map<String, Value> = (0..3_000).map(|nth| (nth.to_string(), "".into())).collect();
        world.post(&path, json!({"metadata": {"name": "held", "finalizers": ["a/b"]}, "data": data})).await;
        let (changing, in_namespace) = (Arc::clone(&storage), namespace.clone());
        let begun = Arc::new(std::sync::Barrier::new(2));
        let begin = Arc::clone(&begun);
        let changes = std::thread::spawn(move || {
            begin.wait();
            for count in 0..20 {
                let mut held = Value::clone(&changing.get(maps, &in_namespace, "held").unwrap());
                held["data"]["count"] = count.to_string().into();
                let version = Some(meta::text(&held, "resourceVersion").to_owned());
                let expected = Preconditions { uid: None, resource_version: version };
                let changed = changing.update(maps, &in_namespace, "held", &expected, held);
                let _ = futures_util::FutureExt::now_or_never(changed).expect("done at once, in memory");
            }
        });
        begun.wait();
        world.delete(&format!("/api/v1/namespaces/{namespace}")).await;
        changes.join().unwrap();
        assert!(meta::is_going(&storage.get(maps, &namespace, "held").unwrap()), "round {round}");
    }
}
