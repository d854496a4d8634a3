//! The authoriser over a few objects, and who may grant what.

use serde_json::json;

use super::super::tests::{path, resource, subject};
use super::super::{Authorizer, Chain};
use super::*;
use crate::frontend::resources;
use crate::frontend::status::ApiError;
use crate::model::Decision;

/// Objects in memory, beside those that a cluster begins with.
#[derive(Default)]
struct Objects {
    roles: Vec<Arc<Value>>,
    cluster_roles: Vec<Arc<Value>>,
    role_bindings: Vec<Arc<Value>>,
    cluster_role_bindings: Vec<Arc<Value>>,
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

impl RbacObjects for Objects {
    fn role(&self, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let is = |role: &&Arc<Value>| {
            text(role, "/metadata/namespace") == namespace && text(role, "/metadata/name") == name
        };
        self.roles.iter().find(is).cloned()
    }

    fn cluster_role(&self, name: &str) -> Option<Arc<Value>> {
        self.cluster_roles.iter().find(|role| text(role, "/metadata/name") == name).cloned()
    }

    fn role_bindings(&self, namespace: &str) -> Vec<Arc<Value>> {
        let here = |binding: &&Arc<Value>| text(binding, "/metadata/namespace") == namespace;
        self.role_bindings.iter().filter(here).cloned().collect()
    }

