//! The fields that objects can be selected by.
//!
//! Source: the `AddFieldLabelConversionFunc` calls in `k8s.io/kubernetes/pkg/apis/core/v1/conversion.go`, and the
//! `ToSelectableFields` of each registry.

use serde_json::Value;

use crate::frontend::request_info::RequestInfo;
use crate::frontend::resources::ResourceType;
use crate::frontend::status::ApiError;

/// The fields of a kind beside its name and namespace.
fn of(kind: &str) -> &'static [&'static str] {
    match kind {
        "Pod" => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        "Event" => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        "Secret" => &["type"],
        "Service" => &["spec.clusterIP", "spec.type"],
        "Namespace" => &["status.phase"],
        "Node" => &["spec.unschedulable"],
        _ => &[],
    }
}

/// Whether what a request selects by can be selected by.
///
/// # Errors
/// 400 for the first field that cannot.
pub(super) fn check(kind: &ResourceType, info: &RequestInfo) -> Result<(), ApiError> {
    let known = |field: &str| {
        field == "metadata.name"
            || (field == "metadata.namespace" && kind.namespaced)
            || of(kind.kind).contains(&field)
    };
    match info.field_selector.fields().find(|field| !known(field)) {
        None => Ok(()),
        Some(field) => Err(ApiError::bad_request(format!("field label not supported: {field}"))),
    }
}

/// Whether an object is one of those that a request selects.
pub(super) fn selects(info: &RequestInfo, object: &Value) -> bool {
    info.label_selector.matches_object(object)
        && (info.field_selector.is_empty() || info.field_selector.matches(|field| value(object, field)))
}

/// The value of a field, as text; empty where it is not there.
fn value(object: &Value, field: &str) -> String {
    let at = |path: &str| match path.split('.').try_fold(object, |at, name| at.get(name)) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(value)) => value.to_string(),
        _ => String::new(),
    };
    match field {
        "source" => Some(at("source.component")).filter(|source| !source.is_empty()),
        "spec.hostNetwork" | "spec.unschedulable" => {
            Some(at(field)).filter(|text| !text.is_empty()).or_else(|| Some("false".to_owned()))
        }
        _ => Some(at(field)),
    }
    .unwrap_or_else(|| at("reportingComponent"))
}
