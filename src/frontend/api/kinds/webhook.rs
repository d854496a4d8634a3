//! Configurations of admission webhooks.
//!
//! Sources: `k8s.io/kubernetes/pkg/apis/admissionregistration/v1/defaults.go` and `.../validation/validation.go`. Smaller
//! here: reviews are sent in v1 alone, so that a webhook must take these.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::Faults;
use crate::frontend::admission::webhooks::{MAX_CONDITIONS, compile_condition};
use crate::frontend::api::meta::{items, text_at};
use crate::frontend::selector::{LabelSelector, is_dns_subdomain, is_label_key};

/// Fills in what a webhook leaves out.
pub(super) fn defaults(is_mutating: bool, configuration: &mut Value) {
    let webhooks = configuration.get_mut("webhooks").and_then(Value::as_array_mut);
    for webhook in webhooks.into_iter().flatten().filter_map(Value::as_object_mut) {
        for (field, value) in [
            ("failurePolicy", json!("Fail")),
            ("matchPolicy", json!("Equivalent")),
            ("namespaceSelector", json!({})),
            ("objectSelector", json!({})),
            ("timeoutSeconds", json!(10)),
        ] {
            or_else(webhook, field, value);
        }
        if is_mutating {
            or_else(webhook, "reinvocationPolicy", json!("Never"));
        }
        let rules = webhook.get_mut("rules").and_then(Value::as_array_mut);
        for rule in rules.into_iter().flatten().filter_map(Value::as_object_mut) {
            or_else(rule, "scope", json!("*"));
        }
        let service = webhook.get_mut("clientConfig").and_then(|client| client.get_mut("service"));
        if let Some(service) = service.and_then(Value::as_object_mut) {
            or_else(service, "port", json!(443));
        }
    }
}

fn or_else(fields: &mut Map<String, Value>, field: &str, value: Value) {
    fields.entry(field).or_insert(value);
}

/// Judges a configuration.
pub(super) fn configuration(is_mutating: bool, configuration: &Value, faults: &mut Faults) {
    let mut names = HashSet::new();
    for (nth, webhook) in items(configuration, "/webhooks").enumerate() {
        let path = format!("webhooks[{nth}]");
        let name = text_at(webhook, "/name");
        self::webhook(is_mutating, webhook, &path, faults);
        if !names.insert(name) {
            faults.duplicate(format!("{path}.name"), name);
        }
    }
}

fn webhook(is_mutating: bool, webhook: &Value, path: &str, faults: &mut Faults) {
    let at = |field: &str| format!("{path}.{field}");
    let text = |field: &str| text_at(webhook, &format!("/{field}"));
    match text("name") {
        "" => faults.required(at("name"), ""),
        name if !is_dns_subdomain(name) => {
            let why = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
                and must start and end with an alphanumeric character";
            faults.invalid(at("name"), name, why);
        }
        name if name.split('.').count() < 3 => {
            faults.invalid(
                at("name"),
                name,
                "should be a domain with at least three segments separated by dots",
            );
        }
        _ => {}
    }
    for (nth, rule) in items(webhook, "/rules").enumerate() {
        self::rule(rule, &format!("{path}.rules[{nth}]"), faults);
    }
    faults.unless_one_of(at("failurePolicy"), text("failurePolicy"), &["Fail", "Ignore"]);
    faults.unless_one_of(at("matchPolicy"), text("matchPolicy"), &["Equivalent", "Exact"]);
    match text("sideEffects") {
        "" => faults.required(at("sideEffects"), "must specify one of None, NoneOnDryRun"),
        effects => faults.unless_one_of(at("sideEffects"), effects, &["None", "NoneOnDryRun"]),
    }
    if is_mutating {
        faults.unless_one_of(at("reinvocationPolicy"), text("reinvocationPolicy"), &["IfNeeded", "Never"]);
    }
    if let Some(timeout) = webhook.get("timeoutSeconds").filter(|timeout| !timeout.is_null())
        && !timeout.as_i64().is_some_and(|timeout| (1..=30).contains(&timeout))
    {
        faults.invalid_value(
            at("timeoutSeconds"),
            timeout,
            "the timeout value must be between 1 and 30 seconds",
        );
    }
    for field in ["namespaceSelector", "objectSelector"] {
        let selector = webhook.get(field).filter(|selector| !selector.is_null());
        if let Some(Err(why)) = selector.map(LabelSelector::from_object) {
            faults.invalid(at(field), "", &why);
        }
    }
    client(webhook.get("clientConfig").unwrap_or(&Value::Null), &at("clientConfig"), faults);
    versions(webhook, &at("admissionReviewVersions"), faults);
    conditions(webhook, &at("matchConditions"), faults);
}

