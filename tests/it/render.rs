//! Policies and vocabularies written as the documents that they could have been read from.

use bailiwick::policy::ast::{
    AccessPolicy, AttributeType, Conditions, Days, Effect, Enforcement, GroupRef, Name, NamespacePattern,
    PathPattern, ResourcePattern, Rule, SubjectTerm, Vocabulary,
};
use serde_json::{Map, Value, json};

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// An `AccessPolicy` document: block style down to the fields of `spec`, flow style below.
pub fn to_yaml(policy: &AccessPolicy) -> String {
    let list = |values: Vec<Value>| if values.is_empty() { Value::Null } else { Value::Array(values) };
    let metadata = json!({"name": policy.name.value, "annotations": policy.annotations});
    let effect = match policy.effect {
        Effect::Allow => "Allow",
        Effect::Deny => "Deny",
    };
    let enforcement = match policy.enforcement {
        Enforcement::Enforce => "Enforce",
        Enforcement::Shadow => "Shadow",
    };
    let validity = given([
        ("notBefore", policy.validity.not_before.map_or(Value::Null, |at| json!(at.to_string()))),
        ("notAfter", policy.validity.not_after.map_or(Value::Null, |at| json!(at.to_string()))),
    ]);
    let spec = [
        ("description", json!(policy.description)),
        ("effect", json!(effect)),
        ("enforcement", json!(enforcement)),
        ("clusters", list(policy.clusters.iter().map(|pattern| json!(pattern.value.to_string())).collect())),
        ("validity", validity),
        ("subjects", list(policy.subjects.iter().map(|term| subject(&term.value)).collect())),
        ("exceptSubjects", list(policy.except_subjects.iter().map(|term| subject(&term.value)).collect())),
        ("rules", list(policy.rules.iter().map(|it| rule(&it.value)).collect())),
        ("when", conditions(&policy.when)),
        ("unless", list(policy.unless.iter().map(|element| conditions(&element.value)).collect())),
        ("message", json!(policy.message)),
    ];
    document("AccessPolicy", &metadata, &spec)
}

/// A `Vocabulary` document.
pub fn vocabulary_to_yaml(vocabulary: &Vocabulary) -> String {
    let texts = |list: &[bailiwick::document::Spanned<String>]| -> Value {
        if list.is_empty() { Value::Null } else { list.iter().map(|it| json!(it.value)).collect() }
    };
    let object = |entries: Vec<(String, Value)>| {
        if entries.is_empty() { Value::Null } else { Value::Object(entries.into_iter().collect()) }
    };
    let zone = |zone: &Option<jiff::tz::TimeZone>| json!(zone.as_ref().and_then(|zone| zone.iana_name()));
    let sites = vocabulary.sites.iter().map(|(name, site)| {
        (
            name.clone(),
            given([("networks", json!(strings(&site.networks))), ("timeZone", zone(&site.time_zone))]),
        )
    });
    let calendars = vocabulary.calendars.iter().map(|(name, calendar)| {
        let dates: Vec<String> = calendar.dates.iter().map(ToString::to_string).collect();
        (name.clone(), given([("timeZone", zone(&calendar.time_zone)), ("dates", json!(dates))]))
    });
    let attributes = vocabulary.attributes.iter().map(|(name, kind)| {
        let kind = match kind {
            AttributeType::String => "string",
            AttributeType::Clearance => "clearance",
        };
        (name.clone(), json!({"type": kind}))
    });
    let cluster_scoped: Vec<String> =
        vocabulary
            .cluster_scoped
            .iter()
            .map(|it| {
                if it.group.is_empty() {
                    it.resource.clone()
                } else {
                    format!("{}.{}", it.resource, it.group)
                }
            })
            .collect();
    let clearance =
        given([("levels", texts(&vocabulary.levels)), ("compartments", texts(&vocabulary.compartments))]);
    let spec = [
        ("clearance", clearance),
        ("sites", object(sites.collect())),
        ("calendars", object(calendars.collect())),
        ("attributes", object(attributes.collect())),
        ("clusterScoped", if cluster_scoped.is_empty() { Value::Null } else { json!(cluster_scoped) }),
    ];
    document("Vocabulary", &json!({"name": "all"}), &spec)
}

