//! Finds what serves a request.

use super::answer::{Answer, Body};
use super::stages::{Target, is_namespace};
use super::{Call, change, create, delete, discovery, log, placing, read, reviews, watch};
use crate::frontend::resources;
use crate::frontend::status::ApiError;
use crate::model::{Action, ResourceAction};

/// Carries out a request that is authenticated and authorised.
///
/// # Errors
/// Whatever there is to refuse about it, in an API server's words.
pub async fn dispatch(call: Call<'_>) -> Result<Answer, ApiError> {
    let mut answer = match &call.info.action {
        Action::NonResource(path) => discovery::serve(&call, &path.path)?,
        Action::Resource(resource) => self::resource(&call, resource).await?,
    };
    // HEAD is GET without the body (RFC 9110, 9.3.2).
    if call.method == "HEAD" {
        answer.body = Body::Whole(bytes::Bytes::new());
    }
    Ok(answer)
}

async fn resource(call: &Call<'_>, asked: &ResourceAction) -> Result<Answer, ApiError> {
    let kind = resources::find(&asked.group, &asked.resource)
        .filter(|kind| kind.version == asked.version)
        .ok_or_else(|| no_such_resource(asked))?;
    let verb = &*asked.verb;
    let is_collection = matches!(verb, "list" | "watch" | "deletecollection");
    let target = Target {
        kind,
        namespace: if is_namespace(kind) { "" } else { &asked.namespace },
        // A list that selects a name is authorised by it, and is a list nevertheless.
        name: if is_collection { "" } else { &asked.name },
        subresource: &asked.subresource,
    };
    if !kind.namespaced && !target.namespace.is_empty() {
        return Err(ApiError::no_such_path());
    }
    let not_supported = || ApiError::method_not_supported(kind, verb);
    if kind.namespaced && target.namespace.is_empty() {
        match verb {
            _ if !target.name.is_empty() => return Err(ApiError::no_such_path()),
            "create" | "deletecollection" => return Err(not_supported()),
            _ => {}
        }
    }
    if target.subresource.is_empty() {
        let is_named = !target.name.is_empty();
        // Objects are created in their collection, and changed by their names.
        let is_misplaced = match verb {
            "create" => is_named,
            "update" | "patch" => !is_named,
            _ => false,
        };
        if is_misplaced || !kind.verbs.contains(&verb) {
            return Err(not_supported());
        }
        return match verb {
            "create" if kind.kind == "Binding" => placing::bind(call, target).await,
            "create" if !kind.is_stored() => reviews::review(call, target).await,
            "create" => create::create(call, target).await,
            "get" => read::get(call, &target),
            "list" => read::list(call, &target),
            "watch" => watch::watch(call, &target),
            "update" => change::update(call, target).await,
            "patch" => change::patch(call, target).await,
            "delete" => delete::delete(call, target).await,
            "deletecollection" => delete::delete_collection(call, target).await,
            _ => Err(not_supported()),
        };
    }
    let subresource = kind.subresource(target.subresource).ok_or_else(|| unserved(&target))?;
    if !subresource.verbs.contains(&verb) {
        return Err(not_supported());
    }
    match (subresource.name, verb) {
        ("log", "get") => log::log(call, &target),
        ("binding", "create") => placing::bind(call, target).await,
        ("eviction", "create") => placing::evict(call, target, subresource).await,
        ("token", "create") => reviews::token(call, target, subresource).await,
        ("scale" | "status", "get") => read::get(call, &target),
        ("scale" | "status", "update") => change::update(call, target).await,
        ("scale" | "status", "patch") => change::patch(call, target).await,
        _ => Err(not_supported()),
    }
}

/// What a cluster would have, and a front end with nothing behind it has not.
const OF_WHAT_RUNS: [&str; 6] = ["attach", "ephemeralcontainers", "exec", "portforward", "proxy", "resize"];

fn unserved(target: &Target<'_>) -> ApiError {
    let (kind, name) = (target.kind, target.subresource);
    if !OF_WHAT_RUNS.contains(&name) {
        return ApiError::no_such_path();
    }
    let message = format!("{}/{name} is not served: nothing runs behind this front end", kind.qualified());
    let mut error = ApiError { message, ..ApiError::no_such_path() };
    // `kubectl debug` looks into the details without asking whether there are any.
    error.details.insert("kind".into(), kind.resource.into());
    error
}

/// What an API server has and this one has not, and what there is instead.
const ELSEWHERE: [(&str, &str, &str); 4] = [
    ("apiextensions.k8s.io", "customresourcedefinitions", "the kinds that this front end serves are fixed"),
    (
        "admissionregistration.k8s.io",
        "validatingadmissionpolicies",
        "use an admission webhook or one of the plugins of the front end",
    ),
    (
        "admissionregistration.k8s.io",
        "validatingadmissionpolicybindings",
        "use an admission webhook or one of the plugins of the front end",
    ),
    ("policy", "poddisruptionbudgets", "every eviction is carried out at once"),
];

fn no_such_resource(asked: &ResourceAction) -> ApiError {
    let instead =
        ELSEWHERE.iter().find(|(group, name, _)| (*group, *name) == (&*asked.group, &*asked.resource));
    let Some((group, name, instead)) = instead else { return ApiError::no_such_path() };
    ApiError { message: format!("{name}.{group} are not served here: {instead}"), ..ApiError::no_such_path() }
}
