//! The patches that are taken: JSON Patch (RFC 6902), JSON Merge Patch (RFC 7396), and Kubernetes' strategic merge patch.
//! Server-side apply is not served.
//!
//! Semantics: `k8s.io/apiserver/pkg/endpoints/handlers/patch.go`.

use json_patch::PatchOperation;
use serde_json::Value;

use super::{Call, body, json, meta, schema, strategic};
use crate::frontend::resources::ResourceType;
use crate::frontend::status::ApiError;

/// How many operations a JSON patch may have. An API server takes ten times as many.
const MAX_OPERATIONS: usize = 1_000;

/// How many of them may copy or move: each can make the object twice as large, or as deep.
const MAX_COPIES: usize = 100;

/// How deep an object may be nested while it is patched, and how long the path of an operation may be, in steps: as deep as
/// JSON is read. Whatever goes through a value goes as deep as it, and the stack is not deeper for that.
const MAX_DEPTH: usize = 128;

/// How large an object may become while it is patched, in bytes of JSON.
const MAX_PATCHED_BYTES: usize = 3 << 20;

/// A patch.
pub(super) struct Patch {
    kind: Kind,
    duplicates: Vec<String>,
}

enum Kind {
    Json(Vec<PatchOperation>),
    Merge(Value),
    Strategic(Value),
}

impl Patch {
    /// Reads the body of a request.
    pub(super) fn read(call: &Call<'_>) -> Result<Self, ApiError> {
        const TAKEN: &str = "application/json-patch+json, application/merge-patch+json, \
            application/strategic-merge-patch+json";
        let essence = body::essence(call.headers)?;
        if !matches!(
            &*essence,
            "application/json-patch+json"
                | "application/merge-patch+json"
                | "application/strategic-merge-patch+json"
        ) {
            let why = match essence.strip_prefix("application/apply-patch+") {
                Some(_) => "server-side apply is not served; apply on the client's side",
                None => "the body of the request was in an unknown format",
            };
            return Err(ApiError::unsupported_media_type(format!(
                "{why} - accepted media types include: {TAKEN}"
            )));
        }
        let (value, duplicates) = json::parse(&call.body)
            .map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?;
        let kind = match &*essence {
            "application/json-patch+json" => Kind::Json(operations(value)?),
            "application/merge-patch+json" => Kind::Merge(object(value)?),
            _ => Kind::Strategic(object(value)?),
        };
        Ok(Self { kind, duplicates })
    }

    /// The keys that stand in it twice.
    pub(super) fn duplicates(&self) -> &[String] {
        &self.duplicates
    }

    /// The object that comes of it.
    pub(super) fn apply(&self, kind: &ResourceType, old: &Value) -> Result<Value, ApiError> {
        let mut object = old.clone();
        match &self.kind {
            Kind::Json(operations) => apply_json(operations, &mut object)?,
            Kind::Merge(patch) => json_patch::merge(&mut object, patch),
            Kind::Strategic(patch) => strategic::merge(schema::of(kind), &mut object, patch)?,
        }
        Ok(object)
    }

    /// Whether it says what version it is of.
    pub(super) fn is_of_a_version(&self) -> bool {
        match &self.kind {
            Kind::Json(operations) => {
                operations.iter().any(|operation| *operation.path() == "/metadata/resourceVersion")
            }
            Kind::Merge(patch) | Kind::Strategic(patch) => !meta::text(patch, "resourceVersion").is_empty(),
        }
    }
}

fn object(value: Value) -> Result<Value, ApiError> {
    if value.is_object() { Ok(value) } else { Err(ApiError::bad_request("the patch is no JSON object")) }
}

