//! ConfigMaps and Secrets: keys and values.

use serde_json::Value;

use super::Faults;
use crate::frontend::api::meta;
use crate::frontend::api::schema::conform::decode_base64;

/// How large all values of one object may be together, in bytes.
const MAX_DATA_BYTES: usize = 1 << 20;

const KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
    'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

/// Annotation of a secret that holds a service account's token: whose.
const ACCOUNT: &str = "kubernetes.io/service-account.name";

pub(super) fn config_map(map: &Value, old: Option<&Value>, faults: &mut Faults) {
    let mut bytes = 0_usize;
    for (field, is_binary) in [("data", false), ("binaryData", true)] {
        for (key, value) in entries(map, field) {
            check_key(field, key, faults);
            bytes = bytes.saturating_add(size(value, is_binary));
        }
    }
    for (key, _) in entries(map, "data") {
        if map.get("binaryData").is_some_and(|binary| binary.get(key).is_some()) {
            faults.invalid(format!("data[{key}]"), key, "duplicate of key present in binaryData");
        }
    }
    check_size(bytes, faults);
    immutable(map, old, &["data", "binaryData"], faults);
}

pub(super) fn secret(secret: &Value, old: Option<&Value>, faults: &mut Faults) {
    let mut bytes = 0_usize;
    for (key, value) in entries(secret, "data") {
        check_key("data", key, faults);
        bytes = bytes.saturating_add(size(value, true));
    }
    check_size(bytes, faults);
    immutable(secret, old, &["data"], faults);
    let kind = meta::text_at(secret, "/type");
    if old.is_some_and(|old| meta::text_at(old, "/type") != kind) {
        faults.invalid("type", kind, "field is immutable");
    }
    let needs: &[&str] = match kind {
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/service-account-token" => {
            let account = meta::get(secret, "annotations").and_then(|annotations| annotations.get(ACCOUNT));
            if account.and_then(Value::as_str).unwrap_or_default().is_empty() {
                faults.required(format!("metadata.annotations[{ACCOUNT}]"), "");
            }
            &[]
        }
        _ => &[],
    };
    for key in needs.iter().filter(|key| !entries(secret, "data").any(|(held, _)| held == **key)) {
        faults.required(format!("data[{key}]"), "");
    }
}

fn entries<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = (&'a String, &'a str)> {
    let entries = object.get(field).and_then(Value::as_object);
    entries.into_iter().flatten().filter_map(|(key, value)| Some((key, value.as_str()?)))
}

fn check_key(field: &str, key: &str, faults: &mut Faults) {
    let is_key = !key.is_empty()
        && key.len() <= 253
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        && key != "."
        && !key.starts_with("..");
    if !is_key {
        faults.invalid(format!("{field}[{key}]"), key, KEY);
    }
}

fn size(value: &str, is_binary: bool) -> usize {
    if is_binary { decode_base64(value).map_or(0, |bytes| bytes.len()) } else { value.len() }
}

fn check_size(bytes: usize, faults: &mut Faults) {
    if bytes > MAX_DATA_BYTES {
        faults.invalid("data", "", &format!("may not be more than {MAX_DATA_BYTES} bytes"));
    }
}

/// What is marked as immutable stays, and stays marked.
fn immutable(object: &Value, old: Option<&Value>, fields: &[&str], faults: &mut Faults) {
    let is_marked = |object: &Value| object.get("immutable") == Some(&Value::Bool(true));
    let Some(old) = old.filter(|old| is_marked(old)) else { return };
    const WHY: &str = "field is immutable when `immutable` is set";
    if !is_marked(object) {
        faults.forbidden("immutable", WHY);
    }
    for field in fields.iter().filter(|field| object.get(**field) != old.get(**field)) {
        faults.forbidden(*field, WHY);
    }
}
