use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::FutureExt as _;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::frontend::meta;
use crate::frontend::resources::find;

fn pods() -> &'static ResourceType {
    find("", "pods").unwrap()
}

fn pod(namespace: &str, name: &str, count: u64) -> Value {
    json!({"metadata": {"namespace": namespace, "name": name, "uid": format!("{namespace}/{name}")}, "count": count})
}

fn version(object: &Value) -> String {
    meta::text(object, "resourceVersion").to_owned()
}

fn names(list: &List) -> Vec<String> {
    list.items
        .iter()
        .map(|item| format!("{}/{}", meta::text(item, "namespace"), meta::text(item, "name")))
        .collect()
}

fn whatever() -> Preconditions {
    Preconditions::default()
}

#[tokio::test]
async fn an_object_is_kept_once_and_each_change_has_its_version() {
    let storage = Storage::starting_at(41);
    let made = storage.create(pods(), "a", "web", pod("a", "web", 1)).await.unwrap();
    assert_eq!(version(&made), "42");
    assert_eq!(
        storage.create(pods(), "a", "web", pod("a", "web", 1)).await.unwrap_err(),
        StorageError::AlreadyExists
    );
    let changed = storage.update(pods(), "a", "web", &whatever(), pod("a", "web", 2)).await.unwrap();
    assert_eq!(version(&changed), "43");
    assert_eq!(storage.get(pods(), "a", "web").unwrap(), changed);
    let gone = storage.delete(pods(), "a", "web", &whatever()).await.unwrap();
    assert_eq!((version(&gone), &gone["count"]), ("44".into(), &json!(2)));
    assert_eq!(storage.get(pods(), "a", "web"), None);
    assert_eq!(storage.delete(pods(), "a", "web", &whatever()).await.unwrap_err(), StorageError::NotFound);
}

