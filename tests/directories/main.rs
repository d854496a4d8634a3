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
    clippy::unreachable,
    reason = "a test that cannot go on is to fail, and tests read files and clocks"
)]

mod account_states;
mod changes_seen;
mod estate;
#[path = "../it/faulty.rs"]
#[allow(dead_code, reason = "the everyday tests use more of it")]
mod faulty;
mod feed_limits;
#[path = "../it/service/fixture.rs"]
#[allow(dead_code, reason = "the everyday tests use more of it")]
mod fixture;
mod group_references;
mod logon_names;
mod lookup;
mod lookup_cost;
mod names_followed;
mod operations;
mod own_account;
#[path = "../it/processes.rs"]
mod processes;
mod refused_starts;
mod samba;
mod samba_itself;
#[path = "../it/slapd.rs"]
#[allow(dead_code, reason = "the everyday tests use more of it")]
mod slapd;
mod token_groups;
mod wire;
