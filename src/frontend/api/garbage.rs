//! What becomes of objects whose owners go: `metadata.ownerReferences`, and the finalizers `orphan` and
//! `foregroundDeletion`.
//!
//! Semantics: `k8s.io/kubernetes/pkg/controller/garbagecollector/garbagecollector.go`, which is a controller of a cluster.
//! Here it is no controller: what follows from a request is done with the request. Each deletion is admitted, as that
//! of a cluster's collector; what is refused stays, until the next start looks at it again. An object whose owners are all
//! gone goes; one that has another living owner loses the references to those that are gone. An owner of a kind that is
//! not served here counts as living, as one does in a cluster whose kind nobody knows.
//!
//! Who belongs to whom is kept beside the objects, by the UIDs of the owners, so that nothing is searched for when an
//! object goes.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::delete::{finish_namespace_of, forget, mark};
use super::stages::is_namespace;
use super::{Services, meta};
use crate::frontend::admission::{Attributes, Operation, Record};
use crate::frontend::authn::{group_names, user_name};
use crate::frontend::resources::{RESOURCES, ResourceType};
use crate::frontend::status::ApiError;
use crate::frontend::storage::{Object, Preconditions, Storage, StorageError};
use crate::model::Subject;

/// The finalizer of an owner that goes after its dependants.
pub(super) const FOREGROUND: &str = "foregroundDeletion";

/// The finalizer of an owner that leaves its dependants behind.
pub(super) const ORPHAN: &str = "orphan";

/// As whom a cluster's collector deletes: the namespace and the name of its ServiceAccount.
const COLLECTOR: (&str, &str) = ("kube-system", "generic-garbage-collector");

/// How often a change is tried again because another came between.
const MAX_TRIES: usize = 100;

/// Which objects belong to whom, by the UIDs of their owners.
#[derive(Debug, Default)]
pub struct Garbage(Mutex<HashMap<String, BTreeSet<Place>>>);

impl Garbage {
    /// Looks at an object that was changed, or is gone: what it is now says whose it is. Called after each change, and
    /// before its owners are looked for: whoever deletes one of them either sees this, or is seen.
    fn look(&self, storage: &Storage, kind: &ResourceType, object: &Value, old: Option<&Value>) {
        let both = || [Some(object), old].into_iter().flatten();
        if both().all(|object| owners_of(object).next().is_none()) {
            return;
        }
        let place = place(kind, object);
        let mut owned = self.owned();
        // Read while nobody else writes here: of two changes at once, the later one is written down.
        let now = kind_of(&place).and_then(|kind| storage.get(kind, &place.namespace, &place.name));
        for uid in both().flat_map(owners_of) {
            if now.as_ref().is_some_and(|now| owners_of(now).any(|owner| owner == uid)) {
                owned.entry(uid.to_owned()).or_default().insert(place.clone());
            } else if let Some(places) = owned.get_mut(uid) {
                places.remove(&place);
                if places.is_empty() {
                    owned.remove(uid);
                }
            }
        }
    }

    /// Forgets whose an object was that is gone.
    pub(super) fn gone(&self, storage: &Storage, kind: &ResourceType, gone: &Value) {
        self.look(storage, kind, gone, None);
    }

    fn dependants(&self, uid: &str) -> Vec<Place> {
        self.owned().get(uid).into_iter().flatten().cloned().collect()
    }

    /// Whether no object has an owner.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.owned().is_empty()
    }

    fn owned(&self) -> MutexGuard<'_, HashMap<String, BTreeSet<Place>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The UIDs of an object's owners.
fn owners_of(object: &Value) -> impl Iterator<Item = &str> {
    meta::items(object, "/metadata/ownerReferences").map(|owner| meta::text_at(owner, "/uid"))
}

/// Where an object stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Place {
    group: &'static str,
    resource: &'static str,
    namespace: String,
    name: String,
}

/// What is known of an owner.
enum Owner {
    /// It is there, and stays or is held by something else.
    Living,
    /// It waits for its dependants to be gone.
    Waiting,
    /// It is not there, or another has its name.
    Gone,
}

/// Looks after an object that was kept with owners: where none of them is there, it goes again.
pub(super) async fn kept(
    services: &Services,
    now: Timestamp,
    kind: &'static ResourceType,
    object: &Value,
    old: Option<&Value>,
) {
    let references = |object: &Value| meta::get(object, "ownerReferences").cloned();
    if references(object) == old.and_then(references) {
        return;
    }
    services.garbage.look(&services.storage, kind, object, old);
    let mut sweep = Sweep::begin(services, now);
    if let Some(old) = old {
        sweep.lost_dependant(kind, old);
    }
    sweep.judged(kind, object);
    sweep.run().await;
}

