//! Brings what a client sent into the shape of its kind: what has the wrong type is refused, what is not known is left
//! out and told, and `null` is the same as nothing. What comes out can be read without further checks of its types.
//!
//! Semantics: the strict and the lenient decoder of `k8s.io/apimachinery/pkg/runtime/serializer/json/json.go`.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{Field, Message, Shape, Type};
use crate::frontend::path::Path;

/// How many unknown fields are told of one object.
pub const MAX_TOLD: usize = 100;

/// A value of the wrong type, with its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: expected {expected}")]
pub struct WrongType {
    /// Where it stands, as `spec.containers[0].name`.
    pub path: String,
    /// What would stand there.
    pub expected: &'static str,
}

/// Brings an object into the shape of its message, and says which fields it has that are not known, by their paths.
///
/// # Errors
/// Where something has the wrong type.
pub fn conform(message: &'static Message, object: &mut Value) -> Result<Vec<String>, WrongType> {
    let mut unknown = Vec::new();
    object_of(message, object, &Path::Root, &mut unknown)?;
    Ok(unknown)
}

fn object_of(
    message: &'static Message,
    object: &mut Value,
    path: &Path<'_>,
    unknown: &mut Vec<String>,
) -> Result<(), WrongType> {
    if message.is_wrapper {
        let Some(field) = message.fields.first() else { return Ok(()) };
        return field_of(field, object, path, unknown);
    }
    let fields = object.as_object_mut().ok_or_else(|| wrong(path, "an object"))?;
    let is_root = matches!(path, Path::Root);
    let mut kept = Map::new();
    for (name, mut value) in std::mem::take(fields) {
        if is_root && matches!(&*name, "apiVersion" | "kind") {
            kept.insert(name, value);
            continue;
        }
        let place = Path::Field(path, &name);
        let Some(field) = message.field(&name) else {
            if unknown.len() < MAX_TOLD {
                unknown.push(place.shown());
            }
            continue;
        };
        if !value.is_null() {
            field_of(field, &mut value, &place, unknown)?;
            kept.insert(name, value);
        }
    }
    *fields = kept;
    Ok(())
}

fn field_of(
    field: &'static Field,
    value: &mut Value,
    path: &Path<'_>,
    unknown: &mut Vec<String>,
) -> Result<(), WrongType> {
    match field.shape {
        Shape::One => one(field, value, path, unknown),
        Shape::List => {
            let items = value.as_array_mut().ok_or_else(|| wrong(path, "a list"))?;
            for (nth, item) in items.iter_mut().enumerate() {
                one(field, item, &Path::Item(path, nth), unknown)?;
            }
            Ok(())
        }
        Shape::Map => {
            let entries = value.as_object_mut().ok_or_else(|| wrong(path, "an object"))?;
            for (key, value) in entries.iter_mut() {
                let path = Path::Field(path, key);
                // A null in a map of texts is an empty text.
                if value.is_null() && matches!(field.kind, Type::Text | Type::Bytes) {
                    *value = "".into();
                }
                one(field, value, &path, unknown)?;
            }
            Ok(())
        }
    }
}

fn one(
    field: &'static Field,
    value: &mut Value,
    path: &Path<'_>,
    unknown: &mut Vec<String>,
) -> Result<(), WrongType> {
    let (is_right, expected) = match field.kind {
        Type::Message(_) => {
            return match field.message() {
                Some(message) => object_of(message, value, path, unknown),
                None => Ok(()),
            };
        }
        Type::Text => (value.is_string(), "a string"),
        Type::Integer => (value.is_i64(), "an integer"),
        Type::Number => (value.is_number(), "a number"),
        Type::Boolean => (value.is_boolean(), "a boolean"),
        Type::Bytes => (value.as_str().is_some_and(is_base64), "bytes in base64"),
        Type::Time | Type::MicroTime => (value.as_str().is_some_and(is_time), "a time as RFC 3339 has it"),
        Type::Quantity => {
            if let Value::Number(number) = value {
                *value = number.to_string().into();
            }
            (value.as_str().is_some_and(is_quantity), "a quantity such as 500m or 1Gi")
        }
        Type::IntegerOrText => (value.is_i64() || value.is_string(), "an integer or a string"),
        Type::Duration => (value.is_string(), "a duration"),
        Type::Object => (value.is_object(), "an object"),
    };
    if is_right { Ok(()) } else { Err(wrong(path, expected)) }
}

