//! `bailiwick healthcheck`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::admin::Door;
use super::serve::read_configuration;
use super::{Exit, Failure, runtime, say};

/// Ask the running service whether it is ready: the health check of a container.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The configuration file of the service.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// How long the service may take.
const DEADLINE: Duration = Duration::from_secs(2);

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let Door { url, client } = Door::of(&read_configuration(&arguments.config)?.admin, "healthcheck")?;
    let url = format!("{url}/readyz?verbose");
    let answer = runtime()?
        .block_on(client.get(&url, Instant::now() + DEADLINE))
        .map_err(|error| Failure::operational(format!("{url}: {error}")))?;
    say(&format!("{}\n", String::from_utf8_lossy(&answer.body).trim_end()))?;
    if answer.status.is_success() {
        Ok(Exit::Success)
    } else {
        Err(Failure::operational(format!("not ready: HTTP {}", answer.status.as_u16())))
    }
}
