//! Slow tests of the front end by what people use: `kubectl`, `kubectl proxy`, curl, wget, a browser, client libraries.
//! `cargo test --test clients`; the everyday `cargo test` leaves them out, and `./test --all` installs what they need.

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

mod admission_webhooks;
mod attacks;
mod battery;
mod browser;
mod changes;
mod clock;
mod commands;
mod demo;
mod kubectl;
mod languages;
#[path = "../it/processes.rs"]
#[allow(dead_code, reason = "the everyday tests use more of it")]
mod processes;
mod printed;
mod proxied;
mod six_people;
mod ways_in;
