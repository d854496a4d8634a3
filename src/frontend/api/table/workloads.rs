//! What `kubectl get` shows of workloads, services and leases.

use serde_json::Value;

use super::{AGE, Column, NAME, NONE, or_none};
use crate::frontend::api::kinds::service::node_port;
use crate::frontend::api::kinds::workload::{labels_text, selector_text};
use crate::frontend::api::meta::{self, items, text_at};

pub(super) const DEPLOYMENTS: &[Column] = &[
    NAME,
    Column("Ready", "string", false),
    Column("Up-to-date", "string", false),
    Column("Available", "string", false),
    AGE,
    Column("Containers", "string", true),
    Column("Images", "string", true),
    Column("Selector", "string", true),
];

pub(super) const REPLICA_SETS: &[Column] = &[
    NAME,
    Column("Desired", "integer", false),
    Column("Current", "integer", false),
    Column("Ready", "integer", false),
    AGE,
    Column("Containers", "string", true),
    Column("Images", "string", true),
    Column("Selector", "string", true),
];

pub(super) const SCALES: &[Column] =
    &[NAME, Column("Desired", "integer", false), Column("Available", "integer", false), AGE];

pub(super) const SERVICES: &[Column] = &[
    NAME,
    Column("Type", "string", false),
    Column("Cluster-IP", "string", false),
    Column("External-IP", "string", false),
    Column("Port(s)", "string", false),
    AGE,
    Column("Selector", "string", true),
];

pub(super) const LEASES: &[Column] = &[NAME, Column("Holder", "string", false), AGE];

fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

pub(super) fn deployment(deployment: &Value, age: String) -> Vec<Value> {
    let count = |pointer| number(deployment, pointer);
    let mut cells = vec![
        meta::text(deployment, "name").into(),
        format!("{}/{}", count("/status/readyReplicas"), count("/spec/replicas")).into(),
        count("/status/updatedReplicas").into(),
        count("/status/availableReplicas").into(),
        age.into(),
    ];
    cells.extend(template(deployment));
    cells
}

pub(super) fn replica_set(set: &Value, age: String) -> Vec<Value> {
    let mut cells = vec![
        meta::text(set, "name").into(),
        number(set, "/spec/replicas").into(),
        number(set, "/status/replicas").into(),
        number(set, "/status/readyReplicas").into(),
        age.into(),
    ];
    cells.extend(template(set));
    cells
}

pub(super) fn scale(scale: &Value, age: String) -> Vec<Value> {
    let count = |pointer| Value::from(number(scale, pointer));
    vec![meta::text(scale, "name").into(), count("/spec/replicas"), count("/status/replicas"), age.into()]
}

/// The containers of the pods that are made, their images, and what selects them.
fn template(workload: &Value) -> [Value; 3] {
    let all = |field: &str| {
        let containers = items(workload, "/spec/template/spec/containers");
        containers.map(|container| text_at(container, field)).collect::<Vec<_>>().join(",")
    };
    let selector = workload.pointer("/spec/selector").map(selector_text).unwrap_or_default();
    [all("/name").into(), all("/image").into(), or_none(&selector)]
}

pub(super) fn service(service: &Value, age: String) -> Vec<Value> {
    let ports: Vec<String> = items(service, "/spec/ports")
        .map(|port| {
            let (number, protocol) = (number(port, "/port"), text_at(port, "/protocol"));
            match node_port(port) {
                0 => format!("{number}/{protocol}"),
                node => format!("{number}:{node}/{protocol}"),
            }
        })
        .collect();
    vec![
        meta::text(service, "name").into(),
        text_at(service, "/spec/type").into(),
        or_none(text_at(service, "/spec/clusterIP")),
        external(service).into(),
        or_none(&ports.join(",")),
        age.into(),
        or_none(&labels_text(service.pointer("/spec/selector")).join(",")),
    ]
}

/// Where it is to be reached from outside.
fn external(service: &Value) -> String {
    let kind = text_at(service, "/spec/type");
    if kind == "ExternalName" {
        return text_at(service, "/spec/externalName").to_owned();
    }
    let balancers = items(service, "/status/loadBalancer/ingress").map(|ingress| {
        let address = text_at(ingress, "/ip");
        if address.is_empty() { text_at(ingress, "/hostname") } else { address }
    });
    let balancers = balancers.filter(|_| kind == "LoadBalancer");
    let own = items(service, "/spec/externalIPs").filter_map(Value::as_str);
    let all: Vec<&str> = balancers.chain(own).collect();
    match (kind, &*all) {
        ("LoadBalancer", []) => "<pending>".to_owned(),
        (_, []) => NONE.to_owned(),
        _ => all.join(","),
    }
}

pub(super) fn lease(lease: &Value, age: String) -> Vec<Value> {
    vec![meta::text(lease, "name").into(), text_at(lease, "/spec/holderIdentity").into(), age.into()]
}