    fn cluster_role_bindings(&self) -> Vec<Arc<Value>> {
        self.cluster_role_bindings.clone()
    }
}

fn role(namespace: &str, name: &str, rules: Value) -> Arc<Value> {
    Arc::new(json!({"metadata": {"namespace": namespace, "name": name}, "rules": rules}))
}

fn binding(namespace: &str, name: &str, role: (&str, &str), subject: Value) -> Arc<Value> {
    Arc::new(json!({
        "metadata": {"namespace": namespace, "name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role.0, "name": role.1},
        "subjects": [subject],
    }))
}

fn pods(verbs: &[&str]) -> Value {
    json!([{"verbs": verbs, "apiGroups": [""], "resources": ["pods"]}])
}

fn objects() -> Objects {
    let user = |name: &str| json!({"kind": "User", "name": name});
    Objects {
        roles: vec![role("a", "reader", pods(&["get", "list"]))],
        cluster_roles: bootstrap::cluster_roles()
            .into_iter()
            .map(Arc::new)
            .chain([role("", "pod-writer", pods(&["create", "get"]))])
            .collect(),
        role_bindings: vec![
            binding("a", "readers", ("Role", "reader"), json!({"kind": "Group", "name": "dev"})),
            binding("a", "writers", ("ClusterRole", "pod-writer"), user("bob")),
            binding("a", "dangling", ("Role", "gone"), user("carol")),
            binding("a", "ours", ("Role", "reader"), json!({"kind": "ServiceAccount", "name": "builder"})),
            binding(
                "a",
                "theirs",
                ("Role", "reader"),
                json!({"kind": "ServiceAccount", "namespace": "b", "name": "robot"}),
            ),
            binding("b", "admins", ("ClusterRole", "admin"), user("dan")),
        ],
        cluster_role_bindings: bootstrap::cluster_role_bindings()
            .into_iter()
            .map(Arc::new)
            .chain([binding("", "everywhere", ("ClusterRole", "pod-writer"), user("eve"))])
            .collect(),
    }
}

fn rbac() -> Rbac {
    Rbac::new(Arc::new(objects()))
}

#[test]
fn bindings_grant_what_their_roles_say_where_they_stand() {
    let authenticated = &["system:authenticated"][..];
    #[rustfmt::skip]
    let rows = [
        // request, the reason of the Allow
        (resource("alice", &["dev"], "list pods", "a", ""),
         Some(r#"RBAC: allowed by RoleBinding "readers/a" of Role "reader" to Group "dev""#)),
        (resource("alice", &["dev"], "list pods", "b", ""), None),
        (resource("alice", &["dev"], "list pods", "", ""), None),
        (resource("bob", &[], "create pods", "a", ""),
         Some(r#"RBAC: allowed by RoleBinding "writers/a" of ClusterRole "pod-writer" to User "bob""#)),
        (resource("bob", &[], "create pods", "b", ""), None),
        (resource("eve", &[], "create pods", "b", ""),
         Some(r#"RBAC: allowed by ClusterRoleBinding "everywhere" of ClusterRole "pod-writer" to User "eve""#)),
        (resource("eve", &[], "get pods", "", "x"),
         Some(r#"RBAC: allowed by ClusterRoleBinding "everywhere" of ClusterRole "pod-writer" to User "eve""#)),
        (resource("system:serviceaccount:a:builder", &[], "get pods", "a", "x"),
         Some(r#"RBAC: allowed by RoleBinding "ours/a" of Role "reader" to ServiceAccount "builder/a""#)),
        (resource("system:serviceaccount:b:robot", &[], "get pods", "a", "x"),
         Some(r#"RBAC: allowed by RoleBinding "theirs/a" of Role "reader" to ServiceAccount "robot/b""#)),
        (resource("system:serviceaccount:b:builder", &[], "get pods", "a", "x"), None),
        (resource("builder", &[], "get pods", "a", "x"), None),
        (path("alice", authenticated, "get", "/apis/apps"),
         Some(r#"RBAC: allowed by ClusterRoleBinding "system:discovery" of ClusterRole "system:discovery" to Group "system:authenticated""#)),
        (path("x", &["system:unauthenticated"], "get", "/apis"), None),
        (path("x", &["system:unauthenticated"], "get", "/version"),
         Some(r#"RBAC: allowed by ClusterRoleBinding "system:public-info-viewer" of ClusterRole "system:public-info-viewer" to Group "system:unauthenticated""#)),
        (resource("root", &["system:masters"], "delete anything.x/y", "", ""),
         Some(r#"RBAC: allowed by ClusterRoleBinding "cluster-admin" of ClusterRole "cluster-admin" to Group "system:masters""#)),
        (resource("dan", &[], "get secrets", "b", "s"),
         Some(r#"RBAC: allowed by RoleBinding "admins/b" of ClusterRole "admin" to User "dan""#)),
        (resource("dan", &[], "update namespaces", "b", "b"), None),
    ];
    for (request, reason) in rows {
        let opinion = rbac().authorize(&request);
        assert_eq!(opinion.decision == Decision::Allow, reason.is_some(), "{request:?}");
        assert_eq!(opinion.reason, reason.unwrap_or_default(), "{request:?}");
        assert_eq!(opinion.error, None);
    }
}

#[test]
fn the_journey_says_which_rule_it_was() {
    let opinion = rbac().authorize(&resource("alice", &["dev"], "list pods", "a", ""));
    assert_eq!(
        opinion.detail,
        r#"the rule {APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]} of RoleBinding "readers/a" of Role "reader" to Group "dev" allows it"#
    );
    let opinion = rbac().authorize(&resource("alice", &["dev"], "delete pods", "a", "x"));
    assert!(opinion.detail.starts_with("the one rule "), "{}", opinion.detail);
}

#[test]
fn a_role_that_there_is_not_is_told_of_and_grants_nothing() {
    let opinion = rbac().authorize(&resource("carol", &[], "get pods", "a", "x"));
    assert_eq!(opinion.decision, Decision::NoOpinion);
    assert_eq!(opinion.reason, r#"RBAC: role.rbac.authorization.k8s.io "gone" not found"#);
}

#[test]
fn an_object_is_read_again_once_its_version_is_another() {
    let parsed = objects::Parsed::default();
    let at =
        |version: &str, verb: &str| json!({"metadata": {"resourceVersion": version}, "rules": pods(&[verb])});
    assert_eq!(parsed.role(&at("1", "get")).rules[0].verbs, ["get"]);
    assert_eq!(parsed.role(&at("1", "list")).rules[0].verbs, ["get"]);
    assert_eq!(parsed.role(&at("2", "list")).rules[0].verbs, ["list"]);
    assert_eq!(parsed.role(&at("", "watch")).rules[0].verbs, ["watch"]);
}

#[test]
fn what_is_malformed_in_an_object_grants_nothing_and_the_rest_stands() {
    let role = Role::read(&json!({"rules": [
        {"verbs": "get"}, null, 1, {"verbs": ["get"], "apiGroups": null, "resources": ["pods"]},
    ]}));
    assert_eq!(role.rules.len(), 1);
    assert!(!role.rules[0].allows(&resource("a", &[], "get pods", "", "").action));
    let read =
        Binding::read(&json!({"subjects": [{"kind": 1}, {"kind": "Robot", "name": "a"}, {"kind": "User"}]}));
    assert_eq!(read.subjects.len(), 2);
    assert_eq!(read.subject_of(&subject("a", &["a"]), "ns"), None);
}

/// As where an object is posted, or put (`old` is there).
async fn grants_by(
    chain: &Chain,
    rbac: &Rbac,
    who: &Subject,
    kind: (&str, &str),
    old: Option<&Value>,
    new: &Value,
) -> Result<(), ApiError> {
    let name = old.map_or("", |old| text(old, "/metadata/name"));
    let kind = resources::find(kind.0, kind.1).unwrap();
    may_grant(chain, rbac, who, Change { kind, namespace: text(new, "/metadata/namespace"), name, old, new })
        .await
}

async fn grants(who: &Subject, kind: (&str, &str), old: Option<&Value>, new: &Value) -> Result<(), ApiError> {
    let chain = Chain::new(vec![("RBAC".into(), Authorizer::Rbac(rbac()))]);
    grants_by(&chain, &rbac(), who, kind, old, new).await
}

const ROLES: (&str, &str) = ("rbac.authorization.k8s.io", "roles");
const CLUSTER_ROLES: (&str, &str) = ("rbac.authorization.k8s.io", "clusterroles");
const ROLE_BINDINGS: (&str, &str) = ("rbac.authorization.k8s.io", "rolebindings");

#[tokio::test]
async fn nobody_grants_what_they_do_not_hold() {
    let dan = subject("dan", &["system:authenticated"]);
    assert_eq!(grants(&dan, ROLES, None, &role("b", "new", pods(&["get", "delete"]))).await, Ok(()));
    let error = grants(&dan, ROLES, None, &role("a", "new", pods(&["get", "delete"]))).await.unwrap_err();
    assert_eq!((error.code, error.reason), (403, "Forbidden"));
    assert_eq!(
        error.message,
        "roles.rbac.authorization.k8s.io \"new\" is forbidden: user \"dan\" \
         (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n\
         {APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"get\" \"delete\"]}"
    );
    let all = json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]);
    assert!(grants(&dan, ROLES, None, &role("b", "new", all.clone())).await.is_err());
    let root = subject("root", &["system:masters"]);
    assert_eq!(grants(&root, CLUSTER_ROLES, None, &role("", "new", all)).await, Ok(()));
}

#[tokio::test]
async fn a_short_text_that_says_billions_of_things_is_not_broken_down() {
    let many = |what: &str| (0..2_000).map(|number| format!("{what}{number}")).collect::<Vec<_>>();
    let rules = json!([{"verbs": many("v"), "apiGroups": many("g"), "resources": many("r"), "resourceNames": many("n")}]);
    let error = grants(&subject("dan", &[]), ROLES, None, &role("b", "new", rules)).await.unwrap_err();
    assert_eq!(error.code, 403);
    assert!(
        error.message.contains("the role says 16000000000000 things, and may say 5000"),
        "{}",
        error.message
    );
}

#[tokio::test]
async fn nobody_binds_a_role_that_is_more_than_they_hold() {
    let bind = |namespace, role| binding(namespace, "new", role, json!({"kind": "User", "name": "x"}));
    let dan = subject("dan", &[]);
    let cluster_admin = ("ClusterRole", "cluster-admin");
    assert_eq!(grants(&dan, ROLE_BINDINGS, None, &bind("b", ("ClusterRole", "view"))).await, Ok(()));
    assert_eq!(grants(&dan, ROLE_BINDINGS, None, &bind("b", cluster_admin)).await.unwrap_err().code, 403);
    assert_eq!(
        grants(&dan, ROLE_BINDINGS, None, &bind("a", ("Role", "reader"))).await.unwrap_err().code,
        403
    );
    let error = grants(&dan, ROLE_BINDINGS, None, &bind("b", ("Role", "none"))).await.unwrap_err();
    assert_eq!(error.code, 404);
    assert_eq!(error.message, r#"roles.rbac.authorization.k8s.io "none" not found"#);
    assert_eq!(grants(&dan, ROLE_BINDINGS, None, &bind("b", ("Thing", "none"))).await.unwrap_err().code, 400);
}

#[tokio::test]
async fn the_verbs_escalate_and_bind_stand_above_it() {
    let chain_of = |verb: &str, resource: &str, name: &str| {
        let rule = json!([{
            "verbs": [verb], "apiGroups": ["rbac.authorization.k8s.io"], "resources": [resource],
            "resourceNames": [name],
        }]);
        let objects = Objects {
            cluster_roles: vec![
                role("", "mighty", rule),
                role("", "big", pods(&["*"])),
                role("", "small", pods(&["get"])),
            ],
            cluster_role_bindings: vec![binding(
                "",
                "m",
                ("ClusterRole", "mighty"),
                json!({"kind": "User", "name": "fay"}),
            )],
            ..Objects::default()
        };
        let objects = Arc::new(objects);
        let chain = Chain::new(vec![("RBAC".into(), Authorizer::Rbac(Rbac::new(objects.clone())))]);
        (chain, Rbac::new(objects))
    };
    let fay = subject("fay", &[]);
    let old = role("", "known", pods(&["get"]));
    let new = role("", "known", pods(&["*"]));
    let (chain, rbac) = chain_of("escalate", "clusterroles", "known");
    assert_eq!(grants_by(&chain, &rbac, &fay, CLUSTER_ROLES, Some(&old), &new).await, Ok(()));
    assert!(
        grants_by(&chain, &rbac, &fay, CLUSTER_ROLES, None, &new).await.is_err(),
        "a new one has no name yet"
    );
    let other = (role("", "other", pods(&["get"])), role("", "other", pods(&["*"])));
    assert!(grants_by(&chain, &rbac, &fay, CLUSTER_ROLES, Some(&other.0), &other.1).await.is_err());

    let (chain, rbac) = chain_of("bind", "clusterroles", "big");
    let bind = |role| binding("a", "new", ("ClusterRole", role), json!({"kind": "User", "name": "x"}));
    assert_eq!(grants_by(&chain, &rbac, &fay, ROLE_BINDINGS, None, &bind("big")).await, Ok(()));
    assert!(grants_by(&chain, &rbac, &fay, ROLE_BINDINGS, None, &bind("small")).await.is_err());
}

#[tokio::test]
async fn a_role_of_roles_needs_everything_and_garbage_collection_nothing() {
    let dan = subject("dan", &[]);
    let mut aggregated = json!({"metadata": {"name": "sum"}, "rules": [], "aggregationRule": {}});
    let error = grants(&dan, CLUSTER_ROLES, None, &aggregated).await.unwrap_err();
    assert!(error.message.ends_with("must have cluster-admin privileges to use the aggregationRule"));
    let old = aggregated.clone();
    aggregated["metadata"]["finalizers"] = json!(["x"]);
    assert_eq!(grants(&dan, CLUSTER_ROLES, Some(&old), &aggregated).await, Ok(()));
    aggregated["rules"] = pods(&["get"]);
    assert!(grants(&dan, CLUSTER_ROLES, Some(&old), &aggregated).await.is_err());
    aggregated["rules"] = json!([]);
    aggregated.as_object_mut().unwrap().remove("aggregationRule");
    let error = grants(&dan, CLUSTER_ROLES, Some(&old), &aggregated).await.unwrap_err();
    assert!(error.message.ends_with("must have cluster-admin privileges to use the aggregationRule"));
    let pod = json!({"metadata": {"name": "p"}});
    assert_eq!(grants(&dan, ("", "pods"), None, &pod).await, Ok(()));
}

#[test]
fn the_rules_of_a_subject_are_listed() {
    let mut rules = Rules::default();
    rbac().add_rules(&subject("alice", &["dev", "system:authenticated"]), "a", &mut rules);
    assert!(rules.resource.iter().any(|rule| rule.resources == ["pods"] && rule.verbs == ["get", "list"]));
    assert!(rules.non_resource.iter().any(|rule| rule.urls.contains(&"/version".to_owned())));
    assert!(!rules.incomplete && rules.errors.is_empty());
    let mut rules = Rules::default();
    rbac().add_rules(&subject("carol", &[]), "a", &mut rules);
    assert_eq!(rules.errors, [r#"role.rbac.authorization.k8s.io "gone" not found"#]);
}
