//! The lines of the latest changes, each written once for all who watch: with many of them, writing the same object for
//! each would be most of the work.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// How many lines are kept at most. Who is further behind than that writes their own.
const MAX_LINES: usize = 256;

/// How large they are at most together, in bytes; one of any size is kept.
const MAX_LINES_BYTES: usize = 8 << 20;

/// Which line: the version of the change, which no other change has, and its kind (`ADDED`, `MODIFIED`, `DELETED`), since
/// what is a change to one may be new to another, by their selectors. Objects alone: who wants tables or metadata is few.
type Key = (u64, &'static str);

/// The latest lines.
#[derive(Debug, Default)]
pub(super) struct SharedLines(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    lines: HashMap<Key, Bytes>,
    /// The oldest first.
    order: VecDeque<Key>,
    bytes: usize,
}

impl SharedLines {
    /// The line of this change, which is written if nobody has yet.
    pub(super) fn line(&self, version: u64, kind: &'static str, write: impl FnOnce() -> String) -> Bytes {
        let key = (version, kind);
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = kept.lines.get(&key) {
            return line.clone();
        }
        // Not while others wait: two may write the same one, once in a while.
        drop(kept);
        let line = Bytes::from(write());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keep(key, &line);
        line
    }
}

impl Kept {
    fn keep(&mut self, key: Key, line: &Bytes) {
        if self.lines.insert(key, line.clone()).is_some() {
            return;
        }
        self.order.push_back(key);
        self.bytes = self.bytes.saturating_add(line.len());
        while self.order.len() > 1 && (self.order.len() > MAX_LINES || self.bytes > MAX_LINES_BYTES) {
            let oldest = self.order.pop_front().and_then(|oldest| self.lines.remove(&oldest));
            self.bytes = self.bytes.saturating_sub(oldest.map_or(0, |line| line.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_written_once_for_each_version_and_kind() {
        let lines = SharedLines::default();
        assert_eq!(lines.line(1, "ADDED", || "one".into()), "one");
        assert_eq!(lines.line(1, "ADDED", || "written again".into()), "one");
        assert_eq!(lines.line(1, "MODIFIED", || "another".into()), "another");
        assert_eq!(lines.line(2, "ADDED", || "two".into()), "two");
    }

    #[test]
    fn no_more_lines_are_kept_than_may_be() {
        let lines = SharedLines::default();
        for version in 0..1_000 {
            let _line = lines.line(version, "ADDED", || "x".into());
        }
        assert_eq!(lines.0.lock().unwrap().lines.len(), MAX_LINES);
        assert_eq!(lines.line(0, "ADDED", || "again".into()), "again", "the oldest are gone");
        for version in 1_000..1_010 {
            let _line = lines.line(version, "ADDED", || "x".repeat(MAX_LINES_BYTES / 2));
        }
        let kept = lines.0.lock().unwrap();
        assert_eq!((kept.lines.len(), kept.order.len(), kept.bytes), (2, 2, MAX_LINES_BYTES));
    }
}
