//! A directory for tests without a network: entries in memory.

use std::sync::{Arc, Mutex};

use super::LookupError;
use super::about::About;
use super::conn::{Cut, Found, Query, ServerId};
use super::entry::Entry;
use super::resolve::Search;
use crate::model::Dn;

/// Entries, searched as a directory would: by the equalities in a filter, any of which is enough.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) entries: Vec<Entry>,
    /// The server's own limit on results.
    pub(super) limit: Option<usize>,
    pub(super) asked: Mutex<Vec<Query>>,
}

impl Memory {
    pub(super) fn new(entries: &[(&str, &[(&str, &str)])]) -> Self {
        let entries = entries.iter().map(|(dn, attributes)| Entry::of(dn, attributes)).collect();
        Self { entries, ..Self::default() }
    }

    fn matches(entry: &Entry, filter: &str) -> bool {
        filter.split(['(', ')']).filter_map(|part| part.split_once('=')).any(|(attribute, value)| {
            let value = unescape(value);
            let same = |found: &&str| {
                found.eq_ignore_ascii_case(&value)
                    || matches!((Dn::parse(found), Dn::parse(&value)), (Ok(found), Ok(value)) if found == value)
            };
            attribute != "objectClass" && entry.texts(&attribute.to_ascii_lowercase()).unwrap().iter().any(same)
        })
    }
}

fn unescape(value: &str) -> String {
    ["\\28", "\\29", "\\2a", "\\5c"]
        .iter()
        .zip(["(", ")", "*", "\\"])
        .fold(value.to_owned(), |text, (code, c)| text.replace(code, c))
}

impl Search for Memory {
    async fn search(&self, query: Query) -> Result<Found, LookupError> {
        let found = self.entries.iter().filter(|entry| Self::matches(entry, &query.filter));
        let mut entries: Vec<Entry> = found.cloned().collect();
        let mut cut = None;
        if entries.len() > query.limit {
            entries.truncate(query.limit);
            cut = Some(Cut::ByUs);
        }
        if let Some(limit) = self.limit.filter(|limit| entries.len() > *limit) {
            entries.truncate(limit);
            cut = Some(Cut::ByServer(super::ResultCode::SIZE_LIMIT));
        }
        self.asked.lock().unwrap().push(query);
        Ok(Found { entries, cut, server: ServerId::new("memory".into()), pages: 0 })
    }

    async fn about(&self) -> Result<Arc<About>, LookupError> {
        Ok(Arc::default())
    }
}
