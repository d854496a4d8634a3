//! The claims of a ServiceAccount token (`privateClaims` in `pkg/serviceaccount/claims.go`).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Bound, TokenError};

/// What a token says. Written and read as it stands: every claim must be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claims {
    pub(super) aud: Vec<String>,
    pub(super) exp: i64,
    pub(super) iat: i64,
    pub(super) iss: String,
    pub(super) jti: String,
    #[serde(rename = "kubernetes.io")]
    pub(super) kubernetes: Kubernetes,
    pub(super) nbf: i64,
    pub(super) sub: String,
}

/// What a token is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Kubernetes {
    pub(super) namespace: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) node: Option<Reference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pod: Option<Reference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) secret: Option<Reference>,
    pub(super) serviceaccount: Reference,
}

/// An object.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Reference {
    pub(super) name: String,
    pub(super) uid: String,
}

impl Claims {
    /// The claims, where all are there and of their types. Others are overlooked, as RFC 7519, 4, has it.
    pub(super) fn read(claims: Value) -> Option<Self> {
        serde_json::from_value(claims).ok()
    }

    pub(super) fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

impl Kubernetes {
    pub(super) fn bind(&mut self, bound: Bound) -> Result<(), TokenError> {
        let Bound { kind, api_version, name, uid } = bound;
        let place = match (api_version.as_str(), kind.as_str()) {
            ("v1", "Pod") => &mut self.pod,
            ("v1", "Secret") => &mut self.secret,
            ("v1", "Node") => &mut self.node,
            _ => return Err(TokenError::Unbindable(format!("{api_version}/{kind}"))),
        };
        *place = Some(Reference { name, uid });
        Ok(())
    }
}
