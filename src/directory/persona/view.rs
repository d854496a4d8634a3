//! The content at one moment, ready to be searched.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, OnceLock};

use super::content::{Kind, MemberOf, Record};
use super::domain::{Domain, has_class};
use super::identity::{self, BUILTIN_USERS, DOMAIN_SID};
use crate::directory::embedded::tree::{Held, Node, Tree, kind};
use crate::model::Dn;

/// The USN before the first change of this directory. All have as many digits, since they are compared as text.
pub(super) const FIRST_USN: u64 = 1_000_000;

/// What only who asks for it gets.
const OPERATIONAL: &[&str] = &[
    "entryuuid",
    "entrydn",
    "entrycsn",
    "contextcsn",
    "createtimestamp",
    "modifytimestamp",
    "creatorsname",
    "modifiersname",
    "structuralobjectclass",
    "hassubordinates",
    "subschemasubentry",
    "memberof",
    "pwdaccountlockedtime",
    "nsaccountlock",
    "nsuniqueid",
];
/// What Active Directory computes (MS-ADTS 3.1.1.4.5). `memberOf` is a back link: it is shown.
const CONSTRUCTED: &[&str] =
    &["tokengroups", "primarygrouptoken", "msds-user-account-control-computed", "modifytimestamp"];
/// What no search returns.
pub(super) const SECRETS: [&str; 2] = ["userpassword", "unicodepwd"];

/// Says whether an attribute of an entry is hidden: the entry's name, and the attribute in lower case.
pub(super) type Hidden = Arc<dyn Fn(&str, &str) -> bool + Send + Sync>;

/// The content after a change.
pub(super) struct View {
    pub(super) kind: Kind,
    pub(super) domain: Domain,
    /// The number of that change.
    pub(super) number: u64,
    pub(super) records: Vec<Arc<Record>>,
    member_of: MemberOf,
    hidden: Option<Hidden>,
    tree: OnceLock<Tree>,
    groups: OnceLock<HashMap<Box<str>, Vec<Arc<Record>>>>,
}

impl View {
    pub(super) fn new(
        kind: Kind,
        domain: Domain,
        number: u64,
        records: Vec<Arc<Record>>,
        member_of: MemberOf,
    ) -> Self {
        let (tree, groups) = (OnceLock::new(), OnceLock::new());
        Self { kind, domain, number, records, member_of, hidden: None, tree, groups }
    }

    /// The same without what is hidden. What is computed from hidden entries, such as `tokenGroups`, stays the same.
    pub(super) fn without(&self, hidden: Hidden) -> Self {
        let (domain, records) = (self.domain.clone(), self.records.clone());
        let view = Self::new(self.kind, domain, self.number, records, self.member_of);
        Self { hidden: Some(hidden), ..view }
    }

    pub(super) fn is_active_directory(&self) -> bool {
        self.kind == Kind::ActiveDirectory
    }

    pub(super) fn tree(&self) -> &Tree {
        let is_shown = |record: &&Arc<Record>| !self.hides(record.entry.dn.as_str(), "entry");
        self.tree.get_or_init(|| {
            Tree::of(self.records.iter().filter(is_shown).map(|record| self.node(record)).collect())
        })
    }

    /// The record with this name.
    pub(super) fn record(&self, dn: &Dn) -> Option<&Arc<Record>> {
        self.records.iter().find(|record| record.entry.dn == *dn)
    }

    /// The record with this value of an attribute.
    pub(super) fn with(&self, attribute: &str, value: &[u8]) -> Option<&Arc<Record>> {
        self.records.iter().find(|record| record.entry.values(attribute).any(|held| held == value))
    }

    /// An entry as it is shown, without a place in the tree.
    pub(super) fn node(&self, record: &Record) -> Node {
        let name = record.entry.dn.as_str();
        let is_shown = |kind: &str| !SECRETS.contains(&kind) && !self.hides(name, kind);
        let mut attributes: Vec<Held> = Vec::new();
        let mut show = |description: &str, values: Vec<Vec<u8>>| {
            if is_shown(kind(&description.to_ascii_lowercase())) && !values.is_empty() {
                attributes.push(Held::new(description, values, self.operational()));
            }
        };
        for attribute in &record.entry.attributes {
            show(&attribute.description, attribute.values.clone());
        }
        self.computed(record).into_iter().for_each(|(description, values)| show(description, values));
        Node::new(record.entry.dn.clone(), attributes, Vec::new())
    }

