//! Pods, deployments and nodes, as far as they go without anything that runs.

use std::time::Duration;

use super::{Typist, pod};
use crate::demo::eventually;

pub fn all(typist: &Typist) {
    deployments(typist);
    waiting(typist);
    nodes(typist);
    what_runs(typist);
}

fn deployments(typist: &Typist) {
    typist.says("create deployment d --image=nginx", "deployment.apps/d created\n");
    typist.says("scale deployment d --replicas=3", "deployment.apps/d scaled\n");
    typist
        .refuses("scale deployment d --replicas=1 --current-replicas=7", "Expected replicas to be 7, was 3");
    typist.refuses("autoscale deployment d --max=3", "the server could not find the requested resource");
    typist.says("set image deployment/d nginx=nginx:9", "deployment.apps/d image updated\n");
    typist.says("rollout pause deployment/d", "deployment.apps/d paused\n");
    typist.says("rollout resume deployment/d", "deployment.apps/d resumed\n");
    typist.says("rollout restart deployment/d", "deployment.apps/d restarted\n");
    typist.says("rollout history deployment/d", "deployment.apps/d \nNo rollout history found.\n");
    typist.refuses("rollout undo deployment/d", "no rollout history found for deployment \"d\"");
    typist.refuses("rollout status deployment/d --timeout=1s", "timed out waiting for the condition");
    let status = r#"{"status":{"observedGeneration":99,"replicas":3,"updatedReplicas":3,"readyReplicas":3,"availableReplicas":3}}"#;
    typist
        .says(&format!("patch deployment d --subresource=status -p {status}"), "deployment.apps/d patched\n");
    typist.says("rollout status deployment/d", "deployment \"d\" successfully rolled out\n");
    typist.says("expose deployment d --port=80", "service/d exposed\n");
    typist.tables("get deployment d", "NAME READY UP-TO-DATE AVAILABLE AGE", "d 3/3 3 3");
}

fn waiting(typist: &Typist) {
    typist.says("run r --image=nginx", "pod/r created\n");
    typist.says("run dry --image=nginx --dry-run=server", "pod/dry created (server dry run)\n");
    typist.says("wait --for=jsonpath={.status.phase}=Pending pod/r --timeout=20s", "pod/r condition met\n");
    typist.refuses(
        "wait --for=condition=Ready pod/r --timeout=1s",
        "timed out waiting for the condition on pods/r",
    );
    let status = r#"{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}"#;
    typist.says(&format!("patch pod r --subresource=status -p {status}"), "pod/r patched\n");
    typist.says("wait --for=condition=Ready pod/r --timeout=20s", "pod/r condition met\n");
    typist.refuses("wait --for=condition=Ready pod/nope --timeout=1s", "pods \"nope\" not found");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(500));
            typist.shows("delete pod bogus --wait=false", &["pod \"bogus\" deleted"]);
        });
        typist.shows("wait --for=delete pod/bogus --timeout=20s", &[]);
    });
    typist.says("get pod bogus --ignore-not-found", "");
}

fn nodes(typist: &Typist) {
    let Typist { node, namespace, .. } = typist;
    typist.says(&format!("cordon {node}"), &format!("node/{node} cordoned\n"));
    typist.says(&format!("uncordon {node}"), &format!("node/{node} uncordoned\n"));
    typist.says(&format!("taint node {node} a=b:NoSchedule"), &format!("node/{node} tainted\n"));
    typist.says(&format!("taint node {node} a-"), &format!("node/{node} untainted\n"));
    typist.says(
        &format!("label node {node} node-role.kubernetes.io/worker="),
        &format!("node/{node} labeled\n"),
    );
    let placed = pod("placed", "nginx").replace("spec: {", &format!("spec: {{nodeName: {node}, "));
    typist.fed("create -f -", &placed, "pod/placed created\n");
    typist.refuses(&format!("drain {node}"), "use --force to override");
    let dry = typist.typed(&format!("drain {node} --force --dry-run=server"), "");
    assert!(dry.out.contains(&format!("evicting pod {namespace}/placed (server dry run)")), "{dry:?}");
    typist.shows("get pod placed", &["placed"]);
    let drained =
        typist.shows(&format!("drain {node} --force"), &[&format!("evicting pod {namespace}/placed")]);
    assert!(drained.ends_with(&format!("pod/placed evicted\nnode/{node} drained\n")), "{drained}");
    typist.refuses("get pod placed", "pods \"placed\" not found");
    typist.tables(
        &format!("get node {node}"),
        "NAME STATUS ROLES AGE VERSION",
        &format!("{node} Unknown,SchedulingDisabled worker"),
    );
    typist.refuses("top pods", "Metrics API not available");
    typist.refuses("top nodes", "Metrics API not available");
}

fn what_runs(typist: &Typist) {
    let Typist { namespace, folder, minor, .. } = typist;
    let created = format!("pod {namespace}/r created by \"admin\"\n");
    let log = typist.shows("logs r", &[]);
    assert!(log.starts_with(&created), "{log}");
    typist.shows("logs r --timestamps --tail=1", &["given another status by \"admin\""]);
    typist.shows("logs -l run=r --prefix", &["[pod/r/r] pod"]);
    typist.refuses("logs r -c other", "container other is not valid for pod r");
    typist.says("run followed --image=nginx", "pod/followed created\n");
    let output = folder.join(format!("followed-{minor}"));
    let follow = typist.kubectl.spawn(&["logs", "-f", "followed", "-n", namespace], &output);
    eventually("a log is followed", || std::fs::read_to_string(&output).unwrap().contains("created by"));
    typist.says("label pod followed x=y", "pod/followed labeled\n");
    eventually("the log goes on", || std::fs::read_to_string(&output).unwrap().contains("changed by"));
    drop(follow);
    let not_served = "is not served: nothing runs behind this front end";
    typist.refuses("exec r -- ls", &format!("pods/exec {not_served}"));
    typist.refuses("attach r", &format!("pods/attach {not_served}"));
    typist.refuses("cp /etc/hostname r:/tmp/x", &format!("pods/exec {not_served}"));
    typist.refuses("port-forward r 0:80", not_served);
    typist.refuses("debug r --image=busybox", "ephemeral containers are disabled for this cluster");
}
