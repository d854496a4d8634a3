//! What the API does with an object that an admission webhook changed: the patch is applied within the bounds of clients'
//! patches, and what comes of it is brought into its kind's shape and defaulted.
//!
//! Source: `k8s.io/apiserver/pkg/admission/plugin/webhook/mutating/dispatcher.go`.

use serde_json::Value;

use super::body::{self, Expected};
use super::{kinds, patch};
use crate::frontend::admission::webhooks::Shape;
use crate::frontend::resources::ResourceType;
use crate::frontend::status::ApiError;

/// The shapes of all kinds that are served.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shaping;

impl Shape for Shaping {
    fn patch(&self, operations: Value, object: &mut Value) -> Result<bool, ApiError> {
        patch::apply_operations(operations, object)
    }

    fn shape(
        &self,
        kind: &'static ResourceType,
        subresource: &str,
        object: &mut Value,
    ) -> Result<(), ApiError> {
        let part = kind.subresource(subresource).filter(|part| part.kind != kind.kind);
        let Some(part) = part else {
            body::reshape(&Expected { api_version: kind.api_version(), kind: kind.kind }, object)?;
            kinds::default(kind, object);
            return Ok(());
        };
        let api_version = match part.group {
            "" => part.version.to_owned(),
            group => format!("{group}/{}", part.version),
        };
        body::reshape(&Expected { api_version, kind: part.kind }, object)
    }
}
