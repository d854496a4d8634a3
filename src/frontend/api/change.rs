//! Changing objects: by another one in their place, or by a patch. Both take the same way, and so do their status.
//!
//! Semantics: `k8s.io/apiserver/pkg/endpoints/handlers/{update,patch}.go` and `.../registry/rest/update.go`. Smaller here:
//! nothing is created by an update, and through `status` nothing of the metadata changes.

use serde_json::Value;

use super::answer::Answer;
use super::body;
use super::create::{expected, may_grant, note, place};
use super::negotiate::{self, Form};
use super::options::Write;
use super::patch::Patch;
use super::stages::{Admitting, Storing, Target};
use super::{Call, delete, garbage, kinds, meta, represent, scale};
use crate::frontend::admission::Operation;
use crate::frontend::resources::ResourceType;
use crate::frontend::status::ApiError;
use crate::frontend::storage::{Object, Preconditions, StorageError};

/// How often a change is tried again that does not say what version it is of, and another one came between.
const MAX_TRIES: usize = 5;

/// What an API server says to whoever changes what is not there any more.
const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

/// What is to become of an object.
pub(super) enum Change {
    Replace(Value),
    Patch(Patch),
}

/// Puts the object in the body in the place of the one that is there (PUT).
pub(super) async fn update(call: &Call<'_>, target: Target<'_>) -> Result<Answer, ApiError> {
    let write = Write::read(call.info, "UpdateOptions")?;
    let mut object = body::object(call, &expected(written(&target)), write.validation)?;
    place(&target, &mut object)?;
    let name = meta::text(&object, "name");
    if name != target.name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            target.name
        )));
    }
    change(call, target, write, &Change::Replace(object)).await
}

/// Applies the patch in the body (PATCH).
pub(super) async fn patch(call: &Call<'_>, target: Target<'_>) -> Result<Answer, ApiError> {
    let write = Write::read(call.info, "PatchOptions")?;
    change(call, target, write, &Change::Patch(Patch::read(call)?)).await
}

async fn change(
    call: &Call<'_>,
    target: Target<'_>,
    write: Write,
    change: &Change,
) -> Result<Answer, ApiError> {
    let form = negotiate::form(call.headers, call.info)?;
    for tries in 1.. {
        let old = target.stored(call.frontend)?;
        let mut admitting = Admitting::begin(call);
        let admitted = admit(call, &target, write, change, &old, &mut admitting).await;
        let Ok(new) = &admitted else {
            admitting.end(&admitted);
            return admitted.map(|object| shown(call, &target, form, &object));
        };
        let storing = Storing::begin(call);
        let given = call.frontend.addresses.give(&call.frontend.storage, target.kind, new.clone()).await;
        let given = match given {
            Ok(given) => given,
            Err(error) => {
                admitting.end(&admitted);
                storing.end("", &Err(error.clone()));
                return Err(error);
            }
        };
        let new = given.object.clone();
        let kept = if write.dry_run { Ok(Object::new(new)) } else { keep(call, &target, new, &old).await };
        if matches!(kept, Err(StorageError::Conflict(_))) && tries < MAX_TRIES && !change.is_of_a_version() {
            continue;
        }
        admitting.end(&admitted);
        let kept = kept.map_err(|error| match error {
            StorageError::Conflict(_) => ApiError::conflict(target.kind, target.name, MODIFIED),
            other => target.refused(other),
        });
        storing.end(if write.dry_run { "dry run: would have kept" } else { "kept" }, &kept);
        let kept = kept?;
        if !write.dry_run && kept != old {
            let what = if target.subresource.is_empty() { "changed" } else { "given another status" };
            note(call, target.kind, &kept, what);
        }
        return Ok(shown(call, &target, form, &kept));
    }
    Err(ApiError::conflict(target.kind, target.name, MODIFIED))
}

