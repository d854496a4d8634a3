//! Nodes: each may do what it needs for itself and for the pods that are bound to it.
//!
//! Source: `k8s.io/kubernetes/plugin/pkg/auth/authorizer/node/node_authorizer.go`, with `AuthorizeNodeWithSelectors`.
//! Smaller here: there are no volumes of the cluster, no certificates and no resource claims. Stricter here: a node writes
//! its own Node object and pods that are bound to it, where an API server lets it write any and leaves it to the
//! `NodeRestriction` plugin to refuse; so a node creates neither nodes nor pods, whose names are not known yet.

use std::sync::Arc;

use serde_json::Value;

use super::Opinion;
use super::rules::Rules;
use crate::model::{Action, Operator, Request, Requirement, ResourceAction, Subject};

const USER_PREFIX: &str = "system:node:";
const GROUP: &str = "system:nodes";
const LEASES: &str = "kube-node-lease";

/// Where pods are.
pub trait NodePods: Send + Sync {
    /// The pods that are bound to a node (`spec.nodeName`), in all namespaces.
    fn pods_on(&self, node: &str) -> Vec<Arc<Value>>;
}

/// The authoriser.
pub struct NodeAuthorizer {
    pods: Arc<dyn NodePods>,
}

impl std::fmt::Debug for NodeAuthorizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeAuthorizer").finish_non_exhaustive()
    }
}

impl NodeAuthorizer {
    /// Decides by the pods as they are at each request.
    #[must_use]
    pub fn new(pods: Arc<dyn NodePods>) -> Self {
        Self { pods }
    }

    pub(super) fn authorize(&self, request: &Request) -> Opinion {
        let Some(node) = node_name(&request.subject) else {
            return Opinion::none(
                "",
                format!("the user is no node: no {USER_PREFIX}NAME in the group {GROUP}"),
            );
        };
        let Action::Resource(action) = &request.action else {
            return Opinion::none("", "paths that are no resources are nothing of a node's own");
        };
        match self.grant(node, action) {
            Some(why) => Opinion::allow("", format!("the node {node:?} {why}")),
            None => Opinion::none(
                refusal(node, action),
                format!("it is neither the node {node:?} itself nor anything that a pod bound to it needs"),
            ),
        }
    }

    /// A node's rules cannot be listed: they are about objects.
    pub(super) fn add_rules(subject: &Subject, rules: &mut Rules) {
        if node_name(subject).is_some() {
            rules.cannot_tell("node authorizer does not support user rule resolution");
        }
    }

