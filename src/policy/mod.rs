//! Policy documents: from text to a compiled, indexed, immutable policy set.

pub mod ast;
mod candidates;
mod check;
mod guards;
mod index;
mod load;
mod pattern;
mod rules;
mod set;
mod settings;
mod sparse;

pub use candidates::{Accepted, Drivers};
pub use index::Index;
pub use load::{API_VERSION, load, read};
pub use pattern::{Pattern, PatternError};
pub use rules::{Scopes, covers, overlaps};
pub use set::{
    AttributeTest, Conditions, GroupRefId, Policy, PolicySet, RequiredClearance, Slot, Term, TimeWindow,
};
pub use settings::{Exempt, Guard, Settings};
pub use sparse::SparseSet;
