//! One rule of a role: what it allows, and what it covers.
//!
//! Sources: `k8s.io/kubernetes/pkg/apis/rbac/v1/evaluation_helpers.go`,
//! `k8s.io/component-helpers/auth/rbac/validation/policy_comparator.go`, `pkg/registry/rbac/validation/policy_compact.go`.

use serde::Deserialize;

use crate::model::Action;

const ALL: &str = "*";

/// A rule. Lists that are absent or `null` are empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct PolicyRule {
    /// What may be done; `*`: anything.
    #[serde(deserialize_with = "list")]
    pub verbs: Vec<String>,
    /// The groups of the resources; `*`: all.
    #[serde(rename = "apiGroups", deserialize_with = "list")]
    pub api_groups: Vec<String>,
    /// The resources: `*`, `pods`, `pods/log`, `*/scale`.
    #[serde(deserialize_with = "list")]
    pub resources: Vec<String>,
    /// The names of the objects; none: all.
    #[serde(rename = "resourceNames", deserialize_with = "list")]
    pub resource_names: Vec<String>,
    /// Paths that are no resources; a `*` at the end stands for anything.
    #[serde(rename = "nonResourceURLs", deserialize_with = "list")]
    pub non_resource_urls: Vec<String>,
}

fn list<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl PolicyRule {
    /// Whether the rule allows this.
    #[must_use]
    pub fn allows(&self, action: &Action) -> bool {
        match action {
            Action::Resource(action) => {
                has_or_all(&self.verbs, &action.verb)
                    && has_or_all(&self.api_groups, &action.group)
                    && self.has_resource(&action.resource, &action.subresource)
                    && (self.resource_names.is_empty() || self.resource_names.contains(&action.name))
            }
            Action::NonResource(action) => {
                has_or_all(&self.verbs, &action.verb)
                    && self.non_resource_urls.iter().any(|url| covers_url(url, &action.path))
            }
        }
    }

    fn has_resource(&self, resource: &str, subresource: &str) -> bool {
        self.resources.iter().any(|rule| {
            if rule == ALL {
                return true;
            }
            match rule.split_once('/') {
                None => subresource.is_empty() && rule == resource,
                Some((of, sub)) => {
                    !subresource.is_empty() && (of == ALL || of == resource) && sub == subresource
                }
            }
        })
    }

    /// How many things it says: as many rules as [`break_down`](Self::break_down) makes of it.
    pub(super) fn parts(&self) -> usize {
        let names = self.resource_names.len().max(1);
        let resources = self.api_groups.len().saturating_mul(self.resources.len()).saturating_mul(names);
        resources.saturating_add(self.non_resource_urls.len()).saturating_mul(self.verbs.len())
    }

    /// The rule as one rule for each thing that it says.
    fn break_down(&self) -> impl Iterator<Item = Self> {
        let mut parts = Vec::new();
        for group in &self.api_groups {
            for resource in &self.resources {
                for verb in &self.verbs {
                    let part = Self {
                        verbs: vec![verb.clone()],
                        api_groups: vec![group.clone()],
                        resources: vec![resource.clone()],
                        ..Self::default()
                    };
                    match &*self.resource_names {
                        [] => parts.push(part),
                        names => parts.extend(
                            names
                                .iter()
                                .map(|name| Self { resource_names: vec![name.clone()], ..part.clone() }),
                        ),
                    }
                }
            }
        }
        for url in &self.non_resource_urls {
            parts.extend(self.verbs.iter().map(|verb| Self {
                verbs: vec![verb.clone()],
                non_resource_urls: vec![url.clone()],
                ..Self::default()
            }));
        }
        parts.into_iter()
    }

    /// Whether whoever has this rule has everything that `part`, a broken-down rule, says.
    fn covers(&self, part: &Self) -> bool {
        has_all_or_star(&self.verbs, &part.verbs)
            && has_all_or_star(&self.api_groups, &part.api_groups)
            && self.covers_resources(&part.resources)
            && part
                .non_resource_urls
                .iter()
                .all(|asked| self.non_resource_urls.iter().any(|url| url == asked || covers_url(url, asked)))
            && match (&*self.resource_names, &*part.resource_names) {
                ([], _) => true,
                (_, []) => false,
                (_, names) => names.iter().all(|name| self.resource_names.contains(name)),
            }
    }

    fn covers_resources(&self, asked: &[String]) -> bool {
        let has = |resource: &str| self.resources.iter().any(|held| held == resource);
        has(ALL)
            || asked.iter().all(|resource| {
                has(resource)
                    || resource
                        .split_once('/')
                        .is_some_and(|(_, subresource)| has(&format!("*/{subresource}")))
            })
    }

    /// The rule on one line, as an API server's messages show it (`CompactString`).
    #[must_use]
    pub fn compact(&self) -> String {
        let lists = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let parts = lists.iter().filter(|(_, list)| !list.is_empty());
        let parts: Vec<String> = parts.map(|(name, list)| format!("{name}:{}", quoted_list(list))).collect();
        format!("{{{}}}", parts.join(", "))
    }
}