    fn operational(&self) -> &'static [&'static str] {
        if self.is_active_directory() { CONSTRUCTED } else { OPERATIONAL }
    }

    pub(super) fn hides(&self, name: &str, kind: &str) -> bool {
        self.hidden.as_ref().is_some_and(|hidden| hidden(name, kind))
    }

    fn computed(&self, record: &Record) -> Vec<(&'static str, Vec<Vec<u8>>)> {
        let one = |text: String| vec![text.into_bytes()];
        let (entry, dn) = (&record.entry, record.entry.dn.as_str());
        let mut computed = Vec::new();
        if self.is_active_directory() {
            computed.push(("distinguishedName", one(dn.to_owned())));
            computed.push(("uSNCreated", one((record.created + FIRST_USN).to_string())));
            computed.push(("uSNChanged", one((record.changed + FIRST_USN).to_string())));
            computed.push(("whenChanged", one(identity::time(record.changed_at) + ".0Z")));
            computed.extend(account(record));
        } else {
            let csn = |number| one(identity::csn(number));
            computed.push(("entryDN", one(dn.to_owned())));
            if self.kind == Kind::OpenLdap {
                computed.push(("entryCSN", csn(record.changed)));
            }
            computed.push(("createTimestamp", one(identity::time(record.created_at) + "Z")));
            computed.push(("modifyTimestamp", one(identity::time(record.changed_at) + "Z")));
            if entry.dn == self.domain.root && self.kind == Kind::OpenLdap {
                computed.push(("contextCSN", csn(self.number)));
            }
        }
        if self.member_of != MemberOf::AsGiven && entry.values("memberOf").next().is_none() {
            let groups = match self.member_of {
                MemberOf::Nested => self.all_groups_of(&entry.dn, |_| true),
                MemberOf::AsGiven | MemberOf::Direct => self.groups_of(&entry.dn).to_vec(),
            };
            let names = groups.iter().map(|group| group.entry.dn.as_str().as_bytes().to_vec());
            computed.push(("memberOf", names.collect()));
        }
        computed
    }

    /// The groups that have this entry as a member.
    pub(super) fn groups_of(&self, dn: &Dn) -> &[Arc<Record>] {
        let groups = self.groups.get_or_init(|| {
            let mut groups: HashMap<Box<str>, Vec<Arc<Record>>> = HashMap::new();
            for record in &self.records {
                let values = record.entry.values("member").chain(record.entry.values("uniqueMember"));
                for member in values.filter_map(|value| Dn::parse(std::str::from_utf8(value).ok()?).ok()) {
                    groups.entry(member.normal().into()).or_default().push(record.clone());
                }
            }
            groups
        });
        groups.get(dn.normal()).map_or(&[], Vec::as_slice)
    }

    /// Those groups, and the groups that they are in; what does not count leads no further either.
    pub(super) fn all_groups_of(&self, dn: &Dn, counts: impl Fn(&Record) -> bool) -> Vec<Arc<Record>> {
        let mut seen: HashSet<&str> = HashSet::new();
        let mut found: Vec<&Arc<Record>> = Vec::new();
        let mut frontier = VecDeque::from([dn]);
        while let Some(dn) = frontier.pop_front() {
            for group in self.groups_of(dn).iter().filter(|group| counts(group)) {
                if seen.insert(group.entry.dn.normal()) {
                    found.push(group);
                    frontier.push_back(&group.entry.dn);
                }
            }
        }
        found.into_iter().cloned().collect()
    }

    /// `tokenGroups` (MS-ADTS 3.1.1.4.5.19): the SIDs of all groups that grant, the primary group's and BUILTIN\Users
    /// among them.
    pub(super) fn token_groups(&self, dn: &Dn) -> Vec<Vec<u8>> {
        let Some(record) = self.record(dn) else { return Vec::new() };
        let Some(primary) = number(record, "primaryGroupID") else { return Vec::new() };
        let primary = identity::sid(&format!("{DOMAIN_SID}-{primary}")).unwrap();
        let grants = |group: &Record| number(group, "groupType").is_some_and(|kind| kind < 0);
        let mut groups = self.all_groups_of(dn, grants);
        if let Some(primary) = self.with("objectSid", &primary) {
            groups.push(primary.clone());
            groups.extend(self.all_groups_of(&primary.entry.dn, grants));
        }
        let sids = groups.iter().map(|group| group.entry.values("objectSid").next().unwrap().to_vec());
        let mut seen = HashSet::new();
        let all = sids.chain([primary, identity::sid(BUILTIN_USERS).unwrap()]);
        all.filter(|sid| seen.insert(sid.clone())).collect()
    }
}

/// Of `userAccountControl`: the password never expires.
const DONT_EXPIRE: i64 = 0x1_0000;

/// What is computed of an account or of a group: its state (MS-ADTS 3.1.1.4.5.17), its RID.
fn account(record: &Record) -> Option<(&'static str, Vec<Vec<u8>>)> {
    if has_class(&record.entry, "group") {
        let sid = record.entry.values("objectSid").next()?;
        let rid = u32::from_le_bytes(*sid.last_chunk::<4>()?);
        return Some(("primaryGroupToken", vec![rid.to_string().into_bytes()]));
    }
    let control = number(record, "userAccountControl")?;
    let locked = number(record, "lockoutTime").is_some_and(|time| time != 0);
    let expired = number(record, "pwdLastSet") == Some(0) && control & DONT_EXPIRE == 0;
    let state = if locked { 0x10 } else { 0 } | if expired { 0x0080_0000 } else { 0 };
    record
        .entry
        .values("msDS-User-Account-Control-Computed")
        .next()
        .is_none()
        .then(|| ("msDS-User-Account-Control-Computed", vec![i32::to_string(&state).into_bytes()]))
}

pub(super) fn number(record: &Record, attribute: &str) -> Option<i64> {
    std::str::from_utf8(record.entry.values(attribute).next()?).ok()?.parse().ok()
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("number", &self.number).finish_non_exhaustive()
    }
}
