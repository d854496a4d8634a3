//! `server` and `admin`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Paths;
use crate::document::{
    Diagnostic, Diagnostics, Fields, Node, Spanned, boolean, choice, duration, integer, list, quoted,
    spanned, text,
};
use crate::server::ListenerSettings;
use crate::tls::{MinVersion, ServerSettings};

/// `server`: the webhook's listener.
#[derive(Debug, Clone)]
pub struct Server {
    /// `listen`, `maxConnections`, `shutdownGrace`, `workers`.
    pub listener: ListenerSettings,
    /// `tls`.
    pub tls: ServerSettings,
    /// `cluster`: who posts to plain `/authorize`.
    pub cluster: Option<Arc<str>>,
    /// `clients`; `None` where omitted: whoever the listener lets in may speak for every cluster.
    pub clients: Option<Vec<ClientEntry>>,
    /// `identity`: the user name under which Bailiwick itself asks the API server; always exempt.
    pub identity: Option<String>,
    /// `deadline`: for one review, everything included.
    pub deadline: Duration,
    /// `maxBodyBytes`.
    pub max_body_bytes: usize,
    /// `maxInFlight`.
    pub max_in_flight: usize,
}

/// An element of `server.clients`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientEntry {
    /// What it proves itself with.
    pub proof: ClientProof,
    /// The clusters that it may speak for.
    pub clusters: Vec<String>,
}

/// What a client proves itself with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientProof {
    /// `name`: in its certificate.
    Name(String),
    /// `tokenFile`.
    TokenFile(PathBuf),
}

/// `admin`: metrics, health and, where a credential is configured, the rest.
#[derive(Debug, Clone)]
pub struct Admin {
    /// `listen`.
    pub listener: ListenerSettings,
    /// `tls`; plain HTTP where omitted.
    pub tls: Option<ServerSettings>,
    /// `tokenFile`.
    pub token_file: Option<PathBuf>,
}

const DEFAULT_DEADLINE: Duration = Duration::from_secs(2);
const DEFAULT_MAX_BODY_BYTES: usize = 1024 * 1024;
const DEFAULT_MAX_IN_FLIGHT: usize = 1024;
const DEFAULT_ADMIN_PORT: u16 = 8081;

impl Default for Admin {
    fn default() -> Self {
        let listen = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), DEFAULT_ADMIN_PORT);
        Self { listener: ListenerSettings::new("admin", listen), tls: None, token_file: None }
    }
}

pub(super) fn server(node: &Node, paths: &Paths, diagnostics: &mut Diagnostics) -> Option<Server> {
    let mut fields = Fields::open(node, diagnostics)?;
    let listen = fields.required("listen", diagnostics, address);
    let cluster = fields.optional("cluster", diagnostics, text);
    let identity = fields.optional("identity", diagnostics, text);
    let tls = fields.required("tls", diagnostics, |node, diagnostics| server_tls(node, paths, diagnostics));
    let clients = fields.optional(
        "clients",
        diagnostics,
        list(spanned(|node: &Node, diagnostics: &mut Diagnostics| client(node, paths, diagnostics))),
    );
    let clients_are_wrong = clients.is_none() && fields.key("clients").is_some();
    let deadline = fields.optional("deadline", diagnostics, duration);
    let max_body_bytes = fields.optional("maxBodyBytes", diagnostics, integer(1024..=64 * 1024 * 1024));
    let max_in_flight = fields.optional("maxInFlight", diagnostics, integer(1..=1_000_000));
    let max_connections = fields.optional("maxConnections", diagnostics, integer(1..=1_000_000));
    let workers = fields.optional("workers", diagnostics, integer::<usize>(1..=1024));
    let grace = fields.optional("shutdownGrace", diagnostics, duration);
    let insecure = fields.optional("insecureNoClientAuth", diagnostics, boolean).unwrap_or(false);
    fields.finish(diagnostics);
    let (listen, tls) = (listen?, tls?);
    let by_certificate = tls.client_ca_file.is_some();
    let by_token = clients.as_ref().is_some_and(|clients| {
        clients.iter().all(|client| matches!(client.value.proof, ClientProof::TokenFile(_)))
    });
    if !listen.value.ip().is_loopback() && !by_certificate && !by_token && !insecure && !clients_are_wrong {
        diagnostics
            .push(Diagnostic::error(listen.span, "off loopback, whoever asks must prove who it is").help(
            "set `server.tls.clientCAFile` (the API server's client certificate is checked against it), or \
                 `clients` with a `tokenFile` each; `insecureNoClientAuth: true` lets anybody ask",
        ));
    }
    for client in clients.iter().flatten() {
        if let (ClientProof::Name(name), false) = (&client.value.proof, by_certificate) {
            let message =
                format!("the client {} is known by its certificate, and none is asked for", quoted(name));
            let help = "set `server.tls.clientCAFile`, or give the client a `tokenFile` instead";
            diagnostics.push(Diagnostic::error(client.span, message).help(help));
        }
    }
    let mut listener = ListenerSettings::new("webhook", listen.value);
    listener.workers = workers.and_then(std::num::NonZeroUsize::new);
    listener.max_connections = max_connections.unwrap_or(listener.max_connections);
    listener.shutdown_grace = grace.unwrap_or(listener.shutdown_grace);
    Some(Server {
        listener,
        tls,
        cluster: cluster.map(Into::into),
        clients: clients.map(|clients| clients.into_iter().map(|client| client.value).collect()),
        identity,
        deadline: deadline.unwrap_or(DEFAULT_DEADLINE),
        max_body_bytes: max_body_bytes.unwrap_or(DEFAULT_MAX_BODY_BYTES),
        max_in_flight: max_in_flight.unwrap_or(DEFAULT_MAX_IN_FLIGHT),
    })
}

