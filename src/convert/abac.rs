//! The policy files of in-tree ABAC as policies: one for each line.
//!
//! Semantics: `k8s.io/kubernetes/pkg/auth/authorizer/abac/abac.go` and `pkg/apis/abac/{v0,v1beta1}/conversion.go`.

use serde_json::{Map, Value};

use super::tree::{list, map, name, policy, text};
use super::{Converted, Policy, begin, finish};
use crate::document::{Diagnostic, Diagnostics, Node, Source, Span, quoted};

/// The `apiVersion` of a line that names its version.
const V1BETA1: &str = "abac.authorization.kubernetes.io/v1beta1";

/// The longest line, in bytes: what Go's `bufio.Scanner` reads.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// Whoever has logged on. Those who have not are never meant by a `*`.
const AUTHENTICATED: &str = "system:authenticated";

const FIELDS_OF_V0: [&str; 5] = ["user", "group", "readonly", "resource", "namespace"];
const FIELDS_OF_V1BETA1: [&str; 7] =
    ["user", "group", "readonly", "apiGroup", "resource", "namespace", "nonResourcePath"];

/// Makes policies of these files, each with one JSON object a line; empty lines, and those that begin with `#`, say nothing.
///
/// # Errors
/// With every line that ABAC would not read, or that cannot be carried over.
pub fn abac(sources: &[Source]) -> Result<Converted, Diagnostics> {
    let mut diagnostics = begin(sources);
    let mut policies = Vec::new();
    for (number, source) in (0_u32..).zip(sources) {
        let mut start = 0_usize;
        for (line, bytes) in (1_usize..).zip(source.bytes.split(|byte| *byte == b'\n')) {
            let span = place(number, start, bytes.len());
            start = start.saturating_add(bytes.len()).saturating_add(1);
            let bytes = bytes.trim_ascii();
            if bytes.is_empty() || bytes.starts_with(b"#") {
                continue;
            }
            let Some(rule) = Rule::read(bytes, span, &mut diagnostics) else { continue };
            let of = format!("{}:{line}", source.name);
            policies.extend(rule.convert(of, number, line, &mut diagnostics));
        }
    }
    finish(&policies, diagnostics)
}

fn place(source: u32, start: usize, length: usize) -> Span {
    let within = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    Span { source, start: within(start), end: within(start.saturating_add(length)) }
}

/// What a line says, in the words of v1beta1.
struct Rule {
    user: String,
    group: String,
    read_only: bool,
    api_group: String,
    resource: String,
    namespace: String,
    path: String,
    span: Span,
}

impl Rule {
    fn read(line: &[u8], span: Span, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut wrong = |message: String| {
            diagnostics.push(Diagnostic::error(span, message));
        };
        if line.len() >= MAX_LINE_BYTES {
            wrong(format!("the line is longer than {MAX_LINE_BYTES} bytes: an API server does not read it"));
            return None;
        }
        let line = match serde_json::from_slice(line) {
            Ok(Value::Object(line)) => line,
            Ok(_) => {
                wrong("this must be a JSON object".to_owned());
                return None;
            }
            Err(error) => {
                wrong(format!("no JSON: {error}"));
                return None;
            }
        };
        let head = |key: &str| line.get(key).and_then(Value::as_str).unwrap_or_default();
        match (head("apiVersion"), head("kind")) {
            (V1BETA1, "Policy") => match line.get("spec") {
                None | Some(Value::Null) => Self::of_v1beta1(&Map::new(), span, diagnostics),
                Some(Value::Object(spec)) => {
                    ignored(&line, &["apiVersion", "kind", "spec"], span, diagnostics);
                    Self::of_v1beta1(spec, span, diagnostics)
                }
                Some(_) => {
                    wrong("`spec` must be a JSON object".to_owned());
                    None
                }
            },
            ("", "" | "Policy") => Self::of_v0(&line, span, diagnostics),
            (version, kind) => {
                wrong(format!("{} of {} is no policy of ABAC", quoted(kind), quoted(version)));
                None
            }
        }
    }

    /// A star for user or group is everybody who has logged on, and whatever else stood there is lost.
    fn of_v1beta1(spec: &Map<String, Value>, span: Span, diagnostics: &mut Diagnostics) -> Option<Self> {
        ignored(spec, &FIELDS_OF_V1BETA1, span, diagnostics);
        let mut rule = Self::fields(spec, span, diagnostics)?;
        if rule.user == "*" || rule.group == "*" {
            let other = if rule.user == "*" { &rule.group } else { &rule.user };
            if !other.is_empty() && other != "*" {
                let message = format!(
                    "ABAC takes this for everybody who has logged on, not for {} alone",
                    quoted(other)
                );
                diagnostics.push(Diagnostic::warning(span, message));
            }
            rule.user.clear();
            AUTHENTICATED.clone_into(&mut rule.group);
        }
        Some(rule)
    }

