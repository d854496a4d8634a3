//! Search filters (RFC 4515). Every value goes through [`equals`], which escapes it: nothing that a requester or a
//! directory wrote can become syntax.

use ldap3::asn1::{ASNTag, PL, StructureTag, TagClass};
use ldap3::{ldap_escape, parse_filter};

use super::entry::sid_text;

/// What stands for the user's name in a filter template.
const PLACEHOLDER: &str = "{username}";
/// Stands for a name while a template is checked: letters only, so that it is never escaped.
const PROBE: &str = "bailiwickProbeOfTheUserName";

/// Security identifiers in a filter, and how they are written there: each byte escaped.
const SID_EQUALITY: &str = "(objectSid=";

/// A filter of ours for people to read: security identifiers as text and not as bytes. It asks for the same.
pub(super) fn readable(filter: &str) -> String {
    let mut text = String::with_capacity(filter.len());
    let mut rest = filter;
    while let Some(at) = rest.find(SID_EQUALITY) {
        let (before, from) = rest.split_at(at + SID_EQUALITY.len());
        text.push_str(before);
        let (value, after) = from.split_at(from.find(')').unwrap_or(from.len()));
        match unescaped(value).and_then(|bytes| sid_text(&bytes).ok()) {
            Some(sid) => text.push_str(&sid.to_ascii_uppercase()),
            None => text.push_str(value),
        }
        rest = after;
    }
    text.push_str(rest);
    text
}

/// The bytes of a value of which each is escaped.
fn unescaped(value: &str) -> Option<Vec<u8>> {
    value.strip_prefix('\\')?.split('\\').map(|digits| u8::from_str_radix(digits, 16).ok()).collect()
}

/// `(attribute=value)`.
pub(super) fn equals(attribute: &str, value: &str) -> String {
    format!("({attribute}={})", ldap_escape(value))
}

/// A filter that holds where one of these does.
pub(super) fn any_of(filters: &[String]) -> String {
    match filters {
        [one] => one.clone(),
        several => format!("(|{})", several.concat()),
    }
}

/// The filter by which a user is found, checked when the configuration is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    text: String,
    attributes: Vec<String>,
}

/// Why a template cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Nothing to put the name into.
    #[error("does not say `{{username}}`")]
    NoPlaceholder,
    /// No filter at all.
    #[error("is not an LDAP filter (RFC 4515)")]
    NotAFilter,
    /// The name would be part of something else than the value of an equality.
    #[error(
        "must have `{{username}}` as the whole value of an equality, as in `(uid={{username}})`, outside of any `!`"
    )]
    NotAValue,
}

impl Template {
    /// Reads a template: a filter in which `{username}` is the whole value of one equality or more.
    pub(super) fn parse(text: &str) -> Result<Self, TemplateError> {
        let places = text.matches(PLACEHOLDER).count();
        if places == 0 || text.contains(PROBE) {
            return Err(TemplateError::NoPlaceholder);
        }
        let filter =
            parse_filter(text.replace(PLACEHOLDER, PROBE)).map_err(|()| TemplateError::NotAFilter)?;
        let mut attributes = attributes_equal_to_probe(filter.into_structure());
        if attributes.len() != places {
            return Err(TemplateError::NotAValue);
        }
        attributes.sort_unstable();
        attributes.dedup();
        Ok(Self { text: text.to_owned(), attributes })
    }

    /// `(uid={username})`, as most directories have it.
    pub(super) fn usual() -> Self {
        Self { text: format!("(uid={PLACEHOLDER})"), attributes: vec!["uid".to_owned()] }
    }

    /// The filter for this user.
    pub(super) fn for_user(&self, user: &str) -> String {
        self.text.replace(PLACEHOLDER, &ldap_escape(user))
    }

    /// The attributes, in lower case, of which one must hold the user's name.
    pub(super) fn attributes(&self) -> &[String] {
        &self.attributes
    }
}

const AND: u64 = 0;
const OR: u64 = 1;
const EQUALITY: u64 = 3;

/// The attributes, in lower case, of the equalities with the probe that stand outside of any negation.
fn attributes_equal_to_probe(filter: StructureTag) -> Vec<String> {
    let mut open = vec![filter];
    let mut found = Vec::new();
    while let Some(tag) = open.pop() {
        let PL::C(children) = tag.payload else { continue };
        match (tag.class, tag.id) {
            (TagClass::Context, AND | OR) => open.extend(children),
            (TagClass::Context, EQUALITY) => {
                if let [
                    StructureTag { payload: PL::P(attribute), .. },
                    StructureTag { payload: PL::P(value), .. },
                ] = children.as_slice()
                    && value == PROBE.as_bytes()
                {
                    found.push(String::from_utf8_lossy(attribute).to_ascii_lowercase());
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_attributes_of_a_template_are_those_that_the_name_is_compared_with() {
        let template =
            Template::parse("(&(objectClass=person)(|(UID={username})(mail={username})))").unwrap();
        assert_eq!(template.attributes(), ["mail", "uid"]);
        assert_eq!(
            template.for_user("*)(uid=*"),
            "(&(objectClass=person)(|(UID=\\2a\\29\\28uid=\\2a)(mail=\\2a\\29\\28uid=\\2a)))"
        );
    }

    #[test]
    fn a_template_has_the_name_as_a_whole_value() {
        for (text, error) in [
            ("(uid=alice)", TemplateError::NoPlaceholder),
            ("uid {username}", TemplateError::NotAFilter),
            ("(uid={username}", TemplateError::NotAFilter),
            ("(uid={username}*)", TemplateError::NotAValue),
            ("(uid=x{username})", TemplateError::NotAValue),
            ("({username}=x)", TemplateError::NotAValue),
            ("(uid>={username})", TemplateError::NotAValue),
            ("(!(uid={username}))", TemplateError::NotAValue),
            ("(&(uid={username})(mail={username}@x))", TemplateError::NotAValue),
            ("(uid:caseExactMatch:={username})", TemplateError::NotAValue),
        ] {
            assert_eq!(Template::parse(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_name_becomes_the_value_of_one_equality(name in any::<String>()) {
            let template = Template::parse("(uid={username})").unwrap();
            let tag = parse_filter(template.for_user(&name)).unwrap().into_structure();
            prop_assert_eq!((tag.class, tag.id), (TagClass::Context, EQUALITY));
            let PL::C(children) = tag.payload else { panic!("no equality") };
            let values: Vec<_> = children.into_iter().map(|child| child.payload).collect();
            prop_assert_eq!(values, [PL::P(b"uid".to_vec()), PL::P(name.into_bytes())]);
        }
    }
}
