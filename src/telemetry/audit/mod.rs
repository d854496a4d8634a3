//! Audit lines: one a decision, written by a thread of its own, so that a slow sink never slows a decision.

mod line;

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use prometheus::IntCounter;

use crate::model::{Outcome, Request, SourceAddress};
use line::Line;

/// How many lines may wait for the sink.
const MAX_WAITING_LINES: usize = 8_192;

/// How much text may wait for the sink, in bytes.
const MAX_WAITING_BYTES: usize = 32 * 1024 * 1024;

/// After how much text a batch is handed to the sink though more lines are waiting, in bytes.
const BATCH_BYTES: usize = 64 * 1024;

/// How often a flush looks for room in a full buffer.
const FLUSH_POLL: Duration = Duration::from_millis(5);

/// Where audit lines go, and whether there are any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The file, which is appended to; `-` is the standard output.
    pub path: PathBuf,
    /// What is written.
    pub level: Level,
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Nothing.
    Off,
    /// One line a decision.
    Decisions,
}

/// One decision, with what led to it. Values of `extra` are never written, since some authenticators put tokens there;
/// long texts and lists are cut.
#[derive(Debug, Clone)]
pub struct Record {
    /// For when it was decided: the circumstances' time.
    pub time: Timestamp,
    /// The cluster that asked.
    pub cluster: Option<Arc<str>>,
    /// The source address, as far as it was believed.
    pub source: SourceAddress,
    /// What was asked.
    pub request: Request,
    /// What was answered.
    pub outcome: Outcome,
    /// What decided, as in `decisions_total{cause}`.
    pub cause: &'static str,
    /// What the user was told.
    pub reason: String,
    /// What was unknown.
    pub evaluation_error: String,
    /// The names of the policies that made the decision.
    pub policies: Vec<Arc<str>>,
    /// What the decision would be with all shadow policies enforced (`unknown` where that rests on facts that are not
    /// held); `None` where there are none.
    pub would: Option<&'static str>,
    /// The facts that were used; `None` where none were asked for or none could be had.
    pub facts: Option<FactsUsed>,
    /// The revision of the policy set.
    pub revision: Arc<str>,
    /// Until when the decision holds by itself; `None` where time alone does not change it.
    pub valid_until: Option<Timestamp>,
    /// What it took.
    pub durations: Durations,
}

/// The state of the facts that a decision used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FactsUsed {
    /// How old they were.
    pub age: Duration,
    /// Whether they were stale, so that they could not allow.
    pub stale: bool,
    /// Whether there may be more groups than they list.
    pub partial: bool,
    /// Whether a change feed tells of every change to them.
    pub followed: bool,
}

/// How long the stages of a review took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Durations {
    /// All of it.
    pub total: Duration,
    /// Getting facts; zero where none were needed.
    pub facts: Duration,
    /// Planning and deciding.
    pub evaluate: Duration,
}

/// Takes records, and writes them in order.
#[derive(Debug)]
pub struct Audit {
    writer: Option<Writer>,
}

#[derive(Debug)]
struct Writer {
    sender: SyncSender<Message>,
    waiting_bytes: Arc<AtomicUsize>,
    next: AtomicUsize,
    process: u64,
    dropped: IntCounter,
}

enum Message {
    Line(Box<Line>),
    Flush(SyncSender<()>),
}

impl Audit {
    /// Opens the sink and starts the thread that writes to it. `dropped` is `audit_dropped_total`.
    ///
    /// # Errors
    /// Where the file cannot be opened for appending, or no thread started.
    pub fn start(settings: &Settings, dropped: IntCounter) -> io::Result<Self> {
        match settings.level {
            Level::Off => Ok(Self::off()),
            Level::Decisions if settings.path.as_os_str() == "-" => {
                Self::writing_to(Box::new(io::stdout()), dropped)
            }
            Level::Decisions => {
                let file =
                    std::fs::OpenOptions::new().append(true).create(true).mode(0o640).open(&settings.path)?;
                Self::writing_to(Box::new(file), dropped)
            }
        }
    }

    /// Writes nothing.
    #[must_use]
    pub fn off() -> Self {
        Self { writer: None }
    }

