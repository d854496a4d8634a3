//! `bailiwick test`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::SignedDuration;
use tokio::runtime::Handle;

use super::offline::{Found, People, read_policies};
use super::{Exit, Failure, Output, runtime, say, say_json};
use crate::authz::Explanation;
use crate::document::Source;
use crate::eval::{self, Bound};
use crate::model::{Dn, EntityId, Facts, Group, GroupMembership, GroupNames, Person, Resolved, Values};
use crate::policy::ast::{Documents, InlineFacts, PolicyTest, SubjectTerm, TestCase, TestDirectory};
use crate::policy::{self, PolicySet, Settings};
use crate::review;

/// Run the PolicyTest documents below the given paths, against the policies below them.
///
/// Each case is decided for its own instant: the caller's caches, which make `serve` look ahead, are not part of a test.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Files or folders with policies and tests.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Say which policies and conditions no case reached.
    #[arg(long)]
    coverage: bool,
    /// How to write it.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

/// What came of one case.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Ran {
    test: String,
    case: String,
    passed: bool,
    /// What is wrong; nothing where it passed.
    differences: Vec<String>,
    #[serde(skip)]
    shown: Explanation,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let sources = read_policies(&arguments.paths)?;
    let documents = policy::load(&sources).map_err(Failure::diagnostics)?;
    if documents.tests.is_empty() {
        return Err(Failure::usage("there is no PolicyTest below these paths: nothing was tested"));
    }
    let runtime = runtime()?;
    let mut ran = Vec::new();
    for test in &documents.tests {
        ran.extend(runtime.block_on(run_test(test, &documents, &sources, runtime.handle()))?);
    }
    let failed = ran.iter().filter(|ran| !ran.passed).count();
    let missed = if arguments.coverage { coverage(&documents, &ran) } else { Vec::new() };
    match arguments.output {
        Output::Json => say_json(&serde_json::json!({ "cases": ran, "notCovered": missed }))?,
        Output::Text => say(&text(&ran, &missed, failed))?,
    }
    Ok(if failed == 0 { Exit::Success } else { Exit::Invalid })
}

async fn run_test(
    test: &PolicyTest,
    documents: &Documents,
    sources: &[Source],
    handle: &Handle,
) -> Result<Vec<Ran>, Failure> {
    let settings = Settings::offline(test.trusted_clusters.iter().cloned());
    let set = Arc::new(PolicySet::compile(documents, sources, &settings).map_err(Failure::diagnostics)?);
    let people = match &test.directory {
        TestDirectory::Ldif(path) => {
            let folder =
                sources.get(path.span.source as usize).and_then(|source| Path::new(&*source.name).parent());
            let path = folder.unwrap_or(Path::new("")).join(&path.value);
            let names = set.attribute_names().map(str::to_owned);
            Some(People::from_ldif(&path, names, &test.attributes, handle)?)
        }
        TestDirectory::None | TestDirectory::Unavailable => None,
    };
    let bound = match &people {
        Some(people) => people.bind(Arc::clone(&set)).await?,
        None => Bound::new(Arc::clone(&set), &GroupNames::default(), 0),
    };
    let by_name = Bound::new(Arc::clone(&set), &names_as_written(&set), 1);
    let settings = eval::Settings {
        authorized_ttl: SignedDuration::ZERO,
        unauthorized_ttl: SignedDuration::ZERO,
        ..eval::Settings::default()
    };
    let mut ran = Vec::new();
    for case in &test.cases {
        let case = &case.value;
        let request = review::spec_from_json(&case.request.value.to_json()).map_err(|error| {
            Failure::invalid(format!("{}: {}: request: {error}", test.name.value, case.name.value))
        })?;
        let (bound, found) = match (&case.facts, &people) {
            (Some(facts), _) => (&by_name, Found::prepared(&by_name, inline(facts, case))),
            (None, Some(people)) => (&bound, people.find(&bound, &request.subject.user).await?),
            (None, None)
                if test.directory == TestDirectory::Unavailable && is_person(&request.subject.user) =>
            {
                (&bound, Found::Unreachable)
            }
            (None, None) => (&bound, Found::Outside),
        };
        let circumstances =
            eval::circumstances(bound, &request, case.cluster.as_deref().map(Into::into), case.at);
        let shown = Explanation::of(bound, &settings, &request, found.view(), &circumstances);
        let differences = differences(case, &shown);
        ran.push(Ran {
            test: test.name.value.clone(),
            case: case.name.value.clone(),
            passed: differences.is_empty(),
            differences,
            shown,
        });
    }
    Ok(ran)
}

