//! The groups of a person in Active Directory: their security identifiers from `tokenGroups`, nested ones, the primary group
//! and those of the domain's own (MS-ADTS 3.1.1.4.5.19), and then what each of these is called.
//!
//! Three round trips, for up to 200 groups that are not known yet: the person, `tokenGroups`, the groups. Groups are
//! remembered, so that two are enough as a rule; and one where it is known which entry the person is.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ldap3::Scope;

use super::LookupError;
use super::about::unfit;
use super::entry::{Entry, sid_text};
use super::filter::any_of;
use super::groups::{Groups, name};
use super::ranges;
use super::resolve::{Search, refused, with_ids};
use super::search::{Query, Step};
use super::settings::GroupSearch;
use super::table::GroupTable;
use crate::model::{Dn, EntityId, Group, GroupMembership, Partial, Trigger};

/// The attribute with the security identifiers of all groups of a person; only a search of the one entry returns it.
pub(super) const TOKEN_GROUPS: &str = "tokenGroups";
/// What is asked of a person's entry so that [`Token::groups`] finds all that it needs.
pub(super) const PERSON_ATTRIBUTES: [&str; 3] = ["primaryGroupID", "memberOf", "objectSid"];

/// Finds the groups that can be in a token, which distribution groups cannot: those with the bit 0x80000000 of `groupType`
/// (MS-ADTS 2.2.12), by the matching rule of bits (MS-ADTS 3.1.1.3.1.3.5).
pub(super) const SECURITY_GROUPS: &str = "(groupType:1.2.840.113556.1.4.803:=2147483648)";

/// The most identifiers that one search asks for.
const MAX_SIDS: usize = 200;
/// How many groups are remembered. Forgetting one costs a share of a search.
const MAX_KNOWN: usize = 100_000;
/// For how long a group is remembered while a change feed tells of its renaming.
const FOLLOWED_FOR: Duration = Duration::from_secs(5 * 60);
/// The same where nobody tells: the life of the facts that rest on it is added to it.
const KNOWN_FOR: Duration = Duration::from_secs(60);
/// For how long it is remembered that an identifier stands for nothing that can be read: policies find the group by its name
/// as soon as it can be read, and take whoever is known to be in none of that identity for no member.
const UNKNOWN_FOR: Duration = Duration::from_secs(30);

const HIDDEN: LookupError =
    LookupError::Protocol("tokenGroups cannot be read: the service account lacks the right to");

/// What is remembered of groups, by security identifier.
#[derive(Debug, Default)]
pub(super) struct KnownGroups {
    inner: Mutex<Inner>,
    /// Whether a change feed tells of everything.
    are_followed: AtomicBool,
}

#[derive(Debug, Default)]
struct Inner {
    by_sid: HashMap<Box<[u8]>, Known>,
    sid_of: HashMap<EntityId, Box<[u8]>>,
    /// Grows with each [`KnownGroups::forget`]: what was read before is not remembered after it.
    changes: u64,
}

#[derive(Debug, Clone)]
struct Known {
    group: Arc<Group>,
    /// The groups that it is a direct member of.
    parents: Arc<[Trigger]>,
    read: Instant,
    /// Whether its identifier stands for something that can be read.
    is_readable: bool,
}

impl Known {
    fn lives(&self, are_followed: bool) -> bool {
        let life = match (self.is_readable, are_followed) {
            (false, _) => UNKNOWN_FOR,
            (true, false) => KNOWN_FOR,
            (true, true) => FOLLOWED_FOR,
        };
        self.read.elapsed() < life
    }
}

/// The groups of one person as the directory has them, before they have names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    sids: Vec<Vec<u8>>,
    primary: Option<Vec<u8>>,
    /// The groups that the person is a direct member of.
    direct: Vec<Trigger>,
}

impl Token {
    /// Reads an entry that was asked for with [`TOKEN_GROUPS`] and [`PERSON_ATTRIBUTES`].
    ///
    /// # Errors
    /// Where the entry has a primary group and no `tokenGroups`: it must not look as if the person were in no group.
    pub(super) fn read(entry: &Entry) -> Result<Self, LookupError> {
        let sids: Vec<Vec<u8>> = entry.values("tokengroups")?.into_iter().map(<[u8]>::to_vec).collect();
        if sids.is_empty() {
            // Whether it is hidden, or of somebody who is no account, it does not say which groups there are.
            return Err(HIDDEN);
        }
        Ok(Self { primary: primary_group(entry), direct: direct_groups(entry), sids })
    }

