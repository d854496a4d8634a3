//! A running `bailiwick demo`, whose folder has all that its users need.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::kubectl::Kubectl;
use super::processes::run;

/// Longer than anything here takes that does not hang.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The demo. Ended when dropped.
pub struct Demo {
    process: Child,
    folder: tempfile::TempDir,
}

impl Demo {
    /// Starts it, and waits until it says what to try.
    pub fn start() -> Self {
        Self::start_by(&[])
    }

    /// The same with these variables in its environment.
    pub fn start_by(environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let output = std::fs::File::create(folder.path().join("output")).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_bailiwick"))
            .arg("demo")
            .arg("--dir")
            .arg(folder.path())
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let mut demo = Self { process, folder };
        let until = Instant::now() + PATIENCE;
        while !demo.output().contains("runs until Ctrl-C") {
            assert!(demo.process.try_wait().unwrap().is_none(), "it ended: {}", demo.output());
            assert!(Instant::now() < until, "it does not start: {}", demo.output());
            std::thread::sleep(Duration::from_millis(20));
        }
        demo
    }

    /// What it printed.
    pub fn output(&self) -> String {
        std::fs::read_to_string(self.path("output")).unwrap()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces a text in one of its files, as an editor does: by another file in its place.
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "{name} has no {from:?}");
        let other = self.path(&format!("{name}.new"));
        std::fs::write(&other, text.replacen(from, to, 1)).unwrap();
        std::fs::rename(other, self.path(name)).unwrap();
    }

    /// A kubectl for one of the demo's people.
    pub fn kubectl(&self, person: &str) -> Kubectl {
        Kubectl::new(self.path(&format!("kubeconfigs/{person}.yaml")), self.path(""))
    }

    /// The front end's address, as `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        let config = std::fs::read_to_string(self.path("kubeconfigs/admin.yaml")).unwrap();
        let server = config.lines().find_map(|line| line.trim().strip_prefix("server: ")).unwrap();
        server.to_owned()
    }

    /// curl that trusts the demo's authority; the arguments, then the path.
    pub fn curl(&self, arguments: &[&str], path: &str) -> Curled {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.url()) };
        let ca = self.path("ca.pem");
        let output = run(Command::new("curl")
            .args(["--silent", "--show-error", "--path-as-is", "--max-time", "30"])
            .args(["--write-out", "\n%{http_code}", "--cacert"])
            .arg(ca)
            .args(arguments)
            .arg(url));
        let (body, code) = output.rsplit_once('\n').unwrap();
        Curled { code: code.parse().unwrap(), body: body.to_owned() }
    }

    /// The last journey of which this is true, as its JSON.
    pub fn journey(&self, is_it: impl Fn(&Value) -> bool) -> Value {
        let all = self.kubectl("admin").raw("/debug/journeys");
        let all: Value = serde_json::from_str(&all).unwrap();
        let found = all["items"].as_array().unwrap().iter().find(|journey| is_it(journey)).cloned();
        found.unwrap_or_else(|| panic!("no such journey: {all:#}"))
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// What curl was answered.
#[derive(Debug)]
pub struct Curled {
    pub code: u16,
    pub body: String,
}

impl Curled {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// The name and outcome of each stage of a journey.
pub fn stages(journey: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let stages = journey["stages"].as_array().unwrap().iter();
    stages.map(|stage| (text(&stage["name"]), text(&stage["outcome"]))).collect()
}

/// Tries until it is true.
pub fn eventually(what: &str, mut is_it: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_it() {
        assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
