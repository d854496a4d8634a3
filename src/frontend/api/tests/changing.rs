use super::*;

async fn with_pod() -> (World, Value) {
    let world = World::new().await;
    let made = world.post(PODS, pod("web", &json!({"a": "b"}))).await;
    (world, made.body)
}

fn web() -> String {
    format!("{PODS}/web")
}

#[tokio::test]
async fn an_object_is_replaced_and_keeps_where_it_came_from() {
    let (world, made) = with_pod().await;
    let sent = pod("web", &json!({"c": "d"}));
    let changed = world.put(&web(), &sent).await;
    assert_eq!(changed.code, 200, "{}", changed.text);
    assert_eq!(changed.body["metadata"]["labels"], json!({"c": "d"}));
    for field in ["uid", "creationTimestamp", "generation"] {
        assert_eq!(changed.body["metadata"][field], made["metadata"][field]);
    }
    assert_eq!(changed.body["status"], made["status"]);
    let same = world.put(&web(), &sent).await;
    assert_eq!(same.body["metadata"]["resourceVersion"], changed.body["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn who_changes_what_is_no_longer_there_is_told() {
    let (world, made) = with_pod().await;
    world.put(&web(), &pod("web", &json!({"c": "d"}))).await;
    let stale = world.put(&web(), &made).await;
    assert_eq!(
        (stale.code, stale.message()),
        (
            409,
            "Operation cannot be fulfilled on pods \"web\": the object has been modified; please apply your changes to \
             the latest version and try again"
        )
    );
    let stale = world.patch("merge-patch", &web(), json!({"metadata": {"resourceVersion": "1"}})).await;
    assert_eq!(stale.code, 409);
    let mut other = pod("web", &json!({}));
    other["metadata"]["uid"] = "x".into();
    assert_eq!(world.put(&web(), &other).await.code, 409);
    assert_eq!(world.put(&web(), &pod("other", &json!({}))).await.code, 400);
    let missing = world.put(&format!("{PODS}/none"), &pod("none", &json!({}))).await;
    assert_eq!((missing.code, missing.message()), (404, "pods \"none\" not found"));
}

#[tokio::test]
async fn each_kind_of_patch_is_applied() {
    let (world, _) = with_pod().await;
    let json_patch = json!([{"op": "add", "path": "/metadata/labels/q", "value": "1"}]);
    let patched = world.patch("json-patch", &web(), json_patch).await;
    assert_eq!(patched.body["metadata"]["labels"], json!({"a": "b", "q": "1"}));
    let patched = world.patch("merge-patch", &web(), json!({"metadata": {"labels": {"a": null}}})).await;
    assert_eq!(patched.body["metadata"]["labels"], json!({"q": "1"}));
    let image = json!({"spec": {"containers": [{"name": "c", "image": "nginx:2"}]}});
    let patched = world.patch("strategic-merge-patch", &web(), image).await;
    assert_eq!(patched.code, 200, "{}", patched.text);
    assert_eq!(patched.body["spec"]["containers"][0]["image"], "nginx:2");
    assert_eq!(patched.body["metadata"]["generation"], 2);
    let missing = world.patch("merge-patch", &format!("{PODS}/none"), json!({})).await;
    assert_eq!(missing.code, 404);
}

#[tokio::test]
async fn patches_that_cannot_be_applied_are_refused() {
    let (world, made) = with_pod().await;
    let applied =
        world.ask("PATCH", &web(), &[("content-type", "application/apply-patch+yaml")], b"{}").await;
    assert_eq!(applied.code, 415);
    assert!(applied.message().starts_with("server-side apply is not served"), "{}", applied.message());
    assert_eq!(world.ask("PATCH", &web(), &[], b"{}").await.code, 415);
    for (kind, patch, code) in [
        ("json-patch", json!([{"op": "test", "path": "/kind", "value": "Secret"}]), 422),
        ("json-patch", json!({}), 400),
        ("merge-patch", json!([]), 400),
        ("merge-patch", json!({"kind": "Secret"}), 400),
        ("merge-patch", json!({"metadata": {"name": "other"}}), 400),
        ("merge-patch", json!({"metadata": {"uid": "other"}}), 409),
        ("merge-patch", json!({"metadata": {"labels": {"a": "no label!"}}}), 422),
        ("merge-patch", json!({"spec": {"hostNetwork": true}}), 422),
        ("merge-patch", json!({"spec": {"containers": null}}), 422),
        ("merge-patch", json!({"metadata": {"labels": {"refuse": "me"}}}), 403),
        ("strategic-merge-patch", json!({"spec": {"containers": [{"image": "x"}]}}), 400),
    ] {
        let refused = world.patch(kind, &web(), patch.clone()).await;
        assert_eq!(refused.code, code, "{patch}: {}", refused.text);
    }
    let strict = format!("{}?fieldValidation=Strict", web());
    assert_eq!(world.patch("merge-patch", &strict, json!({"bogus": 1})).await.code, 400);
    assert_eq!(world.get(&web()).await.body, made);
}

#[tokio::test]
async fn status_changes_only_through_its_own_path_and_nothing_else_does() {
    let (world, made) = with_pod().await;
    let both = json!({"metadata": {"labels": {"x": "y"}}, "status": {"phase": "Running"}});
    let plain = world.patch("merge-patch", &web(), both.clone()).await;
    assert_eq!(plain.body["status"], made["status"]);
    assert_eq!(plain.body["metadata"]["labels"], json!({"a": "b", "x": "y"}));
    let mut both = both;
    both["metadata"]["labels"] = json!({"z": "1"});
    let status = world.patch("merge-patch", &format!("{}/status", web()), both).await;
    assert_eq!(status.body["status"]["phase"], "Running");
    assert_eq!(status.body["metadata"]["labels"], json!({"a": "b", "x": "y"}));
    assert_eq!(world.get(&format!("{}/status", web())).await.code, 200);
    assert_eq!(world.delete(&format!("{}/status", web())).await.code, 405);
    let exec = world.get(&format!("{}/exec", web())).await;
    let why = "pods/exec is not served: nothing runs behind this front end";
    assert_eq!((exec.code, exec.message()), (404, why));
}

/// Changes the pod itself, so many times, while it is being admitted.
struct Racing {
    storage: Arc<Storage>,
    times: std::sync::atomic::AtomicU64,
}

impl Admit for Racing {
    fn mutate<'a>(
        &'a self,
        asked: &'a mut Attributes,
        _: &'a mut Record,
    ) -> LocalBoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            let left = self.times.load(std::sync::atomic::Ordering::Relaxed);
            if left > 0 {
                self.times.store(left - 1, std::sync::atomic::Ordering::Relaxed);
                let mut other = Value::clone(asked.old.as_ref().unwrap());
                other["metadata"]["annotations"] =
                    json!({"race": meta::text(asked.old.as_ref().unwrap(), "resourceVersion")});
                let any = crate::frontend::storage::Preconditions::default();
                self.storage.update(asked.kind, &asked.namespace, &asked.name, &any, other).await.unwrap();
            }
            Ok(())
        })
    }

    fn validate<'a>(
        &'a self,
        _: &'a Attributes,
        _: &'a mut Record,
    ) -> LocalBoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async { Ok(()) })
    }
}

