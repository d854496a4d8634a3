//! What makes pods of a template: deployments and replica sets.
//!
//! Source: `k8s.io/kubernetes/pkg/apis/apps/validation/validation.go` and `.../pkg/registry/apps/*/strategy.go`. There are no
//! controllers: no pods are made, and the status is what somebody writes.

use serde_json::{Map, Value, json};

use super::{Faults, metadata, pod};
use crate::frontend::api::meta::{self, items, text_at};
use crate::frontend::selector::{LabelSelector, is_label_key, is_label_value};
use crate::frontend::status::CauseKind;

const NOT_NEGATIVE: &str = "must be greater than or equal to 0";

pub(super) fn deployment(deployment: &Value, old: Option<&Value>, faults: &mut Faults) {
    spec(deployment, old, "deployment", faults);
    strategy(deployment, faults);
    not_negative(deployment, "revisionHistoryLimit", faults);
    let deadline = number(deployment, "progressDeadlineSeconds");
    if deadline <= number(deployment, "minReadySeconds") {
        let why = "must be greater than minReadySeconds";
        faults.invalid_value("spec.progressDeadlineSeconds", &deadline.into(), why);
    }
}

pub(super) fn replica_set(set: &Value, old: Option<&Value>, faults: &mut Faults) {
    spec(set, old, "deployment", faults);
}

/// The `Scale` of either.
pub(super) fn scale(scale: &Value, faults: &mut Faults) {
    not_negative(scale, "replicas", faults);
}

fn number(object: &Value, field: &str) -> i64 {
    object.get("spec").and_then(|spec| spec.get(field)).and_then(Value::as_i64).unwrap_or_default()
}

fn not_negative(object: &Value, field: &str, faults: &mut Faults) {
    let number = number(object, field);
    if number < 0 {
        faults.invalid_value(format!("spec.{field}"), &number.into(), NOT_NEGATIVE);
    }
}

/// What both have: a number, a selector, and a template that it selects.
fn spec(object: &Value, old: Option<&Value>, what: &str, faults: &mut Faults) {
    not_negative(object, "replicas", faults);
    not_negative(object, "minReadySeconds", faults);
    let selector = object.pointer("/spec/selector");
    let read = selector.and_then(|selector| self::selector(selector, what, faults));
    let template = object.pointer("/spec/template").cloned().unwrap_or_else(|| json!({}));
    match selector {
        None => faults.required("spec.selector", ""),
        Some(_) if read.is_some_and(|read| !read.matches_object(&template)) => {
            let labels = template.pointer("/metadata/labels").cloned().unwrap_or_else(|| json!({}));
            let why = "`selector` does not match template `labels`";
            faults.invalid_value("spec.template.metadata.labels", &labels, why);
        }
        Some(_) => {}
    }
    let before = old.and_then(|old| old.pointer("/spec/selector"));
    if let (Some(before), Some(selector)) = (before, selector)
        && before != selector
    {
        faults.invalid_value("spec.selector", selector, "field is immutable");
    }
    faults.within("spec.template", |faults| self::template(&template, faults));
}

fn template(template: &Value, faults: &mut Faults) {
    metadata::labels(labels_of(template), "metadata.labels", faults);
    metadata::annotations(template, faults);
    pod::validate(template, None, faults);
    let policy = text_at(template, "/spec/restartPolicy");
    if matches!(policy, "OnFailure" | "Never") {
        let why = format!("{policy:?}: supported values: \"Always\"");
        faults.add(CauseKind::NotSupported, "spec.restartPolicy", why);
    }
    if template.pointer("/spec/activeDeadlineSeconds").is_some() {
        let why = "activeDeadlineSeconds in ReplicaSet is not Supported";
        faults.forbidden("spec.activeDeadlineSeconds", why);
    }
}

fn labels_of(object: &Value) -> Option<&Map<String, Value>> {
    meta::get(object, "labels").and_then(Value::as_object)
}

