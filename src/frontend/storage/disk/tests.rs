use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::Ordering;

use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;

use super::super::{Event, MAX_DEPTH, Preconditions, Storage};
use super::*;
use crate::frontend::storage::contents::Draft;
use crate::frontend::storage::writer::Writer;

fn maps() -> &'static ResourceType {
    resources::find("", "configmaps").unwrap()
}

fn map(name: &str, count: u64) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "a", "name": name}, "count": count})
}

fn whatever() -> Preconditions {
    Preconditions::default()
}

fn open(folder: &TempDir) -> Storage {
    Storage::open(folder.path(), 100).unwrap()
}

fn refusal(folder: &TempDir) -> OpenError {
    Storage::open(folder.path(), 100).map(drop).unwrap_err()
}

/// All ConfigMaps, and the version of the storage.
fn held(storage: &Storage) -> (Vec<Value>, u64) {
    let list = storage.list(maps(), None);
    (list.items.iter().map(|item| Value::clone(item)).collect(), list.resource_version)
}

/// How the file of a storage is, to play its faults.
fn health_of(folder: &TempDir) -> (Storage, Arc<Health>) {
    let (disk, contents) = Disk::open(folder.path(), 100).unwrap();
    let health = Arc::clone(&disk.health);
    let published =
        Arc::new(std::sync::Mutex::new(crate::frontend::storage::state::State::of(contents.clone())));
    let writer = Writer::on_disk(disk, contents, Arc::clone(&published)).unwrap();
    (Storage { published, writer }, health)
}

#[tokio::test]
async fn what_was_acknowledged_is_there_again_and_versions_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(&folder);
    storage.create(maps(), "a", "one", map("one", 1)).await.unwrap();
    storage.create(maps(), "a", "two", map("two", 1)).await.unwrap();
    storage.update(maps(), "a", "one", &whatever(), map("one", 2)).await.unwrap();
    storage.delete(maps(), "a", "two", &whatever()).await.unwrap();
    let before = held(&storage);
    assert_eq!(before.1, 104);
    drop(storage);
    let storage = open(&folder);
    assert_eq!(held(&storage), before);
    let made = storage.create(maps(), "a", "three", map("three", 1)).await.unwrap();
    assert_eq!(meta::text(&made, "resourceVersion"), "105");
    // What was before the start cannot be watched from; the latest of it can.
    assert!(matches!(storage.watch(maps(), None, Some(103)), Err(StorageError::TooOld { .. })));
    let mut watch = storage.watch(maps(), None, Some(104)).unwrap();
    assert_eq!(watch.next().await.unwrap().resource_version, 105);
}

#[test]
fn a_directory_belongs_to_one_process_and_its_files_to_their_owner() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("new/data");
    let storage = Storage::open(&directory, 1).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    for entry in std::fs::read_dir(&directory).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
    let refused = Storage::open(&directory, 1).map(drop).unwrap_err();
    assert!(matches!(refused, OpenError::InUse(_)), "{refused}");
    assert!(refused.to_string().contains("in use by another process"), "{refused}");
    drop(storage);
    drop(Storage::open(&directory, 1).unwrap());
}

#[tokio::test]
async fn a_database_that_was_not_made_to_its_end_is_made_again_and_an_empty_file_is_none() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(UNFINISHED), "half of it").unwrap();
    drop(open(&folder));
    std::fs::write(folder.path().join(FILE), "").unwrap();
    let refused = refusal(&folder);
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
    assert!(refused.to_string().contains("storage.redb is damaged (it is empty)"), "{refused}");
    assert_eq!(std::fs::metadata(folder.path().join(FILE)).unwrap().len(), 0, "it was left as it is");
}

/// Changes the numbers or records of a database that nobody has open.
fn meddle(folder: &TempDir, change: impl FnOnce(&WriteTransaction)) {
    let database = Database::open(folder.path().join(FILE)).unwrap();
    let transaction = database.begin_write().unwrap();
    change(&transaction);
    transaction.commit().unwrap();
}

