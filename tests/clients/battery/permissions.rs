//! Who may do what, and who is told so.

use super::Typist;

pub fn all(typist: &Typist) {
    let Typist { namespace, minor, .. } = typist;
    let role = format!("battery-{minor}");
    typist.says(
        "create role reader --verb=get --resource=pods",
        "role.rbac.authorization.k8s.io/reader created\n",
    );
    typist.says(
        &format!("create clusterrole {role} --verb=get --resource=nodes"),
        &format!("clusterrole.rbac.authorization.k8s.io/{role} created\n"),
    );
    typist.says(
        "create rolebinding readers --role=reader --user=nobody --serviceaccount=default:default",
        "rolebinding.rbac.authorization.k8s.io/readers created\n",
    );
    typist.says(
        &format!("create clusterrolebinding {role} --clusterrole={role} --group=nobodies"),
        &format!("clusterrolebinding.rbac.authorization.k8s.io/{role} created\n"),
    );
    typist.tables("get roles", "NAME CREATED AT", "reader");
    typist.tables(
        "get rolebindings -o wide",
        "NAME ROLE AGE USERS GROUPS SERVICEACCOUNTS",
        "readers Role/reader",
    );
    typist.shows("describe role reader", &["pods", "[get]"]);
    typist.shows("describe rolebinding readers", &["User            nobody"]);
    let reconciled = format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: reader, namespace: {namespace}}}\n\
         rules: [{{apiGroups: [\"\"], resources: [pods], verbs: [get, list]}}]\n"
    );
    let ran = typist.typed("auth reconcile -f -", &reconciled);
    assert!(ran.code == 0 && ran.out.contains("role.rbac.authorization.k8s.io/reader reconciled"), "{ran:?}");
    typist.says("auth can-i list pods --as=nobody", "yes\n");
    let no = typist.typed("auth can-i delete pods --as=nobody", "");
    assert_eq!((no.code, no.out.starts_with("no")), (1, true), "{no:?}");
    typist.says("auth can-i create pods/eviction", "yes\n");
    typist.says("auth can-i get /healthz --as=nobody", "yes\n");
    typist.shows("auth can-i --list --as=nobody", &["pods", "[get list]"]);
    typist.shows("auth whoami", &["admin", "system:masters"]);
    typist.says("auth whoami --as=nobody -o jsonpath={.status.userInfo.username}", "nobody");
    let token = typist.shows("create token builder", &[]);
    assert_eq!(token.trim().split('.').count(), 3, "{token}");
    typist.refuses("create token nope", "serviceaccounts \"nope\" not found");
    typist.refuses("create token builder --duration=1s", "may not specify a duration less than 10 minutes");
    typist.shows(
        &format!("delete clusterrole/{role} clusterrolebinding/{role}"),
        &["clusterrole.rbac.authorization.k8s.io", "clusterrolebinding.rbac.authorization.k8s.io"],
    );
}