fn operations(value: Value) -> Result<Vec<PatchOperation>, ApiError> {
    let Value::Array(operations) = value else {
        return Err(ApiError::bad_request("the body is no JSON patch: it is no list of operations"));
    };
    // What is wrong is not quoted: it may be the password that somebody sets, and refusals are written down.
    let operation = |(nth, operation)| {
        serde_json::from_value(operation).map_err(|_| {
            ApiError::bad_request(format!("operation {nth} of the JSON patch is none of RFC 6902"))
        })
    };
    let operations: Vec<PatchOperation> =
        operations.into_iter().enumerate().map(operation).collect::<Result<_, _>>()?;
    let copies = operations.iter().filter(|operation| takes_from_elsewhere(operation)).count();
    if operations.len() > MAX_OPERATIONS || copies > MAX_COPIES {
        return Err(ApiError::too_large(MAX_OPERATIONS));
    }
    if operations.iter().any(|operation| operation.path().count() > MAX_DEPTH) {
        return Err(too_deep());
    }
    Ok(operations)
}

/// Applies a JSON Patch that is no client's, within the same bounds. Says whether it has any operation.
pub(super) fn apply_operations(patch: Value, object: &mut Value) -> Result<bool, ApiError> {
    let operations = operations(patch)?;
    apply_json(&operations, object)?;
    Ok(!operations.is_empty())
}

fn apply_json(operations: &[PatchOperation], object: &mut Value) -> Result<(), ApiError> {
    for operation in operations {
        json_patch::patch(object, std::slice::from_ref(operation)).map_err(|error| {
            ApiError::invalid_patch(format!(
                "the server rejected our request due to an error in our request: {error}"
            ))
        })?;
        if takes_from_elsewhere(operation) {
            // Before it is written, for that goes as deep.
            if is_deeper_than(object, MAX_DEPTH) {
                return Err(too_deep());
            }
            if object.to_string().len() > MAX_PATCHED_BYTES {
                return Err(ApiError::too_large(MAX_PATCHED_BYTES));
            }
        }
    }
    if is_deeper_than(object, MAX_DEPTH) { Err(too_deep()) } else { Ok(()) }
}

fn takes_from_elsewhere(operation: &PatchOperation) -> bool {
    matches!(operation, PatchOperation::Copy(_) | PatchOperation::Move(_))
}

fn too_deep() -> ApiError {
    ApiError::invalid_patch(format!("the patch nests the object deeper than {MAX_DEPTH} levels"))
}

/// Whether a value is nested deeper than so many levels; looks no deeper than that.
fn is_deeper_than(value: &Value, most: usize) -> bool {
    let is_inner_deeper = |inner: &Value| most.checked_sub(1).is_none_or(|most| is_deeper_than(inner, most));
    match value {
        Value::Array(items) => items.iter().any(is_inner_deeper),
        Value::Object(fields) => fields.values().any(is_inner_deeper),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(operations: Value, object: Value) -> Result<Value, u16> {
        let mut object = object;
        let read = super::operations(operations).map_err(|error| error.code)?;
        apply_json(&read, &mut object).map_err(|error| error.code)?;
        Ok(object)
    }

    #[test]
    fn a_json_patch_is_applied_as_a_whole_or_refused() {
        let add = json!([{"op": "test", "path": "/a", "value": 1}, {"op": "add", "path": "/b", "value": 2}]);
        assert_eq!(patched(add.clone(), json!({"a": 1})), Ok(json!({"a": 1, "b": 2})));
        assert_eq!(patched(add, json!({"a": 2})), Err(422));
        assert_eq!(patched(json!([{"op": "jump", "path": "/a"}]), json!({})), Err(400));
        let quoted = super::operations(json!(["s3cr3t"])).map(|_| ()).unwrap_err().message;
        assert_eq!(quoted, "operation 0 of the JSON patch is none of RFC 6902");
    }

    #[test]
    fn copies_cannot_fill_the_memory() {
        let double = json!({"op": "copy", "from": "", "path": "/a"});
        let start = json!({"a": null, "b": "x".repeat(1_000)});
        let wide = json!({"op": "copy", "from": "/c", "path": "/c/-"});
        assert!(
            patched(Value::Array(vec![double; 100]), start)
                .is_ok_and(|object| object.to_string().len() < 1 << 20)
        );
        let list = json!({"c": ["x".repeat(1_000_000)]});
        assert_eq!(patched(Value::Array(vec![wide.clone(); 30]), list), Err(413));
        assert_eq!(patched(Value::Array(vec![wide; MAX_COPIES + 1]), json!({})), Err(413));
    }
}
