//! OpenAPI v2 in protobuf, the only form of it that `kubectl` reads. Those before 1.29 need it to create and to explain.
//!
//! Source: `OpenAPIv2.proto` of <https://github.com/google/gnostic-models>; field numbers are its.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::answer::Answer;
use super::protobuf::Writer;
use super::schema::{self, Field, Merge, Message, Shape, Type};
use super::{Call, descriptions, negotiate, openapi};
use crate::frontend::resources::{RESOURCES, ResourceType};
use crate::frontend::status::ApiError;

/// The media type of the document.
const MEDIA: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// What clients ask for it by. It is no media type (RFC 9110, 8.3.1), and Go does not take it for one in an answer.
const ASKED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

static DOCUMENT: LazyLock<Vec<u8>> = LazyLock::new(document);

/// Serves `/openapi/v2`.
pub(super) fn serve(call: &Call<'_>) -> Result<Answer, ApiError> {
    let mut ranges = negotiate::accepted(call.headers).into_iter();
    if ranges.any(|range| matches!(&*range.kind, MEDIA | ASKED | "*/*")) {
        return Ok(Answer::whole(200, MEDIA, DOCUMENT.as_slice()));
    }
    Err(ApiError::not_acceptable(format!("only the following media types are accepted: {MEDIA}")))
}

fn document() -> Vec<u8> {
    let mut messages = BTreeMap::new();
    let mut paths = Writer::default();
    for kind in RESOURCES {
        if let Some(message) = schema::of(kind) {
            reach(message, &mut messages);
        }
        if kind.verbs.contains(&"patch") {
            let path = format!("{}/{{name}}", openapi::collection_path(kind));
            let item = Writer::default().message(8, &patch(kind));
            paths = paths.message(2, &Writer::default().text(1, &path).message(2, &item));
        }
    }
    let definitions = messages.values().fold(Writer::default(), |definitions, message| {
        let named = Writer::default().text(1, &message.full_name()).message(2, &definition(message));
        definitions.message(1, &named)
    });
    let info = Writer::default().text(1, "Bailiwick's front end").text(2, "v1.32.0");
    Writer::default().text(1, "2.0").message(2, &info).message(8, &paths).message(9, &definitions).finish()
}

/// All messages that a message holds, and itself.
fn reach(message: &'static Message, messages: &mut BTreeMap<&'static str, &'static Message>) {
    if !message.is_wrapper && messages.insert(message.name, message).is_none() {
        message.json_fields().into_iter().filter_map(Field::message).for_each(|inner| reach(inner, messages));
    }
}

/// An `Operation`: which queries a PATCH takes says what may be left to the server.
fn patch(kind: &ResourceType) -> Writer {
    let parameter = |name: &str| {
        let query = Writer::default().text(2, "query").text(4, name).text(6, "string");
        let non_body = Writer::default().message(3, &query);
        Writer::default().message(1, &Writer::default().message(2, &non_body))
    };
    let id = format!("patch{}", kind.kind);
    ["dryRun", "fieldManager", "fieldValidation"]
        .into_iter()
        .fold(Writer::default().text(5, &id), |operation, name| operation.message(8, &parameter(name)))
        .message(13, &extension("x-kubernetes-group-version-kind", &type_of(kind)))
}

/// `GroupVersionKind`, as JSON, which is YAML too.
fn type_of(kind: &ResourceType) -> String {
    serde_json::json!({"group": kind.group, "version": kind.version, "kind": kind.kind}).to_string()
}

/// A `NamedAny`.
fn extension(name: &str, yaml: &str) -> Writer {
    Writer::default().text(1, name).message(2, &Writer::default().text(2, yaml))
}

/// A `Schema`.
fn of_type(name: &str) -> Writer {
    Writer::default().message(22, &Writer::default().text(1, name))
}

fn definition(message: &'static Message) -> Writer {
    let kind = RESOURCES.iter().find(|kind| kind.kind == message.name);
    let property = |properties: Writer, name: &str, schema: Writer| {
        let schema = schema.text(4, descriptions::of_field(name));
        properties.message(1, &Writer::default().text(1, name).message(2, &schema))
    };
    let mut properties = message
        .json_fields()
        .into_iter()
        .fold(Writer::default(), |properties, field| property(properties, field.name, schema_of(field)));
    let mut schema = of_type("object").text(4, descriptions::of_kind(message.name));
    if let Some(kind) = kind {
        for name in ["apiVersion", "kind"] {
            properties = property(properties, name, of_type("string"));
        }
        schema = schema
            .message(31, &extension("x-kubernetes-group-version-kind", &format!("[{}]", type_of(kind))));
    }
    schema.message(25, &properties)
}

fn schema_of(field: &Field) -> Writer {
    let one = match field.kind {
        Type::Text | Type::Quantity | Type::Duration => of_type("string"),
        Type::Integer => of_type("integer").text(2, "int64"),
        Type::Number => of_type("number").text(2, "double"),
        Type::Boolean => of_type("boolean"),
        Type::Bytes => of_type("string").text(2, "byte"),
        Type::Time | Type::MicroTime => of_type("string").text(2, "date-time"),
        Type::IntegerOrText => of_type("string").text(2, "int-or-string"),
        Type::Object => of_type("object"),
        Type::Message(_) => match field.message() {
            Some(message) if message.is_wrapper => list_of(&of_type("string")),
            Some(message) => Writer::default().text(1, &format!("#/definitions/{}", message.full_name())),
            None => Writer::default(),
        },
    };
    match field.shape {
        Shape::One => one,
        Shape::Map => of_type("object").message(21, &Writer::default().message(1, &one)),
        Shape::List => {
            let mut list = list_of(&one);
            if field.merge != Merge::Replace {
                list = list.message(31, &extension("x-kubernetes-patch-strategy", "merge"));
            }
            if let Merge::By(key) = field.merge {
                list = list.message(31, &extension("x-kubernetes-patch-merge-key", key));
            }
            list
        }
    }
}

fn list_of(item: &Writer) -> Writer {
    of_type("array").message(23, &Writer::default().message(1, item))
}