    /// Nobody named is everybody who has logged on; a field that is left out is a star; and a policy about nothing in
    /// particular is one about every path too.
    fn of_v0(line: &Map<String, Value>, span: Span, diagnostics: &mut Diagnostics) -> Option<Self> {
        let known = line.iter().filter(|(key, _)| FIELDS_OF_V0.contains(&key.as_str()));
        let known: Map<String, Value> = known.map(|(key, value)| (key.clone(), value.clone())).collect();
        let mut line = line.clone();
        line.remove("kind");
        line.remove("apiVersion");
        ignored(&line, &FIELDS_OF_V0, span, diagnostics);
        let mut rule = Self::of_v1beta1(&known, span, diagnostics)?;
        if rule.user.is_empty() && rule.group.is_empty() {
            AUTHENTICATED.clone_into(&mut rule.group);
        }
        let is_about_everything = rule.namespace.is_empty() && rule.resource.is_empty();
        rule.path = if is_about_everything { "*".to_owned() } else { String::new() };
        "*".clone_into(&mut rule.api_group);
        for field in [&mut rule.namespace, &mut rule.resource] {
            if field.is_empty() {
                "*".clone_into(field);
            }
        }
        Some(rule)
    }

    fn fields(spec: &Map<String, Value>, span: Span, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut text = |key: &str| match spec.get(key) {
            None | Some(Value::Null) => Some(String::new()),
            Some(Value::String(text)) => Some(text.clone()),
            Some(_) => {
                diagnostics.push(Diagnostic::error(span, format!("{} must be text", quoted(key))));
                None
            }
        };
        let (user, group, api_group) = (text("user"), text("group"), text("apiGroup"));
        let (resource, namespace, path) = (text("resource"), text("namespace"), text("nonResourcePath"));
        let read_only = match spec.get("readonly") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(read_only)) => *read_only,
            Some(_) => {
                diagnostics.push(Diagnostic::error(span, "`readonly` must be true or false"));
                return None;
            }
        };
        Some(Self {
            user: user?,
            group: group?,
            read_only,
            api_group: api_group?,
            resource: resource?,
            namespace: namespace?,
            path: path?,
            span,
        })
    }

    fn convert(self, of: String, source: u32, line: usize, diagnostics: &mut Diagnostics) -> Option<Policy> {
        let span = self.span;
        let subject = self.subject();
        let rules = self.rules(diagnostics);
        let why = match (&subject, rules.is_empty()) {
            (None, _) => "it names no user and no group",
            (_, true) => "it names no resource and no path",
            (Some(subject), false) => {
                let number = source.saturating_add(1).to_string();
                let line = format!("line-{line}");
                let name = if source == 0 { name(&["abac", &line]) } else { name(&["abac", &number, &line]) };
                let subjects = list([subject.clone()], span);
                let document = policy(&name, &format!("ABAC, {of}"), subjects, list(rules, span), span);
                return Some(Policy { of, document });
            }
        };
        diagnostics.push(Diagnostic::warning(span, format!("the policy grants nothing: {why}")));
        None
    }

    /// Whoever is both, where both are named.
    fn subject(&self) -> Option<Node> {
        let one = |kind: &str, name: &str| {
            map([("kind", text(kind, self.span)), ("name", text(name, self.span))], self.span)
        };
        match (&*self.user, &*self.group) {
            ("", "") => None,
            (user, "") => Some(one("User", user)),
            ("", group) => Some(one("Group", group)),
            (user, group) => {
                let both = list([one("User", user), one("Group", group)], self.span);
                Some(map([("allOf", both)], self.span))
            }
        }
    }

    fn rules(&self, diagnostics: &mut Diagnostics) -> Vec<Node> {
        let span = self.span;
        let words = |words: &[&str]| list(words.iter().map(|word| text(*word, span)), span);
        let verbs = || words(if self.read_only { &["get", "list", "watch"] } else { &["*"] });
        let mut rules = Vec::new();
        if !self.resource.is_empty() {
            let mut whole = |what: &str, value: &str, odd: &[char]| {
                if value != "*" && value.contains(odd) {
                    let message = format!("ABAC compares {what} whole: no request has {}", quoted(value));
                    diagnostics
                        .push(Diagnostic::error(span, message).help("remove the line, or name it as it is"));
                }
            };
            whole("resources", &self.resource, &['*', '/']);
            whole("namespaces", &self.namespace, &['*']);
            // Subresources are covered with their resource.
            let all_of_it = format!("{}/*", self.resource);
            let resources =
                if self.resource == "*" { words(&["*"]) } else { words(&[&self.resource, &all_of_it]) };
            let mut fields = vec![("apiGroups", words(&[&self.api_group])), ("resources", resources)];
            if self.namespace != "*" {
                fields.push(("namespaces", words(&[&self.namespace])));
            }
            fields.push(("verbs", verbs()));
            rules.push(map(fields, span));
        }
        if !self.path.is_empty() {
            let beginning = self.path.trim_end_matches('*');
            let path =
                if beginning.len() == self.path.len() { self.path.clone() } else { format!("{beginning}*") };
            rules.push(map([("nonResourceURLs", words(&[&path])), ("verbs", verbs())], span));
        }
        rules
    }
}

/// Warns of fields that ABAC does not know and passes over: the policy may be wider than whoever wrote it thought.
fn ignored(object: &Map<String, Value>, known: &[&str], span: Span, diagnostics: &mut Diagnostics) {
    for key in object.keys().filter(|key| !known.contains(&key.as_str())) {
        let message = format!("ABAC does not know the field {}, and passes over it", quoted(key));
        let help = crate::document::did_you_mean_or_list(key, known.iter().copied());
        diagnostics.push(Diagnostic::warning(span, message).maybe_help(help));
    }
}
