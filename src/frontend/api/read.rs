//! Reading objects: one, or a list of them, page by page.
//!
//! Semantics: `k8s.io/apiserver/pkg/endpoints/handlers/get.go`. The pages of a list are of one version: later changes are
//! taken back, as far as they are remembered.

use serde_json::{Value, json};

use super::answer::Answer;
use super::represent::{self, Page};
use super::stages::{Storing, Target};
use super::{Call, fields, meta, negotiate, options, scale};
use crate::frontend::journey::Outcome;
use crate::frontend::status::ApiError;
use crate::frontend::storage::{List, StorageError};

/// Gives an object.
pub(super) fn get(call: &Call<'_>, target: &Target<'_>) -> Result<Answer, ApiError> {
    let form = negotiate::form(call.headers, call.info)?;
    let storing = Storing::begin(call);
    let stored = target.stored(call.frontend);
    storing.end("read", &stored);
    let stored = stored?;
    Ok(match target.subresource {
        scale::NAME => represent::answer(200, &scale::SCALE, form, call.now, &scale::of(&stored)),
        _ => represent::answer(200, target.kind, form, call.now, &stored),
    })
}

/// Gives the objects that the request selects.
pub(super) fn list(call: &Call<'_>, target: &Target<'_>) -> Result<Answer, ApiError> {
    let form = negotiate::form(call.headers, call.info)?;
    fields::check(target.kind, call.info)?;
    options::check_list(call.info, false)?;
    let storing = Storing::begin(call);
    let page = page(call, target)?;
    let what = format!("read {} {}", page.items.len(), target.kind.qualified());
    storing.told(Outcome::Passed, what);
    represent::list(target.kind, form, call.now, &page)
}

/// The part of the list that is asked for.
fn page(call: &Call<'_>, target: &Target<'_>) -> Result<Page, ApiError> {
    let start =
        call.info.first("continue").filter(|token| !token.is_empty()).map(Continue::read).transpose()?;
    let List { items, resource_version } = at_version(call, target, start.as_ref())?;
    let selected = items.into_iter().filter(|object| fields::selects(call.info, object));
    let rest = selected.filter(|object| start.as_ref().is_none_or(|start| start.is_before(object)));
    let mut items: Vec<_> = rest.collect();
    let mut metadata = json!({"resourceVersion": resource_version.to_string()});
    let limit = limit(call)?.unwrap_or(usize::MAX);
    if items.len() > limit {
        let remaining = items.len().saturating_sub(limit);
        items.truncate(limit);
        if let (Some(last), Some(fields)) = (items.last(), metadata.as_object_mut()) {
            let next = Continue::after(resource_version, last);
            fields.insert("continue".into(), next.write().into());
            // An API server does not count what it has to filter.
            if call.info.label_selector.is_empty() && call.info.field_selector.is_empty() {
                fields.insert("remainingItemCount".into(), remaining.into());
            }
        }
    }
    Ok(Page { items, metadata })
}

fn at_version(call: &Call<'_>, target: &Target<'_>, start: Option<&Continue>) -> Result<List, ApiError> {
    let storage = &call.frontend.storage;
    let namespace = Some(target.namespace).filter(|namespace| !namespace.is_empty());
    let said = call.info.first("resourceVersion").unwrap_or_default();
    if let Some(start) = start {
        if !matches!(said, "" | "0") {
            return Err(ApiError::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let Some(version) = start.version else { return Ok(storage.list(target.kind, namespace)) };
        return storage.list_at(target.kind, namespace, version).map_err(|error| match error {
            StorageError::TooOld { .. } => {
                let go_on = Continue { version: None, ..start.clone() }.write();
                ApiError { go_on, ..ApiError::expired(INCONSISTENT) }
            }
            other => target.refused(other),
        });
    }
    let asked = version(call)?;
    // A page at a version is of exactly that version, unless something else is said.
    let is_exact = match call.info.first("resourceVersionMatch").unwrap_or_default() {
        "Exact" => true,
        "" => limit(call)?.is_some(),
        _ => false,
    };
    match asked {
        Some(version) if is_exact => {
            storage.list_at(target.kind, namespace, version).map_err(|error| match error {
                StorageError::TooOld { .. } => {
                    ApiError::expired("The resourceVersion for the provided list is too old.")
                }
                other => target.refused(other),
            })
        }
        Some(version) if version > storage.version() => {
            let current = storage.version();
            Err(target.refused(StorageError::TooNew { asked: version, current }))
        }
        _ => Ok(storage.list(target.kind, namespace)),
    }
}

/// What is said of a list whose version is forgotten. It can go on, with what there is now.
const INCONSISTENT: &str = "The provided continue parameter is too old to display a consistent list result. You can \
    start a new list without the continue parameter, or use the continue token in this response to retrieve the \
    remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were \
    created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

/// The version that is asked for; none where any will do.
pub(super) fn version(call: &Call<'_>) -> Result<Option<u64>, ApiError> {
    match call.info.first("resourceVersion").unwrap_or_default() {
        "" | "0" => Ok(None),
        text => text.parse().map(Some).map_err(|_| {
            ApiError::bad_request(format!("resourceVersion: Invalid value: {text:?}: it is no version"))
        }),
    }
}

fn limit(call: &Call<'_>) -> Result<Option<usize>, ApiError> {
    match call.info.first("limit").unwrap_or_default() {
        "" | "0" => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|_| ApiError::bad_request(format!("limit: Invalid value: {text:?}: it is no number"))),
    }
}

/// Where a list goes on: after this object, as of this version; none: as of now, whatever the pages before were of.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Continue {
    version: Option<u64>,
    namespace: String,
    name: String,
}

impl Continue {
    fn after(version: u64, last: &Value) -> Self {
        let text = |field| meta::text(last, field).to_owned();
        Self { version: Some(version), namespace: text("namespace"), name: text("name") }
    }

    fn write(&self) -> String {
        // As an API server writes it: -1 is no version.
        let version = self.version.map_or_else(|| json!(-1), |version| json!(version));
        let token = json!({"rv": version, "ns": self.namespace, "name": self.name});
        data_encoding::BASE64URL_NOPAD.encode(token.to_string().as_bytes())
    }

    fn read(token: &str) -> Result<Self, ApiError> {
        let read = || {
            let bytes = data_encoding::BASE64URL_NOPAD.decode(token.as_bytes()).ok()?;
            let token: Value = serde_json::from_slice(&bytes).ok()?;
            let text = |field: &str| Some(token.get(field)?.as_str()?.to_owned());
            let version = token.get("rv")?;
            let version = if version.as_i64() == Some(-1) { None } else { Some(version.as_u64()?) };
            Some(Self { version, namespace: text("ns")?, name: text("name")? })
        };
        read().ok_or_else(|| ApiError::bad_request("continue key is not valid"))
    }

    fn is_before(&self, object: &Value) -> bool {
        (meta::text(object, "namespace"), meta::text(object, "name")) > (&*self.namespace, &*self.name)
    }
}
