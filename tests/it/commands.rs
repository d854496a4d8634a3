//! The real command: how each way to end is told by its exit code, and what is shown. The shown texts are in
//! `tests/commands`; `BLESS=1 cargo test commands` writes them anew.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

const EXPLAIN: &[&str] = &[
    "explain",
    "--policies=policies",
    "--directory=policies/people.ldif",
    "--attribute=department=departmentNumber",
    "--attribute=clearance=bailiwickClearance",
];
const IN_LONDON: &[&str] = &["--cluster=prod-1", "--extra=bailiwick.dev/source-address=10.1.2.3"];
const REPAIR: &[&str] = &["patch", "deployments.apps", "web", "--as=alice", "-n=payments-prod"];

/// What a command left behind.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bailiwick"));
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).env_remove("BLESS");
    command
}

fn run(arguments: &[&str]) -> Ran {
    run_with(arguments, b"")
}

fn run_with(arguments: &[&str], input: &[u8]) -> Ran {
    let mut child = command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that reads no input may be gone before it was all written.
    let _written = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(!err.contains("panicked"), "{err}");
    Ran { code: output.status.code().unwrap(), out: String::from_utf8(output.stdout).unwrap(), err }
}

fn explain(parts: &[&[&str]]) -> Ran {
    run(&[&[EXPLAIN], parts].concat().concat())
}

