//! Samba's processes.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use super::PACKAGES;
use crate::processes::{self, program};

/// How long Samba may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much of its log a failure shows, in bytes.
const LOG_TAIL: usize = 2000;

/// A Samba that was started, with everything that it started.
pub(super) struct Process {
    child: Child,
    /// Samba ends when this does: also when the test process is killed.
    input: ChildStdin,
    log: PathBuf,
    started: Instant,
}

impl Process {
    pub(super) fn start(configuration: &Path, log: &Path) -> Self {
        let output = File::options().create(true).append(true).open(log).unwrap();
        let child = Command::new(program("samba", PACKAGES))
            .args(["--interactive", "--no-process-group", "--model=single", "--debug-stdout", "-d", "1"])
            .arg(format!("--configfile={}", configuration.display()))
            .stdin(Stdio::piped())
            .stderr(output.try_clone().unwrap())
            .stdout(output)
            .spawn();
        let mut child = child.unwrap();
        let input = child.stdin.take().unwrap();
        Self { child, input, log: log.to_owned(), started: Instant::now() }
    }

    /// Waits a little for it to start. An error, with the end of its log, where it will not any more.
    pub(super) fn may_still_start(&mut self) -> Result<(), String> {
        std::thread::sleep(Duration::from_millis(5));
        let ended = self.child.try_wait().unwrap();
        if ended.is_none() && self.started.elapsed() < PATIENCE {
            return Ok(());
        }
        let log = std::fs::read(&self.log).unwrap();
        let tail = &log[log.len().saturating_sub(LOG_TAIL)..];
        Err(format!(
            "{}: {}",
            if ended.is_some() { "it ended" } else { "it hangs" },
            String::from_utf8_lossy(tail)
        ))
    }

    pub(super) fn freeze(&self) {
        self.all().for_each(processes::freeze);
    }

    pub(super) fn thaw(&self) {
        self.all().for_each(processes::thaw);
    }

    /// Lets it end in order; kills it where it does not.
    pub(super) fn stop(mut self) {
        let all: Vec<u32> = self.all().collect();
        drop(self.input);
        let until = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        end(self.child, &all);
    }

    pub(super) fn kill(self) {
        let all: Vec<u32> = self.all().collect();
        end(self.child, &all);
    }

    /// Its process, and those below it.
    fn all(&self) -> impl Iterator<Item = u32> + use<> {
        let mut all = vec![self.child.id()];
        let mut read = 0;
        while read < all.len() {
            all.extend(children(all[read]));
            read += 1;
        }
        all.into_iter()
    }
}

/// Kills what is left, and sees to it that nothing is.
fn end(mut child: Child, all: &[u32]) {
    // An error is that it has ended.
    let _ = child.kill();
    child.wait().unwrap();
    let until = Instant::now() + PATIENCE;
    // Samba's processes end when the first one has.
    while let Some(left) = all.iter().find(|process| Path::new(&format!("/proc/{process}")).exists()) {
        assert!(Instant::now() < until, "process {left} of a Samba that was killed is left");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Of each of its threads; proc(5).
fn children(process: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = tasks.map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default());
    lists
        .flat_map(|list| list.split_whitespace().map(|id| id.parse().unwrap()).collect::<Vec<u32>>())
        .collect()
}

/// Whether this process may listen on any port.
pub(super) fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
    // Real, effective, saved, of the file system.
    ids.split_whitespace().nth(1) == Some("0")
}