/// What of `asked` whoever has the rules `held` does not have, broken down; nothing: they have all of it.
pub(super) fn not_covered(held: &[PolicyRule], asked: &[PolicyRule]) -> Vec<PolicyRule> {
    let parts = asked.iter().flat_map(PolicyRule::break_down);
    parts.filter(|part| !held.iter().any(|rule| rule.covers(part))).collect()
}

/// Broken-down rules, those for the same resource put together again.
pub(super) fn put_together(parts: Vec<PolicyRule>) -> Vec<PolicyRule> {
    let mut rules: Vec<PolicyRule> = Vec::new();
    for part in parts {
        let same = rules.iter_mut().find(|rule| {
            part.non_resource_urls.is_empty()
                && rule.non_resource_urls.is_empty()
                && rule.api_groups == part.api_groups
                && rule.resources == part.resources
                && rule.resource_names == part.resource_names
        });
        match same {
            Some(rule) => rule.verbs.extend(part.verbs),
            None => rules.push(part),
        }
    }
    rules
}

/// As Go prints a list of strings with `%q`.
pub(super) fn quoted_list(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| format!("{text:?}")).collect();
    format!("[{}]", texts.join(" "))
}

fn has_or_all(list: &[String], asked: &str) -> bool {
    list.iter().any(|held| held == ALL || held == asked)
}

fn has_all_or_star(held: &[String], asked: &[String]) -> bool {
    held.iter().any(|held| held == ALL) || asked.iter().all(|asked| held.contains(asked))
}

