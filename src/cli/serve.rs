//! `bailiwick serve`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};

use super::service::Service;
use super::{Exit, Failure, runtime};
use crate::config::Configuration;
use crate::document::Source;
use crate::telemetry::{Metrics, log};

/// Run the webhook service.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let configuration = read_configuration(&arguments.config)?;
    log::init(&configuration.log).map_err(Failure::invalid)?;
    let metrics = Metrics::new().map_err(Failure::operational)?;
    let runtime = runtime()?;
    // Before anything is served: a signal that comes while we start is not to be lost.
    let mut signals = runtime.block_on(async { Signals::new() })?;
    let service = Service::start(configuration, &metrics, Arc::new(Timestamp::now), &runtime)?;
    tracing::info!(
        webhook = %service.webhook.address,
        admin = %service.admin.address,
        revision = %service.authorizer.revision(),
        "serving"
    );
    runtime.block_on(async {
        signals.next().await;
        tracing::info!("stopping");
        tokio::select! {
            () = service.stop() => tracing::info!("stopped"),
            () = signals.next() => tracing::warn!("stopped at once"),
        }
    });
    Ok(Exit::Success)
}

/// Reads and checks a configuration file.
pub(super) fn read_configuration(path: &Path) -> Result<Configuration, Failure> {
    Configuration::read(configuration_source(path)?).map_err(Failure::diagnostics)
}

/// A configuration file as it is.
pub(super) fn configuration_source(path: &Path) -> Result<Source, Failure> {
    let shown = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| Failure::operational(format!("{shown}: {error}")))?;
    Ok(Source::new(shown, bytes))
}

/// SIGTERM and SIGINT.
pub(super) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    /// Catches them from now on. Must be called within a runtime.
    pub(super) fn new() -> Result<Self, Failure> {
        let catch = |kind| signal(kind).map_err(|error| Failure::operational(format!("no signals: {error}")));
        Ok(Self { terminate: catch(SignalKind::terminate())?, interrupt: catch(SignalKind::interrupt())? })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
