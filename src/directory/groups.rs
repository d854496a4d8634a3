//! The groups of a person, level by level upward: one search finds the groups of a whole level.
//!
//! A group's `member` attribute is never read whole where the server can choose values (RFC 3876): the person's own
//! groups need none of it, and further up only the values that are groups of the level below, to say how a group was
//! reached.

use std::collections::{HashMap, HashSet};

use ldap3::Scope;

use super::LookupError;
use super::conn::{Cut, Query};
use super::entry::{Entry, read_dn};
use super::filter::{any_of, equals};
use super::ranges;
use super::resolve::{Search, with_ids};
use super::search::Step;
use super::settings::{Flavour, GroupSearch};
use super::table::GroupTable;
use crate::model::{Dn, EntityId, Group, GroupMembership, Partial, Trigger};

/// The most alternatives that one search has.
const MAX_CLAUSES: usize = 200;
/// The longest filter, in bytes: OpenLDAP takes requests of 256 KiB from anonymous clients, and each clause stands in
/// the request twice.
const MAX_FILTER_BYTES: usize = 64 * 1024;
/// What every name of Kubernetes' own users and groups starts with.
const SYSTEM: &str = "system:";
/// What a directory's group with such a name is called here.
const RENAMED: &str = "directory:";

/// The attributes by which a group says who its members are.
pub(super) const MEMBER_ATTRIBUTES: [&str; 3] = ["member", "uniqueMember", "memberUid"];

/// Whoever has the group with this `gidNumber` for a primary one, which no list of members says.
pub(super) fn primary_members(gid: &str) -> Trigger {
    Trigger::listed(&format!("gidNumber={gid}"))
}

/// Whose groups are looked for.
pub(super) struct Member {
    pub(super) id: EntityId,
    pub(super) dn: Dn,
    /// As the entry has them: `memberUid` is compared exactly.
    pub(super) uids: Vec<String>,
    pub(super) primary_gid: Option<String>,
    /// What finds the primary group of Active Directory, which does not list its members.
    pub(super) primary_group: Option<String>,
    /// The groups that the entry itself names, where these are relied on for its own groups.
    pub(super) member_of: Option<Vec<String>>,
}

/// How groups are looked for.
pub(super) struct Lookup<'a> {
    pub(super) settings: &'a GroupSearch,
    /// The kind of directory: never `Auto` where it is Active Directory.
    pub(super) flavour: Flavour,
    /// The attribute with a group's name.
    pub(super) name: &'a str,
    pub(super) table: &'a GroupTable,
}

/// The groups that were found.
#[derive(Debug, Default)]
pub(super) struct Groups {
    pub(super) found: Vec<GroupMembership>,
    pub(super) partial: Option<Partial>,
    visited: HashSet<EntityId>,
}

/// One alternative of a level's search, with the group that it is for; `None` for the person.
struct Clause {
    filter: String,
    via: Option<u32>,
}

impl Groups {
    /// Groups that were found otherwise.
    pub(super) fn new(found: Vec<GroupMembership>, partial: Option<Partial>) -> Self {
        Self { found, partial, visited: HashSet::new() }
    }

    /// All groups of this member, nested ones where the settings say so.
    pub(super) async fn of(
        directory: &impl Search,
        lookup: &Lookup<'_>,
        member: &Member,
    ) -> Result<Self, LookupError> {
        let Lookup { settings, flavour, .. } = *lookup;
        let mut groups = Self::default();
        groups.visited.insert(member.id.clone());
        let mut level = direct_clauses(flavour, member);
        for depth in 1.. {
            let start = groups.found.len();
            for chunk in chunks(&level) {
                groups.search(directory, lookup, chunk, depth).await?;
                if groups.partial == Some(Partial::Count) {
                    return Ok(groups);
                }
            }
            let is_last = groups.found.len() == start || !settings.nested || flavour == Flavour::Rfc2307;
            if is_last {
                break;
            }
            if depth >= settings.max_depth {
                groups.partial.get_or_insert(Partial::Depth);
                break;
            }
            level = (0..)
                .zip(&groups.found)
                .skip(start)
                .filter_map(|(index, membership)| {
                    Some(by_dn(flavour, membership.group.dn.as_ref()?, Some(index)))
                })
                .flatten()
                .collect();
        }
        Ok(groups)
    }

