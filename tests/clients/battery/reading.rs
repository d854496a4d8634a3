//! Objects are looked at.

use super::Typist;
use crate::demo::eventually;

pub fn all(typist: &Typist) {
    listing(typist);
    tables(typist);
    watching(typist);
    describing(typist);
    about_the_api(typist);
}

fn listing(typist: &Typist) {
    let namespace = &typist.namespace;
    typist.says("get pods -o name", "pod/followed\npod/r\npod/web\n");
    typist.says("get pods -l app=web -o name", "pod/web\n");
    typist.says("get pods -l app!=web,run^in^(r) -o name", "pod/r\n");
    typist.says("get pods --field-selector status.phase=Running -o name", "pod/r\n");
    typist
        .says("get pods --sort-by=.metadata.creationTimestamp -o jsonpath={.items[0].metadata.name}", "web");
    typist.says(
        "get pod web -o custom-columns=N:.metadata.name,I:.spec.containers[0].image",
        "N     I\nweb   nginx:3\n",
    );
    typist.says("get pod web --no-headers -o custom-columns=:.kind", "Pod\n");
    typist.says("get pod web -o go-template={{.metadata.name}}", "web");
    typist.shows("get pod web -o yaml", &["kind: Pod\n", "  - image: nginx:3\n"]);
    let json = typist.shows("get pods -o json", &[]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["kind"], json["items"].as_array().unwrap().len()), (&"List".into(), 3));
    typist.says("get pod/web configmap/one -o name", "pod/web\nconfigmap/one\n");
    typist.says("get pods --chunk-size=1 -o name", "pod/followed\npod/r\npod/web\n");
    let all = typist.rows("get pods -A");
    assert!(all.iter().any(|row| row[..2] == [namespace.as_str(), "web"]), "{all:?}");
    typist.shows("get pods -l app=nothing", &[&format!("No resources found in {namespace} namespace.")]);
    typist.refuses("get pod nope", "Error from server (NotFound): pods \"nope\" not found");
    typist.refuses("get widgets", "error: the server doesn't have a resource type \"widgets\"");
    typist.refuses("get crd", "error: the server doesn't have a resource type \"crd\"");
    typist.refuses("get pods --field-selector spec.colour=red", "field label not supported: spec.colour");
    typist.shows("get --raw /api/v1/namespaces/default", &["\"name\":\"default\""]);
    typist.refuses(
        "get --raw /apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        "customresourcedefinitions.apiextensions.k8s.io are not served here",
    );
}

fn tables(typist: &Typist) {
    for (what, head, row) in [
        ("pods", "NAME READY STATUS RESTARTS AGE", "r 0/1 Running 0"),
        (
            "pods -o wide",
            "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES",
            "web 0/1 Pending 0",
        ),
        ("pods --show-labels", "NAME READY STATUS RESTARTS AGE LABELS", "r 0/1"),
        ("pods -L app", "NAME READY STATUS RESTARTS AGE APP", "r 0/1"),
        ("configmaps", "NAME DATA AGE", "one 1"),
        ("secrets", "NAME TYPE DATA AGE", "d kubernetes.io/dockerconfigjson 1"),
        ("serviceaccounts", "NAME SECRETS AGE", "builder 0"),
        (
            "services",
            "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE",
            "se ExternalName <none> example.com <none>",
        ),
        ("services -o wide", "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE SELECTOR", "sc ClusterIP"),
        ("deployments", "NAME READY UP-TO-DATE AVAILABLE AGE", "d 3/3 3 3"),
        (
            "deployments -o wide",
            "NAME READY UP-TO-DATE AVAILABLE AGE CONTAINERS IMAGES SELECTOR",
            "d 3/3 3 3",
        ),
        ("namespaces", "NAME STATUS AGE", "default Active"),
        ("clusterroles", "NAME CREATED AT", "cluster-admin"),
        ("clusterrolebindings", "NAME ROLE AGE", "cluster-admin ClusterRole/cluster-admin"),
        (
            "clusterrolebindings -o wide",
            "NAME ROLE AGE USERS GROUPS SERVICEACCOUNTS",
            "cluster-admin ClusterRole/cluster-admin",
        ),
        (
            "nodes -o wide",
            "NAME STATUS ROLES AGE VERSION INTERNAL-IP EXTERNAL-IP OS-IMAGE KERNEL-VERSION CONTAINER-RUNTIME",
            "node-1",
        ),
    ] {
        typist.tables(&format!("get {what}"), head, row);
    }
    typist.shows("get all", &["pod/web", "service/d", "deployment.apps/d"]);
}

