use super::*;

async fn with_pods() -> World {
    let world = World::new().await;
    for (name, tier) in [("a", "gold"), ("b", "silver"), ("c", "gold")] {
        world.post(PODS, pod(name, &json!({"tier": tier}))).await;
    }
    world.post("/api/v1/namespaces/team-a/pods", pod("d", &json!({"tier": "gold"}))).await;
    world
}

#[tokio::test]
async fn a_list_is_of_what_is_selected() {
    let world = with_pods().await;
    for (target, names) in [
        ("/api/v1/pods", &["a", "b", "c", "d"][..]),
        (PODS, &["a", "b", "c"]),
        ("/api/v1/pods?labelSelector=tier%3Dgold", &["a", "c", "d"]),
        ("/api/v1/pods?fieldSelector=metadata.name%3Dd", &["d"]),
        ("/api/v1/pods?fieldSelector=metadata.namespace!%3Ddefault", &["d"]),
        ("/api/v1/pods?fieldSelector=status.phase%3DRunning", &[]),
        ("/api/v1/pods?fieldSelector=spec.restartPolicy%3DAlways,metadata.name!%3Da", &["b", "c", "d"]),
        ("/api/v1/namespaces/nowhere/pods", &[]),
    ] {
        let list = world.get(target).await;
        assert_eq!((list.code, list.names()), (200, names.to_vec()), "{target}");
        assert_eq!(list.body["kind"], "PodList");
    }
    let refused = world.get("/api/v1/pods?fieldSelector=spec.colour%3Dred").await;
    assert_eq!((refused.code, refused.message()), (400, "field label not supported: spec.colour"));
}

#[tokio::test]
async fn the_pages_of_a_list_are_of_one_version() {
    let world = with_pods().await;
    let first = world.get(&format!("{PODS}?limit=2")).await;
    assert_eq!(first.names(), ["a", "b"]);
    assert_eq!(first.body["metadata"]["remainingItemCount"], 1);
    world.delete(&format!("{PODS}/c")).await;
    world.post(PODS, pod("bb", &json!({}))).await;
    let token = first.body["metadata"]["continue"].as_str().unwrap();
    let second = world.get(&format!("{PODS}?limit=2&continue={token}")).await;
    assert_eq!(second.names(), ["c"]);
    assert_eq!(second.body["metadata"]["resourceVersion"], first.body["metadata"]["resourceVersion"]);
    assert_eq!(second.body["metadata"].get("continue"), None);
    assert_eq!(world.get(&format!("{PODS}?continue=nonsense")).await.code, 400);
}

