//! Creating objects.
//!
//! Semantics: `k8s.io/apiserver/pkg/endpoints/handlers/create.go` and `.../registry/rest/create.go`.

use serde_json::Value;

use super::answer::Answer;
use super::body::{self, Expected};
use super::options::Write;
use super::stages::{Admitting, Storing, Target};
use super::{Call, garbage, kinds, meta, negotiate, represent};
use crate::frontend::admission::Operation;
use crate::frontend::resources::ResourceType;
use crate::frontend::status::ApiError;
use crate::frontend::storage::Object;

/// How many generated names are tried.
const MAX_GENERATED: usize = 8;

/// Creates the object in the body.
pub(super) async fn create(call: &Call<'_>, target: Target<'_>) -> Result<Answer, ApiError> {
    let form = negotiate::form(call.headers, call.info)?;
    let write = Write::read(call.info, "CreateOptions")?;
    let mut object = body::object(call, &expected(target.kind), write.validation)?;
    place(&target, &mut object)?;
    if !meta::text(&object, "resourceVersion").is_empty() {
        return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
    }
    kinds::default(target.kind, &mut object);
    let stored = admit_and_keep(call, &target, object, write.dry_run).await;
    let stored = stored?;
    if !write.dry_run {
        note(call, target.kind, &stored, "created");
        call.frontend.hooks.created(target.kind, &stored, call.now).await;
        garbage::kept(call.frontend, call.now, target.kind, &stored, None).await;
    }
    Ok(represent::answer(201, target.kind, form, call.now, &stored))
}

/// The type that objects of a resource are of.
pub(super) fn expected(kind: &ResourceType) -> Expected {
    Expected { api_version: kind.api_version(), kind: kind.kind }
}

/// An object stands in the namespace of the path, whether it says so or not.
pub(super) fn place(target: &Target<'_>, object: &mut Value) -> Result<(), ApiError> {
    match meta::text(object, "namespace") {
        said if said == target.namespace => {}
        "" => meta::set(object, "namespace", target.namespace),
        _ => {
            return Err(ApiError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
    }
    if target.namespace.is_empty() {
        meta::remove(object, "namespace");
    }
    Ok(())
}

/// The third stage of a new object: what comes of it is what will be stored. Says whether its name was generated.
async fn admit(
    call: &Call<'_>,
    target: &Target<'_>,
    object: Value,
    dry_run: bool,
) -> Result<(Value, bool), ApiError> {
    let mut admitting = Admitting::begin(call);
    let admitted = pass(call, target, object, dry_run, &mut admitting).await;
    admitting.end(&admitted);
    admitted
}

async fn pass(
    call: &Call<'_>,
    target: &Target<'_>,
    object: Value,
    dry_run: bool,
    admitting: &mut Admitting<'_>,
) -> Result<(Value, bool), ApiError> {
    let name = meta::text(&object, "name").to_owned();
    let named = Target { name: &name, ..*target };
    let mut asked = named.attributes(call, Operation::Create, (Some(object), None), dry_run);
    admitting.mutate(&mut asked).await?;
    let mut object = asked.object.take().unwrap_or_default();
    may_grant(call, target.kind, &object, None).await?;
    place(target, &mut object)?;
    // A name that the client or a webhook gave is kept, whatever it would have been generated from.
    let is_generated = meta::text(&object, "name").is_empty();
    name_it(&mut object);
    kinds::default(target.kind, &mut object);
    kinds::prepare_create(target.kind, &mut object, call.now);
    kinds::validate(target.kind, &object, None)?;
    meta::text(&object, "name").clone_into(&mut asked.name);
    asked.object = Some(object);
    admitting.validate(&asked).await?;
    Ok((asked.object.unwrap_or_default(), is_generated))
}

/// Nobody grants what they have not got.
pub(super) async fn may_grant(
    call: &Call<'_>,
    kind: &'static ResourceType,
    new: &Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    match kind.group {
        "rbac.authorization.k8s.io" => call.frontend.hooks.may_grant(call.subject, kind, new, old).await,
        _ => Ok(()),
    }
}

/// Names an object that wants to be named.
fn name_it(object: &mut Value) {
    let base = meta::text(object, "generateName");
    if meta::text(object, "name").is_empty() && !base.is_empty() {
        let name = kinds::generated_name(base);
        meta::set(object, "name", name);
    }
}

/// The third stage, and storage. Where chance gave a name that there is, it has another chance, from the beginning: what is
/// stored was judged under the name that it has.
async fn admit_and_keep(
    call: &Call<'_>,
    target: &Target<'_>,
    mut object: Value,
    dry_run: bool,
) -> Result<Object, ApiError> {
    for tries in 1.. {
        let may_be_generated = meta::text(&object, "name").is_empty() && tries < MAX_GENERATED;
        let again = may_be_generated.then(|| object.clone());
        let (admitted, is_generated) = admit(call, target, object, dry_run).await?;
        let storing = Storing::begin(call);
        let stored = keep(call, target, admitted, dry_run).await;
        match (&stored, again) {
            (Err(error), Some(again)) if is_generated && error.reason == "AlreadyExists" => object = again,
            _ => {
                storing.end(if dry_run { "dry run: would have kept" } else { "kept" }, &stored);
                return stored;
            }
        }
    }
    Err(ApiError::already_exists(target.kind, ""))
}

async fn keep(
    call: &Call<'_>,
    target: &Target<'_>,
    object: Value,
    dry_run: bool,
) -> Result<Object, ApiError> {
    let storage = &call.frontend.storage;
    let given = call.frontend.addresses.give(storage, target.kind, object).await?;
    let name = meta::text(&given.object, "name").to_owned();
    let named = Target { name: &name, ..*target };
    if dry_run {
        return match storage.get(target.kind, target.namespace, &name) {
            None => Ok(Object::new(given.object.clone())),
            Some(_) => Err(ApiError::already_exists(target.kind, &name)),
        };
    }
    let kept = storage.create_within(target.kind, target.namespace, &name, given.object.clone()).await;
    kept.map_err(|error| named.refused(error))
}

/// Has a pod's log say what happened to it.
pub(super) fn note(call: &Call<'_>, kind: &ResourceType, object: &Value, what: &str) {
    if kind.kind == "Pod" {
        let (namespace, name) = (meta::text(object, "namespace"), meta::text(object, "name"));
        let text = format!("pod {namespace}/{name} {what} by {:?}", call.subject.user);
        call.frontend.logs.note(meta::text(object, "uid"), call.now, text);
    }
}