fn versions(webhook: &Value, path: &str, faults: &mut Faults) {
    let versions: Vec<&str> = items(webhook, "/admissionReviewVersions").filter_map(Value::as_str).collect();
    if versions.is_empty() {
        return faults.required(path, "must specify one of v1");
    }
    let mut seen = HashSet::new();
    for (nth, version) in versions.iter().enumerate() {
        if !seen.insert(version) {
            faults.invalid(format!("{path}[{nth}]"), version, "duplicate version");
        }
    }
    if !versions.contains(&"v1") {
        faults.invalid(path, &versions.join(","), "must include at least one of v1");
    }
}

fn client(client: &Value, path: &str, faults: &mut Faults) {
    let is_there = |field: &str| client.get(field).is_some_and(|value| !value.is_null());
    if is_there("url") == is_there("service") {
        return faults.required(path, "exactly one of url or service is required");
    }
    if is_there("url") {
        let url = text_at(client, "/url");
        for why in faults_of_url(url) {
            faults.invalid(format!("{path}.url"), url, why);
        }
        return;
    }
    for (field, why) in [("name", "service name is required"), ("namespace", "service namespace is required")]
    {
        if text_at(client, &format!("/service/{field}")).is_empty() {
            faults.required(format!("{path}.service.{field}"), why);
        }
    }
    if let Some(port) = client.pointer("/service/port")
        && !port.as_i64().is_some_and(|port| (1..=65_535).contains(&port))
    {
        let why = "port is not valid: must be between 1 and 65535, inclusive";
        faults.invalid_value(format!("{path}.service.port"), port, why);
    }
    let service_path = text_at(client, "/service/path");
    if !service_path.is_empty() && service_path != "/" {
        let field = format!("{path}.service.path");
        let Some(segments) = service_path.strip_prefix('/') else {
            return faults.invalid(field, service_path, "must start with a '/'");
        };
        let segments: Vec<&str> = segments.strip_suffix('/').unwrap_or(segments).split('/').collect();
        if segments.iter().any(|segment| segment.is_empty()) {
            faults.invalid(field, service_path, "segments may not be empty");
        } else if !segments.iter().all(|segment| is_dns_subdomain(segment)) {
            faults.invalid(field, service_path, "segments must be lowercase RFC 1123 subdomains");
        }
    }
}

/// What is wrong with the URL of a webhook (`k8s.io/apiserver/pkg/util/webhook/validation.go`).
fn faults_of_url(url: &str) -> Vec<&'static str> {
    let mut faults = Vec::new();
    let Some(rest) = url.strip_prefix("https://") else {
        return vec!["'https' is the only allowed URL scheme; desired format: https://host[/path]"];
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.rsplit('@').next().unwrap_or_default().is_empty() {
        faults.push("host must be specified; desired format: https://host[/path]");
    }
    if authority.contains('@') {
        faults.push("user information is not permitted in the URL");
    }
    if rest.contains('#') {
        faults.push("fragments are not permitted in the URL");
    }
    if rest.split('#').next().unwrap_or_default().contains('?') {
        faults.push("query parameters are not permitted in the URL");
    }
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        faults.push("url must be a valid URL: it has characters that no URL may have");
    }
    faults
}

fn rule(rule: &Value, path: &str, faults: &mut Faults) {
    let all = |field: &str| -> Vec<&str> {
        items(rule, &format!("/{field}")).map(|item| item.as_str().unwrap_or_default()).collect()
    };
    const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
    for operation in all("operations") {
        faults.unless_one_of(format!("{path}.operations"), operation, OPERATIONS);
    }
    for (field, others) in
        [("operations", "operations"), ("apiGroups", "API groups"), ("apiVersions", "API versions")]
    {
        let values = all(field);
        let field = format!("{path}.{field}");
        if values.is_empty() {
            faults.required(field, "");
        } else if values.len() > 1 && values.contains(&"*") {
            let why = format!("if '*' is present, must not specify other {others}");
            faults.invalid_value(field, &json!(values), &why);
        }
    }
    for (nth, version) in all("apiVersions").into_iter().enumerate() {
        if version.is_empty() {
            faults.required(format!("{path}.apiVersions[{nth}]"), "");
        }
    }
    faults.unless_one_of(format!("{path}.scope"), text_at(rule, "/scope"), &["*", "Cluster", "Namespaced"]);
    resources(&all("resources"), &format!("{path}.resources"), faults);
}