/// The kind that is written at this place.
fn written(target: &Target<'_>) -> &'static ResourceType {
    if target.subresource == scale::NAME { &scale::SCALE } else { target.kind }
}

/// What is stored, as this place shows it.
fn shown(call: &Call<'_>, target: &Target<'_>, form: Form, stored: &Value) -> Answer {
    match target.subresource {
        scale::NAME => represent::answer(200, &scale::SCALE, form, call.now, &scale::of(stored)),
        _ => represent::answer(200, target.kind, form, call.now, stored),
    }
}

/// The third stage of a changed object.
async fn admit(
    call: &Call<'_>,
    target: &Target<'_>,
    write: Write,
    change: &Change,
    old: &Object,
    admitting: &mut Admitting<'_>,
) -> Result<Value, ApiError> {
    if target.subresource == scale::NAME {
        return scale::admit(call, target, write, change, old, admitting).await;
    }
    let mut object = change.apply(call, target.kind, write, old)?;
    is_meant(target, &object, old)?;
    kinds::default(target.kind, &mut object);
    kinds::prepare_update(target.kind, target.subresource, &mut object, old);
    let objects = (Some(object), Some(Object::clone(old)));
    let mut asked = target.attributes(call, Operation::Update, objects, write.dry_run);
    admitting.mutate(&mut asked).await?;
    let mut object = asked.object.take().unwrap_or_default();
    // A patch may have removed them, and it is asked for the place that is changed.
    meta::set(&mut object, "name", target.name);
    meta::copy(&mut object, "namespace", old);
    may_grant(call, target.kind, &object, Some(old)).await?;
    kinds::default(target.kind, &mut object);
    kinds::prepare_update(target.kind, target.subresource, &mut object, old);
    meta::copy(&mut object, "resourceVersion", old);
    kinds::validate(target.kind, &object, Some(old))?;
    asked.object = Some(object);
    admitting.validate(&asked).await?;
    Ok(asked.object.unwrap_or_default())
}

/// Whether the stored object is the one that the client means, as far as it says: of that version and with that UID.
pub(super) fn is_meant(target: &Target<'_>, object: &Value, old: &Value) -> Result<(), ApiError> {
    let said = |field| Some(meta::text(object, field)).filter(|said| !said.is_empty());
    if let Some(uid) = said("uid").filter(|uid| *uid != meta::text(old, "uid")) {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            meta::text(old, "uid")
        );
        return Err(ApiError::conflict(target.kind, target.name, &why));
    }
    if said("resourceVersion").is_some_and(|version| version != meta::text(old, "resourceVersion")) {
        return Err(ApiError::conflict(target.kind, target.name, MODIFIED));
    }
    for field in ["name", "namespace"] {
        if said(field).is_some_and(|said| said != meta::text(old, field)) {
            return Err(ApiError::bad_request(format!("the {field} of the object cannot be changed")));
        }
    }
    Ok(())
}

async fn keep(call: &Call<'_>, target: &Target<'_>, new: Value, old: &Value) -> Result<Object, StorageError> {
    let storage = &call.frontend.storage;
    let version = meta::text(old, "resourceVersion").to_owned();
    let expected = Preconditions { resource_version: Some(version), uid: None };
    let kept = storage.update(target.kind, target.namespace, target.name, &expected, new).await?;
    delete::finish(call.frontend, call.now, target.kind, &kept).await;
    garbage::kept(call.frontend, call.now, target.kind, &kept, Some(old)).await;
    Ok(kept)
}

impl Change {
    /// The object that comes of it.
    pub(super) fn apply(
        &self,
        call: &Call<'_>,
        kind: &'static ResourceType,
        write: Write,
        old: &Object,
    ) -> Result<Value, ApiError> {
        match self {
            Self::Replace(object) => Ok(object.clone()),
            Self::Patch(patch) => {
                let mut object = patch.apply(kind, old)?;
                let duplicates = patch.duplicates().to_vec();
                body::shape(call, &expected(kind), &mut object, duplicates, write.validation)?;
                Ok(object)
            }
        }
    }

    /// Whether it says what version it is of, so that it must not be tried on another.
    fn is_of_a_version(&self) -> bool {
        match self {
            Self::Replace(object) => !meta::text(object, "resourceVersion").is_empty(),
            Self::Patch(patch) => patch.is_of_a_version(),
        }
    }
}
