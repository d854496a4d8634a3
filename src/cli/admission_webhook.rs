//! `bailiwick admission-webhook`.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::sync::watch;

use super::serve::Signals;
use super::{Exit, Failure, runtime};
use crate::frontend::sample_webhook::{OWNER_ANNOTATION, application};
use crate::server::{self, ListenerSettings};
use crate::telemetry::{Metrics, log};
use crate::tls::{self, MinVersion, ServerContext, ServerSettings};

/// Run a sample of what answers admission: `POST /mutate` and `POST /validate` over HTTPS.
///
/// The first writes down who made an object; the second refuses pods that are privileged or have namespaces or paths of
/// their node.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where to listen; port 0 takes a free one, which the log names.
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,
    /// The certificate, PEM, with its issuers.
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,
    /// Its private key, PEM.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Authorities, PEM: only who has a certificate of one of them is answered.
    #[arg(long, value_name = "FILE")]
    client_ca: Option<PathBuf>,
    /// The annotation that names who made an object.
    #[arg(long, value_name = "KEY", default_value = OWNER_ANNOTATION)]
    annotation: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let settings = log::Settings { format: log::Format::Text, level: "info".to_owned() };
    log::init(&settings).map_err(Failure::operational)?;
    let metrics = Metrics::new().map_err(Failure::operational)?;
    let runtime = runtime()?;
    let mut signals = runtime.block_on(async { Signals::new() })?;
    let (stop, stopped) = watch::channel(false);
    let settings = ServerSettings {
        cert_file: arguments.cert.clone(),
        key_file: arguments.key.clone(),
        client_ca_file: arguments.client_ca.clone(),
        crl_file: None,
        min_version: MinVersion::default(),
    };
    let tls = ServerContext::from_files("admission-webhook", settings, &metrics)?;
    let _watcher = tls::watch(tls.clone(), tls::WATCH_INTERVAL, runtime.handle());
    let listener = ListenerSettings::new("admission-webhook", arguments.listen);
    let application = application(arguments.annotation.clone());
    let running = server::serve(listener, Some(tls), application, stopped)
        .map_err(|error| Failure::operational(format!("cannot listen on {}: {error}", arguments.listen)))?;
    tracing::info!(address = %running.address, "serving");
    runtime.block_on(async {
        signals.next().await;
        tracing::info!("stopping");
        // The listener is gone where nobody receives this.
        let _sent = stop.send(true);
        tokio::select! {
            () = running.join() => tracing::info!("stopped"),
            () = signals.next() => tracing::warn!("stopped at once"),
        }
    });
    Ok(Exit::Success)
}
