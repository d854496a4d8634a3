//! `ServiceAccount`: every pod runs as a ServiceAccount that is there, and gets at its token.
//!
//! Smaller than in an API server: there are no mirror pods, no secret references to limit, and a pod's ServiceAccount is not
//! asked for `mountable-secrets`.
//!
//! Source: `kubernetes/plugin/pkg/admission/serviceaccount/admission.go`.

use serde_json::{Map, Value, json};

use super::{Attributes, CONTAINER_LISTS, Notes, Operation, Plugin, PluginName, Said};
use crate::frontend::resources;
use crate::frontend::status::ApiError;
use crate::frontend::storage::Object;

/// The ServiceAccount of pods that name none.
const DEFAULT: &str = "default";
/// Where a container finds its token.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// The volume that brings it. In a cluster there is a random end to the name; here the same pod gets the same volume.
const VOLUME: &str = "kube-api-access";
/// How long the token in the volume lives, in seconds.
const TOKEN_SECONDS: u64 = 3_607;

/// See the [module](self).
pub(super) struct ServiceAccount;

impl Plugin for ServiceAccount {
    fn name(&self) -> PluginName {
        PluginName::ServiceAccount
    }

    fn mutate(&self, asked: &mut Attributes, notes: &mut Notes<'_>) -> Result<Said, ApiError> {
        if asked.operation != Operation::Create || !asked.is_core("pods") {
            return Ok(Said::Nothing);
        }
        let written = asked.text("/spec/serviceAccountName").or_else(|| asked.text("/spec/serviceAccount"));
        let name = written.filter(|name| !name.is_empty()).unwrap_or(DEFAULT).to_owned();
        let account = account(asked, &name, notes)?;
        let mut done = Vec::new();
        if let Some(spec) = spec(asked) {
            if spec.get("serviceAccountName").and_then(Value::as_str) != Some(&name) {
                spec.insert("serviceAccountName".into(), name.clone().into());
                done.push(format!("the pod runs as the ServiceAccount {name}"));
            }
            // The old name of the same field.
            spec.insert("serviceAccount".into(), name.clone().into());
            let secrets = account.get("imagePullSecrets").filter(|secrets| !is_empty(secrets));
            if let Some(secrets) = secrets.filter(|_| spec.get("imagePullSecrets").is_none_or(is_empty)) {
                spec.insert("imagePullSecrets".into(), secrets.clone());
                done.push("it pulls images with that ServiceAccount's secrets".to_owned());
            }
            if wants_token(spec, &account) && mount_token(spec) {
                done.push("its token is mounted".to_owned());
            }
        }
        Ok(match done.is_empty() {
            true => Said::Fine(format!("the ServiceAccount {name} is there")),
            false => Said::Changed(done.join("; ")),
        })
    }

    fn validate(&self, asked: &Attributes, notes: &mut Notes<'_>) -> Result<Said, ApiError> {
        if asked.operation != Operation::Create || !asked.is_core("pods") {
            return Ok(Said::Nothing);
        }
        match asked.text("/spec/serviceAccountName") {
            Some(name) => account(asked, name, notes).map(|_| Said::Nothing),
            None => Err(asked.refuse("no service account specified for pod")),
        }
    }
}

fn account(asked: &Attributes, name: &str, notes: &Notes<'_>) -> Result<Object, ApiError> {
    let kind = resources::find("", "serviceaccounts");
    kind.and_then(|kind| notes.storage.get(kind, &asked.namespace, name)).ok_or_else(|| {
        let why = format!(
            "error looking up service account {}/{name}: serviceaccount {name:?} not found",
            asked.namespace
        );
        asked.refuse(&why)
    })
}

fn spec(asked: &mut Attributes) -> Option<&mut Map<String, Value>> {
    asked.object.as_mut()?.get_mut("spec")?.as_object_mut()
}

fn is_empty(list: &Value) -> bool {
    list.as_array().is_none_or(Vec::is_empty)
}

/// The pod's word counts before the ServiceAccount's.
fn wants_token(spec: &Map<String, Value>, account: &Value) -> bool {
    let word = |object: Option<&Value>| object.and_then(Value::as_bool);
    word(spec.get("automountServiceAccountToken"))
        .or_else(|| word(account.get("automountServiceAccountToken")))
        .unwrap_or(true)
}

/// Mounts the token into each container that has nothing there. Returns whether there is any such.
fn mount_token(spec: &mut Map<String, Value>) -> bool {
    let mut mounted = false;
    let containers = CONTAINER_LISTS.iter().filter(|list| **list != "ephemeralContainers");
    for list in containers {
        for container in spec.get_mut(*list).and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(container) = container.as_object_mut() else { continue };
            let mounts = container.entry("volumeMounts").or_insert_with(|| json!([]));
            let Some(mounts) = mounts.as_array_mut() else { continue };
            let is_taken = |mount: &Value| mount.get("mountPath").and_then(Value::as_str) == Some(MOUNT_PATH);
            if !mounts.iter().any(is_taken) {
                mounts.push(json!({"name": VOLUME, "mountPath": MOUNT_PATH, "readOnly": true}));
                mounted = true;
            }
        }
    }
    let volumes = spec.entry("volumes").or_insert_with(|| json!([]));
    if let (true, Some(volumes)) = (mounted, volumes.as_array_mut()) {
        let is_there = |volume: &Value| volume.get("name").and_then(Value::as_str) == Some(VOLUME);
        if !volumes.iter().any(is_there) {
            volumes.push(volume());
        }
    }
    if spec.get("volumes").is_some_and(is_empty) {
        spec.remove("volumes");
    }
    mounted
}

fn volume() -> Value {
    json!({"name": VOLUME, "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace",
            "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]}})
}
