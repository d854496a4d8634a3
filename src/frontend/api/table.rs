//! What `kubectl get` shows of each kind: columns, and a row for each object.
//!
//! Source: `k8s.io/kubernetes/pkg/printers/internalversion/printers.go`.

mod workloads;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::meta::{self, items, text_at};
use crate::frontend::resources::ResourceType;

/// A column: its name, the type of its cells, and whether it is shown only when asked for (`-o wide`).
struct Column(&'static str, &'static str, bool);

const NAME: Column = Column("Name", "string", false);
const AGE: Column = Column("Age", "string", false);
const NONE: &str = "<none>";

fn columns_of(kind: &str) -> &'static [Column] {
    const PODS: &[Column] = &[
        NAME,
        Column("Ready", "string", false),
        Column("Status", "string", false),
        Column("Restarts", "string", false),
        AGE,
        Column("IP", "string", true),
        Column("Node", "string", true),
        Column("Nominated Node", "string", true),
        Column("Readiness Gates", "string", true),
    ];
    const NODES: &[Column] = &[
        NAME,
        Column("Status", "string", false),
        Column("Roles", "string", false),
        AGE,
        Column("Version", "string", false),
        Column("Internal-IP", "string", true),
        Column("External-IP", "string", true),
        Column("OS-Image", "string", true),
        Column("Kernel-Version", "string", true),
        Column("Container-Runtime", "string", true),
    ];
    const EVENTS: &[Column] = &[
        Column("Last Seen", "string", false),
        Column("Type", "string", false),
        Column("Reason", "string", false),
        Column("Object", "string", false),
        Column("Subobject", "string", true),
        Column("Source", "string", true),
        Column("Message", "string", false),
        Column("First Seen", "string", true),
        Column("Count", "string", true),
        Column("Name", "string", true),
    ];
    const BINDINGS: &[Column] = &[
        NAME,
        Column("Role", "string", false),
        AGE,
        Column("Users", "string", true),
        Column("Groups", "string", true),
        Column("ServiceAccounts", "string", true),
    ];
    match kind {
        "Pod" => PODS,
        "Node" => NODES,
        "Event" => EVENTS,
        "Deployment" => workloads::DEPLOYMENTS,
        "ReplicaSet" => workloads::REPLICA_SETS,
        "Scale" => workloads::SCALES,
        "Service" => workloads::SERVICES,
        "Lease" => workloads::LEASES,
        "RoleBinding" | "ClusterRoleBinding" => BINDINGS,
        "Namespace" => &const { [NAME, Column("Status", "string", false), AGE] },
        "ConfigMap" => &const { [NAME, Column("Data", "integer", false), AGE] },
        "Secret" => &const { [NAME, Column("Type", "string", false), Column("Data", "integer", false), AGE] },
        "ServiceAccount" => &const { [NAME, Column("Secrets", "integer", false), AGE] },
        "Role" | "ClusterRole" => &const { [NAME, Column("Created At", "date", false)] },
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => {
            &const { [NAME, Column("Webhooks", "integer", false), AGE] }
        }
        _ => &const { [NAME, AGE] },
    }
}

/// `columnDefinitions` of a table of such objects.
pub(super) fn columns(kind: &ResourceType) -> Value {
    let definition = |Column(name, kind, is_wide): &Column| {
        let format = if *name == "Name" { "name" } else { "" };
        json!({"name": name, "type": kind, "format": format, "description": "", "priority": i32::from(*is_wide)})
    };
    columns_of(kind.kind).iter().map(definition).collect()
}

