//! What a request says about how it is to be carried out.
//!
//! Sources: `CreateOptions`, `UpdateOptions`, `PatchOptions` and `DeleteOptions` in
//! `k8s.io/apimachinery/pkg/apis/meta/v1/types.go`, and their validation in `.../meta/v1/validation/validation.go`.
//!
//! Taken and without effect: `fieldManager` (nothing is applied server-side) and `gracePeriodSeconds` (no kubelet has to
//! end anything first).

use serde_json::{Map, Value};

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
    /// What becomes of its dependants, where that is said.
    pub(super) propagation: Option<Propagation>,
}

/// What becomes of the dependants of an object that is deleted (`metav1.DeletionPropagation`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Propagation {
    /// They go after it.
    Background,
    /// They go before it.
    Foreground,
    /// They stay.
    Orphan,
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
        if call.body.is_empty() {
            return Self::of(&from_query(call.info)?, call.info);
        }
        Self::of(&body::delete_options(call)?, call.info)
    }

    /// Reads `DeleteOptions`. The query may only add to what they say: what was asked for as a dry run stays one.
    pub(super) fn of(options: &Value, info: &RequestInfo) -> Result<Self, ApiError> {
        const KIND: &str = "DeleteOptions";
        let asked = options.get("dryRun").and_then(Value::as_array);
        let asked = asked.into_iter().flatten().filter_map(Value::as_str);
        let dry_run = dry_run(KIND, asked.chain(all(info, "dryRun")))?;
        let text = |field: &str| {
            let text = options.get("preconditions").and_then(|conditions| conditions.get(field));
            text.and_then(Value::as_str).map(str::to_owned)
        };
        let preconditions = Preconditions { uid: text("uid"), resource_version: text("resourceVersion") };
        Ok(Self { dry_run, preconditions, propagation: Propagation::read(KIND, options)? })
    }
}

impl Propagation {
    fn read(kind: &'static str, options: &Value) -> Result<Option<Self>, ApiError> {
        let policy = options.get("propagationPolicy").and_then(Value::as_str);
        let is_orphaned = options.get("orphanDependents").and_then(Value::as_bool);
        let wrong = |reason, message: String| invalid(kind, Cause::new(reason, "propagationPolicy", message));
        match (policy, is_orphaned) {
            (Some(policy), Some(_)) => Err(wrong(
                CauseKind::Invalid,
                format!("{policy:?}: orphanDependents and deletionPropagation cannot be both set"),
            )),
            (None, None) => Ok(None),
            (None, Some(true)) | (Some("Orphan"), _) => Ok(Some(Self::Orphan)),
            (None, Some(false)) | (Some("Background"), _) => Ok(Some(Self::Background)),
            (Some("Foreground"), _) => Ok(Some(Self::Foreground)),
            (Some(other), _) => Err(wrong(
                CauseKind::NotSupported,
                format!("{other:?}: supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""),
            )),
        }
    }
}

/// `DeleteOptions` as a query has them. `dryRun` is read with those of a body.
fn from_query(info: &RequestInfo) -> Result<Value, ApiError> {
    let mut options = Map::new();
    if let Some(policy) = info.first("propagationPolicy").filter(|policy| !policy.is_empty()) {
        options.insert("propagationPolicy".to_owned(), policy.into());
    }
    if info.first("orphanDependents").is_some() {
        options.insert("orphanDependents".to_owned(), info.is_set("orphanDependents").into());
    }
    if let Some(seconds) = info.first("gracePeriodSeconds").filter(|seconds| !seconds.is_empty()) {
        let seconds: i64 = seconds.parse().map_err(|_| {
            ApiError::bad_request(format!(
                "gracePeriodSeconds: Invalid value: {seconds:?}: it is no whole number"
            ))
        })?;
        options.insert("gracePeriodSeconds".to_owned(), seconds.into());
    }
    Ok(options.into())
}

/// What a list or a watch says about versions, where it makes no sense.
///
/// # Errors
/// 422, in the words of `k8s.io/apimachinery/pkg/apis/meta/internalversion/validation/validation.go`.
pub(super) fn check_list(info: &RequestInfo, is_watch: bool) -> Result<(), ApiError> {
    const MATCH: &str = "resourceVersionMatch";
    let said = |key| info.first(key).unwrap_or_default();
    let (is_continued, says_initial) = (!said("continue").is_empty(), info.first(INITIAL).is_some());
    let mut causes = Vec::new();
    let mut forbid = |field: &str, why: &str| causes.push(Cause::new(CauseKind::Forbidden, field, why));
    match said(MATCH) {
        "" if is_watch && says_initial => {
            forbid(MATCH, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
        }
        "" => {}
        _ if is_watch => {
            if !says_initial {
                forbid(
                    MATCH,
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                );
            }
            if is_continued {
                forbid(MATCH, "resourceVersionMatch is forbidden when continue is provided");
            }
        }
        value => {
            if said("resourceVersion").is_empty() {
                forbid(MATCH, "resourceVersionMatch is forbidden unless resourceVersion is provided");
            }
            if is_continued {
                forbid(MATCH, "resourceVersionMatch is forbidden when continue is provided");
            }
            if value == "Exact" && said("resourceVersion") == "0" {
                forbid(MATCH, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
            }
        }
    }
    if says_initial && !is_watch {
        forbid(INITIAL, "sendInitialEvents is forbidden for list");
    }
    let supported: &[&str] = if is_watch { &["NotOlderThan"] } else { &["Exact", "NotOlderThan", ""] };
    if !said(MATCH).is_empty() && !supported.contains(&said(MATCH)) {
        let supported: Vec<String> = supported.iter().map(|value| format!("{value:?}")).collect();
        let message = format!("{:?}: supported values: {}", said(MATCH), supported.join(", "));
        causes.push(Cause::new(CauseKind::NotSupported, MATCH, message));
    }
    if causes.is_empty() { Ok(()) } else { Err(all_invalid("ListOptions", &causes)) }
}

/// Whether a watch is to begin with what there is.
pub(super) const INITIAL: &str = "sendInitialEvents";

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
    all_invalid(kind, &[cause])
}

/// 422 for options of this kind.
pub(super) fn all_invalid(kind: &'static str, causes: &[Cause]) -> ApiError {
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
    ApiError::invalid(&options, "", causes)
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