    /// Why a node may do this; `None`: it may not.
    fn grant(&self, node: &str, action: &ResourceAction) -> Option<&'static str> {
        let (verb, name) = (&*action.verb, &*action.name);
        match (&*action.group, &*action.resource, &*action.subresource) {
            ("", "nodes", "") if name != node => None,
            ("", "nodes", "") => match verb {
                "get" | "list" | "watch" => Some("may read its own Node object"),
                "update" | "patch" => Some("may write its own Node object"),
                _ => None,
            },
            ("", "nodes", "status") => (matches!(verb, "update" | "patch") && name == node)
                .then_some("may write the status of its own Node object"),
            ("", "pods", "") => self.grant_of_pod(node, action),
            ("", "pods", "status") => (matches!(verb, "update" | "patch") && self.has_pod(node, action))
                .then_some("may write the status of a pod that is bound to it"),
            ("", "secrets" | "configmaps", "") => (is_read(verb) && self.is_used(node, action))
                .then_some("may read what a pod bound to it refers to"),
            ("", "serviceaccounts", "") => (verb == "get" && self.is_used(node, action))
                .then_some("may read the ServiceAccount of a pod that is bound to it"),
            ("", "serviceaccounts", "token") => (verb == "create" && self.is_used(node, action))
                .then_some("may ask for a token of the ServiceAccount of a pod that is bound to it"),
            ("" | "events.k8s.io", "events", "") => {
                matches!(verb, "create" | "update" | "patch").then_some("may tell of events")
            }
            ("coordination.k8s.io", "leases", "") => {
                let known = matches!(verb, "get" | "create" | "update" | "patch" | "delete");
                // A creation has no name yet.
                let own = name == node || verb == "create" && name.is_empty();
                (known && own && action.namespace == LEASES).then_some("may keep its own lease")
            }
            _ => None,
        }
    }

    fn grant_of_pod(&self, node: &str, action: &ResourceAction) -> Option<&'static str> {
        match &*action.verb {
            "list" | "watch" if selects(&action.field_selector, "spec.nodeName", node) => {
                Some("may list the pods that are bound to it: the field selector names it")
            }
            verb if is_read(verb) => {
                self.has_pod(node, action).then_some("may read a pod that is bound to it")
            }
            "delete" => self.has_pod(node, action).then_some("may delete a pod that is bound to it"),
            _ => None,
        }
    }

    fn has_pod(&self, node: &str, action: &ResourceAction) -> bool {
        !action.name.is_empty()
            && self.pods.pods_on(node).iter().any(|pod| {
                text(pod, "/metadata/namespace") == action.namespace
                    && text(pod, "/metadata/name") == action.name
            })
    }

    fn is_used(&self, node: &str, action: &ResourceAction) -> bool {
        !action.name.is_empty()
            && self.pods.pods_on(node).iter().any(|pod| {
                text(pod, "/metadata/namespace") == action.namespace
                    && uses(pod, &action.resource, &action.name)
            })
    }
}

/// The node that somebody is (`k8s.io/kubernetes/pkg/auth/nodeidentifier/default.go`).
#[must_use]
pub fn node_name(subject: &Subject) -> Option<&str> {
    let name = subject.user.strip_prefix(USER_PREFIX)?;
    (!name.is_empty() && subject.groups.iter().any(|group| group == GROUP)).then_some(name)
}

/// What an API server says to a node that may not do this.
fn refusal(node: &str, action: &ResourceAction) -> String {
    match (&*action.group, &*action.resource, &*action.subresource, &*action.name) {
        ("", "nodes", "", "") if is_read(&action.verb) => {
            format!("node '{node}' cannot read all nodes, only its own Node object")
        }
        ("", "nodes", "", name) if is_read(&action.verb) => {
            format!("node '{node}' cannot read '{name}', only its own Node object")
        }
        ("", "pods", "", "") if is_read(&action.verb) => {
            "can only list/watch pods with spec.nodeName field selector".to_owned()
        }
        ("", "secrets" | "configmaps" | "pods" | "serviceaccounts", _, _) => {
            format!("no relationship found between node '{node}' and this object")
        }
        _ => String::new(),
    }
}

/// The verbs that read objects; a list or watch has a name where a field selector names the one object that it is about.
fn is_read(verb: &str) -> bool {
    matches!(verb, "get" | "list" | "watch")
}

fn selects(requirements: &[Requirement], field: &str, value: &str) -> bool {
    requirements.iter().any(|requirement| {
        requirement.key == field && requirement.operator == Operator::In && requirement.values == [value]
    })
}