#[tokio::test]
async fn another_format_or_another_version_of_a_kind_is_refused_and_an_unserved_kind_is_kept_aside() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(&folder);
    storage.create(maps(), "a", "one", map("one", 1)).await.unwrap();
    drop(storage);
    let unserved = br#"{"metadata":{"resourceVersion":"7"}}"#;
    meddle(&folder, |transaction| {
        let key = ("example.com", "widgets", "a", "w");
        transaction.open_table(OBJECTS).unwrap().insert(key, &unserved[..]).unwrap();
    });
    let storage = open(&folder);
    assert_eq!(held(&storage).0.len(), 1);
    storage.delete(maps(), "a", "one", &whatever()).await.unwrap();
    drop(storage);
    let database = Database::open(folder.path().join(FILE)).unwrap();
    let objects = database.begin_read().unwrap().open_table(OBJECTS).unwrap();
    assert_eq!(objects.get(("example.com", "widgets", "a", "w")).unwrap().unwrap().value(), unserved);
    drop((objects, database));

    for (json, why) in [
        (r#"{"apiVersion":"v2","metadata":{"resourceVersion":"7"}}"#, "as v2, which is served as v1"),
        (r#"{"apiVersion":"v1","metadata":{"resourceVersion":"700"}}"#, "configmaps a/x is of no version"),
        (r#"{"apiVersion":"v1","metadata":{}}"#, "configmaps a/x is of no version"),
        (r#"{"apiVersion":"#, "configmaps a/x: EOF"),
    ] {
        meddle(&folder, |transaction| {
            let key = ("", "configmaps", "a", "x");
            transaction.open_table(OBJECTS).unwrap().insert(key, json.as_bytes()).unwrap();
        });
        let refused = refusal(&folder).to_string();
        assert!(refused.contains(why), "{refused}");
    }
    meddle(&folder, |transaction| {
        transaction.open_table(NUMBERS).unwrap().insert(FORMAT_KEY, 2).unwrap();
    });
    let refused = refusal(&folder);
    assert!(matches!(refused, OpenError::Format { found: 2, .. }), "{refused}");
    meddle(&folder, |transaction| {
        transaction.delete_table(NUMBERS).unwrap();
    });
    assert!(matches!(refusal(&folder), OpenError::Damaged { .. }));
}

/// Whatever is done to the file, it is opened with all that was in it, or not at all.
#[tokio::test]
async fn a_damaged_file_is_refused_or_whole_and_never_a_panic_or_an_older_state() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(&folder);
    for count in 0..40 {
        let name = format!("m{}", count % 30);
        let object =
            json!({"metadata": {"namespace": "a", "name": name}, "data": "x".repeat(3_000), "count": count});
        if count < 30 {
            storage.create(maps(), "a", &name, object).await.unwrap();
        } else {
            storage.update(maps(), "a", &name, &whatever(), object).await.unwrap();
        }
    }
    let before = held(&storage);
    // As the file of a process that was killed: it was not closed.
    let killed = std::fs::read(folder.path().join(FILE)).unwrap();
    drop(storage);
    let closed = std::fs::read(folder.path().join(FILE)).unwrap();
    let (mut refused, mut whole) = (0, 0);
    let mut judge = |bytes: &[u8], what: String| {
        let other = tempfile::tempdir().unwrap();
        std::fs::write(other.path().join(FILE), bytes).unwrap();
        match Storage::open(other.path(), 1) {
            Ok(storage) => {
                assert_eq!(held(&storage), before, "{what}");
                whole += 1;
            }
            Err(OpenError::Damaged { path, .. }) => {
                assert_eq!(path, other.path().join(FILE), "{what}");
                refused += 1;
            }
            Err(other) => panic!("{what}: {other}"),
        }
    };
    for (state, bytes) in [("killed", &killed), ("closed", &closed)] {
        judge(bytes, format!("{state}, as it is"));
        for length in [1, 100, 512, 4_096, bytes.len() / 2, bytes.len() - 4_096, bytes.len() - 1] {
            judge(&bytes[..length], format!("{state}, truncated to {length}"));
        }
        // All that stands at the beginning of the file, and something of each tenth page.
        let pages = (0..bytes.len()).step_by(40_960);
        let places = (0..320).step_by(3).chain(pages.flat_map(|page| [page + 7, page + 4_096 + 700]));
        for place in places.filter(|place| *place < bytes.len()) {
            let mut bytes = bytes.clone();
            bytes[place] ^= 0x55;
            judge(&bytes, format!("{state}, byte {place} flipped"));
        }
    }
    assert!(refused > 50 && whole > 2, "{refused} refused, {whole} whole");
}

#[tokio::test]
async fn a_full_disk_refuses_what_is_written_and_takes_it_again_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let (storage, health) = health_of(&folder);
    storage.create(maps(), "a", "one", map("one", 1)).await.unwrap();
    let before = held(&storage);
    let mut watch = storage.watch(maps(), None, None).unwrap();
    for _ in 0..3 {
        health.is_full.store(true, Ordering::Relaxed);
        let refused = storage.create(maps(), "a", "two", map("two", 1)).await.unwrap_err();
        assert!(matches!(&refused, StorageError::Unwritable(_)), "{refused}");
        let refused = storage.delete(maps(), "a", "one", &whatever()).await.unwrap_err();
        assert!(matches!(&refused, StorageError::Unwritable(_)), "{refused}");
        assert_eq!(held(&storage), before, "nothing of it is seen");
        // What changes nothing is refused as ever.
        let there = storage.create(maps(), "a", "one", map("one", 1)).await.unwrap_err();
        assert_eq!(there, StorageError::AlreadyExists);
        health.is_full.store(false, Ordering::Relaxed);
    }
    storage.update(maps(), "a", "one", &whatever(), map("one", 2)).await.unwrap();
    assert_eq!(watch.next_now().unwrap().resource_version, before.1 + 1, "no version was told before");
    assert!(watch.next_now().is_none());
    let after = held(&storage);
    drop(storage);
    assert_eq!(held(&open(&folder)), after);
}

#[tokio::test]
async fn a_disk_that_cannot_make_sure_is_not_written_to_until_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let (storage, health) = health_of(&folder);
    storage.create(maps(), "a", "one", map("one", 1)).await.unwrap();
    let before = held(&storage);
    health.is_broken.store(true, Ordering::Relaxed);
    storage.create(maps(), "a", "two", map("two", 1)).await.unwrap_err();
    health.is_broken.store(false, Ordering::Relaxed);
    let refused = storage.create(maps(), "a", "two", map("two", 1)).await.unwrap_err();
    assert!(refused.to_string().contains("start again"), "{refused}");
    assert_eq!(held(&storage), before, "it can be read meanwhile");
    drop(storage);
    assert_eq!(held(&open(&folder)), before);
}

