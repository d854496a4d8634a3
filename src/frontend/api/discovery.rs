//! What is served, for clients to find out; and the paths that are no resources.
//!
//! Sources: `k8s.io/api/apidiscovery/v2/types.go`, `k8s.io/apimachinery/pkg/apis/meta/v1/types.go` (`APIGroupList`,
//! `APIResourceList`), `k8s.io/apiserver/pkg/endpoints/discovery`.

use serde_json::{Map, Value, json};

use super::answer::{Answer, JSON};
use super::negotiate::{self, Range};
use super::{Call, openapi, openapi_v2};
use crate::frontend::resources::{RESOURCES, ResourceType};
use crate::frontend::status::ApiError;

/// The version of Kubernetes whose behaviour this is, so that clients take the right paths.
const MINOR: &str = "32";

/// Serves a path that is no resource.
pub(super) fn serve(call: &Call<'_>, path: &str) -> Result<Answer, ApiError> {
    let path = path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path);
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let is_known = matches!(
        &*segments,
        [""] | ["api" | "apis" | "version" | "healthz" | "livez" | "readyz" | "openapi", ..]
    );
    if !is_known {
        return Err(ApiError::no_such_path());
    }
    if !matches!(call.method, "GET" | "HEAD") {
        return Err(ApiError {
            code: 405,
            reason: "MethodNotAllowed",
            ..ApiError::bad_request("the server does not allow this method on the requested resource")
        });
    }
    let json = |value: &Value| only_json(call).map(|()| Answer::json(200, value));
    match &*segments {
        [""] => json(&json!({"paths": paths()})),
        ["version"] => json(&version()),
        ["healthz" | "livez" | "readyz"] => Ok(Answer::text(200, "ok")),
        ["api"] => groups(call, true),
        ["apis"] => groups(call, false),
        ["api", "v1"] => json(&resource_list("", "v1")),
        ["apis", group] if version_of(group).is_some() => json(&self::group(group)),
        ["apis", group, version] if version_of(group) == Some(*version) => {
            json(&resource_list(group, version))
        }
        ["openapi", "v2"] => openapi_v2::serve(call),
        ["openapi", "v3", rest @ ..] => openapi::serve(call, rest),
        _ => Err(ApiError::no_such_path()),
    }
}

/// The groups that have a name, in their order.
pub(super) fn named_groups() -> Vec<&'static str> {
    let mut groups: Vec<&str> = Vec::new();
    for kind in RESOURCES.iter().filter(|kind| !kind.group.is_empty()) {
        if !groups.contains(&kind.group) {
            groups.push(kind.group);
        }
    }
    groups
}

/// The one version of a group that is served.
pub(super) fn version_of(group: &str) -> Option<&'static str> {
    RESOURCES.iter().find(|kind| !group.is_empty() && kind.group == group).map(|kind| kind.version)
}

fn of_group<'a>(group: &'a str) -> impl Iterator<Item = &'static ResourceType> + 'a {
    RESOURCES.iter().filter(move |kind| kind.group == group)
}

fn only_json(call: &Call<'_>) -> Result<(), ApiError> {
    let is_plain = |range: &Range| negotiate::is_json(range) && range.parameter("as").is_empty();
    if negotiate::accepted(call.headers).iter().any(is_plain) {
        return Ok(());
    }
    Err(ApiError::not_acceptable("only the following media types are accepted: application/json"))
}

fn paths() -> Vec<String> {
    let mut paths: Vec<String> = vec!["/api".into(), "/api/v1".into(), "/apis".into()];
    for group in named_groups() {
        paths.push(format!("/apis/{group}"));
        paths.push(format!("/apis/{group}/{}", version_of(group).unwrap_or_default()));
    }
    paths.extend(
        ["/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"].map(str::to_owned),
    );
    paths.sort();
    paths
}

/// `version.Info` of `k8s.io/apimachinery/pkg/version`.
fn version() -> Value {
    json!({
        "major": "1", "minor": MINOR,
        "gitVersion": format!("v1.{MINOR}.0+bailiwick.{}", env!("CARGO_PKG_VERSION")),
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, architecture()),
    })
}

