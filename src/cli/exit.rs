//! How a command ends.

use std::process::ExitCode;

use crate::model::Outcome;

/// The exit codes of every command (DESIGN 5). `--help` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done; of `explain`: allowed; of `lookup`: found.
    Success = 0,
    /// Something outside failed: a file, the network, the directory.
    Operational = 1,
    /// The command line is wrong.
    Usage = 2,
    /// `explain`: denied; `lookup`: account state refuses everything.
    Denied = 3,
    /// `explain`: no opinion; `lookup`: not one person of the directory.
    NoOpinion = 4,
    /// An invalid policy or configuration, or a failed test.
    Invalid = 5,
    /// There are differences or findings.
    Findings = 6,
}

/// The table for `--help`.
pub const TABLE: &str = "Exit codes:
  0  success, or allow; of `lookup`: found
  1  operational failure (I/O, network, directory)
  2  usage
  3  denied; of `lookup`: refused by account state
  4  no opinion; of `lookup`: not one person of the directory
  5  invalid policy or configuration, or a failed test
  6  differences or findings";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<Outcome> for Exit {
    fn from(outcome: Outcome) -> Self {
        use crate::model::Decision::{Allow, Deny, NoOpinion};
        match outcome {
            Outcome::Decided(Allow) => Self::Success,
            Outcome::Decided(Deny) => Self::Denied,
            Outcome::Decided(NoOpinion) => Self::NoOpinion,
            Outcome::Unavailable => Self::Operational,
        }
    }
}

/// A command that could not be done: how it ends, and what to say on the standard error.
#[derive(Debug)]
pub struct Failure {
    /// The code.
    pub exit: Exit,
    /// What went wrong and what to do, as it is shown: with `error: ` before it, as diagnostics have it themselves.
    pub message: String,
}

impl Failure {
    /// Something outside failed.
    pub fn operational(what: impl std::fmt::Display) -> Self {
        Self { exit: Exit::Operational, message: format!("error: {what}") }
    }

    /// A policy or the configuration is invalid.
    pub fn invalid(what: impl std::fmt::Display) -> Self {
        Self { exit: Exit::Invalid, message: format!("error: {what}") }
    }

    /// The command line is wrong.
    pub fn usage(what: impl std::fmt::Display) -> Self {
        Self { exit: Exit::Usage, message: format!("error: {what}") }
    }
}
