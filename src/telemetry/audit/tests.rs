//! Audit lines against sinks that are memory, full, or stuck.

use std::sync::mpsc::channel;
use std::sync::{Condvar, Mutex};

use serde_json::{Value, json};

use super::*;
use crate::model::{Action, Decision, NonResourceAction, ResourceAction, Subject};

const LONG: Duration = Duration::from_secs(20);

fn record(user: &str) -> Record {
    Record {
        time: Timestamp::from_second(1_767_225_600).unwrap(),
        cluster: Some("prod-1".into()),
        source: SourceAddress::Known([10, 1, 2, 3].into()),
        request: Request {
            subject: Subject { user: user.to_owned(), groups: vec!["eng".to_owned()], ..Subject::default() },
            action: Action::NonResource(NonResourceAction {
                verb: "get".to_owned(),
                path: "/metrics".to_owned(),
            }),
        },
        outcome: Outcome::Decided(Decision::Deny),
        cause: "policy",
        reason: "not now".to_owned(),
        evaluation_error: String::new(),
        policies: vec!["freeze".into()],
        would: None,
        facts: Some(FactsUsed {
            age: Duration::from_millis(1500),
            stale: false,
            partial: false,
            followed: false,
        }),
        revision: "r1".into(),
        valid_until: None,
        durations: Durations { total: Duration::from_micros(42), ..Durations::default() },
    }
}

fn dropped() -> IntCounter {
    IntCounter::new("dropped", "dropped").unwrap()
}

/// What `audit` wrote of these records into a file.
fn lines(records: Vec<Record>) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { path: folder.path().join("audit.jsonl"), level: Level::Decisions };
    let audit = Audit::start(&settings, dropped()).unwrap();
    records.into_iter().for_each(|record| audit.record(record));
    assert!(audit.flush(LONG));
    std::fs::read_to_string(settings.path).unwrap().lines().map(str::to_owned).collect()
}

fn line(record: Record) -> Value {
    let line = lines(vec![record]).remove(0);
    serde_json::from_str(&line).unwrap()
}

#[test]
fn a_decision_is_one_json_line() {
    let mut line = line(record("alice"));
    let id = line["id"].take();
    assert!(id.as_str().unwrap().ends_with("-1"), "{id}");
    assert_eq!(
        line,
        json!({"id": null, "time": "2026-01-01T00:00:00Z", "cluster": "prod-1", "sourceAddress": "10.1.2.3",
            "user": "alice", "groups": ["eng"], "groupCount": 1,
            "nonResourceAttributes": {"verb": "get", "path": "/metrics"}, "decision": "Deny", "cause": "policy",
            "reason": "not now", "policies": ["freeze"], "facts": {"ageSeconds": 1.5, "stale": false, "partial": false, "followed": false},
            "revision": "r1", "durationMicros": {"total": 42, "facts": 0, "evaluate": 0}})
    );
}

#[test]
fn nothing_in_a_line_controls_a_terminal_or_ends_it() {
    let user = "a\n\u{1b}[31m\u{7f}\u{9b}\u{202e}\u{2028}\"é";
    let line = lines(vec![record(user)]).remove(0);
    assert!(line.contains(r#""user":"a\n\u001b[31m\u007f\u009b\u202e\u2028\"é""#), "{line}");
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["user"], user);
}

#[test]
fn long_texts_and_lists_are_cut() {
    let mut long = record(&"é".repeat(5_000));
    long.request.subject.groups = (0..500).map(|index| index.to_string()).collect();
    let line = line(long);
    assert_eq!(line["user"], format!("{}…", "é".repeat(128)));
    assert_eq!(line["groupCount"], 500);
    assert_eq!(line["groups"].as_array().unwrap().len(), 64);
}

#[test]
fn values_of_extra_are_never_written() {
    let mut secret = record("alice");
    secret.request.subject.extra = [("access-token".to_owned(), vec!["s3cret".to_owned()])].into();
    secret.request.action = Action::Resource(ResourceAction::default());
    let line = lines(vec![secret]).remove(0);
    assert!(line.contains(r#""extraKeys":["access-token"]"#) && !line.contains("s3cret"), "{line}");
}

#[test]
fn lines_stand_in_the_order_of_the_decisions() {
    let ids: Vec<String> = lines((0..100).map(|_| record("alice")).collect())
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned())
        .collect();
    assert!(ids.iter().zip(1..).all(|(id, sequence)| id.ends_with(&format!("-{sequence}"))), "{ids:?}");
}

/// A sink that is stuck until it is let go, and then tells how many bytes it got.
#[derive(Clone, Default)]
struct Stuck(Arc<(Mutex<bool>, Condvar)>);

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (free, changed) = &*self.0;
        let _free = changed.wait_while(free.lock().unwrap(), |free| !*free).unwrap();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_stuck_sink_drops_lines_and_never_waits() {
    let (stuck, dropped) = (Stuck::default(), dropped());
    let audit = Audit::writing_to(Box::new(stuck.clone()), dropped.clone()).unwrap();
    for _ in 0..3 * MAX_WAITING_LINES {
        audit.record(record("alice"));
    }
    assert!(dropped.get() >= MAX_WAITING_LINES as u64);
    assert!(!audit.flush(Duration::from_millis(20)));
    *stuck.0.0.lock().unwrap() = true;
    stuck.0.1.notify_all();
    assert!(audit.flush(LONG));
}

#[test]
fn what_waits_is_bounded_in_bytes_too() {
    let (stuck, dropped) = (Stuck::default(), dropped());
    let audit = Audit::writing_to(Box::new(stuck.clone()), dropped.clone()).unwrap();
    let mut large = record("alice");
    large.request.subject.groups = vec!["g".repeat(250); 64];
    for _ in 0..MAX_WAITING_LINES / 2 {
        audit.record(large.clone());
    }
    assert!(dropped.get() > 0, "half of these lines take more than the bound");
    *stuck.0.0.lock().unwrap() = true;
    stuck.0.1.notify_all();
}

/// A sink that fails while the disk is full.
struct Disk {
    full: Arc<std::sync::atomic::AtomicBool>,
    written: std::sync::mpsc::Sender<Vec<u8>>,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let _ = self.written.send(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn lines_that_a_full_disk_refuses_are_counted_and_later_ones_are_whole() {
    let (full, dropped, (written, read)) = (Arc::new(true.into()), dropped(), channel());
    let disk = Disk { full: Arc::clone(&full), written };
    let audit = Audit::writing_to(Box::new(disk), dropped.clone()).unwrap();
    audit.record(record("alice"));
    assert!(audit.flush(LONG));
    assert_eq!(dropped.get(), 1);
    full.store(false, Ordering::SeqCst);
    audit.record(record("bob"));
    assert!(audit.flush(LONG));
    let text: Vec<u8> = read.try_iter().flatten().collect();
    assert!(text.starts_with(b"\n{") && text.ends_with(b"}\n"), "{text:?}");
    assert_eq!(dropped.get(), 1);
}

#[test]
fn nothing_is_written_when_off() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { path: folder.path().join("audit.jsonl"), level: Level::Off };
    let audit = Audit::start(&settings, dropped()).unwrap();
    audit.record(record("alice"));
    assert!(audit.flush(LONG) && !audit.is_on() && !settings.path.exists());
}
