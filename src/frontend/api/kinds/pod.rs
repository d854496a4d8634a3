//! Pods.
//!
//! There is no scheduler and no kubelet: a pod is stored as `Pending`, and stays so until somebody writes its status. It is
//! deleted at once, whatever its grace period.

use std::collections::BTreeSet;

use serde_json::Value;

use super::metadata::{LABEL, SUBDOMAIN};
use super::{Faults, set};
use crate::frontend::api::meta::{self, items, text_at};
use crate::frontend::selector::{is_dns_label, is_dns_subdomain};

const LISTS: [&str; 2] = ["initContainers", "containers"];

/// Keeps what a client leaves out who writes the pod as they first wrote it. An API server refuses that instead, since
/// plugins and the scheduler have filled these in.
pub(super) fn keep(pod: &mut Value, old: &Value) {
    for field in ["serviceAccountName", "serviceAccount", "nodeName"] {
        if let Some(value) = old.get("spec").and_then(|spec| spec.get(field)) {
            meta::default_in(pod, "spec", field, value.clone());
        }
    }
}

/// `status.qosClass` (`k8s.io/kubernetes/pkg/apis/core/v1/helper/qos/qos.go`).
pub(super) fn quality_of_service(pod: &Value) -> &'static str {
    let containers = || LISTS.iter().flat_map(|list| items(pod, &format!("/spec/{list}")));
    let amount = |container: &Value, part: &str, what: &str| {
        container.pointer(&format!("/resources/{part}/{what}")).cloned().filter(|amount| amount != "0")
    };
    let is_any = ["requests", "limits"].iter().any(|part| {
        containers()
            .any(|container| ["cpu", "memory"].iter().any(|what| amount(container, part, what).is_some()))
    });
    let is_guaranteed = containers().all(|container| {
        ["cpu", "memory"].iter().all(|what| {
            let limit = amount(container, "limits", what);
            limit.is_some()
                && amount(container, "requests", what).is_none_or(|request| Some(request) == limit)
        })
    });
    match (is_any, is_guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

pub(super) fn validate(pod: &Value, old: Option<&Value>, faults: &mut Faults) {
    let volumes = volumes(pod, faults);
    if items(pod, "/spec/containers").next().is_none() {
        faults.required("spec.containers", "");
    }
    let mut names = BTreeSet::new();
    for list in LISTS {
        for (nth, container) in items(pod, &format!("/spec/{list}")).enumerate() {
            let path = format!("spec.{list}[{nth}]");
            let name = text_at(container, "/name");
            if !name.is_empty() && !names.insert(name) {
                faults.duplicate(format!("{path}.name"), name);
            }
            self::container(container, &path, &volumes, faults);
        }
    }
    let text = |field: &str| text_at(pod, &format!("/spec/{field}"));
    faults.unless_one_of("spec.restartPolicy", text("restartPolicy"), &["Always", "OnFailure", "Never"]);
    let policies = &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    faults.unless_one_of("spec.dnsPolicy", text("dnsPolicy"), policies);
    for field in ["serviceAccountName", "nodeName"] {
        let name = text(field);
        if !name.is_empty() && !is_dns_subdomain(name) {
            faults.invalid(format!("spec.{field}"), name, SUBDOMAIN);
        }
    }
    match old {
        None if items(pod, "/spec/ephemeralContainers").next().is_some() => {
            faults.forbidden("spec.ephemeralContainers", "cannot be set on create");
        }
        Some(old) if fixed(pod) != fixed(old) => faults.forbidden("spec", FIXED),
        _ => {}
    }
}

/// What an API server says of a change to anything else of a pod.
const FIXED: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
    `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
    `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// The spec without what may change. Smaller than in an API server: `tolerations` and `activeDeadlineSeconds` may change in
/// any way, there only be added to and shortened.
fn fixed(pod: &Value) -> Value {
    let mut spec = pod.get("spec").cloned().unwrap_or_default();
    let Some(fields) = spec.as_object_mut() else { return spec };
    fields.remove("activeDeadlineSeconds");
    fields.remove("tolerations");
    for list in LISTS {
        let containers = fields.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            set(container, "image", Value::Null);
        }
    }
    spec
}

fn volumes<'a>(pod: &'a Value, faults: &mut Faults) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    for (nth, volume) in items(pod, "/spec/volumes").enumerate() {
        let (name, path) = (text_at(volume, "/name"), format!("spec.volumes[{nth}].name"));
        match name {
            "" => faults.required(path, ""),
            _ if !is_dns_label(name) => faults.invalid(path, name, LABEL),
            _ if !names.insert(name) => faults.duplicate(path, name),
            _ => {}
        }
    }
    names
}

fn container(container: &Value, path: &str, volumes: &BTreeSet<&str>, faults: &mut Faults) {
    match text_at(container, "/name") {
        "" => faults.required(format!("{path}.name"), ""),
        name if !is_dns_label(name) => faults.invalid(format!("{path}.name"), name, LABEL),
        _ => {}
    }
    let image = text_at(container, "/image");
    match image.trim() {
        "" => faults.required(format!("{path}.image"), ""),
        trimmed if trimmed != image => {
            faults.invalid(format!("{path}.image"), image, "must not have leading or trailing whitespace");
        }
        _ => {}
    }
    let policies = &["Always", "IfNotPresent", "Never"];
    faults.unless_one_of(format!("{path}.imagePullPolicy"), text_at(container, "/imagePullPolicy"), policies);
    ports(container, path, faults);
    for (nth, variable) in items(container, "/env").enumerate() {
        if text_at(variable, "/name").is_empty() {
            faults.required(format!("{path}.env[{nth}].name"), "");
        }
    }
    for (nth, mount) in items(container, "/volumeMounts").enumerate() {
        let (name, path) = (text_at(mount, "/name"), format!("{path}.volumeMounts[{nth}]"));
        match name {
            "" => faults.required(format!("{path}.name"), ""),
            _ if !volumes.contains(name) => faults.invalid(format!("{path}.name"), name, "no such volume"),
            _ => {}
        }
        if text_at(mount, "/mountPath").is_empty() {
            faults.required(format!("{path}.mountPath"), "");
        }
    }
}

fn ports(container: &Value, path: &str, faults: &mut Faults) {
    let mut names = BTreeSet::new();
    for (nth, port) in items(container, "/ports").enumerate() {
        let path = format!("{path}.ports[{nth}]");
        let name = text_at(port, "/name");
        if !name.is_empty() && !names.insert(name) {
            faults.duplicate(format!("{path}.name"), name);
        }
        for (field, least) in [("containerPort", 1), ("hostPort", 0)] {
            match port.get(field).and_then(Value::as_i64) {
                None if field == "containerPort" => faults.required(format!("{path}.{field}"), ""),
                Some(number) if !(least..=65_535).contains(&number) => {
                    faults.invalid(
                        format!("{path}.{field}"),
                        &number.to_string(),
                        "must be between 1 and 65535, inclusive",
                    );
                }
                _ => {}
            }
        }
        faults.unless_one_of(format!("{path}.protocol"), text_at(port, "/protocol"), &["SCTP", "TCP", "UDP"]);
    }
}
