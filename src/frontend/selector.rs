//! Label and field selectors, as a client writes them in a query.
//!
//! Sources: `k8s.io/apimachinery/pkg/labels/selector.go`, `.../pkg/fields/selector.go`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::model::{Operator, Requirement};

use super::status::ApiError;

/// What the labels of an object must be; empty: anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSelector(Vec<Requirement>);

/// What fields of an object must be; empty: anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldSelector(Vec<FieldRequirement>);

/// A field must have this value, or must not.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FieldRequirement {
    field: String,
    is: bool,
    value: String,
}

/// How many requirements a selector may have.
pub const MAX_REQUIREMENTS: usize = 256;

impl LabelSelector {
    /// Reads `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
    ///
    /// # Errors
    /// Where it is malformed.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let mut requirements = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (requirement, after) = label_requirement(rest).ok_or_else(|| {
                ApiError::bad_request(format!("unable to parse requirement: {rest:?} is no label selector"))
            })?;
            requirements.push(requirement);
            if requirements.len() > MAX_REQUIREMENTS {
                return Err(ApiError::bad_request(format!(
                    "a selector may have {MAX_REQUIREMENTS} requirements"
                )));
            }
            rest = match after.trim_start().strip_prefix(',') {
                Some(next) if !next.trim().is_empty() => next.trim_start(),
                None if after.trim().is_empty() => "",
                _ => return Err(ApiError::bad_request(format!("{text:?} is no label selector"))),
            };
        }
        Ok(Self(requirements))
    }

    /// Reads a selector as objects have it (`metav1.LabelSelector`: `matchLabels` and `matchExpressions`).
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn from_object(selector: &Value) -> Result<Self, String> {
        let mut requirements = Vec::new();
        let labels = selector.get("matchLabels").and_then(Value::as_object);
        for (key, value) in labels.into_iter().flatten() {
            let values = vec![value.as_str().unwrap_or_default().to_owned()];
            requirements.push(Requirement { key: key.clone(), operator: Operator::In, values });
        }
        for demand in super::meta::items(selector, "/matchExpressions") {
            let operator = match super::meta::text_at(demand, "/operator") {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => return Err(format!("{other:?} is not a valid label selector operator")),
            };
            let values: Vec<String> = super::meta::items(demand, "/values")
                .map(|value| value.as_str().unwrap_or_default().to_owned())
                .collect();
            let key = super::meta::text_at(demand, "/key").to_owned();
            if values.is_empty() == matches!(operator, Operator::In | Operator::NotIn) {
                return Err(format!(
                    "values of {key:?} must be specified when `operator` is 'In' or 'NotIn', and only then"
                ));
            }
            requirements.push(Requirement { key, operator, values });
        }
        if requirements.len() > MAX_REQUIREMENTS {
            return Err(format!("a selector may have {MAX_REQUIREMENTS} requirements"));
        }
        for Requirement { key, values, .. } in &requirements {
            if !is_label_key(key) {
                return Err(format!("{key:?} is no valid label key"));
            }
            if let Some(value) = values.iter().find(|value| !is_label_value(value)) {
                return Err(format!("{value:?} is no valid label value"));
            }
        }
        Ok(Self(requirements))
    }

    /// Whether labels are as demanded.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| {
            let value = labels.get(&requirement.key);
            match requirement.operator {
                Operator::In => value.is_some_and(|value| requirement.values.contains(value)),
                Operator::NotIn => value.is_none_or(|value| !requirement.values.contains(value)),
                Operator::Exists => value.is_some(),
                Operator::DoesNotExist => value.is_none(),
            }
        })
    }

    /// Whether an object's labels are as demanded.
    #[must_use]
    pub fn matches_object(&self, object: &Value) -> bool {
        self.0.is_empty() || self.matches(&labels(object))
    }

    /// As an authoriser sees it.
    #[must_use]
    pub fn requirements(&self) -> Vec<Requirement> {
        self.0.clone()
    }

    /// Whether it demands anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `metadata.labels` of an object; what is no text is left out.
#[must_use]
pub fn labels(object: &Value) -> BTreeMap<String, String> {
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
    labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// One requirement, and the text after it.
fn label_requirement(text: &str) -> Option<(Requirement, &str)> {
    let made = |key: &str, operator, values: Vec<String>| {
        is_label_key(key).then(|| Requirement { key: key.to_owned(), operator, values })
    };
    if let Some(rest) = text.strip_prefix('!') {
        let rest = rest.trim_start();
        let (key, after) = word(rest);
        return Some((made(key, Operator::DoesNotExist, Vec::new())?, after));
    }
    let (key, after) = word(text);
    let after = after.trim_start();
    for (sign, operator) in [("!=", Operator::NotIn), ("==", Operator::In), ("=", Operator::In)] {
        if let Some(rest) = after.strip_prefix(sign) {
            let (value, after) = word(rest.trim_start());
            return Some((made(key, operator, vec![label_value(value)?])?, after));
        }
    }
    for (name, operator) in [("notin", Operator::NotIn), ("in", Operator::In)] {
        let Some(rest) = after.strip_prefix(name) else { continue };
        let (values, after) = rest.trim_start().strip_prefix('(')?.split_once(')')?;
        let values = values.split(',').map(|value| label_value(value.trim())).collect::<Option<Vec<_>>>()?;
        return Some((made(key, operator, values)?, after));
    }
    Some((made(key, Operator::Exists, Vec::new())?, after))
}

/// What stands before the next sign of the grammar, and the rest.
fn word(text: &str) -> (&str, &str) {
    text.split_at(text.find([',', '=', '!', '(', ')', ' ', '\t']).unwrap_or(text.len()))
}

/// A value of a label: empty, or up to 63 letters, digits, `-`, `_` and `.`, beginning and ending with a letter or digit.
#[must_use]
pub fn is_label_value(value: &str) -> bool {
    value.is_empty() || is_name(value)
}

fn label_value(value: &str) -> Option<String> {
    is_label_value(value).then(|| value.to_owned())
}

/// A key of a label: a name, or a DNS name, a slash and a name.
#[must_use]
pub fn is_label_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_dns_subdomain(prefix) && is_name(name),
        None => is_name(key),
    }
}

