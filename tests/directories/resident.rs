//! What a process holds of the machine, by proc(5).

use std::fs;

/// Threads for what blocks, such as reading files, come and go: they stay for ten idle seconds (tokio's default).
pub const PASSING_THREADS: u64 = 2;

/// What a process holds at one instant.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    /// Memory, in KiB.
    pub memory: u64,
    pub files: usize,
    pub threads: u64,
}

impl Held {
    pub fn by(process: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let field = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        Self {
            memory: field("VmRSS:"),
            files: fs::read_dir(format!("/proc/{process}/fd")).unwrap().count(),
            threads: field("Threads:"),
        }
    }

    /// In MiB.
    pub fn mebibytes(&self) -> f64 {
        self.memory as f64 / 1024.0
    }
}
