//! The integration tests: one binary, so that the library is linked once; one module a subject.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test that cannot go on is to fail, and tests read files and clocks"
)]

mod attacks;
mod commands;
mod convert;
mod configuration;
mod corpora;
mod corpora_shape;
mod decide_cost;
mod deciding;
mod diagnostics;
mod directory;
mod directory_faults;
mod directory_operations;
mod documents;
mod embedded;
mod faulty;
mod generate;
mod lookup;
mod naive;
#[allow(dead_code, reason = "the unit tests need more of it")]
#[path = "../../src/directory/srv/nameserver.rs"]
mod nameserver;
mod processes;
mod render;
mod rule_table;
mod scene;
mod service;
mod serving;
mod slapd;
mod webhook;
#[allow(dead_code, reason = "the benchmark prints more of it")]
mod watch_load;
mod world;
