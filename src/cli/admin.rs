//! The admin listener of the running service, for commands that ask it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Failure;
use crate::config::Admin;
use crate::tls::{ClientContext, https};

/// Where the running service is asked.
pub(super) struct Door {
    /// The beginning of its URLs.
    pub(super) url: String,
    /// A client that may connect there. It has no token.
    pub(super) client: https::Client,
}

impl Door {
    /// The admin listener of this configuration. `usage` names the client in the log.
    ///
    /// # Errors
    /// Where its certificate cannot be read, or where it wants one of us.
    pub(super) fn of(admin: &Admin, usage: &'static str) -> Result<Self, Failure> {
        let address = address(admin);
        let (scheme, client) = match &admin.tls {
            None => ("http", https::Client::plain()),
            Some(tls) if tls.client_ca_file.is_some() => {
                return Err(Failure::invalid(
                    "the admin listener wants a client certificate, which this command has not: let it listen on loopback \
                     without `clientCAFile`, and protect it by `tokenFile`",
                ));
            }
            Some(tls) => {
                // The service is on this machine: the certificate that it serves is the one to trust.
                let metrics = crate::telemetry::Metrics::new().map_err(Failure::operational)?;
                let (file, version) = (tls.cert_file.clone(), tls.min_version);
                let context = ClientContext::of_own_certificate(usage, file, version, &metrics)?;
                ("https", https::Client::new(context))
            }
        };
        Ok(Self { url: format!("{scheme}://{address}"), client })
    }
}

/// Where this machine reaches the admin listener: by loopback where it listens on all addresses.
pub(super) fn address(admin: &Admin) -> SocketAddr {
    let mut address = admin.listener.listen;
    if address.ip().is_unspecified() {
        let loopback: IpAddr =
            if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        address.set_ip(loopback);
    }
    address
}
