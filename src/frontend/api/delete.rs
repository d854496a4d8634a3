//! Deleting objects: at once, or, where finalizers hold them, as soon as these are removed. A namespace takes along what is
//! in it.
//!
//! Semantics: `k8s.io/apiserver/pkg/endpoints/handlers/delete.go` and `.../registry/generic/registry/store.go`. Smaller
//! here: there is no grace period; and what is in a namespace goes with the request that deletes it, and unadmitted, where
//! a cluster has its namespace controller ask. What becomes of dependants is in `garbage`; those of a namespace itself are
//! deleted whatever is asked for. The answer is the object, where an API server has a Status for some kinds.

use jiff::Timestamp;
use serde_json::Value;

use super::answer::Answer;
use super::garbage::{self, FOREGROUND, ORPHAN};
use super::options::{Delete, Propagation};
use super::represent::Page;
use super::stages::{Admitting, Storing, Target, is_namespace};
use super::{Call, Services, fields, kinds, meta, negotiate, represent};
use crate::frontend::admission::Operation;
use crate::frontend::journey::Outcome;
use crate::frontend::resources::{self, RESOURCES, ResourceType};
use crate::frontend::status::ApiError;
use crate::frontend::storage::{Object, Preconditions, StorageError};

/// How often a deletion is tried again that does not say what version it is of, and a change came between.
const MAX_TRIES: usize = 5;

/// How often an object of a namespace that goes is tried again: more often than anybody changes one meanwhile.
const MAX_TRIES_OF_NAMESPACE: usize = 1_000;

/// Deletes an object.
pub(super) async fn delete(call: &Call<'_>, target: Target<'_>) -> Result<Answer, ApiError> {
    let form = negotiate::form(call.headers, call.info)?;
    let options = Delete::read(call)?;
    let gone = delete_one(call, &target, &options, true).await?;
    if !options.dry_run {
        garbage::collect(call.frontend, call.now, target.kind, std::slice::from_ref(&gone)).await;
    }
    Ok(represent::answer(200, target.kind, form, call.now, &gone))
}

