//! Where something stands in a source, and what is wrong with it.

use std::sync::Arc;

/// One file, as it was read.
#[derive(Debug, Clone)]
pub struct Source {
    /// The path as it is shown to people.
    pub name: Arc<str>,
    /// The bytes; need not be UTF-8 (that is a diagnostic, not a failure to read).
    pub bytes: Arc<[u8]>,
}

/// A range of bytes in one of the sources that were read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, PartialOrd, Ord)]
pub struct Span {
    /// Which source, by its place in the list that was read.
    pub source: u32,
    /// The first byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// A value and where it was written. Equality is the value's.
#[derive(Debug, Clone, Default)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Loaded all the same.
    Warning,
    /// Nothing of this load is used.
    Error,
}

/// One thing that is wrong. Style: lower case, no full stop, what the person wrote in back-ticks, no Rust type names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one line.
    pub message: String,
    /// Where; `None` where it concerns no one place.
    pub span: Option<Span>,
    /// What to do about it.
    pub help: Option<String>,
}

/// All that is wrong with what was read together, with the sources for citing the lines.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics {
    /// In the order of the sources and of the places in them.
    pub items: Vec<Diagnostic>,
    /// What was read.
    pub sources: Vec<Source>,
}

impl<T> Spanned<T> {
    /// A value at a place.
    pub const fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

impl<T: PartialEq> PartialEq for Spanned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Spanned<T> {}

impl Diagnostics {
    /// Whether anything here is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.items.iter().any(|item| item.severity == Severity::Error)
    }
}
