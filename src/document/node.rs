//! The tree that a YAML document is parsed into.

use super::diagnostic::{Span, Spanned};

/// One value of a document and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub value: Value,
    /// Where it stands.
    pub span: Span,
}

/// What a node is. Scalars keep their text: what it means is up to the field that it is the value of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing, `~` or `null`, unquoted.
    Null,
    /// A scalar.
    Scalar {
        /// Its text, unescaped.
        text: String,
        /// Whether it was written without quotes, so that it may be a number or a boolean.
        plain: bool,
    },
    /// A list.
    Sequence(Vec<Node>),
    /// A mapping, in the order in which it was written; no key stands in it twice.
    Mapping(Vec<(Spanned<String>, Node)>),
}
