//! What the stages read of storage, each through the narrow view that it asks for.

use std::sync::Arc;

use serde_json::Value;

use super::authn::Objects;
use super::authorizers::{node::NodePods, rbac::RbacObjects};
use super::resources;
use super::storage::{Object, Storage};

/// Storage as the stages before it see it.
#[derive(Debug, Clone)]
pub(super) struct Views(pub(super) Arc<Storage>);

const RBAC: &str = "rbac.authorization.k8s.io";

impl Views {
    fn get(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Option<Object> {
        self.0.get(resources::find(group, resource)?, namespace, name)
    }

    fn list(&self, group: &str, resource: &str, namespace: Option<&str>) -> Vec<Object> {
        resources::find(group, resource).map(|kind| self.0.list(kind, namespace).items).unwrap_or_default()
    }
}

impl RbacObjects for Views {
    fn role(&self, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.get(RBAC, "roles", namespace, name)
    }

    fn cluster_role(&self, name: &str) -> Option<Arc<Value>> {
        self.get(RBAC, "clusterroles", "", name)
    }

    fn role_bindings(&self, namespace: &str) -> Vec<Arc<Value>> {
        self.list(RBAC, "rolebindings", Some(namespace))
    }

    fn cluster_role_bindings(&self) -> Vec<Arc<Value>> {
        self.list(RBAC, "clusterrolebindings", None)
    }
}

impl NodePods for Views {
    fn pods_on(&self, node: &str) -> Vec<Arc<Value>> {
        let is_on = |pod: &Object| pod.pointer("/spec/nodeName").and_then(Value::as_str) == Some(node);
        self.list("", "pods", None).into_iter().filter(is_on).collect()
    }
}

impl Objects for Views {
    fn uid(&self, resource: &str, namespace: &str, name: &str) -> Option<String> {
        let object = self.get("", resource, namespace, name)?;
        // What is on its way out speaks for nobody any more.
        if object.pointer("/metadata/deletionTimestamp").is_some_and(|at| !at.is_null()) {
            return None;
        }
        object.pointer("/metadata/uid")?.as_str().map(str::to_owned)
    }
}
