//! What is filled in where a client leaves it out.
//!
//! Sources: `k8s.io/kubernetes/pkg/apis/core/v1/defaults.go`, `.../apps/v1/defaults.go`, `.../rbac/v1/defaults.go`, and the conversions beside them.
//! What plugins fill in (a pod's service account) is left to them.

use serde_json::{Map, Value, json};

use super::{service, webhook};
use crate::frontend::api::meta;
use crate::frontend::resources::ResourceType;

const RBAC: &str = "rbac.authorization.k8s.io";

/// Fills in defaults. Doing it twice changes nothing.
pub(in crate::frontend::api) fn fill(kind: &ResourceType, object: &mut Value) {
    match kind.kind {
        "Pod" => pod(object),
        "Deployment" => deployment(object),
        "ReplicaSet" => replica_set(object),
        "Service" => {
            if let Some(spec) = meta::part_of(object, "spec") {
                service::defaults(spec);
            }
        }
        "Namespace" => namespace(object),
        "Secret" => secret(object),
        "RoleBinding" | "ClusterRoleBinding" => binding(object),
        "MutatingWebhookConfiguration" => webhook::defaults(true, object),
        "ValidatingWebhookConfiguration" => webhook::defaults(false, object),
        _ => {}
    }
}

fn namespace(namespace: &mut Value) {
    let name = meta::text(namespace, "name").to_owned();
    if !name.is_empty()
        && let Some(metadata) = meta::part_of(namespace, "metadata")
        && let Some(labels) = metadata.entry("labels").or_insert_with(|| json!({})).as_object_mut()
    {
        labels.insert("kubernetes.io/metadata.name".into(), name.into());
    }
    meta::default_in(namespace, "spec", "finalizers", json!(["kubernetes"]));
}

/// `stringData` is only written: it becomes part of `data`, and goes before it.
fn secret(secret: &mut Value) {
    let Some(fields) = secret.as_object_mut() else { return };
    if let Some(Value::Object(texts)) = fields.remove("stringData") {
        let data = fields.entry("data").or_insert_with(|| Value::Object(Map::new()));
        if let Some(data) = data.as_object_mut() {
            for (key, value) in texts {
                let text = value.as_str().unwrap_or_default();
                data.insert(key, data_encoding::BASE64.encode(text.as_bytes()).into());
            }
        }
    }
    if fields.get("type").and_then(Value::as_str).unwrap_or_default().is_empty() {
        fields.insert("type".into(), "Opaque".into());
    }
}

fn binding(binding: &mut Value) {
    if let Some(role) = binding.get_mut("roleRef").and_then(Value::as_object_mut) {
        default(role, "apiGroup", RBAC.into());
    }
    let subjects = binding.get_mut("subjects").and_then(Value::as_array_mut);
    for subject in subjects.into_iter().flatten().filter_map(Value::as_object_mut) {
        if matches!(subject.get("kind").and_then(Value::as_str), Some("User" | "Group")) {
            default(subject, "apiGroup", RBAC.into());
        }
    }
}

fn deployment(deployment: &mut Value) {
    let Some(spec) = meta::part_of(deployment, "spec") else { return };
    // What protobuf says with its zeroes, JSON leaves out.
    spec.retain(|field, value| match &**field {
        "minReadySeconds" => *value != 0,
        "paused" => *value != false,
        _ => true,
    });
    default(spec, "replicas", 1.into());
    default(spec, "revisionHistoryLimit", 10.into());
    default(spec, "progressDeadlineSeconds", 600.into());
    let strategy = spec.entry("strategy").or_insert_with(|| json!({}));
    if let Some(strategy) = strategy.as_object_mut() {
        default(strategy, "type", "RollingUpdate".into());
    }
    if meta::text_at(strategy, "/type") == "RollingUpdate"
        && let Some(rolling) = meta::part_of(strategy, "rollingUpdate")
    {
        default(rolling, "maxUnavailable", "25%".into());
        default(rolling, "maxSurge", "25%".into());
    }
    template(spec);
}

fn replica_set(set: &mut Value) {
    let Some(spec) = meta::part_of(set, "spec") else { return };
    default(spec, "replicas", 1.into());
    template(spec);
}

/// What pods are made from is a pod, but for its name.
fn template(spec: &mut Map<String, Value>) {
    if let Some(template) = spec.get_mut("template") {
        pod(template);
    }
}

fn pod(pod: &mut Value) {
    let Some(spec) = meta::part_of(pod, "spec") else { return };
    default(spec, "restartPolicy", "Always".into());
    default(spec, "dnsPolicy", "ClusterFirst".into());
    default(spec, "schedulerName", "default-scheduler".into());
    default(spec, "terminationGracePeriodSeconds", 30.into());
    default(spec, "enableServiceLinks", true.into());
    default(spec, "securityContext", json!({}));
    // The old name of the same field, kept in step with it.
    let account = ["serviceAccountName", "serviceAccount"].iter().find_map(|field| {
        let name = spec.get(*field)?.as_str()?;
        (!name.is_empty()).then(|| Value::from(name))
    });
    if let Some(account) = account {
        spec.insert("serviceAccountName".into(), account.clone());
        spec.insert("serviceAccount".into(), account);
    }
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        containers.into_iter().flatten().filter_map(Value::as_object_mut).for_each(container);
    }
}

fn container(container: &mut Map<String, Value>) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let policy = if is_latest(image) { "Always" } else { "IfNotPresent" };
    default(container, "imagePullPolicy", policy.into());
    default(container, "terminationMessagePath", "/dev/termination-log".into());
    default(container, "terminationMessagePolicy", "File".into());
    default(container, "resources", json!({}));
    let ports = container.get_mut("ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
        default(port, "protocol", "TCP".into());
    }
}

/// Whether an image is `latest`, said or left out; one by digest is not.
fn is_latest(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let name = image.rsplit('/').next().unwrap_or_default();
    name.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

pub(super) fn default(fields: &mut Map<String, Value>, field: &str, value: Value) {
    let is_empty = fields.get(field).is_none_or(|held| held.as_str() == Some(""));
    if is_empty {
        fields.insert(field.to_owned(), value);
    }
}
