//! Policy documents: from text to a compiled, indexed, immutable policy set.

pub mod ast;
mod load;
mod pattern;

pub use load::{API_VERSION, load};
pub use pattern::{Pattern, PatternError};
