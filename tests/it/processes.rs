//! Programs that the tests start.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Where a server's programs may be, whatever `PATH` says.
const FOLDERS: [&str; 6] =
    ["/usr/sbin", "/usr/bin", "/sbin", "/usr/local/sbin", "/usr/local/libexec", "/usr/libexec"];
/// How long a stopped process may take to stop.
const PATIENCE: Duration = Duration::from_secs(10);

/// The program with this name. Where there is none, the test fails with the line that installs it.
pub fn program(name: &str, packages: &str) -> PathBuf {
    let found = FOLDERS.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is not installed: apt-get install {packages}"))
}

/// Runs it to its end, and gives what it printed.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let [printed, problems] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(output.status.success(), "{command:?}: {printed}{problems}");
    printed.into_owned()
}

/// Stops a process without ending it (SIGSTOP), and waits until each of its threads is stopped: the signal alone does not.
pub fn freeze(process: u32) {
    signal(process, "-STOP");
    let until = Instant::now() + PATIENCE;
    while !is_frozen(process) {
        assert!(Instant::now() < until, "{process} does not stop");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Lets it go on.
pub fn thaw(process: u32) {
    signal(process, "-CONT");
}

fn signal(process: u32, signal: &str) {
    run(Command::new("kill").args([signal, &process.to_string()]));
}

/// State `T`, after the name in parentheses; proc(5).
fn is_frozen(process: u32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let mut tasks = tasks.map(|task| task.unwrap().path().join("stat"));
    tasks.all(|stat| std::fs::read_to_string(stat).is_ok_and(|text| text.contains(") T ")))
}
