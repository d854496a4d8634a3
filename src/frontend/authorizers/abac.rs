//! Attribute-based access control: policies in a file, one JSON object a line.
//!
//! Sources: `k8s.io/kubernetes/pkg/auth/authorizer/abac/abac.go` and `pkg/apis/abac/{v0,v1beta1}/conversion.go`, with
//! their peculiarities: unknown fields are ignored, and a policy covers subresources, names and versions of any kind.

use serde::Deserialize;
use serde_json::Value;

use super::Opinion;
use super::rules::{NonResourceRule, ResourceRule, Rules};
use crate::model::{Action, Request, Subject};

/// The longest line, in bytes: what Go's `bufio.Scanner` reads.
pub const MAX_LINE_BYTES: usize = 64 * 1024;
/// The longest file, in bytes.
pub const MAX_FILE_BYTES: usize = 16 * 1024 * 1024;

const AUTHENTICATED: &str = "system:authenticated";
const ANY: &str = "*";

/// The policies of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policies {
    file: String,
    policies: Vec<Policy>,
}

/// A file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {problem}")]
pub struct PolicyFileError {
    /// The file.
    pub file: String,
    /// The line, counted from 1; 0 where it is about the whole file.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
}

/// One policy, as v1beta1 has it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    user: String,
    group: String,
    readonly: bool,
    api_group: String,
    resource: String,
    namespace: String,
    non_resource_path: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Policy {
    line: usize,
    spec: Spec,
}

/// What says which version a line has.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TypeMeta {
    api_version: String,
    kind: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Versioned {
    spec: Spec,
}

impl Policies {
    /// Reads policies from the bytes of a file of this name.
    ///
    /// # Errors
    /// At the first line that is no policy; nothing of the file is used then.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, PolicyFileError> {
        let wrong = |line, problem: String| PolicyFileError { file: file.to_owned(), line, problem };
        if bytes.len() > MAX_FILE_BYTES {
            return Err(wrong(0, format!("the file is longer than {MAX_FILE_BYTES} bytes")));
        }
        let mut policies = Vec::new();
        for (line, text) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
            if text.len() >= MAX_LINE_BYTES {
                return Err(wrong(line, format!("the line is longer than {MAX_LINE_BYTES} bytes")));
            }
            let text = text.trim_ascii();
            if text.is_empty() || text.starts_with(b"#") {
                continue;
            }
            let spec = Spec::read(text).map_err(|problem| wrong(line, problem))?;
            policies.push(Policy { line, spec });
        }
        Ok(Self { file: file.to_owned(), policies })
    }

    /// How many policies there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.policies.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    pub(super) fn authorize(&self, request: &Request) -> Opinion {
        match self.policies.iter().find(|policy| policy.spec.matches(request)) {
            Some(policy) => {
                Opinion::allow("", format!("the policy in {}:{} matches", self.file, policy.line))
            }
            None => Opinion::none(
                "No policy matched.",
                format!("none of the {} policies in {} matches", self.policies.len(), self.file),
            ),
        }
    }

    pub(super) fn add_rules(&self, subject: &Subject, namespace: &str, rules: &mut Rules) {
        for Policy { spec, .. } in self.policies.iter().filter(|policy| policy.spec.is_for(subject)) {
            let verbs: Vec<String> = match spec.readonly {
                true => READ_ONLY.map(str::to_owned).into(),
                false => vec![ANY.to_owned()],
            };
            if !is_any_or(&spec.namespace, namespace) {
                continue;
            }
            if !spec.resource.is_empty() {
                rules.resource.push(ResourceRule {
                    verbs: verbs.clone(),
                    api_groups: vec![spec.api_group.clone()],
                    resources: vec![spec.resource.clone()],
                    resource_names: Vec::new(),
                });
            }
            if !spec.non_resource_path.is_empty() {
                rules
                    .non_resource
                    .push(NonResourceRule { verbs, urls: vec![spec.non_resource_path.clone()] });
            }
        }
    }
}

const READ_ONLY: [&str; 3] = ["get", "list", "watch"];

impl Spec {
    fn read(line: &[u8]) -> Result<Self, String> {
        let value: Value =
            serde_json::from_slice(line).map_err(|error| format!("no JSON object: {error}"))?;
        if !value.is_object() {
            return Err("no JSON object".to_owned());
        }
        let TypeMeta { api_version, kind } = fields(value.clone())?;
        match (&*api_version, &*kind) {
            ("", "" | "Policy") => Ok(fields::<Self>(value)?.converted_from_v0()),
            ("abac.authorization.kubernetes.io/v1beta1", "Policy") => {
                Ok(fields::<Versioned>(value)?.spec.converted_from_v1beta1())
            }
            _ => Err(format!("{kind:?} of {api_version:?} is no policy")),
        }
    }

