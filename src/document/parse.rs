//! From bytes to spanned trees.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError};

use super::diagnostic::{Diagnostic, Diagnostics, Source, Span, Spanned};
use super::node::{Node, Value};
use super::render::quoted;
use super::scalar::is_null;

/// The largest source, in bytes: 10,000 policies of 400 bytes.
pub const MAX_SOURCE_BYTES: usize = 4 << 20;

/// How many documents one source may hold.
pub const MAX_DOCUMENTS: usize = 20_000;

/// How many values (scalars, lists, mappings) one source may hold; bounds the memory of its trees to some 100 MiB.
pub const MAX_NODES: usize = 1_000_000;

/// How deep lists and mappings may be nested.
pub const MAX_DEPTH: usize = 64;

/// One YAML document that parsed; never an empty one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its outermost value.
    pub root: Node,
}

/// Reads all documents of all sources. Of a document in which something cannot be read at all there is no tree, but
/// diagnostics; that hides nothing that is wrong with other documents. Empty documents are skipped.
///
/// JSON is YAML. Refused, although YAML has them: directives, anchors, aliases, merge keys, tags, keys that are not
/// text, and control characters (a NUL would end some readers' view of a file).
pub fn parse(sources: &[Source], diagnostics: &mut Diagnostics) -> Vec<Document> {
    let mut documents = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        let Ok(index) = u32::try_from(index) else { break };
        if source.bytes.len() > MAX_SOURCE_BYTES {
            let help =
                format!("at most {} MiB are read; split it into several files", MAX_SOURCE_BYTES >> 20);
            let start = Span { source: index, start: 0, end: 0 };
            diagnostics.push(Diagnostic::error(start, "the file is too large").help(help));
            continue;
        }
        let (text, bad) = read_text(&source.bytes, index, diagnostics);
        Reader::new(index, &text, &bad).read(&mut documents, diagnostics);
    }
    documents
}

/// The text, and the offsets of all bytes that are no text, each replaced by a `?` so that all others keep their places.
fn read_text(bytes: &[u8], source: u32, diagnostics: &mut Diagnostics) -> (String, Vec<u32>) {
    let mut text = String::with_capacity(bytes.len());
    let mut bad = Vec::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_ascii_control() && !matches!(character, '\t' | '\n' | '\r') {
                if bad.is_empty() {
                    let message = format!("a control character (U+{:04X}) in the text", u32::from(character));
                    let span = Span { source, start: offset(text.len()), end: offset(text.len() + 1) };
                    diagnostics.push(
                        Diagnostic::error(span, message)
                            .help("remove it, or write it as an escape in double quotes"),
                    );
                }
                bad.push(offset(text.len()));
                text.push('?');
            } else {
                text.push(character);
            }
        }
        for (nth, byte) in chunk.invalid().iter().enumerate() {
            if bad.is_empty() && nth == 0 {
                let message = format!("the file is not UTF-8: the byte 0x{byte:02x} is not valid here");
                let span = Span {
                    source,
                    start: offset(text.len()),
                    end: offset(text.len() + chunk.invalid().len()),
                };
                diagnostics.push(Diagnostic::error(span, message).help("save the file as UTF-8"));
            }
            bad.push(offset(text.len()));
            text.push('?');
        }
    }
    (text, bad)
}

/// Reads the documents of one source.
struct Reader<'a> {
    source: u32,
    text: &'a str,
    bad: &'a [u32],
    open: Vec<Open>,
    root: Option<Node>,
    /// Whether the document that is being read has something in it that cannot be read.
    broken: bool,
    documents: usize,
    nodes: usize,
}

/// A list or mapping that is not closed yet.
enum Open {
    Sequence(Span, Vec<Node>),
    Mapping(Span, Vec<(Spanned<String>, Node)>, Key),
}

