//! Objects go, and what belongs to them.

use super::{Typist, map};

pub fn all(typist: &Typist) {
    cascading(typist);
    let gone = |words: &str, what: &str| {
        typist.shows(words, &[&format!("{what} ")]);
    };
    gone("delete pod r", "pod \"r\"");
    typist.shows(
        "delete pod followed --force",
        &["Immediate deletion does not wait", "pod \"followed\" force deleted"],
    );
    gone("delete pod web --now", "pod \"web\"");
    typist.refuses("delete pod nope", "Error from server (NotFound): pods \"nope\" not found\n");
    typist.says("delete pod nope --ignore-not-found", "");
    typist.shows("delete configmap -l set=maps --dry-run=server", &["configmap \"one\" deleted"]);
    typist.shows("get configmap one", &["one"]);
    gone("delete configmap -l set=maps", "configmap \"one\"");
    typist.says("get configmap -l set=maps -o name", "");
    gone("delete secret --all", "secret \"s\"");
    typist.says("get secrets -o name", "");
    typist.refuses("delete namespace kube-system", "this namespace may not be deleted");
    gone("delete deployment d --wait=false", "deployment.apps \"d\"");
    let (namespace, node) = (&typist.namespace, &typist.node);
    gone(&format!("delete node {node}"), &format!("node \"{node}\""));
    gone(&format!("delete namespace {namespace}"), &format!("namespace \"{namespace}\""));
    typist.refuses(&format!("get namespace {namespace}"), "not found");
}

fn cascading(typist: &Typist) {
    for (cascade, is_left) in [("background", false), ("foreground", false), ("orphan", true)] {
        typist.fed("create -f -", &map("owner", "a"), "configmap/owner created\n");
        let uid = typist.shows("get configmap owner -o jsonpath={.metadata.uid}", &[]);
        let owned = map("owned", "a").replace(
            "name: owned",
            &format!(
                "name: owned, ownerReferences: [{{apiVersion: v1, kind: ConfigMap, name: owner, uid: {uid}, \
                 blockOwnerDeletion: true}}]"
            ),
        );
        typist.fed("create -f -", &owned, "configmap/owned created\n");
        typist
            .shows(&format!("delete configmap owner --cascade={cascade}"), &["configmap \"owner\" deleted"]);
        let left = if is_left { "configmap/owned\n" } else { "" };
        typist.says("get configmap owned --ignore-not-found -o name", left);
        if is_left {
            typist.says("get configmap owned -o jsonpath={.metadata.ownerReferences}", "");
            typist.shows("delete configmap owned", &["configmap \"owned\" deleted"]);
        }
    }
}
