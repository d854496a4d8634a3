//! The chain over objects as they are created, changed and deleted.

use futures_util::FutureExt as _;
use serde_json::json;

use super::*;
use crate::frontend::resources::find;

/// A chain with everything on, and what is stored.
struct Fixture {
    admission: Admission,
    storage: Arc<Storage>,
}

fn fixture() -> Fixture {
    let storage = Arc::new(Storage::new());
    let scope = |namespaces: &[&str], resources: &[&str]| Scope {
        namespaces: namespaces.iter().map(|name| (*name).to_owned()).collect(),
        resources: resources.iter().map(|name| (*name).to_owned()).collect(),
    };
    let settings = Settings {
        plugins: PLUGINS.iter().map(|(_, plugin)| *plugin).collect(),
        naming: vec![
            NamingRule { scope: scope(&["payments-*"], &["pods", "configmaps"]), prefix: "pay-".into() },
            NamingRule { scope: scope(&["shop"], &["pods"]), prefix: "shop-".into() },
        ],
        labels: vec![RequiredLabels { scope: scope(&["payments-*"], &["pods"]), labels: vec!["app".into()] }],
        frozen: FrozenAttributes::default(),
        services: Vec::new(),
    };
    let shape = Arc::new(crate::frontend::api::Shaping);
    let it = Fixture { admission: Admission::new(settings, Arc::clone(&storage), shape), storage };
    for name in ["payments-dev", "shop", "default"] {
        it.store("namespaces", "", name, json!({"metadata": {"name": name}}));
        it.store(
            "serviceaccounts",
            name,
            "default",
            json!({"metadata": {"name": "default", "namespace": name}}),
        );
    }
    it
}

impl Fixture {
    fn store(&self, resource: &str, namespace: &str, name: &str, object: Value) -> Object {
        let kept = self.storage.create(find("", resource).unwrap(), namespace, name, object);
        kept.now_or_never().unwrap().unwrap()
    }

    /// Takes the object through the whole chain, and gives it back as it would be stored.
    fn admit(&self, mut asked: Attributes) -> (Result<Value, ApiError>, Record) {
        let mut record = Record::default();
        let admitted = self
            .admission
            .mutate(&mut asked, &mut record)
            .and_then(|()| self.admission.validate(&asked, &mut record))
            .map(|()| asked.object.clone().unwrap_or_default());
        (admitted, record)
    }

    fn admitted(&self, asked: Attributes) -> Value {
        self.admit(asked).0.unwrap()
    }

    fn refused(&self, asked: Attributes) -> ApiError {
        self.admit(asked).0.unwrap_err()
    }
}

fn user(name: &str, groups: &[&str]) -> Subject {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    Subject { user: name.to_owned(), groups, ..Subject::default() }
}

fn create(resource: &str, namespace: &str, object: Value) -> Attributes {
    Attributes {
        operation: Operation::Create,
        kind: find("", resource).unwrap(),
        subresource: String::new(),
        namespace: namespace.to_owned(),
        name: object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned(),
        object: Some(object),
        old: None,
        subject: user("bob", &["system:authenticated"]),
        dry_run: false,
        options: Value::Null,
    }
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "nginx"}]}})
}

#[test]
fn a_pod_is_stored_as_another_than_it_was_sent() {
    let it = fixture();
    let (stored, record) = it.admit(create("pods", "payments-dev", pod("web")));
    let stored = stored.unwrap();
    assert_eq!(stored["metadata"]["name"], "pay-web");
    assert_eq!(stored["metadata"]["annotations"]["bailiwick.dev/owner"], "bob");
    assert_eq!(stored["spec"]["serviceAccountName"], "default");
    assert_eq!(stored["spec"]["containers"][0]["imagePullPolicy"], "Always");
    assert_eq!(stored["spec"]["volumes"][0]["name"], "kube-api-access");
    assert_eq!(record.warnings, ["names in payments-dev begin with pay-: web is stored as pay-web"]);
    assert_eq!(record.annotations["namingconvention.admission.bailiwick.dev/renamed-from"], "web");
    let renamed = record.steps.iter().find(|step| step.name == "NamingConvention").unwrap();
    assert_eq!(renamed.outcome, Outcome::Changed);
    let patch = json!([{"op": "replace", "path": "/metadata/name", "value": "pay-web"}]);
    assert_eq!(renamed.patch, Some(patch));
    assert_eq!(record.stage(None, Instant::now()).outcome, Outcome::Changed);
}