/// Takes along what belonged to objects that are gone, or that wait for it to be gone.
pub(super) async fn collect(
    services: &Services,
    now: Timestamp,
    kind: &'static ResourceType,
    owners: &[Object],
) {
    let mut sweep = Sweep::begin(services, now);
    for owner in owners {
        sweep.went(kind, owner);
    }
    sweep.run().await;
}

/// Goes on with whatever was under way when the front end ended before: looks at all objects that have owners, and at all
/// owners that wait.
pub async fn resume(services: &Services, now: Timestamp) {
    let mut sweep = Sweep::begin(services, now);
    for kind in stored_kinds() {
        for object in services.storage.list(kind, None).items {
            services.garbage.look(&services.storage, kind, &object, None);
            if meta::is_going(&object) {
                sweep.went(kind, &object);
            }
            sweep.judged(kind, &object);
        }
    }
    sweep.run().await;
}

fn stored_kinds() -> impl Iterator<Item = &'static ResourceType> {
    RESOURCES.iter().filter(|kind| kind.is_stored())
}

/// What one request makes of owners and dependants.
struct Sweep<'a> {
    services: &'a Services,
    now: Timestamp,
    /// What may have lost an owner.
    queue: VecDeque<Place>,
    queued: HashSet<Place>,
    /// Owners that may be free to go.
    waiting: BTreeSet<Place>,
}

impl<'a> Sweep<'a> {
    fn begin(services: &'a Services, now: Timestamp) -> Self {
        Self { services, now, queue: VecDeque::new(), queued: HashSet::new(), waiting: BTreeSet::new() }
    }

    fn dependants(&self, owner: &Value) -> Vec<Place> {
        self.services.garbage.dependants(meta::text(owner, "uid"))
    }

    /// An object is gone, or is marked as going.
    fn went(&mut self, kind: &'static ResourceType, object: &Value) {
        let finalizers = meta::texts(object, "finalizers");
        if finalizers.iter().any(|finalizer| [FOREGROUND, ORPHAN].contains(finalizer)) {
            self.waiting.insert(place(kind, object));
        }
        // What something else holds has its dependants until it is let go.
        if finalizers.is_empty() || finalizers.contains(&FOREGROUND) {
            for dependant in self.dependants(object) {
                if self.queued.insert(dependant.clone()) {
                    self.queue.push_back(dependant);
                }
            }
        }
        if finalizers.is_empty() {
            self.lost_dependant(kind, object);
        }
    }

    /// The owners of this object may have waited for it.
    fn lost_dependant(&mut self, kind: &ResourceType, object: &Value) {
        let namespace = meta::text(object, "namespace");
        let owners = meta::items(object, "/metadata/ownerReferences");
        self.waiting.extend(owners.filter_map(|owner| {
            let (owners, namespace) = served(kind, owner, namespace)?;
            let name = meta::text_at(owner, "/name").to_owned();
            Some(Place {
                group: owners.group,
                resource: owners.resource,
                namespace: namespace.to_owned(),
                name,
            })
        }));
    }

    fn judged(&mut self, kind: &ResourceType, object: &Value) {
        if meta::items(object, "/metadata/ownerReferences").next().is_some() {
            let place = place(kind, object);
            if self.queued.insert(place.clone()) {
                self.queue.push_back(place);
            }
        }
    }

    async fn run(&mut self) {
        loop {
            if let Some(place) = self.queue.pop_front() {
                self.queued.remove(&place);
                self.again(&place, Step::Judge).await;
            } else if let Some(place) = self.waiting.pop_last() {
                self.again(&place, Step::Release).await;
            } else {
                return;
            }
        }
    }

    /// Does something with an object as it is now; anew where somebody changes it just then.
    async fn again(&mut self, place: &Place, step: Step) {
        let Some(kind) = kind_of(place) else { return };
        for _ in 0..MAX_TRIES {
            let Some(object) = self.services.storage.get(kind, &place.namespace, &place.name) else { return };
            let done = match step {
                Step::Judge => self.judge(kind, &object).await,
                Step::Release => self.release(kind, &object).await,
            };
            match done {
                Err(StorageError::Conflict(_)) => {}
                Err(error @ StorageError::Unwritable(_)) => {
                    // The next start looks at it again.
                    tracing::warn!(%error, resource = place.resource, name = place.name, "what has lost its owner stays");
                    return;
                }
                _ => return,
            }
        }
    }