/// A commit can fail after it was made, as when the file is to be made smaller.
#[test]
fn what_was_refused_and_is_there_nevertheless_is_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let (mut disk, contents) = Disk::open(folder.path(), 100).unwrap();
    let changes = |contents: &mut Contents, names: &[&str]| {
        let mut draft = Draft::of(contents);
        for name in names {
            let place = ("a".to_owned(), (*name).to_owned());
            if draft.create(maps(), place.clone(), map(name, 1)).is_err() {
                draft.delete(maps(), place, &whatever()).unwrap();
            }
        }
        draft.into_changes()
    };
    let mut kept = contents;
    disk.commit(&changes(&mut kept, &["one"])).unwrap();
    let refused = changes(&mut kept.clone(), &["two", "one", "one", "two", "three"]);
    let before = disk.version;
    disk.commit(&refused).unwrap();
    (disk.database, disk.version, disk.failed) = (None, before, refused);
    disk.commit(&changes(&mut kept, &["four"])).unwrap();
    drop(disk);
    let (items, version) = held(&open(&folder));
    let names: Vec<&str> = items.iter().map(|item| meta::text(item, "name")).collect();
    assert_eq!((names, version), (vec!["four", "one"], before + 1));
    assert_eq!(items[1], *kept.get(maps(), "a", "one").unwrap());
}

