//! The third stage: does the request pass all checks? First the plugins that change the object, then those that judge what
//! came of it; one refusal ends the request, and nothing is stored.
//!
//! Reading requests (get, list, watch) are not admitted: there is no object to look at. As in an API server, the plugins
//! see what is to be stored (a patch is applied before) and what is stored now.
//!
//! Source: `k8s.io/apiserver/pkg/admission/{interfaces,chain}.go`.

mod always_pull_images;
mod frozen_attributes;
mod namespace_lifecycle;
mod naming_convention;
mod node_restriction;
mod required_labels;
mod service_account;
mod settings;
#[cfg(test)]
mod tests;
pub mod webhooks;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use super::journey::{Outcome, Stage, StageName, Step, micros_since};
use super::resources::ResourceType;
use super::status::ApiError;
use super::storage::{Object, Storage};
use crate::model::Subject;

pub use frozen_attributes::FrozenAttributes;
pub use naming_convention::NamingRule;
pub use required_labels::RequiredLabels;
pub use settings::{PLUGINS, PluginName, Scope, ServiceAddress, Settings};
use webhooks::{Shape, Webhooks};

/// What is to be done with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// It is to be new.
    Create,
    /// It is to be another.
    Update,
    /// It is to go.
    Delete,
    /// A connection to it: exec, attach, proxy.
    Connect,
}

/// What is to be admitted.
#[derive(Clone)]
pub struct Attributes {
    /// What is to be done.
    pub operation: Operation,
    /// The resource.
    pub kind: &'static ResourceType,
    /// The subresource; empty for the object itself.
    pub subresource: String,
    /// The namespace; empty for the cluster's objects.
    pub namespace: String,
    /// The name; empty where it is to be generated.
    pub name: String,
    /// What is to be stored (or taken by a subresource); none where something is deleted.
    pub object: Option<Value>,
    /// What is stored; none where something is new.
    pub old: Option<Object>,
    /// Who asks.
    pub subject: Subject,
    /// Whether nothing will be stored whatever comes of it.
    pub dry_run: bool,
    /// How it is to be done: `CreateOptions` and the like of `meta.k8s.io/v1`.
    pub options: Value,
}

impl Operation {
    /// As reviews have it (`admission/v1.Operation`).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

impl std::fmt::Debug for Attributes {
    /// Without the objects: they may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attributes")
            .field("operation", &self.operation)
            .field("resource", &self.kind.qualified())
            .field("subresource", &self.subresource)
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .field("user", &self.subject.user)
            .finish_non_exhaustive()
    }
}

/// What the chain leaves besides its answer.
#[derive(Debug, Default)]
pub struct Record {
    /// What each plugin did, in its order.
    pub steps: Vec<Step>,
    /// What the client is to be told (header `Warning`).
    pub warnings: Vec<String>,
    /// For the audit event, by `PLUGIN/KEY`.
    pub annotations: BTreeMap<String, String>,
    /// Until when all webhooks are to have answered; where nobody says, it is set when the first is asked.
    pub deadline: Option<Instant>,
}

/// What a plugin did with an object that it let pass.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    /// Nothing: this is none of its business.
    Nothing,
    /// It looked, and found this in order.
    Fine(String),
    /// It changed this.
    Changed(String),
}

/// A plugin. What it does not implement, it lets pass.
trait Plugin: Send + Sync {
    /// Its name, as an API server's flag has it.
    fn name(&self) -> PluginName;

    /// Changes the object, or refuses it at once.
    fn mutate(&self, asked: &mut Attributes, notes: &mut Notes<'_>) -> Result<Said, ApiError> {
        let _ = (asked, notes);
        Ok(Said::Nothing)
    }

    /// Judges the object as it will be stored.
    fn validate(&self, asked: &Attributes, notes: &mut Notes<'_>) -> Result<Said, ApiError> {
        let _ = (asked, notes);
        Ok(Said::Nothing)
    }
}

/// Where a plugin leaves warnings and annotations, and reads what is stored.
struct Notes<'a> {
    storage: &'a Storage,
    plugin: PluginName,
    record: &'a mut Record,
}