#[test]
fn the_chain_changes_nothing_that_it_has_changed_before() {
    let it = fixture();
    let stored = it.admitted(create("pods", "payments-dev", pod("web")));
    let (again, record) = it.admit(create("pods", "payments-dev", stored.clone()));
    assert_eq!(again.unwrap(), stored);
    assert!(record.steps.iter().all(|step| step.outcome == Outcome::Passed), "{:?}", record.steps);
}

#[test]
fn a_name_is_given_its_prefix_or_refused_for_that_of_others() {
    let it = fixture();
    let refused = it.refused(create("pods", "payments-dev", pod("shop-web")));
    assert_eq!((refused.code, refused.reason), (403, "Forbidden"));
    assert!(
        refused.message.starts_with("pods \"shop-web\" is forbidden: names that begin with shop- belong")
    );
    let generated =
        json!({"metadata": {"generateName": "job-", "labels": {"app": "x"}}, "spec": {"containers": []}});
    let stored = it.admitted(create("pods", "payments-dev", generated));
    assert_eq!(stored["metadata"]["generateName"], "pay-job-");
    let known =
        it.admitted(create("configmaps", "payments-dev", json!({"metadata": {"name": "kube-root-ca.crt"}})));
    assert_eq!(known["metadata"]["name"], "kube-root-ca.crt");
    let elsewhere = it.admitted(create("pods", "default", pod("web")));
    assert_eq!(elsewhere["metadata"]["name"], "web");
}

#[test]
fn a_missing_label_is_named() {
    let it = fixture();
    for labels in [json!({}), json!({"app": ""}), json!(null), json!([])] {
        let mut pod = pod("pay-web");
        pod["metadata"]["labels"] = labels;
        let refused = it.refused(create("pods", "payments-dev", pod));
        assert_eq!((refused.code, refused.reason), (422, "Invalid"));
        assert_eq!(
            refused.message,
            "Pod \"pay-web\" is invalid: metadata.labels[app]: Required value: pods in payments-dev must have this label"
        );
    }
}

#[test]
fn nothing_is_made_in_a_namespace_that_is_not_there_or_is_going() {
    let it = fixture();
    let refused = it.refused(create("pods", "nowhere", pod("web")));
    assert_eq!((refused.code, &*refused.message), (404, "namespaces \"nowhere\" not found"));
    let going = json!({"metadata": {"name": "going", "deletionTimestamp": "2026-11-24T10:00:00Z"}});
    it.store("namespaces", "", "going", going);
    let refused = it.refused(create("pods", "going", pod("web")));
    assert_eq!(refused.code, 403);
    assert_eq!(refused.details["causes"][0]["reason"], "NamespaceTerminating");
    // What may be done there may still be asked.
    let kind = find("authorization.k8s.io", "localsubjectaccessreviews").unwrap();
    it.admitted(Attributes { kind, ..create("pods", "nowhere", json!({"spec": {}})) });
}

#[test]
fn some_namespaces_stay() {
    let it = fixture();
    for (name, stays) in [("default", true), ("kube-system", true), ("kube-public", true), ("shop", false)] {
        let delete = Attributes {
            operation: Operation::Delete,
            name: name.into(),
            object: None,
            ..create("namespaces", "", json!({}))
        };
        assert_eq!(it.admit(delete).0.is_err(), stays, "{name}");
    }
}

