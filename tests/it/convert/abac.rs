//! In-tree ABAC: a reference evaluator over the lines themselves, random files, and what is refused.

use bailiwick::convert;
use bailiwick::document::Source;
use bailiwick::model::{Action, Request};
use serde_json::{Value, json};

use super::{Policies, Random, agree, messages};

/// Whether ABAC allows it, by its lines. Written from `abac.go` and the two `conversion.go`.
fn allows(lines: &[Value], request: &Request) -> bool {
    lines.iter().any(|line| {
        let versioned = line["apiVersion"].is_string();
        let said = if versioned { &line["spec"] } else { line };
        let text = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
        let (mut user, mut group) = (text("user"), text("group"));
        let (mut resource, mut namespace) = (text("resource"), text("namespace"));
        let (mut api_group, mut path) = (text("apiGroup"), text("nonResourcePath"));
        if !versioned {
            if user.is_empty() && group.is_empty() {
                group = "*".to_owned();
            }
            api_group = "*".to_owned();
            path = if resource.is_empty() && namespace.is_empty() { "*" } else { "" }.to_owned();
            for field in [&mut resource, &mut namespace] {
                if field.is_empty() {
                    *field = "*".to_owned();
                }
            }
        }
        if user == "*" || group == "*" {
            (user, group) = (String::new(), "system:authenticated".to_owned());
        }
        let named = !(user.is_empty() && group.is_empty());
        let by_user = user.is_empty() || user == request.subject.user;
        let by_group = group.is_empty() || request.subject.groups.contains(&group);
        let read_only = said["readonly"] == true;
        let verb = !read_only || ["get", "list", "watch"].contains(&request.verb());
        let same = |said: &str, asked: &str| said == "*" || said == asked;
        named
            && by_user
            && by_group
            && verb
            && match &request.action {
                Action::Resource(action) => {
                    same(&namespace, &action.namespace)
                        && same(&resource, &action.resource)
                        && same(&api_group, &action.group)
                }
                Action::NonResource(action) => {
                    same(&path, &action.path)
                        || (path.ends_with('*') && action.path.starts_with(path.trim_end_matches('*')))
                }
            }
    })
}

fn line(random: &mut Random) -> Value {
    let mut said = json!({});
    let mut set = |key: &str, value: &str| {
        if !value.is_empty() {
            said[key] = value.into();
        }
    };
    set("user", random.pick(&["", "", "alice", "bob", "system:serviceaccount:dev:robot", "*"]));
    set("group", random.pick(&["", "", "devs", "ops", "system:unauthenticated", "*"]));
    set("resource", random.pick(&["", "pods", "secrets", "deployments", "*"]));
    set("namespace", random.pick(&["", "dev", "prod", "*"]));
    // Known to v1beta1 only, and passed over before.
    set("apiGroup", random.pick(&["", "", "apps", "*"]));
    set(
        "nonResourcePath",
        random.pick(&["", "", "/healthz", "/healthz/*", "/healthz*", "/healthz/**", "/metrics", "*"]),
    );
    set("ns", random.pick(&["", "", "", "dev"]));
    if random.one_in(2) {
        said["readonly"] = random.one_in(2).into();
    }
    if random.one_in(3) {
        return said;
    }
    json!({"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy", "spec": said})
}

fn convert(text: &str) -> Result<convert::Converted, bailiwick::document::Diagnostics> {
    convert::abac(&[Source::new("abac.jsonl", text.as_bytes().to_vec())])
}

#[test]
fn converted_files_decide_as_abac_does() {
    for seed in 0..3 {
        let mut random = Random::new(1_000 + seed);
        let lines: Vec<Value> = (0..12).map(|_| line(&mut random)).collect();
        let text: String = lines.iter().map(|line| format!("\n# a comment\n  {line}  \r\n")).collect();
        let converted = convert(&text).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
        let policies = Policies::of(&converted);
        let reference = |request: &Request| allows(&lines, request);
        agree(&format!("file {seed}"), &mut random, &policies, reference, &text, &converted.yaml);
    }
}

#[test]
fn a_line_that_abac_does_not_read_or_that_matches_nothing_is_an_error_in_its_place() {
    for (line, message) in [
        ("{\"user\":", "no JSON: EOF while parsing a value at line 1 column 8"),
        ("[]", "this must be a JSON object"),
        (r#"{"apiVersion":"v1","kind":"Pod"}"#, "`Pod` of `v1` is no policy of ABAC"),
        (r#"{"user":1}"#, "`user` must be text"),
        (r#"{"user":"a","resource":"pods/log"}"#, "ABAC compares resources whole: no request has `pods/log`"),
        (
            r#"{"user":"a","resource":"pods","namespace":"dev-*"}"#,
            "ABAC compares namespaces whole: no request has `dev-*`",
        ),
        (r#"{"user":"a","resource":"Pods"}"#, "`Pods` is not a resource"),
    ] {
        let diagnostics = convert(&format!("# first\n{line}\n")).unwrap_err();
        let error = diagnostics.items.iter().find(|item| item.message == message);
        let error = error.unwrap_or_else(|| panic!("{line}: {:?}", messages(&diagnostics)));
        assert_eq!(diagnostics.position(error.span.unwrap()).unwrap().line, 2, "{line}");
    }
}

#[test]
fn what_abac_passes_over_is_said() {
    let text = r#"{"user":"*","group":"devs","resource":"pods","ns":"dev"}
{"apiVersion":"abac.authorization.kubernetes.io/v1beta1","kind":"Policy","spec":{"resource":"pods"}}
"#;
    let converted = convert(text).unwrap();
    assert_eq!(converted.policies, 1);
    assert_eq!(
        messages(&converted.warnings),
        [
            "ABAC does not know the field `ns`, and passes over it",
            "ABAC takes this for everybody who has logged on, not for `devs` alone",
            "the policy grants nothing: it names no user and no group",
        ]
    );
}
