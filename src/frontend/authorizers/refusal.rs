//! What a user is told of a request that nobody allowed.
//!
//! Sources: `k8s.io/apiserver/pkg/endpoints/filters/authorization.go`, `.../handlers/responsewriters/errors.go`, and
//! `NewForbidden` of `k8s.io/apimachinery/pkg/api/errors/errors.go`.

use super::Verdict;
use crate::frontend::status::ApiError;
use crate::model::{Action, Request};

/// The answer where the verdict is not Allow: 500 where something went wrong on the way, 403 otherwise, with the reason.
///
/// An API server words the 500 as plain text, and with the request's path; here it is a Status.
#[must_use]
pub fn refusal(request: &Request, verdict: &Verdict) -> ApiError {
    if let Some(error) = &verdict.error {
        return ApiError::internal(error);
    }
    let what = sanitised(&cannot(request));
    let why = match &*verdict.reason {
        "" => what,
        reason => format!("{what}: {reason}"),
    };
    let Action::Resource(action) = &request.action else {
        return ApiError::forbidden(format!("forbidden: {why}"));
    };
    ApiError::refused(&action.group, &action.resource, &action.name, &why)
}

fn cannot(request: &Request) -> String {
    let user = &request.subject.user;
    let action = match &request.action {
        Action::Resource(action) => action,
        Action::NonResource(action) => {
            return format!("User {user:?} cannot {} path {:?}", action.verb, action.path);
        }
    };
    let resource = match &*action.subresource {
        "" => action.resource.clone(),
        subresource => format!("{}/{subresource}", action.resource),
    };
    let scope = match &*action.namespace {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace {namespace:?}"),
    };
    format!(
        "User {user:?} cannot {} resource {resource:?} in API group {:?} {scope}",
        action.verb, action.group
    )
}

/// So that nobody's browser takes a name for markup.
fn sanitised(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{path, resource};
    use super::*;
    use crate::model::Decision;

    fn told(request: &Request, reason: &str) -> ApiError {
        let verdict = Verdict {
            decision: Decision::NoOpinion,
            reason: reason.into(),
            error: None,
            by: None,
            steps: Vec::new(),
        };
        refusal(request, &verdict)
    }

    #[test]
    fn a_refusal_is_worded_as_an_api_servers() {
        for (request, reason, message) in [
            (
                resource("bob", &[], "get pods", "team-a", "web"),
                "",
                r#"pods "web" is forbidden: User "bob" cannot get resource "pods" in API group "" in the namespace "team-a""#,
            ),
            (
                resource("bob", &[], "list nodes", "", ""),
                "not today",
                r#"nodes is forbidden: User "bob" cannot list resource "nodes" in API group "" at the cluster scope: not today"#,
            ),
            (
                resource("bob", &[], "update deployments.apps/scale", "a", "web"),
                "",
                r#"deployments.apps "web" is forbidden: User "bob" cannot update resource "deployments/scale" in API group "apps" in the namespace "a""#,
            ),
            (path("<b>", &[], "get", "/x"), "", r#"forbidden: User "&lt;b&gt;" cannot get path "/x""#),
        ] {
            let error = told(&request, reason);
            assert_eq!((error.code, &*error.message), (403, message));
        }
        let error = told(&resource("bob", &[], "get roles.rbac.authorization.k8s.io", "a", "r"), "");
        assert_eq!(error.to_json()["details"]["kind"], "roles");
        assert_eq!(error.to_json()["details"]["group"], "rbac.authorization.k8s.io");
    }

    #[test]
    fn an_error_on_the_way_is_told_as_an_error() {
        let verdict = Verdict {
            decision: Decision::NoOpinion,
            reason: "No policy matched.".into(),
            error: Some("the webhook answered with the status 403".into()),
            by: None,
            steps: Vec::new(),
        };
        let error = refusal(&path("bob", &[], "get", "/x"), &verdict);
        assert_eq!(error.code, 500);
        assert_eq!(error.message, "Internal error occurred: the webhook answered with the status 403");
    }
}
