//! What a feed looks at, and how what it sees is understood.

use super::super::LookupError;
use super::super::about::About;
use super::super::active_directory::is_distribution_group;
use super::super::entry::Entry;
use super::super::resolve::Wording;
use super::change::EntryChange;
use crate::model::{Dn, EntityId, Trigger};

/// Classes of entries below which others stand. One that is renamed renames them, and only it is told of. The head of a
/// domain is none of them: it is not renamed, and changes all the time.
const CONTAINERS: [&str; 5] = ["organizationalunit", "container", "organization", "country", "locality"];

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
}

impl Kind {
    /// What an entry is, by the classes that came with it.
    pub(super) fn of(entry: &Entry) -> Self {
        let Ok(classes) = entry.texts("objectclass") else { return Self::Unknown };
        let is_one_of = |known: &[&str]| {
            classes.iter().any(|class| known.iter().any(|known| class.eq_ignore_ascii_case(known)))
        };
        if is_one_of(&GROUPS) {
            Self::Group
        } else if is_one_of(&PEOPLE) {
            Self::Person
        } else if is_one_of(&CONTAINERS) {
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

/// What is told of an entry that is gone.
pub(super) fn gone(id: EntityId) -> EntryChange {
    EntryChange { triggers: vec![Trigger::entity(&id)], id, group_names: Some(Vec::new()), is_gone: true }
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
