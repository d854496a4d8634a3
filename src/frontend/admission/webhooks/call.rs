//! One webhook is called: over HTTPS, trusting its `caBundle` alone, within its time.
//!
//! Source: `k8s.io/apiserver/pkg/util/webhook/client.go`. Smaller here: an answer that names a time to come again
//! (`Retry-After`) is a failure like any other.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use data_encoding::BASE64;
use serde_json::Value;

use crate::frontend::admission::ServiceAddress;
use crate::frontend::connections::{Connections, in_words};
use crate::frontend::meta::text_at;
use crate::tls::https::Client;
use crate::tls::{ClientContext, ClientMaterial, MinVersion, Source};

/// The longest reply that is read, in bytes: as long as the longest request of a client.
pub const MAX_REPLY_BYTES: usize = 3 * 1024 * 1024;

/// Where a webhook is, and how it is asked. Its context of TLS is made when it is first asked, and goes with its
/// configuration, so that there are never more of them than webhooks.
#[derive(Debug)]
pub(super) struct Caller {
    url: Result<Place, String>,
    ca_bundle: String,
    timeout: Duration,
    connections: OnceLock<Result<Connections, String>>,
}

#[derive(Debug)]
struct Place {
    /// Where connections go to.
    url: String,
    /// Where they are said to go to.
    shown: String,
    /// Path and query.
    target: String,
    /// The name that the certificate must be for, where it is not that of the URL.
    server_name: Option<String>,
}

impl Caller {
    pub(super) fn new(client: &Value, timeout: Duration, services: &[ServiceAddress]) -> Self {
        Self {
            url: place(client, timeout, services),
            ca_bundle: text_at(client, "/caBundle").to_owned(),
            timeout,
            connections: OnceLock::new(),
        }
    }

    /// Posts a review, and gives the body of a good answer.
    ///
    /// # Errors
    /// Why the call failed, in words.
    pub(super) async fn call(&self, review: Bytes, latest: Instant) -> Result<Bytes, String> {
        let place = self.url.as_ref().map_err(|why| format!("failed to call webhook: {why}"))?;
        let failed = |why: &dyn std::fmt::Display| {
            format!("failed to call webhook: Post \"{}{}\": {why}", place.shown, place.target)
        };
        let connections = self.connections.get_or_init(|| self.connections_to(place));
        let connections = connections.as_ref().map_err(|why| failed(why))?;
        let now = Instant::now();
        let deadline = now.checked_add(self.timeout).unwrap_or(now).min(latest);
        let response = connections.post(&place.target, review, deadline).await.map_err(|why| failed(&why))?;
        match response.status.as_u16() {
            200..=206 => Ok(response.body),
            status => Err(failed(&format!("the webhook answered with the status {status}"))),
        }
    }

    fn connections_to(&self, place: &Place) -> Result<Connections, String> {
        let ca = match &*self.ca_bundle {
            "" => None,
            text => {
                let plain: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
                let pem = BASE64.decode(&plain).map_err(|_| "the caBundle is no base64".to_owned())?;
                Some(Source::Memory("caBundle", pem))
            }
        };
        let server_name = place.server_name.clone();
        let material = ClientMaterial { ca, server_name, pair: None, min_version: MinVersion::Tls12 };
        let context = ClientContext::from_material("admission-webhook", material, None);
        let context = context.map_err(|error| error.to_string())?;
        Ok(Connections::new(Client::new(context).with_max_body(MAX_REPLY_BYTES), place.url.clone()))
    }
}

fn place(client: &Value, timeout: Duration, services: &[ServiceAddress]) -> Result<Place, String> {
    let query = format!("?timeout={}", in_words(timeout));
    let url = text_at(client, "/url");
    if !url.is_empty() {
        let rest = url.strip_prefix("https://").ok_or("its URL does not begin with https://")?;
        let (host, path) = rest.find('/').and_then(|at| rest.split_at_checked(at)).unwrap_or((rest, "/"));
        let url = format!("https://{host}");
        return Ok(Place { shown: url.clone(), url, target: format!("{path}{query}"), server_name: None });
    }
    let (namespace, name) = (text_at(client, "/service/namespace"), text_at(client, "/service/name"));
    let port = client.pointer("/service/port").and_then(Value::as_u64).unwrap_or(443);
    let address = services
        .iter()
        .find(|held| held.namespace == namespace && held.name == name && u64::from(held.port) == port)
        .ok_or_else(|| {
            format!(
                "service {namespace}/{name} has no address here for port {port}: there is no cluster network, and \
                 `admission.services` of the configuration does not name it"
            )
        })?;
    let server_name = format!("{name}.{namespace}.svc");
    let path = Some(text_at(client, "/service/path")).filter(|path| !path.is_empty()).unwrap_or("/");
    Ok(Place {
        url: format!("https://{}", address.address),
        shown: format!("https://{server_name}:{port}"),
        target: format!("{path}{query}"),
        server_name: Some(server_name),
    })
}
