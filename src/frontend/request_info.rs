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

/// The longest method, in bytes; the longest that is registered has 17 (RFC 9110, 16.1.1).
pub const MAX_METHOD_BYTES: usize = 32;

impl RequestInfo {
    /// Reads a request's method, path (as sent, still percent-encoded) and query.
    ///
    /// # Errors
    /// Where the path has an encoded slash, an encoded or plain dot segment, an empty segment below a resource prefix, or
    /// anything that is no UTF-8; where the method or the path is too long; where the query or a selector is malformed.
    pub fn read(method: &str, path: &str, query: &str) -> Result<Self, ApiError> {
        if method.len() > MAX_METHOD_BYTES {
            return Err(ApiError::bad_request(format!("the method is longer than {MAX_METHOD_BYTES} bytes")));
        }
        if path.len().saturating_add(query.len()) > MAX_TARGET_BYTES {
            return Err(ApiError::bad_request(format!(
                "the path and query are longer than {MAX_TARGET_BYTES} bytes"
            )));
        }
        let query = read_query(query)?;
        let mut info = Self {
            action: Action::NonResource(NonResourceAction::default()),
            query,
            label_selector: LabelSelector::default(),
            field_selector: FieldSelector::default(),
        };
        match resource_path(path)? {
            Some(mut resource) => {
                info.label_selector = LabelSelector::parse(info.first("labelSelector").unwrap_or_default())?;
                info.field_selector = FieldSelector::parse(info.first("fieldSelector").unwrap_or_default())?;
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

    /// The first value of a query parameter, which is the one that counts for an API server
    /// (`k8s.io/apimachinery/pkg/conversion/queryparams`).
    #[must_use]
    pub fn first(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Whether a query parameter is set, and not to `false` or `0` (`Convert_Slice_string_To_bool`).
    #[must_use]
    pub fn is_set(&self, key: &str) -> bool {
        self.first(key).is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
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

    /// Fills in what selectors say: the requirements, and for a list or watch the name where one field selects it.
    fn narrow(&self, resource: &mut ResourceAction) {
        resource.label_selector = self.label_selector.requirements();
        resource.field_selector = self.field_selector.requirements();
        // Whoever may delete this one by its name may not therefore delete collections.
        if resource.verb == "deletecollection" {
            return;
        }
        let name = resource.field_selector.iter().find_map(|requirement| match requirement {
            Requirement { key, operator: Operator::In, values } if key == "metadata.name" => values.first(),
            _ => None,
        });
        if let Some(name) = name {
            resource.name.clone_from(name);
        }
    }
}

/// The pairs of a query, decoded, in their order.
///
/// # Errors
/// Where it is malformed.
pub fn read_query(query: &str) -> Result<Vec<(String, String)>, ApiError> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode_query(key)?, decode_query(value)?))
        })
        .collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// `VERB GROUP/RESOURCE/SUBRESOURCE NAMESPACE NAME`, or `VERB PATH`.
    fn read(method: &str, target: &str) -> String {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        match RequestInfo::read(method, path, query) {
            Err(error) => format!("{} {}", error.code, error.reason),
            Ok(info) => match info.action {
                Action::NonResource(path) => format!("{} {}", path.verb, path.path),
                Action::Resource(it) => format!(
                    "{} {}/{}/{} {} {}",
                    it.verb, it.group, it.resource, it.subresource, it.namespace, it.name
                ),
            },
        }
    }