fn is_person(user: &str) -> bool {
    crate::directory::Usernames::default().directory_name(user).is_some()
}

/// The names of groups in inline facts are taken as they are written: each is one group.
fn names_as_written(set: &PolicySet) -> GroupNames {
    let names = set.group_names().map(|name| (name.to_owned(), Resolved::Group(inline_id(name)))).collect();
    GroupNames { names, generation: 0 }
}

fn inline_id(name: &str) -> EntityId {
    EntityId::new(&format!("name:{name}"))
}

fn inline(facts: &InlineFacts, case: &TestCase) -> Facts {
    let person = match Dn::parse("") {
        Ok(dn) => Person::Found { id: EntityId::new("inline"), dn },
        Err(_) => Person::NotFound,
    };
    let mut made = Facts::without_entry(person, case.at);
    let membership = |name: &String| {
        let (id, dn) = (inline_id(name), Dn::parse(name).ok());
        GroupMembership {
            group: Arc::new(Group { id, sid: None, dn, name: name.as_str().into() }),
            via: None,
        }
    };
    made.groups = facts.groups.iter().map(membership).collect();
    made.attributes = facts
        .attributes
        .iter()
        .map(|(name, values)| (&**name, Values::Known(values.as_slice().into())))
        .collect();
    made.account = facts.account.clone();
    made
}

fn differences(case: &TestCase, shown: &Explanation) -> Vec<String> {
    let mut differences = Vec::new();
    if shown.decided() != Some(case.decision) {
        differences.push(format!("expected {}, but it is {}", case.decision, shown.decision));
    }
    if let Some(expected) = &case.policies {
        let applied: BTreeSet<&str> = shown.policies.iter().map(String::as_str).collect();
        let expected: BTreeSet<&str> = expected.iter().map(String::as_str).collect();
        if applied != expected {
            let list = |names: &BTreeSet<&str>| match names.len() {
                0 => "none".to_owned(),
                _ => names.iter().copied().collect::<Vec<_>>().join(", "),
            };
            differences.push(format!(
                "expected the policies {}, but they are {}",
                list(&expected),
                list(&applied)
            ));
        }
    }
    differences
}

/// What no case reached: policies that never applied, and parts that were never true or never false.
fn coverage(documents: &Documents, ran: &[Ran]) -> Vec<String> {
    let mut seen: BTreeMap<&str, BTreeMap<String, BTreeSet<&str>>> = BTreeMap::new();
    for policy in ran.iter().flat_map(|ran| &ran.shown.near) {
        let parts = seen.entry(&policy.name).or_default();
        parts.entry(String::new()).or_default().insert(policy.truth);
        for part in &policy.parts {
            parts.entry(part.part.clone()).or_default().insert(part.truth);
        }
    }
    let mut missed = Vec::new();
    for policy in &documents.policies {
        let name = policy.name.value.as_str();
        let Some(parts) = seen.get(name) else {
            missed.push(format!("{name}: no case asks for what its rules speak of"));
            continue;
        };
        let constant: Vec<String> = (0_usize..)
            .zip(&policy.subjects)
            .filter(|(_, subject)| subject.value == SubjectTerm::Everyone)
            .map(|(index, _)| format!("subjects[{index}]"))
            .collect();
        let can_be_false = parts.keys().any(|part| !part.is_empty() && !constant.contains(part));
        for (part, truths) in parts {
            // That everyone asks is never false.
            if constant.contains(part) || (part.is_empty() && !can_be_false && truths.contains("true")) {
                continue;
            }
            for truth in ["true", "false"] {
                if truths.contains(truth) {
                    continue;
                }
                missed.push(match (part.as_str(), truth) {
                    ("", "true") => format!("{name}: never applied"),
                    ("", _) => format!("{name}: always applied where its rules speak of the request"),
                    (part, truth) => format!("{name}: {part} was never {truth}"),
                });
            }
        }
    }
    missed
}

fn text(ran: &[Ran], missed: &[String], failed: usize) -> String {
    let mut text = String::new();
    for ran in ran.iter().filter(|ran| !ran.passed) {
        text.push_str(&format!("FAILED {}: {}\n", ran.test, ran.case));
        for difference in &ran.differences {
            text.push_str(&format!("    {difference}\n"));
        }
        for (what, said) in [("reason", &ran.shown.reason), ("not known", &ran.shown.evaluation_error)] {
            if !said.is_empty() {
                text.push_str(&format!("    {what}: {said}\n"));
            }
        }
    }
    for missed in missed {
        text.push_str(&format!("not covered: {missed}\n"));
    }
    text.push_str(&format!("{} passed, {failed} failed\n", ran.len() - failed));
    text
}
