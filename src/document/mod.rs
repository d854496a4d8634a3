//! YAML documents as spanned trees, and diagnostics that point into them.
//!
//! Everything a person writes for Bailiwick (policies, vocabularies, tests, configuration) is read by this module first,
//! so that every mistake is shown in its place, all of them at once.

mod diagnostic;
mod node;

pub use diagnostic::{Diagnostic, Diagnostics, Severity, Source, Span, Spanned};
pub use node::{Node, Value};
