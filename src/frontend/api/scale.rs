//! The `scale` of workloads: how many pods they want, without the rest of them, so that it can be allowed alone.
//!
//! Semantics: `ScaleREST` of `k8s.io/kubernetes/pkg/registry/apps/*/storage/storage.go`. As there, admission is asked about
//! the Scale.

use serde_json::{Value, json};

use super::Call;
use super::change::{Change, is_meant};
use super::kinds::{self, workload};
use super::meta;
use super::options::Write;
use super::stages::{Admitting, Target};
use crate::frontend::admission::Operation;
use crate::frontend::resources::ResourceType;
use crate::frontend::status::ApiError;
use crate::frontend::storage::Object;

/// The name of the subresource.
pub(super) const NAME: &str = "scale";

/// The kind `Scale`, which is no resource of its own.
pub(super) static SCALE: ResourceType = ResourceType {
    group: "autoscaling",
    version: "v1",
    resource: "scales",
    singular: "scale",
    kind: "Scale",
    namespaced: true,
    short_names: &[],
    categories: &[],
    verbs: &["get", "patch", "update"],
    subresources: &[],
};

/// The scale of a workload.
pub(super) fn of(workload: &Value) -> Value {
    let mut scale = json!({
        "apiVersion": SCALE.api_version(), "kind": SCALE.kind, "metadata": {},
        "spec": {"replicas": number(workload, "/spec/replicas")},
        "status": {
            "replicas": number(workload, "/status/replicas"),
            "selector": workload.pointer("/spec/selector").map(workload::selector_text).unwrap_or_default(),
        },
    });
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        meta::copy(&mut scale, field, workload);
    }
    scale
}

fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

/// The third stage of a changed scale: the workload that comes of it.
pub(super) async fn admit(
    call: &Call<'_>,
    target: &Target<'_>,
    write: Write,
    change: &Change,
    old: &Object,
    admitting: &mut Admitting<'_>,
) -> Result<Value, ApiError> {
    let before = Object::new(of(old));
    let scale = change.apply(call, &SCALE, write, &before)?;
    is_meant(target, &scale, old)?;
    let objects = (Some(scale), Some(before));
    let mut asked = target.attributes(call, Operation::Update, objects, write.dry_run);
    admitting.mutate(&mut asked).await?;
    let scale = asked.object.take().unwrap_or_default();
    kinds::validate(&SCALE, &scale, Some(old))?;
    let mut workload = Value::clone(old);
    meta::set_in(&mut workload, "spec", "replicas", number(&scale, "/spec/replicas"));
    kinds::prepare_update(target.kind, NAME, &mut workload, old);
    asked.object = Some(of(&workload));
    admitting.validate(&asked).await?;
    Ok(workload)
}
