//! Strategic merge patches: JSON merge patches that know which lists are merged, and by what.
//!
//! Source: `k8s.io/apimachinery/pkg/util/strategicpatch/patch.go`. Unlike there, directives within items that are new are
//! followed too, instead of left in the object.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::schema::{Field, Merge, Message, Shape, Type};
use crate::frontend::status::ApiError;

const DIRECTIVE: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";

/// Merges a patch into an object of a kind. What the tables do not know is merged as RFC 7396 has it.
pub(super) fn merge(
    message: Option<&'static Message>,
    object: &mut Value,
    patch: &Value,
) -> Result<(), ApiError> {
    let patch = patch.as_object().ok_or_else(|| wrong("an object is merged with what is none"))?;
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    match object.as_object_mut() {
        Some(fields) => merge_fields(message, fields, patch),
        None => Ok(()),
    }
}

fn merge_fields(
    message: Option<&'static Message>,
    object: &mut Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<(), ApiError> {
    match patch.get(DIRECTIVE).map(|directive| directive.as_str().unwrap_or_default()) {
        None | Some("merge") => {}
        Some("replace") => object.clear(),
        Some("delete") => {
            object.clear();
            return Ok(());
        }
        Some(other) => return Err(wrong(&format!("unknown directive {other:?}"))),
    }
    if let Some(kept) = patch.get(RETAIN).and_then(Value::as_array) {
        let kept: HashSet<&str> = kept.iter().filter_map(Value::as_str).collect();
        object.retain(|key, _| kept.contains(key.as_str()));
    }
    for (key, value) in patch {
        if let Some(list) = key.strip_prefix(DELETE_FROM) {
            delete_from(object, list, value);
        }
    }
    let order = |key: &str| patch.get(&format!("{ORDER}{key}")).and_then(Value::as_array).map(Vec::as_slice);
    for (key, value) in patch.iter().filter(|(key, _)| !is_directive(key)) {
        if value.is_null() {
            object.remove(key);
            continue;
        }
        let field = message.and_then(|message| message.field(key));
        let held = object.entry(key.clone()).or_insert(Value::Null);
        merge_field(field, held, value, order(key))?;
    }
    // Lists that are only put into another order.
    for key in patch.keys().filter_map(|key| key.strip_prefix(ORDER)).filter(|key| !patch.contains_key(*key))
    {
        let field = message.and_then(|message| message.field(key));
        if let (Some(field), Some(held)) = (field, object.get_mut(key).filter(|held| held.is_array())) {
            merge_field(Some(field), held, &Value::Array(Vec::new()), order(key))?;
        }
    }
    Ok(())
}

fn is_directive(key: &str) -> bool {
    matches!(key, DIRECTIVE | RETAIN) || key.starts_with(ORDER) || key.starts_with(DELETE_FROM)
}

fn merge_field(
    field: Option<&'static Field>,
    held: &mut Value,
    patch: &Value,
    order: Option<&[Value]>,
) -> Result<(), ApiError> {
    match (patch, field) {
        (Value::Array(items), Some(field)) if field.shape == Shape::List && field.merge != Merge::Replace => {
            if !held.is_array() {
                *held = Value::Array(Vec::new());
            }
            if let Some(held) = held.as_array_mut() {
                merge_list(field, held, items, order)?;
            }
        }
        (Value::Object(_), Some(field)) if field.kind == Type::Object => json_patch::merge(held, patch),
        (Value::Object(_), _) => {
            let message = field.filter(|field| field.shape == Shape::One).and_then(Field::message);
            merge(message, held, patch)?;
        }
        _ => *held = patch.clone(),
    }
    Ok(())
}

/// Merges a list into another one. Whatever the patch names, in `order` or by having it, comes in that order; the rest
/// stays where it was among them, as far as that can be said.
fn merge_list(
    field: &'static Field,
    held: &mut Vec<Value>,
    items: &[Value],
    order: Option<&[Value]>,
) -> Result<(), ApiError> {
    let identity = |item: &Value| identity(field, item);
    let before = places(held, identity);
    match field.merge {
        Merge::By(key) => merge_items(field, key, held, items)?,
        _ => {
            let mut known: HashSet<String> = held.iter().map(identity).collect();
            held.extend(items.iter().filter(|item| known.insert(identity(item))).cloned());
        }
    }
    let wanted = places(order.unwrap_or(items), identity);
    let place = |among: &HashMap<String, usize>, item: &Value| among.get(&identity(item)).copied();
    let (mut named, others): (Vec<Value>, Vec<Value>) =
        std::mem::take(held).into_iter().partition(|item| wanted.contains_key(&identity(item)));
    named.sort_by_cached_key(|item| place(&wanted, item));
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    while let (Some(next), Some(other)) = (named.peek(), others.peek()) {
        let stays_before = match (place(&before, other), place(&before, next)) {
            (Some(other), Some(next)) => other < next,
            _ => false,
        };
        held.extend(if stays_before { others.next() } else { named.next() });
    }
    held.extend(named.chain(others));
    Ok(())
}

/// What tells an item from the others of its list, as text.
fn identity(field: &Field, item: &Value) -> String {
    match field.merge {
        Merge::By(key) => item.get(key).map(Value::to_string).unwrap_or_default(),
        _ => item.to_string(),
    }
}

/// Where items stand; of several that are the same, the first.
fn places(items: &[Value], identity: impl Fn(&Value) -> String) -> HashMap<String, usize> {
    let mut places = HashMap::with_capacity(items.len());
    for (nth, item) in items.iter().enumerate() {
        places.entry(identity(item)).or_insert(nth);
    }
    places
}

fn delete_from(object: &mut Map<String, Value>, name: &str, doomed: &Value) {
    let doomed: HashSet<String> = doomed.as_array().into_iter().flatten().map(Value::to_string).collect();
    if let Some(held) = object.get_mut(name).and_then(Value::as_array_mut) {
        held.retain(|item| !doomed.contains(&item.to_string()));
    }
}

/// Removes the items that the patch says are to go, merges those that have the same value of the key, and adds the others.
fn merge_items(
    field: &'static Field,
    key: &str,
    held: &mut Vec<Value>,
    items: &[Value],
) -> Result<(), ApiError> {
    let directive = |item: &Value| match item.get(DIRECTIVE).and_then(Value::as_str) {
        // One item that is nothing but the directive speaks of the whole list.
        Some("replace") if item.get(key).is_none() => Directive::ReplaceAll,
        Some("delete") => Directive::Delete,
        _ => Directive::Merge,
    };
    let of = |wanted: Directive| items.iter().filter(move |item| directive(item) == wanted);
    if of(Directive::ReplaceAll).next().is_some() {
        held.clear();
    }
    let doomed: HashSet<String> = of(Directive::Delete).map(|item| identity(field, item)).collect();
    held.retain(|item| !doomed.contains(&identity(field, item)));
    let mut places = places(held, |item| identity(field, item));
    for item in of(Directive::Merge) {
        if item.get(key).is_none_or(Value::is_null) {
            return Err(wrong(&format!("an item of a list has no {key}, which it is merged by")));
        }
        let place = *places.entry(identity(field, item)).or_insert(held.len());
        if place == held.len() {
            held.push(Value::Null);
        }
        if let Some(held) = held.get_mut(place) {
            merge(field.message(), held, item)?;
        }
    }
    Ok(())
}

/// What is to become of the items of a list that an item of a patch stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Directive {
    Merge,
    Delete,
    ReplaceAll,
}

