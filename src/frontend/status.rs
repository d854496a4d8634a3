//! Errors as an API server words them: a `metav1.Status` with a reason and a code.
//!
//! Source: `k8s.io/apimachinery/pkg/api/errors/errors.go`.

use serde_json::{Map, Value, json};

use super::resources::ResourceType;

/// Why a request was not carried out. Its message is shown to the client.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The HTTP status.
    pub code: u16,
    /// The machine-readable reason (`metav1.StatusReason`).
    pub reason: &'static str,
    /// What went wrong, and where possible what to do.
    pub message: String,
    /// `details` of the Status; empty where there are none.
    pub details: Map<String, Value>,
    /// `details.retryAfterSeconds`, and the header `Retry-After`.
    pub retry_after: Option<u32>,
    /// `metadata.continue`, by which a list goes on that is no longer consistent; empty: none.
    pub go_on: String,
}

/// One thing that is wrong with an object (`metav1.StatusCause`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The field's path, as `spec.containers[0].image`.
    pub field: String,
    /// The machine-readable kind of the fault.
    pub reason: CauseKind,
    /// The fault.
    pub message: String,
}

/// The kinds of faults in a field (`k8s.io/apimachinery/pkg/util/validation/field/errors.go`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CauseKind {
    /// The field has to be there.
    Required,
    /// The value is malformed.
    Invalid,
    /// The value is none of those possible.
    NotSupported,
    /// The field must not be set, or not changed.
    Forbidden,
    /// The value occurs twice.
    Duplicate,
}

impl CauseKind {
    fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::Duplicate => "FieldValueDuplicate",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::Duplicate => "Duplicate value",
        }
    }
}

impl Cause {
    /// A fault in a field.
    pub fn new(reason: CauseKind, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), reason, message: message.into() }
    }
}

impl ApiError {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: Map::new(),
            retry_after: None,
            go_on: String::new(),
        }
    }

    fn about(mut self, kind: &ResourceType, name: &str) -> Self {
        if !name.is_empty() {
            self.details.insert("name".into(), name.into());
        }
        if !kind.group.is_empty() {
            self.details.insert("group".into(), kind.group.into());
        }
        self.details.insert("kind".into(), kind.resource.into());
        self
    }

    /// 400: the request cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 401. The client is not told which of its credentials failed or why, as it is not by an API server.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 403: understood, and refused. The message is as given.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(403, "Forbidden", message)
    }

    /// 403 about an object: `pods "web-1" is forbidden: WHY`.
    #[must_use]
    pub fn forbidden_object(kind: &ResourceType, name: &str, why: &str) -> Self {
        Self::refused(kind.group, kind.resource, name, why)
    }

    /// 403 about whatever was asked for, whether it is served or not.
    #[must_use]
    pub fn refused(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let mut what = resource.to_owned();
        if !group.is_empty() {
            what.push_str(&format!(".{group}"));
        }
        if !name.is_empty() {
            what.push_str(&format!(" {name:?}"));
        }
        let mut error = Self::new(403, "Forbidden", format!("{what} is forbidden: {why}"));
        for (key, value) in [("name", name), ("group", group), ("kind", resource)] {
            if !value.is_empty() {
                error.details.insert(key.into(), value.into());
            }
        }
        error
    }

    /// 404 for an object: `pods "web-1" not found`.
    #[must_use]
    pub fn not_found(kind: &ResourceType, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} {name:?} not found", kind.qualified())).about(kind, name)
    }

    /// 404 for a path, or a resource that is not served.
    #[must_use]
    pub fn no_such_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource")
    }

    /// 405: the resource has no such verb.
    #[must_use]
    pub fn method_not_supported(kind: &ResourceType, verb: &str) -> Self {
        let message = format!("{verb} is not supported on resources of kind {:?}", kind.qualified());
        Self::new(405, "MethodNotAllowed", message).about(kind, "")
    }

    /// 406: none of the representations asked for is to be had.
    pub fn not_acceptable(message: impl Into<String>) -> Self {
        Self::new(406, "NotAcceptable", message)
    }

    /// 409: there is such an object.
    #[must_use]
    pub fn already_exists(kind: &ResourceType, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{} {name:?} already exists", kind.qualified()))
            .about(kind, name)
    }

    /// 409: the object is not what the request took it for.
    #[must_use]
    pub fn conflict(kind: &ResourceType, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", kind.qualified());
        Self::new(409, "Conflict", message).about(kind, name)
    }

    /// 410: a `resourceVersion` or `continue` that is too old.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 504 for a version that is yet to come (`NewTooLargeResourceVersionError` of `k8s.io/apiserver/pkg/storage/errors.go`).
    pub fn too_new(message: impl std::fmt::Display) -> Self {
        const WORDS: &str = "Too large resource version";
        let mut error = Self::new(504, "Timeout", format!("Timeout: {message}"));
        let cause = json!({"reason": "ResourceVersionTooLarge", "message": WORDS});
        error.details.insert("causes".into(), json!([cause]));
        error.retry_after = Some(1);
        error
    }

    /// 413: the body is larger than the bound.
    #[must_use]
    pub fn too_large(most: usize) -> Self {
        Self::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {most}"))
    }

    /// 415: a body of a kind that is not understood here.
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// 422: the object is understood and wrong, here.
    #[must_use]
    pub fn invalid(kind: &ResourceType, name: &str, causes: &[Cause]) -> Self {
        let texts: Vec<String> = causes.iter().map(Cause::text).collect();
        let all = match &*texts {
            [only] => only.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        let group = if kind.group.is_empty() { String::new() } else { format!(".{}", kind.group) };
        let message = format!("{}{group} {name:?} is invalid: {all}", kind.kind);
        let mut error = Self::new(422, "Invalid", message).about(kind, name);
        error.details.insert("kind".into(), kind.kind.into());
        let causes: Vec<Value> = causes.iter().map(Cause::to_json).collect();
        error.details.insert("causes".into(), causes.into());
        error
    }

    /// 422 for a patch that cannot be applied, or is not what its media type says.
    pub fn invalid_patch(message: impl Into<String>) -> Self {
        Self::new(422, "Invalid", message)
    }

    /// 429: try again later.
    pub fn too_many_requests(message: impl Into<String>, after_seconds: u32) -> Self {
        Self { retry_after: Some(after_seconds), ..Self::new(429, "TooManyRequests", message) }
    }

    /// 500: our own fault, or that of a part that was asked.
    pub fn internal(message: impl std::fmt::Display) -> Self {
        Self::new(500, "InternalError", format!("Internal error occurred: {message}"))
    }

    /// 504 or 408: it took too long.
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new(504, "Timeout", message)
    }

    /// The Status, as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut details = self.details.clone();
        if let Some(seconds) = self.retry_after {
            details.insert("retryAfterSeconds".into(), seconds.into());
        }
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if let (false, Some(fields)) = (details.is_empty(), status.as_object_mut()) {
            fields.insert("details".into(), details.into());
        }
        if let (false, Some(metadata)) = (self.go_on.is_empty(), status.get_mut("metadata")) {
            *metadata = json!({"continue": self.go_on});
        }
        status
    }
}

impl Cause {
    fn text(&self) -> String {
        format!("{}: {}", self.field, self.fault())
    }

    fn fault(&self) -> String {
        match &*self.message {
            "" => self.reason.words().to_owned(),
            message => format!("{}: {message}", self.reason.words()),
        }
    }

    fn to_json(&self) -> Value {
        json!({"reason": self.reason.reason(), "message": self.fault(), "field": self.field})
    }
}
