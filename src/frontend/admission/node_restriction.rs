//! `NodeRestriction`: a node changes itself and its own pods, and takes tokens for its own pods only.
//!
//! Smaller than in an API server: there are no CSINodes, persistent volume claims or resource slices, and no mirror
//! pods: a node creates no pods at all. Of labels that it may not give itself, only those below
//! `node-restriction.kubernetes.io` are looked at, not the others of `kubernetes.io` and `k8s.io`. Stricter: who is in the
//! group `system:nodes` and has no node's name changes nothing.
//!
//! Source: `kubernetes/plugin/pkg/admission/noderestriction/admission.go`.

use serde_json::Value;

use super::{Attributes, Notes, Operation, Plugin, PluginName, Said};
use crate::frontend::authorizers::node::node_name;
use crate::frontend::resources;
use crate::frontend::status::ApiError;

/// Where nodes keep their leases (`v1.NamespaceNodeLease`).
const LEASES: &str = "kube-node-lease";

/// Whoever is in this group is a node.
const NODES: &str = "system:nodes";
/// Labels that say which pods a node may get: a node does not say so of itself.
const RESTRICTED: &str = "node-restriction.kubernetes.io/";

/// See the [module](self).
pub(super) struct NodeRestriction;

impl Plugin for NodeRestriction {
    fn name(&self) -> PluginName {
        PluginName::NodeRestriction
    }

    fn validate(&self, asked: &Attributes, notes: &mut Notes<'_>) -> Result<Said, ApiError> {
        if !asked.is_in(NODES) {
            return Ok(Said::Nothing);
        }
        let Some(node) = node_name(&asked.subject) else {
            return Err(asked.refuse(&format!("could not determine node from user {:?}", asked.subject.user)));
        };
        match (asked.kind.group, asked.kind.resource, &*asked.subresource) {
            ("", "nodes", "" | "status") => its_node(asked, node),
            ("", "pods", "" | "status") => its_pod(asked, node),
            ("", "pods", _) => {
                Err(asked.refuse(&format!("unexpected pod subresource {:?}", asked.subresource)))
            }
            ("coordination.k8s.io", "leases", "") => its_lease(asked, node),
            ("", "serviceaccounts", "token") => its_token(asked, node, notes),
            _ => Ok(Said::Nothing),
        }
    }
}

fn its_node(asked: &Attributes, node: &str) -> Result<Said, ApiError> {
    let is_new = asked.operation == Operation::Create;
    if asked.operation == Operation::Delete {
        return Err(asked.refuse(&format!("node {node:?} is not allowed to delete nodes")));
    }
    let name = asked.text("/metadata/name").unwrap_or(&asked.name);
    if name != node {
        let verb = if is_new { "create" } else { "modify" };
        return Err(asked.refuse(&format!("node {node:?} is not allowed to {verb} node {name:?}")));
    }
    let labels = |object: Option<&Value>| {
        let labels = object.and_then(|object| object.pointer("/metadata/labels")).and_then(Value::as_object);
        labels
            .into_iter()
            .flatten()
            .filter(|(key, _)| is_restricted(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect::<std::collections::BTreeMap<String, Value>>()
    };
    let (old, new) = (labels(asked.old.as_deref()), labels(asked.object.as_ref()));
    if old != new {
        return Err(asked.refuse(&format!("is not allowed to modify labels below {RESTRICTED}")));
    }
    let taints = |object: Option<&Value>| object.and_then(|object| object.pointer("/spec/taints")).cloned();
    if !is_new && taints(asked.old.as_deref()) != taints(asked.object.as_ref()) {
        return Err(asked.refuse(&format!("node {node:?} is not allowed to modify taints")));
    }
    Ok(Said::Fine(format!("the node {node} changes itself")))
}

fn is_restricted(key: &str) -> bool {
    key.split_once('/').is_some_and(|(prefix, _)| {
        let domain = RESTRICTED.trim_end_matches('/');
        prefix == domain || prefix.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
    })
}

fn its_pod(asked: &Attributes, node: &str) -> Result<Said, ApiError> {
    let what = match (asked.operation, &*asked.subresource) {
        (Operation::Create, _) => {
            return Err(asked.refuse(&format!(
                "pod does not have a mirror annotation, node {node:?} can only create mirror pods"
            )));
        }
        (Operation::Update, "") => {
            return Err(asked.refuse(&format!("node {node:?} can only update pod status")));
        }
        (Operation::Update, _) => "update status for",
        (Operation::Delete, _) => "delete",
        (Operation::Connect, _) => return Ok(Said::Nothing),
    };
    let bound = asked.old.as_ref().and_then(|pod| pod.pointer("/spec/nodeName")).and_then(Value::as_str);
    if bound != Some(node) {
        return Err(
            asked.refuse(&format!("node {node:?} can only {what} pods with spec.nodeName set to itself"))
        );
    }
    Ok(Said::Fine(format!("the pod is on the node {node}")))
}

/// Nodes keep their lives in leases of their names. A creation has no name when it is authorised.
fn its_lease(asked: &Attributes, node: &str) -> Result<Said, ApiError> {
    if asked.namespace != LEASES {
        return Err(asked.refuse(&format!("can only access leases in the {LEASES:?} system namespace")));
    }
    let name = asked.text("/metadata/name").unwrap_or(&asked.name);
    if name != node {
        return Err(asked.refuse("can only access node lease with the same name as the requesting node"));
    }
    Ok(Said::Fine(format!("the lease is that of the node {node}")))
}

/// A token for a ServiceAccount is bound to a pod of it that is on this node.
fn its_token(asked: &Attributes, node: &str, notes: &Notes<'_>) -> Result<Said, ApiError> {
    let bound = |field: &str| asked.text(&format!("/spec/boundObjectRef/{field}"));
    let Some(name) = bound("name").filter(|_| bound("kind") == Some("Pod")) else {
        return Err(asked.refuse(&format!("node requested token not bound to a pod (node {node:?})")));
    };
    let pod = resources::find("", "pods").and_then(|pods| notes.storage.get(pods, &asked.namespace, name));
    let Some(pod) = pod else {
        return Err(asked
            .refuse(&format!("node {node:?} requested a token for the pod {name:?}, which is not there")));
    };
    let of = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str);
    if bound("uid").is_some_and(|uid| Some(uid) != of("/metadata/uid")) {
        return Err(asked.refuse("the UID in the bound object reference does not match the UID in record"));
    }
    if of("/spec/nodeName") != Some(node) {
        return Err(asked.refuse("node requested token bound to a pod scheduled on a different node"));
    }
    if of("/spec/serviceAccountName").unwrap_or("default") != asked.name {
        return Err(asked.refuse("node requested a token for a ServiceAccount that its pod does not run as"));
    }
    Ok(Said::Fine(format!("the token is for the pod {name} on the node {node}")))
}
