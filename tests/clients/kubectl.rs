//! `kubectl`, unmodified, in each version that this machine has.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;

/// The oldest minor version that is tried: `auth whoami` of those before asks for versions of an API that was never stable.
const OLDEST: u32 = 28;

/// A kubectl with a person's credentials, and a home of its own.
#[derive(Clone)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    home: PathBuf,
}

/// What it printed.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// Every kubectl of this machine that is new enough, the newest last. On some machines `kubectl` is one of several real
/// ones, which lie beside the file that the command is.
pub static KUBECTLS: LazyLock<Vec<PathBuf>> = LazyLock::new(|| {
    let found = Command::new("sh").args(["-c", "command -v kubectl"]).output().unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    assert!(!found.trim().is_empty(), "kubectl is not installed: `./test --all` says how to get it");
    let real = Path::new(found.trim()).canonicalize().unwrap();
    let beside = std::fs::read_dir(real.parent().unwrap()).unwrap();
    let mut versions: Vec<(u32, PathBuf)> = beside
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            Some((minor(&path)?, path))
        })
        .filter(|(minor, _)| *minor >= OLDEST)
        .collect();
    versions.sort();
    if versions.is_empty() { vec![real] } else { versions.into_iter().map(|(_, path)| path).collect() }
});

/// The minor version of a kubectl that has it in its name.
pub fn minor(program: &Path) -> Option<u32> {
    program.file_name()?.to_str()?.strip_prefix("kubectl.1.")?.parse().ok()
}

impl Kubectl {
    /// The newest.
    pub fn new(kubeconfig: PathBuf, home: PathBuf) -> Self {
        Self { program: KUBECTLS.last().unwrap().clone(), kubeconfig, home }
    }

    /// The same in another version.
    pub fn by(&self, program: &Path) -> Self {
        // What one version cached must not hide what another asks for.
        let home = self.home.join(format!("home-of-{}", program.file_name().unwrap().display()));
        std::fs::create_dir_all(&home).unwrap();
        Self { program: program.to_owned(), home, ..self.clone() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(arguments);
        command.env_clear().env("HOME", &self.home).env("PATH", "/usr/bin:/bin");
        command
    }

    /// Runs it, with this for its input.
    pub fn with_input(&self, arguments: &[&str], input: &str) -> Ran {
        let mut command = self.command(arguments);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let _written = child.stdin.take().unwrap().write_all(input.as_bytes());
        Ran::of(child.wait_with_output().unwrap())
    }

    /// Runs it with this for its editor.
    pub fn edited(&self, editor: &Path, arguments: &[&str]) -> Ran {
        let mut command = self.command(arguments);
        Ran::of(command.env("KUBE_EDITOR", editor).stdin(Stdio::null()).output().unwrap())
    }

    /// Runs it to its end, however that is.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.with_input(arguments, "")
    }

    /// Runs what has to succeed, and gives what it printed.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "kubectl {}: {ran:#?}", arguments.join(" "));
        ran.out
    }

    /// Runs what has to be refused, and gives what it complained.
    pub fn refused(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_ne!(ran.code, 0, "kubectl {}: {ran:#?}", arguments.join(" "));
        ran.err
    }

    /// Creates what this manifest says.
    pub fn create(&self, manifest: &str, more: &[&str]) -> Ran {
        self.with_input(&[&["create", "-f", "-"], more].concat(), manifest)
    }

    pub fn raw(&self, path: &str) -> String {
        self.ok(&["get", "--raw", path])
    }

    /// Starts it and lets it run; ended when dropped.
    pub fn spawn(&self, arguments: &[&str], output: &Path) -> Running {
        let output = std::fs::File::create(output).unwrap();
        let process = self
            .command(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Running(process)
    }
}

impl Ran {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// A kubectl that runs. Ended when dropped.
pub struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// A pod.
pub fn pod(namespace: &str, name: &str, labels: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}, labels: {labels}}}\n\
         spec: {{containers: [{{name: web, image: registry.example.com/web:1}}]}}\n"
    )
}
