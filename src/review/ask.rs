//! The other end: a review that is asked of somebody else, and their reply.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Version;
use crate::model::{Action, Operator, Request, Requirement, ResourceAction};

/// The body of a review that asks `request`, as an API server sends it: `metadata` and `status` are there and empty, and so
/// is no other field.
#[must_use]
pub fn write_request(version: Version, request: &Request) -> Vec<u8> {
    let review = json!({
        "kind": "SubjectAccessReview",
        "apiVersion": version.api_version(),
        "metadata": {},
        "spec": spec_to_json(version, request),
        "status": {"allowed": false},
    });
    review.to_string().into_bytes()
}

/// The `spec` of a review that asks `request`. Empty fields are left out.
#[must_use]
pub fn spec_to_json(version: Version, request: &Request) -> Value {
    let subject = &request.subject;
    let mut spec = Map::new();
    match &request.action {
        Action::Resource(action) => spec.insert("resourceAttributes".into(), resource_attributes(action)),
        Action::NonResource(action) => {
            let attributes = texts(&[("path", &action.path), ("verb", &action.verb)]);
            spec.insert("nonResourceAttributes".into(), attributes.into())
        }
    };
    spec.extend(texts(&[("user", &subject.user), ("uid", &subject.uid)]));
    if !subject.groups.is_empty() {
        let groups = match version {
            Version::V1 => "groups",
            Version::V1beta1 => "group",
        };
        spec.insert(groups.into(), subject.groups.clone().into());
    }
    if !subject.extra.is_empty() {
        spec.insert("extra".into(), json!(subject.extra));
    }
    spec.into()
}

fn resource_attributes(action: &ResourceAction) -> Value {
    let mut attributes = texts(&[
        ("namespace", &action.namespace),
        ("verb", &action.verb),
        ("group", &action.group),
        ("version", &action.version),
        ("resource", &action.resource),
        ("subresource", &action.subresource),
        ("name", &action.name),
    ]);
    let selectors = [("fieldSelector", &action.field_selector), ("labelSelector", &action.label_selector)];
    for (name, selector) in selectors.into_iter().filter(|(_, selector)| !selector.is_empty()) {
        let requirements: Vec<Value> = selector.iter().map(requirement_to_json).collect();
        attributes.insert(name.into(), json!({"requirements": requirements}));
    }
    attributes.into()
}

/// A requirement of a selector, as in a review.
#[must_use]
pub fn requirement_to_json(requirement: &Requirement) -> Value {
    let operator = match requirement.operator {
        Operator::In => "In",
        Operator::NotIn => "NotIn",
        Operator::Exists => "Exists",
        Operator::DoesNotExist => "DoesNotExist",
    };
    let mut object = texts(&[("key", &requirement.key), ("operator", operator)]);
    if !requirement.values.is_empty() {
        object.insert("values".into(), requirement.values.clone().into());
    }
    object.into()
}

fn texts(fields: &[(&str, &str)]) -> Map<String, Value> {
    let filled = fields.iter().filter(|(_, text)| !text.is_empty());
    filled.map(|(name, text)| ((*name).to_owned(), (*text).into())).collect()
}

/// What somebody else replied.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Reply {
    /// It may be done.
    pub allowed: bool,
    /// It must not be done, whatever others say.
    pub denied: bool,
    /// Why.
    pub reason: String,
    /// What went wrong; an API server does not look at it.
    pub evaluation_error: String,
}

/// A reply that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the answer is no SubjectAccessReview: {0}")]
pub struct ReplyError(String);