/// The cells of an object's row, one for each column.
pub(super) fn cells(kind: &ResourceType, object: &Value, now: Timestamp) -> Vec<Value> {
    let name = meta::text(object, "name");
    let age = since(meta::text(object, "creationTimestamp"), now);
    match kind.kind {
        "Pod" => pod(object, age),
        "Node" => node(object, age),
        "Event" => event(object, now),
        "Deployment" => workloads::deployment(object, age),
        "ReplicaSet" => workloads::replica_set(object, age),
        "Scale" => workloads::scale(object, age),
        "Service" => workloads::service(object, age),
        "Lease" => workloads::lease(object, age),
        "RoleBinding" | "ClusterRoleBinding" => binding(object, age),
        "Namespace" => vec![name.into(), text_at(object, "/status/phase").into(), age.into()],
        "ConfigMap" => {
            vec![name.into(), (count(object, "data") + count(object, "binaryData")).into(), age.into()]
        }
        "Secret" => {
            vec![name.into(), text_at(object, "/type").into(), count(object, "data").into(), age.into()]
        }
        "ServiceAccount" => vec![name.into(), items(object, "/secrets").count().into(), age.into()],
        "Role" | "ClusterRole" => vec![name.into(), meta::text(object, "creationTimestamp").into()],
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => {
            vec![name.into(), items(object, "/webhooks").count().into(), age.into()]
        }
        _ => vec![name.into(), age.into()],
    }
}

fn count(object: &Value, field: &str) -> usize {
    object.get(field).and_then(Value::as_object).map_or(0, serde_json::Map::len)
}

fn or_none(text: &str) -> Value {
    if text.is_empty() { NONE.into() } else { text.into() }
}

fn pod(pod: &Value, age: String) -> Vec<Value> {
    let statuses = || items(pod, "/status/containerStatuses");
    let is_ready = |status: &&Value| status.get("ready").and_then(Value::as_bool).unwrap_or_default();
    let ready = format!("{}/{}", statuses().filter(is_ready).count(), items(pod, "/spec/containers").count());
    let restarts: i64 =
        statuses().filter_map(|status| status.get("restartCount").and_then(Value::as_i64)).sum();
    let gates: usize = items(pod, "/spec/readinessGates").count();
    let gates = if gates == 0 { NONE.to_owned() } else { format!("0/{gates}") };
    vec![
        meta::text(pod, "name").into(),
        ready.into(),
        pod_status(pod).into(),
        restarts.to_string().into(),
        age.into(),
        or_none(text_at(pod, "/status/podIP")),
        or_none(text_at(pod, "/spec/nodeName")),
        or_none(text_at(pod, "/status/nominatedNodeName")),
        gates.into(),
    ]
}

/// The phase, or why it is no better.
fn pod_status(pod: &Value) -> &str {
    if meta::is_going(pod) {
        return "Terminating";
    }
    let reasons = items(pod, "/status/containerStatuses").flat_map(|status| {
        ["/state/waiting/reason", "/state/terminated/reason"].map(|pointer| text_at(status, pointer))
    });
    let own = [text_at(pod, "/status/reason"), text_at(pod, "/status/phase")];
    reasons.chain(own).find(|reason| !reason.is_empty()).unwrap_or("Unknown")
}

