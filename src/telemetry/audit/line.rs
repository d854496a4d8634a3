//! One audit line: what is kept of a record while it waits, and its JSON.

use std::io;
use std::time::Duration;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use super::{FactsUsed, Record};
use crate::model::{Action, Operator, Requirement, SourceAddress};

/// How long a text may be, in bytes; longer ones are cut and end in `…`.
const MAX_TEXT_BYTES: usize = 256;

/// How many groups of a subject are written; their number is written as well.
const MAX_GROUPS: usize = 64;

/// How many keys of `extra`, and how many policies, are written.
const MAX_NAMES: usize = 32;

/// How many requirements of a selector are written, and how many values of each.
const MAX_REQUIREMENTS: usize = 16;

/// A record that has been cut to a size that may wait, with the identity of its line.
pub(super) struct Line {
    process: u64,
    sequence: usize,
    group_count: usize,
    extra_keys: Vec<String>,
    record: Record,
}

impl Line {
    pub(super) fn new(process: u64, sequence: usize, mut record: Record) -> Self {
        let subject = &mut record.request.subject;
        let group_count = subject.groups.len();
        cut_texts(&mut subject.groups, MAX_GROUPS);
        let mut extra_keys: Vec<String> =
            std::mem::take(&mut subject.extra).into_keys().take(MAX_NAMES).collect();
        cut_texts(&mut extra_keys, MAX_NAMES);
        cut(&mut subject.user);
        cut(&mut subject.uid);
        match &mut record.request.action {
            Action::NonResource(action) => [&mut action.verb, &mut action.path].into_iter().for_each(cut),
            Action::Resource(action) => {
                [
                    &mut action.verb,
                    &mut action.group,
                    &mut action.version,
                    &mut action.resource,
                    &mut action.subresource,
                    &mut action.namespace,
                    &mut action.name,
                ]
                .into_iter()
                .for_each(cut);
                cut_requirements(&mut action.field_selector);
                cut_requirements(&mut action.label_selector);
            }
        }
        cut(&mut record.reason);
        cut(&mut record.evaluation_error);
        record.policies.truncate(MAX_NAMES);
        Self { process, sequence, group_count, extra_keys, record }
    }

    /// How much memory its texts take while it waits, in bytes, roughly.
    pub(super) fn size(&self) -> usize {
        let texts =
            |texts: &[String]| texts.iter().map(|text| text.len() + size_of::<String>()).sum::<usize>();
        let selectors = |requirements: &[Requirement]| {
            requirements
                .iter()
                .map(|each| each.key.len() + texts(&each.values) + size_of::<Requirement>())
                .sum()
        };
        let subject = &self.record.request.subject;
        let action: usize = match &self.record.request.action {
            Action::NonResource(action) => action.path.len(),
            Action::Resource(action) => {
                let limits: usize = selectors(&action.field_selector);
                let labels: usize = selectors(&action.label_selector);
                limits + labels + action.name.len() + action.namespace.len()
            }
        };
        size_of::<Self>() + subject.user.len() + texts(&subject.groups) + texts(&self.extra_keys) + action
    }

    /// Appends the line, with its end.
    pub(super) fn write(&self, batch: &mut Vec<u8>) {
        let start = batch.len();
        let mut serializer = Serializer::with_formatter(&mut *batch, Escaping);
        match self.json().serialize(&mut serializer) {
            Ok(()) => batch.push(b'\n'),
            // Writing texts and numbers into memory does not fail; should it, no half line is left.
            Err(_) => batch.truncate(start),
        }
    }

