//! What a request says about how it is to be carried out.
//!
//! Sources: `CreateOptions`, `UpdateOptions`, `PatchOptions` and `DeleteOptions` in
//! `k8s.io/apimachinery/pkg/apis/meta/v1/types.go`, and their validation in `.../meta/v1/validation/validation.go`.
//!
//! Taken and without effect: `fieldManager` (nothing is applied server-side), `gracePeriodSeconds` and
//! `propagationPolicy` (there is no kubelet and no garbage collector).

use super::Call;
use super::body::{self, FieldValidation};
use crate::frontend::request_info::RequestInfo;
use crate::frontend::resources::ResourceType;
use crate::frontend::status::{ApiError, Cause, CauseKind};
use crate::frontend::storage::Preconditions;

/// How an object is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Write {
    /// Whether nothing is to be kept.
    pub(super) dry_run: bool,
    /// What becomes of fields that are not known.
    pub(super) validation: FieldValidation,
}

/// How an object is to be deleted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Delete {
    /// Whether it is to stay.
    pub(super) dry_run: bool,
    /// What must hold of it.
    pub(super) preconditions: Preconditions,
}

impl Write {
    /// Reads them from a query; `kind` is that of the options, as `CreateOptions`.
    pub(super) fn read(info: &RequestInfo, kind: &'static str) -> Result<Self, ApiError> {
        let validation = match info.first("fieldValidation").unwrap_or_default() {
            "" | "Warn" => FieldValidation::Warn,
            "Strict" => FieldValidation::Strict,
            "Ignore" => FieldValidation::Ignore,
            other => {
                let message = format!("{other:?}: supported values: \"Ignore\", \"Strict\", \"Warn\"");
                return Err(invalid(kind, Cause::new(CauseKind::NotSupported, "fieldValidation", message)));
            }
        };
        Ok(Self { dry_run: dry_run(kind, all(info, "dryRun"))?, validation })
    }
}

impl Delete {
    /// Reads them from the body or, where there is none, from the query.
    pub(super) fn read(call: &Call<'_>) -> Result<Self, ApiError> {
        const KIND: &str = "DeleteOptions";
        if call.body.is_empty() {
            return Ok(Self { dry_run: dry_run(KIND, all(call.info, "dryRun"))?, ..Self::default() });
        }
        let options = body::delete_options(call)?;
        let asked = options.get("dryRun").and_then(serde_json::Value::as_array);
        let asked = asked.into_iter().flatten().filter_map(serde_json::Value::as_str);
        let text = |field: &str| {
            let text = options.get("preconditions").and_then(|conditions| conditions.get(field));
            text.and_then(serde_json::Value::as_str).map(str::to_owned)
        };
        let preconditions = Preconditions { uid: text("uid"), resource_version: text("resourceVersion") };
        // The query may only add to what the body says: what was asked for as a dry run stays one.
        Ok(Self { dry_run: dry_run(KIND, asked.chain(all(call.info, "dryRun")))?, preconditions })
    }
}

/// The values of a query parameter.
fn all<'a>(info: &'a RequestInfo, key: &'static str) -> impl Iterator<Item = &'a str> {
    info.query.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
}

fn dry_run<'a>(kind: &'static str, values: impl Iterator<Item = &'a str>) -> Result<bool, ApiError> {
    let mut is_dry = false;
    for value in values.filter(|value| !value.is_empty()) {
        if value != "All" {
            let message = format!("{value:?}: supported values: \"All\"");
            return Err(invalid(kind, Cause::new(CauseKind::NotSupported, "dryRun", message)));
        }
        is_dry = true;
    }
    Ok(is_dry)
}

fn invalid(kind: &'static str, cause: Cause) -> ApiError {
    let options = ResourceType {
        group: "meta.k8s.io",
        version: "v1",
        resource: kind,
        singular: "",
        kind,
        namespaced: false,
        short_names: &[],
        categories: &[],
        verbs: &[],
        subresources: &[],
    };
    ApiError::invalid(&options, "", &[cause])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Write, ApiError> {
        Write::read(&RequestInfo::read("POST", "/api/v1/pods", query).unwrap(), "CreateOptions")
    }

    #[test]
    fn options_are_read_and_what_is_none_is_refused() {
        let plain = Write { dry_run: false, validation: FieldValidation::Warn };
        assert_eq!(read("fieldManager=kubectl"), Ok(plain));
        assert_eq!(read("dryRun=All"), Ok(Write { dry_run: true, ..plain }));
        let strict = Write { validation: FieldValidation::Strict, ..plain };
        assert_eq!(read("fieldValidation=Strict"), Ok(strict));
        assert_eq!(
            read("dryRun=All&dryRun=Some").unwrap_err().message,
            "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: \"Some\": supported values: \"All\""
        );
        assert_eq!(read("fieldValidation=strict").unwrap_err().code, 422);
    }
}
