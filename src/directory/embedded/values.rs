//! What values are compared by: a schema of the few syntaxes that matter to groups and people (RFC 4517, RFC 2307).

use crate::model::Dn;

/// How an attribute's values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::directory) enum Syntax {
    /// A distinguished name.
    Name,
    /// Text without regard to case and to the number of spaces: everything that is not listed here.
    CaseIgnore,
    /// Text with regard to case.
    CaseExact,
    /// A number.
    Integer,
    /// Bytes.
    Octets,
}

const NAMES: [&str; 16] = [
    "member",
    "uniquemember",
    "memberof",
    "manager",
    "managedby",
    "directreports",
    "owner",
    "secretary",
    "seealso",
    "roleoccupant",
    "distinguishedname",
    "entrydn",
    "aliasedobjectname",
    "creatorsname",
    "modifiersname",
    "namingcontexts",
];
const CASE_EXACT: [&str; 3] = ["memberuid", "homedirectory", "loginshell"];
const INTEGERS: [&str; 8] = [
    "uidnumber",
    "gidnumber",
    "useraccountcontrol",
    "primarygroupid",
    "primarygrouptoken",
    "grouptype",
    "accountexpires",
    "pwdlastset",
];
const OCTETS: [&str; 6] =
    ["objectsid", "objectguid", "tokengroups", "usercertificate", "jpegphoto", "thumbnailphoto"];

impl Syntax {
    /// The syntax of an attribute type, given in lower case.
    pub(in crate::directory) fn of(kind: &str) -> Self {
        let among = |kinds: &[&str]| kinds.contains(&kind);
        if among(&NAMES) {
            Self::Name
        } else if among(&CASE_EXACT) {
            Self::CaseExact
        } else if among(&INTEGERS) {
            Self::Integer
        } else if among(&OCTETS) {
            Self::Octets
        } else {
            Self::CaseIgnore
        }
    }

    /// The form that equal values share, and by which they are ordered; `None` where the value is not of the syntax.
    pub(in crate::directory) fn normal(self, value: &[u8]) -> Option<Box<[u8]>> {
        let text = std::str::from_utf8(value);
        match self {
            Self::Octets => Some(value.into()),
            Self::Name => Some(Dn::parse(text.ok()?).ok()?.normal().as_bytes().into()),
            // With the sign turned round, the order of the bytes is that of the numbers.
            Self::Integer => {
                let number: i64 = text.ok()?.trim().parse().ok()?;
                Some((number ^ i64::MIN).to_be_bytes().into())
            }
            Self::CaseIgnore | Self::CaseExact => {
                Some(self.fragment(value).unwrap_or_else(|| value.into()).trim_ascii().into())
            }
        }
    }

    /// The form of a part of a value, for substrings; `None` where the syntax has none.
    pub(super) fn fragment(self, part: &[u8]) -> Option<Box<[u8]>> {
        match (self, std::str::from_utf8(part)) {
            (Self::Name | Self::Integer, _) => None,
            (Self::Octets, _) | (_, Err(_)) => Some(part.into()),
            (Self::CaseExact, Ok(text)) => Some(fold_spaces(text.chars())),
            (Self::CaseIgnore, Ok(text)) => Some(fold_spaces(text.chars().flat_map(char::to_lowercase))),
        }
    }
}

fn fold_spaces(characters: impl Iterator<Item = char>) -> Box<[u8]> {
    let mut folded = String::new();
    for character in characters {
        let space = character.is_whitespace();
        if !(space && folded.ends_with(' ')) {
            folded.push(if space { ' ' } else { character });
        }
    }
    folded.into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn equal(kind: &str, left: &str, right: &str) -> bool {
        let syntax = Syntax::of(kind);
        syntax.normal(left.as_bytes()) == syntax.normal(right.as_bytes())
    }

    #[test]
    fn values_are_equal_by_the_syntax_of_their_attribute() {
        assert!(equal("cn", " Ada  LOVELACE", "ada lovelace "));
        assert!(equal("cn", "JÜRGEN", "jürgen"));
        assert!(!equal("memberuid", "Ada", "ada"));
        assert!(equal("member", "CN=Ada,DC=x", "cn=ada,dc=X"));
        assert!(equal("gidnumber", "0010", "10"));
        assert!(!equal("objectguid", "A", "a"));
    }

    #[test]
    fn numbers_are_ordered_as_numbers() {
        let normal = |text: &str| Syntax::Integer.normal(text.as_bytes()).unwrap();
        assert!(normal("-1") < normal("0") && normal("9") < normal("10"));
        assert_eq!(Syntax::Integer.normal(b"ten"), None);
    }
}