    #[test]
    fn paths_are_read_as_an_api_server_reads_them() {
        for (method, target, expected) in [
            ("GET", "/api/v1/namespaces/a/pods", "list /pods/ a "),
            ("HEAD", "/api/v1/namespaces/a/pods/b", "get /pods/ a b"),
            ("GET", "/api/v1/namespaces/a/pods?watch=true", "watch /pods/ a "),
            ("GET", "/api/v1/namespaces/a/pods?watch=0", "list /pods/ a "),
            ("GET", "/api/v1/namespaces/a/pods?watch=FALSE", "list /pods/ a "),
            ("GET", "/api/v1/namespaces/a/pods?watch", "watch /pods/ a "),
            // Of two values the first counts.
            ("GET", "/api/v1/namespaces/a/pods?watch=0&watch=1", "list /pods/ a "),
            (
                "GET",
                "/api/v1/pods?fieldSelector=metadata.name%3Da&fieldSelector=metadata.name%3Db",
                "list /pods/  a",
            ),
            ("GET", "/api/v1/namespaces/a/pods/b/log?watch=1", "get /pods/log a b"),
            ("POST", "/api/v1/namespaces/a/pods", "create /pods/ a "),
            ("POST", "/api/v1/namespaces/a/serviceaccounts/b/token", "create /serviceaccounts/token a b"),
            ("PUT", "/apis/apps/v1/namespaces/a/deployments/b", "update apps/deployments/ a b"),
            ("PATCH", "/apis/apps/v1/namespaces/a/deployments/b/scale", "patch apps/deployments/scale a b"),
            ("DELETE", "/api/v1/namespaces/a/pods/b", "delete /pods/ a b"),
            ("DELETE", "/api/v1/namespaces/a/pods", "deletecollection /pods/ a "),
            ("GET", "/api/v1/pods", "list /pods/  "),
            ("GET", "/api/v1/nodes/n/status", "get /nodes/status  n"),
            // The namespace of a namespace is itself.
            ("GET", "/api/v1/namespaces", "list /namespaces/  "),
            ("GET", "/api/v1/namespaces/a", "get /namespaces/ a a"),
            ("PUT", "/api/v1/namespaces/a/status", "update /namespaces/status a a"),
            ("POST", "/api/v1/namespaces", "create /namespaces/  "),
            // One object is one, however it is asked for.
            ("GET", "/api/v1/namespaces/a/pods?fieldSelector=metadata.name%3Db", "list /pods/ a b"),
            (
                "DELETE",
                "/api/v1/namespaces/a/pods?fieldSelector=metadata.name%3Db",
                "deletecollection /pods/ a ",
            ),
            ("GET", "/api", "get /api"),
            ("GET", "/api/v1", "get /api/v1"),
            ("GET", "/api/v1/", "get /api/v1/"),
            ("GET", "/apis/apps/v1", "get /apis/apps/v1"),
            ("GET", "/healthz", "get /healthz"),
            ("OPTIONS", "/x%20y", "options /x y"),
            ("TRACE", "/api/v1/pods", " /pods/  "),
        ] {
            assert_eq!(read(method, target), expected, "{method} {target}");
        }
    }

    #[test]
    fn a_path_that_could_be_taken_for_another_is_refused() {
        for target in [
            "//api/v1/namespaces/kube-system/secrets",
            "/api/v1//namespaces/a/secrets",
            "/api/v1/namespaces//secrets",
            "/api/v1/namespaces/a/../b/secrets",
            "/api/v1/namespaces/a/./secrets",
            "/api/v1/namespaces/a%2Fsecrets/b",
            "/api/v1/namespaces/%2e%2e/secrets",
            "/api/v1/namespaces/a%252Fb/pods",
            "/api/v1/namespaces/a/pods/b%00c",
            "/api/v1/namespaces/a/pods/%",
            "/api/v1/namespaces/a/pods/%zz",
            "/api/v1/namespaces/a/pods/%ff",
            "/api/v1/watch/namespaces/a/secrets",
            "/api/v1/pods?labelSelector=%zz",
            "/api/v1/pods?labelSelector=a+in",
            "/api/v1/pods?fieldSelector=a",
        ] {
            assert_eq!(read("GET", target), "400 BadRequest", "{target}");
        }
        assert_eq!(read("GET", "/api/v1/namespaces/a/pods/b/proxy/metrics"), "404 NotFound");
        assert_eq!(read("GET", &format!("/{}", "x".repeat(MAX_TARGET_BYTES))), "400 BadRequest");
        assert_eq!(read(&"X".repeat(MAX_METHOD_BYTES + 1), "/healthz"), "400 BadRequest");
    }

    #[test]
    fn what_is_not_a_resource_is_judged_byte_for_byte() {
        // An authoriser sees what was sent; nothing is served there.
        for target in ["/healthz/..", "//healthz", "/HEALTHZ", "/healthz/", "/apix/v1/pods"] {
            assert_eq!(read("GET", target), format!("get {target}"));
        }
    }

    #[test]
    fn a_selector_that_narrows_is_shown_to_authorisers() {
        let info = RequestInfo::read(
            "DELETE",
            "/api/v1/namespaces/a/pods",
            "labelSelector=tier+in+(gold,silver)&fieldSelector=status.phase!%3DFailed",
        )
        .unwrap();
        let resource = info.resource().unwrap();
        assert_eq!(resource.label_selector[0].values, ["gold", "silver"]);
        assert_eq!(resource.field_selector[0].operator, Operator::NotIn);
        let single = RequestInfo::read("GET", "/api/v1/namespaces/a/pods/b", "labelSelector=a").unwrap();
        assert!(single.resource().unwrap().label_selector.is_empty(), "a get is not narrowed");
    }
}