/// Files in a folder that ends with the test.
fn files(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    let cases: &[&[&str]] = &[
        &[],
        &["exlpain"],
        &["serve"],
        &["frontend"],
        &["healthcheck"],
        &["lookup", "alice"],
        &["lookup", "--config=tests/configuration/plaintext.yaml"],
        &["check"],
        &["test"],
        &["explain", "get", "pods", "--as=alice"],
        &["explain", "get", "--as=alice", "--policies=policies"],
        &["explain", "get", "pods", "--policies=policies"],
        &["explain", "get", "/healthz", "-n=x", "--as=alice", "--policies=policies"],
        &["explain", "get", "pods", "--as=alice", "--policies=policies", "--at=tomorrow"],
        &["explain", "get", "pods", "--as=alice", "--policies=policies", "--extra=key"],
        &["explain", "--review=-", "--as=alice", "--policies=policies"],
        &["version", "-o=yaml"],
    ];
    for arguments in cases {
        let ran = run(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}: {}", ran.err);
        assert!(!ran.err.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_file_that_is_not_there_is_an_operational_failure() {
    let cases: &[&[&str]] = &[
        &["serve", "--config=nowhere"],
        &["frontend", "--config=nowhere"],
        &["healthcheck", "--config=nowhere"],
        &["lookup", "alice", "--config=nowhere"],
        &["check", "nowhere"],
        &["check", "--config=nowhere"],
        &["test", "nowhere"],
        &["explain", "get", "pods", "--as=alice", "--policies=nowhere"],
        &["explain", "get", "pods", "--as=alice", "--policies=policies", "--directory=nowhere"],
        &["explain", "--policies=policies", "--review=nowhere"],
    ];
    for arguments in cases {
        let ran = run(arguments);
        assert_eq!(ran.code, 1, "{arguments:?}: {}", ran.err);
        assert!(ran.err.starts_with("error: ") && ran.err.contains("nowhere"), "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn every_help_lists_the_exit_codes() {
    for command in
        ["demo", "serve", "frontend", "check", "explain", "test", "lookup", "healthcheck", "version"]
    {
        let ran = run(&[command, "--help"]);
        assert_eq!(ran.code, 0);
        assert!(ran.out.contains("5  invalid policy or configuration, or a failed test"), "{command}");
    }
    assert!(run(&["--help"]).out.contains("3  denied"));
}

#[test]
fn explanations_are_as_they_were() {
    let noon = "--at=2026-11-23T12:00:00Z";
    let frozen = "--at=2026-12-20T10:00:00Z";
    let eve = "--at=2026-12-18T17:58:00Z";
    let robot: &[&str] =
        &["get", "secrets", "db", "--as=system:serviceaccount:ci:deployer", "-n=payments-prod"];
    let pods: &[&str] = &["create", "pods", "--as=alice", "-n=default"];
    let cases: &[(&str, &[&str], &str, i32)] = &[
        (
            "allowed-by-a-nested-group",
            &["patch", "deployments.apps", "web", "--as=alice", "-n=payments-dev"],
            noon,
            0,
        ),
        ("allowed", REPAIR, noon, 0),
        ("denied", REPAIR, frozen, 3),
        ("near-the-end", REPAIR, eve, 4),
        ("not-in-the-directory", &["get", "pods", "--as=zoe", "-n=x"], noon, 4),
        ("service-account", robot, noon, 3),
        ("masters", &["delete", "nodes", "--as=root", "--as-group=system:masters"], noon, 4),
        ("shadow", pods, noon, 4),
        ("path", &["get", "/healthz", "--as=alice"], noon, 4),
    ];
    let mut differences = String::new();
    for (name, request, at, code) in cases {
        for (ending, output) in [("txt", "-o=text"), ("json", "-o=json")] {
            let ran = explain(&[request, IN_LONDON, &[at, output]]);
            let shown = without_revision(&ran.out);
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/commands/{name}.{ending}"));
            if std::env::var_os("BLESS").is_some() {
                fs::write(&path, &shown).unwrap();
            }
            if fs::read_to_string(&path).unwrap_or_default() != shown || ran.code != *code {
                differences.push_str(&format!("{name}.{ending}: code {}\n{shown}{}\n", ran.code, ran.err));
            }
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

/// Facts have a time, and the policies a revision: neither is what these tests are about.
fn without_revision(out: &str) -> String {
    let line = |line: &str| match line.split_once(':') {
        _ if line.starts_with("policy set ") => "policy set ...".to_owned(),
        Some((key, _)) if ["\"readAt\"", "\"revision\""].contains(&key.trim()) => format!("{key}: ..."),
        _ => line.to_owned(),
    };
    out.lines().map(|each| line(each) + "\n").collect()
}

#[test]
fn an_answer_before_a_change_is_the_least_of_both() {
    let ran = explain(&[REPAIR, IN_LONDON, &["--at=2026-12-18T17:58:00Z", "-o=json"]]);
    let shown: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&shown["decision"], &shown["decisionNow"]), (&"NoOpinion".into(), &"Allow".into()));
    assert_eq!(shown["validUntil"], "2026-12-18T18:00:00Z");
    assert_eq!(ran.code, 4);
}

#[test]
fn a_review_is_read_from_a_file_or_from_the_standard_input() {
    let text = review("alice", "web");
    let folder = files(&[("review.json", &text)]);
    let path = folder.path().join("review.json");
    let at: &[&str] = &["--cluster=prod-1", "--at=2026-12-20T10:00:00Z"];
    let from_file = explain(&[&["--review", path.to_str().unwrap()], at]);
    assert_eq!(from_file.code, 3, "{}", from_file.err);
    assert!(from_file.out.starts_with("Deny by year-end-freeze\n"), "{}", from_file.out);
    let from_input = run_with(&[EXPLAIN, &["--review=-"], at].concat(), text.as_bytes());
    assert_eq!((from_input.code, from_input.out), (3, from_file.out));
    let broken = run_with(&[EXPLAIN, &["--review=-"], at].concat(), b"{");
    assert_eq!(broken.code, 2, "{}", broken.err);
}

#[test]
fn hostile_names_are_explained_and_not_repeated_raw() {
    let long = "a".repeat(10 * 1024);
    for (user, object) in
        [("al\0ice\u{1b}[31m\n", "web"), (long.as_str(), "web"), ("alice", "w\u{1b}[2Jeb\n"), ("", "")]
    {
        let text = review(user, object);
        for output in ["-o=text", "-o=json"] {
            let arguments =
                [EXPLAIN, &["--review=-", "--at=2026-11-23T12:00:00Z", "--cluster=dev", output]].concat();
            let ran = run_with(&arguments, text.as_bytes());
            assert!([0, 3, 4].contains(&ran.code), "{user:?}: {} {}", ran.code, ran.err);
            assert!(!ran.out.contains(['\0', '\u{1b}']), "{}", ran.out);
        }
    }
}

fn review(user: &str, name: &str) -> String {
    let attributes = serde_json::json!({"verb": "patch", "group": "apps", "resource": "deployments",
        "namespace": "payments-prod", "name": name});
    serde_json::json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {"user": user, "groups": ["system:masters\n"], "resourceAttributes": attributes}})
    .to_string()
}

#[test]
fn policies_are_checked() {
    let good = run(&["check", "policies"]);
    assert_eq!((good.code, good.err.as_str()), (0, ""));
    assert!(good.out.contains(" policies, revision "), "{}", good.out);
    let json: serde_json::Value = serde_json::from_str(&run(&["check", "policies", "-o=json"]).out).unwrap();
    assert_eq!(json["diagnostics"], serde_json::json!([]));
    let bad = run(&["check", "tests/diagnostics/misspelt-field.yaml"]);
    assert_eq!(bad.code, 5);
    assert!(bad.out.contains("did you mean"), "{}", bad.out);
    let bad = run(&["check", "tests/diagnostics/misspelt-field.yaml", "-o=json"]);
    let json: serde_json::Value = serde_json::from_str(&bad.out).unwrap();
    assert_eq!((bad.code, &json["revision"]), (5, &serde_json::Value::Null));
    assert_eq!(json["diagnostics"][0]["severity"], "error");
}

#[test]
fn a_deny_of_exempt_subjects_is_a_finding() {
    let folder = files(&[("dead.yaml", &policy("Deny", "{kind: User, name: system:apiserver}"))]);
    let ran = run(&["check", folder.path().to_str().unwrap()]);
    assert_eq!(ran.code, 6, "{}{}", ran.out, ran.err);
    assert!(ran.out.starts_with("warning: the Deny `one` is dead"), "{}", ran.out);
    assert!(ran.out.contains("1 policy, revision"), "{}", ran.out);
}

#[test]
fn a_wrong_configuration_is_said_once_and_also_for_machines() {
    let config = "tests/configuration/plaintext.yaml";
    for arguments in [
        &["serve", "--config", config][..],
        &["healthcheck", "--config", config],
        &["lookup", "alice", "--config", config],
    ] {
        let ran = run(arguments);
        assert_eq!(ran.code, 5);
        assert!(ran.err.starts_with("error: `urls`"), "{}", ran.err);
    }
    let ran = run(&["check", "--config", config, "-o=json"]);
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &json["diagnostics"][0]["line"]), (5, &9.into()));
}

#[test]
fn tests_of_policies_pass_or_fail() {
    let all = run(&["test", "policies"]);
    assert_eq!(all.code, 0, "{}", all.out);
    let decision = |expect: &str| {
        let folder = files(&[
            ("one.yaml", &policy("Allow", "{kind: User, name: alice}")),
            ("test.yaml", &policy_test(expect)),
        ]);
        run(&["test", folder.path().to_str().unwrap(), "--coverage"])
    };
    let ran = decision("{decision: Allow, policies: [one]}");
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("not covered: one: subjects[0] was never false"), "{}", ran.out);
    let ran = decision("{decision: Deny, policies: []}");
    assert_eq!(ran.code, 5);
    assert!(ran.out.contains("FAILED t: c\n    expected Deny, but it is Allow\n"), "{}", ran.out);
    assert!(ran.out.contains("expected the policies none, but they are one"), "{}", ran.out);
    assert!(ran.out.ends_with("0 passed, 1 failed\n"), "{}", ran.out);
}

#[test]
fn that_no_policy_applies_can_be_expected() {
    let folder = files(&[
        ("one.yaml", &policy("Allow", "{kind: User, name: bob}")),
        ("test.yaml", &policy_test("{decision: NoOpinion, policies: []}")),
    ]);
    let ran = run(&["test", folder.path().to_str().unwrap()]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "1 passed, 0 failed\n"), "{}", ran.err);
}