    async fn search(
        &mut self,
        directory: &impl Search,
        lookup: &Lookup<'_>,
        chunk: &[Clause],
        depth: usize,
    ) -> Result<(), LookupError> {
        let settings = lookup.settings;
        let filters: Vec<String> = chunk.iter().map(|clause| clause.filter.clone()).collect();
        let vias: Vec<u32> = chunk.iter().filter_map(|clause| clause.via).collect();
        // With one group in question it is known through whom.
        let is_attributed = vias.first() != vias.last();
        let mut attributes = with_ids([lookup.name]);
        // The choice of values is made for all attributes, so those that are wanted whole have to be named.
        let whole: String = attributes.iter().map(|attribute| format!("({attribute}=*)")).collect();
        if is_attributed {
            attributes.extend(member_attributes(lookup.flavour).iter().map(|&name| name.to_owned()));
        }
        let query = Query {
            base: settings.base.clone(),
            scope: Scope::Subtree,
            filter: any_of(&filters),
            attributes,
            // All groups that are known already may be found again, and one more shows that there are too many.
            limit: settings.max_groups.saturating_add(1),
            only_values: is_attributed.then(|| format!("({}{whole})", filters.concat())),
            paged: true,
            controls: Vec::new(),
            step: Step::Groups(depth),
        };
        let found = ranges::search(directory, query).await?;
        if let Some(Cut::ByServer(_)) = found.cut {
            self.partial.get_or_insert(Partial::ServerLimit);
        }
        let below = Below::new(&self.found, &vias);
        for entry in &found.entries {
            if entry.dn.is_remnant() {
                continue;
            }
            let via = below.reached_through(entry);
            let id = entry.id()?;
            if self.visited.contains(&id) {
                continue;
            }
            if self.found.len() >= settings.max_groups {
                self.partial = Some(Partial::Count);
                return Ok(());
            }
            self.visited.insert(id.clone());
            let sid = entry.sid()?;
            let name = name(entry, lookup.name).into();
            let group = lookup.table.share(Group { id, sid, dn: Some(entry.dn.clone()), name });
            self.found.push(GroupMembership { group, via });
        }
        if found.cut == Some(Cut::ByUs) {
            self.partial = Some(Partial::Count);
        }
        Ok(())
    }
}

/// The groups of the level below, by which it is told how a group was reached.
struct Below {
    by_dn: HashMap<String, u32>,
    first: Option<u32>,
    is_one: bool,
}

impl Below {
    fn new(found: &[GroupMembership], vias: &[u32]) -> Self {
        let group = |via: &u32| {
            let membership = found.get(usize::try_from(*via).ok()?)?;
            Some((membership.group.dn.as_ref()?.normal().to_owned(), *via))
        };
        let is_one = vias.first() == vias.last();
        let by_dn = if is_one { HashMap::new() } else { vias.iter().filter_map(group).collect() };
        Self { by_dn, first: vias.first().copied(), is_one }
    }

    /// The first group of the level below that is a member of this one. Where the server spells its name in a way that we
    /// do not know for the same, any of the level is named: the membership is certain, only its path is not.
    fn reached_through(&self, entry: &Entry) -> Option<u32> {
        if self.is_one {
            return self.first;
        }
        let mut earliest = None;
        for attribute in ["member", "uniquemember"] {
            // Values that cannot be read say nothing of the path; whoever keeps a group must not hide its members by one.
            for value in entry.texts(attribute).unwrap_or_default() {
                let Ok(dn) = read_dn(without_uid(value)) else { continue };
                let via = self.by_dn.get(dn.normal()).copied();
                earliest = [earliest, via].into_iter().flatten().min();
            }
        }
        earliest.or(self.first)
    }
}

/// A value of `uniqueMember` may end in `#'0101'B` (RFC 4517, 3.3.21).
pub(super) fn without_uid(value: &str) -> &str {
    match value.rsplit_once("#'") {
        Some((dn, bits))
            if bits
                .strip_suffix("'B")
                .is_some_and(|bits| bits.bytes().all(|bit| matches!(bit, b'0' | b'1'))) =>
        {
            dn
        }
        _ => value,
    }
}

