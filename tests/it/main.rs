//! The integration tests: one binary, so that the library is linked once.

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

mod directory;
mod embedded;
mod faulty;
mod serving;
mod slapd;