fn wrong(why: &str) -> ApiError {
    ApiError::bad_request(format!("the strategic merge patch is invalid: {why}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::frontend::api::schema::message;

    fn merged(object: Value, patch: Value) -> Value {
        let mut object = object;
        merge(message("Pod"), &mut object, &patch).unwrap();
        object
    }

    fn pod() -> Value {
        json!({
            "metadata": {"labels": {"a": "b", "c": "d"}, "finalizers": ["x/y"]},
            "spec": {
                "containers": [{"name": "one", "image": "a", "env": [{"name": "E", "value": "1"}], "command": ["a", "b"]}, {"name": "two", "image": "b"}],
                "tolerations": [{"key": "t"}],
            },
        })
    }

    #[test]
    fn maps_are_merged_and_null_removes() {
        let patched =
            merged(pod(), json!({"metadata": {"labels": {"a": null, "e": "f"}, "annotations": {"n": "1"}}}));
        assert_eq!(patched["metadata"]["labels"], json!({"c": "d", "e": "f"}));
        assert_eq!(patched["metadata"]["annotations"], json!({"n": "1"}));
        assert_eq!(patched["spec"], pod()["spec"]);
    }

    #[test]
    fn items_are_merged_by_their_key_and_other_lists_replaced() {
        let patched = merged(
            pod(),
            json!({"spec": {
                "$setElementOrder/containers": [{"name": "two"}, {"name": "one"}, {"name": "three"}],
                "containers": [
                    {"name": "one", "image": "c", "env": [{"name": "F", "value": "2"}], "command": ["z"]},
                    {"name": "two", "$patch": "delete"},
                    {"name": "three", "image": "d"},
                ],
                "tolerations": [{"key": "u"}],
            }}),
        );
        assert_eq!(
            patched["spec"],
            json!({
                "containers": [
                    {"name": "one", "image": "c", "env": [{"name": "F", "value": "2"}, {"name": "E", "value": "1"}], "command": ["z"]},
                    {"name": "three", "image": "d"},
                ],
                "tolerations": [{"key": "u"}],
            })
        );
    }

    /// What `kubectl apply` sends, and what k8s.io/apimachinery 0.32 makes of it.
    #[test]
    fn lists_are_ordered_as_the_patch_says_and_the_rest_stays_where_it_was() {
        let names = |object: &Value| -> Vec<String> {
            let containers = object["spec"]["containers"].as_array().unwrap();
            containers.iter().map(|container| container["name"].as_str().unwrap().to_owned()).collect()
        };
        let three = |order: [&str; 3]| json!({"spec": {"containers": order.map(|name| json!({"name": name, "image": "i"}))}});
        for (held, patch, expected) in [
            (
                three(["a", "b", "c"]),
                json!({"$setElementOrder/containers": [{"name": "c"}, {"name": "d"}, {"name": "a"}], "containers": [{"name": "d"}]}),
                &["b", "c", "d", "a"][..],
            ),
            (three(["a", "b", "c"]), json!({"containers": [{"name": "c", "image": "j"}]}), &["a", "b", "c"]),
            (three(["a", "b", "c"]), json!({"containers": [{"name": "d"}]}), &["d", "a", "b", "c"]),
            (
                three(["a", "b", "c"]),
                json!({"$setElementOrder/containers": [{"name": "c"}, {"name": "b"}, {"name": "a"}]}),
                &["c", "b", "a"],
            ),
        ] {
            assert_eq!(names(&merged(held, json!({"spec": patch}))), expected);
        }
    }

    #[test]
    fn long_lists_are_merged_in_time() {
        let finalizers: Vec<String> = (0..50_000).map(|nth| format!("f/{nth}")).collect();
        let owners: Vec<Value> = (0..50_000).map(|nth| json!({"uid": nth.to_string()})).collect();
        let patch = json!({"metadata": {
            "finalizers": finalizers, "ownerReferences": owners, "$setElementOrder/ownerReferences": owners,
            "$deleteFromPrimitiveList/finalizers": finalizers,
        }});
        let once = merged(json!({}), patch.clone());
        assert_eq!(merged(once.clone(), patch), once);
    }

    #[test]
    fn directives_replace_delete_and_retain() {
        let patched =
            merged(pod(), json!({"spec": {"containers": [{"$patch": "replace"}, {"name": "new"}]}}));
        assert_eq!(patched["spec"]["containers"], json!([{"name": "new"}]));
        let patched = merged(pod(), json!({"metadata": {"labels": {"$patch": "replace", "z": "1"}}}));
        assert_eq!(patched["metadata"]["labels"], json!({"z": "1"}));
        let patched = merged(pod(), json!({"spec": {"$retainKeys": ["tolerations"]}}));
        assert_eq!(patched["spec"], json!({"tolerations": [{"key": "t"}]}));
        let patched = merged(
            pod(),
            json!({"metadata": {"finalizers": ["p/q", "x/y"], "$deleteFromPrimitiveList/finalizers": ["x/y"]}}),
        );
        assert_eq!(patched["metadata"]["finalizers"], json!(["p/q", "x/y"]));
    }

    #[test]
    fn what_cannot_be_merged_is_refused() {
        for patch in
            [json!({"spec": {"containers": [{"image": "no name"}]}}), json!({"spec": {"$patch": "explode"}})]
        {
            assert_eq!(merge(message("Pod"), &mut pod(), &patch).unwrap_err().code, 400);
        }
    }
}
