//! What is said of documents with mistakes in them: one file a mistake in `tests/diagnostics`, with the diagnostics
//! beside it. `BLESS=1 cargo test diagnostics` writes them anew.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use bailiwick::document::{Diagnostics, MAX_DIAGNOSTICS, Node, Source, Span, Value, parse};
use bailiwick::model::Decision;
use bailiwick::policy::ast::{
    AttributeType, Days, Documents, Effect, Enforcement, Hours, NamespacePattern, ResourcePattern, Rule,
    SubjectTerm,
};
use bailiwick::policy::load;
use proptest::prelude::*;

#[test]
fn each_mistake_is_shown_in_its_place() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/diagnostics");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(files.len() >= 35, "{} files", files.len());
    let mut differences = String::new();
    for path in &files {
        let name = path.file_name().unwrap().to_str().unwrap();
        let rendered = match load(&[Source::new(name, fs::read(path).unwrap())]) {
            Ok(_) => "no mistake was found\n".to_owned(),
            Err(diagnostics) => diagnostics.to_string(),
        };
        let expected_path = path.with_extension("txt");
        if std::env::var_os("BLESS").is_some() {
            fs::write(&expected_path, &rendered).unwrap();
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if expected != rendered {
            writeln!(differences, "{name}\n{}", difference(&expected, &rendered)).unwrap();
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

/// The lines from the first that differs on, of both.
fn difference(expected: &str, found: &str) -> String {
    let same = expected.lines().zip(found.lines()).take_while(|(a, b)| a == b).count();
    let from = |text: &str, mark: &str| -> String {
        text.lines().skip(same).fold(String::new(), |all, line| all + mark + line + "\n")
    };
    from(expected, "-") + &from(found, "+")
}

#[test]
fn mistakes_of_all_files_are_shown_together_and_in_order() {
    let broken = Source::new("a.yaml", *b"apiVersion: [");
    let wrong = Source::new("b.yaml", ACCESS_POLICY.replace("Allow", "Alow").as_bytes());
    let again = Source::new("c.yaml", ACCESS_POLICY.as_bytes());
    let vocabulary = Source::new("d.yaml", VOCABULARY.as_bytes());
    let diagnostics = load(&[broken, wrong, again, vocabulary]).unwrap_err();
    let found: Vec<String> = diagnostics
        .items
        .iter()
        .map(|item| {
            let position = diagnostics.position(item.span.unwrap()).unwrap();
            format!("{}:{} {}", position.file, position.line, item.message)
        })
        .collect();
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].starts_with("a.yaml:1 this is not YAML"), "{found:#?}");
    assert_eq!(found[1], "b.yaml:7 `Alow` is not one of the words that may stand here");
    assert_eq!(found[2], "c.yaml:4 there are two definitions of the policy `payments-oncall`");
    assert_eq!(diagnostics.items[2].help.as_deref(), Some("the first is at b.yaml:4:9"));
}

#[test]
fn diagnostics_have_a_form_for_machines() {
    let source = Source::new("a.yaml", *b"# \xc3\xa9\napiVersion: bailiwick.dev/v1alpha1\nkind: Vocabulry\n");
    let diagnostics = load(&[source]).unwrap_err();
    let list = diagnostics.to_json();
    assert_eq!(
        list[2],
        serde_json::json!({"severity": "error", "file": "a.yaml", "line": 3, "column": 7,
            "message": "`Vocabulry` is not one of the words that may stand here", "help": "did you mean `Vocabulary`?"})
    );
    assert_eq!(list.as_array().unwrap().len(), 3, "{list}");
}

#[test]
fn a_flood_of_mistakes_is_bounded_and_stays_an_error() {
    let text = format!("spec: [{}]\n", "{a: 1, a: 2},".repeat(5 * MAX_DIAGNOSTICS));
    let diagnostics = load(&[Source::new("a.yaml", text.as_bytes())]).unwrap_err();
    assert_eq!(diagnostics.items.len(), MAX_DIAGNOSTICS + 1);
    assert!(diagnostics.has_errors());
}

#[test]
fn a_file_that_is_too_large_or_too_full_is_refused() {
    let large = Source::new("large.yaml", vec![b' '; (4 << 20) + 1]);
    let unclosed = Source::new("full.yaml", *b"[1,");
    let many = Source::new("many.yaml", "---\n".repeat(30_000).into_bytes());
    let values = Source::new("values.yaml", format!("[{}]", "1,".repeat(1_500_000)).into_bytes());
    for (source, message) in [
        (large, "the file is too large"),
        (unclosed, "this is not YAML"),
        (many, "too many documents in one file"),
        (values, "too many values in one file"),
    ] {
        let diagnostics = load(&[source]).unwrap_err();
        assert_eq!(diagnostics.items.len(), 1, "{message}: {diagnostics}");
        assert!(diagnostics.items[0].message.starts_with(message), "{diagnostics}");
    }
}

#[test]
fn the_documents_of_the_design_load_as_they_are_meant() {
    let loaded = load_texts(&[ACCESS_POLICY, VOCABULARY, POLICY_TEST]);
    let policy = &loaded.policies[0];
    assert_eq!(policy.name.value, "payments-oncall");
    assert_eq!((policy.effect, policy.enforcement), (Effect::Allow, Enforcement::Enforce));
    assert_eq!(policy.subjects.len(), 5);
    assert!(matches!(&policy.subjects[4].value, SubjectTerm::AllOf(all) if all.len() == 2));
    let Rule::Resource(rule) = &policy.rules[0].value else { panic!("{:?}", policy.rules) };
    assert_eq!(rule.resources[1], ResourcePattern::Subresource("deployments".into(), "scale".into()));
    assert!(matches!(&rule.namespaces.as_ref().unwrap()[1], NamespacePattern::ClusterWide));
    let time = &policy.when.time.as_ref().unwrap().value;
    assert_eq!((time.days, time.hours.as_slice()), (Days(0b1_1111), &[Hours { start: 480, end: 1080 }][..]));
    assert_eq!(time.time_zone.iana_name(), Some("Europe/London"), "the zone of the site beside it");
    assert_eq!(policy.unless[0].value.location.as_ref().unwrap().value.networks.len(), 1);

    let vocabulary = &loaded.vocabulary;
    let levels: Vec<&str> = vocabulary.levels.iter().map(|level| level.value.as_str()).collect();
    assert_eq!(levels, ["public", "internal", "confidential", "secret", "top-secret"]);
    assert_eq!(vocabulary.sites["hq"].networks.len(), 2);
    assert_eq!(vocabulary.calendars["uk-holidays"].dates.len(), 2);
    assert_eq!(vocabulary.attributes["clearance"], AttributeType::Clearance);
    assert_eq!(vocabulary.cluster_scoped[0].group, "example.com");

    let case = &loaded.tests[0].cases[0].value;
    assert_eq!(case.decision, Decision::Allow);
    assert_eq!(case.policies.as_ref().unwrap().len(), 1);
    assert_eq!(case.request.value.to_json()["extra"]["bailiwick.dev/source-address"][0], "10.1.2.3");
    assert_eq!(case.facts.as_ref().unwrap().account.disabled, Some(false));
}

#[test]
fn json_is_read_as_yaml_is() {
    let json = r#"{"apiVersion": "bailiwick.dev/v1alpha1", "kind": "AccessPolicy", "metadata": {"name": "j"},
        "spec": {"effect": "Deny", "subjects": [{"kind": "Everyone"}],
                 "rules": [{"nonResourceURLs": ["/debug/*"], "verbs": ["*"]}], "message": "caf\u00e9 only"}}"#;
    let loaded = load_texts(&[json]);
    assert_eq!(loaded.policies[0].message.as_deref(), Some("café only"));
}

