//! The documents say what the code does: examples load, references name what there is, excerpts are what a run shows.

mod markdown;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use bailiwick::config::{Configuration, FrontendConfiguration};
use bailiwick::document::{Diagnostics, Node, Source, Value, parse};
use bailiwick::policy;
use markdown::{Block, blocks, code_spans, section, tables};

const OPERATORS: &str = "docs/operators.md";
const FRONTEND: &str = "docs/frontend.md";

#[test]
fn every_policy_in_a_document_loads() {
    let mut found = 0;
    for name in documents() {
        let sources: Vec<Source> = yaml_blocks(&name)
            .iter()
            .filter(|block| !kind_of(block).ends_with("Configuration"))
            .map(|block| Source::new(format!("{name}:{}", block.line), block.text.as_bytes()))
            .collect();
        found += sources.len();
        if let Err(diagnostics) = policy::load(&sources) {
            panic!("{diagnostics}");
        }
    }
    assert!(found >= 4, "only {found} policies were found");
}

#[test]
fn every_configuration_in_a_document_can_be_read() {
    let mut configurations = vec![Source::new("deploy/config.yaml", read("deploy/config.yaml").into_bytes())];
    let mut frontends = Vec::new();
    for name in documents() {
        for block in yaml_blocks(&name) {
            let source = Source::new(format!("{name}:{}", block.line), block.text.as_bytes());
            match &*kind_of(&block) {
                "Configuration" => configurations.push(source),
                "FrontendConfiguration" => frontends.push(source),
                _ => {}
            }
        }
    }
    assert!(frontends.len() >= 2, "the examples of the guide were found");
    for source in frontends {
        if let Err(diagnostics) = FrontendConfiguration::read(source) {
            panic!("{diagnostics}");
        }
    }
    assert!(configurations.len() >= 3, "the examples of the reference were found");
    for source in configurations {
        if let Err(diagnostics) = Configuration::read(source) {
            panic!("{diagnostics}");
        }
    }
}

#[test]
fn the_reference_of_the_configuration_has_every_key_that_can_be_read_and_no_other() {
    let mut explained = BTreeSet::new();
    for document in [OPERATORS, FRONTEND] {
        let text = section(&read(document), "## Configuration");
        let these: BTreeSet<String> = tables(&text)
            .iter()
            .filter_map(|row| row.first().map(|cell| code_spans(cell)))
            .flatten()
            .map(|key| key.replace("[]", ""))
            .collect();
        let mut shown = BTreeSet::new();
        for block in blocks(&text).iter().filter(|block| block.info == "yaml") {
            keys(&parsed(block), "", &mut shown);
        }
        let shown: BTreeSet<String> =
            shown.into_iter().filter(|key| !["apiVersion", "kind"].contains(&&**key)).collect();
        assert_eq!(these, shown, "{document}: the tables (left) and the examples (right) name the same keys");
        explained.extend(these);
    }

    let unavailable = ["objects"];
    let sources: String = files_below(&root().join("src/config"), "rs")
        .into_iter()
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect();
    for key in decoded_keys(&sources) {
        let is_there = explained.iter().any(|path| path.split('.').any(|part| part == key));
        let is_head = ["apiVersion", "kind"].contains(&&*key);
        assert!(is_there || is_head || unavailable.contains(&&*key), "src/config reads `{key}`");
    }
}

#[test]
fn the_reference_of_the_metrics_is_what_is_registered() {
    let documented: BTreeMap<String, (String, Vec<String>)> =
        tables(&section(&read(OPERATORS), "## Metrics"))
            .into_iter()
            .map(|row| (code_spans(&row[0]).concat(), (row[1].clone(), code_spans(&row[2]))))
            .collect();
    assert_eq!(documented, registered(&read("src/telemetry/metrics.rs")));
    let rendered = bailiwick::telemetry::Metrics::new().unwrap().render().unwrap().0;
    for line in String::from_utf8(rendered).unwrap().lines() {
        if let Some(name) = line.strip_prefix("# TYPE bailiwick_").and_then(|rest| rest.split(' ').next()) {
            assert!(documented.contains_key(name), "`{name}` is rendered, and not documented");
        }
    }
}

#[test]
fn the_reference_of_the_audit_line_is_what_is_written() {
    let documented: BTreeSet<String> =
        tables(&section(&read(OPERATORS), "## Audit")).iter().flat_map(|row| code_spans(&row[0])).collect();
    let source = read("src/telemetry/audit/line.rs");
    let line = source.split("struct LineJson<'a> {").nth(1).unwrap().split("\n}").next().unwrap();
    let written: BTreeSet<String> = line
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(": "))
        .map(|(field, _)| camel_case(field))
        .collect();
    assert_eq!(documented, written);
}

