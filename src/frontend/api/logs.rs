//! What pods have to say. There are no containers, so that it is what happened to the pod, and who did it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;

/// How many lines are kept of one pod.
pub const MAX_LINES: usize = 500;

/// How many pods have a log; of further ones nothing is noted.
pub const MAX_LOGS: usize = 10_000;

/// How long a line is at most, in bytes: it names a user, who may have a long name.
const MAX_LINE_BYTES: usize = 512;

/// The logs of pods, by UID.
#[derive(Debug, Default)]
pub struct Logs(Mutex<HashMap<String, Log>>);

#[derive(Debug)]
struct Log {
    lines: VecDeque<Line>,
    /// The number of the latest line, for who follows; they are told of the end by its being gone.
    latest: watch::Sender<u64>,
}

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Lines are numbered from 1.
    pub number: u64,
    /// When it was written.
    pub time: Timestamp,
    /// What it says, without its end.
    pub text: String,
}

impl Logs {
    /// Writes a line into the log of a pod.
    pub fn note(&self, uid: &str, time: Timestamp, mut text: String) {
        text.truncate(text.floor_char_boundary(MAX_LINE_BYTES));
        let mut logs = self.lock();
        if logs.len() >= MAX_LOGS && !logs.contains_key(uid) {
            return;
        }
        let log = logs
            .entry(uid.to_owned())
            .or_insert_with(|| Log { lines: VecDeque::new(), latest: watch::Sender::new(0) });
        let number = log.latest.borrow().saturating_add(1);
        log.lines.push_back(Line { number, time, text });
        if log.lines.len() > MAX_LINES {
            log.lines.pop_front();
        }
        log.latest.send_replace(number);
    }

    /// Ends the log of a pod that is gone.
    pub fn end(&self, uid: &str) {
        self.lock().remove(uid);
    }

    /// The lines of a pod after one of them, or all after 0.
    #[must_use]
    pub fn after(&self, uid: &str, number: u64) -> Vec<Line> {
        let logs = self.lock();
        let lines = logs.get(uid).map(|log| log.lines.iter());
        lines.into_iter().flatten().filter(|line| line.number > number).cloned().collect()
    }

    /// Whoever wants to know when a pod's log grows; `None` where it has none.
    #[must_use]
    pub fn follow(&self, uid: &str) -> Option<watch::Receiver<u64>> {
        self.lock().get(uid).map(|log| log.latest.subscribe())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Log>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_follows_is_told_of_each_line_and_of_the_end() {
        let logs = Logs::default();
        assert!(logs.follow("a").is_none());
        logs.note("a", Timestamp::UNIX_EPOCH, "one".into());
        let mut follower = logs.follow("a").unwrap();
        logs.note("a", Timestamp::UNIX_EPOCH, "two".into());
        follower.changed().await.unwrap();
        let texts: Vec<String> = logs.after("a", 1).into_iter().map(|line| line.text).collect();
        assert_eq!(texts, ["two"]);
        logs.end("a");
        assert!(follower.changed().await.is_err());
        assert!(logs.after("a", 0).is_empty());
    }

    #[test]
    fn a_line_is_no_longer_than_one_reads() {
        let logs = Logs::default();
        logs.note("a", Timestamp::UNIX_EPOCH, "\u{e4}".repeat(MAX_LINE_BYTES));
        assert_eq!(logs.after("a", 0)[0].text.len(), MAX_LINE_BYTES);
    }

    #[test]
    fn old_lines_make_room_for_new_ones() {
        let logs = Logs::default();
        for nth in 0..=MAX_LINES {
            logs.note("a", Timestamp::UNIX_EPOCH, nth.to_string());
        }
        let lines = logs.after("a", 0);
        assert_eq!((lines.len(), &*lines[0].text), (MAX_LINES, "1"));
    }
}
