//! Where something stands in a source, and what is wrong with it.

use std::sync::Arc;

/// How many diagnostics are kept; one more then says that there are others.
pub const MAX_DIAGNOSTICS: usize = 1000;

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

impl Source {
    /// A source with this name and these bytes.
    pub fn new(name: impl Into<Arc<str>>, bytes: impl Into<Arc<[u8]>>) -> Self {
        Self { name: name.into(), bytes: bytes.into() }
    }
}

impl Severity {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl Diagnostic {
    /// An error at a place, or at none.
    pub fn error(span: impl Into<Option<Span>>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, message: message.into(), span: span.into(), help: None }
    }

    /// A warning at a place, or at none.
    pub fn warning(span: impl Into<Option<Span>>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, message: message.into(), span: span.into(), help: None }
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same with what to do about it, where that is known.
    #[must_use]
    pub fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }
}

impl Diagnostics {
    /// Nothing wrong yet with these sources; spans count them in this order.
    #[must_use]
    pub fn new(sources: &[Source]) -> Self {
        Self { items: Vec::new(), sources: sources.to_vec() }
    }

    /// Adds one; beyond [`MAX_DIAGNOSTICS`] it is only said that there are more.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if self.items.len() < MAX_DIAGNOSTICS {
            self.items.push(diagnostic);
            return;
        }
        if self.items.len() == MAX_DIAGNOSTICS {
            self.items.push(Diagnostic::warning(None, "there are more problems; they are not shown"));
        }
        if let Some(last) = self.items.last_mut() {
            last.severity = last.severity.max(diagnostic.severity);
        }
    }

    /// Whether what is pushed now is only counted: then its message need not be made.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.items.len() > MAX_DIAGNOSTICS
    }

    /// A help that costs something to find: `None` where there is no room for it.
    pub fn find_help(&self, find: impl FnOnce() -> Option<String>) -> Option<String> {
        if self.is_full() { None } else { find() }
    }

    /// Whether anything is an error: nothing of this load may be used then.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.items.iter().any(|item| item.severity == Severity::Error)
    }

    /// Puts them into the order of the sources and of the places in them; those without a place stand last.
    pub fn sort(&mut self) {
        self.items.sort_by_key(|item| (item.span.is_none(), item.span));
    }
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
