//! Where pods run, and that they do not any more: `pods/binding` gives a pod its node, `pods/eviction` takes it away. Both
//! are created, and not kept.
//!
//! Semantics: `k8s.io/kubernetes/pkg/registry/core/pod/storage/{storage,eviction}.go`. As there, admission is asked about
//! the Binding or the Eviction, and not once more about the change of the pod. Smaller here: there are no
//! PodDisruptionBudgets, so that no eviction is put off; a malformed Binding is 422, where an API server answers with 500.

use serde_json::{Value, json};

use super::answer::Answer;
use super::body::{self, Expected};
use super::create::place;
use super::options::{Delete, Write};
use super::reviews::only_json;
use super::stages::{Admitting, Storing, Target};
use super::{Call, delete, garbage, meta};
use crate::frontend::admission::Operation;
use crate::frontend::resources::{self, Subresource};
use crate::frontend::status::{ApiError, Cause, CauseKind};
use crate::frontend::storage::{Object, Preconditions, StorageError};

/// How often it is tried again because the pod was changed just then.
const MAX_TRIES: usize = 5;

/// Deletes a pod for the sake of its node.
pub(super) async fn evict(
    call: &Call<'_>,
    target: Target<'_>,
    subresource: &'static Subresource,
) -> Result<Answer, ApiError> {
    let write = Write::read(call.info, "CreateOptions")?;
    let eviction = read(call, &target, write, &expected(subresource))?;
    is_of_the_path(&target, &eviction, subresource.kind)?;
    let dry_run = write.dry_run || asks_dry_run(&eviction);
    let eviction = admit(call, &target, eviction, dry_run).await?;
    let none = json!({});
    let mut options = Delete::of(eviction.get("deleteOptions").unwrap_or(&none), call.info)?;
    // Webhooks were asked about a dry run: one that replaced the options makes no deletion of it.
    options.dry_run |= dry_run;
    for tries in 1..=MAX_TRIES {
        let pod = target.stored(call.frontend)?;
        delete::is_expected(&target, &options, &pod)?;
        let storing = Storing::begin(call);
        if options.dry_run {
            storing.end("dry run: would have evicted", &Ok(pod));
            return Ok(success());
        }
        let gone = delete::remove(call, &target, &options, &pod).await;
        let is_of_a_version = options.preconditions.resource_version.is_some();
        if matches!(gone, Err(StorageError::Conflict(_))) && tries < MAX_TRIES && !is_of_a_version {
            continue;
        }
        let gone = gone.map_err(|error| target.refused(error));
        storing.end("evicted", &gone);
        garbage::collect(call.frontend, call.now, target.kind, &[gone?]).await;
        return Ok(success());
    }
    Err(ApiError::conflict(target.kind, target.name, "the object has been modified meanwhile"))
}

fn asks_dry_run(eviction: &Value) -> bool {
    meta::items(eviction, "/deleteOptions/dryRun").any(|value| value == "All")
}

/// Gives a pod a node, by its `binding`, or by a Binding of its name among the `bindings` of its namespace.
pub(super) async fn bind(call: &Call<'_>, target: Target<'_>) -> Result<Answer, ApiError> {
    let write = Write::read(call.info, "CreateOptions")?;
    let expected = Expected { api_version: "v1".to_owned(), kind: "Binding" };
    let binding = read(call, &target, write, &expected)?;
    is_of_the_path(&target, &binding, expected.kind)?;
    is_in_order(&binding)?;
    let name = meta::text(&binding, "name").to_owned();
    let asked = Target { name: &name, ..target };
    let binding = admit(call, &asked, binding, write.dry_run).await?;
    is_in_order(&binding)?;
    let kind = resources::find("", "pods").ok_or_else(ApiError::no_such_path)?;
    let pods = Target { kind, name: &name, ..target };
    for _ in 0..MAX_TRIES {
        let pod = pods.stored(call.frontend)?;
        let said = |field| Some(meta::text(&binding, field).to_owned()).filter(|said| !said.is_empty());
        let meant = Delete {
            preconditions: Preconditions { uid: said("uid"), resource_version: said("resourceVersion") },
            ..Delete::default()
        };
        delete::is_expected(&pods, &meant, &pod)?;
        let bound = bound(&pod, &binding).map_err(|why| not_bound(&name, &why))?;
        let storing = Storing::begin(call);
        if write.dry_run {
            storing.end("dry run: would have bound", &Ok(Object::new(bound)));
            return Ok(success());
        }
        let version = Some(meta::text(&pod, "resourceVersion").to_owned());
        let expected = Preconditions { uid: None, resource_version: version };
        let kept = call.frontend.storage.update(kind, target.namespace, &name, &expected, bound).await;
        if matches!(kept, Err(StorageError::Conflict(_))) {
            continue;
        }
        let kept = kept.map_err(|error| pods.refused(error));
        storing.end("bound", &kept);
        return kept.map(|_| success());
    }
    Err(not_bound(&name, "the object has been modified meanwhile"))
}

