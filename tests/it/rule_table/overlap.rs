//! 3.4: a Deny rule applies where it overlaps the request.

use super::{Row, requests};
use crate::scene::deny;

pub(super) fn rows() -> Vec<Row> {
    [dimensions(), lists(), connects(), namespaces()].concat()
}

fn dimensions() -> Vec<Row> {
    [
        requests(
            "3.4 a Deny that has nothing in common with the request does not apply",
            &deny("d", &["get pods/log group=apps ns=dev name=web-*", "get /api/*"]),
            &[
                ("get pods/log group=apps ns=dev name=web-1", true),
                ("delete pods/log group=apps ns=dev name=web-1", false),
                ("get pods group=apps ns=dev name=web-1", false),
                ("get pods/log ns=dev name=web-1", false),
                ("get pods/log group=apps ns=prod name=web-1", false),
                ("get pods/log group=apps ns=dev name=db-1", false),
                ("get pods/log group=apps name=web-1", false),
                ("get /api/v1", true),
                ("get /apis", false),
            ],
        ),
        requests(
            "3.4 a Deny of `pods/*` overlaps every subresource of pods, and not pods",
            &deny("d", &["create pods/*"]),
            &[
                ("create pods/exec ns=dev name=x", true),
                ("get pods/exec ns=dev name=x", true),
                ("get pods/log ns=dev name=x", false),
                ("create pods/log ns=dev name=x", true),
                ("create pods/* ns=dev name=x", true),
                ("create */log ns=dev name=x", true),
                ("create * ns=dev name=x", true),
                ("create pods ns=dev name=x", false),
                ("create services/log ns=dev name=x", false),
            ],
        ),
        requests(
            "3.4 in a Deny a request-side `*` overlaps everything",
            &deny("d", &["get pods group=apps ns=dev name=web-1"]),
            &[
                ("* pods group=apps ns=dev name=web-1", true),
                ("get pods group=* ns=dev name=web-1", true),
                ("get * group=apps ns=dev name=web-1", true),
                ("get pods/* group=apps ns=dev name=web-1", true),
                ("get pods group=apps ns=* name=web-1", true),
                ("get pods group=apps ns=dev name=*", true),
                ("* * group=*", true),
                ("get * group=* ns=prod name=web-1", false),
            ],
        ),
        requests(
            "3.4 in a Deny the resource `*` overlaps subresources too, and a subresource only what may have it",
            &deny("d", &["get pods/log", "list */scale group=apps", "watch secrets"]),
            &[
                ("get *", true),
                ("get */log", true),
                ("get */exec", false),
                ("get pods/*", true),
                ("get secrets/*", false),
                ("list * group=apps", true),
                ("list */scale group=apps", true),
                ("list x/* group=apps", true),
                ("list x group=apps", false),
                ("watch *", true),
                ("watch */log", false),
            ],
        ),
        requests(
            "3.4 in a Deny on every path the path may be anything",
            &deny("d", &["get,post any-path"]),
            &[("get /x", true), ("* /x", true), ("put /x", false)],
        ),
        requests(
            "3.4 in a Deny the request-side path `*` is every path",
            &deny("d", &["get /healthz", "post /api/*"]),
            &[("get any-path", true), ("post any-path", true), ("* any-path", true), ("put any-path", false)],
        ),
    ]
    .concat()
}

fn lists() -> Vec<Row> {
    [
        requests(
            "3.4 a list over all namespaces does not walk around a Deny on one",
            &deny("d", &["get,list,watch,deletecollection secrets ns=prod"]),
            &[
                ("list secrets", true),
                ("watch secrets", true),
                ("deletecollection secrets", true),
                ("list secrets ns=prod", true),
                ("list secrets ns=dev", false),
                ("get secrets", false),
                ("* secrets", true),
            ],
        ),
        requests(
            "3.4 a list without a name overlaps every name",
            &deny("d", &["get,list,watch,deletecollection,create secrets name=key-*"]),
            &[
                ("list secrets ns=dev", true),
                ("watch secrets ns=dev", true),
                ("deletecollection secrets ns=dev", true),
                ("* secrets ns=dev", true),
                ("list secrets ns=dev name=key-1", true),
                ("list secrets ns=dev name=other", false),
                ("create secrets ns=dev", false),
            ],
        ),
        requests(
            "3.4 a list of what is known to be cluster-scoped is of no namespace",
            &deny("d", &["list nodes,namespaces,users,widgets ns=*", "list widgets group=example.com ns=*"]),
            &[
                ("list nodes", false),
                ("list nodes/status", false),
                ("list namespaces", false),
                ("list namespaces ns=dev name=dev", true),
                ("list widgets", true),
                ("list widgets group=example.com", false),
                ("list widgets group=*", true),
                ("* nodes", false),
            ],
        ),
        requests(
            "3.4 the empty namespace in a Deny is cluster-wide",
            &deny("d", &["get,list nodes,pods ns="]),
            &[
                ("list nodes", true),
                ("get nodes name=n1", true),
                ("list pods", true),
                ("list pods ns=dev", false),
                ("list pods ns=*", true),
            ],
        ),
        requests(
            "3.4 a name still matters in a list of what is cluster-scoped",
            &deny("d", &["list nodes name=n1"]),
            &[("list nodes", true), ("list nodes name=n2", false)],
        ),
    ]
    .concat()
}

fn connects() -> Vec<Row> {
    let mut rows = Vec::new();
    for (rule, expected) in [
        (
            "get pods/exec,pods/attach,pods/portforward,services/proxy,pods/log",
            [
                ("create pods/exec ns=dev name=x", true),
                ("create pods/attach ns=dev name=x", true),
                ("create pods/portforward ns=dev name=x", true),
                ("create services/proxy ns=dev name=x", true),
                ("create pods/log ns=dev name=x", false),
                ("delete pods/exec ns=dev name=x", false),
            ],
        ),
        (
            "create *",
            [
                ("get pods/exec ns=dev name=x", true),
                ("get pods/* ns=dev name=x", true),
                ("get * ns=dev name=x", true),
                ("get */log ns=dev name=x", false),
                ("get pods ns=dev name=x", false),
                ("list pods/exec ns=dev", false),
            ],
        ),
        (
            "create pods,services/status,*/scale",
            [
                ("get pods/* ns=dev name=x", false),
                ("get services/* ns=dev name=x", false),
                ("get x/* ns=dev name=x", false),
                ("get * ns=dev name=x", false),
                ("create pods/* ns=dev name=x", true),
                ("create x/* ns=dev name=x", true),
            ],
        ),
        (
            "create */proxy,pods",
            [
                ("get services/proxy ns=dev name=x", true),
                ("get */proxy ns=dev name=x", true),
                ("get services/* ns=dev name=x", true),
                ("get pods ns=dev name=x", false),
                ("get pods/exec ns=dev name=x", false),
                ("create pods ns=dev", true),
            ],
        ),
    ] {
        let name = "3.4 in a Deny get and create on what is connected to are one verb";
        rows.extend(requests(name, &deny("d", &[rule]), &expected));
    }
    rows
}

fn namespaces() -> Vec<Row> {
    requests(
        "3.4 a request for a namespace stands in that namespace",
        &deny("d", &["delete namespaces ns=kube-*", "get namespaces name=kube-*"]),
        &[
            ("delete namespaces ns=kube-system name=kube-system", true),
            ("delete namespaces ns=dev name=dev", false),
            ("get namespaces ns=kube-system name=kube-system", true),
            ("get namespaces ns=dev name=dev", false),
        ],
    )
}
