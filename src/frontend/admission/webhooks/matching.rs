//! Which requests a webhook is asked about: rules, selectors and conditions.
//!
//! Sources: `k8s.io/apiserver/pkg/admission/plugin/webhook/predicates/{rules,namespace,object}` and
//! `.../webhook/matchconditions`.

use serde_json::{Value, json};

use super::review;
use crate::cel::{CompileError, Expression};
use crate::frontend::admission::{Attributes, Operation};
use crate::frontend::meta::{items, text_at};
use crate::frontend::selector::{LabelSelector, labels};
use crate::frontend::status::ApiError;
use crate::frontend::storage::Storage;
use crate::frontend::{meta, resources};

/// How many conditions a webhook may have.
pub const MAX_CONDITIONS: usize = 64;

/// What a condition may name of `request` (`AdmissionRequest` without its objects and its UID).
const FIELDS: [&str; 12] = [
    "kind",
    "resource",
    "subResource",
    "requestKind",
    "requestResource",
    "requestSubResource",
    "name",
    "namespace",
    "operation",
    "userInfo",
    "dryRun",
    "options",
];

/// Compiles a condition: `object`, `oldObject` and `request` stand for what is asked. There is no `authorizer`.
///
/// # Errors
/// Where it is none, or names what there is not.
pub fn compile_condition(text: &str) -> Result<Expression, CompileError> {
    let expression = Expression::compile(text, &["object", "oldObject", "request"])?;
    let is_unknown = |fields: &str| {
        let first = fields.split('.').next().unwrap_or_default();
        !first.is_empty() && !FIELDS.contains(&first)
    };
    let unknown =
        expression.paths().iter().find(|path| path.variable == "request" && is_unknown(&path.fields));
    match unknown {
        None => Ok(expression),
        Some(path) => Err(CompileError {
            offset: path.offset,
            message: format!("undefined field '{}' of request", path.fields),
            help: None,
        }),
    }
}

/// What a webhook wants to be asked about.
#[derive(Debug)]
pub(super) struct Interest {
    rules: Vec<Rule>,
    namespaces: Result<LabelSelector, String>,
    objects: Result<LabelSelector, String>,
    conditions: Vec<(String, Result<Expression, String>)>,
}

/// One of its rules. Empty lists match nothing.
#[derive(Debug)]
struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    scope: String,
}

/// Whether a webhook is asked.
#[derive(Debug, PartialEq)]
pub(super) enum Matching {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// Its conditions cannot be evaluated.
    Unknown(String),
}

impl Interest {
    pub(super) fn read(webhook: &Value) -> Self {
        let selector =
            |field| webhook.get(field).map_or(Ok(LabelSelector::default()), LabelSelector::from_object);
        let condition = |condition: &Value| {
            let compiled =
                compile_condition(text_at(condition, "/expression")).map_err(|error| error.to_string());
            (text_at(condition, "/name").to_owned(), compiled)
        };
        Self {
            rules: items(webhook, "/rules").map(Rule::read).collect(),
            namespaces: selector("namespaceSelector"),
            objects: selector("objectSelector"),
            conditions: items(webhook, "/matchConditions").take(MAX_CONDITIONS).map(condition).collect(),
        }
    }

    /// Whether a request is of its interest, from what costs least to what costs most.
    ///
    /// # Errors
    /// Where the namespace of the request is not there, or a selector is none.
    pub(super) fn matches(&self, asked: &Attributes, storage: &Storage) -> Result<Matching, ApiError> {
        if !self.rules.iter().any(|rule| rule.matches(asked))
            || !self.selects_namespace(asked, storage)?
            || !self.selects_object(asked)?
        {
            return Ok(Matching::No);
        }
        Ok(self.conditions_hold(asked))
    }

    fn selects_namespace(&self, asked: &Attributes, storage: &Storage) -> Result<bool, ApiError> {
        let selector = self.namespaces.as_ref().map_err(ApiError::internal)?;
        // Objects of the cluster are never left out by it; a namespace is in itself.
        if selector.is_empty() || (asked.namespace.is_empty() && !is_namespace(asked)) {
            return Ok(true);
        }
        if is_namespace(asked)
            && asked.subresource.is_empty()
            && matches!(asked.operation, Operation::Create | Operation::Update)
            && let Some(namespace) = &asked.object
        {
            return Ok(selector.matches_object(namespace));
        }
        let kind = resources::find("", "namespaces").ok_or_else(ApiError::no_such_path)?;
        let namespace = storage.get(kind, "", &asked.namespace);
        let namespace = namespace.ok_or_else(|| ApiError::not_found(kind, &asked.namespace))?;
        Ok(selector.matches_object(&namespace))
    }