/// The pod on its node.
fn bound(pod: &Value, binding: &Value) -> Result<Value, String> {
    let name = meta::text(pod, "name");
    if meta::is_going(pod) {
        return Err(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    let node = meta::text_at(pod, "/spec/nodeName");
    if !node.is_empty() {
        return Err(format!("pod {name} is already assigned to node {node:?}"));
    }
    if meta::items(pod, "/spec/schedulingGates").next().is_some() {
        return Err(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    let mut pod = pod.clone();
    meta::set_in(&mut pod, "spec", "nodeName", meta::text_at(binding, "/target/name"));
    if let Some(Value::Object(said)) = meta::get(binding, "annotations") {
        let mut annotations = meta::get(&pod, "annotations").and_then(Value::as_object).cloned();
        annotations.get_or_insert_default().extend(said.clone());
        meta::set(&mut pod, "annotations", annotations.unwrap_or_default());
    }
    let others =
        meta::items(&pod, "/status/conditions").filter(|it| meta::text_at(it, "/type") != "PodScheduled");
    let mut conditions: Vec<Value> = others.cloned().collect();
    conditions.push(json!({"type": "PodScheduled", "status": "True"}));
    meta::set_in(&mut pod, "status", "conditions", conditions);
    Ok(pod)
}

fn not_bound(name: &str, why: &str) -> ApiError {
    let message = format!("Operation cannot be fulfilled on pods/binding {name:?}: {why}");
    let kind = resources::find("", "pods");
    let mut error = kind.map_or_else(ApiError::no_such_path, |kind| ApiError::conflict(kind, name, why));
    error.details.insert("kind".into(), "pods/binding".into());
    ApiError { message, ..error }
}

fn is_in_order(binding: &Value) -> Result<(), ApiError> {
    let kind = meta::text_at(binding, "/target/kind");
    let mut causes = Vec::new();
    if !matches!(kind, "" | "Node") {
        let message = format!("{kind:?}: supported values: \"Node\", \"<empty>\"");
        causes.push(Cause::new(CauseKind::NotSupported, "target.kind", message));
    }
    if meta::text_at(binding, "/target/name").is_empty() {
        causes.push(Cause::new(CauseKind::Required, "target.name", ""));
    }
    match (&*causes, resources::find("", "bindings")) {
        ([], _) => Ok(()),
        (causes, Some(kind)) => Err(ApiError::invalid(kind, meta::text(binding, "name"), causes)),
        (_, None) => Err(ApiError::no_such_path()),
    }
}

fn expected(subresource: &Subresource) -> Expected {
    Expected { api_version: format!("{}/{}", subresource.group, subresource.version), kind: subresource.kind }
}

fn read(call: &Call<'_>, target: &Target<'_>, write: Write, expected: &Expected) -> Result<Value, ApiError> {
    only_json(call)?;
    let mut object = body::object(call, expected, write.validation)?;
    place(target, &mut object)?;
    Ok(object)
}

/// What is created is named as the pod; in a collection, it says itself which that is.
fn is_of_the_path(target: &Target<'_>, object: &Value, kind: &str) -> Result<(), ApiError> {
    match meta::text(object, "name") {
        "" if target.name.is_empty() => {
            Err(ApiError::bad_request(format!("name of the pod is required in the {kind} object")))
        }
        name if target.name.is_empty() || name == target.name => Ok(()),
        _ => Err(ApiError::bad_request(format!("name in URL does not match name in {kind} object"))),
    }
}

async fn admit(
    call: &Call<'_>,
    target: &Target<'_>,
    object: Value,
    dry_run: bool,
) -> Result<Value, ApiError> {
    let name = meta::text(&object, "name").to_owned();
    let mut admitting = Admitting::begin(call);
    let admitted = async {
        let mut asked = target.attributes(call, Operation::Create, (Some(object), None), dry_run);
        admitting.mutate(&mut asked).await?;
        // Whatever was made of it, it is about the pod that was asked for.
        let mut object = asked.object.take().unwrap_or_default();
        meta::set(&mut object, "name", name);
        place(target, &mut object)?;
        asked.object = Some(object);
        admitting.validate(&asked).await?;
        Ok(asked.object.unwrap_or_default())
    }
    .await;
    admitting.end(&admitted);
    admitted
}

fn success() -> Answer {
    let status =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Answer::json(201, &status)
}
