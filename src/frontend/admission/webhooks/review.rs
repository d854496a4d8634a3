//! The AdmissionReview that a webhook is sent, and what makes its reply one.
//!
//! Sources: `k8s.io/api/admission/v1/types.go`, `k8s.io/apiserver/pkg/admission/plugin/webhook/request/admissionreview.go`
//! and `.../webhook/errors/statuserror.go`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::matching::kind_of;
use crate::frontend::admission::Attributes;
use crate::frontend::authn::user_info;
use crate::frontend::json;
use crate::frontend::selector::{is_dns_subdomain, is_label_key};
use crate::frontend::status::ApiError;

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

/// How long the message of a refusal may be, in characters: it comes from outside.
const MAX_MESSAGE_CHARS: usize = 4_096;
/// How many audit annotations of one reply are kept.
const MAX_ANNOTATIONS: usize = 16;
/// How long the value of an audit annotation may be, in characters.
const MAX_ANNOTATION_CHARS: usize = 1_024;
/// How many warnings of one reply are kept. What of their text is sent, the answer bounds.
const MAX_WARNINGS: usize = 64;

/// What is asked, without its objects and its UID: what conditions know as `request`.
pub(super) fn request(asked: &Attributes) -> Value {
    let kind = kind_of(asked);
    let resource = json!({
        "group": asked.kind.group, "version": asked.kind.version, "resource": asked.kind.resource,
    });
    json!({
        "kind": kind, "resource": resource, "subResource": asked.subresource,
        // There is one version of each resource, so that what was asked for is what is sent.
        "requestKind": kind, "requestResource": resource, "requestSubResource": asked.subresource,
        "name": asked.name, "namespace": asked.namespace, "operation": asked.operation.as_str(),
        "userInfo": user_info(&asked.subject), "dryRun": asked.dry_run, "options": asked.options,
    })
}

/// The review as it is sent.
pub(super) fn write(asked: &Attributes, uid: &str) -> Value {
    let mut request = request(asked);
    if let Some(fields) = request.as_object_mut() {
        for optional in ["subResource", "requestSubResource", "name", "namespace"] {
            if fields.get(optional).and_then(Value::as_str) == Some("") {
                fields.remove(optional);
            }
        }
        fields.insert("uid".to_owned(), uid.into());
        fields.insert("object".to_owned(), asked.object.clone().unwrap_or_default());
        let old = asked.old.as_ref().map(|old| Value::clone(old)).unwrap_or_default();
        fields.insert("oldObject".to_owned(), old);
    }
    json!({"apiVersion": API_VERSION, "kind": KIND, "request": request})
}

