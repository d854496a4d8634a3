//! The store over real files, changed as editors and Kubernetes change them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A "policy set" is the text of its files; one that contains `broken` does not compile.
struct Fixture {
    folder: tempfile::TempDir,
    metrics: Metrics,
    store: Arc<Store<String>>,
    compiled: Arc<AtomicUsize>,
}

fn compile(sources: &[Source]) -> Result<String, Diagnostics> {
    let texts: Vec<_> = sources.iter().map(|source| String::from_utf8_lossy(&source.bytes)).collect();
    let text = texts.join("+");
    assert!(!text.contains("panic"), "on purpose");
    if text.contains("broken") {
        let items = vec![Diagnostic::error(None, format!("`{text}` is broken"))];
        return Err(Diagnostics { items, sources: sources.to_vec() });
    }
    Ok(text)
}

fn open(
    folder: &Path,
    interval: Duration,
    metrics: &Metrics,
) -> Result<(Arc<Store<String>>, Arc<AtomicUsize>), Diagnostics> {
    let settings = Settings { paths: vec![folder.to_owned()], reload_interval: interval };
    let compiled = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&compiled);
    let compile: Compile<String> = Arc::new(move |sources| {
        count.fetch_add(1, Ordering::SeqCst);
        compile(sources)
    });
    Ok((Store::open(settings, compile, metrics, Handle::current())?, compiled))
}

/// A store that looks at its files when it is told to.
fn fixture(write: impl Fn(&Path)) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let metrics = Metrics::new().unwrap();
    let (store, compiled) = open(folder.path(), Duration::from_secs(3_600), &metrics).unwrap();
    Fixture { folder, metrics, store, compiled }
}

impl Fixture {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn counted(&self, result: &str) -> u64 {
        self.metrics.policy_reloads.with_label_values(&[result]).get()
    }
}

fn one_file(folder: &Path) {
    fs::write(folder.join("a.yaml"), "one").unwrap();
}