/// Reads the reply to a review. A `status` that is absent, or says nothing, is no opinion; it may be in either version.
///
/// # Errors
/// Where it is no SubjectAccessReview.
pub fn read_reply(body: &[u8]) -> Result<Reply, ReplyError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Review {
        kind: String,
        api_version: String,
        status: Option<Reply>,
    }
    let review: Review = serde_json::from_slice(body).map_err(|error| ReplyError(error.to_string()))?;
    let is_known =
        [Version::V1, Version::V1beta1].iter().any(|version| version.api_version() == review.api_version);
    if review.kind != "SubjectAccessReview" || !is_known {
        return Err(ReplyError(format!("its kind is {:?} of {:?}", review.kind, review.api_version)));
    }
    Ok(review.status.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::{read, write};
    use super::*;
    use crate::model::{Decision, NonResourceAction, Subject};

    fn requests() -> [Request; 3] {
        let subject = Subject {
            user: "alice".into(),
            uid: "1f2e".into(),
            groups: vec!["eng".into(), "eng".into()],
            extra: [("example.org/source-ip".to_owned(), vec!["10.1.2.3".to_owned()])].into(),
        };
        let requirement = |operator, values: &[&str]| Requirement {
            key: "tier".into(),
            operator,
            values: values.iter().map(|value| (*value).to_owned()).collect(),
        };
        let action = ResourceAction {
            verb: "list".into(),
            group: "apps".into(),
            resource: "deployments".into(),
            namespace: "a".into(),
            field_selector: vec![requirement(Operator::In, &["web"])],
            label_selector: vec![
                requirement(Operator::NotIn, &["a", "b"]),
                requirement(Operator::Exists, &[]),
            ],
            ..ResourceAction::default()
        };
        let path = NonResourceAction { verb: "get".into(), path: "//metrics/..".into() };
        [
            Request { subject: subject.clone(), action: Action::Resource(action) },
            Request { subject, action: Action::NonResource(path) },
            Request {
                subject: Subject::default(),
                action: Action::NonResource(NonResourceAction::default()),
            },
        ]
    }

    #[test]
    fn what_is_asked_is_what_is_read_at_the_other_end() {
        for version in [Version::V1, Version::V1beta1] {
            for request in requests() {
                let review = read(&write_request(version, &request)).unwrap();
                assert_eq!((review.version, review.request), (version, request));
            }
        }
    }

    #[test]
    fn a_review_looks_as_an_api_servers() {
        let [_, path, _] = requests();
        assert_eq!(
            String::from_utf8(write_request(Version::V1beta1, &path)).unwrap(),
            r#"{"apiVersion":"authorization.k8s.io/v1beta1","kind":"SubjectAccessReview","metadata":{},"spec":{"extra":{"example.org/source-ip":["10.1.2.3"]},"group":["eng","eng"],"nonResourceAttributes":{"path":"//metrics/..","verb":"get"},"uid":"1f2e","user":"alice"},"status":{"allowed":false}}"#
        );
    }

    #[test]
    fn what_is_replied_is_what_is_read() {
        for (decision, reason, error) in
            [(Decision::Allow, "why", ""), (Decision::Deny, "", ""), (Decision::NoOpinion, "", "late")]
        {
            let reply = read_reply(&write(Version::V1, decision, reason, error)).unwrap();
            let expected = Reply {
                allowed: decision == Decision::Allow,
                denied: decision == Decision::Deny,
                reason: reason.into(),
                evaluation_error: error.into(),
            };
            assert_eq!(reply, expected);
        }
    }

    #[test]
    fn what_is_no_reply_is_an_error() {
        let kind = r#""kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1""#;
        assert_eq!(read_reply(format!("{{{kind}}}").as_bytes()), Ok(Reply::default()));
        for body in [
            String::new(),
            "{}".into(),
            "<html>".into(),
            r#"{"kind":"Status","apiVersion":"v1","status":"Failure"}"#.into(),
            format!(r#"{{{kind},"status":{{"allowed":"true"}}}}"#),
            format!(r#"{{{kind},"status":{{"allowed":false,"allowed":true}}}}"#),
            format!("{{{kind}}} x"),
        ] {
            assert!(read_reply(body.as_bytes()).is_err(), "{body}");
        }
    }
}