/// Whether a pod refers to an object of its namespace (`k8s.io/kubernetes/pkg/api/v1/pod/util.go`, `VisitPodSecretNames`
/// and `VisitPodConfigmapNames`).
fn uses(pod: &Value, resource: &str, name: &str) -> bool {
    let is = |value: &Value, pointer: &str| text(value, pointer) == name;
    let pod_spec = |field: &str| items(pod, &format!("/spec/{field}"));
    let in_containers = |variable: &str, source: &str| {
        ["containers", "initContainers", "ephemeralContainers"].iter().flat_map(|kind| pod_spec(kind)).any(
            |container| {
                items(container, "/env").iter().any(|env| is(env, variable))
                    || items(container, "/envFrom").iter().any(|env| is(env, source))
            },
        )
    };
    let in_volumes = |direct: &str, projected: &str| {
        pod_spec("volumes").iter().any(|volume| {
            is(volume, direct)
                || items(volume, "/projected/sources").iter().any(|source| is(source, projected))
        })
    };
    match resource {
        "secrets" => {
            pod_spec("imagePullSecrets").iter().any(|secret| is(secret, "/name"))
                || in_containers("/valueFrom/secretKeyRef/name", "/secretRef/name")
                || in_volumes("/secret/secretName", "/secret/name")
        }
        "configmaps" => {
            in_containers("/valueFrom/configMapKeyRef/name", "/configMapRef/name")
                || in_volumes("/configMap/name", "/configMap/name")
        }
        "serviceaccounts" => is(pod, "/spec/serviceAccountName"),
        _ => false,
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{path, resource, subject};
    use super::*;
    use crate::model::Decision;
    use serde_json::json;

    struct Pods(Vec<Arc<Value>>);

    impl NodePods for Pods {
        fn pods_on(&self, node: &str) -> Vec<Arc<Value>> {
            self.0.iter().filter(|pod| text(pod, "/spec/nodeName") == node).cloned().collect()
        }
    }

    fn authorizer() -> NodeAuthorizer {
        let web = json!({
            "metadata": {"namespace": "a", "name": "web"},
            "spec": {
                "nodeName": "n1", "serviceAccountName": "builder",
                "imagePullSecrets": [{"name": "pull"}],
                "volumes": [
                    {"secret": {"secretName": "volume"}},
                    {"configMap": {"name": "settings"}},
                    {"projected": {"sources": [{"secret": {"name": "projected"}}, {"configMap": {"name": "ca"}}]}},
                ],
                "containers": [{
                    "env": [{"valueFrom": {"secretKeyRef": {"name": "env"}}}, {"value": "x"}],
                    "envFrom": [{"configMapRef": {"name": "all"}}],
                }],
                "initContainers": [{"envFrom": [{"secretRef": {"name": "init"}}]}],
            },
        });
        let other = json!({"metadata": {"namespace": "a", "name": "other"}, "spec": {"nodeName": "n2",
            "serviceAccountName": "robot", "imagePullSecrets": [{"name": "theirs"}]}});
        NodeAuthorizer::new(Arc::new(Pods(vec![Arc::new(web), Arc::new(other)])))
    }

    fn may(request: &Request) -> bool {
        let opinion = authorizer().authorize(request);
        assert_ne!(opinion.decision, Decision::Deny);
        opinion.decision == Decision::Allow
    }

    #[test]
    fn a_node_may_do_what_it_needs_for_itself_and_its_pods() {
        #[rustfmt::skip]
        let rows = [
            // what, namespace, name, expected
            ("get nodes", "", "n1", true),
            ("list nodes", "", "n1", true),
            ("list nodes", "", "", false),
            ("get nodes", "", "n2", false),
            ("delete nodes", "", "n1", false),
            ("update nodes", "", "n1", true),
            ("update nodes", "", "n2", false),
            ("create nodes", "", "", false),
            ("patch nodes/status", "", "n1", true),
            ("patch nodes/status", "", "n2", false),
            ("get pods", "a", "web", true),
            ("get pods", "a", "other", false),
            ("get pods", "b", "web", false),
            ("get pods", "a", "", false),
            ("list pods", "", "", false),
            ("list pods", "a", "web", true),
            ("list pods", "a", "other", false),
            ("delete pods", "a", "web", true),
            ("delete pods", "a", "other", false),
            ("create pods", "a", "", false),
            ("get pods/log", "a", "web", false),
            ("patch pods/status", "a", "web", true),
            ("patch pods/status", "a", "other", false),
            ("get secrets", "a", "pull", true),
            ("get secrets", "a", "volume", true),
            ("get secrets", "a", "projected", true),
            ("get secrets", "a", "env", true),
            ("get secrets", "a", "init", true),
            ("get secrets", "a", "theirs", false),
            ("get secrets", "a", "settings", false),
            ("get secrets", "b", "pull", false),
            ("list secrets", "a", "", false),
            ("watch secrets", "a", "pull", true),
            ("get secrets", "", "pull", false),
            ("update secrets", "a", "pull", false),
            ("get configmaps", "a", "settings", true),
            ("get configmaps", "a", "ca", true),
            ("get configmaps", "a", "all", true),
            ("get configmaps", "a", "pull", false),
            ("get serviceaccounts", "a", "builder", true),
            ("get serviceaccounts", "a", "robot", false),
            ("create serviceaccounts/token", "a", "builder", true),
            ("create serviceaccounts/token", "a", "robot", false),
            ("create serviceaccounts/token", "a", "", false),
            ("create events", "a", "", true),
            ("delete events", "a", "e", false),
            ("update leases.coordination.k8s.io", "kube-node-lease", "n1", true),
            ("update leases.coordination.k8s.io", "kube-node-lease", "n2", false),
            ("update leases.coordination.k8s.io", "a", "n1", false),
            ("get roles.rbac.authorization.k8s.io", "a", "r", false),
        ];
        for (what, namespace, name, expected) in rows {
            let request = resource("system:node:n1", &["system:nodes"], what, namespace, name);
            assert_eq!(may(&request), expected, "{what} {namespace} {name}");
        }
    }

    #[test]
    fn pods_are_listed_by_the_nodes_own_name_alone() {
        let select = |operator, values: &[&str]| {
            let mut request = resource("system:node:n1", &["system:nodes"], "list pods", "", "");
            if let Action::Resource(action) = &mut request.action {
                let values = values.iter().map(|value| (*value).to_owned()).collect();
                action.field_selector = vec![Requirement { key: "spec.nodeName".into(), operator, values }];
            }
            may(&request)
        };
        assert!(select(Operator::In, &["n1"]));
        assert!(!select(Operator::In, &["n2"]));
        assert!(!select(Operator::In, &["n1", "n2"]));
        assert!(!select(Operator::NotIn, &["n1"]));
    }

    #[test]
    fn a_refusal_says_what_an_api_server_does() {
        for (what, name, reason) in [
            ("list nodes", "", "node 'n1' cannot read all nodes, only its own Node object"),
            ("get nodes", "n2", "node 'n1' cannot read 'n2', only its own Node object"),
            ("list pods", "", "can only list/watch pods with spec.nodeName field selector"),
            ("get secrets", "x", "no relationship found between node 'n1' and this object"),
            ("get roles.rbac.authorization.k8s.io", "x", ""),
        ] {
            let request = resource("system:node:n1", &["system:nodes"], what, "a", name);
            assert_eq!(authorizer().authorize(&request).reason, reason, "{what}");
        }
    }

    #[test]
    fn a_nodes_rules_cannot_be_listed() {
        let mut rules = Rules::default();
        NodeAuthorizer::add_rules(&subject("alice", &["system:nodes"]), &mut rules);
        assert!(!rules.incomplete);
        NodeAuthorizer::add_rules(&subject("system:node:n1", &["system:nodes"]), &mut rules);
        assert!(rules.incomplete);
    }

    #[test]
    fn whoever_is_no_node_is_nothing_to_it() {
        for (user, groups) in [
            ("system:node:n1", &[][..]),
            ("system:node:", &["system:nodes"]),
            ("n1", &["system:nodes"]),
            ("system:nodes:n1", &["system:nodes"]),
        ] {
            let opinion = authorizer().authorize(&resource(user, groups, "get nodes", "", "n1"));
            assert_eq!((opinion.decision, &*opinion.reason), (Decision::NoOpinion, ""), "{user}");
        }
        assert!(!may(&path("system:node:n1", &["system:nodes"], "get", "/metrics")));
    }
}
