//! What a directory says of a subject. "Could not find out" is not a value of these types: a lookup that fails is an
//! error of the lookup, so that it can never be mistaken for "no groups".

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::quality::FixedState;
use jiff::Timestamp;

use super::Dn;

/// The stable identity of a directory entry: `entryUUID`, `objectGUID` or SID in lower case where the server has one,
/// otherwise the normalised DN. Renames keep the former, not the latter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityId(Form);

/// Most identities are UUIDs, which are kept as what they are: hundreds of thousands of them are held.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Form {
    Uuid([u8; 16]),
    /// In lower case, and no UUID.
    Text(Arc<str>),
}

impl EntityId {
    /// The identity with this text, folded to ASCII lower case.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(uuid(text).map_or_else(|| Form::Text(text.to_ascii_lowercase().into()), Form::Uuid))
    }
}

impl std::fmt::Display for EntityId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Form::Text(text) => f.write_str(text),
            Form::Uuid(bytes) => bytes.iter().enumerate().try_for_each(|(place, byte)| {
                let dash = if matches!(place, 4 | 6 | 8 | 10) { "-" } else { "" };
                write!(f, "{dash}{byte:02x}")
            }),
        }
    }
}

/// The bytes of a UUID that is written as RFC 9562, section 4, has it.
fn uuid(text: &str) -> Option<[u8; 16]> {
    let mut digits = text.bytes().enumerate().filter_map(|(place, byte)| match (place, byte) {
        (8 | 13 | 18 | 23, b'-') => None,
        (_, digit) => Some(char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())),
    });
    let mut bytes = [0; 16];
    for byte in &mut bytes {
        *byte = digits.next()?? << 4 | digits.next()??;
    }
    (text.len() == 36 && digits.next().is_none()).then_some(bytes)
}

/// Everything that one resolution of a user found, complete but for what [`Facts::partial`] names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Whether there is such a person.
    pub person: Person,
    /// The groups, each once, in the order in which they were reached.
    pub groups: Memberships,
    /// Set where there may be more groups than `groups` lists: a group that is listed is certain, one that is not is unknown.
    pub partial: Option<Partial>,
    /// The configured attributes that the person's entry has. One that is not here is *known absent*, because the entry was
    /// read completely.
    pub attributes: Attributes,
    /// The state of the account.
    pub account: AccountState,
    /// What else than the entries themselves tells of a change to these facts: how groups list the person, and the names that
    /// the directory could find the person by.
    pub names: Vec<Trigger>,
    /// Whether the directory's change feed, where there is one, tells of every change to these facts.
    pub followed: bool,
    /// When the first search of this resolution was sent.
    pub read_at: Timestamp,
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

/// A group of the directory, shared by the facts of everybody who is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The group's stable identity.
    pub id: EntityId,
    /// The group's security identifier (MS-DTYP 2.4.2), where the directory has such: a second identity that policies may use.
    pub sid: Option<EntityId>,
    /// The group's DN as the server returned it; `None` for a security identifier that the directory does not resolve.
    pub dn: Option<Dn>,
    /// The group's name (`groupSearch.name`), for people to read; policies are bound by `id`, `sid` or `dn`.
    pub name: Box<str>,
}

/// One group that a person is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMembership {
    /// The group.
    pub group: Arc<Group>,
    /// The place of the group through which this one was reached; `None` where the person is a direct member, or where the
    /// directory does not say how.
    pub via: Option<u32>,
}

/// The groups that a person is in, in places from 0 on. Some hundred thousand people's are held, so they are kept small.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memberships {
    groups: Box<[Arc<Group>]>,
    /// As many, or twice as many bytes.
    via: Box<[u8]>,
}

/// Not reached through another group, or through one too far from the first to be said.
const DIRECT: u16 = u16::MAX;
/// So many places can be said in one byte.
const FEW: usize = u8::MAX as usize;

/// One of a person's groups.
#[derive(Debug, Clone, Copy)]
pub struct Membership<'a> {
    /// The group.
    pub group: &'a Arc<Group>,
    /// As [`GroupMembership::via`].
    pub via: Option<usize>,
}