impl Notes<'_> {
    /// Tells the client something; it is cut at what clients show.
    fn warn(&mut self, text: String) {
        self.record.warnings.push(text.chars().take(MAX_WARNING_CHARS).collect());
    }

    fn annotate(&mut self, key: &str, value: impl Into<String>) {
        self.record.annotations.insert(format!("{}/{key}", self.plugin.domain()), value.into());
    }
}

/// How long a warning may be, in characters: what Kubernetes advises
/// (`k8s.io/apiserver/pkg/admission/plugin/webhook`: 120; clients cut at 256).
const MAX_WARNING_CHARS: usize = 256;

/// The chain.
pub struct Admission {
    plugins: Vec<Box<dyn Plugin>>,
    storage: Arc<Storage>,
    webhooks: Webhooks,
    asks_mutating: bool,
    asks_validating: bool,
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.plugins.iter().map(|plugin| plugin.name())).finish()
    }
}

impl Admission {
    /// The chain of the plugins that are on, in the one order that there is.
    #[must_use]
    pub fn new(settings: Settings, storage: Arc<Storage>, shape: Arc<dyn Shape>) -> Self {
        let Settings { plugins: on, naming, labels, frozen, services } = settings;
        let plugins: Vec<Box<dyn Plugin>> = vec![
            Box::new(namespace_lifecycle::NamespaceLifecycle),
            Box::new(service_account::ServiceAccount),
            Box::new(always_pull_images::AlwaysPullImages),
            Box::new(naming_convention::NamingConvention::new(naming)),
            Box::new(node_restriction::NodeRestriction),
            Box::new(required_labels::RequiredLabelsPlugin::new(labels)),
            Box::new(frozen_attributes::FrozenAttributesPlugin::new(frozen)),
        ];
        let plugins = plugins.into_iter().filter(|plugin| on.contains(&plugin.name())).collect();
        Self {
            plugins,
            webhooks: Webhooks::new(Arc::clone(&storage), shape, services),
            storage,
            asks_mutating: on.contains(&PluginName::MutatingAdmissionWebhook),
            asks_validating: on.contains(&PluginName::ValidatingAdmissionWebhook),
        }
    }

    /// The first half: plugins change the object, then webhooks. Where a webhook did, all of them are asked once more, the
    /// webhooks as far as they want to be (`reinvocationPolicy`).
    ///
    /// # Errors
    /// The first refusal.
    pub async fn mutating(&self, asked: &mut Attributes, record: &mut Record) -> Result<(), ApiError> {
        self.mutate(asked, record)?;
        if !self.asks_mutating {
            return Ok(());
        }
        let mut rounds = self.webhooks.rounds(asked);
        self.webhooks.mutate(&mut rounds, asked, record).await?;
        if !rounds.is_another_due() {
            return Ok(());
        }
        let told = record.steps.len();
        let again = self.mutate(asked, record);
        // What plugins find in order once more is not told once more.
        let second = record.steps.split_off(told.min(record.steps.len()));
        record.steps.extend(second.into_iter().filter(|step| step.outcome != Outcome::Passed));
        again?;
        self.webhooks.mutate(&mut rounds, asked, record).await
    }

    /// The second half: plugins judge the object, then webhooks.
    ///
    /// # Errors
    /// The first refusal.
    pub async fn validating(&self, asked: &Attributes, record: &mut Record) -> Result<(), ApiError> {
        self.validate(asked, record)?;
        if self.asks_validating { self.webhooks.validate(asked, record).await } else { Ok(()) }
    }

    /// Has each plugin change the object.
    ///
    /// # Errors
    /// The first refusal.
    pub fn mutate(&self, asked: &mut Attributes, record: &mut Record) -> Result<(), ApiError> {
        self.run(record, |plugin, notes| {
            let before = asked.object.clone();
            let said = plugin.mutate(asked, notes)?;
            let patch = matches!(said, Said::Changed(_)).then(|| patch(before.as_ref(), asked)).flatten();
            Ok((said, patch))
        })
    }

