//! The reviews that anybody may create: what is asked in them, and how it is answered.
//!
//! Sources: `k8s.io/kubernetes/pkg/registry/authorization/{subjectaccessreview,selfsubjectaccessreview,
//! localsubjectaccessreview}/rest.go`, `pkg/registry/authorization/util/helpers.go`, `pkg/apis/authorization/validation`.

use serde_json::{Map, Value, json};

use super::Verdict;
use crate::frontend::resources::{self, ResourceType};
use crate::frontend::status::{ApiError, Cause, CauseKind};
use crate::model::{Action, Decision, Request, Subject};
use crate::review::spec_from_json;

const GROUP: &str = "authorization.k8s.io";

/// The `status` of a review.
#[must_use]
pub fn status_of(verdict: &Verdict) -> Value {
    let mut status = json!({"allowed": verdict.decision == Decision::Allow});
    if let Some(fields) = status.as_object_mut() {
        if verdict.decision == Decision::Deny {
            fields.insert("denied".into(), true.into());
        }
        if !verdict.reason.is_empty() {
            fields.insert("reason".into(), verdict.reason.clone().into());
        }
        if let Some(error) = &verdict.error {
            fields.insert("evaluationError".into(), error.clone().into());
        }
    }
    status
}

/// What a SubjectAccessReview asks about somebody.
///
/// # Errors
/// 400 where it cannot be read; 422 where it does not say who or what.
pub fn subject_access_review(review: &Value) -> Result<Request, ApiError> {
    let kind = kind("subjectaccessreviews")?;
    let spec = spec(review);
    check_attributes(kind, &spec)?;
    check_subject(kind, &spec)?;
    read(spec)
}

/// What a LocalSubjectAccessReview, posted to `namespace`, asks about somebody.
///
/// # Errors
/// 400 where it cannot be read; 422 where it does not say who or what, or asks about another namespace.
pub fn local_subject_access_review(review: &Value, namespace: &str) -> Result<Request, ApiError> {
    let kind = kind("localsubjectaccessreviews")?;
    let spec = spec(review);
    check_attributes(kind, &spec)?;
    if is_set(&spec, "nonResourceAttributes") {
        let why = "disallowed on this kind of request";
        return Err(invalid(kind, CauseKind::Invalid, "spec.nonResourceAttributes", why));
    }
    check_subject(kind, &spec)?;
    let request = read(spec)?;
    match &request.action {
        Action::Resource(action) if action.namespace != namespace => {
            let why = format!("{:?}: must match metadata.namespace", action.namespace);
            Err(invalid(kind, CauseKind::Invalid, "spec.resourceAttributes.namespace", &why))
        }
        _ => Ok(request),
    }
}

/// What a SelfSubjectAccessReview asks about whoever sends it.
///
/// # Errors
/// 400 where it cannot be read, or speaks of somebody; 422 where it does not say what.
pub fn self_subject_access_review(review: &Value, subject: &Subject) -> Result<Request, ApiError> {
    let kind = kind("selfsubjectaccessreviews")?;
    let spec = spec(review);
    check_attributes(kind, &spec)?;
    if let Some(field) = ["user", "groups", "extra", "uid"].into_iter().find(|field| is_set(&spec, field)) {
        return Err(ApiError::bad_request(format!("a SelfSubjectAccessReview has no field `spec.{field}`")));
    }
    Ok(Request { subject: subject.clone(), ..read(spec)? })
}

/// The namespace that a SelfSubjectRulesReview asks about.
///
/// # Errors
/// 400 where it names none.
pub fn self_subject_rules_review(review: &Value) -> Result<&str, ApiError> {
    let namespace = review.pointer("/spec/namespace").and_then(Value::as_str).unwrap_or_default();
    if namespace.is_empty() {
        return Err(ApiError::bad_request("no namespace on request"));
    }
    Ok(namespace)
}

fn kind(resource: &str) -> Result<&'static ResourceType, ApiError> {
    resources::find(GROUP, resource).ok_or_else(ApiError::no_such_path)
}

fn spec(review: &Value) -> Map<String, Value> {
    review.get("spec").and_then(Value::as_object).cloned().unwrap_or_default()
}

fn is_set(spec: &Map<String, Value>, field: &str) -> bool {
    spec.get(field).is_some_and(|value| !value.is_null())
}

fn check_attributes(kind: &ResourceType, spec: &Map<String, Value>) -> Result<(), ApiError> {
    match (is_set(spec, "resourceAttributes"), is_set(spec, "nonResourceAttributes")) {
        (true, true) => {
            let why = "cannot be specified in combination with resourceAttributes";
            Err(invalid(kind, CauseKind::Invalid, "spec.nonResourceAttributes", why))
        }
        (false, false) => {
            let why = "null: exactly one of nonResourceAttributes or resourceAttributes must be specified";
            Err(invalid(kind, CauseKind::Invalid, "spec.resourceAttributes", why))
        }
        _ => Ok(()),
    }
}

