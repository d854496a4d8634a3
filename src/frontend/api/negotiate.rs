//! What the client takes for an answer (RFC 9110, 12.5.1).
//!
//! Source: `k8s.io/apiserver/pkg/endpoints/handlers/negotiation/negotiate.go`. Answers are JSON always.

use actix_web::http::header::{ACCEPT, HeaderMap};

use super::answer::JSON;
use crate::frontend::request_info::RequestInfo;
use crate::frontend::status::ApiError;

/// How objects are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As they are.
    Objects,
    /// As rows, each with so much of its object.
    Table(Include),
    /// Their metadata alone.
    Metadata,
}

/// How much of an object stands in its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Include {
    None,
    Metadata,
    Object,
}

/// How many media ranges are looked at.
const MAX_RANGES: usize = 64;

/// A media range with its parameters.
#[derive(Debug, PartialEq)]
pub(super) struct Range {
    pub(super) kind: String,
    parameters: Vec<(String, String)>,
    quality: f32,
}

impl Range {
    /// A parameter; empty where it is not there.
    pub(super) fn parameter(&self, name: &str) -> &str {
        self.parameters.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }
}

/// What is accepted, most welcome first. Nothing said: anything.
pub(super) fn accepted(headers: &HeaderMap) -> Vec<Range> {
    let values = headers.get_all(ACCEPT).filter_map(|value| value.to_str().ok());
    let mut ranges: Vec<Range> =
        values.flat_map(|value| value.split(',')).take(MAX_RANGES).filter_map(range).collect();
    if ranges.is_empty() {
        ranges.extend(range("*/*"));
    }
    ranges.retain(|range| range.quality > 0.0);
    ranges.sort_by(|one, other| other.quality.total_cmp(&one.quality));
    ranges
}

fn range(text: &str) -> Option<Range> {
    let mut parts = text.split(';').map(str::trim);
    let kind = parts.next().filter(|kind| !kind.is_empty())?.to_ascii_lowercase();
    let parameters: Vec<(String, String)> = parts
        .filter_map(|part| part.split_once('='))
        .map(|(key, value)| (key.trim().to_ascii_lowercase(), value.trim().trim_matches('"').to_owned()))
        .collect();
    let quality = parameters.iter().find(|(key, _)| key == "q");
    let quality = quality.map_or(1.0, |(_, value)| value.parse().unwrap_or(0.0));
    Some(Range { kind, parameters, quality })
}

/// Whether a range covers JSON.
pub(super) fn is_json(range: &Range) -> bool {
    matches!(&*range.kind, JSON | "application/*" | "*/*")
}

/// The form that the client likes best of those that there are.
pub(super) fn form(headers: &HeaderMap, info: &RequestInfo) -> Result<Form, ApiError> {
    for range in accepted(headers).iter().filter(|range| is_json(range)) {
        let is_meta = range.parameter("g") == "meta.k8s.io" && range.parameter("v") == "v1";
        match range.parameter("as") {
            "" => return Ok(Form::Objects),
            "Table" if is_meta => return Ok(Form::Table(include(info)?)),
            "PartialObjectMetadata" | "PartialObjectMetadataList" if is_meta => return Ok(Form::Metadata),
            _ => {}
        }
    }
    Err(ApiError::not_acceptable("only the following media types are accepted: application/json"))
}

fn include(info: &RequestInfo) -> Result<Include, ApiError> {
    match info.first("includeObject").unwrap_or_default() {
        "" | "Metadata" => Ok(Include::Metadata),
        "None" => Ok(Include::None),
        "Object" => Ok(Include::Object),
        other => Err(ApiError::bad_request(format!(
            "includeObject may be None, Metadata or Object, and not {other:?}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn form_of(accept: &str, query: &str) -> Result<Form, u16> {
        let mut headers = HeaderMap::new();
        if !accept.is_empty() {
            headers.insert(ACCEPT, HeaderValue::from_str(accept).unwrap());
        }
        let info = RequestInfo::read("GET", "/api/v1/pods", query).unwrap();
        form(&headers, &info).map_err(|error| error.code)
    }

    #[test]
    fn the_first_form_that_there_is_counts() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        for (accept, form) in [
            ("", Ok(Form::Objects)),
            ("*/*", Ok(Form::Objects)),
            ("application/json, */*;q=0.8", Ok(Form::Objects)),
            ("application/vnd.kubernetes.protobuf,application/json", Ok(Form::Objects)),
            ("application/vnd.kubernetes.protobuf", Err(406)),
            (table, Ok(Form::Table(Include::Metadata))),
            ("application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json", Ok(Form::Objects)),
            ("application/json;as=Table;v=v1;g=meta.k8s.io;q=0.1,application/json", Ok(Form::Objects)),
            ("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", Ok(Form::Metadata)),
            ("application/json;q=0", Err(406)),
            ("text/html", Err(406)),
        ] {
            assert_eq!(form_of(accept, ""), form, "{accept}");
        }
        assert_eq!(form_of(table, "includeObject=Object"), Ok(Form::Table(Include::Object)));
        assert_eq!(form_of(table, "includeObject=All"), Err(400));
    }
}