#[test]
fn a_pod_runs_as_a_service_account_that_is_there() {
    let it = fixture();
    let mut pod = pod("web");
    pod["spec"]["serviceAccountName"] = "builder".into();
    let refused = it.refused(create("pods", "shop", pod.clone()));
    assert!(refused.message.contains("serviceaccount \"builder\" not found"), "{refused}");
    let account = json!({"metadata": {"name": "builder"}, "automountServiceAccountToken": false,
        "imagePullSecrets": [{"name": "registry"}]});
    it.store("serviceaccounts", "shop", "builder", account);
    let stored = it.admitted(create("pods", "shop", pod));
    assert_eq!(stored["spec"]["imagePullSecrets"][0]["name"], "registry");
    assert_eq!(stored["spec"]["volumes"], Value::Null, "no token where none is wanted");
}

#[test]
fn owner_and_classification_are_frozen_for_all_but_administrators() {
    let it = fixture();
    let mut mine = pod("web");
    mine["metadata"]["annotations"] = json!({"bailiwick.dev/owner": "alice"});
    assert!(it.refused(create("pods", "default", mine.clone())).message.contains("is who creates it: bob"));
    let admin = user("root", &["system:masters"]);
    it.admitted(Attributes { subject: admin.clone(), ..create("pods", "default", mine.clone()) });

    let change = |to: Value, subject: &Subject| Attributes {
        operation: Operation::Update,
        old: Some(Arc::new(mine.clone())),
        subject: subject.clone(),
        ..create("pods", "default", to)
    };
    let bob = user("bob", &[]);
    let mut other = mine.clone();
    other["metadata"]["annotations"]["bailiwick.dev/owner"] = "bob".into();
    assert_eq!(it.refused(change(other.clone(), &bob)).code, 403);
    it.admitted(change(other, &admin));
    let mut classified = mine.clone();
    classified["metadata"]["labels"]["bailiwick.dev/classification"] = "public".into();
    assert_eq!(it.refused(change(classified.clone(), &bob)).code, 403);
    it.admitted(change(classified, &admin));
    // A file that does not speak of the owner takes nothing away.
    let replaced = it.admitted(change(pod("web"), &bob));
    assert_eq!(replaced["metadata"]["annotations"]["bailiwick.dev/owner"], "alice");
}

#[test]
fn a_pod_gets_no_other_owner_by_the_annotations_of_its_binding() {
    let it = fixture();
    let annotations = json!({"bailiwick.dev/owner": "bob"});
    let binding =
        json!({"metadata": {"name": "web", "annotations": annotations}, "target": {"name": "node-1"}});
    let to_a_pod = Attributes { subresource: "binding".into(), ..create("pods", "default", binding.clone()) };
    for asked in [to_a_pod, create("bindings", "default", binding)] {
        assert_eq!(it.refused(asked.clone()).code, 403);
        it.admitted(Attributes { subject: user("root", &["system:masters"]), ..asked.clone() });
        let silent = json!({"metadata": {"name": "web"}, "target": {"name": "node-1"}});
        let taken = it.admitted(Attributes { object: Some(silent.clone()), ..asked });
        assert_eq!(taken, silent, "and nobody is made its owner");
    }
}

#[test]
fn a_node_changes_itself_and_its_pods_alone() {
    let it = fixture();
    let node = user("system:node:node-1", &["system:nodes"]);
    let of_node = |name: &str| json!({"metadata": {"name": name}, "spec": {"nodeName": "node-1"}});
    let update = |resource: &str, subresource: &str, old: Value, new: Value| Attributes {
        operation: Operation::Update,
        subresource: subresource.into(),
        old: Some(Arc::new(old)),
        subject: node.clone(),
        ..create(resource, "", new)
    };
    let labelled =
        json!({"metadata": {"name": "node-1", "labels": {"node-restriction.kubernetes.io/pci": "yes"}}});
    let elsewhere = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "node-2"}});
    for (what, asked, fine) in [
        ("itself", update("nodes", "status", of_node("node-1"), of_node("node-1")), true),
        ("another", update("nodes", "status", of_node("node-2"), of_node("node-2")), false),
        ("a restricted label", update("nodes", "", of_node("node-1"), labelled), false),
        ("its pod's status", update("pods", "status", of_node("p"), of_node("p")), true),
        ("another's pod", update("pods", "status", elsewhere.clone(), elsewhere), false),
        ("its pod's spec", update("pods", "", of_node("p"), of_node("p")), false),
        ("a new pod", Attributes { subject: node.clone(), ..create("pods", "shop", pod("shop-p")) }, false),
    ] {
        let mut record = Record::default();
        assert_eq!(it.admission.validate(&asked, &mut record).is_ok(), fine, "{what}: {:?}", record.steps);
    }
}