    /// A star for user or group is everybody who is authenticated, and whatever else stood there is lost.
    fn converted_from_v1beta1(mut self) -> Self {
        if self.user == ANY || self.group == ANY {
            self.group = AUTHENTICATED.to_owned();
            self.user = String::new();
        }
        self
    }

    fn converted_from_v0(self) -> Self {
        let is_for_all = self.user.is_empty() && self.group.is_empty();
        let mut this = self.converted_from_v1beta1();
        if is_for_all {
            this.group = AUTHENTICATED.to_owned();
        }
        // A policy of this version knows neither.
        this.non_resource_path = match this.namespace.is_empty() && this.resource.is_empty() {
            true => ANY.to_owned(),
            false => String::new(),
        };
        this.api_group = ANY.to_owned();
        for field in [&mut this.namespace, &mut this.resource] {
            if field.is_empty() {
                *field = ANY.to_owned();
            }
        }
        this
    }

    fn matches(&self, request: &Request) -> bool {
        self.is_for(&request.subject)
            && (!self.readonly || READ_ONLY.contains(&request.verb()))
            && match &request.action {
                Action::Resource(action) => {
                    is_any_or(&self.namespace, &action.namespace)
                        && is_any_or(&self.resource, &action.resource)
                        && is_any_or(&self.api_group, &action.group)
                }
                Action::NonResource(action) => self.covers_path(&action.path),
            }
    }

    fn is_for(&self, subject: &Subject) -> bool {
        (!self.user.is_empty() || !self.group.is_empty())
            && (self.user.is_empty() || self.user == subject.user)
            && (self.group.is_empty() || subject.groups.contains(&self.group))
    }

    fn covers_path(&self, path: &str) -> bool {
        let policy = &*self.non_resource_path;
        policy == ANY
            || policy == path
            || policy.ends_with('*') && path.starts_with(policy.trim_end_matches('*'))
    }
}

fn is_any_or(policy: &str, asked: &str) -> bool {
    policy == ANY || policy == asked
}

