//! TokenReview, the asking end of which is a webhook elsewhere: whose token is this?
//!
//! Smaller than in an API server: tokens for other audiences than this server's own are not known here, whatever audiences a
//! review asks for.
//!
//! Source: `k8s.io/api/authentication/v1/types.go`, `kubernetes/pkg/registry/authentication/tokenreview/storage.go`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::said::Hearing;
use super::{Authenticators, add_group};
use crate::frontend::journey::Outcome;
use crate::frontend::status::ApiError;

impl Authenticators {
    /// The `status` of a review with this `spec`. A token that nobody knows is an answer, not an error.
    ///
    /// # Errors
    /// 400 where there is no token in it.
    pub async fn review(&self, spec: &Value, now: Timestamp) -> Result<Value, ApiError> {
        let token = spec.get("token").and_then(Value::as_str).filter(|token| !token.is_empty());
        let token = token
            .ok_or_else(|| ApiError::bad_request("token is required for TokenReview in authentication"))?;
        let ours: &[String] = self.service_accounts.as_ref().map_or(&[], |accounts| accounts.audiences());
        let asked: Vec<&str> = spec
            .get("audiences")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        // A ServiceAccount's token says whom it is for: whoever is somebody else must not take it.
        let own = self.service_accounts.as_ref().and_then(|accounts| accounts.audiences_of(token));
        let is_meant = |audience: &&String| {
            (asked.is_empty() || asked.contains(&audience.as_str()))
                && own.as_ref().is_none_or(|own| own.contains(audience))
        };
        let audiences: Vec<&String> = ours.iter().filter(is_meant).collect();
        if audiences.is_empty() && (own.is_some() || !asked.is_empty()) {
            return Ok(json!({"user": {}, "error": "the token is not known for any of these audiences"}));
        }
        let mut hearing = Hearing::default();
        let mut found = match self.by_token(&mut hearing, Some(token), now).await {
            Some(found) => found.subject,
            // Who asks must not take it for an answer that nobody could tell.
            None if hearing.end(None).steps.iter().any(|step| step.outcome == Outcome::Failed) => {
                return Ok(json!({"user": {}, "error": "it could not be found out whose token it is"}));
            }
            None => return Ok(json!({"user": {}})),
        };
        add_group(&mut found);
        let user = super::user_info(&found);
        Ok(json!({"authenticated": true, "user": user, "audiences": audiences}))
    }
}
