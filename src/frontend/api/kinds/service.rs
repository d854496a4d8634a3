//! Services.
//!
//! Source: `k8s.io/kubernetes/pkg/registry/core/service/strategy.go` and `ValidateService` in
//! `.../pkg/apis/core/validation/validation.go`. Smaller: addresses are of IPv4 alone, and no other family is asked about.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde_json::{Map, Value, json};

use super::defaults::default;
use super::metadata::{self, LABEL, SUBDOMAIN};
use super::{Faults, set, unset};
use crate::frontend::api::meta::{self, items, text_at};
use crate::frontend::selector::{is_dns_label, is_dns_subdomain};

/// The first two octets of all cluster addresses: they are in 10.96.0.0/16, as `kubeadm` has it.
pub(in crate::frontend::api) const CLUSTER_NET: [u8; 2] = [10, 96];

/// The least port that nodes forward (`--service-node-port-range`).
pub(in crate::frontend::api) const MIN_NODE_PORT: i64 = 30_000;

/// The greatest port that nodes forward.
pub(in crate::frontend::api) const MAX_NODE_PORT: i64 = 32_767;

const PORT: &str = "must be between 1 and 65535, inclusive";

/// What only services have that balance load from outside.
const OF_BALANCERS: &[&str] = &["allocateLoadBalancerNodePorts", "loadBalancerClass"];

/// What only services have that nodes forward to.
const OF_NODES: &[&str] =
    &["allocateLoadBalancerNodePorts", "externalTrafficPolicy", "healthCheckNodePort", "loadBalancerClass"];

/// What only services have that are there themselves, and no other names.
const OF_AN_ADDRESS: &[&str] = &[
    "allocateLoadBalancerNodePorts",
    "clusterIP",
    "clusterIPs",
    "externalTrafficPolicy",
    "healthCheckNodePort",
    "internalTrafficPolicy",
    "ipFamilies",
    "ipFamilyPolicy",
    "loadBalancerClass",
];

/// Whether a service has no address, for names stand for its pods themselves.
pub(in crate::frontend::api) fn is_headless(service: &Value) -> bool {
    text_at(service, "/spec/clusterIP") == "None"
}

/// Whether a service is another name for something elsewhere.
pub(in crate::frontend::api) fn is_external_name(service: &Value) -> bool {
    text_at(service, "/spec/type") == "ExternalName"
}

/// Whether nodes forward its ports.
pub(in crate::frontend::api) fn has_node_ports(service: &Value) -> bool {
    match text_at(service, "/spec/type") {
        "NodePort" => true,
        "LoadBalancer" => service.pointer("/spec/allocateLoadBalancerNodePorts") != Some(&Value::Bool(false)),
        _ => false,
    }
}

/// Keeps what was given to the service, where a client leaves it out; what came with the type that it had goes with that,
/// where the client did not touch it.
pub(super) fn keep(service: &mut Value, old: &Value) {
    let kind = text_at(service, "/spec/type").to_owned();
    let takes = matches!(&*kind, "NodePort" | "LoadBalancer");
    if kind != "ExternalName" && text_at(service, "/spec/clusterIP").is_empty() && !is_external_name(old) {
        for field in ["clusterIP", "clusterIPs"] {
            if let Some(value) = old.get("spec").and_then(|spec| spec.get(field)) {
                meta::set_in(service, "spec", field, value.clone());
            }
        }
    }
    let gone: &[&str] = match &*kind {
        "ExternalName" => OF_AN_ADDRESS,
        "ClusterIP" => OF_NODES,
        "NodePort" => OF_BALANCERS,
        _ => &[],
    };
    if let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) {
        spec.retain(|field, value| {
            let before = old.get("spec").and_then(|spec| spec.get(field));
            !gone.contains(&&**field) || before != Some(value)
        });
    }
    let ports = service.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten() {
        let before = items(old, "/spec/ports")
            .find(|before| ["protocol", "port"].iter().all(|field| before.get(*field) == port.get(*field)));
        let before = before.map(node_port).unwrap_or_default();
        if takes && node_port(port) == 0 && before != 0 {
            set(port, "nodePort", before.into());
        } else if !takes && before != 0 && node_port(port) == before {
            unset(port, "nodePort");
        }
    }
}

/// The port of nodes that is forwarded to this one; 0 where there is none.
pub(in crate::frontend::api) fn node_port(port: &Value) -> i64 {
    port.get("nodePort").and_then(Value::as_i64).unwrap_or_default()
}

pub(super) fn validate(service: &Value, old: Option<&Value>, faults: &mut Faults) {
    let kinds = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    faults.unless_one_of("spec.type", text_at(service, "/spec/type"), kinds);
    let affinity = text_at(service, "/spec/sessionAffinity");
    faults.unless_one_of("spec.sessionAffinity", affinity, &["ClientIP", "None"]);
    if affinity == "None" && service.pointer("/spec/sessionAffinityConfig").is_some() {
        let why = "must not be set when session affinity is None";
        faults.forbidden("spec.sessionAffinityConfig", why);
    }
    let selector = service.pointer("/spec/selector").and_then(Value::as_object);
    metadata::labels(selector, "spec.selector", faults);
    ports(service, faults);
    address(service, old, faults);
    let name = text_at(service, "/spec/externalName");
    match (is_external_name(service), name) {
        (true, "") => faults.required("spec.externalName", ""),
        (true, _) if !is_dns_subdomain(name) => faults.invalid("spec.externalName", name, SUBDOMAIN),
        _ => {}
    }
}