    /// Removes an object that has no living owner, and references to owners that are gone from one that has.
    async fn judge(&mut self, kind: &'static ResourceType, object: &Value) -> Result<(), StorageError> {
        let (mut living, mut is_waited_for) = (Vec::new(), false);
        let mut lost = false;
        for owner in meta::items(object, "/metadata/ownerReferences") {
            match self.owner(kind, object, owner) {
                Owner::Living => living.push(owner.clone()),
                Owner::Waiting => is_waited_for = true,
                Owner::Gone => lost = true,
            }
        }
        if !lost && !is_waited_for {
            return Ok(());
        }
        if !living.is_empty() {
            let mut freed = object.clone();
            meta::set(&mut freed, "ownerReferences", living);
            self.update(kind, object, freed).await?;
            self.lost_dependant(kind, object);
            return Ok(());
        }
        if meta::is_going(object) {
            return Ok(());
        }
        if let Err(refused) = self.admit(kind, object).await {
            let (namespace, name) = (meta::text(object, "namespace"), meta::text(object, "name"));
            let kind = kind.kind;
            tracing::warn!(
                kind,
                namespace,
                name,
                why = refused.message,
                "what has lost its owner may not be deleted"
            );
            return Ok(());
        }
        let mut marked = object.clone();
        let dependants = self.dependants(object);
        if is_waited_for && !dependants.is_empty() {
            // It goes after its own dependants too; unless these wait for each other, going round in a circle.
            set_finalizers(&mut marked, |finalizers| {
                finalizers.retain(|finalizer| finalizer != ORPHAN);
                if !finalizers.iter().any(|finalizer| finalizer == FOREGROUND) {
                    finalizers.push(FOREGROUND.to_owned());
                }
            });
            if self.is_circle(&dependants) {
                unblock(&mut marked);
            }
        }
        if meta::texts(&marked, "finalizers").is_empty() {
            return self.delete(kind, object).await;
        }
        mark(&mut marked, self.now);
        let marked = self.update(kind, object, marked).await?;
        self.went(kind, &marked);
        if meta::get(&marked, "ownerReferences") != meta::get(object, "ownerReferences") {
            self.lost_dependant(kind, &marked);
        }
        Ok(())
    }

    /// The third stage of a deletion, which a cluster's collector asks for as anybody else does.
    async fn admit(&self, kind: &'static ResourceType, object: &Value) -> Result<(), ApiError> {
        let text = |field| meta::text(object, field).to_owned();
        let mut groups = group_names(COLLECTOR.0);
        groups.push("system:authenticated".to_owned());
        let subject = Subject { user: user_name(COLLECTOR.0, COLLECTOR.1), groups, ..Subject::default() };
        let mut asked = Attributes {
            operation: Operation::Delete,
            kind,
            subresource: String::new(),
            namespace: if is_namespace(kind) { text("name") } else { text("namespace") },
            name: text("name"),
            object: None,
            old: Some(Object::new(object.clone())),
            subject,
            dry_run: false,
            options: json!({"apiVersion": "meta.k8s.io/v1", "kind": "DeleteOptions"}),
        };
        let mut record = Record::default();
        self.services.admission.mutate(&mut asked, &mut record).await?;
        self.services.admission.validate(&asked, &mut record).await
    }

    /// Whether a dependant waits for its own dependants already.
    fn is_circle(&self, dependants: &[Place]) -> bool {
        dependants.iter().any(|place| self.stored(place).is_some_and(|object| waits(&object)))
    }

    /// Lets an owner go that waited for its dependants, once they are gone or have forgotten it.
    async fn release(&mut self, kind: &'static ResourceType, owner: &Value) -> Result<(), StorageError> {
        let finalizers = meta::texts(owner, "finalizers");
        if !meta::is_going(owner) || !finalizers.iter().any(|one| [FOREGROUND, ORPHAN].contains(one)) {
            return Ok(());
        }
        let uid = meta::text(owner, "uid");
        let dependants = self.dependants(owner);
        if finalizers.contains(&ORPHAN) {
            for dependant in &dependants {
                self.forget(dependant, uid).await?;
            }
        } else if dependants.iter().any(|place| self.stored(place).is_some_and(|object| blocks(&object, uid)))
        {
            return Ok(());
        }
        let mut free = owner.clone();
        set_finalizers(&mut free, |finalizers| {
            finalizers.retain(|finalizer| ![FOREGROUND, ORPHAN].contains(&&**finalizer));
        });
        if meta::texts(&free, "finalizers").is_empty() {
            return self.delete(kind, owner).await;
        }
        self.update(kind, owner, free).await.map(drop)
    }

    /// Removes the references to an owner from an object.
    async fn forget(&self, place: &Place, uid: &str) -> Result<(), StorageError> {
        let Some(kind) = kind_of(place) else { return Ok(()) };
        for _ in 0..MAX_TRIES {
            let Some(object) = self.stored(place) else { return Ok(()) };
            let owners = meta::items(&object, "/metadata/ownerReferences");
            let others: Vec<Value> =
                owners.filter(|owner| meta::text_at(owner, "/uid") != uid).cloned().collect();
            let mut freed = Value::clone(&object);
            if others.is_empty() {
                meta::remove(&mut freed, "ownerReferences");
            } else {
                meta::set(&mut freed, "ownerReferences", others);
            }
            match self.update(kind, &object, freed).await {
                Err(StorageError::Conflict(_)) => {}
                Err(StorageError::NotFound) => return Ok(()),
                done => return done.map(drop),
            }
        }
        Ok(())
    }

