//! `cargo bench --bench storage`: how many changes a second the front end's storage takes, in memory and on the disk that
//! has the folder for temporary files, from one writer and from 64 at a time.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "it measures and prints"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bailiwick::frontend::resources::{ResourceType, find};
use bailiwick::frontend::storage::{Preconditions, Storage};
use serde_json::{Value, json};

/// How long each is measured.
const SPAN: Duration = Duration::from_secs(3);

/// An object of about a kilobyte.
fn map(name: &str, count: u64) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "a", "name": name},
        "data": {"count": count.to_string(), "padding": "x".repeat(900)},
    })
}

/// One after the other, until the time is over; each writer changes an object of its own.
async fn write(storage: Arc<Storage>, maps: &'static ResourceType, name: String, until: Instant) -> u64 {
    storage.create(maps, "a", &name, map(&name, 0)).await.unwrap();
    let mut count = 1;
    while Instant::now() < until {
        storage.update(maps, "a", &name, &Preconditions::default(), map(&name, count)).await.unwrap();
        count += 1;
    }
    count
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let maps = find("", "configmaps").unwrap();
    for (place, is_on_disk) in [("memory", false), ("disk", true)] {
        for writers in [1_u32, 64] {
            let folder = tempfile::tempdir().unwrap();
            let storage = if is_on_disk { Storage::open(folder.path(), 1).unwrap() } else { Storage::new() };
            let storage = Arc::new(storage);
            let began = Instant::now();
            let written = (0..writers).map(|writer| {
                runtime.spawn(write(Arc::clone(&storage), maps, format!("m{writer}"), began + SPAN))
            });
            let written = futures_util::future::join_all(written.collect::<Vec<_>>());
            let total: u64 = runtime.block_on(written).into_iter().map(Result::unwrap).sum();
            let rate = total as f64 / began.elapsed().as_secs_f64();
            println!("in {place}, {writers:>2} at a time: {rate:>9.0} changes a second");
        }
    }
}
