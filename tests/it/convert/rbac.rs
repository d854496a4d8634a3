//! RBAC: a reference evaluator over the manifests themselves, random corpora, and what is refused.

use bailiwick::convert;
use bailiwick::document::Source;
use bailiwick::model::{Action, Request};
use serde_json::{Value, json};

use super::{Policies, Random, agree, messages};

/// Role names with all that a name may hold.
const ROLES: &[&str] = &["viewer", "system:viewer", "System.Viewer", "viewer-"];
const LABELS: &[&str] = &["view", "edit"];

/// The bindings, each with the rules of its role.
struct Reference(Vec<(Value, Vec<Value>)>);

impl Reference {
    fn of(objects: &[Value]) -> Self {
        let bindings = objects.iter().filter(|object| object["kind"].as_str().unwrap().ends_with("Binding"));
        let with_rules = bindings.map(|binding| {
            let place = binding["metadata"]["namespace"].as_str().unwrap_or_default();
            (binding.clone(), rules(objects, binding, place))
        });
        Self(with_rules.collect())
    }

    /// Whether RBAC allows it. Written from `rbac.go` and `evaluation_helpers.go`.
    fn allows(&self, request: &Request) -> bool {
        let namespace = match &request.action {
            Action::Resource(action) => action.namespace.as_str(),
            Action::NonResource(_) => "",
        };
        self.0.iter().any(|(binding, rules)| {
            let place = binding["metadata"]["namespace"].as_str().unwrap_or_default();
            let is_asked = match binding["kind"].as_str().unwrap() {
                "ClusterRoleBinding" => true,
                _ => !namespace.is_empty() && place == namespace,
            };
            is_asked
                && elements(&binding["subjects"]).any(|subject| is(subject, place, request))
                && rules.iter().any(|rule| rule_allows(rule, request))
        })
    }
}

fn elements(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn is(subject: &Value, place: &str, request: &Request) -> bool {
    let name = subject["name"].as_str().unwrap();
    match subject["kind"].as_str().unwrap() {
        "User" => request.subject.user == name,
        "Group" => request.subject.groups.iter().any(|group| group == name),
        _ => {
            let namespace = subject["namespace"].as_str().filter(|said| !said.is_empty()).unwrap_or(place);
            !namespace.is_empty()
                && request.subject.user == format!("system:serviceaccount:{namespace}:{name}")
        }
    }
}

fn rules(objects: &[Value], binding: &Value, place: &str) -> Vec<Value> {
    let (kind, name) = (&binding["roleRef"]["kind"], &binding["roleRef"]["name"]);
    let role = objects.iter().find(|role| {
        let there = role["metadata"]["namespace"].as_str().unwrap_or_default();
        role["kind"] == *kind
            && role["metadata"]["name"] == *name
            && (kind == "ClusterRole" || there == place)
    });
    filled(objects, role.unwrap())
}

/// What the controller for aggregation comes to: each round takes over what the selected roles had in the one before.
fn filled(objects: &[Value], wanted: &Value) -> Vec<Value> {
    let roles: Vec<&Value> = objects.iter().filter(|role| role["kind"] == "ClusterRole").collect();
    let own = |role: &Value| -> Vec<Value> {
        if role["aggregationRule"].is_null() {
            elements(&role["rules"]).cloned().collect()
        } else {
            Vec::new()
        }
    };
    if wanted["kind"] == "Role" {
        return own(wanted);
    }
    let mut held: Vec<Vec<Value>> = roles.iter().map(|role| own(role)).collect();
    for _ in 0..=roles.len() {
        let before = held.clone();
        for (number, role) in roles.iter().enumerate().filter(|(_, role)| !role["aggregationRule"].is_null())
        {
            let selectors: Vec<&Value> = elements(&role["aggregationRule"]["clusterRoleSelectors"]).collect();
            let selected = roles.iter().enumerate().filter(|(other, candidate)| {
                *other != number
                    && selectors.iter().any(|selector| selects(selector, &candidate["metadata"]["labels"]))
            });
            held[number] = selected.flat_map(|(other, _)| before[other].clone()).collect();
        }
    }
    roles.iter().zip(held).find(|(role, _)| std::ptr::eq(**role, wanted)).unwrap().1
}

fn selects(selector: &Value, labels: &Value) -> bool {
    let equal = selector["matchLabels"].as_object().into_iter().flatten();
    let equal = equal.into_iter().all(|(key, value)| labels[key] == *value);
    equal
        && elements(&selector["matchExpressions"]).all(|requirement| {
            let value = &labels[requirement["key"].as_str().unwrap()];
            let is_one = elements(&requirement["values"]).any(|one| one == value);
            match requirement["operator"].as_str().unwrap() {
                "In" => is_one,
                "NotIn" => !is_one,
                "Exists" => !value.is_null(),
                _ => value.is_null(),
            }
        })
}

fn rule_allows(rule: &Value, request: &Request) -> bool {
    let has = |field: &str, asked: &str| elements(&rule[field]).any(|one| one == "*" || one == asked);
    match &request.action {
        Action::Resource(action) => {
            let combined = match &*action.subresource {
                "" => action.resource.clone(),
                subresource => format!("{}/{subresource}", action.resource),
            };
            let resource = elements(&rule["resources"]).any(|one| {
                let one = one.as_str().unwrap();
                one == "*"
                    || one == combined
                    || (!action.subresource.is_empty() && one == format!("*/{}", action.subresource))
            });
            let names = rule["resourceNames"].as_array().filter(|names| !names.is_empty());
            has("verbs", &action.verb)
                && has("apiGroups", &action.group)
                && resource
                && names.is_none_or(|names| names.iter().any(|name| *name == action.name))
        }
        Action::NonResource(action) => {
            has("verbs", &action.verb)
                && elements(&rule["nonResourceURLs"]).any(|url| {
                    let url = url.as_str().unwrap();
                    url == "*"
                        || url == action.path
                        || (url.ends_with('*') && action.path.starts_with(url.trim_end_matches('*')))
                })
        }
    }
}

fn corpus(random: &mut Random) -> Vec<Value> {
    let mut objects = Vec::new();
    for name in ROLES {
        let label = json!({"kind": random.pick(LABELS), "name": "x"});
        let mut role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": name, "labels": label}, "rules": rules_of(random, true),
        });
        if random.one_in(3) {
            role["aggregationRule"] = json!({"clusterRoleSelectors": [selector(random)]});
        }
        objects.push(role);
        for namespace in ["dev", "prod"] {
            objects.push(json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
                "metadata": {"name": name, "namespace": namespace}, "rules": rules_of(random, false),
            }));
        }
    }
    for number in 0..16 {
        let namespace = if random.one_in(2) { "dev" } else { "prod" };
        let kind = if random.one_in(2) { "Role" } else { "ClusterRole" };
        objects.push(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": format!("binding:{number}"), "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": random.pick(ROLES)},
            "subjects": subjects(random, true),
        }));
    }
    for number in 0..8 {
        objects.push(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1beta1", "kind": "ClusterRoleBinding",
            "metadata": {"name": format!("Binding.{number}"), "uid": "1", "creationTimestamp": null},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": random.pick(ROLES)},
            "subjects": subjects(random, false),
        }));
    }
    objects
}

