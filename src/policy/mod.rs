//! Policy documents: from text to a compiled, indexed, immutable policy set.

pub mod ast;
mod pattern;

pub use pattern::{Pattern, PatternError};