/// A field whose value is null was not given.
fn document(kind: &str, metadata: &Value, spec: &[(&str, Value)]) -> String {
    let mut metadata = metadata.clone();
    if let Some(fields) = metadata.as_object_mut() {
        fields.retain(|_, value| value.as_object().is_none_or(|map| !map.is_empty()));
    }
    let mut text = format!("apiVersion: bailiwick.dev/v1alpha1\nkind: {kind}\nmetadata: {metadata}\nspec:\n");
    for (name, value) in spec.iter().filter(|(_, value)| !value.is_null()) {
        text.push_str(&format!("  {name}: {value}\n"));
    }
    text
}

/// The fields that are given; null where none is.
fn given<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let map: Map<String, Value> = fields
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, it)| (name.to_owned(), it))
        .collect();
    if map.is_empty() { Value::Null } else { Value::Object(map) }
}

fn subject(term: &SubjectTerm) -> Value {
    match term {
        SubjectTerm::Everyone => json!({"kind": "Everyone"}),
        SubjectTerm::User(name) => json!({"kind": "User", "name": name}),
        SubjectTerm::Group(name) => json!({"kind": "Group", "name": name}),
        SubjectTerm::ServiceAccount { namespace, name } => {
            json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
        }
        SubjectTerm::DirectoryGroup(GroupRef::Name(name)) => json!({"kind": "DirectoryGroup", "name": name}),
        SubjectTerm::DirectoryGroup(GroupRef::Dn(dn)) => json!({"kind": "DirectoryGroup", "dn": dn.as_str()}),
        SubjectTerm::DirectoryGroup(GroupRef::Id(id)) => {
            json!({"kind": "DirectoryGroup", "id": id.to_string()})
        }
        SubjectTerm::AllOf(terms) => json!({"allOf": terms.iter().map(subject).collect::<Vec<_>>()}),
    }
}

fn rule(rule: &Rule) -> Value {
    let names = |names: &[Name]| -> Vec<String> {
        names
            .iter()
            .map(|name| match name {
                Name::Any => "*".to_owned(),
                Name::Exact(name) => name.clone(),
            })
            .collect()
    };
    match rule {
        Rule::NonResource(rule) => {
            let path = |path: &PathPattern| match path {
                PathPattern::Any => "*".to_owned(),
                PathPattern::Exact(path) => path.clone(),
                PathPattern::Prefix(prefix) => format!("{prefix}*"),
            };
            let paths: Vec<String> = rule.paths.iter().map(path).collect();
            json!({"nonResourceURLs": paths, "verbs": names(&rule.verbs)})
        }
        Rule::Resource(rule) => {
            let resource = |pattern: &ResourcePattern| match pattern {
                ResourcePattern::Any => "*".to_owned(),
                ResourcePattern::Resource(resource) => resource.clone(),
                ResourcePattern::Subresource(resource, subresource) => format!("{resource}/{subresource}"),
                ResourcePattern::AnySubresource(resource) => format!("{resource}/*"),
                ResourcePattern::AnyWithSubresource(subresource) => format!("*/{subresource}"),
            };
            let namespace = |pattern: &NamespacePattern| match pattern {
                NamespacePattern::ClusterWide => String::new(),
                NamespacePattern::Named(pattern) => pattern.to_string(),
            };
            let resource_names = strings(&rule.resource_names);
            given([
                ("apiGroups", json!(names(&rule.api_groups))),
                ("resources", json!(rule.resources.iter().map(resource).collect::<Vec<_>>())),
                (
                    "resourceNames",
                    if resource_names.is_empty() { Value::Null } else { json!(resource_names) },
                ),
                (
                    "namespaces",
                    rule.namespaces.as_ref().map_or(Value::Null, |it| it.iter().map(namespace).collect()),
                ),
                ("verbs", json!(names(&rule.verbs))),
            ])
        }
    }
}