    fn selects_object(&self, asked: &Attributes) -> Result<bool, ApiError> {
        let selector = self.objects.as_ref().map_err(ApiError::internal)?;
        let selects = |object: &Value| selector.matches(&labels(object));
        Ok(selector.is_empty()
            || asked.object.as_ref().is_some_and(selects)
            || asked.old.as_ref().is_some_and(|old| selects(old)))
    }

    /// One that is false settles it, whatever is wrong with others.
    fn conditions_hold(&self, asked: &Attributes) -> Matching {
        if self.conditions.is_empty() {
            return Matching::Yes;
        }
        let request = review::request(asked);
        let object = asked.object.clone().unwrap_or_default();
        let old = asked.old.as_ref().map(|old| Value::clone(old)).unwrap_or_default();
        let mut errors = Vec::new();
        for (name, condition) in &self.conditions {
            let held = condition.as_ref().map_err(Clone::clone).and_then(|condition| {
                let variables = [("object", &object), ("oldObject", &old), ("request", &request)];
                condition.evaluate(&variables).map_err(|error| error.to_string())
            });
            match held {
                Ok(true) => {}
                Ok(false) => return Matching::No,
                Err(error) => errors.push(format!("match condition {name:?}: {error}")),
            }
        }
        if errors.is_empty() { Matching::Yes } else { Matching::Unknown(errors.join(", ")) }
    }
}

impl Rule {
    fn read(rule: &Value) -> Self {
        let texts =
            |pointer: &str| items(rule, pointer).filter_map(Value::as_str).map(str::to_owned).collect();
        Self {
            operations: texts("/operations"),
            groups: texts("/apiGroups"),
            versions: texts("/apiVersions"),
            resources: texts("/resources"),
            scope: text_at(rule, "/scope").to_owned(),
        }
    }

    fn matches(&self, asked: &Attributes) -> bool {
        let has = |list: &[String], value: &str| list.iter().any(|held| held == "*" || held == value);
        self.is_in_scope(asked)
            && has(&self.groups, asked.kind.group)
            && has(&self.versions, asked.kind.version)
            && has(&self.operations, asked.operation.as_str())
            && self.resources.iter().any(|pattern| is_resource(pattern, asked))
    }

    fn is_in_scope(&self, asked: &Attributes) -> bool {
        let is_in_namespace = !asked.namespace.is_empty() && !is_namespace(asked);
        match &*self.scope {
            "Namespaced" => is_in_namespace,
            "Cluster" => !is_in_namespace,
            _ => true,
        }
    }
}

/// `pods`, `pods/log`, `pods/*` (the pods as well), `*` (no subresource), `*/scale`, `*/*`.
fn is_resource(pattern: &str, asked: &Attributes) -> bool {
    let (resource, subresource) = pattern.split_once('/').unwrap_or((pattern, ""));
    (resource == "*" || resource == asked.kind.resource)
        && (subresource == "*" || subresource == asked.subresource)
}

pub(super) fn is_namespace(asked: &Attributes) -> bool {
    asked.kind.group.is_empty() && asked.kind.resource == "namespaces"
}

/// What no webhook is asked about, so that one that fails can be removed
/// (`k8s.io/apiserver/pkg/admission/plugin/webhook/predicates/rules/rules.go`: `IsExemptAdmissionConfigurationResource`).
pub(super) fn is_exempt(asked: &Attributes) -> bool {
    asked.kind.group == "admissionregistration.k8s.io"
}

/// The name of what is asked about, for a refusal.
pub(super) fn forbidden(asked: &Attributes, why: &str) -> ApiError {
    let name = match &*asked.name {
        "" => asked.object.as_ref().map(|object| meta::text(object, "name")).unwrap_or_default(),
        name => name,
    };
    ApiError::forbidden_object(asked.kind, name, why)
}

/// A group, a version and a kind as reviews have them.
pub(super) fn kind_of(asked: &Attributes) -> Value {
    match asked.kind.subresource(&asked.subresource) {
        Some(part) => json!({"group": part.group, "version": part.version, "kind": part.kind}),
        None => json!({"group": asked.kind.group, "version": asked.kind.version, "kind": asked.kind.kind}),
    }
}