#[test]
fn the_exit_codes_are_those_of_the_help() {
    let documented: Vec<(String, String)> = tables(&section(&read(OPERATORS), "## Commands and exit codes"))
        .into_iter()
        .map(|row| (row[0].clone(), row[1].clone()))
        .collect();
    let help = bailiwick(&["--help"]).stdout;
    let said: Vec<(String, String)> = help
        .split("Exit codes:\n")
        .nth(1)
        .unwrap()
        .lines()
        .filter_map(|line| line.trim().split_once("  "))
        .map(|(code, meaning)| (code.to_owned(), meaning.to_owned()))
        .collect();
    assert_eq!(documented, said);
}

#[test]
fn the_commands_are_those_of_the_help() {
    let help = bailiwick(&["--help"]).stdout;
    let listed = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    // What is set further in goes on with the line before.
    let names = listed.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let commands: BTreeSet<&str> = names.filter(|name| !name.is_empty()).collect();
    let text = section(&read(OPERATORS), "## Commands and exit codes");
    let sentence = text.trim_start().lines().next().unwrap();
    let spans = code_spans(sentence.split(';').next().unwrap());
    let named: BTreeSet<&str> = spans.iter().map(|span| span.trim_start_matches("bailiwick ")).collect();
    assert_eq!(named, commands);
}

#[test]
fn the_routes_of_the_reference_are_those_that_are_served() {
    let served: BTreeSet<String> = bailiwick::http::Route::WEBHOOK
        .iter()
        .chain(&bailiwick::http::Route::ADMIN)
        .map(|route| route.path().to_owned())
        .collect();
    let rows = tables(&section(&read(OPERATORS), "## HTTP"));
    let spans = rows.iter().flat_map(|row| code_spans(&row[1]));
    let paths = spans.filter_map(|span| {
        let path = span.split_whitespace().find(|word| word.starts_with('/'))?.to_owned();
        Some(path.split('?').next().unwrap_or_default().to_owned())
    });
    assert_eq!(paths.collect::<BTreeSet<String>>(), served);
}

#[test]
fn every_test_that_security_md_names_is_there() {
    let tests = test_names();
    let cases = policy_test_names();
    let rows = tables(&section(&read("SECURITY.md"), "## Known faults of this class of software"));
    assert!(rows.len() > 20, "the table was found");
    for row in rows {
        let (named, of_policies) = row[3].split_once("policy test").unwrap_or((&row[3], ""));
        let (named, of_policies) = (code_spans(named), code_spans(of_policies));
        assert!(!named.is_empty() || !of_policies.is_empty(), "no test holds `{}`", row[0]);
        for test in named {
            assert!(tests.contains(&test), "SECURITY.md, `{}`: there is no test `{test}`", row[0]);
        }
        for test in of_policies {
            assert!(cases.contains(&test), "SECURITY.md, `{}`: there is no policy test `{test}`", row[0]);
        }
    }
}

#[test]
fn every_test_that_architecture_md_names_is_there() {
    let tests = test_names();
    let named: Vec<String> = section(&read("ARCHITECTURE.md"), "## Invariants")
        .lines()
        .filter_map(|line| line.split_once("*Held by*").map(|(_, held)| code_spans(held)))
        .flatten()
        .filter(|name| name.contains('_') && !name.contains("::"))
        .collect();
    assert!(named.len() > 5, "the invariants name their tests");
    for test in named {
        assert!(tests.contains(&test), "ARCHITECTURE.md: there is no test `{test}`");
    }
}

