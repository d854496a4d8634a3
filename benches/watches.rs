//! Watches under load: 200 who watch 10,000 objects, 1,000 changes a second for 10 seconds, over HTTPS on loopback.
//! Fails where somebody loses a change, sees one twice or out of order. Rates and delays are printed, and nothing is
//! asserted of them: they are the machine's.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark that cannot go on is to fail, and it reads the clock and prints"
)]

#[path = "../tests/it/watch_load.rs"]
mod watch_load;

use std::sync::Arc;

use watch_load::{Load, Server, run};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let load =
        Load { watchers: 200, objects: 10_000, changes: 10_000, rate: 1_000, writers: 20, bytes: 1_000 };
    let server = Arc::new(Server::start(env!("CARGO_BIN_EXE_bailiwick")));
    let report = run(&server, load).await;
    let (resident, most, seconds) = server.costs();
    println!("{load:?}");
    println!(
        "{:.0} changes a second; all were seen by all, in order, {} times after a resume",
        report.rate, report.resumed
    );
    println!(
        "seen after {:.1} ms (median), {:.1} ms (99 of 100), {:.1} ms (last)",
        report.delays[0], report.delays[1], report.delays[2]
    );
    println!("who read nothing was cut off after {} changes", report.slow);
    println!("server: {resident} MiB resident, {most} at most, {seconds:.1} s of processor time");
}
