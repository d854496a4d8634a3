//! `RequiredLabels`: objects in some namespaces have certain labels, from the day on which the rule is set.

use serde_json::Value;

use super::settings::Scope;
use super::{Attributes, Notes, Operation, Plugin, PluginName, Said};
use crate::frontend::status::{ApiError, Cause, CauseKind};

/// Which labels objects must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredLabels {
    /// Where.
    pub scope: Scope,
    /// The keys; their values may be anything but empty.
    pub labels: Vec<String>,
}

/// See the [module](self).
pub(super) struct RequiredLabelsPlugin {
    rules: Vec<RequiredLabels>,
}

impl RequiredLabelsPlugin {
    pub(super) fn new(rules: Vec<RequiredLabels>) -> Self {
        Self { rules }
    }
}

impl Plugin for RequiredLabelsPlugin {
    fn name(&self) -> PluginName {
        PluginName::RequiredLabels
    }

    fn validate(&self, asked: &Attributes, _: &mut Notes<'_>) -> Result<Said, ApiError> {
        if !matches!(asked.operation, Operation::Create | Operation::Update) || !asked.subresource.is_empty()
        {
            return Ok(Said::Nothing);
        }
        let resource = asked.kind.qualified();
        let demanded: Vec<&String> = self
            .rules
            .iter()
            .filter(|rule| rule.scope.covers(&asked.namespace, &resource))
            .flat_map(|rule| &rule.labels)
            .collect();
        if demanded.is_empty() {
            return Ok(Said::Nothing);
        }
        let has = |label: &str| {
            asked
                .map("labels")
                .and_then(|labels| labels.get(label))
                .and_then(Value::as_str)
                .is_some_and(|value| !value.is_empty())
        };
        let missing: Vec<&str> =
            demanded.iter().map(|label| label.as_str()).filter(|label| !has(label)).collect();
        if missing.is_empty() {
            return Ok(Said::Fine("the labels that have to be there are there".to_owned()));
        }
        let causes: Vec<Cause> = missing
            .iter()
            .map(|label| {
                let why = format!("{resource} in {} must have this label", asked.namespace);
                Cause::new(CauseKind::Required, format!("metadata.labels[{label}]"), why)
            })
            .collect();
        Err(ApiError::invalid(asked.kind, asked.shown_name(), &causes))
    }
}
