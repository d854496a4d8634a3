//! Which authorisers there are, and in which order: an API server's `AuthorizationConfiguration` file, or its modes as
//! its flags have them.
//!
//! Sources: `k8s.io/apiserver/pkg/apis/apiserver/v1/types.go` (`apiserver.config.k8s.io/v1`; `v1beta1` has the same fields),
//! `.../apis/apiserver/validation/validation.go`, `k8s.io/kubernetes/pkg/kubeapiserver/options/authorization.go`.

mod read;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::webhook::{EndpointError, Settings, Webhook};
use super::{Authorizer, Chain, abac, node, rbac};
use crate::document::{Diagnostics, Source};
use crate::frontend::kubeconfig::Endpoint;

/// Authorisers, not made yet.
#[derive(Debug)]
pub struct Configuration {
    authorizers: Vec<Configured>,
}

#[derive(Debug)]
struct Configured {
    name: String,
    mode: Mode,
}

#[derive(Debug)]
enum Mode {
    AlwaysAllow,
    AlwaysDeny,
    Node,
    Rbac,
    Abac,
    /// With the kubeconfig file that says where it is.
    Webhook(Box<Settings>, PathBuf),
}

/// The modes that need nothing to be said about them, by their names.
const PLAIN_MODES: [&str; 5] = ["AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "ABAC"];
const WEBHOOK: &str = "Webhook";

impl Mode {
    fn plain(name: &str) -> Option<Self> {
        match name {
            "AlwaysAllow" => Some(Self::AlwaysAllow),
            "AlwaysDeny" => Some(Self::AlwaysDeny),
            "Node" => Some(Self::Node),
            "RBAC" => Some(Self::Rbac),
            "ABAC" => Some(Self::Abac),
            _ => None,
        }
    }
}

/// The modes of the flags `--authorization-mode` and `--authorization-webhook-*`.
#[derive(Debug)]
pub struct Modes<'a> {
    /// The names, in their order.
    pub names: &'a [String],
    /// The webhook's kubeconfig file.
    pub webhook_kubeconfig: Option<&'a Path>,
    /// What the webhook is asked, and how long its word holds.
    pub webhook: Settings,
}

/// What authorisers are made of.
pub struct Parts<'a> {
    /// Roles and bindings.
    pub rbac: Arc<dyn rbac::RbacObjects>,
    /// Pods.
    pub pods: Arc<dyn node::NodePods>,
    /// The ABAC policies, where there is a file of them.
    pub abac: Option<abac::Policies>,
    /// Reads a kubeconfig file.
    pub endpoint: &'a dyn Fn(&Path) -> Result<Endpoint, String>,
}

/// Why there is no chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigurationError {
    /// There is no authoriser.
    #[error("at least one authorization mode must be passed")]
    None,
    /// A mode that there is not.
    #[error(
        "unknown authorization mode {0:?}; there are AlwaysAllow, AlwaysDeny, Node, RBAC, ABAC and Webhook"
    )]
    Unknown(String),
    /// A mode that stands there twice.
    #[error("authorization mode {0:?} specified more than once")]
    Twice(String),
    /// The webhook has no kubeconfig file.
    #[error("authorization mode Webhook needs a kubeconfig file")]
    NoKubeconfig,
    /// There are no policies for ABAC.
    #[error("authorization mode ABAC needs a policy file")]
    NoPolicies,
    /// A kubeconfig file cannot be used.
    #[error("{file}: {problem}")]
    Kubeconfig {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The URL in a kubeconfig file is none of a webhook.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

impl Configuration {
    /// Reads an `AuthorizationConfiguration`, YAML or JSON, from a file's bytes.
    ///
    /// # Errors
    /// Every mistake, in its place: unknown fields, and whatever an API server's validation refuses.
    pub fn read(source: Source) -> Result<Self, Diagnostics> {
        read::configuration(source)
    }

    /// Takes modes as flags name them.
    ///
    /// # Errors
    /// Where a mode is unknown or stands there twice, or the webhook has no file.
    pub fn of_modes(modes: Modes<'_>) -> Result<Self, ConfigurationError> {
        let Modes { names, webhook_kubeconfig, webhook } = modes;
        let mut webhook = Some(Box::new(webhook));
        let mut authorizers: Vec<Configured> = Vec::new();
        for name in names {
            if authorizers.iter().any(|before| before.name == *name) {
                return Err(ConfigurationError::Twice(name.clone()));
            }
            let mode = match (Mode::plain(name), &**name) {
                (Some(mode), _) => mode,
                (None, WEBHOOK) => {
                    let file = webhook_kubeconfig.ok_or(ConfigurationError::NoKubeconfig)?;
                    Mode::Webhook(webhook.take().unwrap_or_default(), file.to_owned())
                }
                _ => return Err(ConfigurationError::Unknown(name.clone())),
            };
            authorizers.push(Configured { name: name.clone(), mode });
        }
        if authorizers.is_empty() {
            return Err(ConfigurationError::None);
        }
        Ok(Self { authorizers })
    }

    /// Whether there is a policy file to be read.
    #[must_use]
    pub fn needs_abac(&self) -> bool {
        self.authorizers.iter().any(|authorizer| matches!(authorizer.mode, Mode::Abac))
    }

    /// Makes the authorisers.
    ///
    /// # Errors
    /// Where a part that they need is not there, or cannot be used.
    pub fn build(self, parts: Parts<'_>) -> Result<Chain, ConfigurationError> {
        let mut authorizers = Vec::with_capacity(self.authorizers.len());
        for Configured { name, mode } in self.authorizers {
            authorizers.push((name, mode.build(&parts)?));
        }
        Ok(Chain::new(authorizers))
    }
}

impl Mode {
    fn build(self, parts: &Parts<'_>) -> Result<Authorizer, ConfigurationError> {
        Ok(match self {
            Self::AlwaysAllow => Authorizer::AlwaysAllow,
            Self::AlwaysDeny => Authorizer::AlwaysDeny,
            Self::Node => Authorizer::Node(node::NodeAuthorizer::new(Arc::clone(&parts.pods))),
            Self::Rbac => Authorizer::Rbac(rbac::Rbac::new(Arc::clone(&parts.rbac))),
            Self::Abac => Authorizer::Abac(parts.abac.clone().ok_or(ConfigurationError::NoPolicies)?),
            Self::Webhook(settings, file) => {
                let endpoint = (parts.endpoint)(&file).map_err(|problem| ConfigurationError::Kubeconfig {
                    file: file.display().to_string(),
                    problem,
                })?;
                Authorizer::Webhook(Box::new(Webhook::new(endpoint, *settings)?))
            }
        })
    }
}
