//! What the API leaves in the journey of a request: the third stage, and what was stored.

use std::time::Instant;

use serde_json::{Value, json};

use super::{Call, Services, body, meta};
use crate::frontend::admission::webhooks::MAX_REQUEST_TIME;
use crate::frontend::admission::{Attributes, Operation, Record};
use crate::frontend::journey::{Outcome, Stage, StageName, micros_since};
use crate::frontend::resources::ResourceType;
use crate::frontend::status::ApiError;
use crate::frontend::storage::{Object, StorageError};

/// What a request is about, among what is stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) kind: &'static ResourceType,
    /// Empty for the cluster's objects, namespaces among them.
    pub(super) namespace: &'a str,
    /// Empty for a collection, and where something is created.
    pub(super) name: &'a str,
    /// Empty for the object itself.
    pub(super) subresource: &'a str,
}

/// Whether its objects are the namespaces themselves.
pub(super) fn is_namespace(kind: &ResourceType) -> bool {
    kind.group.is_empty() && kind.kind == "Namespace"
}

impl Target<'_> {
    /// The stored object.
    pub(super) fn stored(&self, services: &Services) -> Result<Object, ApiError> {
        let stored = services.storage.get(self.kind, self.namespace, self.name);
        stored.ok_or_else(|| ApiError::not_found(self.kind, self.name))
    }

    /// What admission is asked.
    pub(super) fn attributes(
        &self,
        call: &Call<'_>,
        operation: Operation,
        objects: (Option<Value>, Option<Object>),
        dry_run: bool,
    ) -> Attributes {
        // Of a namespace itself, admission is told the name as its namespace too, as by an API server.
        Attributes {
            operation,
            kind: self.kind,
            subresource: self.subresource.to_owned(),
            namespace: if is_namespace(self.kind) { self.name } else { self.namespace }.to_owned(),
            name: self.name.to_owned(),
            object: objects.0,
            old: objects.1,
            subject: call.subject.clone(),
            dry_run,
            options: options(call, operation, dry_run),
        }
    }

    /// An error of storage as the client is told it.
    pub(super) fn refused(&self, error: StorageError) -> ApiError {
        let Self { kind, name, namespace, .. } = *self;
        match error {
            StorageError::AlreadyExists => ApiError::already_exists(kind, name),
            StorageError::NotFound => ApiError::not_found(kind, name),
            StorageError::Conflict(why) => ApiError::conflict(kind, name, &why),
            StorageError::NoNamespace(_) => ApiError::forbidden_object(
                kind,
                name,
                &format!(
                    "unable to create new content in namespace {namespace} because it is not there or is being terminated"
                ),
            ),
            StorageError::TooOld { .. } => ApiError::expired(error.to_string()),
            StorageError::TooNew { .. } => ApiError::too_new(error),
            StorageError::TooLarge(most) => ApiError::too_large(most),
            StorageError::TooDeep(_) => ApiError::bad_request(error.to_string()),
            StorageError::Unwritable(_) => ApiError::internal(&error),
            StorageError::Full(why) => ApiError::too_many_requests(format!("the storage is full: {why}"), 60),
        }
    }
}

/// How a request is to be carried out, as admission is told it (`meta/v1`: `CreateOptions` and its like). A client says it in
/// the query, or, of a deletion, in the body.
fn options(call: &Call<'_>, operation: Operation, dry_run: bool) -> Value {
    let kind = match operation {
        Operation::Create => "CreateOptions",
        Operation::Update if call.method == "PATCH" => "PatchOptions",
        Operation::Update => "UpdateOptions",
        Operation::Delete => "DeleteOptions",
        Operation::Connect => return Value::Null,
    };
    let mut options = match operation {
        Operation::Delete if !call.body.is_empty() => body::delete_options(call).unwrap_or_default(),
        _ => Value::default(),
    };
    if !options.is_object() {
        options = json!({});
    }
    if let Some(fields) = options.as_object_mut() {
        fields.insert("apiVersion".to_owned(), "meta.k8s.io/v1".into());
        fields.insert("kind".to_owned(), kind.into());
        if dry_run {
            fields.insert("dryRun".to_owned(), json!(["All"]));
        }
        let taken: &[&str] = match operation {
            Operation::Delete => &["propagationPolicy"],
            _ => &["fieldManager", "fieldValidation"],
        };
        for name in taken {
            if let Some(value) = call.info.first(name).filter(|value| !value.is_empty()) {
                fields.entry(*name).or_insert_with(|| value.into());
            }
        }
    }
    options
}

/// The third stage of a request, while it goes on.
pub(super) struct Admitting<'a> {
    call: &'a Call<'a>,
    began: Instant,
    record: Record,
}

impl<'a> Admitting<'a> {
    pub(super) fn begin(call: &'a Call<'a>) -> Self {
        // However often a change is tried again, and however many objects are deleted, the time is the request's.
        let deadline = call.began.checked_add(MAX_REQUEST_TIME);
        Self { call, began: Instant::now(), record: Record { deadline, ..Record::default() } }
    }

    /// Has the object changed.
    pub(super) async fn mutate(&mut self, asked: &mut Attributes) -> Result<(), ApiError> {
        self.call.frontend.admission.mutate(asked, &mut self.record).await
    }

    /// Has the object judged.
    pub(super) async fn validate(&mut self, asked: &Attributes) -> Result<(), ApiError> {
        self.call.frontend.admission.validate(asked, &mut self.record).await
    }

    /// Leaves the stage in the journey.
    pub(super) fn end<T>(self, result: &Result<T, ApiError>) {
        let trace = self.call.trace;
        trace.stage(self.record.stage(result.as_ref().err(), self.began));
        self.record.warnings.iter().for_each(|warning| trace.warn(warning));
        self.record.annotations.iter().for_each(|(key, value)| trace.annotate(key, value));
    }
}

/// The last stage of a request.
pub(super) struct Storing<'a> {
    call: &'a Call<'a>,
    began: Instant,
}

impl<'a> Storing<'a> {
    pub(super) fn begin(call: &'a Call<'a>) -> Self {
        Self { call, began: Instant::now() }
    }

    /// Leaves the stage in the journey: what was done with an object, or why it was not.
    pub(super) fn end(self, did: &str, result: &Result<Object, ApiError>) {
        match result {
            Ok(object) => self.told(Outcome::Passed, format!("{did} {}", shown(object))),
            Err(error) => self.told(Outcome::Refused, error.message.clone()),
        }
    }

    /// Leaves the stage in the journey, in these words.
    pub(super) fn told(self, outcome: Outcome, summary: String) {
        let micros = micros_since(self.began);
        self.call.trace.stage(Stage {
            name: StageName::Storage,
            outcome,
            summary,
            steps: Vec::new(),
            micros,
        });
    }
}

/// An object in words: `Pod team-a/web at version 42`.
fn shown(object: &Value) -> String {
    let (kind, name) = (meta::text_at(object, "/kind"), meta::text(object, "name"));
    let place = match meta::text(object, "namespace") {
        "" => name.to_owned(),
        namespace => format!("{namespace}/{name}"),
    };
    match meta::text(object, "resourceVersion") {
        "" => format!("{kind} {place}"),
        version => format!("{kind} {place} at version {version}"),
    }
}
