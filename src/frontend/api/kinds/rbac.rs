//! Roles and bindings.
//!
//! Source: `k8s.io/kubernetes/pkg/apis/rbac/validation/validation.go`.

use serde_json::Value;

use super::Faults;
use crate::frontend::api::meta::{items, text_at};
use crate::frontend::resources::ResourceType;

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) fn role(kind: &ResourceType, role: &Value, faults: &mut Faults) {
    for (nth, rule) in items(role, "/rules").enumerate() {
        let path = format!("rules[{nth}]");
        let has = |field: &str| items(rule, &format!("/{field}")).next().is_some();
        if !has("verbs") {
            faults.required(format!("{path}.verbs"), "verbs must contain at least one value");
        }
        if has("nonResourceURLs") {
            let field = format!("{path}.nonResourceURLs");
            if kind.namespaced {
                faults.invalid(field.as_str(), "", "namespaced rules cannot apply to non-resource URLs");
            }
            if ["apiGroups", "resources", "resourceNames"].into_iter().any(has) {
                let why = "rules cannot apply to both regular resources and non-resource URLs";
                faults.invalid(field, "", why);
            }
            continue;
        }
        if !has("apiGroups") {
            faults.required(format!("{path}.apiGroups"), "resource rules must supply at least one api group");
        }
        if !has("resources") {
            faults.required(format!("{path}.resources"), "resource rules must supply at least one resource");
        }
    }
}

pub(super) fn binding(kind: &ResourceType, binding: &Value, old: Option<&Value>, faults: &mut Faults) {
    let text = |field: &str| text_at(binding, &format!("/roleRef/{field}"));
    faults.unless_one_of("roleRef.apiGroup", text("apiGroup"), &[GROUP]);
    let kinds: &[&str] = if kind.namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    match text("kind") {
        "" => faults.required("roleRef.kind", ""),
        kind => faults.unless_one_of("roleRef.kind", kind, kinds),
    }
    match text("name") {
        "" => faults.required("roleRef.name", ""),
        name if name.contains(['/', '%']) || matches!(name, "." | "..") => {
            faults.invalid("roleRef.name", name, "may not contain '/' or '%', nor be '.' or '..'");
        }
        _ => {}
    }
    // Who may change a binding's subjects must not be able to change what they get.
    if old.is_some_and(|old| old.get("roleRef") != binding.get("roleRef")) {
        faults.invalid("roleRef", text("name"), "cannot change roleRef");
    }
    for (nth, subject) in items(binding, "/subjects").enumerate() {
        self::subject(subject, &format!("subjects[{nth}]"), faults);
    }
}

fn subject(subject: &Value, path: &str, faults: &mut Faults) {
    let text = |field: &str| text_at(subject, &format!("/{field}"));
    if text("name").is_empty() {
        faults.required(format!("{path}.name"), "");
    }
    let group = text("apiGroup");
    match text("kind") {
        "ServiceAccount" => {
            if text("namespace").is_empty() {
                faults.required(format!("{path}.namespace"), "");
            }
            faults.unless_one_of(format!("{path}.apiGroup"), group, &[""]);
        }
        "User" | "Group" => {
            faults.unless_one_of(format!("{path}.apiGroup"), group, &[GROUP]);
            if !text("namespace").is_empty() {
                faults.invalid(format!("{path}.namespace"), text("namespace"), "must be empty");
            }
        }
        "" => faults.required(format!("{path}.kind"), ""),
        kind => {
            faults.unless_one_of(format!("{path}.kind"), kind, &["ServiceAccount", "User", "Group"]);
        }
    }
}
