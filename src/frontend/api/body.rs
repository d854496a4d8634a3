//! The body of a request, read into an object of the kind that its path is about.
//!
//! Semantics: `k8s.io/apiserver/pkg/endpoints/handlers/{create,rest}.go`, and the codecs of
//! `k8s.io/apimachinery/pkg/runtime/serializer`.

use std::sync::Arc;

use actix_web::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use serde_json::Value;

use super::schema::{self, Message, conform::conform};
use super::{Call, json, protobuf};
use crate::document::{self, Diagnostics, Source};
use crate::frontend::status::ApiError;

/// How many faulty fields a client is warned of: each is a header.
const MAX_WARNINGS: usize = 16;

/// How long a warning is at most, in bytes.
const MAX_WARNING_BYTES: usize = 256;

/// What becomes of fields that are not known, or stand twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FieldValidation {
    /// They are left out.
    Ignore,
    /// They are left out, and the client is told.
    Warn,
    /// The request is refused.
    Strict,
}

/// What an object is to be.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    pub(super) api_version: String,
    pub(super) kind: &'static str,
}

/// How a body is encoded.
enum Media {
    Json,
    Yaml,
    Protobuf,
}

/// The essence of the body's type, in lower case; that of JSON where none is said.
pub(super) fn essence(headers: &HeaderMap) -> Result<String, ApiError> {
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(ApiError::unsupported_media_type("the body must not be compressed"));
    }
    let Some(kind) = headers.get(CONTENT_TYPE) else { return Ok("application/json".to_owned()) };
    let kind = kind.to_str().unwrap_or_default();
    Ok(kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

fn media(headers: &HeaderMap) -> Result<Media, ApiError> {
    match &*essence(headers)? {
        "application/json" => Ok(Media::Json),
        "application/yaml" => Ok(Media::Yaml),
        "application/vnd.kubernetes.protobuf" => Ok(Media::Protobuf),
        _ => Err(ApiError::unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: application/json, \
             application/yaml, application/vnd.kubernetes.protobuf",
        )),
    }
}

/// Reads the object of a request, in the shape of its kind, with its `apiVersion` and `kind`.
pub(super) fn object(
    call: &Call<'_>,
    expected: &Expected,
    validation: FieldValidation,
) -> Result<Value, ApiError> {
    let (mut object, duplicates) = decode(call, expected.kind)?;
    shape(call, expected, &mut object, duplicates, validation)?;
    Ok(object)
}

/// Reads `DeleteOptions`; those of any version are taken, as an API server does.
pub(super) fn delete_options(call: &Call<'_>) -> Result<Value, ApiError> {
    const KIND: &str = "DeleteOptions";
    let (mut options, _) = decode(call, KIND)?;
    match schema::message(KIND) {
        Some(message) => fit(message, &mut options, "v1").map(|_| options),
        None => Ok(options),
    }
}

/// Brings an object into the shape of its kind: fills in its type where that is left out, refuses any other, drops or
/// refuses what is not known.
pub(super) fn shape(
    call: &Call<'_>,
    expected: &Expected,
    object: &mut Value,
    duplicates: Vec<String>,
    validation: FieldValidation,
) -> Result<(), ApiError> {
    let Some(message) = schema::message(expected.kind) else { return Err(ApiError::no_such_path()) };
    typed(expected, object)?;
    let unknown = fit(message, object, &expected.api_version)?;
    let faults: Vec<String> = duplicates
        .iter()
        .map(|path| format!("duplicate field {path:?}"))
        .chain(unknown.iter().map(|path| format!("unknown field {path:?}")))
        .collect();
    match validation {
        FieldValidation::Strict if !faults.is_empty() => {
            return Err(cannot(
                expected.kind,
                &expected.api_version,
                &format!("strict decoding error: {}", faults.join(", ")),
            ));
        }
        FieldValidation::Warn => faults.iter().take(MAX_WARNINGS).for_each(|fault| {
            let end = fault.floor_char_boundary(MAX_WARNING_BYTES);
            call.trace.warn(fault.get(..end).unwrap_or_default());
        }),
        _ => {}
    }
    Ok(())
}