    /// What each of the groups is.
    ///
    /// # Errors
    /// Where a search failed or was cut short.
    pub(super) async fn groups(
        self,
        directory: &impl Search,
        base: &str,
        settings: &GroupSearch,
        group_name: &str,
        known: &KnownGroups,
        table: &GroupTable,
    ) -> Result<Groups, LookupError> {
        let Self { mut sids, primary, direct } = self;
        let mut partial = None;
        if sids.len() > settings.max_groups {
            sids.truncate(settings.max_groups);
            partial = Some(Partial::Count);
        }
        // Direct groups are told by what they are called now.
        let asked = if settings.nested { sids.as_slice() } else { &[] };
        let (mut found, changes) = known.find(asked);
        let missing: Vec<&Vec<u8>> = sids.iter().filter(|sid| !found.contains_key(sid.as_slice())).collect();
        let parts = missing.chunks(MAX_SIDS).map(|part| resolve(directory, base, group_name, part, table));
        for part in futures_util::future::join_all(parts).await {
            let part = part?;
            known.remember(&part, changes);
            found.extend(part);
        }
        let mut groups: Vec<(Vec<u8>, Known)> = sids
            .into_iter()
            .filter_map(|sid| Some((sid.clone(), found.get(sid.as_slice())?.clone())))
            // What a replication conflict left is nobody's group, whatever strategy finds it.
            .filter(|(_, known)| !known.group.dn.as_ref().is_some_and(Dn::is_remnant))
            .collect();
        if !settings.nested {
            groups.retain(|(sid, known)| {
                let listed = known.group.dn.as_ref().map(|dn| Trigger::listed(dn.normal()));
                primary.as_ref() == Some(sid) || listed.is_some_and(|listed| direct.contains(&listed))
            });
        }
        Ok(Groups::new(with_paths(groups, &direct), partial))
    }
}

impl KnownGroups {
    /// Those of the groups that are known, and what to give to [`remember`](Self::remember).
    fn find(&self, sids: &[Vec<u8>]) -> (HashMap<Box<[u8]>, Known>, u64) {
        let are_followed = self.are_followed.load(Ordering::Relaxed);
        let inner = self.inner();
        let known = sids.iter().filter_map(|sid| {
            let (sid, known) = inner.by_sid.get_key_value(sid.as_slice())?;
            known.lives(are_followed).then(|| (sid.clone(), known.clone()))
        });
        (known.collect(), inner.changes)
    }

    fn remember(&self, groups: &HashMap<Box<[u8]>, Known>, changes: u64) {
        let mut inner = self.inner();
        if inner.changes != changes {
            return;
        }
        if inner.by_sid.len().saturating_add(groups.len()) > MAX_KNOWN {
            inner.by_sid.clear();
            inner.sid_of.clear();
        }
        for (sid, known) in groups {
            inner.sid_of.insert(known.group.id.clone(), sid.clone());
            inner.by_sid.insert(sid.clone(), known.clone());
        }
    }

    /// Says whether a change feed tells of everything now.
    pub(super) fn follow(&self, are_followed: bool) {
        self.are_followed.store(are_followed, Ordering::Relaxed);
    }

    /// Forgets a group that changed.
    pub(super) fn forget(&self, group: &EntityId) {
        let mut inner = self.inner();
        inner.changes = inner.changes.wrapping_add(1);
        if let Some(sid) = inner.sid_of.remove(group) {
            inner.by_sid.remove(&sid);
        }
    }