/// As Go calls it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// `/api` and `/apis`: all at once in the aggregated form, or the groups alone.
fn groups(call: &Call<'_>, is_core: bool) -> Result<Answer, ApiError> {
    for range in negotiate::accepted(call.headers).iter().filter(|range| negotiate::is_json(range)) {
        let version = range.parameter("v");
        match range.parameter("as") {
            "" if is_core => {
                return Ok(Answer::json(
                    200,
                    &json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
                ));
            }
            "" => {
                let groups: Vec<Value> = named_groups().into_iter().map(group).collect();
                return Ok(Answer::json(
                    200,
                    &json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}),
                ));
            }
            "APIGroupDiscoveryList"
                if range.parameter("g") == "apidiscovery.k8s.io" && matches!(version, "v2" | "v2beta1") =>
            {
                let body = aggregated(is_core, version).to_string();
                let kind = format!("{JSON};g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
                return Ok(Answer::whole(200, &kind, body));
            }
            _ => {}
        }
    }
    Err(ApiError::not_acceptable("only the following media types are accepted: application/json"))
}

/// `APIGroupDiscoveryList`.
fn aggregated(is_core: bool, version: &str) -> Value {
    let groups = if is_core { vec![""] } else { named_groups() };
    let items: Vec<Value> = groups
        .into_iter()
        .map(|group| {
            let served = version_of(group).unwrap_or("v1");
            let resources: Vec<Value> = of_group(group).map(discovered).collect();
            json!({
                "metadata": {"name": group, "creationTimestamp": null},
                "versions": [{"version": served, "freshness": "Current", "resources": resources}],
            })
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {}, "items": items,
    })
}

/// `APIResourceDiscovery`.
fn discovered(kind: &ResourceType) -> Value {
    let mut resource = json!({
        "resource": kind.resource,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": singular(kind), "verbs": kind.verbs,
    });
    let subresources: Vec<Value> = kind
        .subresources
        .iter()
        .map(|subresource| {
            json!({
                "subresource": subresource.name, "verbs": subresource.verbs,
                "responseKind": {
                    "group": subresource.group, "version": subresource.version, "kind": subresource.kind,
                },
            })
        })
        .collect();
    add_lists(&mut resource, kind);
    if let (false, Some(fields)) = (subresources.is_empty(), resource.as_object_mut()) {
        fields.insert("subresources".into(), subresources.into());
    }
    resource
}

/// Reviews have none, and then the kind in lower case is what clients take.
fn singular(kind: &ResourceType) -> String {
    if kind.singular.is_empty() { kind.kind.to_ascii_lowercase() } else { kind.singular.to_owned() }
}

fn add_lists(resource: &mut Value, kind: &ResourceType) {
    let Some(fields) = resource.as_object_mut() else { return };
    for (name, list) in [("shortNames", kind.short_names), ("categories", kind.categories)] {
        if !list.is_empty() {
            fields.insert(name.into(), json!(list));
        }
    }
}

/// `APIGroup`.
fn group(group: &str) -> Value {
    let version = version_of(group).unwrap_or_default();
    let version = json!({"groupVersion": format!("{group}/{version}"), "version": version});
    json!({
        "kind": "APIGroup", "apiVersion": "v1", "name": group, "versions": [version], "preferredVersion": version,
    })
}

/// `APIResourceList`, with subresources as resources of their own.
fn resource_list(group: &str, version: &str) -> Value {
    let mut resources = Vec::new();
    for kind in of_group(group) {
        let mut resource = json!({
            "name": kind.resource, "singularName": singular(kind), "namespaced": kind.namespaced,
            "kind": kind.kind, "verbs": kind.verbs,
        });
        add_lists(&mut resource, kind);
        resources.push(resource);
        for subresource in kind.subresources {
            let mut fields = Map::new();
            fields.insert("name".into(), format!("{}/{}", kind.resource, subresource.name).into());
            fields.insert("singularName".into(), "".into());
            fields.insert("namespaced".into(), kind.namespaced.into());
            fields.insert("kind".into(), subresource.kind.into());
            fields.insert("verbs".into(), json!(subresource.verbs));
            if subresource.group != group {
                fields.insert("group".into(), subresource.group.into());
                fields.insert("version".into(), subresource.version.into());
            }
            resources.push(fields.into());
        }
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources,
    })
}