fn watching(typist: &Typist) {
    let output = typist.folder.join(format!("watched-{}", typist.minor));
    let words = ["get", "configmaps", "-n", &typist.namespace, "--watch-only", "-o", "name"];
    let watch = typist.kubectl.spawn(&words, &output);
    // It begins at some time: it is told often enough to have seen one.
    let mut nth = 0;
    eventually("a change is shown", || {
        nth += 1;
        typist.shows(&format!("annotate configmap one --overwrite nth={nth}"), &[]);
        std::fs::read_to_string(&output).unwrap().contains("configmap/one")
    });
    drop(watch);
}

fn describing(typist: &Typist) {
    typist.fed(
        "create -f -",
        "apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: {name: l}\nspec: {holderIdentity: me}\n",
        "lease.coordination.k8s.io/l created\n",
    );
    typist.fed(
        "create -f -",
        "apiVersion: apps/v1\nkind: ReplicaSet\nmetadata: {name: rs}\nspec: {selector: {matchLabels: {a: b}}, template: \
         {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: nginx}]}}}\n",
        "replicaset.apps/rs created\n",
    );
    typist.fed(
        "create -f -",
        &format!(
            "apiVersion: v1\nkind: Event\nmetadata: {{name: e}}\ninvolvedObject: {{kind: Pod, name: web, namespace: {}}}\n\
             reason: Seen\nmessage: it was seen\ntype: Normal\n",
            typist.namespace
        ),
        "event/e created\n",
    );
    for (what, words) in [
        (
            "pod web",
            &["Name:             web\n", "Status:           Pending\n", "Image:        nginx:3\n"][..],
        ),
        (
            "deployment d",
            &["Replicas:               3 desired | 3 updated | 3 total | 3 available | 0 unavailable"],
        ),
        ("replicaset rs", &["Replicas:     0 current / 1 desired"]),
        ("service d", &["Type:", "ClusterIP", "TargetPort:"]),
        ("configmap one", &["Data\n====\nkey:\n----\ne\n"]),
        ("secret s", &["Type:  Opaque\n", "a:  1 bytes\n"]),
        ("serviceaccount builder", &["Name:                builder\n", "Tokens:              <none>\n"]),
        ("lease l", &["Holder Identity:  me\n"]),
        ("event e", &["Message:", "it was seen"]),
        ("namespace default", &["Name:         default\n", "Status:       Active\n"]),
        ("clusterrole view", &["PolicyRule:\n", "pods/log"]),
        ("clusterrolebinding cluster-admin", &["Group  system:masters"]),
    ] {
        typist.shows(&format!("describe {what}"), words);
    }
    typist.shows(
        &format!("describe node {}", typist.node),
        &["Unschedulable:      true\n", "Roles:              worker\n"],
    );
    typist.tables(
        "get events",
        "LAST SEEN TYPE REASON OBJECT MESSAGE",
        "<unknown> Normal Seen pod/web it was seen",
    );
    typist.tables("get leases", "NAME HOLDER AGE", "l me");
    typist.tables("get replicasets", "NAME DESIRED CURRENT READY AGE", "rs 1 0 0");
    typist.shows("events", &["it was seen"]);
}

fn about_the_api(typist: &Typist) {
    let resources = typist.rows("api-resources");
    for row in
        ["bindings v1 true Binding", "pods po v1 true Pod", "deployments deploy apps/v1 true Deployment"]
    {
        let row: Vec<&str> = row.split(' ').collect();
        assert!(resources.iter().any(|have| *have == row), "{row:?} in {resources:?}");
    }
    typist
        .shows("api-versions", &["apps/v1\n", "coordination.k8s.io/v1\n", "rbac.authorization.k8s.io/v1\n"]);
    typist.shows("explain pod.spec.containers.image", &["FIELD: image <string>"]);
    typist.shows("explain deployment --recursive", &["replicas\t<integer>"]);
    typist.shows("cluster-info", &["is running at"]);
    typist.shows("version", &["Server Version: v1."]);
    typist.refuses(
        "certificate approve x",
        "the server doesn't have a resource type \"certificatesigningrequests\"",
    );
}
