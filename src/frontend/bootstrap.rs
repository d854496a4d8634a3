//! What every cluster has from the start, and what comes with each namespace; then the objects that a configuration names.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::authorizers::rbac::bootstrap;
use super::resources::{self, RESOURCES, ResourceType};
use super::storage::{Object, Storage, StorageError};

/// The namespaces of every cluster.
const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

/// Why an object cannot be there from the start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BootstrapError {
    /// It has no kind that is served.
    #[error("{0} is no kind of objects that is kept here")]
    UnknownKind(String),
    /// It has no name.
    #[error("a {0} without metadata.name")]
    Unnamed(&'static str),
    /// It is in a namespace, and its kind is in none; or the other way round.
    #[error("{kind} {name}: {why}")]
    Namespace {
        /// The kind.
        kind: &'static str,
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It cannot have the address or the port that it wants.
    #[error("{kind} {name}: {why}")]
    Address {
        /// The kind.
        kind: &'static str,
        /// The name.
        name: String,
        /// Why.
        why: String,
    },
    /// It cannot be kept.
    #[error("{kind} {name}: {error}")]
    Storage {
        /// The kind.
        kind: &'static str,
        /// The name.
        name: String,
        /// Why.
        error: StorageError,
    },
}

/// Keeps what every cluster has. `ca_pem` is what pods are told to trust.
///
/// # Errors
/// Where the storage is not empty.
pub(super) async fn cluster(storage: &Storage, ca_pem: &str, now: Timestamp) -> Result<(), BootstrapError> {
    for name in NAMESPACES {
        keep(
            storage,
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
            ca_pem,
            now,
        )
        .await?;
    }
    for object in bootstrap::cluster_roles().into_iter().chain(bootstrap::cluster_role_bindings()) {
        keep(storage, object, ca_pem, now).await?;
    }
    keep(storage, api_service(), ca_pem, now).await
}

/// The service by which pods find the API (`kubernetes/pkg/controlplane/controller/kubernetesservice`). Here nothing listens
/// at its address.
fn api_service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "clusterIP": "10.96.0.1",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
        },
    })
}

/// Keeps an object that somebody wrote down. It goes through no stage: whoever configures the front end may have it as they
/// like.
///
/// # Errors
/// Where it is of no kind that is kept, or is there already.
pub(super) async fn keep(
    storage: &Storage,
    mut object: Value,
    ca_pem: &str,
    now: Timestamp,
) -> Result<(), BootstrapError> {
    let kind = kind_of(&object)?;
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (name, namespace) = (text("/metadata/name"), text("/metadata/namespace"));
    if name.is_empty() {
        return Err(BootstrapError::Unnamed(kind.kind));
    }
    let wrong = |why| BootstrapError::Namespace { kind: kind.kind, name: name.clone(), why };
    match (kind.namespaced, namespace.is_empty()) {
        (true, true) => return Err(wrong("it must name its namespace")),
        (false, false) => return Err(wrong("its kind is in no namespace")),
        _ => {}
    }
    complete(&mut object, kind, now);
    super::api::assign(storage, kind, &mut object).map_err(|error| BootstrapError::Address {
        kind: kind.kind,
        name: name.clone(),
        why: error.message,
    })?;
    let kept = storage.create_within(kind, &namespace, &name, object).await;
    let kept = kept.map_err(|error| BootstrapError::Storage { kind: kind.kind, name, error })?;
    companions(storage, kind, &kept, ca_pem, now).await
}

/// What comes with a new namespace: the ServiceAccount of pods that name none, and the authority that pods trust. In a
/// cluster, controllers make them (`kubernetes/pkg/controller/{serviceaccount,certificates/rootcacertpublisher}`).
///
/// # Errors
/// Where the storage is full.
pub(super) async fn companions(
    storage: &Storage,
    kind: &'static ResourceType,
    object: &Object,
    ca_pem: &str,
    now: Timestamp,
) -> Result<(), BootstrapError> {
    if !kind.group.is_empty() || kind.resource != "namespaces" {
        return Ok(());
    }
    let namespace = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    for (resource, name, mut companion) in [
        ("serviceaccounts", "default", json!({"apiVersion": "v1", "kind": "ServiceAccount"})),
        (
            "configmaps",
            "kube-root-ca.crt",
            json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"ca.crt": ca_pem}}),
        ),
    ] {
        let Some(kind) = resources::find("", resource) else { continue };
        if let Some(fields) = companion.as_object_mut() {
            fields.insert("metadata".to_owned(), json!({"name": name, "namespace": namespace}));
        }
        complete(&mut companion, kind, now);
        match storage.create_within(kind, namespace, name, companion).await {
            Ok(_) | Err(StorageError::AlreadyExists) => {}
            Err(error) => {
                return Err(BootstrapError::Storage { kind: kind.kind, name: name.to_owned(), error });
            }
        }
    }
    Ok(())
}

fn kind_of(object: &Value) -> Result<&'static ResourceType, BootstrapError> {
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    RESOURCES
        .iter()
        .find(|known| known.is_stored() && known.kind == kind && known.api_version() == version)
        .ok_or_else(|| BootstrapError::UnknownKind(format!("{version} {kind}")))
}

/// Fills in what the API fills in on a create.
fn complete(object: &mut Value, kind: &ResourceType, now: Timestamp) {
    super::api::complete(kind, object, now);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_api_has_a_service_whose_address_nobody_else_can_have() {
        let (storage, now) = (Storage::new(), "2026-03-01T12:00:00Z".parse().unwrap());
        cluster(&storage, "", now).await.unwrap();
        let services = resources::find("", "services").unwrap();
        let service = storage.get(services, "default", "kubernetes").unwrap();
        assert_eq!(service.pointer("/spec/clusterIP").unwrap(), "10.96.0.1");
        let thief = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "thief", "namespace": "default"},
            "spec": {"clusterIP": "10.96.0.1", "ports": [{"port": 80}]},
        });
        assert!(matches!(keep(&storage, thief, "", now).await, Err(BootstrapError::Address { .. })));
    }
}
