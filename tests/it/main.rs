//! Integration tests, in one binary.

#[allow(clippy::disallowed_methods, reason = "the tests read their files, and the environment for blessing")]
mod diagnostics;
