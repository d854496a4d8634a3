use std::collections::VecDeque;

use futures_util::stream::LocalBoxStream;

use super::*;

/// A watch, and the lines of it that came together with one that was read.
struct Watched(LocalBoxStream<'static, Bytes>, VecDeque<Vec<u8>>);

impl Watched {
    async fn begin(world: &World, query: &str, headers: &[(&str, &str)]) -> Self {
        let target = format!("{PODS}?watch=true&{query}");
        match world.answer("alice", "GET", &target, headers, Vec::new()).await.unwrap().body {
            Body::Stream(stream) => Self(stream, VecDeque::new()),
            Body::Whole(_) => panic!("it is no stream"),
        }
    }

    async fn event(&mut self) -> Value {
        if self.1.is_empty() {
            let lines = self.0.next().await.expect("an event");
            assert!(lines.ends_with(b"\n"));
            self.1.extend(lines.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec));
        }
        serde_json::from_slice(&self.1.pop_front().unwrap()).unwrap()
    }

    /// What happened to which object.
    async fn next(&mut self) -> (String, String) {
        let event = self.event().await;
        (event["type"].as_str().unwrap().into(), meta::text(&event["object"], "name").into())
    }
}

fn told(kind: &str, name: &str) -> (String, String) {
    (kind.into(), name.into())
}

#[tokio::test]
async fn a_watch_begins_with_what_there_is_and_goes_on_with_what_comes() {
    let world = World::new().await;
    world.post(PODS, pod("a", &json!({}))).await;
    let mut watched = Watched::begin(&world, "", &[]).await;
    assert_eq!(watched.next().await, told("ADDED", "a"));
    world.post("/api/v1/namespaces/team-a/pods", pod("elsewhere", &json!({}))).await;
    world.post(PODS, pod("b", &json!({}))).await;
    world.patch("merge-patch", &format!("{PODS}/b"), json!({"metadata": {"labels": {"x": "y"}}})).await;
    world.delete(&format!("{PODS}/a")).await;
    for expected in [told("ADDED", "b"), told("MODIFIED", "b"), told("DELETED", "a")] {
        assert_eq!(watched.next().await, expected);
    }
}

#[tokio::test]
async fn a_watch_from_a_version_tells_what_happened_since() {
    let world = World::new().await;
    world.post(PODS, pod("a", &json!({}))).await;
    let version = world.get(PODS).await.body["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    world.post(PODS, pod("b", &json!({}))).await;
    let mut watched = Watched::begin(&world, &format!("resourceVersion={version}"), &[]).await;
    assert_eq!(watched.next().await, told("ADDED", "b"));
    for (since, code, reason) in [("7", 410, "Expired"), ("99999", 504, "Timeout")] {
        let mut refused = Watched::begin(&world, &format!("resourceVersion={since}"), &[]).await;
        let event = refused.event().await;
        assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(code)));
        assert_eq!(event["object"]["reason"], reason);
        assert!(refused.1.is_empty() && refused.0.next().await.is_none());
    }
}

#[tokio::test]
async fn what_comes_to_be_selected_is_added_and_what_ceases_to_be_is_deleted() {
    let world = World::new().await;
    world.post(PODS, pod("a", &json!({"tier": "gold"}))).await;
    world.post(PODS, pod("b", &json!({"tier": "silver"}))).await;
    let mut watched = Watched::begin(&world, "labelSelector=tier%3Dgold", &[]).await;
    assert_eq!(watched.next().await, told("ADDED", "a"));
    let tier = |tier: &str| json!({"metadata": {"labels": {"tier": tier}}});
    world.patch("merge-patch", &format!("{PODS}/b"), tier("gold")).await;
    assert_eq!(watched.next().await, told("ADDED", "b"));
    world.patch("merge-patch", &format!("{PODS}/a"), tier("bronze")).await;
    let event = watched.event().await;
    assert_eq!(event["type"], "DELETED");
    assert_eq!(event["object"]["metadata"]["labels"]["tier"], "gold", "as it was selected");
    let now = world.get(&format!("{PODS}/a")).await.body;
    assert_eq!(event["object"]["metadata"]["resourceVersion"], now["metadata"]["resourceVersion"]);
    world.delete(&format!("{PODS}/a")).await;
    world.delete(&format!("{PODS}/b")).await;
    assert_eq!(watched.next().await, told("DELETED", "b"));
}

