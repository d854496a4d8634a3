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
            return bounded(&list);
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
    bounded(&shown)
}

/// How long a list may be as it is sent, in bytes.
const MAX_LIST_BYTES: usize = 64 << 20;

/// Text that is not longer than that.
struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len().saturating_add(bytes.len()) > MAX_LIST_BYTES {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A list as an answer, where it is not too long.
fn bounded(list: &impl Serialize) -> Result<Answer, ApiError> {
    let mut text = Bounded(Vec::new());
    match serde_json::to_writer(&mut text, list) {
        Ok(()) => Ok(Answer::whole(200, JSON, text.0)),
        Err(error) if error.is_io() => Err(ApiError {
            message: format!(
                "the list has more than {MAX_LIST_BYTES} bytes: ask for it page by page, with a smaller limit"
            ),
            ..ApiError::too_large(MAX_LIST_BYTES)
        }),
        Err(error) => Err(ApiError::internal(error)),
    }
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
