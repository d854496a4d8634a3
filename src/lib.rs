//! Bailiwick answers a Kubernetes API server's question "may this user do this?" from policies in files, live facts from
//! an LDAP directory, and the circumstances: time, location, clearance.
//!
//! The modules stand in the order in which they are best read. `ARCHITECTURE.md` says how the house stands;
//! `tests/layering.rs` holds it to that.

#[allow(clippy::disallowed_methods, reason = "the service reads the clock, once a review")]
pub mod authz;
pub mod document;
#[allow(clippy::disallowed_methods, reason = "deadlines begin when a request arrives; token files are read")]
pub mod http;
pub mod model;
pub mod policy;
pub mod review;
#[allow(clippy::disallowed_methods, reason = "telemetry reads the clock and writes files")]
pub mod telemetry;
