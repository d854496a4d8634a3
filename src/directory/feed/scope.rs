//! What a feed looks at, and how what it sees is understood.

use super::super::LookupError;
use super::super::about::About;
use super::super::active_directory::is_distribution_group;
use super::super::entry::Entry;
use super::super::resolve::Wording;
use super::change::EntryChange;
use crate::model::{Dn, EntityId, Trigger};

/// Classes of entries below which others stand. One that is renamed renames them, and only it is told of.
const CONTAINERS: [&str; 6] =
    ["organizationalunit", "container", "nscontainer", "organization", "country", "locality"];
/// Classes of the heads of domains. That of the whole tree is not renamed, and changes all the time.
const DOMAINS: [&str; 2] = ["domain", "dcobject"];
/// Types by which people and groups are named, and hardly anything that others stand below.
const LEAF_TYPES: [&str; 2] = ["uid=", "cn="];

/// Classes of groups. An entry with neither these nor a person's may be one as well.
const GROUPS: [&str; 8] = [
    "groupofnames",
    "groupofuniquenames",
    "groupofmembers",
    "groupofentries",
    "groupofurls",
    "posixgroup",
    "ipausergroup",
    "group",
];

const PEOPLE: [&str; 6] =
    ["person", "inetorgperson", "posixaccount", "account", "user", "simplesecurityobject"];

/// What kind of entry it is, as far as its classes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Group,
    Person,
    Container,
    /// Its classes are not known, or others.
    Unknown,
}

/// Where a feed looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Scope {
    /// Everything that facts come from is below this.
    pub(in super::super) base: Dn,
    /// The suffix of the tree that the base is in.
    pub(in super::super) context: String,
}

impl Scope {
    /// The smallest subtree with all people and groups; of Active Directory the domain.
    ///
    /// # Errors
    /// Where they are in different trees of the server, or in none that it names.
    pub(super) fn of(about: &About, users: &str, groups: &str) -> Result<Self, LookupError> {
        let read = |text: &str| Dn::parse(text).map_err(|_| LookupError::Protocol("a base that is no name"));
        let base = read(users)?.common_ancestor(&read(groups)?);
        let context = about
            .naming_contexts
            .iter()
            .filter(|context| Dn::parse(context).is_ok_and(|context| base.is_within(&context)))
            .max_by_key(|context| context.len());
        match context {
            // Of a domain everything is told, and people are in groups that stand outside of any base, such as those of BUILTIN.
            Some(context) if about.is_active_directory() => {
                Ok(Self { base: read(context)?, context: context.clone() })
            }
            Some(context) => Ok(Self { base, context: context.clone() }),
            None => Err(LookupError::Protocol("no one tree of the server has both people and groups")),
        }
    }

    /// Whether others may stand below this entry, whatever else it is.
    pub(super) fn is_container(&self, entry: &Entry) -> bool {
        let classes = entry.texts("objectclass").unwrap_or_default();
        let is_head = Dn::parse(&self.context).is_ok_and(|context| entry.dn == context);
        is_one_of(&classes, &CONTAINERS) || (is_one_of(&classes, &DOMAINS) && !is_head)
    }

    /// Whether others that were not told of may be gone with an entry of this name, of which nothing else is known: it was
    /// moved out of the base, and they with it. `bases` are where people and groups are looked for.
    pub(super) fn may_take_others_along(&self, name: &str, bases: [&str; 2]) -> bool {
        let Ok(dn) = Dn::parse(name) else { return true };
        let is_of_base = |base: &str| Dn::parse(base).is_ok_and(|base| base.is_within(&dn));
        // slapd names what is found no more as it is called now. What is inside by its name was deleted, or is told by its old
        // name, and then its type is all there is to go by.
        !dn.is_within(&self.base) || !is_leaf(&dn) || bases.into_iter().any(is_of_base)
    }
}

