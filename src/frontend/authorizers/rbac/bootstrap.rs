//! The roles and bindings that a cluster begins with, as far as what is served here needs them.
//!
//! Source: `k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go`. Smaller here: `admin`, `edit` and
//! `view` have their rules written out, where an API server aggregates them from roles of their own, and they name only
//! what this front end serves. Roles of controllers and nodes are left out: there are no controllers, and nodes have an
//! authoriser of their own.

use serde_json::{Value, json};

const RBAC: &str = "rbac.authorization.k8s.io";
const READ: [&str; 3] = ["get", "list", "watch"];
const WRITE: [&str; 5] = ["create", "delete", "deletecollection", "patch", "update"];

/// What of a namespace whoever may view it can see: not its secrets, since they hold the tokens of others.
const VIEWED: [&str; 5] = ["configmaps", "events", "pods", "serviceaccounts", "services"];

/// The ClusterRoles.
#[must_use]
pub fn cluster_roles() -> Vec<Value> {
    vec![
        role("cluster-admin", vec![rule(&["*"], &["*"], &["*"]), urls(&["*"], &["*"])]),
        role(
            "system:discovery",
            vec![urls(
                &["get"],
                &[
                    "/api",
                    "/api/*",
                    "/apis",
                    "/apis/*",
                    "/healthz",
                    "/livez",
                    "/openapi",
                    "/openapi/*",
                    "/readyz",
                    "/version",
                    "/version/",
                ],
            )],
        ),
        role(
            "system:public-info-viewer",
            vec![urls(&["get"], &["/healthz", "/livez", "/readyz", "/version", "/version/"])],
        ),
        role(
            "system:basic-user",
            vec![
                rule(
                    &["create"],
                    &["authorization.k8s.io"],
                    &["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
                ),
                rule(&["create"], &["authentication.k8s.io"], &["selfsubjectreviews"]),
            ],
        ),
        role(
            "system:service-account-issuer-discovery",
            vec![urls(
                &["get"],
                &[
                    "/.well-known/openid-configuration",
                    "/.well-known/openid-configuration/",
                    "/openid/v1/jwks",
                    "/openid/v1/jwks/",
                ],
            )],
        ),
        role("view", view()),
        role("edit", edit()),
        role("admin", admin()),
    ]
}

/// The ClusterRoleBindings.
#[must_use]
pub fn cluster_role_bindings() -> Vec<Value> {
    let authenticated = "system:authenticated";
    vec![
        binding("cluster-admin", &["system:masters"]),
        binding("system:basic-user", &[authenticated]),
        binding("system:discovery", &[authenticated]),
        binding("system:public-info-viewer", &[authenticated, "system:unauthenticated"]),
        binding("system:service-account-issuer-discovery", &["system:serviceaccounts"]),
    ]
}

fn view() -> Vec<Value> {
    vec![
        rule(&READ, &[""], &VIEWED),
        rule(
            &READ,
            &[""],
            &["namespaces", "namespaces/status", "pods/log", "pods/status", "services/status"],
        ),
        rule(&READ, &["apps"], &["deployments", "deployments/status"]),
    ]
}

fn edit() -> Vec<Value> {
    let mut rules = view();
    rules.extend([
        rule(&READ, &[""], &["secrets"]),
        rule(&["impersonate"], &[""], &["serviceaccounts"]),
        rule(&WRITE, &[""], &["configmaps", "events", "pods", "secrets", "serviceaccounts", "services"]),
        rule(&["create"], &[""], &["pods/eviction", "serviceaccounts/token"]),
        rule(&WRITE, &["apps"], &["deployments"]),
    ]);
    rules
}

fn admin() -> Vec<Value> {
    let mut rules = edit();
    rules.extend([
        rule(&["create"], &["authorization.k8s.io"], &["localsubjectaccessreviews"]),
        rule(
            &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
            &[RBAC],
            &["roles", "rolebindings"],
        ),
    ]);
    rules
}

fn rule(verbs: &[&str], groups: &[&str], resources: &[&str]) -> Value {
    json!({"verbs": verbs, "apiGroups": groups, "resources": resources})
}

fn urls(verbs: &[&str], urls: &[&str]) -> Value {
    json!({"verbs": verbs, "nonResourceURLs": urls})
}

fn metadata(name: &str) -> Value {
    json!({
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    })
}

fn role(name: &str, rules: Vec<Value>) -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": metadata(name), "rules": rules})
}

/// The binding of the role of the same name to groups.
fn binding(name: &str, groups: &[&str]) -> Value {
    let group = |group: &&str| json!({"kind": "Group", "apiGroup": RBAC, "name": group});
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": metadata(name),
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
        "subjects": groups.iter().map(group).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::rule::not_covered;
    use super::super::{Binding, Role};
    use super::*;

    fn rules(name: &str) -> Role {
        let roles = cluster_roles();
        Role::read(roles.iter().find(|role| role["metadata"]["name"] == name).unwrap())
    }

    #[test]
    fn each_binding_is_of_a_role_that_there_is() {
        for binding in cluster_role_bindings() {
            let binding = Binding::read(&binding);
            assert_eq!(binding.role.kind, "ClusterRole");
            assert!(!rules(&binding.role.name).rules.is_empty(), "{}", binding.name);
            assert!(!binding.subjects.is_empty());
        }
    }

    #[test]
    fn who_may_more_may_all_that_who_may_less_may() {
        for (more, less) in [("edit", "view"), ("admin", "edit"), ("cluster-admin", "admin")] {
            assert_eq!(not_covered(&rules(more).rules, &rules(less).rules), [], "{more} and {less}");
            assert_ne!(not_covered(&rules(less).rules, &rules(more).rules), [], "{less} and {more}");
        }
    }

    #[test]
    fn who_may_view_sees_no_secrets_and_who_may_edit_grants_nothing() {
        let names = |role: &str, resource: &str| {
            rules(role).rules.iter().any(|rule| rule.resources.iter().any(|named| named == resource))
        };
        assert!(!names("view", "secrets") && names("edit", "secrets"));
        assert!(!names("edit", "roles") && !names("edit", "rolebindings"));
        assert!(names("admin", "rolebindings"));
    }
}
