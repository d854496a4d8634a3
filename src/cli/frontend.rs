//! `bailiwick frontend`.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::serve::{Signals, configuration_source};
use super::service::Connected;
use super::{Exit, Failure, runtime};
use crate::config::FrontendConfiguration;
use crate::directory::Usernames;
use crate::document::Source;
use crate::frontend::{Parts, Prepared, StartError};
use crate::telemetry::{Metrics, log};

/// Run the reference API front end: a small API server to learn from and to test with.
///
/// Authentication, authorisation, admission and storage as an API server has them, without a cluster. It is not for
/// production.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Keep objects in this directory, so that they outlive the process; it wins over `storage.dataDir`.
    ///
    /// It is made where there is none. Without one, objects are in memory and gone with the process.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let mut configuration = read_configuration(configuration_source(&arguments.config)?)?;
    if let Some(directory) = &arguments.data_dir {
        configuration.frontend.data_dir = Some(directory.clone());
    }
    log::init(&configuration.log).map_err(Failure::invalid)?;
    let metrics = Metrics::new().map_err(Failure::operational)?;
    let runtime = runtime()?;
    let mut signals = runtime.block_on(async { Signals::new() })?;
    let (stop, stopped) = watch::channel(false);
    let (prepared, _directory) = prepare(configuration, &metrics, runtime.handle(), stopped)?;
    let frontend = prepared.serve()?;
    tracing::info!(address = %frontend.address(), "serving");
    runtime.block_on(async {
        signals.next().await;
        tracing::info!("stopping");
        // The listener is gone where nobody receives this.
        let _sent = stop.send(true);
        tokio::select! {
            () = frontend.join() => tracing::info!("stopped"),
            () = signals.next() => tracing::warn!("stopped at once"),
        }
    });
    Ok(Exit::Success)
}

/// Reads and checks a configuration.
pub(super) fn read_configuration(source: Source) -> Result<FrontendConfiguration, Failure> {
    FrontendConfiguration::read(source).map_err(Failure::diagnostics)
}

/// Makes everything but the listener. What comes beside it has to live as long.
pub(super) fn prepare(
    configuration: FrontendConfiguration,
    metrics: &Metrics,
    handle: &Handle,
    stop: watch::Receiver<bool>,
) -> Result<(Prepared, Connected), Failure> {
    let (connected, usernames) = match configuration.directory {
        None => (Connected::default(), Usernames::default()),
        Some(people) => (Connected::to(people.kind, metrics, handle)?, people.usernames),
    };
    let parts = Parts {
        directory: connected.directory.clone().map(|directory| (directory, usernames)),
        clock: Arc::new(Timestamp::now),
        metrics,
        runtime: handle,
        stop,
    };
    Ok((handle.block_on(Prepared::new(configuration.frontend, parts))?, connected))
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Diagnostics(diagnostics) => Self::diagnostics(diagnostics),
            error if error.is_operational() => Self::operational(error),
            error => Self::invalid(error),
        }
    }
}