#[tokio::test]
async fn the_first_table_of_a_watch_has_the_columns() {
    let world = World::new().await;
    world.post(PODS, pod("a", &json!({}))).await;
    world.post(PODS, pod("b", &json!({}))).await;
    let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let mut watched = Watched::begin(&world, "", &table).await;
    let (first, second) = (watched.event().await, watched.event().await);
    assert_eq!(first["object"]["rows"][0]["cells"][0], "a");
    assert!(first["object"]["columnDefinitions"].is_array());
    assert_eq!(second["object"]["rows"][0]["cells"][0], "b");
    assert!(second["object"]["columnDefinitions"].is_null());
}

#[tokio::test]
async fn a_watch_ends_in_time_and_says_how_far_it_was() {
    let world = World::new().await;
    let mut watched = Watched::begin(&world, "allowWatchBookmarks=true&timeoutSeconds=1", &[]).await;
    world.post("/api/v1/namespaces/team-a/pods", pod("elsewhere", &json!({}))).await;
    let event = watched.event().await;
    assert_eq!((&event["type"], &event["object"]["kind"]), (&json!("BOOKMARK"), &json!("Pod")));
    assert_eq!(event["object"]["metadata"]["resourceVersion"], "103");
    assert!(watched.1.is_empty() && watched.0.next().await.is_none());
}

#[tokio::test]
async fn a_watch_that_streams_its_list_says_where_that_ends() {
    let world = World::new().await;
    world.post(PODS, pod("a", &json!({}))).await;
    let version = world.get(PODS).await.body["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    world.post(PODS, pod("b", &json!({}))).await;
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    for query in
        [query.to_owned(), format!("{query}&resourceVersion={version}"), format!("{query}&resourceVersion=0")]
    {
        let mut watched = Watched::begin(&world, &query, &[]).await;
        assert_eq!(watched.next().await, told("ADDED", "a"), "{query}");
        assert_eq!(watched.next().await, told("ADDED", "b"));
        let end = watched.event().await;
        assert_eq!(end["type"], "BOOKMARK");
        assert_eq!(end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
        let now = world.get(PODS).await.body["metadata"]["resourceVersion"].clone();
        assert_eq!(end["object"]["metadata"]["resourceVersion"], now);
        let name = format!("c-{}", query.len());
        world.post(PODS, pod(&name, &json!({}))).await;
        assert_eq!(watched.next().await, told("ADDED", &name));
        world.delete(&format!("{PODS}/{name}")).await;
    }
}

#[tokio::test]
async fn a_watch_that_wants_no_list_begins_now() {
    let world = World::new().await;
    world.post(PODS, pod("a", &json!({}))).await;
    let query = "sendInitialEvents=false&resourceVersionMatch=NotOlderThan";
    let mut watched = Watched::begin(&world, query, &[]).await;
    world.post(PODS, pod("b", &json!({}))).await;
    assert_eq!(watched.next().await, told("ADDED", "b"));
}

#[tokio::test]
async fn what_a_watch_says_of_its_list_has_to_make_sense() {
    let world = World::new().await;
    for (query, why) in [
        ("sendInitialEvents=true", "resourceVersionMatch: Forbidden: sendInitialEvents requires setting"),
        ("resourceVersionMatch=NotOlderThan", "is forbidden for watch unless sendInitialEvents is provided"),
        (
            "sendInitialEvents=true&resourceVersionMatch=Exact",
            "Unsupported value: \"Exact\": supported values: \"NotOlderThan\"",
        ),
    ] {
        let reply = world.get(&format!("{PODS}?watch=true&{query}")).await;
        assert_eq!((reply.code, reply.message().contains(why)), (422, true), "{}", reply.text);
    }
    assert_eq!(world.get(&format!("{PODS}?watch=true&timeoutSeconds=x")).await.code, 400);
}
