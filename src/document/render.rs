//! Diagnostics as text in the manner of rustc, and as JSON.

use std::borrow::Cow;
use std::fmt;

use serde_json::{Value, json};

use super::diagnostic::{Diagnostic, Diagnostics, Span};

/// How many characters of a line are cited; of a longer one, those around the place.
const MAX_CITED_CHARS: usize = 160;

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
        self.cite(span).map(|cited| cited.position)
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

    fn cite(&self, span: Span) -> Option<Cited<'_>> {
        let source = self.sources.get(usize::try_from(span.source).ok()?)?;
        let length = source.bytes.len();
        let start = usize::try_from(span.start).ok()?.min(length);
        let end = usize::try_from(span.end).ok()?.clamp(start, length);
        let before = source.bytes.get(..start)?;
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let rest = source.bytes.get(start..)?;
        let line_end = rest.iter().position(|byte| *byte == b'\n').map_or(length, |at| start + at);
        let head = printable(source.bytes.get(line_start..start)?);
        let marked = printable(source.bytes.get(start..end.min(line_end))?);
        let tail = printable(source.bytes.get(end.min(line_end)..line_end)?);
        let characters =
            |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_start_matches('\u{feff}').chars().count();
        let position = Position {
            file: &source.name,
            line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
            column: 1 + characters(source.bytes.get(line_start..start)?),
        };
        Some(Cited { position, head, marked, tail })
    }
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
        if self.marked.is_empty() && self.tail.is_empty() && self.head.is_empty() {
            return Ok(());
        }
        writeln!(f, "{:margin$} |", "")
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
fn one_line(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_control) {
        return Cow::Borrowed(text);
    }
    let escape = |character: char| match is_control(character) {
        true => character.escape_default().to_string(),
        false => character.to_string(),
    };
    Cow::Owned(text.chars().map(escape).collect())
}

/// Whether a character is one of control, of line separation or of writing direction.
fn is_control(character: char) -> bool {
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
