//! Watches of many, small: `benches/watches.rs` is the same at its size.

use std::sync::Arc;

use super::fixture::BAILIWICK;
use crate::watch_load::{Load, Server, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_watches_loses_no_change_and_sees_each_in_its_order_and_who_reads_nothing_is_cut_off() {
    let server = Arc::new(Server::start(BAILIWICK));
    let load = Load { watchers: 20, objects: 1_000, changes: 3_000, rate: 0, writers: 4, bytes: 8_000 };
    let report = run(&server, load).await;
    assert!(report.slow < load.changes, "{report:?}");
    let (_, most, _) = server.costs();
    // The objects, the history, and what may wait for each: a bound, not a measure.
    assert!(most < 1024, "the server took {most} MiB");
}
