//! OpenAPI v3, made from the tables: enough for `kubectl explain`, and for `kubectl` to leave the checking of fields to us.
//!
//! Source: `k8s.io/kube-openapi/pkg/handler3`, and the documents of a Kubernetes 1.32.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::answer::{Answer, JSON};
use super::discovery::{named_groups, version_of};
use super::schema::{self, Field, Merge, Message, Shape, Type};
use super::{Call, descriptions};
use crate::frontend::resources::{RESOURCES, ResourceType};
use crate::frontend::status::ApiError;

/// A document and the hash of it, which clients keep it by.
struct Document {
    text: String,
    hash: String,
}

/// By path below `/openapi/v3/`.
static DOCUMENTS: LazyLock<BTreeMap<String, Document>> = LazyLock::new(|| {
    let mut documents = BTreeMap::new();
    documents.insert("api/v1".to_owned(), document("", "v1"));
    for group in named_groups() {
        let version = version_of(group).unwrap_or_default();
        documents.insert(format!("apis/{group}/{version}"), document(group, version));
    }
    documents
});

/// How long clients may keep a document, which they know by its hash, in seconds: a year.
const MAX_AGE: u32 = 31_536_000;

/// Serves what is below `/openapi/v3`.
pub(super) fn serve(call: &Call<'_>, rest: &[&str]) -> Result<Answer, ApiError> {
    let path = rest.join("/");
    if path.is_empty() {
        let paths: Map<String, Value> = DOCUMENTS
            .iter()
            .map(|(path, document)| {
                let url = format!("/openapi/v3/{path}?hash={}", document.hash);
                (path.clone(), json!({"serverRelativeURL": url}))
            })
            .collect();
        return Ok(Answer::json(200, &json!({"paths": paths})));
    }
    let document = DOCUMENTS.get(&path).ok_or_else(ApiError::no_such_path)?;
    let mut answer = Answer::whole(200, JSON, document.text.clone());
    answer.headers.push(("ETag", format!("{:?}", document.hash)));
    if call.info.first("hash") == Some(&document.hash) {
        answer.headers.push(("Cache-Control", format!("public, immutable, max-age={MAX_AGE}")));
    }
    Ok(answer)
}

fn document(group: &str, version: &str) -> Document {
    let kinds = || RESOURCES.iter().filter(|kind| kind.group == group && kind.version == version);
    let mut paths = Map::new();
    let mut schemas = BTreeMap::new();
    for kind in kinds() {
        add_paths(kind, &mut paths);
        if let Some(message) = schema::of(kind) {
            add_schema(message, &mut schemas);
        }
        for message in kind.subresources.iter().filter_map(|subresource| schema::message(subresource.kind)) {
            add_schema(message, &mut schemas);
        }
    }
    for kind in kinds() {
        let Some(name) = schema::of(kind).map(Message::full_name) else { continue };
        if let Some(schema) = schemas.get_mut(&name).and_then(Value::as_object_mut) {
            schema.insert("x-kubernetes-group-version-kind".into(), json!([type_of(kind)]));
            if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
                for field in ["apiVersion", "kind"] {
                    let text = json!({"type": "string", "description": descriptions::of_field(field)});
                    properties.insert(field.into(), text);
                }
            }
        }
    }
    let text = json!({
        "openapi": "3.0.0", "info": {"title": "Bailiwick's front end", "version": "v1.32.0"},
        "paths": paths, "components": {"schemas": schemas},
    })
    .to_string();
    let hash = data_encoding::HEXUPPER.encode(&Sha256::digest(text.as_bytes()));
    Document { text, hash }
}

/// `GroupVersionKind`.
fn type_of(kind: &ResourceType) -> Value {
    json!({"group": kind.group, "version": kind.version, "kind": kind.kind})
}

/// The path of a collection, with `{namespace}` where its objects are in one.
pub(super) fn collection_path(kind: &ResourceType) -> String {
    let root = match kind.group {
        "" => format!("/api/{}", kind.version),
        group => format!("/apis/{group}/{}", kind.version),
    };
    match kind.namespaced {
        true => format!("{root}/namespaces/{{namespace}}/{}", kind.resource),
        false => format!("{root}/{}", kind.resource),
    }
}

