//! The integration tests: one binary, one module a subject.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod corpora;
mod corpora_shape;
mod generate;
mod naive;
mod render;
mod rule_table;
mod scene;
