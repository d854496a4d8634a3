//! What people type, with each version of kubectl.

use super::demo::{Demo, eventually};
use super::kubectl::{KUBECTLS, Kubectl, pod};

/// A row of a table that kubectl printed, by its first word.
fn row<'a>(table: &'a str, first: &str) -> Vec<&'a str> {
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.into_iter()
        .find(|row| row.first() == Some(&first))
        .unwrap_or_else(|| panic!("no {first} in {table}"))
}

#[test]
fn each_version_of_kubectl_does_what_people_type() {
    let demo = Demo::start();
    for program in KUBECTLS.iter() {
        let admin = demo.kubectl("admin").by(program);
        println!("{}", program.display());
        reads(&admin);
        writes(&admin);
        asks(&admin);
    }
}

fn reads(admin: &Kubectl) {
    let namespaces = admin.ok(&["get", "namespaces"]);
    assert!(namespaces.starts_with("NAME"), "{namespaces}");
    assert_eq!(row(&namespaces, "payments-prod")[1], "Active");
    let pods = admin.ok(&["get", "pods", "-n", "payments-prod"]);
    assert_eq!(
        pods.split_whitespace().take(5).collect::<Vec<_>>(),
        ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    );
    row(&pods, "pay-web-1");
    row(&admin.ok(&["get", "pods", "-A"]), "payments-prod");
    row(&admin.ok(&["get", "cm,sa,secret", "-n", "payments-prod"]), "configmap/pay-web");
    row(&admin.ok(&["get", "nodes"]), "node-1");
    row(&admin.ok(&["get", "clusterroles"]), "cluster-admin");
    let wide = admin.ok(&["get", "pods", "-n", "payments-prod", "-o", "wide"]);
    assert!(wide.lines().next().unwrap().contains("NODE") && wide.contains("node-1"), "{wide}");
    let name = admin.ok(&["get", "pods", "-n", "payments-prod", "-l", "app=web", "-o", "name"]);
    assert_eq!(name, "pod/pay-web-1\n");
    let none = admin.run(&["get", "pods", "-n", "payments-prod", "-l", "app=other"]);
    assert!(none.err.contains("No resources found"), "{none:?}");
    let image = admin.ok(&[
        "get",
        "pod",
        "pay-web-1",
        "-n",
        "payments-prod",
        "-o",
        "jsonpath={.spec.containers[0].name}",
    ]);
    assert_eq!(image, "web");
    let described = admin.ok(&["describe", "pod", "pay-web-1", "-n", "payments-prod"]);
    assert!(described.contains("Service Account:  default") && described.contains("node-1"), "{described}");
    admin.ok(&["describe", "namespace", "payments-prod"]);
    admin.ok(&["describe", "node", "node-1"]);
    admin.ok(&["describe", "clusterrole", "view"]);
    let log = admin.ok(&["logs", "pay-web-1", "-n", "payments-prod"]);
    assert!(!log.is_empty());
    for (word, resource) in [("po", "pods"), ("ns", "namespaces"), ("sa", "serviceaccounts")] {
        let resources = admin.ok(&["api-resources"]);
        assert_eq!(row(&resources, resource)[1], word, "{resources}");
    }
    assert!(admin.ok(&["api-versions"]).lines().any(|line| line == "rbac.authorization.k8s.io/v1"));
    assert!(admin.ok(&["explain", "pod.spec.containers"]).contains("FIELD"));
    assert!(admin.ok(&["version"]).contains("Server Version"));
}