#[test]
fn the_tour_in_the_readme_is_the_tour() {
    let run = bailiwick(&["demo", "--once"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let readme = read("README.md");
    let excerpt = blocks(&readme).into_iter().find(|block| block.info == "text").unwrap();
    let mut rest = run.stdout.as_str();
    for stop in excerpt.text.trim_end().split("\n\n") {
        let at =
            rest.find(stop).unwrap_or_else(|| panic!("the tour does not say\n{stop}\nbut\n{}", run.stdout));
        rest = &rest[at + stop.len()..];
    }
}

/// What differs from one run to the next is numbers: versions, ports, times.
fn without_numbers(text: &str) -> String {
    text.split(|character: char| character.is_ascii_digit() || character == '.')
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("#")
        .replace(" us", " ms")
}

#[test]
fn the_journey_in_the_guide_is_one_of_the_tour() {
    let run = bailiwick(&["demo", "--once"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let guide = read(FRONTEND);
    let journey = blocks(&guide).into_iter().find(|block| block.info == "text").unwrap();
    let told = run.stdout.split("\n5. alice, by her certificate").nth(1).unwrap();
    let told: Vec<String> = told.lines().skip(1).map(|line| without_numbers(line.trim())).collect();
    let shown: Vec<String> = journey.text.lines().map(|line| without_numbers(line.trim())).collect();
    assert_eq!(told[..shown.len()], shown[..], "told: {}", run.stdout);
}

#[test]
fn the_explanation_in_the_readme_is_the_answer() {
    let readme = read("README.md");
    let block = blocks(&readme).into_iter().find(|block| block.text.contains("-- explain")).unwrap();
    let typed = block.text.replace("\\\n", " ");
    let (command, shown) = typed.split_once('\n').unwrap();
    let arguments: Vec<&str> = command.split_once(" -- ").unwrap().1.split_whitespace().collect();
    let run = bailiwick(&arguments);
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    assert_eq!(without_revision(shown), without_revision(&run.stdout));
}

#[test]
fn links_between_documents_lead_somewhere() {
    for name in documents() {
        let folder = Path::new(&name).parent().unwrap().to_path_buf();
        for link in read(&name).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            let path = root().join(&folder).join(file);
            assert!(path.exists(), "{name} links to {link}");
        }
    }
}

#[test]
fn the_examples_for_the_api_server_agree_with_the_configuration() {
    let ours = tree("deploy/config.yaml");
    let theirs = tree("deploy/authorization-configuration.yaml");
    let authorizers = theirs["authorizers"].as_array().unwrap();
    let names: Vec<&str> = authorizers.iter().map(|each| each["type"].as_str().unwrap()).collect();
    assert_eq!(names, ["Node", "Webhook", "RBAC"]);
    assert_eq!(ours["caller"]["position"], "BeforeRBAC");
    let webhook = &authorizers[1]["webhook"];
    for key in ["authorizedTTL", "unauthorizedTTL", "failurePolicy"] {
        assert_eq!(ours["caller"][key], webhook[key], "{key}");
    }
    let user = &tree("deploy/webhook-kubeconfig.yaml")["users"][0]["name"];
    let client = &ours["server"]["clients"][0];
    assert_eq!(client["name"], *user);
    let server = tree("deploy/webhook-kubeconfig.yaml")["clusters"][0]["cluster"]["server"].clone();
    let cluster = client["clusters"][0].as_str().unwrap();
    assert!(server.as_str().unwrap().ends_with(&format!("/clusters/{cluster}/authorize")), "{server}");
}

#[test]
fn the_image_is_built_from_all_that_the_sources_include() {
    let copied: BTreeSet<String> = read("Dockerfile")
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "))
        .filter(|line| !line.starts_with("--from"))
        .flat_map(|line| {
            line.split_whitespace()
                .filter(|word| !word.starts_with("./"))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    let let_through: BTreeSet<String> =
        read(".dockerignore").lines().filter_map(|line| line.strip_prefix('!')).map(str::to_owned).collect();
    assert_eq!(copied, let_through);
    for file in files_below(&root().join("src"), "rs") {
        let text = std::fs::read_to_string(&file).unwrap();
        for included in text.split("include_str!(\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            let path = std::fs::canonicalize(file.parent().unwrap().join(included)).unwrap();
            let place = path.strip_prefix(root().canonicalize().unwrap()).unwrap();
            let top = place.components().next().unwrap().as_os_str().to_str().unwrap();
            assert!(
                copied.contains(top),
                "{} includes {included}, which is not in the image",
                file.display()
            );
        }
    }
}

/// The Markdown files for users, by their paths from the root.
fn documents() -> Vec<String> {
    let mut names: Vec<String> =
        ["README.md", "ARCHITECTURE.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"]
            .map(str::to_owned)
            .into();
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") {
            names.push(format!("docs/{name}"));
        }
    }
    names
}

/// The whole documents among the YAML in a file; fragments are marked as such.
fn yaml_blocks(name: &str) -> Vec<Block> {
    let known = ["AccessPolicy", "Vocabulary", "PolicyTest", "Configuration", "FrontendConfiguration"];
    let found = blocks(&read(name));
    found
        .into_iter()
        .filter(|block| block.info == "yaml")
        .inspect(|block| {
            let kind = kind_of(block);
            assert!(
                known.contains(&&*kind),
                "{name}:{}: the kind is `{kind}`: is it a fragment?",
                block.line
            );
        })
        .collect()
}

fn kind_of(block: &Block) -> String {
    let kind = block.text.lines().find_map(|line| line.strip_prefix("kind: "));
    kind.unwrap_or_default().to_owned()
}

fn parsed(block: &Block) -> Node {
    root_of(Source::new("block", block.text.as_bytes()))
}

fn tree(file: &str) -> serde_json::Value {
    root_of(Source::new(file, read(file).into_bytes())).to_json()
}

fn root_of(source: Source) -> Node {
    let sources = [source];
    let mut diagnostics = Diagnostics::new(&sources);
    let mut documents = parse(&sources, &mut diagnostics);
    assert!(!diagnostics.has_errors(), "{diagnostics}");
    documents.remove(0).root
}

/// The paths of all values; the names of attributes are NAME.
fn keys(node: &Node, path: &str, into: &mut BTreeSet<String>) {
    match &node.value {
        Value::Mapping(entries) => {
            for (key, value) in entries {
                let key = if path.ends_with("ldap.attributes") { "NAME" } else { &key.value };
                let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
                keys(value, &path, into);
            }
        }
        Value::Sequence(items) if items.iter().any(|item| matches!(item.value, Value::Mapping(_))) => {
            items.iter().for_each(|item| keys(item, path, into));
        }
        _ => {
            into.insert(path.to_owned());
        }
    }
}

/// The names of fields that a decoder asks for.
fn decoded_keys(source: &str) -> BTreeSet<String> {
    let source: String = source.chars().filter(|c| !c.is_whitespace()).collect();
    let markers = ["optional(\"", "required(\"", "node(\"", "path(\"", "(&mutfields,\"", "key(\""];
    let found: BTreeSet<String> = markers
        .iter()
        .flat_map(|marker| source.split(marker).skip(1))
        .filter_map(|rest| rest.split('"').next())
        .map(str::to_owned)
        .collect();
    assert!(found.len() > 5, "the fields were found");
    found
}

/// Name, type and labels of every metric that a source registers.
fn registered(source: &str) -> BTreeMap<String, (String, Vec<String>)> {
    let source: String = source.chars().filter(|c| !c.is_whitespace()).collect();
    source
        .split("keep.")
        .skip(1)
        .filter_map(|call| {
            let (method, arguments) = call.split_once("(\"")?;
            let kind = match method {
                "counter" | "counters" => "counter",
                "gauge" | "gauges" | "float" | "floats" => "gauge",
                "histogram" | "histograms" => "histogram",
                _ => return None,
            };
            let (name, rest) = arguments.split_once('"')?;
            let labels = match (method.ends_with('s'), rest.split_once("&[")) {
                (true, Some((_, labels))) => labels.split(']').next()?.split(','),
                _ => "".split(','),
            };
            let labels =
                labels.map(|label| label.trim_matches('"').to_owned()).filter(|label| !label.is_empty());
            Some((name.to_owned(), (kind.to_owned(), labels.collect())))
        })
        .collect()
}

/// The names of all tests, in `src` and `tests`.
fn test_names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for folder in ["src", "tests"] {
        for file in files_below(&root().join(folder), "rs") {
            let text = std::fs::read_to_string(file).unwrap();
            let is_test = |line: &str| {
                ["#[test]", "#[tokio::test", "#[actix_web::test"].iter().any(|begin| line.starts_with(begin))
            };
            let mut awaited = false;
            for line in text.lines().map(str::trim) {
                awaited |= is_test(line);
                let name = line.strip_prefix("async fn ").or(line.strip_prefix("fn "));
                if let Some(name) = name.filter(|_| awaited) {
                    names.insert(name.split(['(', '<']).next().unwrap().to_owned());
                    awaited = false;
                }
            }
        }
    }
    assert!(names.len() > 100, "the tests were found");
    names
}

/// The names of the PolicyTest documents of the sample company.
fn policy_test_names() -> BTreeSet<String> {
    let sources: Vec<Source> = files_below(&root().join("policies"), "yaml")
        .into_iter()
        .map(|file| Source::new(file.display().to_string(), std::fs::read(file).unwrap()))
        .collect();
    policy::load(&sources).unwrap().tests.into_iter().map(|test| test.name.value).collect()
}

fn files_below(folder: &Path, extension: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path, extension));
        } else if path.extension().is_some_and(|is| is == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| name + &word[..1].to_uppercase() + &word[1..])
}

/// Policies may change under an explanation without changing it.
fn without_revision(text: &str) -> Vec<&str> {
    text.trim_end().lines().filter(|line| !line.starts_with("policy set ")).collect()
}

struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn bailiwick(arguments: &[&str]) -> Ran {
    let output =
        Command::new(env!("CARGO_BIN_EXE_bailiwick")).args(arguments).current_dir(root()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