/// Attributes of a person by the name that policies use. Many people can share them: a clone is another handle.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Attributes(Arc<[(Arc<str>, Values)]>);

/// What an entry has of one attribute.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Values {
    /// All of its values.
    Known(Box<[String]>),
    /// Values that cannot be used as text: whatever depends on them is unknown.
    Unreadable,
}

/// What a change in the directory is recognised by: a hash of an entry's identity, or of a name. Equal things have equal
/// triggers; two different things may share one, which costs a look-up that was not needed, nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Trigger(u64);

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
    /// What the entry says in a way that cannot be understood.
    pub unreadable: UnreadableState,
}

/// Which parts of an account's state cannot be understood: they are unknown, never "enabled".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnreadableState {
    /// Whether it is disabled.
    pub disabled: bool,
    /// Whether it is locked.
    pub locked: bool,
    /// When it expires.
    pub expires: bool,
    /// Whether the password is expired.
    pub password_expired: bool,
}

impl Facts {
    /// The facts of a subject that is no directory user: known to be empty.
    #[must_use]
    pub fn outside(read_at: Timestamp) -> Self {
        Self::without_entry(Person::Outside, read_at)
    }

    /// The facts of a person for whom there is no one entry.
    #[must_use]
    pub fn without_entry(person: Person, read_at: Timestamp) -> Self {
        Self {
            person,
            groups: Memberships::default(),
            partial: None,
            attributes: Attributes::default(),
            account: AccountState::default(),
            names: Vec::new(),
            followed: false,
            read_at,
        }
    }

    /// Whether the person is in the group with this identity.
    #[must_use]
    pub fn is_in(&self, group: &EntityId) -> bool {
        self.groups.iter().any(|membership| membership.group.id == *group)
    }

    /// How a group was reached: the names from the person's direct group to this one.
    #[must_use]
    pub fn path<'a>(&'a self, membership: Membership<'a>) -> Vec<&'a str> {
        let mut names = vec![&*membership.group.name];
        let mut via = membership.via;
        while let Some(next) = via.and_then(|place| self.groups.get(place)) {
            if names.len() > self.groups.len() {
                break;
            }
            names.push(&next.group.name);
            via = next.via;
        }
        names.reverse();
        names
    }

    /// Everything by which a change to these facts is recognised: the person, all groups, and the person's names.
    pub fn triggers(&self) -> impl Iterator<Item = Trigger> + '_ {
        let person = match &self.person {
            Person::Found { id, .. } => Some(Trigger::entity(id)),
            Person::NotFound | Person::Ambiguous | Person::Outside => None,
        };
        let groups = self.groups.iter().map(|membership| Trigger::entity(&membership.group.id));
        person.into_iter().chain(groups).chain(self.names.iter().copied())
    }

    /// How other groups list the person's groups: what tells of a change to these facts where nobody was known to be in the
    /// groups when it was told.
    pub fn listed_groups(&self) -> impl Iterator<Item = Trigger> + '_ {
        let names = self.groups.iter().filter_map(|membership| membership.group.dn.as_ref());
        names.map(|dn| Trigger::listed(dn.normal()))
    }
}

impl Memberships {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The one in this place.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<Membership<'_>> {
        let group = self.groups.get(place)?;
        let via = if self.len() <= FEW {
            self.via.get(place).copied().filter(|via| *via != u8::MAX).map(usize::from)
        } else {
            let (pairs, _) = self.via.as_chunks();
            pairs
                .get(place)
                .map(|pair| u16::from_le_bytes(*pair))
                .filter(|via| *via != DIRECT)
                .map(usize::from)
        };
        Some(Membership { group, via })
    }

    /// All of them, in their places.
    pub fn iter(&self) -> impl Iterator<Item = Membership<'_>> {
        (0..self.len()).filter_map(|place| self.get(place))
    }
}