#[tokio::test]
async fn a_patch_is_tried_again_and_a_change_of_a_version_is_not() {
    let (mut world, _) = with_pod().await;
    let label = json!({"metadata": {"labels": {"x": "y"}}});
    for (times, code) in [(3, 200), (5, 409)] {
        let storage = Arc::clone(&world.services.storage);
        world.services.admission = Arc::new(Racing { storage, times: times.into() });
        world.stages();
        let patched = world.patch("merge-patch", &web(), label.clone()).await;
        assert_eq!(patched.code, code, "{}", patched.text);
        let stages: Vec<StageName> = world.stages().into_iter().map(|(name, _)| name).collect();
        assert_eq!(stages, [StageName::Admission, StageName::Storage]);
        if code == 200 {
            let annotations = &patched.body["metadata"]["annotations"];
            assert_eq!(annotations["race"], "105", "the patch is applied to what is there by now");
        }
    }
    let storage = Arc::clone(&world.services.storage);
    world.services.admission = Arc::new(Racing { storage, times: 1.into() });
    let read = world.get(&web()).await.body;
    assert_eq!(world.put(&web(), &read).await.code, 409);
    let storage = Arc::clone(&world.services.storage);
    world.services.admission = Arc::new(Racing { storage, times: 1.into() });
    assert_eq!(world.delete(&web()).await.code, 200, "a deletion is of any version");
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let (world, made) = with_pod().await;
    let target = format!("{}?dryRun=All", web());
    let shown = world.patch("merge-patch", &target, json!({"metadata": {"labels": {"z": "1"}}})).await;
    assert_eq!(shown.body["metadata"]["labels"]["z"], "1");
    assert_eq!(world.get(&web()).await.body, made);
}