fn node(node: &Value, age: String) -> Vec<Value> {
    const ROLE: &str = "node-role.kubernetes.io/";
    let ready = items(node, "/status/conditions").find(|condition| text_at(condition, "/type") == "Ready");
    let mut status = match ready.map(|ready| text_at(ready, "/status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if node.pointer("/spec/unschedulable") == Some(&Value::Bool(true)) {
        status.push_str(",SchedulingDisabled");
    }
    let labels = meta::get(node, "labels").and_then(Value::as_object);
    let roles: Vec<&str> =
        labels.into_iter().flatten().filter_map(|(key, _)| key.strip_prefix(ROLE)).collect();
    let address = |kind: &str| {
        let found = items(node, "/status/addresses").find(|address| text_at(address, "/type") == kind);
        or_none(found.map_or("", |address| text_at(address, "/address")))
    };
    let unknown = |pointer: &str| match text_at(node, pointer) {
        "" => Value::from("<unknown>"),
        text => text.into(),
    };
    vec![
        meta::text(node, "name").into(),
        status.into(),
        or_none(&roles.join(",")),
        age.into(),
        text_at(node, "/status/nodeInfo/kubeletVersion").into(),
        address("InternalIP"),
        address("ExternalIP"),
        unknown("/status/nodeInfo/osImage"),
        unknown("/status/nodeInfo/kernelVersion"),
        unknown("/status/nodeInfo/containerRuntimeVersion"),
    ]
}

fn event(event: &Value, now: Timestamp) -> Vec<Value> {
    let first_of = |fields: &[&str]| {
        let found = fields.iter().map(|pointer| text_at(event, pointer)).find(|text| !text.is_empty());
        found.unwrap_or_default()
    };
    let last = first_of(&["/lastTimestamp", "/series/lastObservedTime", "/eventTime", "/firstTimestamp"]);
    let first = first_of(&["/firstTimestamp", "/eventTime"]);
    let about = text_at(event, "/involvedObject/kind").to_ascii_lowercase();
    let source = [first_of(&["/source/component", "/reportingComponent"]), text_at(event, "/source/host")];
    let count = event.get("count").and_then(Value::as_i64).unwrap_or(1);
    vec![
        since(last, now).into(),
        text_at(event, "/type").into(),
        text_at(event, "/reason").into(),
        format!("{about}/{}", text_at(event, "/involvedObject/name")).into(),
        text_at(event, "/involvedObject/fieldPath").into(),
        source.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ").into(),
        text_at(event, "/message").trim().into(),
        since(first, now).into(),
        count.to_string().into(),
        meta::text(event, "name").into(),
    ]
}

fn binding(binding: &Value, age: String) -> Vec<Value> {
    let role = format!("{}/{}", text_at(binding, "/roleRef/kind"), text_at(binding, "/roleRef/name"));
    let subjects = |kind: &str| {
        let subjects = items(binding, "/subjects").filter(|subject| text_at(subject, "/kind") == kind);
        let names: Vec<String> = subjects
            .map(|subject| match text_at(subject, "/namespace") {
                "" => text_at(subject, "/name").to_owned(),
                namespace => format!("{namespace}/{}", text_at(subject, "/name")),
            })
            .collect();
        Value::from(names.join(", "))
    };
    let name = meta::text(binding, "name").into();
    vec![name, role.into(), age.into(), subjects("User"), subjects("Group"), subjects("ServiceAccount")]
}

fn since(then: &str, now: Timestamp) -> String {
    then.parse::<Timestamp>().map_or_else(
        |_| "<unknown>".to_owned(),
        |then| human(now.as_second().saturating_sub(then.as_second())),
    )
}

/// A length of time in seconds, as people like it (`k8s.io/apimachinery/pkg/util/duration`).
fn human(seconds: i64) -> String {
    let both = |large: i64, unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{large}{unit}"),
        _ => format!("{large}{unit}{small}{small_unit}"),
    };
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => both(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => both(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => both(days, "d", hours % 24, "h"),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => both(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontend::resources::{RESOURCES, find};

    fn now() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn every_row_has_as_many_cells_as_there_are_columns() {
        for kind in RESOURCES {
            let empty = cells(kind, &json!({}), now());
            assert_eq!(empty.len(), columns_of(kind.kind).len(), "{}", kind.kind);
        }
    }

    #[test]
    fn a_pod_is_shown_as_kubectl_does() {
        let pod = json!({
            "metadata": {"name": "web", "creationTimestamp": "2026-03-01T11:55:30Z"},
            "spec": {"containers": [{}, {}]},
            "status": {"phase": "Running", "containerStatuses": [
                {"ready": true, "restartCount": 2},
                {"ready": false, "restartCount": 1, "state": {"waiting": {"reason": "ImagePullBackOff"}}},
            ]},
        });
        let shown = cells(find("", "pods").unwrap(), &pod, now());
        assert_eq!(
            shown[..5],
            [json!("web"), json!("1/2"), json!("ImagePullBackOff"), json!("3"), json!("4m30s")]
        );
    }

    #[test]
    fn lengths_of_time_are_as_people_like_them() {
        for (seconds, text) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (3_600, "60m"),
            (10_860, "3h1m"),
            (100_000, "27h"),
            (200_000, "2d7h"),
            (8_640_000, "100d"),
            (100_000_000, "3y62d"),
            (300_000_000, "9y"),
        ] {
            assert_eq!(human(seconds), text);
        }
    }
}
