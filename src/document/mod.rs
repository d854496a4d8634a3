//! YAML documents as spanned trees, and diagnostics that point into them.
//!
//! Everything a person writes for Bailiwick (policies, vocabularies, tests, configuration) is read by this module first,
//! so that every mistake is shown in its place, all of them at once: [`parse`] makes trees, and decoders built from
//! [`Fields`], [`list`], [`text`] and the like make types of them.

mod decode;
mod diagnostic;
mod node;
mod parse;
mod render;
mod revision;
mod scalar;
mod suggest;
mod write;

pub use decode::{Fields, any_list, expected, list, map, spanned};
pub use diagnostic::{Diagnostic, Diagnostics, MAX_DIAGNOSTICS, Severity, Source, Span, Spanned};
pub use node::{Node, Value};
pub use parse::{Document, MAX_DEPTH, MAX_DOCUMENTS, MAX_NODES, MAX_SOURCE_BYTES, parse};
pub use render::{Position, is_control, one_line, quoted};
pub use revision::revision;
pub use scalar::{any_text, boolean, choice, duration, duration_or_zero, integer, network, text, timestamp};
pub use suggest::{did_you_mean, did_you_mean_or_list};