#[tokio::test]
async fn an_object_comes_back_as_it_was_however_deep_and_exact_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(&folder);
    let nested = |levels: usize| (1..levels).fold(json!([]), |inner, _| json!([inner]));
    let deep = json!({"metadata": {}, "deep": nested(MAX_DEPTH - 1)});
    let too_deep = json!({"metadata": {}, "deep": nested(MAX_DEPTH)});
    let refused = storage.create(maps(), "a", "deep", too_deep).await.unwrap_err();
    assert_eq!(refused, StorageError::TooDeep(MAX_DEPTH));
    storage.create(maps(), "a", "deep", deep).await.unwrap();
    let numbers = json!([u64::MAX, i64::MIN, 0.1 + 0.2, 1e300, 5e-324, -0.0, 122.416_294_033_786_58]);
    storage
        .create(maps(), "a", "numbers", json!({"numbers": numbers, "text": "\u{0}\u{1f980}\"\\"}))
        .await
        .unwrap();
    let before = held(&storage);
    drop(storage);
    assert_eq!(held(&open(&folder)), before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever is done, and whenever the process ends, the storage holds what a plain map would.
    #[test]
    fn a_storage_that_is_opened_again_holds_what_a_plain_map_would(
        steps in proptest::collection::vec((0_u8..12, 0_u8..5, 0_u64..3), 1..40),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut storage = Some(open(&folder));
        let mut model: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        let mut version = 100;
        for (what, name, count) in steps {
            let name = format!("m{name}");
            let there = storage.as_ref().unwrap();
            let is_there = model.contains_key(&name);
            match what {
                0..4 => {
                    let made = there.create(maps(), "a", &name, map(&name, count));
                    prop_assert_eq!(block_on(made).is_ok(), !is_there);
                    if !is_there {
                        version += 1;
                        model.insert(name, (count, version));
                    }
                }
                4..8 => {
                    // Of the version that is there, or of another.
                    let expected = match (what, model.get(&name)) {
                        (4, Some((_, its))) => Some(its - 1),
                        (_, Some((_, its))) => Some(*its),
                        _ => None,
                    };
                    let is_right = is_there && what != 4;
                    let expected = Preconditions { resource_version: expected.map(|its| its.to_string()), uid: None };
                    let changed = there.update(maps(), "a", &name, &expected, map(&name, count));
                    prop_assert_eq!(block_on(changed).is_ok(), is_right);
                    if is_right && model[&name].0 != count {
                        version += 1;
                        model.insert(name, (count, version));
                    }
                }
                8..10 => {
                    let any = whatever();
                    let gone = there.delete(maps(), "a", &name, &any);
                    prop_assert_eq!(block_on(gone).is_ok(), is_there);
                    if model.remove(&name).is_some() {
                        version += 1;
                    }
                }
                _ => {
                    drop(storage.take());
                    storage = Some(open(&folder));
                }
            }
            let (items, latest) = held(storage.as_ref().unwrap());
            prop_assert_eq!(latest, version);
            let text = |item: &Value, field| meta::text(item, field).to_owned();
            let entry = |item: &Value| {
                (text(item, "name"), (item["count"].as_u64().unwrap(), text(item, "resourceVersion").parse().unwrap()))
            };
            prop_assert_eq!(&items.iter().map(entry).collect::<BTreeMap<String, (u64, u64)>>(), &model);
        }
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Everybody reads, and writes back over what they read; what was acknowledged is what was told to who watches, in the
/// order of versions, and what is there again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_update_of_random_writers_is_lost_on_the_disk_and_who_watches_is_told_the_acknowledged_history() {
    const WRITERS: u64 = 8;
    const ROUNDS: u64 = 40;
    let folder = tempfile::tempdir().unwrap();
    let storage = Arc::new(open(&folder));
    let mut watch = storage.watch(maps(), None, None).unwrap();
    let writers = (0..WRITERS).map(|writer| {
        let storage = Arc::clone(&storage);
        tokio::spawn(async move {
            let mut acknowledged: Vec<(u64, EventKind, Value)> = Vec::new();
            let mut seed = writer + 1;
            while acknowledged.len() < ROUNDS as usize {
                // Knuth's generator: which name, and what is done to it.
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let name = format!("m{}", (seed >> 33) % 4);
                let read = storage.get(maps(), "a", &name);
                let (kind, done) = match read {
                    None => (EventKind::Added, storage.create(maps(), "a", &name, map(&name, 0)).await),
                    Some(read) => {
                        let version = meta::text(&read, "resourceVersion").to_owned();
                        let expected = Preconditions { resource_version: Some(version), uid: None };
                        if (seed >> 40) % 8 == 0 {
                            (EventKind::Deleted, storage.delete(maps(), "a", &name, &expected).await)
                        } else {
                            let next = map(&name, read["count"].as_u64().unwrap() + 1);
                            (EventKind::Modified, storage.update(maps(), "a", &name, &expected, next).await)
                        }
                    }
                };
                match done {
                    Ok(object) => {
                        let version = meta::text(&object, "resourceVersion").parse().unwrap();
                        acknowledged.push((version, kind, Value::clone(&object)));
                    }
                    Err(StorageError::Conflict(_) | StorageError::AlreadyExists | StorageError::NotFound) => {
                    }
                    Err(other) => panic!("{other}"),
                }
            }
            acknowledged
        })
    });
    let acknowledged = futures_util::future::join_all(writers).await;
    let mut acknowledged: Vec<_> = acknowledged.into_iter().flat_map(Result::unwrap).collect();
    acknowledged.sort_by_key(|(version, ..)| *version);
    let mut model: BTreeMap<String, Value> = BTreeMap::new();
    for (nth, (version, kind, object)) in acknowledged.into_iter().enumerate() {
        assert_eq!(version, 101 + nth as u64, "each version is told once, and none is missing");
        let event: Event = watch.next().await.unwrap();
        assert_eq!((event.resource_version, event.kind, &*event.object), (version, kind, &object));
        let name = meta::text(&object, "name").to_owned();
        let count = |object: &Value| object["count"].as_u64().unwrap();
        match kind {
            EventKind::Added => assert!(model.insert(name, object).is_none()),
            EventKind::Modified => {
                let before = model.insert(name, object.clone()).unwrap();
                assert_eq!(count(&object), count(&before) + 1, "no update is lost");
            }
            EventKind::Deleted => assert_eq!(count(&model.remove(&name).unwrap()), count(&object)),
        }
    }
    let expected: Vec<Value> = model.into_values().collect();
    assert_eq!(held(&storage), (expected.clone(), 100 + WRITERS * ROUNDS));
    drop(storage);
    assert_eq!(held(&open(&folder)), (expected, 100 + WRITERS * ROUNDS));
}