#[test]
fn to_test_nothing_is_a_usage_error() {
    let folder = files(&[("one.yaml", &policy("Allow", "{kind: User, name: alice}"))]);
    let ran = run(&["test", folder.path().to_str().unwrap()]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("no PolicyTest"), "{}", ran.err);
}

#[test]
fn the_version_is_there_for_machines() {
    let ran = run(&["version", "-o=json"]);
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, json["version"].as_str()), (0, Some(env!("CARGO_PKG_VERSION"))));
    assert!(run(&["version"]).out.starts_with("bailiwick "));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    for arguments in [&["version"][..], &["test", "policies", "--coverage", "-o=json"], &["--help"]] {
        let mut child = command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), err.as_str()), (Some(0), ""), "{arguments:?}");
    }
    let mut child = command(&["test", "policies", "-o=json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert_eq!((first.as_str(), child.wait().unwrap().code()), ("{\n", Some(0)));
}

fn policy(effect: &str, subject: &str) -> String {
    format!(
        "apiVersion: bailiwick.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {{name: one}}\nspec:\n  effect: {effect}\n  \
         subjects: [{subject}]\n  rules: [{{apiGroups: [\"\"], resources: [pods], verbs: [get]}}]\n"
    )
}

fn policy_test(expect: &str) -> String {
    format!(
        "apiVersion: bailiwick.dev/v1alpha1\nkind: PolicyTest\nmetadata: {{name: t}}\nspec:\n  cases:\n    - name: c\n      \
         at: 2026-11-23T10:00:00Z\n      request: {{user: alice, resourceAttributes: {{verb: get, resource: pods, namespace: a}}}}\n      \
         expect: {expect}\n"
    )
}

#[test]
fn conversion_writes_policies_that_load_or_says_what_cannot_be_carried_over() {
    let rbac = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: deployers, namespace: payments}
rules: [{apiGroups: [apps], resources: [deployments, deployments/scale], resourceNames: ["web-*"], verbs: [get, patch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: "payments:deployers", namespace: payments}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: deployers}
subjects: [{kind: ServiceAccount, name: robot}, {kind: Group, name: deployers}]
"#;
    let converted = run_with(&["convert", "rbac", "-"], rbac.as_bytes());
    assert_eq!((converted.code, &*converted.err), (0, "1 policy\n"), "{}", converted.err);
    let shown = r#"# RoleBinding `payments/payments:deployers` of Role `deployers`
apiVersion: bailiwick.dev/v1alpha1
kind: AccessPolicy
metadata: {name: rolebinding-payments-payments-deployers-DIGEST}
spec:
  description: "RoleBinding payments/payments:deployers of Role deployers"
  effect: Allow
  subjects:
    - {kind: ServiceAccount, name: robot, namespace: payments}
    - {kind: Group, name: deployers}
  rules:
    - apiGroups: [apps]
      resources: [deployments, deployments/scale]
      resourceNames: ["web-\\*"]
      namespaces: [payments]
      verbs: [get, patch]
"#;
    let digest = converted.out.split("deployers-").nth(1).unwrap().split('}').next().unwrap();
    assert_eq!(digest.len(), 10);
    assert_eq!(converted.out.replace(digest, "DIGEST"), shown);
    let folder = files(&[
        ("converted.yaml", &converted.out),
        ("abac.jsonl", "{\"user\":\"bob\",\"namespace\":\"a*\"}\n"),
    ]);
    let path = |name: &str| folder.path().join(name).display().to_string();
    let checked = run(&["check", &path("converted.yaml")]);
    assert_eq!(checked.code, 0, "{}{}", checked.out, checked.err);
    let refused = run(&["convert", "abac", &path("abac.jsonl")]);
    assert_eq!((refused.code, &*refused.out), (5, ""));
    assert!(refused.err.contains("ABAC compares namespaces whole: no request has `a*`"), "{}", refused.err);
    assert!(refused.err.contains("abac.jsonl:1:1"), "{}", refused.err);
    assert_eq!(run(&["convert", "rbac", &path("missing")]).code, 1);
}
