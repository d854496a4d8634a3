//! Bailiwick answers a Kubernetes API server's question "may this user do this?" from policies in files, live facts from
//! an LDAP directory, and the circumstances: time, location, clearance.
//!
//! The modules stand in the order in which they are best read. `ARCHITECTURE.md` says how the house stands;
//! `tests/layering.rs` holds it to that.

pub mod model;
pub mod document;
pub mod cel;
pub mod policy;
pub mod eval;
pub mod convert;
pub mod review;
#[allow(clippy::disallowed_methods, reason = "telemetry reads the clock and writes files")]
pub mod telemetry;
#[allow(
    clippy::disallowed_methods,
    reason = "certificates are read from files, and handshakes have deadlines"
)]
pub mod tls;
#[allow(
    clippy::disallowed_methods,
    reason = "deadlines are measured, and the password and the LDIF are files"
)]
pub mod directory;
// Fuzz targets (`tests/fuzz`) reach no further, and the rest takes minutes to build for them.
#[allow(clippy::disallowed_methods, reason = "the age of facts is measured by a clock")]
#[cfg(not(fuzzing))]
pub mod cache;
#[allow(clippy::disallowed_methods, reason = "policies are read from files, and followed by the clock")]
#[cfg(not(fuzzing))]
pub mod store;
#[allow(clippy::disallowed_methods, reason = "the service reads the clock, once a review")]
#[cfg(not(fuzzing))]
pub mod authz;
#[allow(clippy::disallowed_methods, reason = "connections have deadlines")]
#[cfg(not(fuzzing))]
pub mod server;
#[allow(clippy::disallowed_methods, reason = "requests have deadlines, and tokens are files")]
#[cfg(not(fuzzing))]
pub mod http;
#[allow(clippy::disallowed_methods, reason = "the front end reads the clock, and its files")]
#[cfg(not(fuzzing))]
pub mod frontend;
#[cfg(not(fuzzing))]
pub mod config;
#[allow(clippy::disallowed_methods, reason = "commands read files, the environment and the clock")]
#[cfg(not(fuzzing))]
pub mod cli;
