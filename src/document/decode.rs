//! From trees to types, collecting every mistake on the way.
//!
//! A decoder is a function from a node to a value that reports what is wrong: `Fn(&Node, &mut Diagnostics) -> Option<T>`.
//! `None` means that an error was reported. A decoder goes on after a mistake, so that all mistakes are found at once;
//! whoever called the outermost one asks [`Diagnostics::has_errors`] before using anything.
//!
//! ```
//! use bailiwick::document::{self, Diagnostics, Fields, Node, Source, list, text, integer};
//!
//! struct Server { names: Vec<String>, port: u16 }
//!
//! fn server(node: &Node, diagnostics: &mut Diagnostics) -> Option<Server> {
//!     let mut fields = Fields::open(node, diagnostics)?;
//!     let names = fields.required("names", diagnostics, list(text));
//!     let port = fields.optional("port", diagnostics, integer(1..=65535));
//!     fields.finish(diagnostics);
//!     Some(Server { names: names?, port: port.unwrap_or(8443) })
//! }
//!
//! let sources = [Source::new("server.yaml", *b"names: [a]\nprot: 1\n")];
//! let mut diagnostics = Diagnostics::new(&sources);
//! let documents = document::parse(&sources, &mut diagnostics);
//! for document in &documents {
//!     server(&document.root, &mut diagnostics);
//! }
//! assert_eq!(diagnostics.items[0].message, "unknown field `prot`");
//! assert_eq!(diagnostics.items[0].help.as_deref(), Some("did you mean `port`?"));
//! ```

use super::diagnostic::{Diagnostic, Diagnostics, Span, Spanned};
use super::node::{Node, Value};
use super::render::quoted;
use super::suggest::did_you_mean_or_list;

