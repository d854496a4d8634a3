//! The configuration file of `frontend`: what the reference front end is made of.

mod admission;
mod authentication;

use std::path::Path;
use std::time::Duration;

use super::server::min_version;
use super::{Paths, default_log, directory, exactly, log, only_document, optional, server};
use crate::document::{
    Diagnostic, Diagnostics, Fields, Node, Source, Spanned, choice, duration_or_zero, list, parse, spanned,
    text,
};
use crate::frontend::authorizers::webhook;
use crate::frontend::{Authorization, Settings};
use crate::review::Version;
use crate::server::ListenerSettings;
use crate::telemetry;
use crate::tls::MinVersion;

pub use super::directory::People;

/// Everything that the configuration file of a front end says.
#[derive(Debug)]
pub struct FrontendConfiguration {
    /// The front end itself.
    pub frontend: Settings,
    /// The directory whose users log on by HTTP basic.
    pub directory: Option<People>,
    /// `log`.
    pub log: telemetry::log::Settings,
}

/// The `kind` of the document.
const KIND: &str = "FrontendConfiguration";

impl FrontendConfiguration {
    /// Whether a file says that it is the configuration of a front end.
    #[must_use]
    pub fn is_one(source: &Source) -> bool {
        let documents = parse(std::slice::from_ref(source), &mut Diagnostics::default());
        documents.first().is_some_and(|document| document.root.to_json().get("kind") == Some(&KIND.into()))
    }

    /// Reads a configuration.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(source: Source) -> Result<Self, Diagnostics> {
        let folder = Path::new(&*source.name).parent().map(Path::to_path_buf).unwrap_or_default();
        only_document(source, |root, diagnostics| decode(root, &Paths { folder }, diagnostics))
    }
}

fn decode(root: &Node, paths: &Paths, diagnostics: &mut Diagnostics) -> Option<FrontendConfiguration> {
    let mut fields = Fields::open(root, diagnostics)?;
    let _version = fields.required("apiVersion", diagnostics, |node, diagnostics| {
        exactly(super::API_VERSION, node, diagnostics)
    });
    let _kind = fields.required("kind", diagnostics, |node, diagnostics| exactly(KIND, node, diagnostics));
    let listener =
        fields.required("server", diagnostics, |node, diagnostics| listener(node, paths, diagnostics));
    let authentication = fields.required("authentication", diagnostics, |node, diagnostics| {
        authentication::authentication(node, paths, diagnostics)
    });
    let authorization = fields
        .required("authorization", diagnostics, |node, diagnostics| authorization(node, paths, diagnostics));
    let admission = optional(&mut fields, "admission", diagnostics, Default::default, |node, diagnostics| {
        admission::admission(node, diagnostics)
    });
    let objects = fields.optional("objects", diagnostics, |node, diagnostics| {
        let mut fields = Fields::open(node, diagnostics)?;
        let files =
            fields.required("paths", diagnostics, list(|node, diagnostics| paths.decode(node, diagnostics)));
        fields.finish(diagnostics);
        files
    });
    let data_dir = fields.optional("storage", diagnostics, |node, diagnostics| {
        let mut fields = Fields::open(node, diagnostics)?;
        let directory =
            fields.required("dataDir", diagnostics, |node, diagnostics| paths.decode(node, diagnostics));
        fields.finish(diagnostics);
        directory
    });
    let audit_log = fields.optional("journeys", diagnostics, |node, diagnostics| {
        let mut fields = Fields::open(node, diagnostics)?;
        let file =
            fields.required("auditLog", diagnostics, |node, diagnostics| paths.decode(node, diagnostics));
        fields.finish(diagnostics);
        file
    });
    let log = optional(&mut fields, "log", diagnostics, default_log, log);
    fields.finish(diagnostics);
    let (authentication, directory) = authentication?;
    let Listener { listener, cert_file, key_file, ca_file, min_version } = listener?;
    let frontend = Settings {
        listener,
        cert_file,
        key_file,
        ca_file,
        min_version,
        authentication,
        authorization: authorization?,
        admission: admission?,
        objects: objects.unwrap_or_default(),
        data_dir,
        audit_log,
    };
    Some(FrontendConfiguration { frontend, directory, log: log? })
}

struct Listener {
    listener: ListenerSettings,
    cert_file: std::path::PathBuf,
    key_file: std::path::PathBuf,
    ca_file: Option<std::path::PathBuf>,
    min_version: MinVersion,
}