fn covers_url(rule: &str, path: &str) -> bool {
    rule == ALL || rule == path || rule.ends_with('*') && path.starts_with(rule.trim_end_matches('*'))
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{path, resource};
    use super::*;
    use serde_json::{Value, json};

    fn rule(value: Value) -> PolicyRule {
        serde_json::from_value(value).unwrap()
    }

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn rules_for_resources_allow_what_they_name() {
        #[rustfmt::skip]
        let rows = [
            // verbs, groups, resources, names; what, name; expected
            (&["get"][..], &[""][..], &["pods"][..], &[][..], "get pods", "a", true),
            (&["get"], &[""], &["pods"], &[], "get pods/log", "a", false),
            (&["get"], &[""], &["pods/log"], &[], "get pods/log", "a", true),
            (&["get"], &[""], &["pods/log"], &[], "get pods", "a", false),
            (&["get"], &[""], &["*/log"], &[], "get pods/log", "a", true),
            (&["get"], &[""], &["*/log"], &[], "get pods/exec", "a", false),
            (&["get"], &[""], &["pods/*"], &[], "get pods/log", "a", false),
            (&["*"], &["*"], &["*"], &[], "create deployments.apps/scale", "a", true),
            (&["get"], &["apps"], &["pods"], &[], "get pods", "a", false),
            (&["get"], &[""], &["pods"], &["a"], "get pods", "a", true),
            (&["get"], &[""], &["pods"], &["a"], "get pods", "b", false),
            (&["list"], &[""], &["pods"], &["a"], "list pods", "", false),
            (&["get"], &[""], &["pods"], &[], "* pods", "a", false),
            (&["get"], &[""], &[], &[], "get pods", "a", false),
        ];
        for (verbs, groups, resources, names, what, name, expected) in rows {
            let rule = rule(json!({
                "verbs": verbs, "apiGroups": groups, "resources": resources, "resourceNames": names,
            }));
            let request = resource("alice", &[], what, "ns", name);
            assert_eq!(rule.allows(&request.action), expected, "{rule:?} {what} {name}");
            assert!(!rule.allows(&path("alice", &[], "get", "/pods").action));
        }
    }

    #[test]
    fn rules_for_paths_allow_what_they_name() {
        for (url, asked, expected) in [
            ("*", "/metrics", true),
            ("/metrics", "/metrics", true),
            ("/metrics", "/metrics/x", false),
            ("/api/*", "/api/v1", true),
            ("/api/*", "/api", false),
            ("/api*", "/apis", true),
        ] {
            let rule = rule(json!({"verbs": ["get"], "nonResourceURLs": [url]}));
            assert_eq!(rule.allows(&path("a", &[], "get", asked).action), expected, "{url} {asked}");
            assert!(!rule.allows(&path("a", &[], "post", asked).action));
            assert!(!rule.allows(&resource("a", &[], "get pods", "", "").action));
        }
    }

    #[test]
    fn what_somebody_has_is_compared_with_what_they_want_to_give() {
        let of = |verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]| PolicyRule {
            verbs: texts(verbs),
            api_groups: texts(groups),
            resources: texts(resources),
            resource_names: texts(names),
            ..PolicyRule::default()
        };
        let url = |verbs: &[&str], urls: &[&str]| PolicyRule {
            verbs: texts(verbs),
            non_resource_urls: texts(urls),
            ..PolicyRule::default()
        };
        let get_pods = of(&["get"], &[""], &["pods"], &[]);
        #[rustfmt::skip]
        let rows = [
            ("the same", vec![get_pods.clone()], get_pods.clone(), true),
            ("nothing held", vec![], get_pods.clone(), false),
            ("nothing asked", vec![], PolicyRule::default(), true),
            ("everything held", vec![of(&["*"], &["*"], &["*"], &[])], of(&["x"], &["y"], &["z/s"], &["n"]), true),
            ("a star is more than all verbs that are named",
             vec![of(&["get", "list"], &[""], &["pods"], &[])], of(&["*"], &[""], &["pods"], &[]), false),
            ("two rules together",
             vec![get_pods.clone(), of(&["list"], &[""], &["pods"], &[])], of(&["get", "list"], &[""], &["pods"], &[]), true),
            ("all names are more than one", vec![of(&["get"], &[""], &["pods"], &["a"])], get_pods.clone(), false),
            ("one name of all", vec![get_pods.clone()], of(&["get"], &[""], &["pods"], &["a"]), true),
            ("one name of two", vec![of(&["get"], &[""], &["pods"], &["a", "b"])], of(&["get"], &[""], &["pods"], &["a"]), true),
            ("two names of one", vec![of(&["get"], &[""], &["pods"], &["a"])], of(&["get"], &[""], &["pods"], &["a", "b"]), false),
            ("a subresource of any", vec![of(&["get"], &[""], &["*/log"], &[])], of(&["get"], &[""], &["pods/log"], &[]), true),
            ("a subresource is not its resource", vec![get_pods.clone()], of(&["get"], &[""], &["pods/log"], &[]), false),
            ("paths below", vec![url(&["get"], &["/api/*"])], url(&["get"], &["/api/v1", "/api/*"]), true),
            ("paths above", vec![url(&["get"], &["/api/*"])], url(&["get"], &["/*"]), false),
        ];
        for (name, held, asked, expected) in rows {
            assert_eq!(not_covered(&held, &[asked]).is_empty(), expected, "{name}");
        }
    }

    #[test]
    fn what_is_missing_is_put_together_by_resource() {
        let asked = rule(json!({
            "verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"],
        }));
        assert_eq!(asked.parts(), 2);
        let missing = put_together(not_covered(&[], &[asked]));
        let texts: Vec<String> = missing.iter().map(PolicyRule::compact).collect();
        assert_eq!(texts, [r#"{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}"#]);
    }
}
