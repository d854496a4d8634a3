//! What a configuration says of the front end.

use std::path::PathBuf;

use super::authorizers::webhook;
use super::{admission, authn};
use crate::server::ListenerSettings;
use crate::tls::MinVersion;

/// Everything that a front end is made of.
#[derive(Debug)]
pub struct Settings {
    /// Where it listens.
    pub listener: ListenerSettings,
    /// Its certificate, PEM, and the issuers that clients do not have.
    pub cert_file: PathBuf,
    /// The key of the certificate, PEM.
    pub key_file: PathBuf,
    /// The authority that pods are told to trust (ConfigMap `kube-root-ca.crt`), PEM; omitted: the certificate itself.
    pub ca_file: Option<PathBuf>,
    /// The oldest TLS version spoken.
    pub min_version: MinVersion,
    /// The first stage.
    pub authentication: authn::Settings,
    /// The second stage.
    pub authorization: Authorization,
    /// The third stage.
    pub admission: admission::Settings,
    /// Files of objects that are there from the start, YAML; they go through no stage.
    pub objects: Vec<PathBuf>,
    /// The directory that objects are kept in; without one they are in memory alone.
    pub data_dir: Option<PathBuf>,
    /// A file to append audit events to.
    pub audit_log: Option<PathBuf>,
}

/// Who decides.
#[derive(Debug)]
pub enum Authorization {
    /// An API server's `AuthorizationConfiguration`. It is read once; an API server reads it again when it changes.
    File {
        /// The file.
        path: PathBuf,
        /// The policies of the authoriser ABAC, where there is one.
        abac_policy_file: Option<PathBuf>,
    },
    /// Modes by their names, as an API server's flags have them.
    Modes {
        /// The names, in their order.
        names: Vec<String>,
        /// The policies of ABAC.
        abac_policy_file: Option<PathBuf>,
        /// Where the webhook is: a kubeconfig file.
        webhook_kubeconfig: Option<PathBuf>,
        /// What the webhook is asked, and how long its word holds.
        webhook: webhook::Settings,
    },
}
