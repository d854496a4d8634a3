//! Diagnostics as text in the manner of rustc, and as JSON.

use std::borrow::Cow;
use std::fmt;

use serde_json::{Value, json};

use super::diagnostic::{Diagnostic, Diagnostics, Source, Span};

/// How many characters of a line are cited; of a longer one, those around the place.
const MAX_CITED_CHARS: usize = 160;

/// The same in bytes.
const MAX_CITED_BYTES: usize = 4 * (MAX_CITED_CHARS + 1);

/// What some editors put before the first character.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// How many characters of what a person wrote are repeated in a message.
const MAX_QUOTED_CHARS: usize = 80;

/// A place as people count it: from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position<'a> {
    /// The source's name.
    pub file: &'a str,
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// What a person wrote, in back-ticks, and cut where it is very long.
#[must_use]
pub fn quoted(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED_CHARS) {
        Some((end, _)) => format!("`{}…`", text.get(..end).unwrap_or_default()),
        None => format!("`{text}`"),
    }
}

impl Diagnostics {
    /// Where a span begins; `None` where it is of no source.
    #[must_use]
    pub fn position(&self, span: Span) -> Option<Position<'_>> {
        self.locate(span).map(|located| located.position())
    }

    /// All of them as a list of `{severity, file, line, column, message, help}`, with `null` for what is not known.
    #[must_use]
    pub fn to_json(&self) -> Value {
        Value::Array(self.items.iter().map(|item| self.item_to_json(item)).collect())
    }

    fn item_to_json(&self, item: &Diagnostic) -> Value {
        let position = item.span.and_then(|span| self.position(span));
        json!({
            "severity": item.severity.as_str(),
            "file": position.map(|position| position.file),
            "line": position.map(|position| position.line),
            "column": position.map(|position| position.column),
            "message": item.message,
            "help": item.help,
        })
    }

    /// The source of a span, and the span's first and last byte and the first of its line in it.
    fn locate(&self, span: Span) -> Option<Located<'_>> {
        let source = self.sources.get(usize::try_from(span.source).ok()?)?;
        let start = usize::try_from(span.start).ok()?.min(source.bytes.len());
        let end = usize::try_from(span.end).ok()?.clamp(start, source.bytes.len());
        let before = source.bytes.get(..start)?;
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        Some(Located { source, start, end, line_start })
    }

    fn cite(&self, span: Span) -> Option<Cited<'_>> {
        let located = self.locate(span)?;
        let Located { source, start, end, line_start } = located;
        let head = source.bytes.get(line_start.max(start.saturating_sub(MAX_CITED_BYTES))..start)?;
        let whole_characters = head.iter().take_while(|byte| is_continuation(**byte)).count();
        let rest = source
            .bytes
            .get(start..source.bytes.len().min(end.min(start + MAX_CITED_BYTES) + MAX_CITED_BYTES))?;
        let rest = rest.split(|byte| *byte == b'\n').next()?;
        let (marked, tail) = rest.split_at_checked(end - start).unwrap_or((rest, &[]));
        let head = printable(head.get(whole_characters..)?);
        Some(Cited { position: located.position(), head, marked: printable(marked), tail: printable(tail) })
    }
}

/// A span in its source, in bytes.
struct Located<'a> {
    source: &'a Source,
    start: usize,
    end: usize,
    line_start: usize,
}

impl<'a> Located<'a> {
    fn position(&self) -> Position<'a> {
        let before = self.source.bytes.get(..self.start).unwrap_or_default();
        let in_line = before.get(self.line_start..).unwrap_or_default();
        let in_line = in_line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(in_line);
        Position {
            file: &self.source.name,
            line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
            column: 1 + in_line.iter().filter(|byte| !is_continuation(**byte)).count(),
        }
    }
}

/// Whether a byte of UTF-8 is not the first of its character.
fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

/// A line of a source in three parts, as it is shown.
struct Cited<'a> {
    position: Position<'a>,
    head: String,
    marked: String,
    tail: String,
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, item) in self.items.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            writeln!(f, "{}: {}", item.severity.as_str(), one_line(&item.message))?;
            let cited = item.span.and_then(|span| self.cite(span));
            let margin = cited.as_ref().map_or(1, |cited| cited.position.line.to_string().len());
            if let Some(cited) = cited {
                cited.write(f, margin)?;
            }
            if let Some(help) = &item.help {
                if item.span.is_some() {
                    writeln!(f, "{:margin$} |", "")?;
                }
                writeln!(f, "{:margin$} = help: {}", "", one_line(help))?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

impl Cited<'_> {
    fn write(&self, f: &mut fmt::Formatter<'_>, margin: usize) -> fmt::Result {
        let Position { file, line, column } = self.position;
        writeln!(f, "{:margin$}--> {}:{line}:{column}", "", one_line(file))?;
        let head = last_chars(&self.head, MAX_CITED_CHARS / 2);
        let marked = first_chars(&self.marked, MAX_CITED_CHARS / 2);
        let room = MAX_CITED_CHARS.saturating_sub(head.chars().count() + marked.chars().count());
        let tail = if marked.len() == self.marked.len() { first_chars(&self.tail, room) } else { "".into() };
        writeln!(f, "{:margin$} |", "")?;
        writeln!(f, "{line} | {}", format!("{head}{marked}{tail}").trim_end())?;
        let carets = marked.trim_end().chars().count().max(1);
        writeln!(f, "{:margin$} | {:indent$}{:^<carets$}", "", "", "", indent = head.chars().count())?;
        Ok(())
    }
}

/// Text that changes nothing on a terminal but what it shows: tabs as four spaces, other control characters (also those
/// that turn the direction of writing) replaced.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start_matches('\u{feff}').trim_end_matches('\r');
    text.chars().fold(String::with_capacity(text.len()), |mut shown, character| {
        match character {
            '\t' => shown.push_str("    "),
            character if is_control(character) => shown.push('\u{fffd}'),
            character => shown.push(character),
        }
        shown
    })
}

/// A message on one line, with control characters escaped.
#[must_use]
pub fn one_line(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_control) {
        return Cow::Borrowed(text);
    }
    let escape = |character: char| match is_control(character) {
        true => character.escape_default().to_string(),
        false => character.to_string(),
    };
    Cow::Owned(text.chars().map(escape).collect())
}

/// Whether a character is one of control, of line separation or of writing direction. None is above U+FFFF.
#[must_use]
pub fn is_control(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn first_chars(text: &str, count: usize) -> Cow<'_, str> {
    match text.char_indices().nth(count) {
        Some((end, _)) => Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(text),
    }
}

fn last_chars(text: &str, count: usize) -> Cow<'_, str> {
    let length = text.chars().count();
    match text.char_indices().nth(length.saturating_sub(count)) {
        Some((start, _)) if start > 0 => Cow::Owned(format!("…{}", text.get(start..).unwrap_or_default())),
        _ => Cow::Borrowed(text),
    }
}