    fn json(&self) -> LineJson<'_> {
        let record = &self.record;
        let subject = &record.request.subject;
        let (resource, non_resource) = match &record.request.action {
            Action::Resource(action) => (
                Some(ResourceJson {
                    verb: &action.verb,
                    group: &action.group,
                    version: &action.version,
                    resource: &action.resource,
                    subresource: &action.subresource,
                    namespace: &action.namespace,
                    name: &action.name,
                    field_selector: action.field_selector.iter().map(RequirementJson::new).collect(),
                    label_selector: action.label_selector.iter().map(RequirementJson::new).collect(),
                }),
                None,
            ),
            Action::NonResource(action) => {
                (None, Some(NonResourceJson { verb: &action.verb, path: &action.path }))
            }
        };
        LineJson {
            id: format!("{:016x}-{}", self.process, self.sequence),
            time: record.time.to_string(),
            cluster: record.cluster.as_deref(),
            source_address: match record.source {
                SourceAddress::Known(address) => Some(address.to_string()),
                _ => None,
            },
            user: &subject.user,
            uid: &subject.uid,
            groups: &subject.groups,
            group_count: self.group_count,
            extra_keys: &self.extra_keys,
            resource_attributes: resource,
            non_resource_attributes: non_resource,
            decision: record.outcome.as_str(),
            cause: record.cause,
            reason: &record.reason,
            evaluation_error: &record.evaluation_error,
            policies: record.policies.iter().map(AsRef::as_ref).collect(),
            would: record.would,
            facts: record.facts.map(FactsJson::new),
            revision: &record.revision,
            valid_until: record.valid_until.map(|until| until.to_string()),
            duration_micros: DurationsJson {
                total: micros(record.durations.total),
                facts: micros(record.durations.facts),
                evaluate: micros(record.durations.evaluate),
            },
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LineJson<'a> {
    id: String,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_address: Option<String>,
    user: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    uid: &'a str,
    groups: &'a [String],
    group_count: usize,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    extra_keys: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_attributes: Option<ResourceJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    non_resource_attributes: Option<NonResourceJson<'a>>,
    decision: &'a str,
    cause: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    evaluation_error: &'a str,
    policies: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    would: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    facts: Option<FactsJson>,
    revision: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_until: Option<String>,
    duration_micros: DurationsJson,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceJson<'a> {
    verb: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    group: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    resource: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    subresource: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    namespace: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    field_selector: Vec<RequirementJson<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    label_selector: Vec<RequirementJson<'a>>,
}

#[derive(Serialize)]
struct NonResourceJson<'a> {
    verb: &'a str,
    path: &'a str,
}

#[derive(Serialize)]
struct RequirementJson<'a> {
    key: &'a str,
    operator: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    values: &'a [String],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FactsJson {
    age_seconds: f64,
    stale: bool,
    partial: bool,
    followed: bool,
}

#[derive(Serialize)]
struct DurationsJson {
    total: u64,
    facts: u64,
    evaluate: u64,
}

impl<'a> RequirementJson<'a> {
    fn new(requirement: &'a Requirement) -> Self {
        let operator = match requirement.operator {
            Operator::In => "In",
            Operator::NotIn => "NotIn",
            Operator::Exists => "Exists",
            Operator::DoesNotExist => "DoesNotExist",
        };
        Self { key: &requirement.key, operator, values: &requirement.values }
    }
}

impl FactsJson {
    fn new(facts: FactsUsed) -> Self {
        Self {
            age_seconds: facts.age.as_secs_f64(),
            stale: facts.stale,
            partial: facts.partial,
            followed: facts.followed,
        }
    }
}

/// JSON on one line that no terminal obeys: beside what JSON escapes by itself, the other control characters (DEL and C1)
/// and the marks that change the direction of writing or end a line.
struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut written = 0;
        for (at, character) in fragment.char_indices() {
            if !is_obeyed(character) {
                continue;
            }
            let end = at + character.len_utf8();
            writer.write_all(fragment.get(written..at).unwrap_or_default().as_bytes())?;
            write!(writer, "\\u{:04x}", u32::from(character))?;
            written = end;
        }
        writer.write_all(fragment.get(written..).unwrap_or_default().as_bytes())
    }
}

fn is_obeyed(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{200E}' | '\u{200F}')
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Cuts a text between characters, and gives back the memory of what is cut.
fn cut(text: &mut String) {
    if text.len() > MAX_TEXT_BYTES {
        let end = text.floor_char_boundary(MAX_TEXT_BYTES);
        *text = format!("{}…", text.get(..end).unwrap_or_default());
    }
}

fn cut_texts(texts: &mut Vec<String>, most: usize) {
    if texts.len() > most {
        texts.truncate(most);
        texts.shrink_to_fit();
    }
    texts.iter_mut().for_each(cut);
}

fn cut_requirements(requirements: &mut Vec<Requirement>) {
    if requirements.len() > MAX_REQUIREMENTS {
        requirements.truncate(MAX_REQUIREMENTS);
        requirements.shrink_to_fit();
    }
    for requirement in requirements {
        cut(&mut requirement.key);
        cut_texts(&mut requirement.values, MAX_REQUIREMENTS);
    }
}