    /// Forgets all groups.
    pub(super) fn clear(&self) {
        let mut inner = self.inner();
        inner.changes = inner.changes.wrapping_add(1);
        inner.by_sid.clear();
        inner.sid_of.clear();
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks what these identifiers stand for. One that stands for nothing that can be read is a group all the same, called as it
/// is written: it may be one of another domain.
async fn resolve(
    directory: &impl Search,
    base: &str,
    group_name: &str,
    sids: &[&Vec<u8>],
    table: &GroupTable,
) -> Result<HashMap<Box<[u8]>, Known>, LookupError> {
    let clauses: Vec<String> = sids.iter().map(|sid| equals_bytes("objectSid", sid)).collect();
    let query = Query {
        filter: any_of(&clauses),
        attributes: with_ids([group_name, "memberOf"]),
        // One identifier is one entry.
        limit: sids.len().saturating_add(1),
        paged: true,
        step: Step::GroupNames,
        ..Query::new(base.to_owned(), Scope::Subtree)
    };
    let read = Instant::now();
    let found = ranges::search(directory, query).await?;
    if let Some(cut) = found.cut {
        return Err(refused(cut));
    }
    let mut known = HashMap::new();
    for entry in &found.entries {
        let Some(sid) = entry.values("objectsid")?.first().copied() else { continue };
        let group = Group {
            id: entry.id()?,
            sid: Some(EntityId::new(&sid_text(sid)?)),
            dn: Some(entry.dn.clone()),
            name: name(entry, group_name).into(),
        };
        let parents = direct_groups(entry).into();
        let group = table.share(group);
        known.insert(sid.into(), Known { group, parents, read, is_readable: true });
    }
    for sid in sids {
        if !known.contains_key(sid.as_slice()) {
            let text = sid_text(sid)?;
            let id = EntityId::new(&text);
            let name = text.to_ascii_uppercase().into();
            let group = Group { sid: Some(id.clone()), id, dn: None, name };
            let group = table.share(group);
            let known_group = Known { group, parents: Arc::from([]), read, is_readable: false };
            known.insert(sid.as_slice().into(), known_group);
        }
    }
    Ok(known)
}

/// The memberships in the order in which they are reached: the person's own groups first, then theirs. What nothing leads to
/// comes last, without a path: the primary group, and groups whose `memberOf` cannot be read.
fn with_paths(groups: Vec<(Vec<u8>, Known)>, direct: &[Trigger]) -> Vec<GroupMembership> {
    let mut left: HashMap<Trigger, Known> = HashMap::new();
    let mut pathless = Vec::new();
    for (_, known) in groups {
        match known.group.dn.as_ref().map(|dn| Trigger::listed(dn.normal())) {
            Some(listed) => {
                left.insert(listed, known);
            }
            None => pathless.push(known.group),
        }
    }
    let mut found: Vec<GroupMembership> = Vec::new();
    let mut open: VecDeque<(Trigger, Option<u32>)> = direct.iter().map(|group| (*group, None)).collect();
    while let Some((listed, via)) = open.pop_front() {
        let Some(known) = left.remove(&listed) else { continue };
        let place = u32::try_from(found.len()).ok();
        open.extend(known.parents.iter().map(|parent| (*parent, place)));
        found.push(GroupMembership { group: known.group, via });
    }
    let mut rest: Vec<Arc<Group>> = left.into_values().map(|known| known.group).chain(pathless).collect();
    rest.sort_by(|one, other| one.name.cmp(&other.name).then_with(|| one.id.cmp(&other.id)));
    found.extend(rest.into_iter().map(|group| GroupMembership { group, via: None }));
    found
}

/// The security identifier of the primary group, which is neither in `memberOf` nor in the group's `member`: that of the
/// domain, with `primaryGroupID` in place of its last part (MS-ADTS 3.1.1.4.5.19).
pub(super) fn primary_group(entry: &Entry) -> Option<Vec<u8>> {
    let relative: u32 = entry.first("primarygroupid").ok()??.parse().ok()?;
    let mut sid = entry.values("objectsid").ok()?.first()?.to_vec();
    let last = sid.len().checked_sub(4).filter(|at| *at >= 8)?;
    sid.truncate(last);
    sid.extend(relative.to_le_bytes());
    Some(sid)
}

/// What finds the primary group.
pub(super) fn primary_group_filter(entry: &Entry) -> Option<String> {
    primary_group(entry).map(|sid| equals_bytes("objectSid", &sid))
}

/// Whether a group says of itself that it can be in no token.
pub(super) fn is_distribution_group(entry: &Entry) -> bool {
    let kind = entry.first("grouptype").ok().flatten();
    kind.and_then(|kind| kind.parse::<i32>().ok()).is_some_and(|kind| kind >= 0)
}

/// The groups that an entry is a direct member of. Values that are no names say nothing of a path.
fn direct_groups(entry: &Entry) -> Vec<Trigger> {
    let names = entry.texts("memberof").unwrap_or_default().into_iter();
    names.filter_map(|dn| Dn::parse(dn).ok()).map(|dn| Trigger::listed(dn.normal())).collect()
}

/// An equality with bytes, each of them escaped (RFC 4515, 3).
fn equals_bytes(attribute: &str, bytes: &[u8]) -> String {
    let escaped: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
    format!("({attribute}={escaped})")
}

/// Shows that `tokenGroups` of others can be read, by people below this base.
///
/// # Errors
/// [`LookupError::Unfit`] where most of those who have a primary group show no `tokenGroups`; others where it could not be
/// found out.
pub(super) async fn probe(directory: &impl Search, base: &str) -> Result<(), LookupError> {
    /// So many people are looked at: one of them may be we ourselves, who may read more of our own entry, and one may be
    /// hidden from us for reasons of its own, which is an error of that one's lookups only.
    const PEOPLE: usize = 5;
    let query = Query {
        // Administrators' accounts have access control lists of their own (MS-ADTS 3.1.1.6.1).
        filter: "(&(objectClass=user)(primaryGroupID=*)(!(adminCount=1)))".to_owned(),
        attributes: vec!["primaryGroupID".to_owned()],
        limit: PEOPLE,
        ..Query::new(base.to_owned(), Scope::Subtree)
    };
    let people = directory.search(query).await?;
    let (mut showing, mut hiding) = (0, 0);
    for person in people.entries {
        let query = Query {
            attributes: vec![TOKEN_GROUPS.to_owned()],
            limit: 1,
            ..Query::new(person.dn.as_str().to_owned(), Scope::Base)
        };
        let found = directory.search(query).await?;
        let Some(entry) = found.entries.first() else { continue };
        let is_hidden = entry.values("tokengroups").unwrap_or_default().is_empty();
        *(if is_hidden { &mut hiding } else { &mut showing }) += 1;
    }
    if hiding > 0 && hiding >= showing {
        let why = "does not show `tokenGroups` of people, which `groupSearch.strategy: tokenGroups` needs: the service \
                   account lacks the right to read it";
        return Err(unfit(&people.server.to_string(), why));
    }
    Ok(())
}