/// The paths of a resource: its collection, and each of its objects.
fn add_paths(kind: &ResourceType, paths: &mut Map<String, Value>) {
    let collection = collection_path(kind);
    let of = |verbs: &[(&str, &str, &str)]| -> Map<String, Value> {
        let had = verbs.iter().filter(|(_, verb, _)| kind.verbs.contains(verb));
        had.map(|(method, verb, action)| ((*method).to_owned(), operation(kind, verb, action))).collect()
    };
    let whole = of(&[
        ("get", "list", "list"),
        ("post", "create", "post"),
        ("delete", "deletecollection", "deletecollection"),
    ]);
    let one = of(&[
        ("get", "get", "get"),
        ("put", "update", "put"),
        ("patch", "patch", "patch"),
        ("delete", "delete", "delete"),
    ]);
    if !one.is_empty() {
        paths.insert(format!("{collection}/{{name}}"), one.into());
    }
    paths.insert(collection, whole.into());
}

fn operation(kind: &ResourceType, verb: &str, action: &str) -> Value {
    let parameter = |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string"}});
    let names: &[&str] = match verb {
        "create" | "update" | "patch" => &["dryRun", "fieldManager", "fieldValidation"],
        "delete" | "deletecollection" => &["dryRun", "gracePeriodSeconds", "propagationPolicy"],
        "list" => &["labelSelector", "fieldSelector", "limit", "continue", "resourceVersion", "watch"],
        _ => &[],
    };
    let parameters: Vec<Value> = names.iter().map(|name| parameter(name)).collect();
    let mut operation = json!({
        "operationId": format!("{verb}{}{}{}", group_word(kind), kind.version.to_ascii_uppercase(), kind.kind),
        "parameters": parameters,
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": action, "x-kubernetes-group-version-kind": type_of(kind),
    });
    let body = match verb {
        "create" | "update" => schema::of(kind)
            .map(|message| json!({"content": {"*/*": {"schema": {"$ref": reference(message)}}}})),
        "patch" => Some(json!({"content": {
            "application/json-patch+json": {"schema": {}},
            "application/merge-patch+json": {"schema": {}},
            "application/strategic-merge-patch+json": {"schema": {}},
        }})),
        _ => None,
    };
    if let (Some(body), Some(fields)) = (body, operation.as_object_mut()) {
        fields.insert("requestBody".into(), body);
    }
    operation
}

fn group_word(kind: &ResourceType) -> String {
    let word = kind.group.split('.').next().filter(|word| !word.is_empty()).unwrap_or("core");
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

fn reference(message: &Message) -> String {
    format!("#/components/schemas/{}", message.full_name())
}

/// The schema of a message and of all that it holds.
fn add_schema(message: &'static Message, schemas: &mut BTreeMap<String, Value>) {
    if message.is_wrapper || schemas.contains_key(&message.full_name()) {
        return;
    }
    // Known before what it holds is added, so that nothing goes in circles.
    schemas.insert(message.full_name(), Value::Null);
    let fields = message.json_fields();
    for inner in fields.iter().filter_map(|field| field.message()) {
        add_schema(inner, schemas);
    }
    let properties: Map<String, Value> =
        fields.iter().map(|field| (field.name.to_owned(), described(field))).collect();
    let description = descriptions::of_kind(message.name);
    let schema = json!({"type": "object", "description": description, "properties": properties});
    schemas.insert(message.full_name(), schema);
}

fn described(field: &Field) -> Value {
    let (mut property, text) = (property(field), descriptions::of_field(field.name));
    if let (false, Some(fields)) = (text.is_empty(), property.as_object_mut()) {
        fields.insert("description".into(), text.into());
    }
    property
}

fn property(field: &Field) -> Value {
    let one = match field.kind {
        Type::Text | Type::Quantity | Type::Duration => json!({"type": "string"}),
        Type::Integer => json!({"type": "integer", "format": "int64"}),
        Type::Number => json!({"type": "number", "format": "double"}),
        Type::Boolean => json!({"type": "boolean"}),
        Type::Bytes => json!({"type": "string", "format": "byte"}),
        Type::Time | Type::MicroTime => json!({"type": "string", "format": "date-time"}),
        Type::IntegerOrText => {
            json!({"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"})
        }
        Type::Object => json!({"type": "object"}),
        Type::Message(_) => match field.message() {
            Some(message) if message.is_wrapper => json!({"type": "array", "items": {"type": "string"}}),
            Some(message) => json!({"allOf": [{"$ref": reference(message)}]}),
            None => json!({}),
        },
    };
    match field.shape {
        Shape::One => one,
        Shape::Map => json!({"type": "object", "additionalProperties": one}),
        Shape::List => {
            let mut list = json!({"type": "array", "items": one});
            if let Some(fields) = list.as_object_mut() {
                if field.merge != Merge::Replace {
                    fields.insert("x-kubernetes-patch-strategy".into(), "merge".into());
                }
                if let Merge::By(key) = field.merge {
                    fields.insert("x-kubernetes-patch-merge-key".into(), key.into());
                }
            }
            list
        }
    }
}