/// Deletes all objects that the request selects, one after the other. The first that cannot be deleted ends it.
pub(super) async fn delete_collection(call: &Call<'_>, target: Target<'_>) -> Result<Answer, ApiError> {
    let form = negotiate::form(call.headers, call.info)?;
    fields::check(target.kind, call.info)?;
    let options = Delete::read(call)?;
    let namespace = Some(target.namespace).filter(|namespace| !namespace.is_empty());
    let list = call.frontend.storage.list(target.kind, namespace);
    let (mut items, mut failed) = (Vec::new(), None);
    let storing = Storing::begin(call);
    for doomed in list.items.iter().filter(|object| fields::selects(call.info, object)) {
        let name = meta::text(doomed, "name");
        // Thousands of them leave no more in the journey than one.
        let is_told = items.is_empty();
        match delete_one(call, &Target { name, ..target }, &options, is_told).await {
            Ok(gone) => items.push(gone),
            // Somebody else was faster.
            Err(error) if error.code == 404 => {}
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    // One look for the dependants of all of them, also of those before the one that could not be deleted.
    if !options.dry_run {
        garbage::collect(call.frontend, call.now, target.kind, &items).await;
    }
    if let Some(error) = failed {
        return Err(error);
    }
    storing.told(Outcome::Passed, format!("deleted {} {}", items.len(), target.kind.qualified()));
    let version = call.frontend.storage.version().to_string();
    let page = Page { items, metadata: serde_json::json!({"resourceVersion": version}) };
    represent::list(target.kind, form, call.now, &page)
}

async fn delete_one(
    call: &Call<'_>,
    target: &Target<'_>,
    options: &Delete,
    is_told: bool,
) -> Result<Object, ApiError> {
    for tries in 1.. {
        let old = target.stored(call.frontend)?;
        let mut admitting = Admitting::begin(call);
        let admitted = admit(call, target, options, &old, &mut admitting).await;
        if admitted.is_err() {
            admitting.end(&admitted);
            return admitted.map(|()| old);
        }
        let storing = Storing::begin(call);
        let deleted =
            if options.dry_run { Ok(Object::clone(&old)) } else { remove(call, target, options, &old).await };
        let is_of_a_version = options.preconditions.resource_version.is_some();
        if matches!(deleted, Err(StorageError::Conflict(_))) && tries < MAX_TRIES && !is_of_a_version {
            continue;
        }
        let deleted = deleted.map_err(|error| target.refused(error));
        if is_told || deleted.is_err() {
            admitting.end(&admitted);
            storing.end(if options.dry_run { "dry run: would have deleted" } else { "deleted" }, &deleted);
        }
        return deleted;
    }
    Err(ApiError::conflict(target.kind, target.name, "the object has been modified meanwhile"))
}

async fn admit(
    call: &Call<'_>,
    target: &Target<'_>,
    options: &Delete,
    old: &Object,
    admitting: &mut Admitting<'_>,
) -> Result<(), ApiError> {
    is_expected(target, options, old)?;
    let objects = (None, Some(Object::clone(old)));
    let mut asked = target.attributes(call, Operation::Delete, objects, options.dry_run);
    admitting.mutate(&mut asked).await?;
    admitting.validate(&asked).await
}

/// Whether an object is the one that a deletion is meant for.
pub(super) fn is_expected(target: &Target<'_>, options: &Delete, old: &Value) -> Result<(), ApiError> {
    let Preconditions { uid, resource_version } = &options.preconditions;
    for (what, said, is) in [
        ("UID", uid, meta::text(old, "uid")),
        ("ResourceVersion", resource_version, meta::text(old, "resourceVersion")),
    ] {
        if let Some(said) = said.as_deref().filter(|said| *said != is) {
            let why =
                format!("Precondition failed: {what} in precondition: {said}, {what} in object meta: {is}");
            return Err(ApiError::conflict(target.kind, target.name, &why));
        }
    }
    Ok(())
}

/// Removes an object that is as it was read, or marks it as going where something holds it.
pub(super) async fn remove(
    call: &Call<'_>,
    target: &Target<'_>,
    options: &Delete,
    old: &Value,
) -> Result<Object, StorageError> {
    let version = meta::text(old, "resourceVersion").to_owned();
    let expected = Preconditions { uid: options.preconditions.uid.clone(), resource_version: Some(version) };
    let Target { kind, namespace, name, .. } = *target;
    let storage = &call.frontend.storage;
    let mut doomed = old.clone();
    if !is_namespace(kind) {
        propagate(options.propagation, &mut doomed);
        if meta::texts(&doomed, "finalizers").is_empty() {
            let gone = storage.delete(kind, namespace, name, &expected).await?;
            left(call.frontend, kind, &gone).await;
            return Ok(gone);
        }
    }
    let marked = storage.update(kind, namespace, name, &expected, going(call.now, kind, &doomed)).await?;
    if is_namespace(kind) {
        empty(call.frontend, call.now, name).await;
    }
    Ok(marked)
}

/// Says by its finalizers what is to become of an object's dependants (`deletionFinalizersForGarbageCollection` of
/// `store.go`). Where nothing is said, finalizers that it has already say it.
fn propagate(propagation: Option<Propagation>, object: &mut Value) {
    let Some(propagation) = propagation else { return };
    garbage::set_finalizers(object, |finalizers| {
        finalizers.retain(|finalizer| ![FOREGROUND, ORPHAN].contains(&&**finalizer));
        match propagation {
            Propagation::Background => {}
            Propagation::Foreground => finalizers.push(FOREGROUND.to_owned()),
            Propagation::Orphan => finalizers.push(ORPHAN.to_owned()),
        }
    });
}

/// The object with the mark that it is to go.
fn going(now: Timestamp, kind: &ResourceType, old: &Value) -> Value {
    let mut object = old.clone();
    mark(&mut object, now);
    if is_namespace(kind) {
        meta::set_in(&mut object, "status", "phase", "Terminating");
    }
    object
}

/// Marks an object as going, where it is not yet.
pub(super) fn mark(object: &mut Value, now: Timestamp) {
    if !meta::is_going(object) {
        meta::set(object, "deletionTimestamp", kinds::seconds(now));
        meta::set(object, "deletionGracePeriodSeconds", 0);
    }
}

/// Removes what is in a namespace that goes, and then the namespace, unless something in it is held by finalizers.
pub(super) async fn empty(services: &Services, now: Timestamp, namespace: &str) {
    if let Err(error) = try_to_empty(services, now, namespace).await {
        // Deleting the namespace once more goes on, and so does the next start.
        tracing::warn!(%error, namespace, "a namespace is left half deleted");
    }
}

async fn try_to_empty(services: &Services, now: Timestamp, namespace: &str) -> Result<(), StorageError> {
    let storage = &services.storage;
    for kind in RESOURCES.iter().filter(|kind| kind.namespaced && kind.is_stored()) {
        let free = |object: &Value| meta::texts(object, "finalizers").is_empty();
        for gone in storage.delete_collection(kind, Some(namespace), free).await? {
            forget(services, kind, &gone);
        }
        for held in storage.list(kind, Some(namespace)).items {
            take_along(services, now, kind, (namespace, meta::text(&held, "name"))).await?;
        }
    }
    storage.finish_namespace(namespace).await.map(drop)
}

/// Marks an object of a namespace that goes, or removes it where nothing holds it any more. Were it left unmarked because
/// somebody changed it just then, it would stay when it is let go, and the namespace with it.
async fn take_along(
    services: &Services,
    now: Timestamp,
    kind: &'static ResourceType,
    (namespace, name): (&str, &str),
) -> Result<(), StorageError> {
    let storage = &services.storage;
    for _ in 0..MAX_TRIES_OF_NAMESPACE {
        let Some(held) = storage.get(kind, namespace, name) else { return Ok(()) };
        let version = meta::text(&held, "resourceVersion").to_owned();
        let expected = Preconditions { uid: None, resource_version: Some(version) };
        let taken = if meta::texts(&held, "finalizers").is_empty() {
            let gone = storage.delete(kind, namespace, name, &expected).await;
            gone.map(|gone| forget(services, kind, &gone))
        } else {
            storage.update(kind, namespace, name, &expected, going(now, kind, &held)).await.map(drop)
        };
        match taken {
            Err(StorageError::Conflict(_)) => {}
            Err(error @ StorageError::Unwritable(_)) => return Err(error),
            _ => return Ok(()),
        }
    }
    Ok(())
}

/// Removes a changed object that is to go and is held by nothing any more.
pub(super) async fn finish(services: &Services, now: Timestamp, kind: &'static ResourceType, object: &Value) {
    if !meta::is_going(object) || !meta::texts(object, "finalizers").is_empty() {
        return;
    }
    let (namespace, name) = (meta::text(object, "namespace"), meta::text(object, "name"));
    if is_namespace(kind) {
        finish_namespace(services, name).await;
        return;
    }
    let version = meta::text(object, "resourceVersion").to_owned();
    let expected = Preconditions { uid: None, resource_version: Some(version) };
    if let Ok(gone) = services.storage.delete(kind, namespace, name, &expected).await {
        left(services, kind, &gone).await;
        garbage::collect(services, now, kind, std::slice::from_ref(&gone)).await;
    }
}

/// What follows from an object's being gone: its log ends, and its namespace may have waited for it.
async fn left(services: &Services, kind: &ResourceType, gone: &Value) {
    forget(services, kind, gone);
    finish_namespace_of(services, gone).await;
}

/// The namespace of an object that is gone may have waited for it.
pub(super) async fn finish_namespace_of(services: &Services, gone: &Value) {
    let namespace = meta::text(gone, "namespace");
    let kind = resources::find("", "namespaces");
    let stored = kind.and_then(|kind| services.storage.get(kind, "", namespace));
    if stored.is_some_and(|namespace| meta::is_going(&namespace)) {
        finish_namespace(services, namespace).await;
    }
}

async fn finish_namespace(services: &Services, name: &str) {
    if let Err(error) = services.storage.finish_namespace(name).await {
        tracing::warn!(%error, namespace = name, "a namespace that is to go stays until the next start");
    }
}

/// Forgets what is kept beside an object that is gone: its log, and whose it was.
pub(super) fn forget(services: &Services, kind: &ResourceType, gone: &Value) {
    if kind.kind == "Pod" {
        services.logs.end(meta::text(gone, "uid"));
    }
    services.garbage.gone(&services.storage, kind, gone);
}
