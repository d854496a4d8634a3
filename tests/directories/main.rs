//! Slow tests against real directories, each a binary from Debian's packages: `cargo test --test directories`, as root.
//! The everyday `cargo test` leaves them out; `./test --all` runs them.
//!
//! What they share with the everyday ones is theirs too: `#[path = "../it/..."]`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test that cannot go on is to fail, and tests read files and clocks"
)]

mod lookup;
mod operations;
#[path = "../it/processes.rs"]
mod processes;
mod samba;
mod samba_itself;
mod wire;