fn selector(random: &mut Random) -> Value {
    let value = random.pick(LABELS);
    match random.below(6) {
        0 => json!({}),
        1 => json!({"matchExpressions": [{"key": "kind", "operator": "In", "values": [value, "other"]}]}),
        2 => json!({"matchExpressions": [{"key": "kind", "operator": "NotIn", "values": [value]}]}),
        3 => {
            json!({"matchLabels": {"kind": value}, "matchExpressions": [{"key": "no", "operator": "DoesNotExist"}]})
        }
        4 => json!({"matchExpressions": [{"key": "no", "operator": "Exists"}]}),
        _ => json!({"matchLabels": {"kind": value}}),
    }
}

fn rules_of(random: &mut Random, of_cluster: bool) -> Value {
    if random.one_in(12) {
        return Value::Null;
    }
    let count = random.below(4);
    (0..count).map(|_| rule(random, of_cluster)).collect()
}

fn rule(random: &mut Random, of_cluster: bool) -> Value {
    let verbs = some_or_none(random, &["get", "list", "watch", "create", "update", "impersonate", "*"]);
    if of_cluster && random.one_in(3) {
        let urls =
            ["/healthz", "/healthz/*", "/healthz*", "/healthz/**", "/metrics", "/*", "*", "**", "/api/*"];
        return json!({"nonResourceURLs": random.some(&urls, 1, 3), "verbs": verbs});
    }
    let resources =
        ["pods", "pods/exec", "pods/log", "secrets", "deployments", "*/scale", "*/status", "nodes", "*"];
    let mut rule = json!({
        "apiGroups": some_or_none(random, &["", "apps", "*"]),
        "resources": some_or_none(random, &resources),
        "verbs": verbs,
    });
    if random.one_in(3) {
        rule["resourceNames"] = json!(random.some(&["web", "web-1", "web-*", "*", r"web-\*"], 1, 2));
    }
    rule
}

/// A list that is empty now and then.
fn some_or_none(random: &mut Random, from: &[&str]) -> Vec<String> {
    let least = usize::from(!random.one_in(12));
    random.some(from, least, 4)
}

fn subjects(random: &mut Random, in_namespace: bool) -> Value {
    let count = random.below(5);
    let group = "rbac.authorization.k8s.io";
    (0..count)
        .map(|_| match random.below(4) {
            0 => json!({"kind": "User", "apiGroup": group, "name": random.pick(&["alice", "bob", "system:serviceaccount:dev:robot"])}),
            1 if in_namespace => json!({"kind": "ServiceAccount", "name": "robot"}),
            1 | 2 => json!({"kind": "ServiceAccount", "name": "robot", "namespace": random.pick(&["dev", "prod"])}),
            _ => json!({"kind": "Group", "name": random.pick(&["devs", "ops", "system:authenticated", "system:serviceaccounts"])}),
        })
        .collect()
}

