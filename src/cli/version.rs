//! `bailiwick version`.

use super::{Exit, Failure, Output, say, say_json};
use crate::telemetry::build;

/// Version, commit and build.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// How to write it.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    match arguments.output {
        Output::Text => say(&format!(
            "bailiwick {} (commit {}, {profile}, tzdata {})\n",
            build::VERSION,
            build::COMMIT,
            build::tzdata()
        ))?,
        Output::Json => say_json(&serde_json::json!({
            "version": build::VERSION,
            "commit": build::COMMIT,
            "profile": profile,
            "tzdata": build::tzdata(),
        }))?,
    }
    Ok(Exit::Success)
}