/// Brings an object that was changed on its way into the shape of its kind: what is not known is dropped.
pub(super) fn reshape(expected: &Expected, object: &mut Value) -> Result<(), ApiError> {
    let Some(message) = schema::message(expected.kind) else { return Err(ApiError::no_such_path()) };
    typed(expected, object)?;
    fit(message, object, &expected.api_version).map(drop)
}

fn fit(message: &'static Message, object: &mut Value, version: &str) -> Result<Vec<String>, ApiError> {
    conform(message, object).map_err(|fault| cannot(message.name, version, &fault.to_string()))
}

fn cannot(kind: &str, version: &str, why: &str) -> ApiError {
    let version = version.rsplit('/').next().unwrap_or_default();
    ApiError::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}"))
}

/// The type that an object says it is of must be the one that is expected.
fn typed(expected: &Expected, object: &mut Value) -> Result<(), ApiError> {
    let Some(fields) = object.as_object_mut() else {
        return Err(ApiError::bad_request("the object provided is unrecognized: it is no JSON object"));
    };
    let text = |field: &str| match fields.get(field) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(ApiError::bad_request(format!("the {field} of the object is no string"))),
    };
    let (version, kind) = (text("apiVersion")?, text("kind")?);
    if !version.is_empty() && version != expected.api_version {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({})",
            expected.api_version
        )));
    }
    if !kind.is_empty() && kind != expected.kind {
        let Expected { api_version, kind: wanted } = expected;
        return Err(ApiError::bad_request(format!(
            "the kind in the data ({kind}) does not match the expected kind ({wanted} in version {api_version:?})"
        )));
    }
    fields.insert("apiVersion".into(), expected.api_version.clone().into());
    fields.insert("kind".into(), expected.kind.into());
    Ok(())
}

/// Decodes the body by its type.
fn decode(call: &Call<'_>, kind: &'static str) -> Result<(Value, Vec<String>), ApiError> {
    match media(call.headers)? {
        Media::Json => json::parse(&call.body).map_err(|error| {
            ApiError::bad_request(format!("couldn't get version/kind; json parse error: {error}"))
        }),
        Media::Yaml => Ok((yaml(&call.body)?, Vec::new())),
        Media::Protobuf => {
            let object = protobuf::decode(&call.body, kind).map_err(|fault| {
                ApiError::bad_request(format!("the protobuf body cannot be read: {fault}"))
            })?;
            Ok((object, Vec::new()))
        }
    }
}

/// How large a body in YAML may be, in bytes: its tree takes some thirty times as much memory.
const MAX_YAML_BYTES: usize = 512 << 10;

/// One YAML document; keys that stand twice are an error always.
fn yaml(bytes: &[u8]) -> Result<Value, ApiError> {
    if bytes.len() > MAX_YAML_BYTES {
        return Err(ApiError::too_large(MAX_YAML_BYTES));
    }
    let sources = [Source::new("the body", Arc::<[u8]>::from(bytes))];
    let mut diagnostics = Diagnostics::new(&sources);
    let documents = document::parse(&sources, &mut diagnostics);
    if let Some(fault) = diagnostics.items.first() {
        let why = without_quotations(&fault.message);
        return Err(ApiError::bad_request(format!("error converting YAML to JSON: {why}")));
    }
    match &*documents {
        [only] => Ok(only.root.to_json()),
        [] => Err(ApiError::bad_request("the body holds no YAML document")),
        _ => Err(ApiError::bad_request("the body holds more than one YAML document")),
    }
}

/// A message without what it quotes in back-ticks: a password that begins with `*` is taken for an alias, and refusals are
/// written down.
fn without_quotations(message: &str) -> String {
    let parts = message.split('`').enumerate();
    parts.map(|(nth, part)| if nth % 2 == 0 { part } else { "`...`" }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_cannot_be_read_is_not_quoted() {
        for body in ["a: *s3cr3t", "a: &s3cr3t b", "s3cr3t: 1\ns3cr3t: 2", "a: \"s3cr3t", "a: !s3cr3t b"] {
            let error = yaml(body.as_bytes()).unwrap_err();
            assert!(!error.message.contains("s3cr3t"), "{error}");
        }
    }
}