fn listener(node: &Node, paths: &Paths, diagnostics: &mut Diagnostics) -> Option<Listener> {
    let mut fields = Fields::open(node, diagnostics)?;
    let listen = fields.required("listen", diagnostics, server::address);
    let tls = fields.required("tls", diagnostics, |node, diagnostics| {
        let mut fields = Fields::open(node, diagnostics)?;
        let path = |node: &Node, diagnostics: &mut Diagnostics| paths.decode(node, diagnostics);
        let cert_file = fields.required("certFile", diagnostics, path);
        let key_file = fields.required("keyFile", diagnostics, path);
        let ca_file = fields.optional("caFile", diagnostics, path);
        let oldest = fields.optional("minVersion", diagnostics, min_version);
        fields.finish(diagnostics);
        Some((cert_file?, key_file?, ca_file, oldest.unwrap_or_default()))
    });
    fields.finish(diagnostics);
    let listener = ListenerSettings::new("frontend", listen?.value);
    let (cert_file, key_file, ca_file, min_version) = tls?;
    Some(Listener { listener, cert_file, key_file, ca_file, min_version })
}

fn authorization(node: &Node, paths: &Paths, diagnostics: &mut Diagnostics) -> Option<Authorization> {
    let mut fields = Fields::open(node, diagnostics)?;
    let path = |node: &Node, diagnostics: &mut Diagnostics| paths.decode(node, diagnostics);
    let file = fields.optional("configFile", diagnostics, path);
    let modes: Option<Vec<Spanned<String>>> = fields.optional("modes", diagnostics, list(spanned(text)));
    let abac_policy_file = fields.optional("abacPolicyFile", diagnostics, path);
    let hook = fields.optional("webhook", diagnostics, |node, diagnostics| webhook(node, paths, diagnostics));
    let (has_file, has_modes) = (fields.key("configFile").is_some(), fields.key("modes").is_some());
    let (hook_key, abac_key) = (fields.key("webhook"), fields.key("abacPolicyFile"));
    fields.finish(diagnostics);
    if has_file == has_modes {
        let message =
            "who decides is said either by `configFile` (an AuthorizationConfiguration) or by `modes`";
        diagnostics.push(Diagnostic::error(node.span, message));
        return None;
    }
    if let (true, Some(span)) = (has_file, hook_key) {
        let message =
            "`webhook` goes with `modes`; with `configFile` it is that file which says where webhooks are";
        diagnostics.push(Diagnostic::error(span, message));
    }
    let has_mode = |name: &str| modes.iter().flatten().any(|mode| mode.value == name);
    for (mode, key, section) in [("Webhook", hook_key, "webhook"), ("ABAC", abac_key, "abacPolicyFile")] {
        let message = match (has_modes, has_mode(mode), key) {
            (true, true, None) => format!("the mode {mode} needs `{section}`"),
            (true, false, Some(_)) => format!("`{section}` without the mode {mode}: nobody would ask it"),
            _ => continue,
        };
        diagnostics.push(Diagnostic::error(key.unwrap_or(node.span), message));
    }
    if let Some(path) = file {
        return Some(Authorization::File { path, abac_policy_file });
    }
    let (webhook_kubeconfig, webhook) = hook.map_or_else(Default::default, |(file, hook)| (Some(file), hook));
    let names = modes?.into_iter().map(|mode| mode.value).collect();
    Some(Authorization::Modes { names, abac_policy_file, webhook_kubeconfig, webhook })
}

fn webhook(
    node: &Node,
    paths: &Paths,
    diagnostics: &mut Diagnostics,
) -> Option<(std::path::PathBuf, webhook::Settings)> {
    let mut fields = Fields::open(node, diagnostics)?;
    let file =
        fields.required("kubeconfigFile", diagnostics, |node, diagnostics| paths.decode(node, diagnostics));
    let versions = choice(&[("v1", Version::V1), ("v1beta1", Version::V1beta1)]);
    let version = fields.optional("version", diagnostics, versions);
    let authorized = fields.optional("authorizedTTL", diagnostics, duration_or_zero);
    let unauthorized = fields.optional("unauthorizedTTL", diagnostics, duration_or_zero);
    fields.finish(diagnostics);
    let default = webhook::Settings::default();
    let kept =
        |ttl: Option<Duration>, default| ttl.map_or(default, |ttl| Some(ttl).filter(|ttl| !ttl.is_zero()));
    let settings = webhook::Settings {
        version: version.unwrap_or(default.version),
        authorized_ttl: kept(authorized, default.authorized_ttl),
        unauthorized_ttl: kept(unauthorized, default.unauthorized_ttl),
        ..default
    };
    Some((file?, settings))
}

/// A directory, with what only decisions need of it left aside.
fn people(node: &Node, paths: &Paths, diagnostics: &mut Diagnostics) -> Option<People> {
    directory::directory(node, paths, None, diagnostics).map(|(people, ..)| people)
}
