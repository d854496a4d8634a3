//! Objects are made and changed.

use std::os::unix::fs::PermissionsExt;

use super::{Typist, map, pod};

pub fn all(typist: &Typist) {
    creating(typist);
    applying(typist);
    replacing(typist);
    changing(typist);
    editing(typist);
}

fn creating(typist: &Typist) {
    let web = pod("web", "nginx:1");
    typist.fed("create -f -", &web, "pod/web created\n");
    typist.refuses_input(
        "create -f -",
        &web,
        "Error from server (AlreadyExists): error when creating \"STDIN\": pods \"web\" already exists\n",
    );
    typist.refuses_input(
        "create -f -",
        &pod("bogus", "nginx, bogus: 1"),
        "Error from server (BadRequest): error when creating \"STDIN\": Pod in version \"v1\" cannot be handled as a Pod: \
         strict decoding error: unknown field \"spec.containers[0].bogus\"\n",
    );
    typist.fed("create -f - --validate=false", &pod("bogus", "nginx, bogus: 1"), "pod/bogus created\n");
    typist.refuses_input(
        "create -f - --as=nobody",
        &pod("denied", "nginx"),
        &format!(
            "Error from server (Forbidden): error when creating \"STDIN\": pods is forbidden: User \"nobody\" cannot create \
             resource \"pods\" in API group \"\" in the namespace \"{}\"",
            typist.namespace
        ),
    );
    typist.refuses_input(
        "create -f -",
        &pod("Wrong", "nginx"),
        "The Pod \"Wrong\" is invalid: metadata.name: Invalid value: \"Wrong\": a lowercase RFC 1123 subdomain must",
    );
    let generated = map("x", "value").replace("name: x", "generateName: gen-");
    let ran = typist.typed("create -f - -o name", &generated);
    assert!(
        ran.out.starts_with("configmap/gen-") && ran.out.len() == "configmap/gen-12345\n".len(),
        "{ran:?}"
    );
    typist.says("create configmap literal --from-literal=a=b", "configmap/literal created\n");
    typist.says("create secret generic s --from-literal=a=b", "secret/s created\n");
    typist.says(
        "create secret docker-registry d --docker-username=u --docker-password=p",
        "secret/d created\n",
    );
    typist.says("create serviceaccount builder", "serviceaccount/builder created\n");
    typist.says("create service clusterip sc --tcp=80:80", "service/sc created\n");
    typist.says("create service nodeport sn --tcp=80:80", "service/sn created\n");
    typist.says("create service externalname se --external-name=example.com", "service/se created\n");
    typist.refuses("create quota q --hard=pods=1", "the server could not find the requested resource");
}

fn applying(typist: &Typist) {
    let (one, two) = (map("one", "a"), map("two", "a"));
    let both = format!("{one}---\n{two}");
    typist.fed("apply -f -", &both, "configmap/one created\nconfigmap/two created\n");
    typist.fed("apply -f -", &both, "configmap/one unchanged\nconfigmap/two unchanged\n");
    let changed = map("one", "b");
    typist.fed("apply -f - --dry-run=server", &changed, "configmap/one configured (server dry run)\n");
    let differs = typist.typed("diff -f -", &changed);
    assert_eq!(differs.code, 1, "{differs:?}");
    assert!(differs.out.contains("-  key: a\n+  key: b\n"), "{differs:?}");
    typist.fed("apply -f -", &changed, "configmap/one configured\n");
    typist.fed("diff -f -", &changed, "");
    typist.fed(
        "apply -f - --prune -l set=maps --prune-allowlist=core/v1/ConfigMap",
        &changed,
        "configmap/one unchanged\nconfigmap/two pruned\n",
    );
    typist.says("get configmap one -o jsonpath={.data.key}", "b");
    typist.refuses_input("apply -f - --server-side", &changed, "server-side apply is not served");
    typist.refuses_input(
        "apply -f -",
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a.b}\n",
        "no matches for kind \"CustomResourceDefinition\" in version \"apiextensions.k8s.io/v1\"",
    );
    let last = typist.shows("apply view-last-applied configmap one", &["key: b"]);
    assert!(!last.contains("resourceVersion"), "{last}");
}

fn replacing(typist: &Typist) {
    typist.fed("replace -f -", &map("one", "c"), "configmap/one replaced\n");
    let stale = map("one", "d").replace("name: one", "name: one, resourceVersion: \"1\"");
    typist.refuses_input(
        "replace -f -",
        &stale,
        "Error from server (Conflict): error when replacing \"STDIN\": Operation cannot be fulfilled on configmaps \"one\": \
         the object has been modified; please apply your changes to the latest version and try again\n",
    );
    typist.refuses_input("replace -f -", &map("nope", "d"), "configmaps \"nope\" not found");
    let before = typist.shows("get configmap one -o jsonpath={.metadata.uid}", &[]);
    let forced = typist.typed("replace --force -f -", &map("one", "e"));
    assert!(forced.out.ends_with("configmap/one replaced\n"), "{forced:?}");
    assert_ne!(typist.shows("get configmap one -o jsonpath={.metadata.uid}", &[]), before);
}

fn changing(typist: &Typist) {
    typist.says("label pod web tier=gold", "pod/web labeled\n");
    typist.refuses("label pod web tier=silver", "already has a value (gold), and --overwrite is false");
    typist.says("label pod web tier=silver --overwrite", "pod/web labeled\n");
    typist.says("label pod web tier-", "pod/web unlabeled\n");
    typist.says("annotate pod web a=b", "pod/web annotated\n");
    typist.says("annotate pod web a-", "pod/web annotated\n");
    typist.says("patch pod web -p {\"metadata\":{\"labels\":{\"p\":\"1\"}}}", "pod/web patched\n");
    typist
        .says("patch pod web -p {\"metadata\":{\"labels\":{\"p\":\"1\"}}}", "pod/web patched (no change)\n");
    typist
        .says("patch pod web --type=merge -p {\"metadata\":{\"labels\":{\"p\":\"2\"}}}", "pod/web patched\n");
    let json = r#"[{"op":"replace","path":"/metadata/labels/p","value":"3"}]"#;
    typist.says(&format!("patch pod web --type=json -p {json}"), "pod/web patched\n");
    typist.says("get pod web -o jsonpath={.metadata.labels.p}", "3");
    typist.refuses(
        "patch pod web -p {\"spec\":{\"nodeName\":\"other\"}}",
        "The Pod \"web\" is invalid: spec: Forbidden: pod updates may not change fields other than",
    );
    typist.says("set image pod/web c=nginx:2", "pod/web image updated\n");
    typist.says("set env pod/web --list", "# Pod web, container c\n");
}

/// An editor that is a script.
fn editing(typist: &Typist) {
    let editor = typist.folder.join(format!("editor-{}", typist.minor));
    std::fs::write(&editor, "#!/bin/sh\nsed -i s/nginx:2/nginx:3/ \"$1\"\n").unwrap();
    std::fs::set_permissions(&editor, std::fs::Permissions::from_mode(0o755)).unwrap();
    let edit = ["edit", "pod", "web", "-n", &typist.namespace];
    let edited = typist.kubectl.edited(&editor, &edit);
    assert_eq!((edited.code, &*edited.out), (0, "pod/web edited\n"), "{edited:?}");
    typist.says("get pod web -o jsonpath={.spec.containers[0].image}", "nginx:3");
    let same = typist.kubectl.edited(&editor, &edit);
    assert!(same.err.contains("Edit cancelled, no changes made."), "{same:?}");
}