/// What a webhook said.
#[derive(Debug, PartialEq)]
pub(super) struct Reply {
    /// Whether it allows the request, or its refusal as the client is told it.
    pub(super) verdict: Result<(), ApiError>,
    /// A JSON Patch; only of a mutating webhook.
    pub(super) patch: Option<Vec<u8>>,
    /// What the client is to be told.
    pub(super) warnings: Vec<String>,
    /// For the audit, with the webhook's name before the keys.
    pub(super) annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review {
    #[serde(default)]
    api_version: Option<String>,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    response: Option<Response>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    #[serde(default)]
    uid: Option<String>,
    #[serde(default)]
    allowed: Option<bool>,
    #[serde(default)]
    status: Option<Status>,
    #[serde(default)]
    patch: Option<String>,
    #[serde(default)]
    patch_type: Option<String>,
    #[serde(default)]
    audit_annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    warnings: Option<Vec<String>>,
}

#[derive(Deserialize, Default)]
struct Status {
    #[serde(default)]
    code: Option<i64>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    details: Option<Map<String, Value>>,
}

/// Reads what came back.
///
/// # Errors
/// Where it is no reply to this review: the call has failed, in these words.
pub(super) fn read(webhook: &str, is_mutating: bool, uid: &str, body: &[u8]) -> Result<Reply, String> {
    let no_review = || "failed to call webhook: the reply is no AdmissionReview".to_owned();
    // What is wrong in particular is not told: it may quote the reply, which is somebody else's.
    let review = json::strict(body).map_err(|_| no_review())?;
    // A list would be read as the fields in their order.
    let is_object =
        |pointer: &str| review.pointer(pointer).is_none_or(|part| part.is_object() || part.is_null());
    if !review.is_object() || !is_object("/response") || !is_object("/response/status") {
        return Err(no_review());
    }
    let review: Review = serde_json::from_value(review).map_err(|_| no_review())?;
    let invalid = |why: String| format!("received invalid webhook response: {why}");
    let response =
        review.response.ok_or_else(|| "webhook response was absent".to_owned()).map_err(invalid)?;
    let said = response.uid.as_deref().unwrap_or_default();
    if said != uid {
        return Err(invalid(format!("expected response.uid={uid:?}, got {:?}", cut(said, 64))));
    }
    let api_version = review.api_version.as_deref().unwrap_or_default();
    let kind = review.kind.as_deref().unwrap_or_default();
    if api_version != API_VERSION || kind != KIND {
        return Err(invalid(format!(
            "expected webhook response of {API_VERSION}, Kind={KIND}, got {}, Kind={}",
            cut(api_version, 64),
            cut(kind, 64)
        )));
    }
    let patch = patch(&response, is_mutating).map_err(invalid)?;
    let verdict = match response.allowed {
        // Left out it is false, as in Go.
        Some(true) => Ok(()),
        _ => Err(refusal(webhook, response.status.unwrap_or_default())),
    };
    let annotation = |(key, value): (String, String)| {
        let key = format!("{webhook}/{key}");
        is_annotation_key(&key).then(|| (key, cut(&value, MAX_ANNOTATION_CHARS)))
    };
    let annotations = response.audit_annotations.unwrap_or_default();
    let annotations = annotations.into_iter().filter_map(annotation).take(MAX_ANNOTATIONS).collect();
    let warnings = response.warnings.unwrap_or_default();
    let warnings = warnings.into_iter().filter(|text| !text.is_empty()).take(MAX_WARNINGS).collect();
    Ok(Reply { verdict, patch, warnings, annotations })
}

fn patch(response: &Response, is_mutating: bool) -> Result<Option<Vec<u8>>, String> {
    let text = response.patch.as_deref().unwrap_or_default();
    if !is_mutating {
        return match (text.is_empty(), &response.patch_type) {
            (false, _) => Err("validating webhook may not return response.patch".to_owned()),
            (true, Some(_)) => Err("validating webhook may not return response.patchType".to_owned()),
            (true, None) => Ok(None),
        };
    }
    match (text.is_empty(), response.patch_type.as_deref()) {
        (true, None) => Ok(None),
        (false, None) => Err("webhook returned response.patch but not response.patchType".to_owned()),
        (true, Some(_)) => Err("webhook returned response.patchType but not response.patch".to_owned()),
        (false, Some("JSONPatch")) => {
            let plain: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
            let decoded = data_encoding::BASE64.decode(&plain);
            decoded.map(Some).map_err(|_| "response.patch is no base64".to_owned())
        }
        (false, Some(other)) => {
            Err(format!("webhook returned invalid response.patchType of {:?}", cut(other, 64)))
        }
    }
}

/// A refusal as the client is told it. Whatever a webhook says, it is none of success.
fn refusal(webhook: &str, status: Status) -> ApiError {
    let code = status.code.and_then(|code| u16::try_from(code).ok()).filter(|code| (400..600).contains(code));
    let reason = status.reason.unwrap_or_default();
    let denied = format!("admission webhook {webhook:?} denied the request");
    let why = match status.message.filter(|message| !message.is_empty()) {
        Some(message) => message,
        None => reason.clone(),
    };
    let message = match &*why {
        "" => format!("{denied} without explanation"),
        why => format!("{denied}: {}", cut(why, MAX_MESSAGE_CHARS)),
    };
    let reason = REASONS.iter().find(|known| **known == reason).copied().unwrap_or_default();
    let details = status.details.filter(|details| Value::Object(details.clone()).to_string().len() <= 4_096);
    ApiError {
        code: code.unwrap_or(400),
        reason,
        message,
        details: details.unwrap_or_default(),
        retry_after: None,
        go_on: String::new(),
    }
}

/// The reasons that there are (`metav1.StatusReason`); what a webhook makes up itself is not passed on.
const REASONS: [&str; 19] = [
    "Unauthorized",
    "Forbidden",
    "NotFound",
    "AlreadyExists",
    "Conflict",
    "Gone",
    "Invalid",
    "ServerTimeout",
    "Timeout",
    "TooManyRequests",
    "BadRequest",
    "MethodNotAllowed",
    "NotAcceptable",
    "RequestEntityTooLarge",
    "UnsupportedMediaType",
    "InternalError",
    "Expired",
    "ServiceUnavailable",
    "StoreReadError",
];

/// `a.subdomain/and-a-name` (`k8s.io/apiserver/pkg/admission/attributes.go`: `checkKeyFormat`).
fn is_annotation_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((domain, name)) => is_dns_subdomain(domain) && !name.contains('/') && is_label_key(key),
        None => false,
    }
}

fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}
