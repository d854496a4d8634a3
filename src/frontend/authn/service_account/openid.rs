//! What the world is told of this issuer, so that others can verify its tokens (OpenID Connect Discovery 1.0,
//! section 3; `pkg/serviceaccount/openidmetadata.go`).

use serde_json::{Value, json};

use super::ServiceAccountTokens;

impl ServiceAccountTokens {
    /// `/.well-known/openid-configuration`.
    #[must_use]
    pub fn openid_configuration(&self) -> Value {
        let issuer = &self.issuer.url;
        let usual = || format!("{}/openid/v1/jwks", issuer.trim_end_matches('/'));
        let mut algorithms: Vec<&str> = self.keys.iter().map(|key| key.algorithm().name()).collect();
        algorithms.sort_unstable();
        algorithms.dedup();
        json!({
            "issuer": issuer,
            "jwks_uri": self.issuer.jwks_uri.clone().unwrap_or_else(usual),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": algorithms,
        })
    }

    /// `/openid/v1/jwks` (RFC 7517, 5): the public keys. One that cannot be told of is left out.
    #[must_use]
    pub fn jwks(&self) -> Value {
        let keys: Vec<Value> = self.keys.iter().filter_map(|key| key.jwk().ok()).collect();
        json!({"keys": keys})
    }
}