pub(super) fn admin(node: &Node, paths: &Paths, diagnostics: &mut Diagnostics) -> Option<Admin> {
    let default = Admin::default();
    let mut fields = Fields::open(node, diagnostics)?;
    let listen = fields.optional("listen", diagnostics, address);
    let tls = fields.optional("tls", diagnostics, |node, diagnostics| server_tls(node, paths, diagnostics));
    let token_file =
        fields.optional("tokenFile", diagnostics, |node, diagnostics| paths.decode(node, diagnostics));
    let tls_is_wrong = tls.is_none() && fields.key("tls").is_some();
    fields.finish(diagnostics);
    if let (Some(listen), None, Some(_)) = (&listen, &tls, &token_file)
        && !listen.value.ip().is_loopback()
        && !tls_is_wrong
    {
        let message = "off loopback, the token of `admin.tokenFile` would cross the network in the clear";
        diagnostics
            .push(Diagnostic::error(listen.span, message).help("set `admin.tls`, or listen on loopback"));
    }
    let listen = listen.map_or(default.listener.listen, |listen| listen.value);
    Some(Admin { listener: ListenerSettings::new("admin", listen), tls, token_file })
}

fn server_tls(node: &Node, paths: &Paths, diagnostics: &mut Diagnostics) -> Option<ServerSettings> {
    let mut fields = Fields::open(node, diagnostics)?;
    let mut path = |name, required, diagnostics: &mut Diagnostics| {
        if required {
            fields.required(name, diagnostics, |node, diagnostics| paths.decode(node, diagnostics))
        } else {
            fields.optional(name, diagnostics, |node, diagnostics| paths.decode(node, diagnostics))
        }
    };
    let cert_file = path("certFile", true, diagnostics);
    let key_file = path("keyFile", true, diagnostics);
    let client_ca_file = path("clientCAFile", false, diagnostics);
    let crl_file = path("crlFile", false, diagnostics);
    let min_version = fields.optional("minVersion", diagnostics, min_version);
    if let Some(span) = fields.key("crlFile")
        && fields.key("clientCAFile").is_none()
    {
        let message = "`crlFile` without `clientCAFile`: no client's certificate is looked at";
        diagnostics.push(Diagnostic::error(span, message));
    }
    fields.finish(diagnostics);
    Some(ServerSettings {
        cert_file: cert_file?,
        key_file: key_file?,
        client_ca_file,
        crl_file,
        min_version: min_version.unwrap_or_default(),
    })
}

/// `"1.2"` or `"1.3"`.
pub(super) fn min_version(node: &Node, diagnostics: &mut Diagnostics) -> Option<MinVersion> {
    choice(&[("1.2", MinVersion::Tls12), ("1.3", MinVersion::Tls13)])(node, diagnostics)
}

fn client(node: &Node, paths: &Paths, diagnostics: &mut Diagnostics) -> Option<ClientEntry> {
    let mut fields = Fields::open(node, diagnostics)?;
    let name = fields.optional("name", diagnostics, text);
    let token_file =
        fields.optional("tokenFile", diagnostics, |node, diagnostics| paths.decode(node, diagnostics));
    let clusters = fields.required("clusters", diagnostics, list(text));
    let (is_named, has_token) = (fields.key("name").is_some(), fields.key("tokenFile").is_some());
    fields.finish(diagnostics);
    if is_named == has_token {
        let message = "a client has either a `name` (of its certificate) or a `tokenFile`";
        diagnostics.push(Diagnostic::error(node.span, message));
        return None;
    }
    let proof = name.map(ClientProof::Name).or(token_file.map(ClientProof::TokenFile))?;
    Some(ClientEntry { proof, clusters: clusters? })
}

pub(super) fn address(node: &Node, diagnostics: &mut Diagnostics) -> Option<Spanned<SocketAddr>> {
    let written = text(node, diagnostics)?;
    match written.parse() {
        Ok(address) => Some(Spanned::new(address, node.span)),
        Err(_) => {
            let message = format!("{} is no address and port", quoted(&written));
            diagnostics
                .push(Diagnostic::error(node.span, message).help("write `0.0.0.0:8443` or `[::1]:8443`"));
            None
        }
    }
}