fn check_subject(kind: &ResourceType, spec: &Map<String, Value>) -> Result<(), ApiError> {
    let has_user = spec.get("user").and_then(Value::as_str).is_some_and(|user| !user.is_empty());
    let has_groups = spec.get("groups").and_then(Value::as_array).is_some_and(|groups| !groups.is_empty());
    if has_user || has_groups {
        return Ok(());
    }
    let why = "\"\": at least one of user or group must be specified";
    Err(invalid(kind, CauseKind::Invalid, "spec.user", why))
}

fn invalid(kind: &ResourceType, reason: CauseKind, field: &str, why: &str) -> ApiError {
    ApiError::invalid(kind, "", &[Cause::new(reason, field, why)])
}

/// A version that is left out stands for all of them.
fn read(spec: Map<String, Value>) -> Result<Request, ApiError> {
    let mut request = spec_from_json(&spec.into())
        .map_err(|error| ApiError::bad_request(format!("the spec cannot be read: {error}")))?;
    if let Action::Resource(action) = &mut request.action
        && action.version.is_empty()
    {
        action.version = "*".to_owned();
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::super::tests::subject;
    use super::*;

    fn review(spec: Value) -> Value {
        json!({"spec": spec})
    }

    fn verdict(decision: Decision, reason: &str, error: Option<&str>) -> Verdict {
        Verdict {
            decision,
            reason: reason.into(),
            error: error.map(str::to_owned),
            by: None,
            steps: Vec::new(),
        }
    }

    #[test]
    fn a_verdict_is_told_as_an_api_server_does() {
        for (decision, reason, error, expected) in [
            (Decision::Allow, "", None, json!({"allowed": true})),
            (Decision::Allow, "why", None, json!({"allowed": true, "reason": "why"})),
            (Decision::Deny, "why", None, json!({"allowed": false, "denied": true, "reason": "why"})),
            (Decision::NoOpinion, "", None, json!({"allowed": false})),
            (Decision::NoOpinion, "", Some("late"), json!({"allowed": false, "evaluationError": "late"})),
        ] {
            assert_eq!(status_of(&verdict(decision, reason, error)), expected);
        }
    }

    #[test]
    fn a_review_asks_about_whom_it_names() {
        let request = subject_access_review(&review(json!({
            "user": "alice", "groups": ["dev"], "resourceAttributes": {"verb": "get", "resource": "pods"},
        })))
        .unwrap();
        assert_eq!((&*request.subject.user, request.subject.groups.len()), ("alice", 1));
        assert!(matches!(&request.action, Action::Resource(action) if action.version == "*"));
        let only_groups = json!({"groups": ["dev"], "nonResourceAttributes": {"path": "/x", "verb": "get"}});
        assert!(subject_access_review(&review(only_groups)).is_ok());
        for (spec, code) in [
            (json!({}), 422),
            (json!({"user": "a"}), 422),
            (json!({"user": "a", "resourceAttributes": {}, "nonResourceAttributes": {}}), 422),
            (json!({"resourceAttributes": {"verb": "get"}}), 422),
            (json!({"user": "", "groups": [], "resourceAttributes": {"verb": "get"}}), 422),
            (json!({"user": "a", "resourceAttributes": {"verbs": "get"}}), 400),
            (json!({"user": "a", "resourceAttributes": {"verb": 1}}), 400),
        ] {
            assert_eq!(subject_access_review(&review(spec.clone())).unwrap_err().code, code, "{spec}");
        }
    }

    #[test]
    fn a_local_review_is_about_its_namespace() {
        let of = |namespace: &str| {
            let attributes = json!({"verb": "get", "resource": "pods", "namespace": namespace});
            local_subject_access_review(
                &review(json!({"user": "a", "resourceAttributes": attributes})),
                "team",
            )
        };
        assert!(of("team").is_ok());
        assert_eq!(
            of("other").unwrap_err().message,
            "LocalSubjectAccessReview.authorization.k8s.io \"\" is invalid: spec.resourceAttributes.namespace: \
             Invalid value: \"other\": must match metadata.namespace"
        );
        assert!(of("").is_err());
        let path = json!({"user": "a", "nonResourceAttributes": {"path": "/x"}});
        assert_eq!(local_subject_access_review(&review(path), "team").unwrap_err().code, 422);
    }

    #[test]
    fn a_review_of_oneself_is_about_oneself() {
        let me = subject("me", &["dev"]);
        let spec = json!({"resourceAttributes": {"verb": "get", "resource": "pods"}});
        assert_eq!(self_subject_access_review(&review(spec), &me).unwrap().subject, me);
        let spec = json!({"user": "root", "resourceAttributes": {"verb": "get"}});
        assert_eq!(self_subject_access_review(&review(spec), &me).unwrap_err().code, 400);
        assert_eq!(self_subject_rules_review(&review(json!({"namespace": "a"}))), Ok("a"));
        assert!(self_subject_rules_review(&review(json!({}))).is_err());
    }
}
