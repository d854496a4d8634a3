//! `NamingConvention`: in a namespace that has a prefix, new objects' names begin with it. A name without it gets it; a
//! name that carries the prefix of another namespace is refused, for it would be taken for what it is not.
//!
//! This is the plugin by which the front end shows that an object can arrive in storage as another than it was sent.

use serde_json::Value;

use super::settings::Scope;
use super::{Attributes, Notes, Operation, Plugin, PluginName, Said};
use crate::frontend::status::ApiError;

/// What names must begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamingRule {
    /// Where.
    pub scope: Scope,
    /// The prefix, such as `pay-`.
    pub prefix: String,
}

/// Names that come with each namespace, and that programs look for by exactly these names.
const KNOWN_NAMES: [&str; 2] = ["default", "kube-root-ca.crt"];

/// See the [module](self).
pub(super) struct NamingConvention {
    rules: Vec<NamingRule>,
}

impl NamingConvention {
    pub(super) fn new(rules: Vec<NamingRule>) -> Self {
        Self { rules }
    }

    /// The rule for what is to be made; the first that covers it.
    fn rule(&self, asked: &Attributes) -> Option<&NamingRule> {
        let is_new = asked.operation == Operation::Create && asked.subresource.is_empty();
        let resource = asked.kind.qualified();
        self.rules.iter().find(|rule| is_new && rule.scope.covers(&asked.namespace, &resource))
    }

    /// The rule of another namespace by whose prefix a name begins, unless it begins by our own.
    fn foreign(&self, asked: &Attributes, name: &str) -> Option<&NamingRule> {
        // One prefix may be the beginning of another: `pay-` and `pay-eu-`.
        if self.rule(asked).is_some_and(|own| name.starts_with(&own.prefix)) {
            return None;
        }
        let is_foreign = |rule: &&NamingRule| !rule.scope.covers_namespace(&asked.namespace);
        self.rules.iter().filter(is_foreign).find(|rule| name.starts_with(&rule.prefix))
    }
}

impl Plugin for NamingConvention {
    fn name(&self) -> PluginName {
        PluginName::NamingConvention
    }

    fn mutate(&self, asked: &mut Attributes, notes: &mut Notes<'_>) -> Result<Said, ApiError> {
        let Some(rule) = self.rule(asked) else { return Ok(Said::Nothing) };
        let field = if asked.name.is_empty() { "generateName" } else { "name" };
        let written = asked.shown_name().to_owned();
        if written.is_empty()
            || KNOWN_NAMES.contains(&&*written)
            || written.starts_with(&rule.prefix)
            || self.foreign(asked, &written).is_some()
        {
            return Ok(Said::Nothing);
        }
        let name = format!("{}{written}", rule.prefix);
        let metadata = asked.object.as_mut().and_then(|object| object.get_mut("metadata"));
        let Some(metadata) = metadata.and_then(Value::as_object_mut) else { return Ok(Said::Nothing) };
        metadata.insert(field.to_owned(), name.clone().into());
        if field == "name" {
            asked.name.clone_from(&name);
        }
        notes.warn(format!(
            "names in {} begin with {}: {written} is stored as {name}",
            asked.namespace, rule.prefix
        ));
        notes.annotate("renamed-from", written.clone());
        Ok(Said::Changed(format!("the name {written} became {name}")))
    }

    fn validate(&self, asked: &Attributes, _: &mut Notes<'_>) -> Result<Said, ApiError> {
        let Some(rule) = self.rule(asked) else { return Ok(Said::Nothing) };
        let name = asked.shown_name();
        if KNOWN_NAMES.contains(&name) {
            return Ok(Said::Fine(format!("{name} is a name that comes with each namespace")));
        }
        if let Some(other) = self.foreign(asked, name) {
            let why = format!(
                "names that begin with {} belong to the namespace {}; in {} they begin with {}",
                other.prefix,
                other.scope.namespaces.join(", "),
                asked.namespace,
                rule.prefix
            );
            return Err(asked.refuse(&why));
        }
        if !name.starts_with(&rule.prefix) {
            let why = format!("names in {} begin with {}", asked.namespace, rule.prefix);
            return Err(asked.refuse(&why));
        }
        Ok(Said::Fine(format!("{name} begins with {}", rule.prefix)))
    }
}