#[test]
fn nothing_at_all_is_no_mistake() {
    let loaded = load_texts(&["", "---\n", "# only a comment\n", "---\n---\n...\n", "\u{feff}"]);
    assert!(loaded.policies.is_empty());
}

#[allow(clippy::panic, reason = "only tests call it, and want to read the mistakes")]
fn load_texts(texts: &[&str]) -> Documents {
    let sources: Vec<Source> = texts
        .iter()
        .enumerate()
        .map(|(nth, text)| Source::new(format!("{nth}.yaml"), text.as_bytes()))
        .collect();
    load(&sources).unwrap_or_else(|diagnostics| panic!("{diagnostics}"))
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_every_span_is_inside(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check_spans(&[bytes])?;
    }

    #[test]
    fn arbitrary_yaml_never_panics_and_every_span_is_inside(
        sources in prop::collection::vec(fragments(), 1..4)
    ) {
        check_spans(&sources)?;
    }

    #[test]
    fn a_mutilated_document_never_panics(at in 0..3000_usize, with in any::<u8>(), cut in 0..20_usize) {
        let mut bytes = [ACCESS_POLICY, VOCABULARY, POLICY_TEST].join("---\n").into_bytes();
        let at = at.min(bytes.len());
        bytes.splice(at..(at + cut).min(bytes.len()), [with]);
        check_spans(&[bytes])?;
    }
}

/// Text made of what YAML gives a meaning.
fn fragments() -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop::sample::select(vec![
        "a",
        "b: ",
        ": ",
        "- ",
        "? ",
        "\n",
        "\n  ",
        "\n\t",
        " ",
        "[",
        "]",
        "{",
        "}",
        ",",
        "\"",
        "'",
        "|\n",
        ">-\n",
        "&x ",
        "*x ",
        "!!str ",
        "<<: ",
        "---\n",
        "...\n",
        "%YAML 1.2\n",
        "#",
        "é",
        "\u{feff}",
        "\r\n",
        "\0",
        "kind: ",
        "apiVersion: bailiwick.dev/v1alpha1\n",
        "kind: AccessPolicy\n",
        "spec: ",
        "metadata: {name: a}\n",
        "~",
        "\\",
        "subjects: ",
        "rules: ",
    ]);
    prop::collection::vec(fragment, 0..60).prop_map(|fragments| fragments.concat().into_bytes())
}