/// Whether an entry is called as people and groups are, in one of the parts of its own name.
fn is_leaf(dn: &Dn) -> bool {
    let mut is_escaped = false;
    for part in dn.normal().split('+') {
        if !is_escaped && LEAF_TYPES.iter().any(|leaf| part.starts_with(leaf)) {
            return true;
        }
        // What stands behind a comma belongs to the names above.
        if part.contains(',') {
            return false;
        }
        is_escaped = part.ends_with('\\');
    }
    false
}

fn is_one_of(classes: &[&str], known: &[&str]) -> bool {
    classes.iter().any(|class| known.iter().any(|known| class.eq_ignore_ascii_case(known)))
}

impl Kind {
    /// What an entry is, by the classes that came with it.
    pub(super) fn of(entry: &Entry) -> Self {
        let Ok(classes) = entry.texts("objectclass") else { return Self::Unknown };
        if is_one_of(&classes, &GROUPS) {
            Self::Group
        } else if is_one_of(&classes, &PEOPLE) {
            Self::Person
        } else if is_one_of(&classes, &CONTAINERS) {
            Self::Container
        } else {
            Self::Unknown
        }
    }

    pub(super) fn may_be_group(self) -> bool {
        matches!(self, Self::Group | Self::Unknown)
    }
}

/// What is told of an entry as it is now.
pub(super) fn changed(id: EntityId, entry: &Entry, kind: Kind, wording: &Wording) -> EntryChange {
    let mut triggers = vec![Trigger::entity(&id)];
    triggers.extend(names_of_person(entry, wording));
    let group_names = kind.may_be_group().then(|| names_of_group(entry, wording, &wording.group_name));
    EntryChange { id, triggers, group_names, is_gone: false }
}

/// By what a person is found who has these names.
pub(super) fn names_of_person(entry: &Entry, wording: &Wording) -> impl Iterator<Item = Trigger> {
    let names = wording.user_names.iter().flat_map(|name| entry.texts(name).unwrap_or_default());
    names.map(Trigger::named)
}

/// What policies may call a group; none where it stands elsewhere than groups do, or does not count. `attribute` is where
/// its name came.
pub(super) fn names_of_group(entry: &Entry, wording: &Wording, attribute: &str) -> Vec<String> {
    let counts = !wording.only_security_groups || !is_distribution_group(entry);
    if !counts || !entry.dn.is_within(&wording.groups) {
        return Vec::new();
    }
    entry.texts(attribute).unwrap_or_default().into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        Scope { base: Dn::parse("ou=company,dc=x").unwrap(), context: "dc=x".to_owned() }
    }

    #[test]
    fn what_others_may_stand_below_is_told_by_its_classes_whatever_else_it_is() {
        let is_container = |dn, classes: &[&str]| {
            let classes: Vec<_> = classes.iter().map(|class| ("objectClass", *class)).collect();
            scope().is_container(&Entry::of(dn, &classes))
        };
        assert!(is_container("ou=a,dc=x", &["organizationalUnit"]));
        assert!(is_container("ou=a,dc=x", &["simpleSecurityObject", "OrganizationalUnit"]));
        assert!(is_container("dc=a,dc=x", &["domain"]));
        assert!(!is_container("DC=x", &["domain"]), "the head of all is not renamed");
        assert!(!is_container("uid=a,dc=x", &["inetOrgPerson"]));
    }

    #[test]
    fn an_entry_that_is_gone_may_have_taken_others_along_unless_its_name_says_otherwise() {
        let may = |name| {
            scope().may_take_others_along(name, ["cn=people,ou=company,dc=x", "cn=groups,ou=company,dc=x"])
        };
        for leaf in ["uid=a,ou=company,dc=x", "CN=a\\, b,ou=company,dc=x", "sn=b+uid=a,ou=company,dc=x"] {
            assert!(!may(leaf), "{leaf}");
        }
        for other in [
            "ou=a,ou=company,dc=x",
            "ou=a\\+uid=b,ou=company,dc=x",
            "ou=a,l=b+uid=c,ou=company,dc=x",
            "cn=people,ou=company,dc=x",
            "uid=a,ou=left,dc=x",
            "no name",
            "",
        ] {
            assert!(may(other), "{other}");
        }
    }
}