fn is_name(name: &str) -> bool {
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    name.len() <= 63
        && ends(name.as_bytes().first())
        && ends(name.as_bytes().last())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// A name of an object that is a DNS subdomain (RFC 1123): labels of lower-case letters, digits and `-`, up to 253 octets.
#[must_use]
pub fn is_dns_subdomain(name: &str) -> bool {
    !name.is_empty() && name.len() <= 253 && name.split('.').all(is_dns_label_of_any_length)
}

/// A name of an object that is a DNS label (RFC 1123): up to 63 lower-case letters, digits and `-`.
#[must_use]
pub fn is_dns_label(name: &str) -> bool {
    name.len() <= 63 && is_dns_label_of_any_length(name)
}

fn is_dns_label_of_any_length(label: &str) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    label.as_bytes().first().is_some_and(is_plain)
        && label.as_bytes().last().is_some_and(is_plain)
        && label.bytes().all(|byte| is_plain(&byte) || byte == b'-')
}

impl FieldSelector {
    /// Reads `a=b,c==d,e!=f`; `\,`, `\=` and `\\` stand for the sign itself.
    ///
    /// # Errors
    /// Where it is malformed.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let wrong = || ApiError::bad_request(format!("{text:?} is no field selector"));
        let mut requirements = Vec::new();
        for term in split_unescaped(text) {
            if term.is_empty() {
                continue;
            }
            let (at, sign, is) = ["!=", "==", "="]
                .iter()
                .filter_map(|sign| Some((term.find(sign)?, *sign, *sign != "!=")))
                .min_by_key(|(at, sign, _)| (*at, std::cmp::Reverse(sign.len())))
                .ok_or_else(wrong)?;
            let (field, value) = term.split_at(at);
            let value = unescape(value.strip_prefix(sign).unwrap_or_default()).ok_or_else(wrong)?;
            requirements.push(FieldRequirement { field: field.to_owned(), is, value });
            if requirements.len() > MAX_REQUIREMENTS {
                return Err(ApiError::bad_request(format!(
                    "a selector may have {MAX_REQUIREMENTS} requirements"
                )));
            }
        }
        Ok(Self(requirements))
    }

    /// Whether the fields of an object, as `value` tells them, are as demanded. A field that there is not is empty.
    pub fn matches(&self, value: impl Fn(&str) -> String) -> bool {
        self.0.iter().all(|requirement| (value(&requirement.field) == requirement.value) == requirement.is)
    }

    /// The fields that it looks at.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|requirement| requirement.field.as_str())
    }

    /// As an authoriser sees it.
    #[must_use]
    pub fn requirements(&self) -> Vec<Requirement> {
        let requirement = |requirement: &FieldRequirement| Requirement {
            key: requirement.field.clone(),
            operator: if requirement.is { Operator::In } else { Operator::NotIn },
            values: vec![requirement.value.clone()],
        };
        self.0.iter().map(requirement).collect()
    }

    /// Whether it demands anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The parts between commas that no backslash stands before.
fn split_unescaped(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.extend(text.get(start..at));
                start = at.saturating_add(1);
            }
            _ => {}
        }
    }
    parts.extend(text.get(start..));
    parts
}

fn unescape(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.push(characters.next().filter(|next| ['\\', ',', '='].contains(next))?),
            ',' | '=' => return None,
            other => plain.push(other),
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        LabelSelector::parse(selector).unwrap().matches(&labels)
    }

    #[test]
    fn labels_are_selected_as_kubernetes_does() {
        let gold = [("tier", "gold"), ("app", "web")];
        for (selector, expected) in [
            ("", true),
            ("tier=gold", true),
            ("tier == gold , app=web", true),
            ("tier!=gold", false),
            ("other!=x", true),
            ("tier in (silver, gold)", true),
            ("tier notin (silver)", true),
            ("other notin (x)", true),
            ("tier", true),
            ("!tier", false),
            ("! other", true),
            ("other", false),
            ("tier=", false),
        ] {
            assert_eq!(matches(selector, &gold), expected, "{selector}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for selector in ["=a", "a=b,", "a in gold", "a in (b", "a b", "a=b c", "a//b", "a=@", ",", "in (a)"] {
            assert!(LabelSelector::parse(selector).is_err(), "{selector}");
        }
        for selector in ["a", "a=b=c", "a=\\x"] {
            assert!(FieldSelector::parse(selector).is_err(), "{selector}");
        }
    }

    #[test]
    fn fields_are_selected_with_escapes() {
        let selector = FieldSelector::parse("metadata.name=a\\,b,status.phase!=Failed").unwrap();
        let value = |field: &str| match field {
            "metadata.name" => "a,b".to_owned(),
            _ => "Running".to_owned(),
        };
        assert!(selector.matches(value));
        assert_eq!(selector.requirements()[0].values, ["a,b"]);
        assert_eq!(selector.requirements()[1].operator, Operator::NotIn);
    }
}
