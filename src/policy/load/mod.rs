//! From sources to [`Documents`]: every document decoded and checked, or every mistake reported.

mod access_policy;
mod condition;
mod name;
mod policy_test;
mod rule;
mod subject;
mod time;
mod vocabulary;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::ast::{Documents, Vocabulary};
use crate::document::{
    self, Diagnostic, Diagnostics, Document, Fields, Node, Source, Span, Spanned, choice, quoted, text,
};

/// The `apiVersion` of every document.
pub const API_VERSION: &str = "bailiwick.dev/v1alpha1";

/// Decodes and checks all policies, vocabularies and tests of these sources together.
///
/// # Errors
/// With everything that is wrong with any of them, in the order of the sources: nothing of a load with an error in it
/// may be used.
pub fn load(sources: &[Source]) -> Result<Documents, Diagnostics> {
    let mut diagnostics = Diagnostics::new(sources);
    let documents = document::parse(sources, &mut diagnostics);
    let loaded = read(&documents, &mut diagnostics);
    if diagnostics.has_errors() {
        diagnostics.sort();
        return Err(diagnostics);
    }
    Ok(loaded)
}

/// [`load`] of documents that were read already, or made: what is wrong with them is reported where their nodes say that
/// they stand. What comes back may only be used where no error was reported.
#[must_use]
pub fn read(documents: &[Document], diagnostics: &mut Diagnostics) -> Documents {
    let unread = diagnostics.has_errors();
    let mut headed = Vec::with_capacity(documents.len());
    for document in documents {
        headed.extend(Headed::open(&document.root, diagnostics));
    }
    let mut names = Names::default();
    let mut builder = vocabulary::Builder::default();
    for document in headed.extract_if(.., |document| document.kind == Kind::Vocabulary) {
        names.check("vocabulary", document.name.as_ref(), diagnostics);
        builder.add(document, diagnostics);
    }
    let scope = Scope { vocabulary: builder.finish(), unread };
    let mut loaded = Documents::default();
    for document in headed {
        if document.kind == Kind::PolicyTest {
            names.check("test", document.name.as_ref(), diagnostics);
            loaded.tests.extend(policy_test::decode(document, &scope, diagnostics));
        } else {
            names.check("policy", document.name.as_ref(), diagnostics);
            loaded.policies.extend(access_policy::decode(document, &scope, diagnostics));
        }
    }
    loaded.vocabulary = scope.vocabulary;
    loaded
}

/// What the policies and tests that are decoded may refer to.
struct Scope {
    vocabulary: Vocabulary,
    /// Whether some document could not be read: the missing part of the vocabulary may be in it.
    unread: bool,
}

impl Scope {
    /// Reports a name that is not in the vocabulary. Where the vocabulary has nothing of the kind at all and a document
    /// could not be read, nothing is said: it may well be defined there.
    fn check<'v>(
        &self,
        kind: &str,
        written: &Spanned<String>,
        is_known: bool,
        known: impl Iterator<Item = &'v String> + Clone,
        diagnostics: &mut Diagnostics,
    ) {
        let none_known = known.clone().next().is_none();
        if is_known || (self.unread && none_known) {
            return;
        }
        let help = diagnostics.find_help(|| match none_known {
            true => Some(format!("no `Vocabulary` document defines any {kind}")),
            false => document::did_you_mean_or_list(&written.value, known.map(String::as_str)),
        });
        let message = format!("unknown {kind} {}", quoted(&written.value));
        diagnostics.push(Diagnostic::error(written.span, message).maybe_help(help));
    }
}

/// What a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    AccessPolicy,
    Vocabulary,
    PolicyTest,
}

const KINDS: &[(&str, Kind)] = &[
    ("AccessPolicy", Kind::AccessPolicy),
    ("Vocabulary", Kind::Vocabulary),
    ("PolicyTest", Kind::PolicyTest),
];

/// A document whose kind is known. What is wrong with its head has been reported.
struct Headed<'n> {
    kind: Kind,
    name: Option<Spanned<String>>,
    annotations: Vec<(Spanned<String>, String)>,
    spec: Option<&'n Node>,
}

impl<'n> Headed<'n> {
    fn open(root: &'n Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::open(root, diagnostics)?;
        fields.required("apiVersion", diagnostics, api_version);
        let kind = fields.required("kind", diagnostics, choice(KINDS));
        let metadata = fields.required("metadata", diagnostics, |node, diagnostics| {
            let mut fields = Fields::open(node, diagnostics)?;
            let name = fields.required("name", diagnostics, name::metadata_name);
            let annotations = match kind {
                None | Some(Kind::AccessPolicy) => {
                    fields.optional("annotations", diagnostics, document::map(document::any_text))
                }
                _ => None,
            };
            fields.finish(diagnostics);
            Some((name, annotations.unwrap_or_default()))
        });
        let spec = fields.required("spec", diagnostics, |node, _| Some(node));
        let kind = kind?;
        fields.finish(diagnostics);
        let (name, annotations) = metadata.unwrap_or_default();
        Some(Self { kind, name, annotations, spec })
    }
}

fn api_version(node: &Node, diagnostics: &mut Diagnostics) -> Option<()> {
    let written = text(node, diagnostics)?;
    if written != API_VERSION {
        let message = format!("unknown apiVersion {}", quoted(&written));
        let help = format!("this version reads {}", quoted(API_VERSION));
        diagnostics.push(Diagnostic::error(node.span, message).help(help));
    }
    Some(())
}

/// The names of the documents so far, for each kind apart.
#[derive(Default)]
struct Names {
    seen: HashMap<(&'static str, String), Span, foldhash::fast::RandomState>,
}

impl Names {
    fn check(&mut self, kind: &'static str, name: Option<&Spanned<String>>, diagnostics: &mut Diagnostics) {
        let Some(name) = name else { return };
        match self.seen.entry((kind, name.value.clone())) {
            Entry::Vacant(entry) => {
                entry.insert(name.span);
            }
            Entry::Occupied(first) => report_second(kind, name, *first.get(), diagnostics),
        }
    }
}

/// Reports the second definition of a name, and says where the first is.
fn report_second(kind: &str, second: &Spanned<String>, first: Span, diagnostics: &mut Diagnostics) {
    let message = format!("there are two definitions of the {kind} {}", quoted(&second.value));
    let help = diagnostics.find_help(|| {
        let first = diagnostics.position(first)?;
        Some(format!("the first is at {}:{}:{}", first.file, first.line, first.column))
    });
    diagnostics.push(Diagnostic::error(second.span, message).maybe_help(help));
}
