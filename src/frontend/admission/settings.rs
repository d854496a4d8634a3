//! Which plugins are on, and what those of our own are told.

use super::{FrozenAttributes, NamingRule, RequiredLabels};

/// The plugins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginName {
    /// Nothing is made in a namespace that is not there or is going.
    NamespaceLifecycle,
    /// Every pod runs as a ServiceAccount that is there.
    ServiceAccount,
    /// Images are pulled each time.
    AlwaysPullImages,
    /// Names begin as their namespace has it.
    NamingConvention,
    /// A node changes itself and its own pods.
    NodeRestriction,
    /// Objects have the labels that their namespace demands.
    RequiredLabels,
    /// Owner and classification are not changed by those whom they concern.
    FrozenAttributes,
    /// Webhooks change objects.
    MutatingAdmissionWebhook,
    /// Webhooks judge objects.
    ValidatingAdmissionWebhook,
}

/// All plugins by name, in the order in which they are asked.
pub const PLUGINS: &[(&str, PluginName)] = &[
    ("NamespaceLifecycle", PluginName::NamespaceLifecycle),
    ("ServiceAccount", PluginName::ServiceAccount),
    ("AlwaysPullImages", PluginName::AlwaysPullImages),
    ("NamingConvention", PluginName::NamingConvention),
    ("NodeRestriction", PluginName::NodeRestriction),
    ("RequiredLabels", PluginName::RequiredLabels),
    ("FrozenAttributes", PluginName::FrozenAttributes),
    ("MutatingAdmissionWebhook", PluginName::MutatingAdmissionWebhook),
    ("ValidatingAdmissionWebhook", PluginName::ValidatingAdmissionWebhook),
];

impl PluginName {
    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        PLUGINS.iter().find(|(_, plugin)| *plugin == self).map_or("", |(name, _)| name)
    }

    /// The domain of its audit annotations.
    pub(super) fn domain(self) -> String {
        format!("{}.admission.bailiwick.dev", self.as_str().to_ascii_lowercase())
    }
}

/// What the chain is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The plugins that are on; their order has no meaning.
    pub plugins: Vec<PluginName>,
    /// What names must begin with.
    pub naming: Vec<NamingRule>,
    /// Which labels objects must have.
    pub labels: Vec<RequiredLabels>,
    /// Which labels and annotations are frozen.
    pub frozen: FrozenAttributes,
    /// Where the services of webhooks are: there is no cluster network that knows.
    pub services: Vec<ServiceAddress>,
}

/// Where a service is that a webhook's `clientConfig.service` names. Its certificate is for `NAME.NAMESPACE.svc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAddress {
    /// The namespace of the service.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its port, as `clientConfig.service.port` has it.
    pub port: u16,
    /// `HOST:PORT` to connect to.
    pub address: String,
}

impl Default for Settings {
    /// What an API server has on by default, as far as it is there, with NodeRestriction and the frozen attributes.
    fn default() -> Self {
        Self {
            plugins: vec![
                PluginName::NamespaceLifecycle,
                PluginName::ServiceAccount,
                PluginName::NodeRestriction,
                PluginName::FrozenAttributes,
                PluginName::MutatingAdmissionWebhook,
                PluginName::ValidatingAdmissionWebhook,
            ],
            naming: Vec::new(),
            labels: Vec::new(),
            frozen: FrozenAttributes::default(),
            services: Vec::new(),
        }
    }
}

/// The objects that a rule is for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    /// Namespaces; one that ends with `*` stands for all that begin so.
    pub namespaces: Vec<String>,
    /// Resources in the plural, with their group behind a dot where it is not the core group.
    pub resources: Vec<String>,
}

impl Scope {
    /// Whether objects of this resource in this namespace are meant.
    pub(super) fn covers(&self, namespace: &str, resource: &str) -> bool {
        self.covers_namespace(namespace) && self.resources.iter().any(|held| held == resource)
    }

    pub(super) fn covers_namespace(&self, namespace: &str) -> bool {
        self.namespaces.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(beginning) => namespace.starts_with(beginning),
            None => pattern == namespace,
        })
    }
}