/// The fields of a mapping, handed out by name. [`Fields::finish`] then reports those that nobody asked for.
#[must_use = "unknown fields are reported by `finish`"]
#[derive(Debug)]
pub struct Fields<'n> {
    entries: &'n [(Spanned<String>, Node)],
    span: Span,
    asked: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// The fields of a node, which must be a mapping and not empty.
    pub fn open(node: &'n Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        Some(Self { entries: entries(node, diagnostics)?, span: node.span, asked: Vec::new() })
    }

    /// Where the mapping stands.
    #[must_use]
    pub fn span(&self) -> Span {
        self.span
    }

    /// Whether a field is there, and where its name stands. To ask is to know the field.
    pub fn key(&mut self, name: &'static str) -> Option<Span> {
        self.find(name).map(|(key, _)| key.span)
    }

    /// A field as it is; `None` where it is not there. Nothing is checked.
    pub fn node(&mut self, name: &'static str) -> Option<&'n Node> {
        self.find(name).map(|(_, node)| node)
    }

    /// A field that must be there.
    pub fn required<T>(
        &mut self,
        name: &'static str,
        diagnostics: &mut Diagnostics,
        decode: impl FnOnce(&'n Node, &mut Diagnostics) -> Option<T>,
    ) -> Option<T> {
        if self.find(name).is_none() {
            self.missing(name, diagnostics, None);
            return None;
        }
        self.optional(name, diagnostics, decode)
    }

    /// A field that may be left out; `None` where it is, or where a mistake in it was reported. A field that is there
    /// but has no value is an error.
    pub fn optional<T>(
        &mut self,
        name: &'static str,
        diagnostics: &mut Diagnostics,
        decode: impl FnOnce(&'n Node, &mut Diagnostics) -> Option<T>,
    ) -> Option<T> {
        let (key, node) = self.find(name)?;
        if node.value == Value::Null {
            let message = format!("{} has no value", quoted(name));
            diagnostics.push(Diagnostic::error(key.span, message).help("give it one, or remove the field"));
            return None;
        }
        decode(node, diagnostics)
    }

    /// A field that DESIGN has and this version has not: an error that points at it.
    pub fn unavailable(&mut self, name: &'static str, diagnostics: &mut Diagnostics) {
        if let Some(span) = self.key(name) {
            let message = format!("{} is not available in this version", quoted(name));
            diagnostics.push(Diagnostic::error(span, message));
        }
    }

    /// Reports that a field is not there.
    pub fn missing(&self, name: &str, diagnostics: &mut Diagnostics, help: Option<&str>) {
        let message = format!("the field {} is missing", quoted(name));
        diagnostics.push(Diagnostic::error(self.span, message).maybe_help(help.map(str::to_owned)));
    }

    /// Reports the fields that were not asked for.
    pub fn finish(self, diagnostics: &mut Diagnostics) {
        for (key, _) in self.entries {
            if !self.asked.contains(&key.value.as_str()) {
                let message = format!("unknown field {}", quoted(&key.value));
                let help =
                    diagnostics.find_help(|| did_you_mean_or_list(&key.value, self.asked.iter().copied()));
                diagnostics.push(Diagnostic::error(key.span, message).maybe_help(help));
            }
        }
    }

    fn find(&mut self, name: &'static str) -> Option<&'n (Spanned<String>, Node)> {
        if !self.asked.contains(&name) {
            self.asked.push(name);
        }
        self.entries.iter().find(|(key, _)| key.value == name)
    }
}

/// A decoder of a list, which must not be empty. Elements with mistakes are reported and left out.
pub fn list<T>(
    mut decode: impl FnMut(&Node, &mut Diagnostics) -> Option<T>,
) -> impl FnMut(&Node, &mut Diagnostics) -> Option<Vec<T>> {
    move |node, diagnostics| match &node.value {
        Value::Sequence(items) if items.is_empty() => {
            let message = "an empty list says neither \"any\" nor \"none\"";
            diagnostics
                .push(Diagnostic::error(node.span, message).help("name at least one, or remove the field"));
            None
        }
        Value::Sequence(items) => Some(items.iter().filter_map(|item| decode(item, diagnostics)).collect()),
        Value::Scalar { text, .. } => {
            let diagnostic = Diagnostic::error(node.span, "this must be a list");
            let help = format!("write {}", quoted(&format!("[{text}]")));
            diagnostics.push(diagnostic.help(help));
            None
        }
        _ => {
            expected("a list", node, diagnostics);
            None
        }
    }
}

/// A decoder of a list that may be empty, for fields where that says something else than leaving them out.
pub fn any_list<T>(
    decode: impl FnMut(&Node, &mut Diagnostics) -> Option<T>,
) -> impl FnMut(&Node, &mut Diagnostics) -> Option<Vec<T>> {
    let mut list = list(decode);
    move |node, diagnostics| match &node.value {
        Value::Sequence(items) if items.is_empty() => Some(Vec::new()),
        _ => list(node, diagnostics),
    }
}

/// A decoder of a mapping from names to values of one kind, which must not be empty. Names are not empty.
pub fn map<T>(
    mut decode: impl FnMut(&Node, &mut Diagnostics) -> Option<T>,
) -> impl FnMut(&Node, &mut Diagnostics) -> Option<Vec<(Spanned<String>, T)>> {
    move |node, diagnostics| {
        let entries = entries(node, diagnostics)?;
        let mut decoded = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            if key.value.is_empty() {
                diagnostics.push(Diagnostic::error(key.span, "a name must not be empty"));
            }
            if let Some(value) = decode(value, diagnostics) {
                decoded.push((key.clone(), value));
            }
        }
        Some(decoded)
    }
}

/// A decoder that keeps the place of what it decodes.
pub fn spanned<T>(
    mut decode: impl FnMut(&Node, &mut Diagnostics) -> Option<T>,
) -> impl FnMut(&Node, &mut Diagnostics) -> Option<Spanned<T>> {
    move |node, diagnostics| decode(node, diagnostics).map(|value| Spanned::new(value, node.span))
}

/// Reports that something else was expected here.
pub fn expected(what: &str, node: &Node, diagnostics: &mut Diagnostics) {
    let message = format!("this must be {what}, and is {}", node.describe());
    diagnostics.push(Diagnostic::error(node.span, message));
}

fn entries<'n>(node: &'n Node, diagnostics: &mut Diagnostics) -> Option<&'n [(Spanned<String>, Node)]> {
    match &node.value {
        Value::Mapping(entries) if entries.is_empty() => {
            let help = "give it fields, or remove it";
            diagnostics.push(Diagnostic::error(node.span, "an empty mapping says nothing").help(help));
            None
        }
        Value::Mapping(entries) => Some(entries),
        _ => {
            expected("a mapping", node, diagnostics);
            None
        }
    }
}