fn writes(admin: &Kubectl) {
    let created = admin.create(&pod("default", "first", "{app: web}"), &[]);
    assert_eq!((created.code, &*created.out), (0, "pod/first created\n"), "{created:?}");
    let again = admin.create(&pod("default", "first", "{app: web}"), &[]);
    assert!(again.err.contains("Error from server (AlreadyExists)"), "{again:?}");
    assert_eq!(admin.ok(&["label", "pod", "first", "tier=gold"]), "pod/first labeled\n");
    assert_eq!(admin.ok(&["annotate", "pod", "first", "a=b"]), "pod/first annotated\n");
    let labels = admin.ok(&["get", "pod", "first", "-o", "jsonpath={.metadata.labels}"]);
    assert_eq!(labels, r#"{"app":"web","tier":"gold"}"#);
    let patch = r#"[{"op": "add", "path": "/metadata/labels/x", "value": "y"}]"#;
    admin.ok(&["patch", "pod", "first", "--type=json", "-p", patch]);
    admin.ok(&["patch", "pod", "first", "--type=merge", "-p", r#"{"metadata": {"labels": {"tier": null}}}"#]);
    let labels = admin.ok(&["get", "pod", "first", "-o", "jsonpath={.metadata.labels}"]);
    assert_eq!(labels, r#"{"app":"web","x":"y"}"#);

    let bogus = pod("default", "second", "{app: web}").replace("image:", "bogus: 1, image:");
    let refused = admin.create(&bogus, &[]);
    assert!(refused.err.contains("unknown field \"spec.containers[0].bogus\""), "{refused:?}");
    let dry = admin.create(&pod("default", "second", "{app: web}"), &["--dry-run=server"]);
    assert_eq!(dry.out, "pod/second created (server dry run)\n", "{dry:?}");
    assert!(admin.refused(&["get", "pod", "second"]).contains("pods \"second\" not found"));

    admin.ok(&["create", "namespace", "fresh"]);
    admin.ok(&["run", "web", "-n", "fresh", "--image=nginx"]);
    admin.ok(&["create", "configmap", "c", "-n", "fresh", "--from-literal=a=b"]);
    admin.ok(&["create", "secret", "generic", "s", "-n", "fresh", "--from-literal=a=b"]);
    admin.ok(&["create", "serviceaccount", "builder", "-n", "fresh"]);
    admin.ok(&["create", "role", "r", "-n", "fresh", "--verb=get", "--resource=pods"]);
    admin.ok(&["create", "rolebinding", "b", "-n", "fresh", "--role=r", "--serviceaccount=fresh:builder"]);
    let token = admin.ok(&["create", "token", "builder", "-n", "fresh"]);
    assert_eq!(token.trim().split('.').count(), 3);
    admin.ok(&["create", "deployment", "d", "-n", "fresh", "--image=nginx"]);
    admin.ok(&["scale", "deployment", "d", "-n", "fresh", "--replicas=3"]);
    assert_eq!(row(&admin.ok(&["get", "deployments", "-n", "fresh"]), "d")[1], "0/3");
    admin.ok(&["expose", "deployment", "d", "-n", "fresh", "--port=80"]);
    row(&admin.ok(&["get", "all", "-n", "fresh"]), "service/d");
    let applied = admin.with_input(&["apply", "-f", "-"], &pod("fresh", "applied", "{app: web}"));
    assert_eq!(applied.out, "pod/applied created\n", "{applied:?}");
    let applied = admin.with_input(&["apply", "-f", "-"], &pod("fresh", "applied", "{app: other}"));
    assert_eq!(applied.out, "pod/applied configured\n", "{applied:?}");
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: fresh}\ndata: {a: other}\n";
    let replaced = admin.with_input(&["replace", "-f", "-"], map);
    assert_eq!(replaced.out, "configmap/c replaced\n", "{replaced:?}");
    assert_eq!(admin.ok(&["get", "configmap", "c", "-n", "fresh", "-o", "jsonpath={.data.a}"]), "other");
    assert!(admin.ok(&["delete", "pod", "applied", "-n", "fresh"]).starts_with("pod \"applied\" deleted"));
    admin.ok(&["delete", "pod", "first"]);
    admin.ok(&["delete", "namespace", "fresh"]);
    assert!(admin.refused(&["get", "namespace", "fresh"]).contains("not found"));
    assert!(
        admin.refused(&["delete", "namespace", "kube-system"]).contains("this namespace may not be deleted")
    );
}

fn asks(admin: &Kubectl) {
    assert_eq!(admin.ok(&["auth", "can-i", "delete", "nodes"]).trim(), "yes");
    assert!(admin.ok(&["auth", "can-i", "--list"]).contains("*.*"));
    assert!(admin.ok(&["auth", "whoami"]).contains("system:masters"));
    let as_bob = admin.run(&["auth", "can-i", "list", "secrets", "-n", "payments-prod", "--as=bob"]);
    assert!(as_bob.out.starts_with("no"), "{as_bob:?}");
    assert!(admin.ok(&["auth", "whoami", "--as=bob", "--as-group=ops", "--as-uid=42"]).contains("ops"));
}

#[test]
fn a_watch_shows_each_change_as_it_happens() {
    let demo = Demo::start();
    let admin = demo.kubectl("admin");
    let output = demo.path("watched");
    let _watch = admin.spawn(&["get", "configmaps", "-n", "default", "-w", "--output-watch-events"], &output);
    let shown = || std::fs::read_to_string(&output).unwrap();
    eventually("the watch begins", || shown().contains("kube-root-ca.crt"));
    admin.ok(&["create", "configmap", "seen", "--from-literal=a=b"]);
    eventually("a creation is shown", || {
        shown().lines().any(|line| line.starts_with("ADDED") && line.contains("seen"))
    });
    admin.ok(&["label", "configmap", "seen", "x=y"]);
    eventually("a change is shown", || {
        shown().lines().any(|line| line.starts_with("MODIFIED") && line.contains("seen"))
    });
    admin.ok(&["delete", "configmap", "seen"]);
    eventually("a deletion is shown", || {
        shown().lines().any(|line| line.starts_with("DELETED") && line.contains("seen"))
    });
}

#[test]
fn a_rollout_is_for_those_whom_a_policy_lets_do_it() {
    let demo = Demo::start();
    let scale = ["scale", "deployment", "web", "-n", "payments-prod", "--replicas=2"];
    demo.kubectl("alice").ok(&scale);
    let refused = demo.kubectl("bob").refused(&scale);
    assert!(refused.contains("User \"bob\" cannot patch resource \"deployments/scale\""), "{refused}");
    let wanted = ["get", "deployment", "web", "-n", "payments-prod", "-o", "jsonpath={.spec.replicas}"];
    assert_eq!(demo.kubectl("admin").ok(&wanted), "2");
}