/// What stands before the next value of a mapping.
enum Key {
    /// Nothing: the next scalar is a key.
    Awaited,
    /// A key.
    Text(Spanned<String>),
    /// Something that cannot be a key, and was reported.
    Refused,
}

impl<'a> Reader<'a> {
    fn new(source: u32, text: &'a str, bad: &'a [u32]) -> Self {
        Self { source, text, bad, open: Vec::new(), root: None, broken: false, documents: 0, nodes: 0 }
    }

    fn read(mut self, documents: &mut Vec<Document>, diagnostics: &mut Diagnostics) {
        let options = granit_parser::options! {
            disallow_directives: true,
            emit_unresolved_aliases: true,
            emit_anchor_events: true,
            flow_nesting_limit: MAX_DEPTH,
            block_nesting_limit: MAX_DEPTH,
        };
        let mut parser = Parser::new_from_str_with_options(self.text, options);
        let mut start = 0;
        while let Some(next) = parser.next() {
            let proceed = match next {
                Ok((Event::DocumentStart(..), span)) => {
                    start = self.span(&span).start;
                    self.begin(start, diagnostics)
                }
                Ok((Event::DocumentEnd, span)) => {
                    self.end(start, self.span(&span).end, documents);
                    start = self.span(&span).end;
                    true
                }
                Ok((Event::StreamStart | Event::StreamEnd, _)) => true,
                Ok((event, span)) => match self.take(event, self.span(&span), diagnostics) {
                    Ok(()) => true,
                    Err(TooMuch::Depth) => {
                        self.refuse_depth(self.span(&span), diagnostics);
                        parser.proceed_next_document().unwrap_or(false)
                    }
                    Err(TooMuch::Nodes) => {
                        let help = "split it into several files";
                        diagnostics.push(
                            Diagnostic::error(self.span(&span), "too many values in one file").help(help),
                        );
                        false
                    }
                },
                Err(error) => {
                    self.report(&error, start, diagnostics);
                    parser.proceed_next_document().unwrap_or(false)
                }
            };
            if !proceed {
                break;
            }
        }
    }

    fn begin(&mut self, start: u32, diagnostics: &mut Diagnostics) -> bool {
        self.open.clear();
        self.root = None;
        self.broken = false;
        self.documents += 1;
        if self.documents > MAX_DOCUMENTS {
            let help = format!("at most {MAX_DOCUMENTS} are read; split it into several files");
            diagnostics
                .push(Diagnostic::error(self.at(start, start), "too many documents in one file").help(help));
        }
        self.documents <= MAX_DOCUMENTS
    }

    fn end(&mut self, start: u32, end: u32, documents: &mut Vec<Document>) {
        self.open.clear();
        if let Some(root) = self.root.take()
            && !self.broken
            && !self.is_bad(start, end)
            && root.value != Value::Null
        {
            documents.push(Document { root });
        }
    }

    /// Whether a byte that is no text stands in this range.
    fn is_bad(&self, start: u32, end: u32) -> bool {
        let first = self.bad.partition_point(|at| *at < start);
        self.bad.get(first).is_some_and(|at| *at <= end)
    }

