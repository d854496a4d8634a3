//! What is asked by creating, and not kept: reviews, and requests for tokens. The answers come from other parts of the
//! front end ([`super::Hooks`]). Reviews are not admitted: there is nothing that would be stored.

use serde_json::{Value, json};

use super::answer::{Answer, JSON};
use super::body::{self, Expected};
use super::create::expected;
use super::options::Write;
use super::stages::{Admitting, Target};
use super::{Call, meta, negotiate};
use crate::frontend::admission::Operation;
use crate::frontend::authn::{DEFAULT_EXPIRATION_SECONDS, MAX_EXPIRATION_SECONDS, MIN_EXPIRATION_SECONDS};
use crate::frontend::resources::{self, Subresource};
use crate::frontend::status::{ApiError, Cause, CauseKind};

/// Answers a review.
pub(super) async fn review(call: &Call<'_>, target: Target<'_>) -> Result<Answer, ApiError> {
    only_json(call)?;
    let write = Write::read(call.info, "CreateOptions")?;
    let review = body::object(call, &expected(target.kind), write.validation)?;
    let hooks = &call.frontend.hooks;
    let answered = hooks.review(target.kind, target.namespace, call.subject, review, call.now).await?;
    Ok(Answer::json(201, &answered))
}

/// Issues a token for a service account.
pub(super) async fn token(
    call: &Call<'_>,
    target: Target<'_>,
    subresource: &'static Subresource,
) -> Result<Answer, ApiError> {
    only_json(call)?;
    let write = Write::read(call.info, "CreateOptions")?;
    let api_version = format!("{}/{}", subresource.group, subresource.version);
    let expected = Expected { api_version, kind: subresource.kind };
    let mut request = body::object(call, &expected, write.validation)?;
    let account = target.stored(call.frontend)?;
    for (field, is) in [("name", target.name), ("namespace", target.namespace)] {
        match meta::text(&request, field) {
            "" => meta::set(&mut request, field, is),
            said if said == is => {}
            _ => {
                return Err(ApiError::bad_request(format!(
                    "the {field} of the object does not match the {field} on the URL"
                )));
            }
        }
    }
    meta::default_in(&mut request, "spec", "expirationSeconds", DEFAULT_EXPIRATION_SECONDS);
    is_in_order(&target, &request)?;
    let mut admitting = Admitting::begin(call);
    let admitted = async {
        let mut asked = target.attributes(call, Operation::Create, (Some(request), None), write.dry_run);
        admitting.mutate(&mut asked).await?;
        admitting.validate(&asked).await?;
        Ok(asked.object.unwrap_or_default())
    }
    .await;
    admitting.end(&admitted);
    // Nothing comes between this and the token: what admission made of the request is what is looked at.
    let mut request: Value = admitted?;
    is_in_order(&target, &request)?;
    bind(call, &target, &mut request)?;
    if write.dry_run {
        return Ok(Answer::json(201, &request));
    }
    let issued = call.frontend.hooks.token(call.subject, account, request, call.now).await?;
    Ok(Answer::json(201, &issued))
}

pub(super) fn only_json(call: &Call<'_>) -> Result<(), ApiError> {
    if negotiate::accepted(call.headers).iter().any(negotiate::is_json) {
        return Ok(());
    }
    Err(ApiError::not_acceptable(format!("only the following media types are accepted: {JSON}")))
}

fn is_in_order(target: &Target<'_>, request: &Value) -> Result<(), ApiError> {
    let seconds = request.pointer("/spec/expirationSeconds").and_then(Value::as_i64).unwrap_or_default();
    let why = if seconds < MIN_EXPIRATION_SECONDS {
        "may not specify a duration less than 10 minutes"
    } else if seconds > MAX_EXPIRATION_SECONDS {
        "may not specify a duration larger than 2^32 seconds"
    } else {
        return Ok(());
    };
    let cause = Cause::new(CauseKind::Invalid, "spec.expirationSeconds", format!("{seconds}: {why}"));
    Err(ApiError::invalid(target.kind, target.name, &[cause]))
}

/// The object that a token is to be bound to must be there, and of the account; the request is given its UID.
///
/// Source: `k8s.io/kubernetes/pkg/registry/core/serviceaccount/storage/token.go`.
fn bind(call: &Call<'_>, target: &Target<'_>, request: &mut Value) -> Result<(), ApiError> {
    let text = |field: &str| meta::text_at(request, &format!("/spec/boundObjectRef/{field}")).to_owned();
    if request.pointer("/spec/boundObjectRef").is_none() {
        return Ok(());
    }
    let (kind, name, uid, version) = (text("kind"), text("name"), text("uid"), text("apiVersion"));
    let resource = match (&*version, &*kind) {
        ("v1", "Pod") => "pods",
        ("v1", "Secret") => "secrets",
        ("v1", "Node") => "nodes",
        _ => {
            return Err(ApiError::bad_request(format!(
                "cannot bind token for serviceaccount to object of type {version}, Kind={kind}"
            )));
        }
    };
    let Some(kind) = resources::find("", resource) else { return Err(ApiError::no_such_path()) };
    let namespace = if kind.namespaced { target.namespace } else { "" };
    let bound = call.frontend.storage.get(kind, namespace, &name);
    let bound = bound.ok_or_else(|| ApiError::not_found(kind, &name))?;
    let is = meta::text(&bound, "uid");
    if !uid.is_empty() && uid != is {
        let why = format!("the UID in the bound object reference ({uid}) does not match the UID in record");
        return Err(ApiError::conflict(kind, &name, &why));
    }
    if resource == "pods" && meta::text_at(&bound, "/spec/serviceAccountName") != target.name {
        return Err(ApiError::bad_request(format!(
            "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
            target.name
        )));
    }
    if let Some(reference) = request.pointer_mut("/spec/boundObjectRef").and_then(Value::as_object_mut) {
        reference.insert("uid".into(), json!(is));
    }
    Ok(())
}
