//! What a request is about, read from its method, path and query alone, before anything else of it is looked at.
//!
//! The path is taken as it was sent. It is neither cleaned nor decoded into another shape: what an authoriser judges is
//! what is carried out.
//!
//! Source: `k8s.io/apiserver/pkg/endpoints/request/requestinfo.go`.

use crate::model::{Action, NonResourceAction, Operator, Requirement, ResourceAction};

use super::selector::{FieldSelector, LabelSelector};
use super::status::ApiError;

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestInfo {
    /// What is authorised.
    pub action: Action,
    /// The query, decoded, in its order; keys may repeat.
    pub query: Vec<(String, String)>,
    /// What a list, watch or deletecollection is limited to by labels.
    pub label_selector: LabelSelector,
    /// What a list, watch or deletecollection is limited to by fields.
    pub field_selector: FieldSelector,
}

/// The longest path and query together that are looked at, in bytes.
pub const MAX_TARGET_BYTES: usize = 8 * 1024;

impl RequestInfo {
    /// Reads a request's method, path (as sent, still percent-encoded) and query.
    ///
    /// # Errors
    /// Where the path has an encoded slash, an encoded or plain dot segment, an empty segment below a resource prefix, or
    /// anything that is no UTF-8; where the query or a selector is malformed.
    pub fn read(method: &str, path: &str, query: &str) -> Result<Self, ApiError> {
        if path.len().saturating_add(query.len()) > MAX_TARGET_BYTES {
            return Err(ApiError::bad_request(format!(
                "the path and query are longer than {MAX_TARGET_BYTES} bytes"
            )));
        }
        let query: Vec<(String, String)> = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                Ok((decode_query(key)?, decode_query(value)?))
            })
            .collect::<Result<_, ApiError>>()?;
        let mut info = Self {
            action: Action::NonResource(NonResourceAction::default()),
            query,
            label_selector: LabelSelector::default(),
            field_selector: FieldSelector::default(),
        };
        match resource_path(path)? {
            Some(mut resource) => {
                info.label_selector = LabelSelector::parse(info.last("labelSelector").unwrap_or_default())?;
                info.field_selector = FieldSelector::parse(info.last("fieldSelector").unwrap_or_default())?;
                resource.verb = info.verb(method, &resource);
                if matches!(&*resource.verb, "list" | "watch" | "deletecollection") {
                    info.narrow(&mut resource);
                }
                info.action = Action::Resource(resource);
            }
            None => {
                let action =
                    NonResourceAction { verb: method.to_ascii_lowercase(), path: decode_path(path)? };
                info.action = Action::NonResource(action);
            }
        }
        Ok(info)
    }

    /// The last value of a query parameter.
    #[must_use]
    pub fn last(&self, key: &str) -> Option<&str> {
        self.query.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Whether a query parameter is set, and not to `false` or `0`.
    #[must_use]
    pub fn is_set(&self, key: &str) -> bool {
        self.last(key).is_some_and(|value| !matches!(value, "false" | "0" | "False" | "F" | "f" | "FALSE"))
    }

    /// The resource attributes, where it is a resource request.
    #[must_use]
    pub fn resource(&self) -> Option<&ResourceAction> {
        match &self.action {
            Action::Resource(resource) => Some(resource),
            Action::NonResource(_) => None,
        }
    }

    fn verb(&self, method: &str, resource: &ResourceAction) -> String {
        let is_named = !resource.name.is_empty();
        match method {
            "POST" => "create",
            "GET" | "HEAD" if is_named => "get",
            "GET" | "HEAD" if self.is_set("watch") => "watch",
            "GET" | "HEAD" => "list",
            "PUT" => "update",
            "PATCH" => "patch",
            "DELETE" if is_named => "delete",
            "DELETE" => "deletecollection",
            _ => "",
        }
        .to_owned()
    }

    /// Fills in what selectors say: the requirements, and the name where one field selects it.
    fn narrow(&self, resource: &mut ResourceAction) {
        resource.label_selector = self.label_selector.requirements();
        resource.field_selector = self.field_selector.requirements();
        let name = resource.field_selector.iter().find_map(|requirement| match requirement {
            Requirement { key, operator: Operator::In, values } if key == "metadata.name" => values.first(),
            _ => None,
        });
        if let Some(name) = name {
            resource.name.clone_from(name);
        }
    }
}