    fn take(&mut self, event: Event<'_>, span: Span, diagnostics: &mut Diagnostics) -> Result<(), TooMuch> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(TooMuch::Nodes);
        }
        match event {
            Event::Scalar(text, style, _, tag) => {
                self.check_tag(tag.is_some(), span, diagnostics);
                let plain = style == ScalarStyle::Plain;
                self.scalar(text.into_owned(), plain, span, diagnostics);
            }
            Event::SequenceStart(_, _, tag) => {
                self.check_tag(tag.is_some(), span, diagnostics);
                self.begin_collection(span, diagnostics);
                self.open(Open::Sequence(span, Vec::new()))?;
            }
            Event::MappingStart(_, _, tag) => {
                self.check_tag(tag.is_some(), span, diagnostics);
                self.begin_collection(span, diagnostics);
                self.open(Open::Mapping(span, Vec::new(), Key::Awaited))?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span, diagnostics),
            Event::Anchor(_, name) => {
                self.broken = true;
                let message = format!("anchors are not supported: {}", quoted(&format!("&{name}")));
                diagnostics
                    .push(Diagnostic::error(span, message).help("write the value out wherever it is used"));
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.broken = true;
                let written = self.text.get(index(span.start)..index(span.end)).unwrap_or_default();
                let message = format!("aliases are not supported: {}", quoted(written));
                diagnostics.push(Diagnostic::error(span, message).help("write the value out"));
                self.scalar("alias".to_owned(), false, span, diagnostics);
            }
            _ => {}
        }
        Ok(())
    }

    fn check_tag(&mut self, tagged: bool, span: Span, diagnostics: &mut Diagnostics) {
        if tagged {
            self.broken = true;
            let help = "remove it; text that looks like a number or a boolean is written in quotes";
            diagnostics.push(Diagnostic::error(span, "tags such as `!!str` are not supported").help(help));
        }
    }

    fn scalar(&mut self, text: String, plain: bool, span: Span, diagnostics: &mut Diagnostics) {
        if let Some(Open::Mapping(_, _, key @ Key::Awaited)) = self.open.last_mut() {
            *key = Key::Text(Spanned::new(text, span));
            let Key::Text(written) = key else { return };
            let (message, help) = match written.value.as_str() {
                "<<" if plain => ("merge keys are not supported", "write the fields out"),
                "" if plain => ("a key must be text", "there is nothing before the `:`"),
                _ => return,
            };
            *key = Key::Refused;
            self.broken = true;
            diagnostics.push(Diagnostic::error(span, message).help(help));
            return;
        }
        let value = if plain && is_null(&text) { Value::Null } else { Value::Scalar { text, plain } };
        self.add(Node { value, span });
    }

    /// A list or mapping where a key is awaited is refused.
    fn begin_collection(&mut self, span: Span, diagnostics: &mut Diagnostics) {
        if let Some(Open::Mapping(_, _, Key::Awaited)) = self.open.last() {
            self.broken = true;
            let help = "text that begins with a bracket or brace is written in quotes";
            diagnostics.push(Diagnostic::error(span, "a key must be text, not a list or mapping").help(help));
        }
    }

    fn open(&mut self, open: Open) -> Result<(), TooMuch> {
        if self.open.len() >= MAX_DEPTH {
            return Err(TooMuch::Depth);
        }
        self.open.push(open);
        Ok(())
    }

    fn close(&mut self, end: Span, diagnostics: &mut Diagnostics) {
        let (span, value) = match self.open.pop() {
            Some(Open::Sequence(span, items)) => {
                let last = items.last().map(|item| item.span.end);
                (self.through(span, last, end), Value::Sequence(items))
            }
            Some(Open::Mapping(span, entries, _)) => {
                let last = entries.last().map(|(key, value)| value.span.end.max(key.span.end));
                (self.through(span, last, end), Value::Mapping(self.without_duplicates(entries, diagnostics)))
            }
            None => return,
        };
        self.add(Node { value, span });
    }

    /// From the start of a collection to its closing bracket or, in block style, to the end of its last element.
    fn through(&self, start: Span, last: Option<u32>, end: Span) -> Span {
        let end = if end.start == end.end { last.unwrap_or(end.end) } else { end.end };
        self.at(start.start, end)
    }

    fn without_duplicates(
        &self,
        entries: Vec<(Spanned<String>, Node)>,
        diagnostics: &mut Diagnostics,
    ) -> Vec<(Spanned<String>, Node)> {
        let mut seen: HashMap<&str, Span, foldhash::fast::RandomState> = HashMap::default();
        let mut duplicates = Vec::new();
        for (key, _) in &entries {
            match seen.entry(key.value.as_str()) {
                Entry::Vacant(entry) => {
                    entry.insert(key.span);
                }
                Entry::Occupied(first) => {
                    duplicates.push(key.span);
                    let help = diagnostics.find_help(|| {
                        let first = diagnostics.position(*first.get())?;
                        Some(format!("the first is in line {}", first.line))
                    });
                    let message = format!("the key {} stands here twice", quoted(&key.value));
                    diagnostics.push(Diagnostic::error(key.span, message).maybe_help(help));
                }
            }
        }
        if duplicates.is_empty() {
            return entries;
        }
        entries.into_iter().filter(|(key, _)| duplicates.binary_search(&key.span).is_err()).collect()
    }

    fn add(&mut self, node: Node) {
        match self.open.last_mut() {
            Some(Open::Sequence(_, items)) => items.push(node),
            Some(Open::Mapping(_, entries, key)) => match std::mem::replace(key, Key::Awaited) {
                Key::Text(text) => entries.push((text, node)),
                Key::Refused => {}
                Key::Awaited => *key = Key::Refused,
            },
            None => self.root = Some(node),
        }
    }

    fn refuse_depth(&mut self, span: Span, diagnostics: &mut Diagnostics) {
        self.broken = true;
        let message = format!("lists and mappings are nested more than {MAX_DEPTH} deep");
        diagnostics.push(Diagnostic::error(span, message));
    }

    fn report(&mut self, error: &ScanError, start: u32, diagnostics: &mut Diagnostics) {
        let at = offset(error.marker().byte_offset().unwrap_or_default().min(self.text.len()));
        if self.is_bad(start, at) {
            return;
        }
        let span = self.at(at, self.next_char(at));
        if *error.kind() == ErrorKind::RecursionLimitExceeded {
            return self.refuse_depth(span, diagnostics);
        }
        let tab = self.tab_in_indentation(at);
        let diagnostic = match (error.kind(), tab) {
            (_, Some(tab)) => Diagnostic::error(self.at(tab, tab + 1), "a tab in the indentation")
                .help("indent with spaces"),
            (ErrorKind::DirectiveDisallowed, _) => Diagnostic::error(span, "directives are not supported")
                .help("remove the line that begins with `%`"),
            (kind, None) => Diagnostic::error(span, format!("this is not YAML: {kind}")).help(
                "look here and before it for a bracket or quote that is not closed, or a wrong indentation",
            ),
        };
        diagnostics.push(diagnostic);
    }

    /// The first tab among the white space at the start of the line of an offset, or of the line before.
    fn tab_in_indentation(&self, at: u32) -> Option<u32> {
        let before = self.text.get(..index(at)).unwrap_or_default();
        let line = before.rfind('\n').map_or(0, |newline| newline + 1);
        let previous =
            before.get(..line.saturating_sub(1)).unwrap_or_default().rfind('\n').map_or(0, |at| at + 1);
        [line, previous].into_iter().find_map(|start| {
            let rest = self.text.get(start..)?;
            let indentation = rest.len() - rest.trim_start_matches([' ', '\t']).len();
            rest.get(..indentation)?.find('\t').map(|tab| offset(start + tab))
        })
    }

    fn next_char(&self, at: u32) -> u32 {
        let length =
            self.text.get(index(at)..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
        at + offset(length)
    }

    fn span(&self, span: &granit_parser::Span) -> Span {
        let start = span.start.byte_offset().unwrap_or_default().min(self.text.len());
        let end = span.end.byte_offset().unwrap_or_default().clamp(start, self.text.len());
        self.at(offset(start), offset(end))
    }

    fn at(&self, start: u32, end: u32) -> Span {
        Span { source: self.source, start, end: end.max(start) }
    }
}

/// A bound of the source that was reached.
enum TooMuch {
    Depth,
    Nodes,
}

/// An offset in a source, which is at most [`MAX_SOURCE_BYTES`] long.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn index(at: u32) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}
