//! The reference front end: a small API server for demonstration, teaching and tests. Every stage of a request is really
//! there; only the cluster behind it is not.
//!
//! A request takes this way, and each stage is one folder:
//!
//! 1. [`request_info`] reads what it is about, from its method, path and query.
//! 2. [`authn`]: are you who you say you are?
//! 3. [`authorizers`]: may you do this?
//! 4. [`admission`]: does the request pass all checks? It changes the object first, and then judges it.
//! 5. [`storage`]: nothing is kept before all of them have passed.
//!
//! [`api`] is what stands around them: HTTP, discovery, representations. [`journey`] is what a request leaves behind.

pub mod admission;
pub mod api;
pub mod authn;
pub mod authorizers;
pub mod journey;
pub mod request_info;
pub mod resources;
pub mod selector;
pub mod status;
pub mod storage;