fn direct_clauses(flavour: Flavour, member: &Member) -> Vec<Clause> {
    let direct = |filter: String| Clause { filter, via: None };
    let mut clauses = match (flavour, &member.member_of) {
        (Flavour::Rfc2307, _) => Vec::new(),
        (_, Some(named)) => {
            // Each server has its own attribute for what an entry is called.
            let own_name = if flavour == Flavour::ActiveDirectory { "distinguishedName" } else { "entryDN" };
            named.iter().map(|dn| direct(equals(own_name, dn))).collect()
        }
        (_, None) => by_dn(flavour, &member.dn, None),
    };
    if flavour == Flavour::ActiveDirectory {
        clauses.extend(member.primary_group.clone().map(direct));
        return clauses;
    }
    let posix = |filter: String| direct(format!("(&(objectClass=posixGroup){filter})"));
    if flavour != Flavour::Rfc2307bis {
        clauses.extend(member.uids.iter().map(|uid| posix(equals("memberUid", uid))));
    }
    clauses.extend(member.primary_gid.iter().map(|gid| posix(equals("gidNumber", gid))));
    clauses
}

fn by_dn(flavour: Flavour, dn: &Dn, via: Option<u32>) -> Vec<Clause> {
    member_attributes(flavour)
        .iter()
        .map(|attribute| Clause { filter: equals(attribute, dn.as_str()), via })
        .collect()
}

/// The attributes of a group that hold the names of its members.
fn member_attributes(flavour: Flavour) -> &'static [&'static str] {
    match flavour {
        Flavour::ActiveDirectory => &["member"],
        Flavour::Auto | Flavour::OpenLdap | Flavour::Rfc2307 | Flavour::Rfc2307bis => {
            &["member", "uniqueMember"]
        }
    }
}

/// Parts of a level that are each small enough for one search; at least one clause each.
fn chunks(level: &[Clause]) -> Vec<&[Clause]> {
    let mut parts = Vec::new();
    let mut rest = level;
    while !rest.is_empty() {
        let mut bytes = 0_usize;
        let fits = |clause: &&Clause| {
            bytes = bytes.saturating_add(clause.filter.len());
            bytes <= MAX_FILTER_BYTES
        };
        let size = rest.iter().take(MAX_CLAUSES).take_while(fits).count().max(1);
        let (part, after) = rest.split_at(size.min(rest.len()));
        parts.push(part);
        rest = after;
    }
    parts
}

/// Whether Kubernetes keeps this name for itself, however it is written.
pub(super) fn is_reserved(name: &str) -> bool {
    name.trim_start().get(..SYSTEM.len()).is_some_and(|start| start.eq_ignore_ascii_case(SYSTEM))
}

