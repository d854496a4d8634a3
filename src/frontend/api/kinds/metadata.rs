//! Names, labels, annotations and the other metadata of all kinds.
//!
//! Source: `k8s.io/apimachinery/pkg/api/validation/objectmeta.go` and `.../util/validation/validation.go`.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::Faults;
use crate::frontend::api::garbage::{FOREGROUND, ORPHAN};
use crate::frontend::api::meta;
use crate::frontend::resources::ResourceType;
use crate::frontend::selector::{is_dns_label, is_dns_subdomain, is_label_key, is_label_value};
use crate::frontend::status::CauseKind;

/// How large all annotations of an object may be together, in bytes.
const MAX_ANNOTATIONS_BYTES: usize = 256 << 10;

/// How long a generated name is at most without its random end, in bytes (`k8s.io/apiserver/pkg/storage/names`).
const MAX_GENERATED_BASE: usize = 58;

/// How long the name of an RBAC object may be, in bytes, so that a path can hold it.
const MAX_NAME_BYTES: usize = 1_024;

/// What is wrong with a name that is no DNS label.
pub(super) const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
    start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

/// What is wrong with a name that is no DNS subdomain.
pub(super) const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
    '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/// What is wrong with the name of a service.
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
    alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for \
    validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";

const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
    alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and \
    must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation \
    is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?'), and have at most 63 characters";

/// A name for an object that wants one generated: its `generateName` and five random letters and digits.
pub(in crate::frontend::api) fn generated_name(base: &str) -> String {
    // Without vowels, so that no words come of it, and without what is mistaken for another.
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let end = base.char_indices().map(|(at, sign)| at.saturating_add(sign.len_utf8()));
    let end = end.take_while(|end| *end <= MAX_GENERATED_BASE).last().unwrap_or_default();
    let mut name = base.get(..end).unwrap_or_default().to_owned();
    let random = Uuid::new_v4();
    let letters = random.as_bytes().iter().take(5).map(|byte| {
        let place = usize::from(*byte).checked_rem(ALPHABET.len()).unwrap_or_default();
        ALPHABET.get(place).copied().map_or('x', char::from)
    });
    name.extend(letters);
    name
}

pub(super) fn validate(kind: &ResourceType, object: &Value, old: Option<&Value>, faults: &mut Faults) {
    let name = meta::text(object, "name");
    if old.is_none() {
        match why_no_name(kind, name) {
            _ if name.is_empty() => faults.required("metadata.name", "name or generateName is required"),
            Some(why) => faults.invalid("metadata.name", name, why),
            None => {}
        }
    }
    labels(meta::get(object, "labels").and_then(Value::as_object), "metadata.labels", faults);
    annotations(object, faults);
    for finalizer in meta::texts(object, "finalizers") {
        if !is_label_key(finalizer) {
            faults.invalid("metadata.finalizers", finalizer, QUALIFIED);
        }
    }
    let finalizers = meta::texts(object, "finalizers");
    if finalizers.contains(&ORPHAN) && finalizers.contains(&FOREGROUND) {
        let message = "finalizers orphan and foregroundDeletion cannot be both set";
        faults.add(CauseKind::Invalid, "metadata.finalizers", message);
    }
    owners(object, faults);
    if let Some(old) = old.filter(|old| meta::is_going(old)) {
        let known: BTreeSet<&str> = meta::texts(old, "finalizers").into_iter().collect();
        if meta::texts(object, "finalizers").iter().any(|finalizer| !known.contains(finalizer)) {
            let message = "no new finalizers can be added if the object is being deleted";
            faults.forbidden("metadata.finalizers", message);
        }
    }
}

/// Judges labels, or whatever else demands them.
pub(super) fn labels(labels: Option<&Map<String, Value>>, path: &str, faults: &mut Faults) {
    for (key, value) in labels.into_iter().flatten() {
        if !is_label_key(key) {
            faults.invalid(path, key, QUALIFIED);
        }
        let value = value.as_str().unwrap_or_default();
        if !is_label_value(value) {
            faults.invalid(path, value, LABEL_VALUE);
        }
    }
}

/// Judges the annotations of an object, or of what objects are made from.
pub(super) fn annotations(object: &Value, faults: &mut Faults) {
    let mut bytes = 0_usize;
    for (key, value) in map(object, "annotations") {
        bytes = bytes.saturating_add(key.len()).saturating_add(value.len());
        if !is_label_key(&key.to_ascii_lowercase()) {
            faults.invalid("metadata.annotations", key, QUALIFIED);
        }
    }
    if bytes > MAX_ANNOTATIONS_BYTES {
        let message = format!("may not be more than {MAX_ANNOTATIONS_BYTES} bytes");
        faults.invalid("metadata.annotations", "", &message);
    }
}

fn owners(object: &Value, faults: &mut Faults) {
    const PATH: &str = "metadata.ownerReferences";
    let mut controller: Option<String> = None;
    for owner in meta::items(object, "/metadata/ownerReferences") {
        let text = |field: &str| owner.get(field).and_then(Value::as_str).unwrap_or_default();
        for (field, what) in [("apiVersion", "version"), ("kind", "kind"), ("name", "name"), ("uid", "uid")] {
            if text(field).is_empty() {
                faults.invalid(format!("{PATH}.{field}"), "", &format!("{what} must not be empty"));
            }
        }
        if (text("apiVersion"), text("kind")) == ("v1", "Event") {
            let message = "/v1, Kind=Event is disallowed from being an owner";
            faults.add(CauseKind::Invalid, PATH, message);
        }
        if owner.get("controller") != Some(&Value::Bool(true)) {
            continue;
        }
        let name = format!("{}/{}", text("kind"), text("name"));
        match &controller {
            None => controller = Some(name),
            Some(first) => faults.add(
                CauseKind::Invalid,
                PATH,
                format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for \
                     {first} and {name}"
                ),
            ),
        }
    }
}

fn map<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = (&'a String, &'a str)> {
    let map = meta::get(object, field).and_then(Value::as_object);
    map.into_iter().flatten().filter_map(|(key, value)| Some((key, value.as_str()?)))
}

/// A DNS label that begins with a letter (RFC 1035).
fn is_dns_1035_label(name: &str) -> bool {
    is_dns_label(name) && name.starts_with(|first: char| first.is_ascii_lowercase())
}

/// Why a name is none for an object of this kind.
fn why_no_name(kind: &ResourceType, name: &str) -> Option<&'static str> {
    match kind.kind {
        // RBAC objects are called whatever can be a segment of a path.
        "Role" | "RoleBinding" | "ClusterRole" | "ClusterRoleBinding" => match name {
            "." | ".." => Some("may not be '.' or '..'"),
            _ if name.contains(['/', '%']) => Some("may not contain '/' or '%'"),
            // An API server takes these too; no path here could name them.
            _ if name.chars().any(char::is_control) => Some("may not contain control characters"),
            _ if name.len() > MAX_NAME_BYTES => Some("may not be longer than 1024 bytes"),
            _ => None,
        },
        "Namespace" => (!is_dns_label(name)).then_some(LABEL),
        "Service" => (!is_dns_1035_label(name)).then_some(LABEL_1035),
        _ => (!is_dns_subdomain(name)).then_some(SUBDOMAIN),
    }
}