#[tokio::test]
async fn what_is_stored_is_not_written_where_somebody_debugs() {
    let storage = Storage::new();
    let mut watch = storage.watch(pods(), None, None).unwrap();
    storage.create(pods(), "a", "web", json!({"data": "hunter2"})).await.unwrap();
    let event = watch.next().await;
    let shown = format!("{storage:?} {:?} {event:?} {watch:?}", storage.list(pods(), None));
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[tokio::test]
async fn a_change_that_changes_nothing_takes_no_version() {
    let storage = Storage::new();
    let made = storage.create(pods(), "a", "web", pod("a", "web", 1)).await.unwrap();
    let same = storage.update(pods(), "a", "web", &whatever(), pod("a", "web", 1)).await.unwrap();
    assert!(Arc::ptr_eq(&made, &same));
    assert_eq!(storage.version().to_string(), version(&made));
}

#[tokio::test]
async fn what_is_expected_of_an_object_is_held_to() {
    let storage = Storage::new();
    let made = storage.create(pods(), "a", "web", pod("a", "web", 1)).await.unwrap();
    let stale = Preconditions { resource_version: Some("1".into()), uid: None };
    let other = Preconditions { uid: Some("x".into()), resource_version: None };
    for expected in [&stale, &other] {
        let refused = storage.update(pods(), "a", "web", expected, pod("a", "web", 2)).await.unwrap_err();
        assert!(matches!(refused, StorageError::Conflict(_)), "{refused}");
        let refused = storage.delete(pods(), "a", "web", expected).await.unwrap_err();
        assert!(matches!(refused, StorageError::Conflict(_)), "{refused}");
    }
    let fresh = Preconditions { resource_version: Some(version(&made)), uid: Some("a/web".into()) };
    storage.update(pods(), "a", "web", &fresh, pod("a", "web", 2)).await.unwrap();
}

#[tokio::test]
async fn a_list_is_of_a_namespace_or_of_all_and_in_order() {
    let storage = Storage::new();
    for (namespace, name) in [("b", "x"), ("a", "z"), ("a", "y"), ("ab", "w")] {
        storage.create(pods(), namespace, name, pod(namespace, name, 1)).await.unwrap();
    }
    assert_eq!(names(&storage.list(pods(), None)), ["a/y", "a/z", "ab/w", "b/x"]);
    assert_eq!(names(&storage.list(pods(), Some("a"))), ["a/y", "a/z"]);
    assert!(storage.list(find("", "secrets").unwrap(), None).items.is_empty());
}

#[tokio::test]
async fn a_list_can_be_had_as_it_was() {
    let storage = Storage::new();
    storage.create(pods(), "a", "one", pod("a", "one", 1)).await.unwrap();
    storage.create(pods(), "a", "two", pod("a", "two", 1)).await.unwrap();
    let then = storage.list(pods(), Some("a"));
    storage.delete(pods(), "a", "one", &whatever()).await.unwrap();
    storage.update(pods(), "a", "two", &whatever(), pod("a", "two", 2)).await.unwrap();
    storage.create(pods(), "a", "three", pod("a", "three", 1)).await.unwrap();
    storage.create(pods(), "b", "four", pod("b", "four", 1)).await.unwrap();
    let again = storage.list_at(pods(), Some("a"), then.resource_version).unwrap();
    assert_eq!(again.items, then.items);
    assert_eq!(again.resource_version, then.resource_version);
    assert_eq!(
        storage.list_at(pods(), None, 99).unwrap_err(),
        StorageError::TooNew { asked: 99, current: 7 }
    );
}

#[tokio::test]
async fn nothing_is_created_in_a_namespace_that_is_not_there_or_goes() {
    let (storage, namespaces) = (Storage::new(), find("", "namespaces").unwrap());
    let within = async || storage.create_within(pods(), "a", "web", pod("a", "web", 1)).await;
    assert_eq!(within().await.unwrap_err(), StorageError::NoNamespace("a".into()));
    storage.create_within(namespaces, "", "a", json!({"metadata": {"name": "a"}})).await.unwrap();
    within().await.unwrap();
    assert!(!storage.finish_namespace("a").await.unwrap(), "it is not going");
    let going = json!({"metadata": {"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"}});
    storage.update(namespaces, "", "a", &whatever(), going).await.unwrap();
    assert!(!storage.finish_namespace("a").await.unwrap(), "something is in it");
    storage.delete_collection(pods(), Some("a"), |_| true).await.unwrap();
    assert_eq!(within().await.unwrap_err(), StorageError::NoNamespace("a".into()));
    assert!(storage.finish_namespace("a").await.unwrap());
    assert_eq!(storage.get(namespaces, "", "a"), None);
}

#[tokio::test]
async fn an_object_that_is_too_large_is_refused() {
    let storage = Storage::new();
    let large = json!({"data": "x".repeat(MAX_OBJECT_BYTES)});
    assert_eq!(
        storage.create(pods(), "a", "web", large).await.unwrap_err(),
        StorageError::TooLarge(MAX_OBJECT_BYTES)
    );
    assert_eq!(storage.list(pods(), None).items.len(), 0);
}

#[tokio::test]
async fn a_watch_resumes_where_it_was_and_tells_what_comes() {
    let storage = Storage::new();
    storage.create(pods(), "a", "web", pod("a", "web", 1)).await.unwrap();
    let since = storage.version();
    storage.update(pods(), "a", "web", &whatever(), pod("a", "web", 2)).await.unwrap();
    storage.create(pods(), "b", "web", pod("b", "web", 1)).await.unwrap();
    let mut watch = storage.watch(pods(), Some("a"), Some(since)).unwrap();
    let mut fresh = storage.watch(pods(), None, None).unwrap();
    storage.delete(pods(), "a", "web", &whatever()).await.unwrap();
    let first = watch.next().await.unwrap();
    assert_eq!((first.kind, &first.object["count"]), (EventKind::Modified, &json!(2)));
    assert_eq!(first.previous.unwrap()["count"], 1);
    let second = watch.next().await.unwrap();
    assert_eq!((second.kind, version(&second.object)), (EventKind::Deleted, "5".into()));
    assert_eq!(fresh.next().await.unwrap().kind, EventKind::Deleted);
}

#[tokio::test]
async fn what_is_forgotten_cannot_be_watched_from() {
    let storage = Storage::starting_at(100);
    let too_old = storage.watch(pods(), None, Some(3)).unwrap_err();
    assert_eq!(too_old, StorageError::TooOld { asked: 3, oldest: 101 });
    storage.create(pods(), "a", "web", pod("a", "web", 0)).await.unwrap();
    let since = storage.version();
    for count in 1..=MAX_HISTORY_EVENTS as u64 + 1 {
        storage.update(pods(), "a", "web", &whatever(), pod("a", "web", count)).await.unwrap();
    }
    assert!(matches!(storage.watch(pods(), None, Some(since)), Err(StorageError::TooOld { .. })));
    assert!(storage.watch(pods(), None, Some(since + 1)).is_ok());
}

#[tokio::test]
async fn who_reads_too_slowly_is_cut_off_after_what_they_were_owed() {
    let storage = Storage::new();
    let mut watch = storage.watch(pods(), None, None).unwrap();
    storage.create(pods(), "a", "web", pod("a", "web", 0)).await.unwrap();
    for count in 1..=MAX_PENDING_EVENTS as u64 + 10 {
        storage.update(pods(), "a", "web", &whatever(), pod("a", "web", count)).await.unwrap();
    }
    let mut last = 1;
    let mut told = 0;
    while let Some(event) = watch.next().await {
        assert_eq!(event.resource_version, last + 1);
        (last, told) = (event.resource_version, told + 1);
    }
    assert_eq!(told, MAX_PENDING_EVENTS);
}

#[tokio::test]
async fn what_waits_for_a_slow_reader_is_bounded_in_bytes_too() {
    let storage = Storage::new();
    let mut watch = storage.watch(pods(), None, None).unwrap();
    let large = |count: u64| json!({"count": count, "data": "x".repeat(1 << 20)});
    storage.create(pods(), "a", "web", large(0)).await.unwrap();
    for count in 1..40 {
        storage.update(pods(), "a", "web", &whatever(), large(count)).await.unwrap();
    }
    let mut told = 0;
    while watch.next().await.is_some() {
        told += 1;
    }
    assert_eq!(told, MAX_PENDING_BYTES / ((1 << 20) + 1));
}

#[tokio::test]
async fn what_waits_is_there_now_however_much_it_is() {
    let storage = Storage::new();
    let since = storage.version();
    storage.create(pods(), "a", "first", pod("a", "first", 1)).await.unwrap();
    let mut watch = storage.watch(pods(), None, Some(since)).unwrap();
    for count in 0..500 {
        storage.create(pods(), "a", &count.to_string(), pod("a", "web", count)).await.unwrap();
    }
    let versions: Vec<u64> =
        std::iter::from_fn(|| watch.next_now()).map(|event| event.resource_version).collect();
    assert_eq!(versions, (since + 1..=since + 501).collect::<Vec<_>>());
}

#[tokio::test]
async fn there_is_a_bound_on_watches_that_those_who_left_do_not_count_in() {
    let storage = Storage::new();
    let watches: Vec<Watch> = (0..MAX_WATCHES).map(|_| storage.watch(pods(), None, None).unwrap()).collect();
    assert!(matches!(storage.watch(pods(), None, None), Err(StorageError::Full(_))));
    drop(watches);
    assert!(storage.watch(pods(), None, None).is_ok());
}

proptest! {
    /// Whatever is done, the storage holds what a plain map would, and knows what it held at each version.
    #[test]
    fn every_version_can_be_had_again(steps in proptest::collection::vec((0_u8..3, 0_u8..3, 0_u8..4, 0_u64..3), 1..60)) {
        let storage = Storage::new();
        let mut model = BTreeMap::new();
        let mut versions = vec![(storage.version(), model.clone())];
        for (what, namespace, name, count) in steps {
            let place = (format!("n{namespace}"), format!("p{name}"));
            let object = pod(&place.0, &place.1, count);
            let (expected, done) = match what {
                0 => (!model.contains_key(&place), storage.create(pods(), &place.0, &place.1, object).now_or_never().unwrap().is_ok()),
                1 => {
                    let updated = storage.update(pods(), &place.0, &place.1, &whatever(), object).now_or_never().unwrap();
                    (model.contains_key(&place), updated.is_ok())
                }
                _ => (model.contains_key(&place), storage.delete(pods(), &place.0, &place.1, &whatever()).now_or_never().unwrap().is_ok()),
            };
            prop_assert_eq!(expected, done);
            match (done, what) {
                (true, 0 | 1) => drop(model.insert(place, count)),
                (true, _) => drop(model.remove(&place)),
                _ => {}
            }
            versions.push((storage.version(), model.clone()));
        }
        let counts = |list: List| -> BTreeMap<(String, String), u64> {
            let text = |item: &Object, field| meta::text(item, field).to_owned();
            let entry = |item: &Object| ((text(item, "namespace"), text(item, "name")), item["count"].as_u64().unwrap());
            list.items.iter().map(entry).collect()
        };
        for (version, held) in versions {
            prop_assert_eq!(&counts(storage.list_at(pods(), None, version).unwrap()), &held);
            let of_one = held.into_iter().filter(|(place, _)| place.0 == "n1").collect();
            prop_assert_eq!(counts(storage.list_at(pods(), Some("n1"), version).unwrap()), of_one);
        }
    }
}

/// Many write at once, each reading, adding one and writing back only over what was read.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_writers_lose_no_update_and_watchers_see_each_change_once_in_order() {
    const WRITERS: u64 = 4;
    const ROUNDS: u64 = 60;
    const NAMES: u64 = 3;
    let storage = Arc::new(Storage::new());
    let mut watch = storage.watch(pods(), None, None).unwrap();
    for nth in 0..NAMES {
        storage.create(pods(), "a", &format!("p{nth}"), pod("a", &format!("p{nth}"), 0)).await.unwrap();
    }
    let writers = (0..WRITERS).map(|writer| {
        let storage = Arc::clone(&storage);
        tokio::task::spawn_blocking(move || {
            for round in 0..ROUNDS {
                let name = format!("p{}", (writer + round) % NAMES);
                loop {
                    let read = storage.get(pods(), "a", &name).unwrap();
                    let expected = Preconditions { resource_version: Some(version(&read)), uid: None };
                    let next = pod("a", &name, read["count"].as_u64().unwrap() + 1);
                    if storage.update(pods(), "a", &name, &expected, next).now_or_never().unwrap().is_ok() {
                        break;
                    }
                }
            }
        })
    });
    futures_util::future::join_all(writers).await;
    let total: u64 =
        storage.list(pods(), None).items.iter().map(|item| item["count"].as_u64().unwrap()).sum();
    assert_eq!(total, WRITERS * ROUNDS);
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    let mut last = 1;
    for _ in 0..NAMES + WRITERS * ROUNDS {
        let event = watch.next().await.unwrap();
        assert_eq!(event.resource_version, last + 1, "none is missed, none is told twice");
        last = event.resource_version;
        let (name, count) =
            (meta::text(&event.object, "name").to_owned(), event.object["count"].as_u64().unwrap());
        match event.kind {
            EventKind::Added => assert_eq!(seen.insert(name, count), None),
            _ => assert_eq!(seen.insert(name, count), Some(count - 1)),
        }
    }
    assert_eq!(last, storage.version());
}
