//! Objects and lists of them, in the form that the client asked for.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::answer::{Answer, JSON};
use super::negotiate::{Form, Include};
use super::table;
use crate::frontend::resources::ResourceType;
use crate::frontend::status::ApiError;
use crate::frontend::storage::Object;

/// Objects, and what is to be said of the list of them (`metav1.ListMeta`).
pub(super) struct Page {
    pub(super) items: Vec<Object>,
    pub(super) metadata: Value,
}

/// One object.
pub(super) fn object(kind: &ResourceType, form: Form, now: Timestamp, object: &Value) -> Value {
    match form {
        Form::Objects => object.clone(),
        Form::Metadata => partial(object),
        Form::Table(include) => {
            let version = object.pointer("/metadata/resourceVersion").cloned().unwrap_or_default();
            let rows = vec![row(kind, include, now, object)];
            table_of(kind, rows, &json!({"resourceVersion": version}), true)
        }
    }
}

/// One object of a watch: as [`object`], where a table has its columns only the first time.
pub(super) fn watched(
    kind: &ResourceType,
    form: Form,
    now: Timestamp,
    object: &Value,
    is_first: bool,
) -> Value {
    match form {
        Form::Table(include) => {
            let version = object.pointer("/metadata/resourceVersion").cloned().unwrap_or_default();
            let rows = vec![row(kind, include, now, object)];
            table_of(kind, rows, &json!({"resourceVersion": version}), is_first)
        }
        _ => self::object(kind, form, now, object),
    }
}

/// A list as it is sent, without a copy of its objects.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Objects<'a> {
    kind: String,
    api_version: String,
    metadata: &'a Value,
    items: Vec<&'a Value>,
}

/// A list as an answer.
pub(super) fn list(kind: &ResourceType, form: Form, now: Timestamp, page: &Page) -> Result<Answer, ApiError> {
    let shown = match form {
        Form::Objects => {
            let list = Objects {
                kind: format!("{}List", kind.kind),
                api_version: kind.api_version(),
                metadata: &page.metadata,
                items: page.items.iter().map(|item| &**item).collect(),
            };
            let text = serde_json::to_vec(&list).map_err(ApiError::internal)?;
            return Ok(Answer::whole(200, JSON, text));
        }
        Form::Metadata => json!({
            "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": page.metadata,
            "items": page.items.iter().map(|item| partial(item)).collect::<Vec<_>>(),
        }),
        Form::Table(include) => {
            let rows = page.items.iter().map(|item| row(kind, include, now, item)).collect();
            table_of(kind, rows, &page.metadata, true)
        }
    };
    Ok(Answer::json(200, &shown))
}

/// One object as an answer.
pub(super) fn answer(code: u16, kind: &ResourceType, form: Form, now: Timestamp, stored: &Value) -> Answer {
    Answer::json(code, &object(kind, form, now, stored))
}

/// `metav1.PartialObjectMetadata`.
fn partial(object: &Value) -> Value {
    let metadata = object.get("metadata").cloned().unwrap_or_default();
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
}

fn row(kind: &ResourceType, include: Include, now: Timestamp, object: &Value) -> Value {
    let cells = table::cells(kind, object, now);
    match include {
        Include::None => json!({"cells": cells, "object": null}),
        Include::Metadata => json!({"cells": cells, "object": partial(object)}),
        Include::Object => json!({"cells": cells, "object": object}),
    }
}

/// `metav1.Table`.
fn table_of(kind: &ResourceType, rows: Vec<Value>, metadata: &Value, with_columns: bool) -> Value {
    let columns = if with_columns { table::columns(kind) } else { Value::Null };
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": columns, "rows": rows,
    })
}