    /// Has each plugin judge what will be stored.
    ///
    /// # Errors
    /// The first refusal.
    pub fn validate(&self, asked: &Attributes, record: &mut Record) -> Result<(), ApiError> {
        self.run(record, |plugin, notes| Ok((plugin.validate(asked, notes)?, None)))
    }

    fn run(
        &self,
        record: &mut Record,
        mut ask: impl FnMut(&dyn Plugin, &mut Notes<'_>) -> Result<(Said, Option<Value>), ApiError>,
    ) -> Result<(), ApiError> {
        for plugin in &self.plugins {
            let began = Instant::now();
            let name = plugin.name();
            let mut notes = Notes { storage: &self.storage, plugin: name, record };
            let (outcome, detail, patch, refusal) = match ask(plugin.as_ref(), &mut notes) {
                Ok((Said::Nothing, _)) => continue,
                Ok((Said::Fine(detail), _)) => (Outcome::Passed, detail, None, None),
                Ok((Said::Changed(detail), patch)) => (Outcome::Changed, detail, patch, None),
                Err(error) => (Outcome::Refused, error.message.clone(), None, Some(error)),
            };
            record.steps.push(Step { patch, ..Step::new(name.as_str(), outcome, detail, began) });
            if let Some(error) = refusal {
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Record {
    /// The stage, for the journey.
    #[must_use]
    pub fn stage(&self, refusal: Option<&ApiError>, began: Instant) -> Stage {
        let changes = self.steps.iter().filter(|step| step.outcome == Outcome::Changed).count();
        let (outcome, summary) = match (refusal, changes) {
            (Some(error), _) => (Outcome::Refused, error.message.clone()),
            (None, 0) => (Outcome::Passed, "the object is in order as it is".to_owned()),
            (None, _) => {
                let who: Vec<&str> = self
                    .steps
                    .iter()
                    .filter(|step| step.outcome == Outcome::Changed)
                    .map(|step| step.name.as_str())
                    .collect();
                (Outcome::Changed, format!("the object is in order after {} changed it", who.join(", ")))
            }
        };
        let steps = self.steps.clone();
        Stage { name: StageName::Admission, outcome, summary, steps, micros: micros_since(began) }
    }
}

/// What a plugin changed, as a JSON Patch (RFC 6902).
fn patch(before: Option<&Value>, asked: &Attributes) -> Option<Value> {
    if asked.is_core("secrets") {
        return None;
    }
    let patch = json_patch::diff(before?, asked.object.as_ref()?);
    // Operations are strings and values: there is nothing that could fail.
    let patch = serde_json::to_value(patch).ok()?;
    // An annotation of a megabyte is not to be kept with the last thousand requests.
    (patch.to_string().len() <= MAX_PATCH_BYTES).then_some(patch)
}

/// The longest patch that a journey keeps, in bytes.
const MAX_PATCH_BYTES: usize = 4_096;

impl Attributes {
    /// Whether it is an object of the core group and this resource itself, not one of its subresources.
    fn is_core(&self, resource: &str) -> bool {
        self.kind.group.is_empty() && self.kind.resource == resource && self.subresource.is_empty()
    }

    /// A refusal of this object: 403 with the reason after its name.
    fn refuse(&self, why: &str) -> ApiError {
        ApiError::forbidden_object(self.kind, self.shown_name(), why)
    }

    /// The name, or what it will be generated from.
    fn shown_name(&self) -> &str {
        let generate = || self.text("/metadata/generateName");
        if self.name.is_empty() { generate().unwrap_or_default() } else { &self.name }
    }

    /// A text of the object, by its JSON pointer.
    fn text(&self, pointer: &str) -> Option<&str> {
        self.object.as_ref()?.pointer(pointer)?.as_str()
    }

    /// Whether the requester is in a group.
    fn is_in(&self, group: &str) -> bool {
        self.subject.groups.iter().any(|held| held == group)
    }

    /// `metadata.labels` or `metadata.annotations` of the new object.
    fn map(&self, field: &str) -> Option<&serde_json::Map<String, Value>> {
        self.object.as_ref()?.get("metadata")?.get(field)?.as_object()
    }
}

/// Containers, init containers and ephemeral containers of a pod.
const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];
