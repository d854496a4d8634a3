//! `metadata` of an object: read and written by field (`metav1.ObjectMeta`).

use serde_json::{Map, Value};

/// A text; empty where there is none.
pub(in crate::frontend) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    get(object, field).and_then(Value::as_str).unwrap_or_default()
}

/// A field.
pub(in crate::frontend) fn get<'a>(object: &'a Value, field: &str) -> Option<&'a Value> {
    object.get("metadata")?.get(field)
}

/// Sets a field.
pub(in crate::frontend) fn set(object: &mut Value, field: &str, value: impl Into<Value>) {
    set_in(object, "metadata", field, value);
}

/// Sets a field to what it is in another object, and removes it where it is not there.
pub(in crate::frontend) fn copy(object: &mut Value, field: &str, from: &Value) {
    match get(from, field) {
        Some(value) => set(object, field, value.clone()),
        None => remove(object, field),
    }
}

/// Sets a field of an object within the object.
pub(in crate::frontend) fn set_in(object: &mut Value, part: &str, field: &str, value: impl Into<Value>) {
    if let Some(part) = part_of(object, part) {
        part.insert(field.to_owned(), value.into());
    }
}

/// Sets a field of an object within the object, where it is not set.
pub(in crate::frontend) fn default_in(object: &mut Value, part: &str, field: &str, value: impl Into<Value>) {
    if let Some(part) = part_of(object, part) {
        part.entry(field).or_insert_with(|| value.into());
    }
}

/// An object within the object, made where it is not there.
pub(in crate::frontend) fn part_of<'a>(
    object: &'a mut Value,
    part: &str,
) -> Option<&'a mut Map<String, Value>> {
    object.as_object_mut()?.entry(part).or_insert_with(|| Value::Object(Map::new())).as_object_mut()
}

/// Removes a field.
pub(in crate::frontend) fn remove(object: &mut Value, field: &str) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove(field);
    }
}

/// The texts of a list.
pub(in crate::frontend) fn texts<'a>(object: &'a Value, field: &str) -> Vec<&'a str> {
    get(object, field).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Whether it is about to go.
pub(in crate::frontend) fn is_going(object: &Value) -> bool {
    !text(object, "deletionTimestamp").is_empty()
}

/// The items of a list at a JSON pointer; none where there is no such list.
pub(in crate::frontend) fn items<'a>(
    object: &'a Value,
    pointer: &str,
) -> impl Iterator<Item = &'a Value> + use<'a> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// A text at a JSON pointer; empty where there is none.
pub(in crate::frontend) fn text_at<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