fn resources(resources: &[&str], path: &str, faults: &mut Faults) {
    if resources.is_empty() {
        return faults.required(path, "");
    }
    let (mut all_of, mut everywhere) = (HashSet::new(), HashSet::new());
    for (nth, text) in resources.iter().enumerate() {
        let field = format!("{path}[{nth}]");
        if text.is_empty() {
            faults.required(field.as_str(), "");
        }
        let Some((resource, subresource)) = text.split_once('/') else { continue };
        if all_of.contains(resource) {
            let why = format!("if '{resource}/*' is present, must not specify {text}");
            faults.invalid(field.as_str(), text, &why);
        }
        if everywhere.contains(subresource) {
            let why = format!("if '*/{subresource}' is present, must not specify {text}");
            faults.invalid(field, text, &why);
        }
        if subresource == "*" {
            all_of.insert(resource);
        }
        if resource == "*" {
            everywhere.insert(subresource);
        }
    }
    if resources.len() > 1 && resources.contains(&"*/*") {
        let why = "if '*/*' is present, must not specify other resources";
        faults.invalid_value(path, &json!(resources), why);
    }
    if resources.contains(&"*") && resources.iter().any(|text| *text != "*" && !text.contains('/')) {
        let why = "if '*' is present, must not specify other resources without subresources";
        faults.invalid_value(path, &json!(resources), why);
    }
}

