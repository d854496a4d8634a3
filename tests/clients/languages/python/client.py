"""The official Python client against the front end of `bailiwick demo`: `client.py KUBECONFIGS`.

Prints `ok NAME` for each thing that it saw, and ends with an error at the first that is not so.
"""

import json
import sys
import threading

from kubernetes import client, config, dynamic, watch
from kubernetes.client.exceptions import ApiException

NAMESPACE = "payments-dev"
ME = "python"
SELECTOR = f"client={ME}"


def ok(name):
    print(f"ok {name}", flush=True)


def same(seen, expected):
    if seen != expected:
        raise AssertionError(f"{seen!r} instead of {expected!r}")


def holds(condition, what):
    if not condition:
        raise AssertionError(what)


def refusal(code, reason, call):
    """The Status that `call` is refused with, as the library parsed it."""
    try:
        answer = call()
    except ApiException as error:
        status = json.loads(error.body)
        same((error.status, status["code"], status["reason"]), (code, code, reason))
        return status
    raise AssertionError(f"not refused: {str(answer)[:200]}")


def config_map(name, **data):
    metadata = client.V1ObjectMeta(name=name, labels={"client": ME})
    return client.V1ConfigMap(metadata=metadata, data=data)


def pod(name, labels):
    container = client.V1Container(name="web", image="registry.example.com/web:1")
    metadata = client.V1ObjectMeta(name=name, labels=labels)
    return client.V1Pod(metadata=metadata, spec=client.V1PodSpec(containers=[container]))