/// Writes a version of a mounted ConfigMap, and swaps it in as the kubelet's AtomicWriter does
/// (pkg/volume/util/atomic_writer.go).
fn mount(folder: &Path, version: &str, text: &str) {
    let files = folder.join(version);
    fs::create_dir(&files).unwrap();
    fs::write(files.join("a.yaml"), text).unwrap();
    symlink(version, folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    if !folder.join("a.yaml").is_symlink() {
        symlink("..data/a.yaml", folder.join("a.yaml")).unwrap();
    }
}

#[tokio::test]
async fn the_first_set_is_in_force_once_the_store_is_open() {
    let it = fixture(one_file);
    assert_eq!(*it.store.current(), "one");
    assert_eq!(it.store.last_error(), None);
    assert_eq!((it.counted("success"), it.counted("failure")), (1, 0));
    assert!(it.metrics.policy_last_success.get() > 1e9);
    assert_eq!(it.metrics.policy_set_info.with_label_values(&[&*it.store.revision()]).get(), 1);
}

#[tokio::test]
async fn a_first_set_that_does_not_load_is_no_store() {
    let folder = tempfile::tempdir().unwrap();
    let metrics = Metrics::new().unwrap();
    let error = |path: &Path| open(path, Duration::from_secs(1), &metrics).err().unwrap().to_string();
    assert!(error(&folder.path().join("missing")).contains("cannot read `"));
    assert!(error(folder.path()).contains("there is no `*.yaml`"));
    fs::write(folder.path().join("a.yaml"), "broken").unwrap();
    assert!(error(folder.path()).contains("`broken` is broken"));
}

#[tokio::test]
async fn a_swap_of_links_is_seen() {
    let it = fixture(|folder| mount(folder, "..2026_01", "one"));
    let revision = it.store.revision();
    mount(it.folder.path(), "..2026_02", "two");
    assert_eq!(it.store.reload().await, Reload::Loaded);
    assert_eq!(*it.store.current(), "two");
    assert_ne!(it.store.revision(), revision);
    fs::remove_dir_all(it.path("..2026_01")).unwrap();
    assert_eq!(it.store.reload().await, Reload::Unchanged);
}

#[tokio::test]
async fn a_file_renamed_over_another_is_seen_even_with_its_time_and_length() {
    let it = fixture(one_file);
    let time = fs::metadata(it.path("a.yaml")).unwrap().modified().unwrap();
    it.write("a.yaml.new", "two");
    fs::File::options().append(true).open(it.path("a.yaml.new")).unwrap().set_modified(time).unwrap();
    fs::rename(it.path("a.yaml.new"), it.path("a.yaml")).unwrap();
    assert_eq!(it.store.reload().await, Reload::Loaded);
    assert_eq!(*it.store.current(), "two");
}

#[tokio::test]
async fn files_that_come_and_go_are_seen() {
    let it = fixture(one_file);
    it.write("b.yaml", "more");
    assert_eq!(it.store.reload().await, Reload::Loaded);
    assert_eq!(*it.store.current(), "one+more");
    fs::remove_file(it.path("a.yaml")).unwrap();
    assert_eq!(it.store.reload().await, Reload::Loaded);
    assert_eq!(*it.store.current(), "more");
}

#[tokio::test]
async fn a_file_that_was_only_touched_is_no_news() {
    let it = fixture(one_file);
    let file = fs::File::options().append(true).open(it.path("a.yaml")).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_secs(1)).unwrap();
    it.write("notes.txt", "no policy");
    assert_eq!(it.store.reload().await, Reload::Unchanged);
    assert_eq!(it.compiled.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_renamed_file_is_loaded_again_under_the_same_revision() {
    let it = fixture(one_file);
    let revision = it.store.revision();
    fs::rename(it.path("a.yaml"), it.path("z.yml")).unwrap();
    assert_eq!(it.store.reload().await, Reload::Loaded);
    assert_eq!(it.store.revision(), revision);
}

#[tokio::test]
async fn a_broken_set_leaves_the_last_good_one_and_is_reported_once() {
    let it = fixture(one_file);
    let revision = it.store.revision();
    it.write("b.yaml", "broken");
    assert_eq!(it.store.reload().await, Reload::Failed);
    assert_eq!(it.store.reload().await, Reload::Unchanged);
    assert_eq!((it.counted("success"), it.counted("failure")), (1, 1));
    assert_eq!(it.compiled.load(Ordering::SeqCst), 2);
    assert_eq!((&**it.store.current(), it.store.revision()), ("one", revision));
    assert!(it.store.last_error().unwrap().contains("is broken"));
}

#[tokio::test]
async fn a_broken_set_that_is_mended_is_loaded() {
    let it = fixture(one_file);
    it.write("a.yaml", "broken");
    assert_eq!(it.store.reload().await, Reload::Failed);
    it.write("a.yaml", "two");
    assert_eq!(it.store.reload().await, Reload::Loaded);
    assert_eq!((&**it.store.current(), it.store.last_error()), ("two", None));
}

#[tokio::test]
async fn a_broken_set_that_is_taken_back_leaves_no_error() {
    let it = fixture(one_file);
    it.write("a.yaml", "broken");
    assert_eq!(it.store.reload().await, Reload::Failed);
    it.write("a.yaml", "one");
    assert_eq!(it.store.reload().await, Reload::Loaded);
    assert_eq!(it.store.last_error(), None);
    assert_eq!(it.compiled.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn files_that_vanish_leave_the_last_good_set() {
    let it = fixture(one_file);
    fs::remove_file(it.path("a.yaml")).unwrap();
    assert_eq!(it.store.reload().await, Reload::Failed);
    assert_eq!(it.store.reload().await, Reload::Unchanged);
    assert_eq!(*it.store.current(), "one");
    assert!(it.store.last_error().unwrap().contains("there is no `*.yaml`"));
    one_file(it.folder.path());
    assert_eq!(it.store.reload().await, Reload::Loaded);
    assert_eq!(it.store.last_error(), None);
}

#[tokio::test]
async fn a_compiler_that_panics_leaves_the_last_good_set() {
    let it = fixture(one_file);
    it.write("a.yaml", "panic");
    assert_eq!(it.store.reload().await, Reload::Failed);
    assert_eq!(*it.store.current(), "one");
    assert!(it.store.last_error().unwrap().contains("ended without a result"));
}

#[tokio::test]
async fn subscribers_are_told_of_new_sets_only() {
    let it = fixture(one_file);
    let mut changes = it.store.subscribe();
    it.write("a.yaml", "broken");
    assert_eq!(it.store.reload().await, Reload::Failed);
    assert!(!changes.has_changed().unwrap());
    it.write("a.yaml", "two");
    assert_eq!(it.store.reload().await, Reload::Loaded);
    assert_eq!(**changes.borrow_and_update(), "two");
}

#[tokio::test]
async fn the_files_are_followed_until_the_store_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    one_file(folder.path());
    let (store, _) = open(folder.path(), Duration::from_millis(10), &Metrics::new().unwrap()).unwrap();
    let mut changes = store.subscribe();
    fs::write(folder.path().join("a.yaml"), "two").unwrap();
    tokio::time::timeout(Duration::from_secs(30), changes.changed()).await.unwrap().unwrap();
    assert_eq!(*store.current(), "two");
    drop(store);
    // The sender goes with the store, once the last look has ended.
    let gone =
        tokio::time::timeout(Duration::from_secs(30), async { while changes.changed().await.is_ok() {} });
    gone.await.unwrap();
}

/// A writer that swaps sets of two files all the time: what is taken is never half of one and half of another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_set_is_never_taken() {
    let swap = |folder: &Path, version: usize| {
        let name = format!("..{version}");
        fs::create_dir(folder.join(&name)).unwrap();
        fs::write(folder.join(&name).join("a.yaml"), version.to_string()).unwrap();
        fs::write(folder.join(&name).join("b.yaml"), version.to_string()).unwrap();
        symlink(&name, folder.join("..tmp")).unwrap();
        fs::rename(folder.join("..tmp"), folder.join("..data")).unwrap();
    };
    let it = fixture(|folder| {
        swap(folder, 0);
        symlink("..data/a.yaml", folder.join("a.yaml")).unwrap();
        symlink("..data/b.yaml", folder.join("b.yaml")).unwrap();
    });
    let folder = it.folder.path().to_owned();
    let writer = tokio::task::spawn_blocking(move || (1..200).for_each(|version| swap(&folder, version)));
    while !writer.is_finished() {
        let _ = it.store.reload().await;
        let set = it.store.current();
        let (a, b) = set.split_once('+').unwrap();
        assert_eq!(a, b);
    }
    writer.await.unwrap();
    let _ = it.store.reload().await;
    assert_eq!(*it.store.current(), "199+199");
}