fn conditions(webhook: &Value, path: &str, faults: &mut Faults) {
    let conditions: Vec<&Value> = items(webhook, "/matchConditions").collect();
    if conditions.len() > MAX_CONDITIONS {
        let why = format!("must have at most {MAX_CONDITIONS} items");
        return faults.invalid_value(path, &json!(conditions.len()), &why);
    }
    let mut names = HashSet::new();
    for (nth, condition) in conditions.into_iter().enumerate() {
        let (name, expression) = (text_at(condition, "/name"), text_at(condition, "/expression"));
        let at = |field: &str| format!("{path}[{nth}].{field}");
        if expression.trim().is_empty() {
            faults.required(at("expression"), "");
        } else if let Err(error) = compile_condition(expression) {
            faults.invalid(at("expression"), expression, &format!("compilation failed: {error}"));
        }
        if name.is_empty() {
            faults.required(at("name"), "");
        } else if !is_label_key(name) {
            faults.invalid(at("name"), name, "must be a qualified name, as `example.com/exclude-leases`");
        } else if !names.insert(name) {
            faults.duplicate(at("name"), name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontend::api::kinds::{default, validate};
    use crate::frontend::resources::find;

    const GROUP: &str = "admissionregistration.k8s.io";

    fn good() -> Value {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": "owner"},
            "webhooks": [{
                "name": "owner.bailiwick.dev",
                "clientConfig": {"service": {"namespace": "a", "name": "b"}},
                "rules": [{
                    "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"],
                }],
                "sideEffects": "None", "admissionReviewVersions": ["v1"],
            }],
        })
    }

    /// What is wrong with a good one of which this is another.
    fn wrong(pointer: &str, value: Value) -> String {
        let mut object = good();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        object.pointer_mut(&format!("/webhooks/0{parent}")).unwrap()[field] = value;
        let kind = find(GROUP, "mutatingwebhookconfigurations").unwrap();
        default(kind, &mut object);
        validate(kind, &object, None).err().map(|error| error.message).unwrap_or_default()
    }

    #[test]
    fn what_a_webhook_leaves_out_is_filled_in_once() {
        let kind = find(GROUP, "mutatingwebhookconfigurations").unwrap();
        let mut object = good();
        default(kind, &mut object);
        let once = object.clone();
        default(kind, &mut object);
        assert_eq!(object, once);
        let hook = &object["webhooks"][0];
        for (pointer, value) in [
            ("/failurePolicy", json!("Fail")),
            ("/matchPolicy", json!("Equivalent")),
            ("/reinvocationPolicy", json!("Never")),
            ("/timeoutSeconds", json!(10)),
            ("/namespaceSelector", json!({})),
            ("/objectSelector", json!({})),
            ("/rules/0/scope", json!("*")),
            ("/clientConfig/service/port", json!(443)),
        ] {
            assert_eq!(hook.pointer(pointer), Some(&value), "{pointer}");
        }
        let validating = find(GROUP, "validatingwebhookconfigurations").unwrap();
        let mut object = good();
        default(validating, &mut object);
        assert_eq!(object["webhooks"][0].get("reinvocationPolicy"), None);
    }

    #[test]
    fn a_configuration_is_judged_as_by_an_api_server() {
        assert_eq!(wrong("/name", json!("owner.bailiwick.dev")), "");
        for (pointer, value, expected) in [
            ("/name", json!(""), "Required"),
            ("/name", json!("owner.dev"), "at least three segments"),
            ("/name", json!("Owner.bailiwick.dev"), "RFC 1123"),
            ("/sideEffects", json!("Some"), "supported values: \"None\", \"NoneOnDryRun\""),
            ("/sideEffects", json!(null), "must specify one of None, NoneOnDryRun"),
            ("/admissionReviewVersions", json!([]), "must specify one of v1"),
            ("/admissionReviewVersions", json!(["v1beta1"]), "must include at least one of v1"),
            ("/timeoutSeconds", json!(0), "between 1 and 30 seconds"),
            ("/timeoutSeconds", json!(31), "between 1 and 30 seconds"),
            ("/failurePolicy", json!("Open"), "failurePolicy"),
            ("/matchPolicy", json!("Like"), "matchPolicy"),
            ("/reinvocationPolicy", json!("Always"), "reinvocationPolicy"),
            ("/clientConfig", json!({}), "exactly one of url or service is required"),
            ("/clientConfig/url", json!("https://a"), "exactly one of url or service is required"),
            ("/clientConfig", json!({"url": "http://a"}), "'https' is the only allowed URL scheme"),
            ("/clientConfig", json!({"url": "https://u:p@a"}), "user information is not permitted"),
            ("/clientConfig", json!({"url": "https://a/?b"}), "query parameters are not permitted"),
            ("/clientConfig", json!({"url": "https://a/#b"}), "fragments are not permitted"),
            ("/clientConfig", json!({"url": "https:///a"}), "host must be specified"),
            ("/clientConfig", json!({"service": {"name": "a"}}), "service namespace is required"),
            (
                "/clientConfig",
                json!({"service": {"name": "a", "namespace": "b", "port": 0}}),
                "between 1 and 65535",
            ),
            (
                "/clientConfig",
                json!({"service": {"name": "a", "namespace": "b", "path": "x"}}),
                "must start with a '/'",
            ),
            ("/rules/0/operations", json!(["*", "CREATE"]), "must not specify other operations"),
            ("/rules/0/operations", json!(["create"]), "operations"),
            ("/rules/0/operations", json!([]), "Required"),
            ("/rules/0/apiGroups", json!(["*", ""]), "must not specify other API groups"),
            ("/rules/0/apiVersions", json!([""]), "Required"),
            ("/rules/0/resources", json!([]), "Required"),
            ("/rules/0/resources", json!(["*", "pods"]), "other resources without subresources"),
            ("/rules/0/resources", json!(["*/*", "pods"]), "if '*/*' is present"),
            ("/rules/0/resources", json!(["pods/*", "pods/status"]), "if 'pods/*' is present"),
            ("/rules/0/resources", json!(["*/scale", "a/scale"]), "if '*/scale' is present"),
            ("/rules/0/scope", json!("Here"), "scope"),
            (
                "/objectSelector",
                json!({"matchExpressions": [{"key": "a", "operator": "Is"}]}),
                "objectSelector",
            ),
            ("/namespaceSelector", json!({"matchLabels": {"a b": "c"}}), "namespaceSelector"),
            ("/matchConditions", json!([{"name": "a", "expression": "1 +"}]), "compilation failed"),
            ("/matchConditions", json!([{"name": "a", "expression": "nobody.is"}]), "compilation failed"),
            ("/matchConditions", json!([{"name": "", "expression": "true"}]), "Required"),
            (
                "/matchConditions",
                json!([{"name": "a", "expression": "true"}, {"name": "a", "expression": "true"}]),
                "Duplicate",
            ),
        ] {
            let message = wrong(pointer, value.clone());
            assert!(message.contains(expected), "{pointer} {value}: {message:?}");
        }
        let many = vec![json!({"name": "a", "expression": "true"}); MAX_CONDITIONS + 1];
        assert!(wrong("/matchConditions", many.into()).contains("at most 64"));
    }

    #[test]
    fn two_webhooks_of_one_configuration_have_different_names() {
        let mut object = good();
        let again = object["webhooks"][0].clone();
        object["webhooks"].as_array_mut().unwrap().push(again);
        let kind = find(GROUP, "mutatingwebhookconfigurations").unwrap();
        let error = validate(kind, &object, None).unwrap_err();
        assert!(error.message.contains("webhooks[1].name: Duplicate value"), "{error}");
    }
}