fn convert(text: &str) -> Result<convert::Converted, bailiwick::document::Diagnostics> {
    convert::rbac(&[Source::new("rbac.yaml", text.as_bytes().to_vec())])
}

#[test]
fn converted_manifests_decide_as_rbac_does() {
    for seed in 0..3 {
        let mut random = Random::new(seed);
        let objects = corpus(&mut random);
        // As documents, as a list, and as JSON.
        let text = match seed % 3 {
            0 => objects.iter().map(|object| format!("{object}\n")).collect::<Vec<_>>().join("---\n"),
            1 => json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string(),
            _ => serde_json::to_string_pretty(&json!({"apiVersion": "v1", "kind": "List", "items": objects}))
                .unwrap(),
        };
        let converted = convert(&text).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
        let policies = Policies::of(&converted);
        let reference = Reference::of(&objects);
        let reference = |request: &Request| reference.allows(request);
        agree(&format!("corpus {seed}"), &mut random, &policies, reference, &text, &converted.yaml);
    }
}

/// A ClusterRole and its binding, with this in the role.
fn with_rule(rule: &str) -> String {
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: r}}\nrules:\n- {rule}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{name: b}}\n\
         roleRef: {{kind: ClusterRole, name: r}}\nsubjects: [{{kind: User, name: alice}}]\n"
    )
}

#[test]
fn what_cannot_be_carried_over_is_an_error_in_its_place() {
    for (rule, message) in [
        (
            "{apiGroups: [''], resources: ['pods/*'], verbs: [get]}",
            "RBAC has no pattern `pods/*`: it allows nothing",
        ),
        (
            "{apiGroups: [''], resources: ['*/*'], verbs: [get]}",
            "RBAC has no pattern `*/*`: it allows nothing",
        ),
        ("{apiGroups: [''], resources: [pods], verbs: [GET]}", "`GET` is not a verb"),
        ("{apiGroups: [core], resources: [pods], verbs: [get]}", "`core` is not an API group"),
        ("{apiGroups: [''], resources: [pods], resourceNames: [''], verbs: [get]}", "this must not be empty"),
        ("{nonResourceURLs: ['/a/*/b'], verbs: [get]}", "`/a/*/b` is not a path"),
        ("{nonResourceURLs: [healthz], verbs: [get]}", "`healthz` is not a path"),
        ("{apiGroups: [''], resource: [pods], verbs: [get]}", "unknown field `resource`"),
    ] {
        let diagnostics = convert(&with_rule(rule)).unwrap_err();
        let error = diagnostics.items.iter().find(|item| item.message == message);
        let error = error.unwrap_or_else(|| panic!("{rule}: {:?}", messages(&diagnostics)));
        let line = diagnostics.position(error.span.unwrap()).unwrap().line;
        assert_eq!(line, 5, "{rule}");
    }
}

#[test]
fn objects_that_do_not_fit_together_are_errors() {
    let head = "apiVersion: rbac.authorization.k8s.io/v1\n";
    for (text, message) in [
        (
            "kind: ClusterRoleBinding\nmetadata: {name: b}\nroleRef: {kind: ClusterRole, name: edit}\nsubjects: []\n",
            "the ClusterRole `edit` is not among what is converted",
        ),
        (
            "kind: RoleBinding\nmetadata: {name: b}\nroleRef: {kind: ClusterRole, name: edit}\n",
            "the object has no `metadata.namespace`: which it is applied to decides what it says",
        ),
        ("kind: RoleBindng\nmetadata: {name: b}\n", "`RoleBindng` is no kind of rbac.authorization.k8s.io"),
        (
            "kind: ClusterRoleBinding\nmetadata: {name: b}\nroleRef: {kind: Role, name: edit}\n",
            "a ClusterRoleBinding binds a ClusterRole, not a Role",
        ),
    ] {
        let diagnostics = convert(&format!("{head}{text}")).unwrap_err();
        assert!(messages(&diagnostics).contains(&message), "{message}: {:?}", messages(&diagnostics));
    }
    let old = "apiVersion: rbac.authorization.k8s.io/v1alpha1\nkind: ClusterRole\nmetadata: {name: b}\n";
    assert_eq!(messages(&convert(old).unwrap_err()), ["`v1alpha1` of RBAC is not read"]);
    let subject = with_rule("{apiGroups: ['*'], resources: ['*'], verbs: ['*']}").replace("alice", "'*'");
    let diagnostics = convert(&subject).unwrap_err();
    assert_eq!(messages(&diagnostics), ["RBAC compares names of subjects whole: `*` is nobody's"]);
}

#[test]
fn what_grants_nothing_is_said_to() {
    let text = with_rule("{apiGroups: [''], resources: [], verbs: [get]}")
        + "---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: x}}\n";
    let converted = convert(&text).unwrap();
    assert_eq!((converted.policies, &*converted.yaml), (0, ""));
    let said = messages(&converted.warnings);
    assert_eq!(
        said,
        [
            "the rule allows nothing: its `resources` are empty",
            "ClusterRoleBinding `b` grants nothing: the rules of its role allow nothing here",
            "1 of the kind `ConfigMap` are no objects of RBAC, and were passed over",
        ]
    );
}