/// The group's name, for people to read; never one that Kubernetes keeps for itself. A group without one that can be read
/// is called by its DN: whoever may write a group's name must not end the lookups of all its members.
pub(super) fn name(entry: &Entry, attribute: &str) -> String {
    let name = entry.first(&attribute.to_ascii_lowercase()).ok().flatten().unwrap_or(entry.dn.as_str());
    if is_reserved(name) { format!("{RENAMED}{name}") } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::fake::Memory;
    use super::*;
    use proptest::prelude::*;

    fn alice() -> Member {
        Member {
            id: EntityId::new("uid=alice"),
            dn: Dn::parse("uid=alice").unwrap(),
            uids: vec!["alice".to_owned()],
            primary_gid: Some("100".to_owned()),
            primary_group: None,
            member_of: None,
        }
    }

    async fn groups(directory: &Memory, change: impl FnOnce(&mut GroupSearch)) -> Groups {
        let mut settings = GroupSearch::new("");
        change(&mut settings);
        let table = GroupTable::default();
        let lookup = Lookup { settings: &settings, flavour: Flavour::Auto, name: "cn", table: &table };
        Groups::of(directory, &lookup, &alice()).await.unwrap()
    }

    fn paths(groups: &Groups) -> Vec<(&str, Option<u32>)> {
        groups.found.iter().map(|membership| (&*membership.group.name, membership.via)).collect()
    }

    #[tokio::test]
    async fn each_group_is_found_once_with_the_group_that_it_was_reached_through() {
        let directory = Memory::new(&[
            ("cn=a", &[("cn", "a"), ("member", "UID=Alice")]),
            ("cn=b", &[("cn", "b"), ("uniqueMember", "uid=alice")]),
            ("cn=p", &[("cn", "p"), ("memberUid", "alice")]),
            ("cn=g", &[("cn", "g"), ("gidNumber", "100")]),
            ("cn=over-b", &[("cn", "over-b"), ("uniqueMember", "cn=b#'01'B"), ("uniqueMember", "CN=B")]),
            ("cn=top", &[("cn", "top"), ("member", "cn=over-b"), ("member", "cn=a")]),
            ("cn=cycle", &[("cn", "cycle"), ("member", "cn=top")]),
            ("cn=round", &[("cn", "round"), ("member", "cn=cycle")]),
        ]);
        let found = groups(&directory, |_| ()).await;
        let expected = [
            ("a", None),
            ("b", None),
            ("p", None),
            ("g", None),
            ("over-b", Some(1)),
            ("top", Some(0)),
            ("cycle", Some(5)),
            ("round", Some(6)),
        ];
        assert_eq!(paths(&found), expected);
        assert_eq!(found.partial, None);
        assert_eq!(
            directory.asked.lock().unwrap().len(),
            5,
            "one search a level, and one that finds no more"
        );
    }

    #[tokio::test]
    async fn a_cycle_ends() {
        let directory = Memory::new(&[
            ("cn=a", &[("cn", "a"), ("member", "uid=alice"), ("member", "cn=c")]),
            ("cn=b", &[("cn", "b"), ("member", "cn=a"), ("member", "cn=b")]),
            ("cn=c", &[("cn", "c"), ("member", "cn=b")]),
        ]);
        let found = groups(&directory, |_| ()).await;
        assert_eq!(paths(&found), [("a", None), ("b", Some(0)), ("c", Some(1))]);
        assert_eq!(found.partial, None);
    }

    #[tokio::test]
    async fn what_stops_the_search_is_said() {
        let directory = Memory::new(&[
            ("cn=a", &[("cn", "a"), ("member", "uid=alice")]),
            ("cn=b", &[("cn", "b"), ("member", "cn=a")]),
            ("cn=c", &[("cn", "c"), ("member", "cn=b")]),
        ]);
        let depth = groups(&directory, |settings| settings.max_depth = 2).await;
        assert_eq!((depth.found.len(), depth.partial), (2, Some(Partial::Depth)));
        let count = groups(&directory, |settings| settings.max_groups = 2).await;
        assert_eq!((count.found.len(), count.partial), (2, Some(Partial::Count)));
        let exact = groups(&directory, |settings| settings.max_groups = 3).await;
        assert_eq!((exact.found.len(), exact.partial), (3, None));
        let direct = groups(&directory, |settings| settings.nested = false).await;
        assert_eq!((direct.found.len(), direct.partial), (1, None));
        let limited = groups(&Memory { limit: Some(0), ..directory }, |_| ()).await;
        assert_eq!((limited.found.len(), limited.partial), (0, Some(Partial::ServerLimit)));
    }

    #[tokio::test]
    async fn names_that_kubernetes_keeps_for_itself_are_never_given() {
        let directory = Memory::new(&[
            ("cn=system:masters", &[("cn", "system:masters"), ("member", "uid=alice")]),
            ("cn=s", &[("cn", " System:nodes"), ("member", "uid=alice")]),
            ("ou=nameless", &[("member", "uid=alice")]),
            ("cn=x\\0ADEL:1", &[("cn", "deleted"), ("member", "uid=alice")]),
        ]);
        let found = groups(&directory, |_| ()).await;
        let names: Vec<_> = found.found.iter().map(|membership| &*membership.group.name).collect();
        assert_eq!(names, ["directory:system:masters", "directory: System:nodes", "ou=nameless"]);
    }

    proptest! {
        #[test]
        fn any_name_of_a_group_can_be_asked_for_in_a_choice_of_values(name in any::<String>()) {
            let _ = ldap3::controls::MatchedValues::new(format!("({}(cn=*))", equals("member", &name)));
        }
    }

    #[test]
    fn a_level_is_searched_in_parts_that_a_server_takes() {
        let clause = |length: usize| Clause { filter: "x".repeat(length), via: None };
        let many: Vec<_> = (0..401).map(|_| clause(10)).collect();
        assert_eq!(chunks(&many).iter().map(|part| part.len()).collect::<Vec<_>>(), [200, 200, 1]);
        let long: Vec<_> = (0..3).map(|_| clause(40_000)).collect();
        assert_eq!(chunks(&long).len(), 3);
        assert_eq!(chunks(&[clause(100_000)]).len(), 1);
        assert!(chunks(&[]).is_empty());
    }
}