fn strategy(deployment: &Value, faults: &mut Faults) {
    let kind = text_at(deployment, "/spec/strategy/type");
    faults.unless_one_of("spec.strategy.type", kind, &["Recreate", "RollingUpdate"]);
    let rolling = deployment.pointer("/spec/strategy/rollingUpdate");
    let Some(rolling) = rolling else { return };
    if kind == "Recreate" {
        let why = "may not be specified when strategy `type` is 'Recreate'";
        faults.forbidden("spec.strategy.rollingUpdate", why);
        return;
    }
    let mut is_zero = true;
    for field in ["maxUnavailable", "maxSurge"] {
        let Some(value) = rolling.get(field) else { continue };
        is_zero &= *value == 0 || *value == "0%";
        if !is_count_or_share(value) {
            let why = "must be a number that is not negative, or a valid percent string \
                (e.g. '1' or '93%', regex used for validation is '[0-9]+%')";
            faults.invalid_value(format!("spec.strategy.rollingUpdate.{field}"), value, why);
        }
    }
    if is_zero {
        let field = "spec.strategy.rollingUpdate.maxUnavailable";
        let value = rolling.get("maxUnavailable").cloned().unwrap_or_default();
        faults.invalid_value(field, &value, "may not be 0 when `maxSurge` is 0");
    }
}

fn is_count_or_share(value: &Value) -> bool {
    match value {
        Value::String(text) => text
            .strip_suffix('%')
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())),
        other => other.as_i64().is_some_and(|number| number >= 0),
    }
}

/// Reads a selector (`metav1.LabelSelector`), or tells what is wrong with it.
fn selector(selector: &Value, what: &str, faults: &mut Faults) -> Option<LabelSelector> {
    let before = faults.0.len();
    let labels = selector.get("matchLabels").and_then(Value::as_object);
    metadata::labels(labels, "spec.selector.matchLabels", faults);
    for (nth, demand) in items(selector, "/matchExpressions").enumerate() {
        let path = format!("spec.selector.matchExpressions[{nth}]");
        let key = text_at(demand, "/key");
        if !is_label_key(key) {
            faults.invalid(format!("{path}.key"), key, "must be a key of a label");
        }
        let operator = text_at(demand, "/operator");
        let is_empty = items(demand, "/values").next().is_none();
        match (operator, is_empty) {
            ("In" | "NotIn", true) => {
                let why = "must be specified when `operator` is 'In' or 'NotIn'";
                faults.required(format!("{path}.values"), why);
            }
            ("Exists" | "DoesNotExist", false) => {
                let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                faults.forbidden(format!("{path}.values"), why);
            }
            ("In" | "NotIn", false) | ("Exists" | "DoesNotExist", true) => {}
            _ => faults.invalid(format!("{path}.operator"), operator, "not a valid selector operator"),
        }
        for value in items(demand, "/values").filter_map(Value::as_str).filter(|value| !is_label_value(value))
        {
            faults.invalid(format!("{path}.values"), value, "must be a value of a label");
        }
    }
    let text = selector_text(selector);
    if text.is_empty() {
        let why = format!("empty selector is invalid for {what}");
        faults.invalid_value("spec.selector", selector, &why);
    }
    if faults.0.len() > before {
        return None;
    }
    match LabelSelector::parse(&text) {
        Ok(read) => Some(read),
        Err(error) => {
            faults.invalid_value("spec.selector", selector, &error.message);
            None
        }
    }
}

/// A selector as one writes it on a command line (`metav1.FormatLabelSelector`); empty where it selects everything.
pub(in crate::frontend::api) fn selector_text(selector: &Value) -> String {
    let mut demands: Vec<String> = labels_text(selector.get("matchLabels"));
    for demand in items(selector, "/matchExpressions") {
        let key = text_at(demand, "/key");
        let mut values: Vec<&str> = items(demand, "/values").filter_map(Value::as_str).collect();
        values.sort_unstable();
        demands.push(match text_at(demand, "/operator") {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    demands.join(",")
}

/// Labels as `key=value`, in the order of their keys.
pub(in crate::frontend::api) fn labels_text(labels: Option<&Value>) -> Vec<String> {
    let labels = labels.and_then(Value::as_object).into_iter().flatten();
    let mut texts: Vec<String> =
        labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    texts.sort_unstable();
    texts
}