fn conditions(conditions: &Conditions) -> Value {
    let time = conditions.time.as_ref().map_or(Value::Null, |time| {
        let time = &time.value;
        let clock = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        // What ends on the next day is written with the hour at which it ends there.
        let end = |minutes: u16| clock(if minutes > 1440 { minutes - 1440 } else { minutes });
        let hours: Vec<String> =
            time.hours.iter().map(|range| format!("{}-{}", clock(range.start), end(range.end))).collect();
        let calendars: Vec<&String> = time.except_calendars.iter().map(|calendar| &calendar.value).collect();
        given([
            ("days", days(time.days)),
            ("hours", if hours.is_empty() { Value::Null } else { json!(hours) }),
            ("timeZone", json!(time.time_zone.iana_name())),
            ("exceptCalendars", if calendars.is_empty() { Value::Null } else { json!(calendars) }),
        ])
    });
    let location = conditions.location.as_ref().map_or(Value::Null, |location| {
        let sites: Vec<&String> = location.value.sites.iter().map(|site| &site.value).collect();
        let networks = strings(&location.value.networks);
        given([
            ("sites", if sites.is_empty() { Value::Null } else { json!(sites) }),
            ("networks", if networks.is_empty() { Value::Null } else { json!(networks) }),
        ])
    });
    let clearance = conditions.clearance.as_ref().map_or(Value::Null, |clearance| {
        let compartments: Vec<&String> =
            clearance.value.compartments.iter().map(|name| &name.value).collect();
        given([
            ("atLeast", json!(clearance.value.at_least.as_ref().map(|level| &level.value))),
            ("compartments", if compartments.is_empty() { Value::Null } else { json!(compartments) }),
        ])
    });
    let directory: Map<String, Value> = conditions
        .directory
        .iter()
        .map(|condition| (condition.value.attribute.value.clone(), json!(condition.value.any_of)))
        .collect();
    let directory = if directory.is_empty() { Value::Null } else { Value::Object(directory) };
    given([("time", time), ("location", location), ("clearance", clearance), ("directory", directory)])
}

/// Every day is what an omitted field means.
fn days(days: Days) -> Value {
    if days.0 == 0x7f {
        return Value::Null;
    }
    DAYS.iter().enumerate().filter(|(bit, _)| days.0 & (1 << bit) != 0).map(|(_, day)| json!(day)).collect()
}

fn strings<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

#[test]
fn a_policy_is_written_as_it_would_be_by_hand() {
    use crate::scene::{Writing, allow, at_site, cleared, hours, in_department};
    let when = Conditions {
        location: at_site("hq").location,
        clearance: cleared(Some("secret"), &["crypto"]).clearance,
        directory: in_department(&["risk"]).directory,
        ..hours(0x1f, &[(480, 1440), (1320, 1800)], "Europe/London", true)
    };
    let policy =
        allow("web", &["get,* pods/log,*/scale,* group=apps,* ns=dev-*, name=web-*", "get /api/*,any-path"])
            .of(&["dir:payments & group:oncall", "sa:ci/deployer"])
            .when(when)
            .valid(Some("2026-11-01T00:00:00Z"), None)
            .clusters(&["prod-*"]);
    let expected = r#"apiVersion: bailiwick.dev/v1alpha1
kind: AccessPolicy
metadata: {"name":"web"}
spec:
  effect: "Allow"
  enforcement: "Enforce"
  clusters: ["prod-*"]
  validity: {"notBefore":"2026-11-01T00:00:00Z"}
  subjects: [{"allOf":[{"kind":"DirectoryGroup","name":"payments"},{"kind":"Group","name":"oncall"}]},{"kind":"ServiceAccount","name":"deployer","namespace":"ci"}]
  rules: [{"apiGroups":["apps","*"],"namespaces":["dev-*",""],"resourceNames":["web-*"],"resources":["pods/log","*/scale","*"],"verbs":["get","*"]},{"nonResourceURLs":["/api/*","*"],"verbs":["get"]}]
  when: {"clearance":{"atLeast":"secret","compartments":["crypto"]},"directory":{"department":["risk"]},"location":{"sites":["hq"]},"time":{"days":["Mon","Tue","Wed","Thu","Fri"],"exceptCalendars":["holidays"],"hours":["08:00-24:00","22:00-06:00"],"timeZone":"Europe/London"}}
"#;
    assert_eq!(to_yaml(&policy), expected);
}

#[test]
fn a_vocabulary_is_written_as_it_would_be_by_hand() {
    let expected = r#"apiVersion: bailiwick.dev/v1alpha1
kind: Vocabulary
metadata: {"name":"all"}
spec:
  clearance: {"compartments":["crypto","nuclear"],"levels":["public","internal","secret","top-secret"]}
  sites: {"branch":{"networks":["2001:db8::/32"],"timeZone":"America/New_York"},"hq":{"networks":["10.1.0.0/16"],"timeZone":"Europe/London"}}
  calendars: {"holidays":{"dates":["2026-10-25","2026-12-25"],"timeZone":"Europe/London"}}
  attributes: {"clearance":{"type":"clearance"},"department":{"type":"string"}}
  clusterScoped: ["widgets.example.com"]
"#;
    assert_eq!(vocabulary_to_yaml(&crate::scene::vocabulary()), expected);
}