fn wrong(path: &Path<'_>, expected: &'static str) -> WrongType {
    let path = match path {
        Path::Root => "the body".to_owned(),
        place => place.shown(),
    };
    WrongType { path, expected }
}

/// Bytes as Go writes and reads them in JSON: base64 with padding; line breaks in it are skipped.
fn is_base64(text: &str) -> bool {
    decode_base64(text).is_some()
}

/// What a base64 text of an object stands for.
#[must_use]
pub fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let plain: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    data_encoding::BASE64.decode(&plain).ok()
}

fn is_time(text: &str) -> bool {
    text.parse::<Timestamp>().is_ok()
}

/// `k8s.io/apimachinery/pkg/api/resource/quantity.go`: a decimal number and a suffix.
fn is_quantity(text: &str) -> bool {
    let number = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = number.find(|sign: char| !sign.is_ascii_digit() && sign != '.').unwrap_or(number.len());
    let Some((digits, suffix)) = number.split_at_checked(end) else { return false };
    let is_number = digits.bytes().any(|byte| byte.is_ascii_digit()) && digits.matches('.').count() <= 1;
    let is_exponent = suffix.strip_prefix(['e', 'E']).is_some_and(|exponent| exponent.parse::<i32>().is_ok());
    const SUFFIXES: &[&str] =
        &["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    is_number && (is_exponent || SUFFIXES.contains(&suffix))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::message;
    use super::*;

    fn pod(value: Value) -> (Value, Result<Vec<String>, WrongType>) {
        let mut value = value;
        let told = conform(message("Pod").unwrap(), &mut value);
        (value, told)
    }

    #[test]
    fn what_is_not_known_is_left_out_and_told_with_its_place() {
        let (pod, told) = pod(json!({
            "apiVersion": "v1", "kind": "Pod", "spce": {},
            "metadata": {"name": "a", "creationTimestamp": null, "labels": {"anything": "goes"}},
            "spec": {"containers": [{"name": "c", "bogus": 1, "resources": {"limits": {"cpu": 1}}}]},
        }));
        assert_eq!(told.unwrap(), ["spce", "spec.containers[0].bogus"]);
        assert_eq!(
            pod,
            json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": {"anything": "goes"}},
                "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "1"}}}]},
            })
        );
    }

    #[test]
    fn what_has_the_wrong_type_is_refused_with_its_place() {
        for (value, path) in [
            (json!([]), "the body"),
            (json!({"metadata": 1}), "metadata"),
            (json!({"metadata": {"labels": {"a": 1}}}), "metadata.labels.a"),
            (json!({"spec": {"containers": {}}}), "spec.containers"),
            (
                json!({"spec": {"containers": [{"ports": [{"containerPort": "80"}]}]}}),
                "spec.containers[0].ports[0].containerPort",
            ),
            (json!({"spec": {"hostNetwork": "true"}}), "spec.hostNetwork"),
            (json!({"metadata": {"deletionTimestamp": "soon"}}), "metadata.deletionTimestamp"),
            (json!({"spec": {"containers": [null]}}), "spec.containers[0]"),
            (
                json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "much"}}}]}}),
                "spec.containers[0].resources.limits.cpu",
            ),
        ] {
            assert_eq!(pod(value).1.unwrap_err().path, path);
        }
    }

    #[test]
    fn bytes_are_base64_and_texts_of_a_map_may_be_null() {
        let secret = message("Secret").unwrap();
        let mut good = json!({"data": {"a": "YQ==", "b": null}});
        assert_eq!(conform(secret, &mut good), Ok(vec![]));
        assert_eq!(good["data"]["b"], "");
        assert!(conform(secret, &mut json!({"data": {"a": "not base64"}})).is_err());
    }

    #[test]
    fn quantities_are_told_from_other_text() {
        for good in ["1", "0.5", "500m", "1Gi", "-1", "1e3", "1E6", ".5", "5."] {
            assert!(is_quantity(good), "{good}");
        }
        for bad in ["", "Gi", "1 Gi", "1gi", "1.2.3", "e3", "1e", "m5"] {
            assert!(!is_quantity(bad), "{bad}");
        }
    }
}
