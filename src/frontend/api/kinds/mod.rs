//! What is particular to each kind: what is filled in, what may not change, and what must hold.
//!
//! Semantics: the strategies of `k8s.io/kubernetes/pkg/registry`, the defaults of `.../pkg/apis/*/v1/defaults.go` and the
//! checks of `.../pkg/apis/*/validation/validation.go`, as far as the fields matter without kubelets and controllers.

mod data;
mod defaults;
mod metadata;
mod pod;
mod rbac;
pub(super) mod service;
mod webhook;
pub(super) mod workload;

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::meta;
use crate::frontend::resources::ResourceType;
use crate::frontend::status::{ApiError, Cause, CauseKind};

pub(super) use defaults::fill as default;
pub(super) use metadata::generated_name;

/// Makes an object that a client sent a new one: what only the server says of it is said by the server. Its name and
/// namespace are set.
pub(super) fn prepare_create(kind: &ResourceType, object: &mut Value, now: Timestamp) {
    for field in [
        "selfLink",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "managedFields",
        "resourceVersion",
        "generation",
    ] {
        meta::remove(object, field);
    }
    meta::set(object, "uid", Uuid::new_v4().to_string());
    meta::set(object, "creationTimestamp", seconds(now));
    match kind.kind {
        "Pod" => {
            let qos = pod::quality_of_service(object);
            meta::set(object, "generation", 1);
            set(object, "status", json!({"phase": "Pending", "qosClass": qos}));
        }
        "Namespace" => set(object, "status", json!({"phase": "Active"})),
        "Service" => set(object, "status", json!({"loadBalancer": {}})),
        "Deployment" => {
            meta::set(object, "generation", 1);
            set(object, "status", json!({}));
        }
        "ReplicaSet" => {
            meta::set(object, "generation", 1);
            set(object, "status", json!({"replicas": 0}));
        }
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => {
            meta::set(object, "generation", 1);
        }
        _ => {}
    }
}

/// Keeps in a changed object what clients cannot change: where it came from, and the part that this path does not write.
pub(super) fn prepare_update(kind: &ResourceType, subresource: &str, object: &mut Value, old: &Value) {
    if subresource == "status" {
        let status = object.get("status").cloned();
        *object = old.clone();
        match status {
            Some(status) => set(object, "status", status),
            None => unset(object, "status"),
        }
        return;
    }
    for field in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "selfLink",
    ] {
        meta::copy(object, field, old);
    }
    meta::remove(object, "managedFields");
    if kind.subresources.iter().any(|subresource| subresource.name == "status") {
        match old.get("status") {
            Some(status) => set(object, "status", status.clone()),
            None => unset(object, "status"),
        }
    }
    let is_other_spec = |object: &Value| object.get("spec") != old.get("spec");
    match kind.kind {
        "Pod" => {
            pod::keep(object, old);
            count_generation(object, old, is_other_spec(object));
        }
        "Deployment" => {
            // Its controller copies annotations to what it makes.
            let is_other = meta::get(object, "annotations") != meta::get(old, "annotations");
            count_generation(object, old, is_other || is_other_spec(object));
        }
        "ReplicaSet" => count_generation(object, old, is_other_spec(object)),
        "Service" => service::keep(object, old),
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => {
            count_generation(object, old, object.get("webhooks") != old.get("webhooks"));
        }
        _ => {}
    }
}

/// Counts how often what is wanted of an object became another.
fn count_generation(object: &mut Value, old: &Value, is_other: bool) {
    if is_other {
        let generation = meta::get(old, "generation").and_then(Value::as_i64).unwrap_or_default();
        meta::set(object, "generation", generation.saturating_add(1));
    }
}