    /// Whether records are written, so that none need be made otherwise.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.writer.is_some()
    }

    fn writing_to(sink: Box<dyn Write + Send>, dropped: IntCounter) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(MAX_WAITING_LINES);
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let mut process = [0; 8];
        getrandom::fill(&mut process).map_err(io::Error::other)?;
        let sink = Sink {
            sink,
            waiting_bytes: Arc::clone(&waiting_bytes),
            dropped: dropped.clone(),
            failing: false,
        };
        std::thread::Builder::new().name("audit".to_owned()).spawn(move || sink.run(&receiver))?;
        let process = u64::from_ne_bytes(process);
        let writer = Writer { sender, waiting_bytes, next: AtomicUsize::new(1), process, dropped };
        Ok(Self { writer: Some(writer) })
    }

    /// Hands a record to the writer; where too many are waiting, counts it as dropped. Never waits.
    ///
    /// A line's id is of this process and in the order of calls, so that a gap shows a dropped line.
    pub fn record(&self, record: Record) {
        let Some(writer) = &self.writer else { return };
        let sequence = writer.next.fetch_add(1, Ordering::Relaxed);
        let line = Box::new(Line::new(writer.process, sequence, record));
        let size = line.size();
        let waiting = writer.waiting_bytes.fetch_add(size, Ordering::Relaxed);
        if waiting + size > MAX_WAITING_BYTES || writer.sender.try_send(Message::Line(line)).is_err() {
            writer.waiting_bytes.fetch_sub(size, Ordering::Relaxed);
            writer.dropped.inc();
        }
    }

    /// Waits, at most this long, until everything recorded so far is written. Returns whether it is. Blocks the thread.
    pub fn flush(&self, within: Duration) -> bool {
        let Some(writer) = &self.writer else { return true };
        let until = Instant::now() + within;
        let (done, wait) = sync_channel(1);
        let mut message = Message::Flush(done);
        loop {
            match writer.sender.try_send(message) {
                Ok(()) => break,
                Err(TrySendError::Full(back)) if Instant::now() < until => message = back,
                Err(_) => return false,
            }
            std::thread::sleep(FLUSH_POLL);
        }
        wait.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok()
    }
}

/// The writing end, in its own thread.
struct Sink {
    sink: Box<dyn Write + Send>,
    waiting_bytes: Arc<AtomicUsize>,
    dropped: IntCounter,
    failing: bool,
}

impl Sink {
    /// Writes until there is nobody left who could record anything.
    fn run(mut self, receiver: &Receiver<Message>) {
        let mut batch = Vec::with_capacity(BATCH_BYTES);
        while let Ok(first) = receiver.recv() {
            let mut lines = 0;
            let mut asked = None;
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Line(line) => {
                        self.waiting_bytes.fetch_sub(line.size(), Ordering::Relaxed);
                        line.write(&mut batch);
                        lines += 1;
                    }
                    Message::Flush(done) => asked = Some(done),
                }
                next = if batch.len() < BATCH_BYTES && asked.is_none() {
                    receiver.try_recv().ok()
                } else {
                    None
                };
            }
            self.write(&batch, lines);
            batch.clear();
            if let Some(done) = asked {
                let _ = done.try_send(());
            }
        }
    }

    /// Writes a batch. A failure is logged when it begins and when it ends, and counted by the line.
    fn write(&mut self, batch: &[u8], lines: u64) {
        if lines == 0 {
            return;
        }
        // What a failed write left behind may be half a line.
        let separated = if self.failing { self.sink.write_all(b"\n") } else { Ok(()) };
        match separated.and_then(|()| self.sink.write_all(batch)).and_then(|()| self.sink.flush()) {
            Ok(()) if self.failing => {
                self.failing = false;
                tracing::info!("audit lines are written again");
            }
            Ok(()) => {}
            Err(error) => {
                self.dropped.inc_by(lines);
                if !self.failing {
                    tracing::error!(%error, "audit lines cannot be written");
                }
                self.failing = true;
            }
        }
    }
}

#[cfg(test)]
mod tests;
