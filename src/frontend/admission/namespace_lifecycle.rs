//! `NamespaceLifecycle`: nothing is made in a namespace that is not there or is going, and some namespaces stay.
//!
//! Source: `k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle/admission.go`.

use serde_json::{Value, json};

use super::{Attributes, Notes, Operation, Plugin, PluginName, Said};
use crate::frontend::resources;
use crate::frontend::status::ApiError;

/// Namespaces that may not be deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// See the [module](self).
pub(super) struct NamespaceLifecycle;

impl Plugin for NamespaceLifecycle {
    fn name(&self) -> PluginName {
        PluginName::NamespaceLifecycle
    }

    fn mutate(&self, asked: &mut Attributes, notes: &mut Notes<'_>) -> Result<Said, ApiError> {
        if asked.is_core("namespaces") {
            if asked.operation == Operation::Delete && IMMORTAL.contains(&&*asked.name) {
                return Err(asked.refuse("this namespace may not be deleted"));
            }
            return Ok(Said::Nothing);
        }
        // Asking what one may do in a namespace tells nothing about it and leaves nothing in it.
        if asked.operation != Operation::Create || asked.namespace.is_empty() || !asked.kind.is_stored() {
            return Ok(Said::Nothing);
        }
        let Some(namespaces) = resources::find("", "namespaces") else { return Ok(Said::Nothing) };
        let Some(namespace) = notes.storage.get(namespaces, "", &asked.namespace) else {
            return Err(ApiError::not_found(namespaces, &asked.namespace));
        };
        if is_terminating(&namespace) {
            let why = format!(
                "unable to create new content in namespace {} because it is being terminated",
                asked.namespace
            );
            let mut error = asked.refuse(&why);
            let cause = json!({"reason": "NamespaceTerminating", "field": "metadata.namespace",
                "message": format!("namespace {} is being terminated", asked.namespace)});
            error.details.insert("causes".into(), json!([cause]));
            return Err(error);
        }
        Ok(Said::Fine(format!("the namespace {} is there", asked.namespace)))
    }
}

fn is_terminating(namespace: &Value) -> bool {
    namespace.pointer("/metadata/deletionTimestamp").is_some_and(|at| !at.is_null())
        || namespace.pointer("/status/phase").and_then(Value::as_str) == Some("Terminating")
}