/// Judges an object that is to be stored, by itself and by what it was before.
///
/// # Errors
/// 422 with everything that is wrong with it.
pub(super) fn validate(kind: &ResourceType, object: &Value, old: Option<&Value>) -> Result<(), ApiError> {
    let mut faults = Faults::default();
    metadata::validate(kind, object, old, &mut faults);
    match kind.kind {
        "Pod" => pod::validate(object, old, &mut faults),
        "Deployment" => workload::deployment(object, old, &mut faults),
        "ReplicaSet" => workload::replica_set(object, old, &mut faults),
        "Scale" => workload::scale(object, &mut faults),
        "Service" => service::validate(object, old, &mut faults),
        "ConfigMap" => data::config_map(object, old, &mut faults),
        "Secret" => data::secret(object, old, &mut faults),
        "Role" | "ClusterRole" => rbac::role(kind, object, &mut faults),
        "RoleBinding" | "ClusterRoleBinding" => rbac::binding(kind, object, old, &mut faults),
        "Event" => event(object, &mut faults),
        "MutatingWebhookConfiguration" => webhook::configuration(true, object, &mut faults),
        "ValidatingWebhookConfiguration" => webhook::configuration(false, object, &mut faults),
        _ => {}
    }
    match &*faults.0 {
        [] => Ok(()),
        causes => Err(ApiError::invalid(kind, meta::text(object, "name"), causes)),
    }
}

fn event(event: &Value, faults: &mut Faults) {
    let about = meta::text_at(event, "/involvedObject/namespace");
    let namespace = meta::text(event, "namespace");
    // Events about the cluster's objects stand in `default`.
    if about != namespace && !(about.is_empty() && namespace == "default") {
        faults.invalid("involvedObject.namespace", about, "does not match event.namespace");
    }
}

/// How many faults of one object are told.
const MAX_FAULTS: usize = 50;

/// What is wrong with an object, in the order in which it was found.
#[derive(Debug, Default)]
struct Faults(Vec<Cause>);

impl Faults {
    fn add(&mut self, kind: CauseKind, field: impl Into<String>, message: impl Into<String>) {
        if self.0.len() < MAX_FAULTS {
            self.0.push(Cause::new(kind, field, message));
        }
    }

    fn required(&mut self, field: impl Into<String>, message: &str) {
        self.add(CauseKind::Required, field, message);
    }

    fn invalid(&mut self, field: impl Into<String>, value: &str, message: &str) {
        self.add(CauseKind::Invalid, field, format!("{value:?}: {message}"));
    }

    /// As [`Self::invalid`], for what is no text.
    fn invalid_value(&mut self, field: impl Into<String>, value: &Value, message: &str) {
        self.add(CauseKind::Invalid, field, format!("{value}: {message}"));
    }

    /// What is wrong with a part of an object that stands at this path.
    fn within(&mut self, path: &str, judge: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        judge(&mut inner);
        for fault in inner.0 {
            self.add(fault.reason, format!("{path}.{}", fault.field), fault.message);
        }
    }

    fn forbidden(&mut self, field: impl Into<String>, message: &str) {
        self.add(CauseKind::Forbidden, field, message);
    }

    fn duplicate(&mut self, field: impl Into<String>, value: &str) {
        self.add(CauseKind::Duplicate, field, format!("{value:?}"));
    }

    /// Where a value is set and is none of those that there are.
    fn unless_one_of(&mut self, field: impl Into<String>, value: &str, supported: &[&str]) {
        if !value.is_empty() && !supported.contains(&value) {
            let supported: Vec<String> = supported.iter().map(|value| format!("{value:?}")).collect();
            let message = format!("{value:?}: supported values: {}", supported.join(", "));
            self.add(CauseKind::NotSupported, field, message);
        }
    }
}

/// An instant as objects have it: in whole seconds.
pub(super) fn seconds(now: Timestamp) -> String {
    Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}

fn set(object: &mut Value, field: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(field.to_owned(), value);
    }
}

fn unset(object: &mut Value, field: &str) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove(field);
    }
}

#[cfg(test)]
mod tests;