#[tokio::test]
async fn a_version_may_be_asked_for() {
    let world = with_pods().await;
    let then = world.get(PODS).await.body["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    world.delete(&format!("{PODS}/a")).await;
    let exact = world.get(&format!("{PODS}?resourceVersion={then}&resourceVersionMatch=Exact")).await;
    assert_eq!(exact.names(), ["a", "b", "c"]);
    assert_eq!(world.get(&format!("{PODS}?resourceVersion={then}")).await.names(), ["b", "c"]);
    let old = world.get(&format!("{PODS}?resourceVersion=7&resourceVersionMatch=Exact")).await;
    assert_eq!((old.code, &old.body["reason"]), (410, &json!("Expired")));
    assert_eq!(world.get(&format!("{PODS}?resourceVersion=99999")).await.code, 504);
    assert_eq!(world.get(&format!("{PODS}?resourceVersion=x")).await.code, 400);
}

#[tokio::test]
async fn objects_are_shown_as_rows_or_by_their_metadata() {
    let world = with_pods().await;
    let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")];
    let shown = world.ask("GET", &format!("{PODS}?limit=1"), &table, b"").await.body;
    assert_eq!(shown["kind"], "Table");
    assert_eq!(shown["columnDefinitions"][0]["name"], "Name");
    let cells = shown["rows"][0]["cells"].as_array().unwrap();
    assert_eq!(cells[..5], ["a", "0/1", "Pending", "0", "0s"]);
    assert_eq!(shown["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    assert!(shown["metadata"]["continue"].is_string());
    let one = world.ask("GET", &format!("{PODS}/a?includeObject=Object"), &table, b"").await.body;
    assert_eq!(one["rows"][0]["object"]["kind"], "Pod");
    let partial = [("accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")];
    let shown = world.ask("GET", PODS, &partial, b"").await.body;
    assert_eq!((&shown["kind"], shown["items"][0].get("spec")), (&json!("PartialObjectMetadataList"), None));
    let refused = world.ask("GET", PODS, &[("accept", "text/html")], b"").await;
    assert_eq!(refused.code, 406);
}

#[tokio::test]
async fn paths_that_lead_nowhere_and_verbs_that_there_are_not_are_told_apart() {
    let world = with_pods().await;
    for (method, target, code) in [
        ("GET", "/api/v1/widgets", 404),
        ("GET", "/api/v2/pods", 404),
        ("GET", "/apis/batch/v1/jobs", 404),
        ("GET", "/api/v1/pods/a", 404),
        ("GET", "/api/v1/namespaces/default/nodes", 404),
        ("GET", "/api/v1/namespaces/default/pods/a/portforward", 404),
        ("POST", "/api/v1/pods", 405),
        ("POST", "/api/v1/namespaces/default/pods/a", 405),
        ("PUT", "/api/v1/namespaces/default/pods", 405),
        ("PATCH", "/api/v1/namespaces/default/pods", 405),
        ("OPTIONS", "/api/v1/namespaces/default/pods", 405),
        ("DELETE", "/apis/authorization.k8s.io/v1/subjectaccessreviews/x", 405),
        ("HEAD", "/api/v1/namespaces/default/pods/a", 200),
    ] {
        let reply = world.ask(method, target, &[], b"").await;
        assert_eq!(reply.code, code, "{method} {target}: {}", reply.text);
    }
    assert_eq!(world.ask("HEAD", PODS, &[], b"").await.text, "");
}

#[tokio::test]
async fn the_log_of_a_pod_says_what_happened_to_it() {
    let world = with_pods().await;
    let path = format!("{PODS}/a");
    world.patch("merge-patch", &path, json!({"metadata": {"labels": {"x": "y"}}})).await;
    let log = world.get(&format!("{path}/log")).await;
    assert_eq!(log.text, "pod default/a created by \"alice\"\npod default/a changed by \"alice\"\n");
    assert_eq!(log.content_type, "text/plain; charset=utf-8");
    let log = world.get(&format!("{path}/log?container=c&tailLines=1&timestamps=true&limitBytes=34")).await;
    assert_eq!(log.text, "2026-03-01T12:00:00.000000000Z pod");
    let other = world.get(&format!("{path}/log?container=x")).await;
    assert_eq!((other.code, other.message()), (400, "container x is not valid for pod a"));
    let mut two = pod("two", &json!({}));
    two["spec"]["containers"] = json!([{"name": "one", "image": "i"}, {"name": "two", "image": "i"}]);
    world.post(PODS, two).await;
    let unclear = world.get(&format!("{PODS}/two/log")).await;
    assert_eq!(
        (unclear.code, unclear.message()),
        (400, "a container name must be specified for pod two, choose one of: [one two]")
    );
    assert_eq!(world.get(&format!("{PODS}/none/log")).await.code, 404);
    assert_eq!(world.get(&format!("{path}/log?tailLines=-1")).await.code, 400);
}

#[tokio::test]
async fn a_pod_that_was_there_from_the_start_has_a_log_that_can_be_followed() {
    let world = World::new().await;
    let kind = crate::frontend::resources::find("", "pods").unwrap();
    let mut stored = pod("old", &json!({}));
    stored["metadata"]["namespace"] = "default".into();
    stored["metadata"]["uid"] = "u".into();
    stored["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
    world.services.storage.create(kind, "default", "old", stored).await.unwrap();
    let follow = format!("{PODS}/old/log?follow=true&timestamps=true");
    let answer = world.answer("alice", "GET", &follow, &[], Vec::new()).await.unwrap();
    let Body::Stream(mut stream) = answer.body else { panic!("it is no stream") };
    assert_eq!(stream.next().await.unwrap(), "2026-01-01T00:00:00.000000000Z pod default/old is there\n");
    world.delete(&format!("{PODS}/old")).await;
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn a_log_is_followed_until_the_pod_is_gone() {
    let world = with_pods().await;
    let path = format!("{PODS}/a");
    let follow = format!("{path}/log?follow=true");
    let answer = world.answer("alice", "GET", &follow, &[], Vec::new()).await.unwrap();
    let Body::Stream(mut stream) = answer.body else { panic!("it is no stream") };
    assert_eq!(stream.next().await.unwrap(), "pod default/a created by \"alice\"\n");
    world.patch("merge-patch", &path, json!({"metadata": {"labels": {"x": "y"}}})).await;
    assert_eq!(stream.next().await.unwrap(), "pod default/a changed by \"alice\"\n");
    world.delete(&path).await;
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn a_list_whose_version_is_forgotten_can_go_on_with_what_there_is_now() {
    let world = with_pods().await;
    let first = world.get(&format!("{PODS}?limit=1")).await.body;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let maps = crate::frontend::resources::find("", "configmaps").unwrap();
    for nth in 0..=crate::frontend::storage::MAX_HISTORY_EVENTS {
        let map =
            json!({"metadata": {"name": "m", "namespace": "default"}, "data": {"nth": nth.to_string()}});
        let storage = &world.services.storage;
        match nth {
            0 => storage.create(maps, "default", "m", map).await.unwrap(),
            _ => storage.update(maps, "default", "m", &Default::default(), map).await.unwrap(),
        };
    }
    let expired = world.get(&format!("{PODS}?limit=1&continue={token}")).await;
    assert_eq!((expired.code, &expired.body["reason"]), (410, &json!("Expired")));
    assert!(expired.message().contains("use the continue token in this response"));
    let token = expired.body["metadata"]["continue"].as_str().unwrap();
    let rest = world.get(&format!("{PODS}?continue={token}")).await;
    assert_eq!((rest.code, rest.names()), (200, world.get(PODS).await.names()[1..].to_vec()));
    let version = first["metadata"]["resourceVersion"].as_str().unwrap();
    let exact = world.get(&format!("{PODS}?resourceVersion={version}&resourceVersionMatch=Exact")).await;
    assert_eq!((exact.code, exact.message()), (410, "The resourceVersion for the provided list is too old."));
}

#[tokio::test]
async fn what_a_list_says_of_versions_has_to_make_sense() {
    let world = with_pods().await;
    for (query, why) in [
        (
            "resourceVersionMatch=Exact",
            "resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        ("resourceVersionMatch=Exact&resourceVersion=0", "\"exact\" is forbidden for resourceVersion \"0\""),
        (
            "resourceVersionMatch=Newest&resourceVersion=1",
            "Unsupported value: \"Newest\": supported values: \"Exact\", \"NotOlderThan\", \"\"",
        ),
        ("sendInitialEvents=true", "sendInitialEvents is forbidden for list"),
    ] {
        let reply = world.get(&format!("{PODS}?{query}")).await;
        assert_eq!((reply.code, reply.message().contains(why)), (422, true), "{}", reply.text);
    }
    let first = world.get(&format!("{PODS}?limit=1")).await.body;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let both = world.get(&format!("{PODS}?continue={token}&resourceVersion=7")).await;
    assert_eq!(
        (both.code, both.message()),
        (400, "specifying resource version is not allowed when using continue")
    );
    let late = world.get(&format!("{PODS}?resourceVersion=99999&resourceVersionMatch=NotOlderThan")).await;
    assert_eq!(late.code, 504);
    assert!(late.message().starts_with("Timeout: Too large resource version: 99999, current: "));
    assert_eq!(late.body["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
}

#[tokio::test]
async fn a_list_that_is_too_long_is_to_be_asked_for_in_pages() {
    let world = World::new().await;
    let maps = crate::frontend::resources::find("", "configmaps").unwrap();
    for nth in 0..65 {
        let (name, text) = (format!("m-{nth:02}"), "x".repeat(1 << 20));
        let map = json!({"metadata": {"name": name, "namespace": "default"}, "data": {"text": text}});
        world.services.storage.create(maps, "default", &name, map).await.unwrap();
    }
    let path = "/api/v1/namespaces/default/configmaps";
    let refused = world.get(path).await;
    assert_eq!(
        (refused.code, refused.message().contains("page by page")),
        (413, true),
        "{}",
        refused.text.len()
    );
    assert_eq!(world.get(&format!("{path}?limit=10")).await.names().len(), 10);
    let partial = [("accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")];
    assert_eq!(world.ask("GET", path, &partial, b"").await.names().len(), 65);
}

#[tokio::test]
async fn what_is_not_served_says_what_there_is_instead() {
    let world = World::new().await;
    for (target, why) in [
        ("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "are fixed"),
        ("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies", "admission webhook"),
        ("/apis/policy/v1/poddisruptionbudgets", "every eviction is carried out at once"),
    ] {
        let reply = world.get(target).await;
        assert_eq!((reply.code, reply.message().contains(why)), (404, true), "{}", reply.text);
    }
    world.post(PODS, pod("web", &json!({}))).await;
    let debugged =
        world.patch("strategic-merge-patch", &format!("{PODS}/web/ephemeralcontainers"), json!({})).await;
    assert_eq!((debugged.code, &debugged.body["details"]), (404, &json!({"kind": "pods"})));
}
