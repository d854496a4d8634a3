//! 3.4: an Allow rule must cover the request.

use super::{Row, requests};
use crate::scene::allow;

pub(super) fn rows() -> Vec<Row> {
    [
        requests(
            "3.4 an exact Allow covers exactly that",
            &allow("a", &["get,list pods group=apps"]),
            &[
                ("get pods group=apps ns=dev name=x", true),
                ("list pods group=apps", true),
                ("watch pods group=apps", false),
                ("get pods ns=dev name=x", false),
                ("get deployments group=apps ns=dev name=x", false),
                ("get /pods", false),
            ],
        ),
        requests(
            "3.4 in an Allow a request-side `*` is covered only by a rule-side `*`",
            &allow("a", &["get pods", "* secrets", "get configmaps group=*", "get * group=x", "* * group=y"]),
            &[
                ("* pods", false),
                ("* secrets", true),
                ("get configmaps group=*", true),
                ("get pods group=*", false),
                ("get * group=x", true),
                ("get *", false),
                ("get */log group=x", true),
                ("* * group=y", true),
                ("* * group=*", false),
            ],
        ),
        requests(
            "3.4 in an Allow a resource does not cover its subresources",
            &allow("a", &["get pods,services/status,*/scale"]),
            &[
                ("get pods/log ns=dev name=x", false),
                ("get services ns=dev name=x", false),
                ("get services/status ns=dev name=x", true),
                ("get replicas/scale ns=dev name=x", true),
                ("get */scale ns=dev name=x", true),
                ("get pods/* ns=dev name=x", false),
                ("get services/* ns=dev name=x", false),
                ("get */* ns=dev name=x", false),
            ],
        ),
        requests(
            "3.4 in an Allow `pods/*` covers every subresource of pods, named or `*`, and not pods",
            &allow("a", &["get pods/*,services/status,*/scale"]),
            &[
                ("get pods/exec ns=dev name=x", true),
                ("get pods/scale ns=dev name=x", true),
                ("get pods/* ns=dev name=x", true),
                ("get pods ns=dev name=x", false),
                ("get services/exec ns=dev name=x", false),
                ("get services/scale ns=dev name=x", true),
                ("get */exec ns=dev name=x", false),
                ("get *", false),
            ],
        ),
        requests(
            "3.4 in an Allow a name with an escaped star is the one object that is called so",
            &allow("a", &[r"get pods name=\*", r"get services name=web-\*"]),
            &[
                ("get pods ns=dev name=*", true),
                ("get pods ns=dev name=x", false),
                ("get pods ns=dev", false),
                ("get services ns=dev name=*", false),
                ("get services ns=dev name=web-*", true),
                ("get services ns=dev name=web-1", false),
            ],
        ),
        requests(
            "3.4 in an Allow the resource `*` covers subresources, named or `*`",
            &allow("a", &["get *"]),
            &[("get pods/exec ns=dev name=x", true), ("get pods/* ns=dev name=x", true), ("get *", true)],
        ),
        requests(
            "3.4 in an Allow get on exec is not create",
            &allow("a", &["get pods/exec"]),
            &[("get pods/exec ns=dev name=x", true), ("create pods/exec ns=dev name=x", false)],
        ),
        requests(
            "3.4 in an Allow a name must be matched, and none is not",
            &allow("a", &["get,list,create pods name=web-*"]),
            &[
                ("get pods ns=dev name=web-1", true),
                ("get pods ns=dev name=db-1", false),
                ("list pods ns=dev name=web-1", true),
                ("list pods ns=dev", false),
                ("create pods ns=dev", false),
                ("get pods ns=dev name=*", false),
            ],
        ),
        requests(
            "3.4 in an Allow the name `*` covers every name but none",
            &allow("a", &["get,list pods name=*"]),
            &[
                ("get pods ns=dev name=x", true),
                ("get pods ns=dev name=*", true),
                ("list pods ns=dev", false),
            ],
        ),
        requests(
            "3.4 in an Allow a namespace must be matched, and all at once are not one",
            &allow("a", &["get,list pods ns=dev-*"]),
            &[
                ("get pods ns=dev-1 name=x", true),
                ("get pods ns=prod name=x", false),
                ("list pods", false),
                ("list pods ns=*", false),
            ],
        ),
        requests(
            "3.4 in an Allow the namespace `*` covers any but not cluster-wide",
            &allow("a", &["list pods,nodes ns=*"]),
            &[
                ("list pods ns=dev", true),
                ("list pods ns=*", true),
                ("list pods", false),
                ("list nodes", false),
            ],
        ),
        requests(
            "3.4 in an Allow the empty namespace is cluster-wide only",
            &allow("a", &["list pods,nodes ns="]),
            &[
                ("list pods", true),
                ("list nodes", true),
                ("list pods ns=dev", false),
                ("list pods ns=*", false),
            ],
        ),
        requests(
            "3.4 in an Allow omitted namespaces and names are anywhere and any",
            &allow("a", &["list,get pods"]),
            &[("list pods", true), ("list pods ns=*", true), ("get pods ns=dev name=*", true)],
        ),
        requests(
            "3.4 in an Allow paths are compared byte for byte",
            &allow("a", &["get /healthz,/api/*"]),
            &[
                ("get /healthz", true),
                ("get /healthz/", false),
                ("get //healthz", false),
                ("get /api/", true),
                ("get /api/v1/../x", true),
                ("get /api", false),
                ("post /healthz", false),
                ("get healthz", false),
                ("get any-path", false),
            ],
        ),
        requests(
            "3.4 in an Allow the path `*` covers every path",
            &allow("a", &["get any-path"]),
            &[("get /healthz", true), ("get /", true), ("get any-path", true), ("get pods", false)],
        ),
    ]
    .concat()
}