fn check_spans(texts: &[Vec<u8>]) -> Result<(), TestCaseError> {
    let sources: Vec<Source> = texts.iter().map(|text| Source::new("x.yaml", text.as_slice())).collect();
    let mut diagnostics = Diagnostics::new(&sources);
    for document in parse(&sources, &mut diagnostics) {
        check_node(&document.root, &sources)?;
    }
    if let Err(loaded) = load(&sources) {
        prop_assert!(loaded.has_errors());
        diagnostics.items.extend(loaded.items);
    }
    for item in &diagnostics.items {
        prop_assert!(item.span.is_none_or(|span| is_inside(span, &sources)), "{:?}", item);
    }
    prop_assert_eq!(diagnostics.to_string().is_empty(), diagnostics.items.is_empty());
    Ok(())
}

fn check_node(node: &Node, sources: &[Source]) -> Result<(), TestCaseError> {
    prop_assert!(is_inside(node.span, sources), "{:?}", node);
    match &node.value {
        Value::Sequence(items) => items.iter().try_for_each(|item| check_node(item, sources)),
        Value::Mapping(entries) => entries.iter().try_for_each(|(key, value)| {
            prop_assert!(is_inside(key.span, sources), "{:?}", key);
            check_node(value, sources)
        }),
        Value::Null | Value::Scalar { .. } => Ok(()),
    }
}

fn is_inside(span: Span, sources: &[Source]) -> bool {
    let source = sources.get(span.source as usize);
    span.start <= span.end && source.is_some_and(|source| span.end as usize <= source.bytes.len())
}

const ACCESS_POLICY: &str = r#"apiVersion: bailiwick.dev/v1alpha1
kind: AccessPolicy
metadata:
  name: payments-oncall
  annotations: {owner: payments}
spec:
  effect: Allow                    # Allow | Deny
  enforcement: Enforce             # Enforce | Shadow
  description: On-call engineers may change payments workloads, from the office, in office hours.
  clusters: ["prod-*"]             # omitted: every cluster
  validity: {notBefore: 2026-11-01T00:00:00Z, notAfter: 2027-01-31T00:00:00Z}
  subjects:                        # any of
    - {kind: DirectoryGroup, name: payments-oncall}     # or dn: / id:
    - {kind: Group, name: oncall}                       # as asserted by the cluster
    - {kind: User, name: alice}
    - {kind: ServiceAccount, name: deployer, namespace: ci}
    - {allOf: [{kind: DirectoryGroup, id: S-1-5-21-1-2-3-4}, {kind: DirectoryGroup, name: oncall}]}
  exceptSubjects: [{kind: Group, name: break-glass}]
  rules:                           # any of
    - apiGroups: [apps]
      resources: [deployments, deployments/scale, "*/status", "*", userextras/example.com/source]
      resourceNames: ["web-*"]
      namespaces: ["payments-*", ""]
      verbs: [get, list, watch, patch, "impersonate:user-info"]
    - nonResourceURLs: ["/metrics", "/debug/*", "*"]
      verbs: [get]
  when:                            # all of
    time: {days: [Mon-Fri], hours: ["08:00-18:00"], exceptCalendars: [uk-holidays]}
    location: {sites: [hq]}        # and/or networks: [10.0.0.0/8]
    clearance: {atLeast: secret, compartments: [crypto]}
    directory: {department: [payments, risk]}           # attribute: any of these values
  unless: [{location: {networks: [10.9.0.0/16]}}]       # any element that fully holds excuses
  message: Ask payments-oncall in chat for access.      # shown to the user on Deny
"#;

const VOCABULARY: &str = r#"apiVersion: bailiwick.dev/v1alpha1
kind: Vocabulary
metadata: {name: example-corp}
spec:
  clearance: {levels: [public, internal, confidential, secret, top-secret], compartments: [crypto, nuclear]}
  sites:
    hq: {networks: [10.1.0.0/16, "2001:db8::/32"], timeZone: Europe/London}
  calendars:
    uk-holidays: {timeZone: Europe/London, dates: [2026-12-25, 2026-12-28]}
  attributes:                      # names and types that policies may use
    department: {type: string}
    clearance: {type: clearance}
  clusterScoped: ["widgets.example.com"]
"#;

const POLICY_TEST: &str = r#"apiVersion: bailiwick.dev/v1alpha1
kind: PolicyTest
metadata: {name: payments-oncall}
spec:
  directory: people.ldif           # or `unavailable`; a case may give inline `facts` instead
  location: {trustedClusters: [prod-1]}
  cases:
    - name: on call, at the office, in hours
      at: 2026-11-23T10:00:00Z
      cluster: prod-1
      request: {user: alice, groups: ["system:authenticated"], extra: {bailiwick.dev/source-address: [10.1.2.3]},
                resourceAttributes: {verb: patch, group: apps, resource: deployments, namespace: payments-prod, name: web-1}}
      facts: {groups: [payments], attributes: {department: [risk]}, account: {disabled: false, expires: 2027-01-01T00:00:00Z}}
      expect: {decision: Allow, policies: [payments-oncall]}
"#;
