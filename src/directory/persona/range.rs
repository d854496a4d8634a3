//! Range retrieval (MS-ADTS 3.1.1.3.1.3.3): of an attribute with many values, so many at once.

use crate::directory::embedded::message::Search;
use crate::directory::embedded::tree::{Held, kind};

/// A part of the values that was asked for: `member;range=1500-2999`.
struct Range<'a> {
    kind: &'a str,
    first: usize,
    /// `None` for the end.
    last: Option<usize>,
}

/// What of an attribute is sent, given that a search selects it as a whole or asks for ranges of it.
pub(super) fn parts(
    held: &Held,
    is_selected: bool,
    search: &Search,
    max: usize,
) -> Vec<(String, Vec<Vec<u8>>)> {
    let kind = kind(&held.description).to_ascii_lowercase();
    let ranges: Vec<Range<'_>> = search
        .attributes
        .iter()
        .filter_map(|wanted| Range::read(wanted))
        .filter(|range| range.kind == kind)
        .collect();
    if !ranges.is_empty() {
        return ranges.iter().filter_map(|range| range.of(held, max)).collect();
    }
    match is_selected {
        false => Vec::new(),
        true if held.values.len() <= max || search.types_only => vec![held.shown(search.types_only)],
        true => {
            let all = Range { kind: &kind, first: 0, last: None };
            let plain = (held.description.clone(), Vec::new());
            std::iter::once(plain).chain(all.of(held, max)).collect()
        }
    }
}

impl<'a> Range<'a> {
    fn read(wanted: &'a str) -> Option<Self> {
        let (kind, range) = wanted.split_once(";range=")?;
        let (first, last) = range.split_once('-')?;
        let last = if last == "*" { None } else { Some(last.parse().ok()?) };
        Some(Self { kind, first: first.parse().ok()?, last })
    }

    /// The values, named by their range; nothing where there are none so far up.
    fn of(&self, held: &Held, max: usize) -> Option<(String, Vec<Vec<u8>>)> {
        let end = held.values.len().checked_sub(1)?;
        let last = self.last.unwrap_or(end).min(self.first + max - 1).min(end);
        let values = held.values.get(self.first..=last).filter(|values| !values.is_empty())?.to_vec();
        let upper = if last == end { "*".to_owned() } else { last.to_string() };
        Some((format!("{};range={}-{upper}", held.description, self.first), values))
    }
}
