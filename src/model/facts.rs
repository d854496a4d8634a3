//! What a directory says of a subject. "Could not find out" is not a value of these types: a lookup that fails is an
//! error of the lookup, so that it can never be mistaken for "no groups".

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use super::Dn;

/// The stable identity of a directory entry: `entryUUID`, `objectGUID` or SID in lower case where the server has one,
/// otherwise the normalised DN. Renames keep the former, not the latter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityId(Arc<str>);

impl EntityId {
    /// The identity with this text, folded to ASCII lower case.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_ascii_lowercase().into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Everything that one resolution of a user found, complete but for what [`Facts::partial`] names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Whether there is such a person.
    pub person: Person,
    /// The groups, each once, in the order in which they were reached.
    pub groups: Vec<GroupMembership>,
    /// Set where there may be more groups than `groups` lists: a group that is listed is certain, one that is not is unknown.
    pub partial: Option<Partial>,
    /// The configured attributes that the person's entry has, by the name that policies use, with all their values.
    /// An attribute that is not here is *known absent*, because the entry was read completely.
    pub attributes: BTreeMap<String, Vec<String>>,
    /// The state of the account.
    pub account: AccountState,
    /// Every entry whose change could change these facts: the person and all groups of the closure.
    pub touched: Vec<EntityId>,
    /// When the first search of this resolution was sent.
    pub read_at: Timestamp,
    /// The generation of the source at that moment: facts of an older generation are stale.
    pub generation: u64,
}

/// Whether a directory has the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Person {
    /// Exactly one entry, whose user name was compared with the one that was asked for.
    Found {
        /// The entry's stable identity.
        id: EntityId,
        /// The entry's DN as the server returned it.
        dn: Dn,
    },
    /// No entry; known, because the search completed.
    NotFound,
    /// Several entries: whose groups and attributes count is not known.
    Ambiguous,
    /// Not a user of this directory at all (`directory.usernames`); never asked.
    Outside,
}

/// One group that the person is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMembership {
    /// The group's stable identity.
    pub id: EntityId,
    /// The group's DN as the server returned it.
    pub dn: Dn,
    /// The group's name (`groupSearch.name`, `cn` by default), for people to read; policies are bound by `id` or `dn`.
    pub name: String,
    /// The group in `Facts::groups` through which this one was reached; `None` where the person is a direct member.
    pub via: Option<usize>,
}

/// Why there may be more groups than are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Partial {
    /// `groupSearch.maxDepth` was reached with groups left to follow.
    Depth,
    /// `groupSearch.maxGroups` was reached.
    Count,
    /// The server cut a result short (result codes 3, 4 and 11).
    ServerLimit,
}

/// The state of an account. `None` where the directory's schema does not have it: no effect.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountState {
    /// Disabled by an administrator.
    pub disabled: Option<bool>,
    /// Locked, by failed binds as a rule.
    pub locked: Option<bool>,
    /// Until when the account is locked; `None` with `locked: true` means until an administrator unlocks it.
    pub locked_until: Option<Timestamp>,
    /// From when on the account is expired; `None` means never, or that the schema does not have it.
    pub expires: Option<Timestamp>,
    /// Whether the password is expired.
    pub password_expired: Option<bool>,
}

impl Facts {
    /// The facts of a subject that is no directory user: known to be empty.
    #[must_use]
    pub fn outside(read_at: Timestamp) -> Self {
        Self::without_entry(Person::Outside, read_at, 0)
    }

    /// The facts of a person for whom there is no one entry.
    #[must_use]
    pub fn without_entry(person: Person, read_at: Timestamp, generation: u64) -> Self {
        Self {
            person,
            groups: Vec::new(),
            partial: None,
            attributes: BTreeMap::new(),
            account: AccountState::default(),
            touched: Vec::new(),
            read_at,
            generation,
        }
    }

    /// How a group was reached: the names from the person's direct group to this one.
    #[must_use]
    pub fn path<'a>(&'a self, group: &'a GroupMembership) -> Vec<&'a str> {
        let mut names = vec![group.name.as_str()];
        let mut via = group.via;
        while let Some(next) = via.and_then(|index| self.groups.get(index)) {
            if names.len() > self.groups.len() {
                break;
            }
            names.push(next.name.as_str());
            via = next.via;
        }
        names.reverse();
        names
    }
}

/// A group name of a policy, as it was written.
pub type GroupName = String;

/// What each group name that the policies use resolves to, found from the policies' side.
/// A name that is not in here has not been resolved yet: unknown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupNames {
    /// By name.
    pub names: HashMap<GroupName, Resolved>,
    /// Grows with every change, so that what was prepared under an older one is prepared again.
    pub generation: u64,
}

/// What one group name resolves to below `groupSearch.base`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// Exactly one group.
    Group(EntityId),
    /// No group has this name.
    None,
    /// Several groups have it.
    Several,
}