fn fields<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, String> {
    // Go takes `null` for a field that is not there.
    let value = match value {
        Value::Object(fields) => {
            Value::Object(fields.into_iter().filter(|(_, value)| !value.is_null()).collect())
        }
        other => other,
    };
    serde_json::from_value(value).map_err(|error| format!("no policy: {error}"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{path, resource};
    use super::*;
    use crate::model::Decision;

    fn v1beta1(spec: &str) -> String {
        let kind = r#""apiVersion":"abac.authorization.kubernetes.io/v1beta1","kind":"Policy""#;
        format!(r#"{{{kind},"spec":{spec}}}"#)
    }

    fn allows(line: &str, request: &Request) -> bool {
        let opinion = Policies::parse("policy.jsonl", line.as_bytes()).unwrap().authorize(request);
        assert_ne!(opinion.decision, Decision::Deny);
        opinion.decision == Decision::Allow
    }

    #[test]
    fn policies_match_resources_as_kubernetes_has_it() {
        let everybody = &["system:authenticated", "dev"][..];
        #[rustfmt::skip]
        let rows = [
            // policy, what, namespace, expected
            (r#"{"user":"alice","namespace":"a","resource":"pods"}"#, "get pods", "a", true),
            (r#"{"user":"alice","namespace":"a","resource":"pods"}"#, "create pods/exec", "a", true),
            (r#"{"user":"alice","namespace":"a","resource":"pods"}"#, "get pods", "b", false),
            (r#"{"user":"alice","namespace":"a","resource":"pods"}"#, "get pods.metrics.k8s.io", "a", false),
            (r#"{"user":"alice","namespace":"*","resource":"pods","apiGroup":"*"}"#, "get pods.x", "", true),
            (r#"{"user":"alice","resource":"pods"}"#, "get pods", "a", false),
            (r#"{"user":"alice","resource":"pods"}"#, "get pods", "", true),
            (r#"{"user":"alice","namespace":"*","resource":"*","readonly":true}"#, "watch pods", "a", true),
            (r#"{"user":"alice","namespace":"*","resource":"*","readonly":true}"#, "delete pods", "a", false),
            (r#"{"user":"Alice","namespace":"*","resource":"*"}"#, "get pods", "a", false),
            (r#"{"group":"dev","namespace":"*","resource":"*"}"#, "get pods", "a", true),
            (r#"{"user":"bob","group":"dev","namespace":"*","resource":"*"}"#, "get pods", "a", false),
            (r#"{"user":"*","group":"nobody","namespace":"*","resource":"*"}"#, "get pods", "a", true),
            (r#"{"namespace":"*","resource":"*"}"#, "get pods", "a", false),
            (r#"{"user":"alice","ns":"a","namespace":"*","resource":"*","verb":"x"}"#, "get pods", "b", true),
            (r#"{"user":"alice","nonResourcePath":"*"}"#, "get pods", "a", false),
        ];
        for (spec, what, namespace, expected) in rows {
            let request = resource("alice", everybody, what, namespace, "n");
            assert_eq!(allows(&v1beta1(spec), &request), expected, "{spec} {what} in {namespace:?}");
        }
        let stranger = resource("", &["system:unauthenticated"], "get pods", "a", "");
        assert!(!allows(&v1beta1(r#"{"user":"*","namespace":"*","resource":"*"}"#), &stranger));
    }

    #[test]
    fn policies_match_paths_as_kubernetes_has_it() {
        for (policy, asked, expected) in [
            ("*", "/metrics", true),
            ("/metrics", "/metrics", true),
            ("/metrics", "/metrics/", false),
            ("/foo/*", "/foo/", true),
            ("/foo/*", "/foo/bar", true),
            ("/foo/*", "/foo", false),
            ("/foo*", "/foobar", true),
            ("/foo/**", "/foo/x", true),
            ("", "", true),
            ("", "/", false),
        ] {
            let line = v1beta1(&format!(r#"{{"user":"alice","nonResourcePath":"{policy}"}}"#));
            assert_eq!(allows(&line, &path("alice", &[], "get", asked)), expected, "{policy} {asked}");
        }
    }

    #[test]
    fn old_policies_stand_for_anything_that_they_leave_out() {
        let all = &["system:authenticated"][..];
        for (line, request, expected) in [
            ("{}", resource("x", all, "delete pods.any", "a", ""), true),
            ("{}", resource("x", &[], "get pods", "a", ""), false),
            (r#"{"user":"x"}"#, path("x", &[], "post", "/any"), true),
            (r#"{"user":"x","resource":"pods"}"#, path("x", &[], "get", "/any"), false),
            (r#"{"user":"x","resource":"pods"}"#, resource("x", &[], "get pods.g", "a", ""), true),
            (r#"{"user":"x","namespace":"a"}"#, resource("x", &[], "get pods", "b", ""), false),
            (r#"{"user":"*"}"#, resource("x", all, "get pods", "b", ""), true),
            (r#"{"group":"*"}"#, resource("x", &[], "get pods", "b", ""), false),
            (r#"{"kind":"Policy","user":"x"}"#, resource("x", &[], "get pods", "b", ""), true),
            (r#"{"user":"x","readonly":true}"#, resource("x", &[], "update pods", "b", ""), false),
        ] {
            assert_eq!(allows(line, &request), expected, "{line} {request:?}");
        }
    }

    #[test]
    fn the_first_line_that_is_no_policy_is_named_and_nothing_is_used() {
        for (text, line) in [
            ("# comment\n\n{\"user\":\"a\"}\n{", 4),
            ("{\"user\":1}", 1),
            ("[]", 1),
            ("{\"kind\":\"Rule\"}", 1),
            ("{\"apiVersion\":\"abac.authorization.kubernetes.io/v1beta1\"}", 1),
            ("{\"apiVersion\":\"abac.authorization.kubernetes.io/v2\",\"kind\":\"Policy\"}", 1),
        ] {
            let error = Policies::parse("p.jsonl", text.as_bytes()).unwrap_err();
            assert_eq!(error.line, line, "{text}");
            assert!(error.to_string().starts_with(&format!("p.jsonl:{line}: ")), "{error}");
        }
        let long = format!("{{\"user\":\"{}\"}}", "a".repeat(MAX_LINE_BYTES));
        assert!(Policies::parse("p", long.as_bytes()).is_err());
        assert_eq!(Policies::parse("p", b"# nothing\n  \r\n").unwrap().len(), 0);
    }
}