impl FromIterator<GroupMembership> for Memberships {
    fn from_iter<I: IntoIterator<Item = GroupMembership>>(memberships: I) -> Self {
        let place = |via: Option<u32>| via.and_then(|via| u16::try_from(via).ok()).unwrap_or(DIRECT);
        let (groups, via): (Vec<_>, Vec<u16>) =
            memberships.into_iter().map(|GroupMembership { group, via }| (group, place(via))).unzip();
        let via = if groups.len() <= FEW {
            via.into_iter().map(|via| u8::try_from(via).unwrap_or(u8::MAX)).collect()
        } else {
            via.into_iter().flat_map(u16::to_le_bytes).collect()
        };
        Self { groups: groups.into(), via }
    }
}

impl Attributes {
    /// Whether nobody else shares them.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// What the entry has of an attribute; `None` where it is known not to have it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Values> {
        self.0.iter().find(|(known, _)| **known == *name).map(|(_, values)| values)
    }

    /// The attributes in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Values)> {
        self.0.iter().map(|(name, values)| (&**name, values))
    }
}

impl<N: Into<Arc<str>>> FromIterator<(N, Values)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (N, Values)>>(attributes: I) -> Self {
        let mut attributes: Vec<(Arc<str>, Values)> =
            attributes.into_iter().map(|(name, values)| (name.into(), values)).collect();
        attributes.sort_by(|(one, _), (other, _)| one.cmp(other));
        Self(attributes.into())
    }
}

impl Values {
    /// The values, where they can be used.
    #[must_use]
    pub fn known(&self) -> Option<&[String]> {
        match self {
            Self::Known(values) => Some(values),
            Self::Unreadable => None,
        }
    }
}

impl Trigger {
    /// Of the entry with this identity.
    #[must_use]
    pub fn entity(id: &EntityId) -> Self {
        match &id.0 {
            Form::Uuid(bytes) => Self(FixedState::default().hash_one(bytes)),
            Form::Text(text) => Self::of(0, text),
        }
    }

    /// Of whoever a group lists so: by the normal form of a DN, or by a `uid`.
    #[must_use]
    pub fn listed(member: &str) -> Self {
        Self::of(1, member)
    }

    /// Of whoever the directory finds by this name, whatever its case.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self::of(2, &name.to_lowercase())
    }

    fn of(kind: u8, text: &str) -> Self {
        Self(FixedState::default().hash_one((kind, text)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_keep_their_places_however_many_there_are() {
        for count in [0, 1, 255, 256, 300, 70_000] {
            let group = Group { id: EntityId::new("g"), sid: None, dn: None, name: "g".into() };
            let group = Arc::new(group);
            let via = |place: u32| place.checked_sub(1).filter(|_| !place.is_multiple_of(3));
            let all = (0..count).map(|place| GroupMembership { group: Arc::clone(&group), via: via(place) });
            let memberships: Memberships = all.collect();
            assert_eq!(memberships.iter().count(), usize::try_from(count).unwrap());
            for place in [0, 1, 2, 253, 254, 255, 256, 299, 65_534, 65_537, 69_998]
                .into_iter()
                .filter(|it| *it < count)
            {
                let expected =
                    via(place).filter(|via| *via < 65_535).map(|via| usize::try_from(via).unwrap());
                let place = usize::try_from(place).unwrap();
                assert_eq!(memberships.get(place).unwrap().via, expected, "{place} of {count}");
            }
        }
    }

    #[test]
    fn an_identity_is_written_as_it_was_read_but_for_its_case() {
        for text in [
            "0A010203-0405-0607-0809-0a0b0c0d0eFF",
            "s-1-5-32-545",
            "cn=A,dc=x",
            "",
            "0a010203-0405-0607-0809-0a0b0c0d0ef",
            "0a010203-0405-0607-0809-0a0b0c0d0efg",
            "0a0102030405-0607-0809-0a0b-0c0d0eff0",
            "0a010203x0405-0607-0809-0a0b0c0d0eff",
            "0a010203-0405-0607-0809-0a0b0c0d0é",
        ] {
            let id = EntityId::new(text);
            assert_eq!(id.to_string(), text.to_ascii_lowercase());
            assert_eq!(EntityId::new(&text.to_ascii_uppercase()), id);
            assert_eq!(Trigger::entity(&EntityId::new(&text.to_ascii_uppercase())), Trigger::entity(&id));
        }
    }
}
