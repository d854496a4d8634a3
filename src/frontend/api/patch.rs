//! The patches that are taken: JSON Patch (RFC 6902), JSON Merge Patch (RFC 7396), and Kubernetes' strategic merge patch.
//! Server-side apply is not served.
//!
//! Semantics: `k8s.io/apiserver/pkg/endpoints/handlers/patch.go`.

use json_patch::PatchOperation;
use serde_json::Value;

use super::{Call, body, json, meta, schema, strategic};
use crate::frontend::resources::ResourceType;
use crate::frontend::status::ApiError;

/// How many operations a JSON patch may have. An API server takes ten times as many; each may nest the object more deeply.
const MAX_OPERATIONS: usize = 1_000;

/// How many of them may copy: each can double the object.
const MAX_COPIES: usize = 100;

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
    let operations: Vec<PatchOperation> = serde_json::from_value(value)
        .map_err(|error| ApiError::bad_request(format!("the body is no JSON patch: {error}")))?;
    let copies = operations.iter().filter(|operation| matches!(operation, PatchOperation::Copy(_))).count();
    if operations.len() > MAX_OPERATIONS || copies > MAX_COPIES {
        return Err(ApiError::too_large(MAX_OPERATIONS));
    }
    Ok(operations)
}

fn apply_json(operations: &[PatchOperation], object: &mut Value) -> Result<(), ApiError> {
    for operation in operations {
        json_patch::patch(object, std::slice::from_ref(operation)).map_err(|error| {
            ApiError::invalid_patch(format!(
                "the server rejected our request due to an error in our request: {error}"
            ))
        })?;
        if matches!(operation, PatchOperation::Copy(_)) && object.to_string().len() > MAX_PATCHED_BYTES {
            return Err(ApiError::too_large(MAX_PATCHED_BYTES));
        }
    }
    Ok(())
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