#[test]
fn a_node_keeps_its_own_lease_alone() {
    let it = fixture();
    let subject = user("system:node:node-1", &["system:nodes"]);
    let kind = find("coordination.k8s.io", "leases").unwrap();
    for (namespace, name, fine) in
        [("kube-node-lease", "node-1", true), ("kube-node-lease", "node-2", false), ("shop", "node-1", false)]
    {
        let object = json!({"metadata": {"name": name}});
        let lease = Attributes { kind, subject: subject.clone(), ..create("pods", namespace, object) };
        assert_eq!(it.admission.validate(&lease, &mut Record::default()).is_ok(), fine, "{namespace} {name}");
    }
}

#[test]
fn a_node_takes_tokens_for_its_own_pods_alone() {
    let it = fixture();
    let stored = json!({"metadata": {"name": "p", "namespace": "shop", "uid": "u-1"},
        "spec": {"nodeName": "node-1", "serviceAccountName": "default"}});
    it.store("pods", "shop", "p", stored);
    let bound = |name: &str, uid: &str| json!({"spec": {"boundObjectRef": {"kind": "Pod", "name": name, "uid": uid}}});
    for (node, spec, account, fine) in [
        ("node-1", bound("p", "u-1"), "default", true),
        ("node-2", bound("p", "u-1"), "default", false),
        ("node-1", bound("p", "u-2"), "default", false),
        ("node-1", bound("q", "u-1"), "default", false),
        ("node-1", bound("p", "u-1"), "builder", false),
        ("node-1", json!({"spec": {}}), "default", false),
    ] {
        let asked = Attributes {
            subresource: "token".into(),
            name: account.into(),
            subject: user(&format!("system:node:{node}"), &["system:nodes"]),
            ..create("serviceaccounts", "shop", spec.clone())
        };
        let mut record = Record::default();
        assert_eq!(it.admission.validate(&asked, &mut record).is_ok(), fine, "{node} {spec} {account}");
    }
}

#[test]
fn no_object_makes_the_chain_panic() {
    let it = fixture();
    let odd = [
        json!(null),
        json!(7),
        json!([]),
        json!({"metadata": 1}),
        json!({"metadata": {"annotations": null}}),
        json!({"metadata": {"labels": 3, "name": "x"}, "spec": {"containers": [1, {"name": 4}], "volumes": {}}}),
    ];
    for object in odd {
        for operation in [Operation::Create, Operation::Update, Operation::Delete, Operation::Connect] {
            for kind in ["pods", "namespaces", "nodes", "serviceaccounts"] {
                let asked = Attributes {
                    operation,
                    old: Some(Arc::new(object.clone())),
                    ..create(kind, "shop", object.clone())
                };
                let _either = it.admit(asked.clone());
                let subject = user("system:node:n", &["system:nodes"]);
                let _either = it.admit(Attributes { subject, subresource: "token".into(), ..asked });
            }
        }
    }
}

#[test]
fn a_pod_from_before_images_were_always_pulled_can_be_labelled_and_brings_no_other_image() {
    let it = fixture();
    let mut old = pod("web");
    old["spec"]["containers"][0]["imagePullPolicy"] = "IfNotPresent".into();
    let update = |change: &dyn Fn(&mut Value)| {
        let mut new = old.clone();
        change(&mut new);
        let old = Some(Object::new(old.clone()));
        Attributes { operation: Operation::Update, old, ..create("pods", "default", new) }
    };
    let labelled = it.admitted(update(&|pod| pod["metadata"]["labels"]["tier"] = "gold".into()));
    assert_eq!(labelled["spec"], old["spec"]);
    let other = it.admitted(update(&|pod| pod["spec"]["containers"][0]["image"] = "other".into()));
    assert_eq!(other["spec"]["containers"][0]["imagePullPolicy"], "Always");
}
