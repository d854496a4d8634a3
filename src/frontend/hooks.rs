//! What the API asks the first and the second stage while it carries out a request: reviews, tokens, and what may be granted.

use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::api::Hooks;
use super::authn::{Authenticators, Bound, ServiceAccountTokens, TokenSpec, user_info};
use super::authorizers::rbac::{Change, Rbac, may_grant};
use super::authorizers::{Chain, reviews};
use super::bootstrap;
use super::resources::ResourceType;
use super::status::{ApiError, Cause, CauseKind};
use super::storage::{Object, Storage};
use crate::model::Subject;

/// The stages behind the API.
pub(super) struct Stages {
    pub(super) chain: Arc<Chain>,
    /// Reads the same objects as the chain's, for what is granted; it is there whether the chain asks RBAC or not.
    pub(super) rbac: Rbac,
    pub(super) authenticators: Arc<Authenticators>,
    pub(super) service_accounts: Option<Arc<ServiceAccountTokens>>,
    pub(super) storage: Arc<Storage>,
    pub(super) ca_pem: String,
}

impl Hooks for Stages {
    fn may_grant<'a>(
        &'a self,
        subject: &'a Subject,
        kind: &'static ResourceType,
        new: &'a Value,
        old: Option<&'a Value>,
    ) -> LocalBoxFuture<'a, Result<(), ApiError>> {
        let text = |field: &str| new.pointer(field).and_then(Value::as_str).unwrap_or_default();
        // The API has put the object where the path says. A new one has no name in the path.
        let name = if old.is_some() { text("/metadata/name") } else { "" };
        let change = Change { kind, namespace: text("/metadata/namespace"), name, old, new };
        Box::pin(may_grant(&self.chain, &self.rbac, subject, change))
    }

    fn review<'a>(
        &'a self,
        kind: &'static ResourceType,
        namespace: &'a str,
        subject: &'a Subject,
        review: Value,
        now: Timestamp,
    ) -> LocalBoxFuture<'a, Result<Value, ApiError>> {
        Box::pin(self.answer(kind, namespace, subject, review, now))
    }

    fn token<'a>(
        &'a self,
        _subject: &'a Subject,
        account: Object,
        request: Value,
        now: Timestamp,
    ) -> LocalBoxFuture<'a, Result<Value, ApiError>> {
        Box::pin(async move { self.issue(&account, request, now) })
    }

    fn created<'a>(
        &'a self,
        kind: &'static ResourceType,
        object: &'a Object,
        now: Timestamp,
    ) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            let made = bootstrap::companions(&self.storage, kind, object, &self.ca_pem, now).await;
            if let Err(error) = made {
                tracing::warn!(%error, "what comes with a namespace could not be made");
            }
        })
    }
}

impl Stages {
    async fn answer(
        &self,
        kind: &'static ResourceType,
        namespace: &str,
        subject: &Subject,
        mut review: Value,
        now: Timestamp,
    ) -> Result<Value, ApiError> {
        let status = match kind.kind {
            "SelfSubjectReview" => json!({"userInfo": user_info(subject)}),
            "SelfSubjectRulesReview" => {
                let namespace = reviews::self_subject_rules_review(&review)?;
                self.chain.rules_for(subject, namespace).status()
            }
            "TokenReview" => {
                let spec = review.get("spec").cloned().unwrap_or_default();
                self.authenticators.review(&spec, now).await?
            }
            "SelfSubjectAccessReview" => {
                let request = reviews::self_subject_access_review(&review, subject)?;
                reviews::status_of(&self.chain.authorize(&request).await)
            }
            "LocalSubjectAccessReview" => {
                let request = reviews::local_subject_access_review(&review, namespace)?;
                reviews::status_of(&self.chain.authorize(&request).await)
            }
            "SubjectAccessReview" => {
                let request = reviews::subject_access_review(&review)?;
                reviews::status_of(&self.chain.authorize(&request).await)
            }
            _ => return Err(ApiError::no_such_path()),
        };
        if let Some(fields) = review.as_object_mut() {
            fields.insert("status".to_owned(), status);
        }
        Ok(review)
    }

    /// A token for a ServiceAccount (`authentication/v1.TokenRequest`).
    fn issue(&self, account: &Value, mut request: Value, now: Timestamp) -> Result<Value, ApiError> {
        let Some(tokens) = &self.service_accounts else {
            return Err(ApiError::no_such_path());
        };
        let of =
            |pointer: &str| account.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let spec = request.get("spec").cloned().unwrap_or_default();
        let bound = spec.get("boundObjectRef").filter(|bound| !bound.is_null()).map(|bound| {
            let text = |key: &str| bound.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            Bound {
                kind: text("kind"),
                api_version: text("apiVersion"),
                name: text("name"),
                uid: text("uid"),
            }
        });
        let audiences = spec.get("audiences").and_then(Value::as_array).into_iter().flatten();
        let spec = TokenSpec {
            namespace: of("/metadata/namespace"),
            name: of("/metadata/name"),
            uid: of("/metadata/uid"),
            audiences: audiences.filter_map(|audience| Some(audience.as_str()?.to_owned())).collect(),
            expiration_seconds: spec.get("expirationSeconds").and_then(Value::as_i64),
            bound,
        };
        let issued = tokens.issue(spec, now).map_err(|error| {
            let invalid = |field| Cause::new(CauseKind::Invalid, field, error.to_string());
            match super::resources::find("", "serviceaccounts") {
                Some(kind) => ApiError::invalid(kind, &of("/metadata/name"), &[invalid("spec")]),
                None => ApiError::internal(&error),
            }
        })?;
        let expires = issued.expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let status = json!({"token": issued.token, "expirationTimestamp": expires});
        if let Some(fields) = request.as_object_mut() {
            fields.insert("status".to_owned(), status);
        }
        Ok(request)
    }
}