/// The attributes that a path stands for, but for the verb; `None` where it is no path of a resource.
fn resource_path(path: &str) -> Result<Option<ResourceAction>, ApiError> {
    let mut segments = path.trim_start_matches('/').split('/');
    if !path.starts_with('/') || path.starts_with("//") {
        return refuse_if_resource(path);
    }
    let (group, version) = match segments.next() {
        Some("api") => (String::new(), segments.next()),
        Some("apis") => match segments.next() {
            Some(group) if !group.is_empty() => (decode_segment(group)?, segments.next()),
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    let Some(version) = version.filter(|version| !version.is_empty()) else { return Ok(None) };
    let mut rest = segments.map(decode_segment).collect::<Result<Vec<_>, _>>()?;
    if rest.last().is_some_and(String::is_empty) {
        rest.pop();
    }
    if rest.is_empty() {
        return Ok(None);
    }
    if rest.iter().any(String::is_empty) {
        return Err(ApiError::bad_request("the path has an empty segment"));
    }
    let mut resource =
        ResourceAction { group, version: decode_segment(version)?, ..ResourceAction::default() };
    let mut rest = rest.into_iter().peekable();
    let first = rest.next().unwrap_or_default();
    if first == "watch" {
        return Err(ApiError::bad_request("paths with /watch/ are not served: ask with ?watch=true"));
    }
    match (&*first, rest.next()) {
        // The object itself, or what is in it.
        ("namespaces", Some(namespace)) => match (rest.next(), rest.peek()) {
            (None, _) => {
                resource.resource = first;
                resource.name.clone_from(&namespace);
                resource.namespace = namespace;
            }
            (Some(subresource), None)
                if matches!(&*subresource, "status" | "finalize") && resource.group.is_empty() =>
            {
                resource.resource = first;
                resource.name.clone_from(&namespace);
                resource.namespace = namespace;
                resource.subresource = subresource;
            }
            (Some(inner), _) => {
                resource.resource = inner;
                resource.namespace = namespace;
                resource.name = rest.next().unwrap_or_default();
                resource.subresource = rest.next().unwrap_or_default();
            }
        },
        (_, name) => {
            resource.resource = first;
            resource.name = name.unwrap_or_default();
            resource.subresource = rest.next().unwrap_or_default();
        }
    }
    // What follows a subresource belongs to it (`proxy/metrics`); nothing here serves such.
    if rest.next().is_some() {
        return Err(ApiError::no_such_path());
    }
    Ok(Some(resource))
}

/// A path that begins with `//` is none of a resource to an API server's authoriser; where it would be one to a server
/// that cleans paths, it is refused instead of left to chance.
fn refuse_if_resource(path: &str) -> Result<Option<ResourceAction>, ApiError> {
    match path.trim_start_matches('/').split('/').next() {
        Some("api" | "apis") => Err(ApiError::bad_request("the path begins with more than one slash")),
        _ => Ok(None),
    }
}

/// One segment of a resource's path. A slash, a dot segment, a NUL or bytes that are no text are nobody's name.
fn decode_segment(segment: &str) -> Result<String, ApiError> {
    let text = decode_path(segment)?;
    if text.contains('/') || text == "." || text == ".." || text.contains('%') {
        return Err(ApiError::bad_request(format!(
            "the path segment {segment:?} is not the name of anything"
        )));
    }
    Ok(text)
}

fn decode_path(text: &str) -> Result<String, ApiError> {
    let wrong = || ApiError::bad_request("the path is no UTF-8 text without control characters");
    if !is_percent_encoded(text) {
        return Err(ApiError::bad_request("the path has a malformed percent-encoding"));
    }
    let text = percent_encoding::percent_decode_str(text).decode_utf8().map_err(|_| wrong())?;
    if text.chars().any(char::is_control) { Err(wrong()) } else { Ok(text.into_owned()) }
}

fn decode_query(text: &str) -> Result<String, ApiError> {
    if !is_percent_encoded(text) {
        return Err(ApiError::bad_request("the query has a malformed percent-encoding"));
    }
    let spaced = text.replace('+', " ");
    let text = percent_encoding::percent_decode_str(&spaced).decode_utf8();
    text.map(std::borrow::Cow::into_owned).map_err(|_| ApiError::bad_request("the query is no UTF-8 text"))
}

/// Whether each `%` has its two digits.
fn is_percent_encoded(text: &str) -> bool {
    text.split('%')
        .skip(1)
        .all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|digit| digit.is_ascii_hexdigit()))
}
