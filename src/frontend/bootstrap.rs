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

/// A start: what has to be there is made, where it is not there from an earlier process.
pub(super) struct Start<'a> {
    pub(super) storage: &'a Storage,
    /// What pods are told to trust.
    pub(super) ca_pem: &'a str,
    pub(super) now: Timestamp,
    /// The version that the storage had before: what has no later one is left as it is.
    pub(super) opened_at: u64,
}

impl Start<'_> {
    /// Keeps what every cluster has.
    ///
    /// # Errors
    /// Where the storage cannot be written.
    pub(super) async fn cluster(&self) -> Result<(), BootstrapError> {
        for name in NAMESPACES {
            self.keep(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).await?;
        }
        for object in bootstrap::cluster_roles().into_iter().chain(bootstrap::cluster_role_bindings()) {
            self.keep(object).await?;
        }
        self.keep(api_service()).await
    }

    /// Keeps an object that somebody wrote down, unless it was there before. It goes through no stage: whoever configures
    /// the front end may have it as they like. What cannot be had because of what users did meanwhile is told, and does not
    /// keep the front end from starting: nobody could put it right then.
    ///
    /// # Errors
    /// Where it is of no kind that is kept, or stands there twice.
    pub(super) async fn keep(&self, mut object: Value) -> Result<(), BootstrapError> {
        let Self { storage, ca_pem, now, opened_at } = *self;
        let kind = kind_of(&object)?;
        let text =
            |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
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
        let there = storage.get(kind, &namespace, &name);
        if there.is_some_and(|object| is_of(&object, opened_at)) {
            return Ok(());
        }
        complete(&mut object, kind, now);
        let given = super::api::assign(storage, kind, &mut object).map_err(|error| BootstrapError::Address {
            kind: kind.kind,
            name: name.clone(),
            why: error.message,
        });
        let kept = match given {
            Ok(()) => storage
                .create_within(kind, &namespace, &name, object)
                .await
                .map_err(|error| BootstrapError::Storage { kind: kind.kind, name, error }),
            Err(error) => Err(error),
        };
        match kept {
            Ok(kept) => companions(storage, kind, &kept, ca_pem, now).await,
            Err(error) if self.is_by_users(&namespace, &error) => {
                tracing::warn!(%error, "what is to be there from the start cannot be");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Whether an object cannot be had because of what was stored before this start.
    fn is_by_users(&self, namespace: &str, error: &BootstrapError) -> bool {
        let kept =
            |resource, namespace, name| self.storage.get(resources::find("", resource)?, namespace, name);
        let is_old = |object: Option<Object>| object.is_some_and(|object| is_of(&object, self.opened_at));
        match error {
            BootstrapError::Storage { error: StorageError::Full(_), .. } | BootstrapError::Address { .. } => {
                is_old(kept("namespaces", "", "kube-system"))
            }
            BootstrapError::Storage { error: StorageError::NoNamespace(_), .. } => {
                is_old(kept("namespaces", "", namespace))
            }
            _ => false,
        }
    }
}

/// Whether an object has this version or an earlier one.
fn is_of(object: &Value, version: u64) -> bool {
    super::meta::text(object, "resourceVersion").parse::<u64>().is_ok_and(|its| its <= version)
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
        let start = Start { storage: &storage, ca_pem: "", now, opened_at: storage.version() };
        start.cluster().await.unwrap();
        let services = resources::find("", "services").unwrap();
        let service = storage.get(services, "default", "kubernetes").unwrap();
        assert_eq!(service.pointer("/spec/clusterIP").unwrap(), "10.96.0.1");
        let thief = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "thief", "namespace": "default"},
            "spec": {"clusterIP": "10.96.0.1", "ports": [{"port": 80}]},
        });
        assert!(matches!(start.keep(thief).await, Err(BootstrapError::Address { .. })));
    }
}
