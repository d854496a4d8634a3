//! The log: `tracing` events to the standard error, as JSON lines or as text.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// How the log is written, and how much of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How it is written.
    pub format: Format,
    /// How much: a level, and after it, if need be, other levels for some modules, as in `info,bailiwick::directory=debug`.
    pub level: String,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For people; with colours only on a terminal.
    Text,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is none.
    #[error("`{0}` is no level: off, error, warn, info, debug or trace, and then module=level")]
    Level(String),
    /// The process has a log already.
    #[error("the process has a log already")]
    Twice(#[source] TryInitError),
}

/// Starts the log of this process.
///
/// # Errors
/// Where the level is none, or the log was started before.
pub fn init(settings: &Settings) -> Result<(), LogError> {
    let filter = filter(&settings.level)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.format {
        Format::Json => builder.json().flatten_event(true).with_current_span(false).finish().try_init(),
        Format::Text => builder.with_ansi(std::io::stderr().is_terminal()).finish().try_init(),
    }
    .map_err(LogError::Twice)
}

/// Whether a text is a level.
///
/// # Errors
/// Where it is none.
pub fn check(level: &str) -> Result<(), LogError> {
    filter(level).map(drop)
}

/// A filter. `EnvFilter` takes a misspelt level for the name of a module, and then logs nothing at all.
fn filter(level: &str) -> Result<EnvFilter, LogError> {
    let wrong = || LogError::Level(level.to_owned());
    let is_level = |text: &str| ["off", "error", "warn", "info", "debug", "trace"].contains(&text);
    let mut directives = level.split(',');
    if !directives.next().is_some_and(is_level) {
        return Err(wrong());
    }
    if !directives
        .all(|each| each.split_once('=').is_some_and(|(module, level)| !module.is_empty() && is_level(level)))
    {
        return Err(wrong());
    }
    EnvFilter::try_new(level).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_level_is_refused() {
        for level in ["info", "off", "warn,bailiwick::directory=debug", "info,ldap3=error,h2=off"] {
            assert!(filter(level).is_ok(), "{level}");
        }
        for level in [
            "",
            "infoo",
            "INFO!",
            "bailiwick=debug",
            "info,debug",
            "info,ldap3=loud",
            "info,=warn",
            "info, h2=off",
        ] {
            assert!(filter(level).is_err(), "{level}");
        }
    }
}
