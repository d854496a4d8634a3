//! `bailiwick healthcheck`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::serve::read_configuration;
use super::{Exit, Failure, runtime, say};
use crate::tls::{ClientContext, ClientSettings, https};

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
    let admin = read_configuration(&arguments.config)?.admin;
    let mut address = admin.listener.listen;
    if address.ip().is_unspecified() {
        let loopback: std::net::IpAddr = if address.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        };
        address.set_ip(loopback);
    }
    let (scheme, client) = match admin.tls {
        None => ("http", https::Client::plain()),
        Some(tls) if tls.client_ca_file.is_some() => {
            return Err(Failure::invalid(
                "the admin listener wants a client certificate, which a health check has not: let it listen on loopback \
                 without `clientCAFile`, and protect it by `tokenFile`",
            ));
        }
        Some(tls) => {
            // It asks itself: the certificate that it serves is the one to trust.
            let settings = ClientSettings {
                ca_file: Some(tls.cert_file),
                server_name: None,
                cert_file: None,
                key_file: None,
                min_version: tls.min_version,
            };
            let metrics = crate::telemetry::Metrics::new().map_err(Failure::operational)?;
            let context = ClientContext::from_files("healthcheck", settings, &metrics)?;
            ("https", https::Client::new(Arc::clone(&context)))
        }
    };
    let url = format!("{scheme}://{address}/readyz?verbose");
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