    async fn delete(&mut self, kind: &'static ResourceType, object: &Value) -> Result<(), StorageError> {
        let (namespace, name) = (meta::text(object, "namespace"), meta::text(object, "name"));
        let deleted = self.services.storage.delete(kind, namespace, name, &as_read(object)).await;
        let gone = deleted?;
        forget(self.services, kind, &gone);
        finish_namespace_of(self.services, &gone).await;
        let mut free = Value::clone(&gone);
        meta::remove(&mut free, "finalizers");
        self.went(kind, &free);
        Ok(())
    }

    async fn update(
        &self,
        kind: &'static ResourceType,
        old: &Value,
        new: Value,
    ) -> Result<Object, StorageError> {
        let (namespace, name) = (meta::text(old, "namespace"), meta::text(old, "name"));
        let storage = &self.services.storage;
        let changed = storage.update(kind, namespace, name, &as_read(old), new).await?;
        self.services.garbage.look(storage, kind, &changed, Some(old));
        Ok(changed)
    }

    fn owner(&self, kind: &ResourceType, object: &Value, owner: &Value) -> Owner {
        let Some((owners, namespace)) = served(kind, owner, meta::text(object, "namespace")) else {
            return Owner::Living;
        };
        let stored = self.services.storage.get(owners, namespace, meta::text_at(owner, "/name"));
        match stored.filter(|stored| meta::text(stored, "uid") == meta::text_at(owner, "/uid")) {
            None => Owner::Gone,
            Some(stored) if waits(&stored) => Owner::Waiting,
            Some(_) => Owner::Living,
        }
    }

    fn stored(&self, place: &Place) -> Option<Object> {
        self.services.storage.get(kind_of(place)?, &place.namespace, &place.name)
    }
}

/// What is done with an object.
#[derive(Clone, Copy)]
enum Step {
    Judge,
    Release,
}

fn place(kind: &ResourceType, object: &Value) -> Place {
    let text = |field| meta::text(object, field).to_owned();
    Place { group: kind.group, resource: kind.resource, namespace: text("namespace"), name: text("name") }
}

fn kind_of(place: &Place) -> Option<&'static ResourceType> {
    stored_kinds().find(|kind| kind.group == place.group && kind.resource == place.resource)
}

/// The kind of an owner, and the namespace that it is in; none where that kind is not served, or is one that an object of
/// the cluster cannot belong to.
fn served<'a>(
    dependants: &ResourceType,
    owner: &Value,
    namespace: &'a str,
) -> Option<(&'static ResourceType, &'a str)> {
    let (version, kind) = (meta::text_at(owner, "/apiVersion"), meta::text_at(owner, "/kind"));
    // Of whatever version: objects are the same in all of them.
    let group = version.split_once('/').map_or("", |(group, _)| group);
    let kind = stored_kinds().find(|served| served.group == group && served.kind == kind)?;
    match (kind.namespaced, dependants.namespaced) {
        (false, _) => Some((kind, "")),
        (true, true) => Some((kind, namespace)),
        (true, false) => None,
    }
}

/// Whether an object goes as soon as its dependants are gone.
fn waits(object: &Value) -> bool {
    meta::is_going(object) && meta::texts(object, "finalizers").contains(&FOREGROUND)
}

/// Whether the owner with this UID has to wait for an object.
fn blocks(object: &Value, uid: &str) -> bool {
    meta::items(object, "/metadata/ownerReferences").any(|owner| {
        let is_blocking = owner.get("blockOwnerDeletion").and_then(Value::as_bool).unwrap_or_default();
        is_blocking && meta::text_at(owner, "/uid") == uid
    })
}

/// Has no owner wait for an object.
fn unblock(object: &mut Value) {
    let owners = object.pointer_mut("/metadata/ownerReferences").and_then(Value::as_array_mut);
    for owner in owners.into_iter().flatten().filter_map(Value::as_object_mut) {
        owner.insert("blockOwnerDeletion".to_owned(), false.into());
    }
}

/// Changes the finalizers of an object.
pub(super) fn set_finalizers(object: &mut Value, change: impl FnOnce(&mut Vec<String>)) {
    let mut finalizers: Vec<String> =
        meta::texts(object, "finalizers").into_iter().map(str::to_owned).collect();
    change(&mut finalizers);
    if finalizers.is_empty() {
        meta::remove(object, "finalizers");
    } else {
        meta::set(object, "finalizers", finalizers);
    }
}

/// That the stored object is still the one that was read.
fn as_read(object: &Value) -> Preconditions {
    let version = Some(meta::text(object, "resourceVersion").to_owned());
    Preconditions { uid: None, resource_version: version }
}