def main(kubeconfigs):
    def connect(person):
        return config.new_client_from_config(f"{kubeconfigs}/{person}.yaml")

    alice = connect("alice")
    core = client.CoreV1Api(alice)

    # The snippet of docs/frontend.md begins here.
    names = [pod.metadata.name for pod in core.list_namespaced_pod(NAMESPACE).items]
    # It ends here.
    holds("pay-web" in names, names)

    holds(client.VersionApi(alice).get_code().git_version.startswith("v1."), "the version")
    ok("version")

    resources = dynamic.DynamicClient(alice).resources
    deployments = resources.get(api_version="apps/v1", kind="Deployment")
    same(deployments.get(name="web", namespace="payments-prod").spec.template.metadata.labels.app, "web")
    ok("discovery")

    for number in range(5):
        created = core.create_namespaced_config_map(NAMESPACE, config_map(f"pay-{ME}-{number}", number=str(number)))
        same(created.metadata.annotations["bailiwick.dev/owner"], "alice")
    again = config_map(f"pay-{ME}-0")
    refusal(409, "AlreadyExists", lambda: core.create_namespaced_config_map(NAMESPACE, again))
    ok("create")

    pages, names, more = 0, [], None
    while more != "":
        page = core.list_namespaced_config_map(NAMESPACE, label_selector=SELECTOR, limit=2, _continue=more)
        pages, more = pages + 1, page.metadata._continue or ""
        names += [item.metadata.name for item in page.items]
    same((pages, names), (3, [f"pay-{ME}-{number}" for number in range(5)]))
    ok("list")

    first = core.read_namespaced_config_map(f"pay-{ME}-0", NAMESPACE)
    same(first.data, {"number": "0"})
    ok("get")

    # What happens while it watches, beginning at the version of a list.
    since = core.list_namespaced_config_map(NAMESPACE, label_selector=SELECTOR).metadata.resource_version
    watched = f"pay-{ME}-watched"

    def change():
        core.create_namespaced_config_map(NAMESPACE, config_map(watched, a="1"))
        core.patch_namespaced_config_map(watched, NAMESPACE, {"data": {"a": "2"}})
        core.delete_namespaced_config_map(watched, NAMESPACE)

    changes = threading.Timer(0.5, change)
    changes.start()
    seen, watcher = [], watch.Watch()
    for event in watcher.stream(
        core.list_namespaced_config_map, NAMESPACE, label_selector=SELECTOR, resource_version=since, timeout_seconds=30
    ):
        seen.append((event["type"], event["object"].metadata.name, event["object"].data["a"]))
        if event["type"] == "DELETED":
            watcher.stop()
    changes.join()
    same(seen, [("ADDED", watched, "1"), ("MODIFIED", watched, "2"), ("DELETED", watched, "2")])
    ok("watch")

    # A watch that begins with what there is.
    seen = []
    for event in watch.Watch().stream(
        core.list_namespaced_config_map, NAMESPACE, label_selector=SELECTOR, timeout_seconds=1
    ):
        seen.append((event["type"], event["object"].metadata.name))
    same(seen, [("ADDED", f"pay-{ME}-{number}") for number in range(5)])
    # And one from before anything that is known: the event that says so arrives as an exception.
    try:
        for _ in watch.Watch().stream(
            core.list_namespaced_config_map, NAMESPACE, resource_version="1", timeout_seconds=1
        ):
            raise AssertionError("a version that is too old was watched from")
        raise AssertionError("nobody says that the version is too old")
    except ApiException as error:
        same(error.status, 410)
    ok("resume")

    # The kind of patch is the body's: a list is a JSON patch, a mapping a strategic one.
    json_patch = [{"op": "replace", "path": "/data/number", "value": "json"}]
    same(core.patch_namespaced_config_map(f"pay-{ME}-0", NAMESPACE, json_patch).data, {"number": "json"})
    strategic = {"data": {"number": None, "kind": "strategic"}}
    same(core.patch_namespaced_config_map(f"pay-{ME}-0", NAMESPACE, strategic).data, {"kind": "strategic"})
    merge = {"data": {"kind": "merge"}}
    merged = core.patch_namespaced_config_map(
        f"pay-{ME}-0", NAMESPACE, merge, _content_type="application/merge-patch+json"
    )
    same(merged.data, {"kind": "merge"})
    ok("patch")

    first.data = {"number": "stale"}
    stale = refusal(409, "Conflict", lambda: core.replace_namespaced_config_map(first.metadata.name, NAMESPACE, first))
    holds("the object has been modified" in stale["message"], stale)
    merged.data = {"number": "new"}
    same(core.replace_namespaced_config_map(first.metadata.name, NAMESPACE, merged).data, {"number": "new"})
    ok("replace")

    for number in range(5):
        core.delete_namespaced_config_map(f"pay-{ME}-{number}", NAMESPACE)
    refusal(404, "NotFound", lambda: core.read_namespaced_config_map(f"pay-{ME}-0", NAMESPACE))
    ok("delete")

    # The name gets its prefix from admission.
    same(core.create_namespaced_pod(NAMESPACE, pod(ME, {"app": ME})).metadata.name, f"pay-{ME}")
    log = core.read_namespaced_pod_log(f"pay-{ME}", NAMESPACE)
    holds("alice" in log, log)
    same(core.delete_namespaced_pod(f"pay-{ME}", NAMESPACE).metadata.name, f"pay-{ME}")
    ok("log")

    def may(verb, resource, namespace):
        attributes = client.V1ResourceAttributes(verb=verb, resource=resource, namespace=namespace)
        spec = client.V1SelfSubjectAccessReviewSpec(resource_attributes=attributes)
        review = client.V1SelfSubjectAccessReview(spec=spec)
        return client.AuthorizationV1Api(alice).create_self_subject_access_review(review).status

    same(may("list", "pods", NAMESPACE).allowed, True)
    denied = may("get", "secrets", "payments-prod")
    same((denied.allowed, denied.denied), (False, True))
    holds("payments-prod" in denied.reason, denied.reason)
    ok("access review")

    forbidden = refusal(403, "Forbidden", lambda: core.list_namespaced_secret("payments-prod"))
    holds("The secrets of payments-prod are for its workload only." in forbidden["message"], forbidden)
    ok("refused by a policy")

    invalid = refusal(422, "Invalid", lambda: core.create_namespaced_pod(NAMESPACE, pod(f"pay-{ME}", {"x": "y"})))
    same(invalid["details"]["causes"][0]["field"], "metadata.labels[app]")
    ok("refused by admission")

    nina = client.CoreV1Api(connect("nina"))
    forbidden = refusal(403, "Forbidden", lambda: nina.list_namespaced_pod(NAMESPACE))
    holds('User "nina" cannot list resource "pods"' in forbidden["message"], forbidden)
    ok("token")

    deployer = client.CoreV1Api(connect("deployer"))
    deployer.list_namespaced_pod(NAMESPACE)
    ok("service account")

    bob = connect("bob")
    who = client.AuthenticationV1Api(bob).create_self_subject_review(client.V1SelfSubjectReview())
    same(who.status.user_info.username, "bob")
    ok("password")


main(sys.argv[1])
