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
    /// The one of them that is written first.
    first: String,
    /// All attributes that it asks for, in lower case and without options.
    asked: Vec<String>,
    has_chain: bool,
}

/// Attributes whose value on an entry changes without a change of the entry: links back, and what is computed (MS-ADTS
/// 3.1.1.4.5). `memberOf` by its identifier too.
const COMPUTED: [&str; 14] = [
    "memberof",
    "1.2.840.113556.1.2.102",
    "ismemberof",
    "msds-memberoftransitive",
    "directreports",
    "managedobjects",
    "tokengroups",
    "tokengroupsglobalanduniversal",
    "tokengroupsnogcacceptable",
    "canonicalname",
    "msds-principalname",
    "msds-user-account-control-computed",
    "msds-userpasswordexpirytimecomputed",
    "anr",
];
/// Attributes that each domain controller keeps for itself, so that no other one is told of them (MS-ADTS 3.1.1.1.3).
const OWN_TO_A_SERVER: [&str; 6] =
    ["lastlogon", "lastlogoff", "logoncount", "badpwdcount", "badpasswordtime", "modifytimestamp"];

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
        let filter = filter.into_structure();
        let (asked, has_chain) = asked_for(filter.clone());
        let first = first_compared(text);
        let mut attributes = attributes_equal_to_probe(filter);
        if attributes.len() != places {
            return Err(TemplateError::NotAValue);
        }
        attributes.sort_unstable();
        attributes.dedup();
        Ok(Self { text: text.to_owned(), attributes, first, asked, has_chain })
    }

    /// `(uid={username})`, as most directories have it.
    pub(super) fn usual() -> Self {
        let uid = vec!["uid".to_owned()];
        Self {
            text: format!("(uid={PLACEHOLDER})"),
            attributes: uid.clone(),
            first: "uid".to_owned(),
            asked: uid,
            has_chain: false,
        }
    }

    /// The filter for this user.
    pub(super) fn for_user(&self, user: &str) -> String {
        self.text.replace(PLACEHOLDER, &ldap_escape(user))
    }

    /// The attributes, in lower case, of which one must hold the user's name.
    pub(super) fn attributes(&self) -> &[String] {
        &self.attributes
    }

    /// The first attribute, as it is written and in lower case, that the user's name is compared with: the one that has the
    /// name of a person, where others have further ones.
    pub(super) fn first_attribute(&self) -> &str {
        &self.first
    }

    /// The attributes, in lower case, on which it depends whether an entry is found, as far as their changes are told.
    pub(super) fn told(&self) -> impl Iterator<Item = &str> {
        self.asked.iter().map(String::as_str).filter(|name| !is_untold(name))
    }

    /// Whether it depends on nothing else.
    pub(super) fn is_told(&self) -> bool {
        !self.has_chain && !self.asked.iter().any(|name| is_untold(name))
    }
}

const AND: u64 = 0;
const OR: u64 = 1;
const NOT: u64 = 2;
const EQUALITY: u64 = 3;
const EXTENSIBLE: u64 = 9;
/// Of an extensible match: the rule, and the attribute (RFC 4511, 4.5.1.7.7).
const RULE: u64 = 1;
const TYPE: u64 = 2;
/// Matching rules that only look at the attribute's own value: all or any of these bits (MS-ADTS 3.1.1.3.4.4).
const BIT_RULES: [&[u8]; 2] = [b"1.2.840.113556.1.4.803", b"1.2.840.113556.1.4.804"];

fn is_untold(name: &str) -> bool {
    COMPUTED.contains(&name) || OWN_TO_A_SERVER.contains(&name)
}

/// All attributes that a filter asks for, and whether it has a match by a rule that may look at other entries, or at whatever
/// attribute it likes.
fn asked_for(filter: StructureTag) -> (Vec<String>, bool) {
    let mut open = vec![filter];
    let (mut asked, mut has_chain) = (Vec::new(), false);
    while let Some(tag) = open.pop() {
        let own = match (tag.id, tag.payload) {
            (AND | OR | NOT, PL::C(children)) => {
                open.extend(children);
                continue;
            }
            (EXTENSIBLE, PL::C(children)) => {
                let part = |id| children.iter().find(|part| part.id == id).map(|part| &part.payload);
                let is_plain = match part(RULE) {
                    Some(PL::P(rule)) => BIT_RULES.contains(&rule.as_slice()),
                    _ => true,
                };
                has_chain |= !is_plain;
                part(TYPE).cloned()
            }
            // All others begin with the attribute.
            (_, PL::C(children)) => children.into_iter().next().map(|first| first.payload),
            (_, own) => Some(own),
        };
        match own {
            Some(PL::P(name)) => {
                let name = String::from_utf8_lossy(&name).to_ascii_lowercase();
                asked.push(name.split(';').next().unwrap_or_default().to_owned());
            }
            _ => has_chain = true,
        }
    }
    asked.sort_unstable();
    asked.dedup();
    (asked, has_chain)
}

/// What stands before the first `={username}` of a template that was checked: `uid` of `(|(uid={username})(mail={username}))`.
fn first_compared(text: &str) -> String {
    let before = text.split(PLACEHOLDER).next().unwrap_or_default();
    let name = before.rsplit('(').next().unwrap_or_default();
    name.trim_end_matches('=').trim().to_ascii_lowercase()
}

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
        assert!(template.attributes().iter().any(|name| name == template.first_attribute()));
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

    #[test]
    fn everything_that_a_template_depends_on_is_known() {
        let told = |text: &str| {
            let template = Template::parse(&format!("(&(uid={{username}}){text})")).unwrap();
            let told: Vec<String> = template.told().map(str::to_owned).collect();
            (told.join(" "), template.is_told())
        };
        for (text, names, is_told) in [
            ("(extensionAttribute5=k8s)", "extensionattribute5 uid", true),
            ("(!(|(a=*)(B=x*y)))(c>=1)(d<=1)(e~=x)(f;lang-de=x)", "a b c d e f uid", true),
            ("(!(userAccountControl:1.2.840.113556.1.4.803:=2))(cn:=x)", "cn uid useraccountcontrol", true),
            ("(memberOf=cn=k8s)", "uid", false),
            ("(!(memberOf:1.2.840.113556.1.4.1941:=cn=k8s))", "uid", false),
            ("(manager:1.2.840.113556.1.4.1941:=cn=x)", "manager uid", false),
            ("(:caseExactMatch:=x)", "uid", false),
            ("(badPwdCount<=3)", "uid", false),
        ] {
            assert_eq!(told(text), (names.to_owned(), is_told), "{text}");
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