fn address(service: &Value, old: Option<&Value>, faults: &mut Faults) {
    let address = text_at(service, "/spec/clusterIP");
    let first = text_at(service, "/spec/clusterIPs/0");
    if is_external_name(service) {
        if !address.is_empty() || !first.is_empty() {
            faults.forbidden("spec.clusterIPs", "may not be set for ExternalName services");
        }
        return;
    }
    if !first.is_empty() && first != address {
        let why = match address {
            "" => "must be empty when `clusterIP` is not specified",
            _ => "first value must match `clusterIP`",
        };
        faults.invalid("spec.clusterIPs", first, why);
    }
    if items(service, "/spec/clusterIPs").nth(1).is_some() {
        faults.forbidden("spec.clusterIPs", "there are addresses of one family only");
    }
    let before = old.map(|old| text_at(old, "/spec/clusterIP")).unwrap_or_default();
    if !before.is_empty() && before != address {
        faults.invalid("spec.clusterIPs[0]", address, "may not change once set");
    } else if !address.is_empty() && address != "None" && !is_of_cluster(address) {
        let why = "the provided IP is not in the valid range 10.96.0.0/16";
        faults.invalid("spec.clusterIPs", address, why);
    }
}

fn is_of_cluster(address: &str) -> bool {
    address.parse::<Ipv4Addr>().is_ok_and(|address| address.octets().starts_with(&CLUSTER_NET))
}

fn ports(service: &Value, faults: &mut Faults) {
    let count = items(service, "/spec/ports").count();
    if count == 0 && !is_headless(service) && !is_external_name(service) {
        faults.required("spec.ports", "");
    }
    let takes = matches!(text_at(service, "/spec/type"), "NodePort" | "LoadBalancer");
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (nth, port) in items(service, "/spec/ports").enumerate() {
        let path = format!("spec.ports[{nth}]");
        match text_at(port, "/name") {
            "" if count > 1 => faults.required(format!("{path}.name"), ""),
            "" => {}
            name if !is_dns_label(name) => faults.invalid(format!("{path}.name"), name, LABEL),
            name if !names.insert(name) => faults.duplicate(format!("{path}.name"), name),
            _ => {}
        }
        let (protocol, number) = (text_at(port, "/protocol"), port.get("port").and_then(Value::as_i64));
        faults.unless_one_of(format!("{path}.protocol"), protocol, &["SCTP", "TCP", "UDP"]);
        match number {
            Some(1..=65_535) => {}
            other => faults.invalid_value(format!("{path}.port"), &other.unwrap_or_default().into(), PORT),
        }
        if !numbers.insert((protocol, number)) {
            faults.duplicate(path.clone(), &format!("{}/{protocol}", number.unwrap_or_default()));
        }
        target(port, &path, faults);
        match node_port(port) {
            0 => {}
            MIN_NODE_PORT..=MAX_NODE_PORT if takes => {}
            _ if !takes => {
                let why = format!("may not be used when `type` is '{}'", text_at(service, "/spec/type"));
                faults.forbidden(format!("{path}.nodePort"), &why);
            }
            other => {
                let why = "provided port is not in the valid range. The range of valid ports is 30000-32767";
                faults.invalid_value(format!("{path}.nodePort"), &other.into(), why);
            }
        }
    }
}

fn target(port: &Value, path: &str, faults: &mut Faults) {
    let path = format!("{path}.targetPort");
    match port.get("targetPort") {
        Some(Value::String(name)) if !is_port_name(name) => {
            let why = "must be an IANA service name: at most 15 lower case letters, digits and single dashes within, \
                and at least one letter";
            faults.invalid(path, name, why);
        }
        Some(number @ Value::Number(_)) if !matches!(number.as_i64(), Some(1..=65_535)) => {
            faults.invalid_value(path, number, PORT);
        }
        _ => {}
    }
}

/// RFC 6335, 5.1, as `IsValidPortName` has it.
fn is_port_name(name: &str) -> bool {
    name.len() <= 15
        && is_dns_label(name)
        && !name.contains("--")
        && name.bytes().any(|byte| byte.is_ascii_lowercase())
}

/// What is filled in of a service's spec (`SetDefaults_Service`).
pub(super) fn defaults(spec: &mut Map<String, Value>) {
    // What protobuf says with its zeroes, JSON leaves out.
    spec.retain(|field, value| match &**field {
        "healthCheckNodePort" => *value != 0,
        "publishNotReadyAddresses" => *value != false,
        "clusterIP" => *value != "",
        _ => true,
    });
    default(spec, "type", "ClusterIP".into());
    default(spec, "sessionAffinity", "None".into());
    let text = |spec: &Map<String, Value>, field: &str| {
        spec.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let kind = text(spec, "type");
    if text(spec, "sessionAffinity") == "ClientIP" {
        // Three hours.
        let config = json!({"clientIP": {"timeoutSeconds": 10_800}});
        default(spec, "sessionAffinityConfig", config);
    }
    if kind != "ExternalName" {
        default(spec, "ipFamilies", json!(["IPv4"]));
        default(spec, "ipFamilyPolicy", "SingleStack".into());
        default(spec, "internalTrafficPolicy", "Cluster".into());
    }
    if matches!(&*kind, "NodePort" | "LoadBalancer") {
        default(spec, "externalTrafficPolicy", "Cluster".into());
    }
    if kind == "LoadBalancer" {
        default(spec, "allocateLoadBalancerNodePorts", true.into());
    }
    let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
        default(port, "protocol", "TCP".into());
        let number = port.get("port").cloned().unwrap_or_default();
        port.retain(|field, value| !matches!(&**field, "nodePort" | "targetPort") || *value != 0);
        if !number.is_null() {
            default(port, "targetPort", number);
        }
    }
}
