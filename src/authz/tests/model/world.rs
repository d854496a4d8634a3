//! A small company, what it ought to look like to whoever asks, and how it changes: the plainest model that there could be.

use std::collections::{BTreeMap, BTreeSet};

use super::super::*;
use super::steps::Random;
use crate::directory::persona::samples::record;
use crate::directory::persona::{Content, Kind, Persona};
use crate::model::Dn;

const BASE: &str = "dc=corp,dc=example";
const DOMAIN_USERS: &str = "CN=Domain Users,CN=Users,dc=corp,dc=example";
const BUILTIN_USERS: &str = "CN=Users,CN=Builtin,dc=corp,dc=example";
const PRINCIPAL: &str = "corp.example";
/// The account names and the group names that there may be.
const NAMES: usize = 6;
const GROUPS: usize = 7;
const GIDS: [&str; 3] = ["100", "101", "102"];

/// What is in the directory.
pub(super) struct World {
    kind: Kind,
    people: Vec<Someone>,
    groups: Vec<Grouping>,
    /// The two containers of each: of people, and of groups.
    homes: [[String; 2]; 2],
    /// How often something was given a name that nobody had before.
    serial: usize,
}

struct Someone {
    dn: String,
    account: String,
    /// A principal name that is written down.
    principal: Option<String>,
    disabled: bool,
    /// The primary group: a `gidNumber`, or a DN.
    primary: Option<String>,
}

struct Grouping {
    dn: String,
    name: String,
    /// The DNs that it lists, whether there is somebody or not.
    members: BTreeSet<String>,
    uids: BTreeSet<String>,
    gid: Option<String>,
    /// Whether it counts, as a security group does.
    counts: bool,
    is_fixed: bool,
}

/// What a lookup is to find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expected {
    Nobody,
    Several,
    Somebody {
        dn: String,
        disabled: bool,
        /// What each group is called, by the normal form of its DN.
        groups: BTreeMap<String, String>,
    },
}

impl Expected {
    pub(super) fn of(facts: &Facts) -> Self {
        assert_eq!(facts.partial, None);
        match &facts.person {
            Person::NotFound | Person::Outside => Self::Nobody,
            Person::Ambiguous => Self::Several,
            Person::Found { dn, .. } => Self::Somebody {
                dn: dn.normal().to_owned(),
                disabled: facts.account.disabled == Some(true),
                groups: facts.groups.iter().map(|it| named(it.group)).collect(),
            },
        }
    }
}

fn named(group: &crate::model::Group) -> (String, String) {
    let dn = group.dn.as_ref().map_or_else(|| "?".to_owned(), |dn| dn.normal().to_owned());
    (dn, group.name.to_string())
}

fn normal(dn: &str) -> String {
    Dn::parse(dn).unwrap().normal().to_owned()
}

impl World {
    pub(super) fn open_ldap() -> Self {
        Self::new(Kind::OpenLdap)
    }

    pub(super) fn active_directory() -> Self {
        Self::new(Kind::ActiveDirectory)
    }

    fn new(kind: Kind) -> Self {
        let home = |name: &str| format!("ou={name},{BASE}");
        let homes = [[home("people"), home("staff")], [home("groups"), home("teams")]];
        let mut world = Self { kind, people: Vec::new(), groups: Vec::new(), homes, serial: 0 };
        for number in 0..4 {
            let (dn, account) = world.person_named(number, 0);
            world.people.push(Someone { dn, account, principal: None, disabled: false, primary: None });
        }
        if world.is_active_directory() {
            let fixed = |dn: &str, name: &str, members: &[&str]| Grouping {
                members: members.iter().map(|dn| (*dn).to_owned()).collect(),
                is_fixed: true,
                ..Grouping::new(dn.to_owned(), name.to_owned())
            };
            world.groups.push(fixed(DOMAIN_USERS, "Domain Users", &[]));
            world.groups.push(fixed(BUILTIN_USERS, "Users", &[DOMAIN_USERS]));
        }
        for number in 0..5 {
            let (dn, name) = world.group_named(number, 0);
            world.groups.push(Grouping::new(dn, name));
        }
        let (first, chain) = (world.people[0].dn.clone(), world.groups.len() - 5);
        world.groups[chain].members.insert(first);
        let leaf = world.groups[chain].dn.clone();
        world.groups[chain + 1].members.insert(leaf);
        world
    }

    fn is_active_directory(&self) -> bool {
        self.kind == Kind::ActiveDirectory
    }

    /// A server with this content, which tells of deletions.
    pub(super) async fn server(&self) -> Persona {
        let mut ldif = record(BASE, "domain", &[("dc", "corp")]);
        for home in self.homes.iter().flatten() {
            ldif += &record(home, "organizationalUnit", &[]);
        }
        self.people.iter().for_each(|person| ldif += &self.ldif_of_person(person));
        self.groups.iter().for_each(|group| ldif += &self.ldif_of_group(group));
        match self.kind {
            Kind::ActiveDirectory => {
                let server = Persona::active_directory(&ldif).await;
                server.set(|manner| (manner.sees_deleted, manner.dir_sync_batch) = (true, 2));
                server
            }
            Kind::OpenLdap | Kind::Ds389 => Persona::open_ldap(&ldif).await,
        }
    }

    /// Every name that somebody may be asked for by.
    pub(super) fn users(&self) -> Vec<String> {
        let bare = (0..NAMES).map(|number| format!("u{number}"));
        match self.kind {
            Kind::ActiveDirectory => {
                let principals = (0..NAMES).map(|number| format!("u{number}@{PRINCIPAL}"));
                bare.chain(principals).chain(["CORP\\u1".to_owned()]).collect()
            }
            Kind::OpenLdap | Kind::Ds389 => bare.collect(),
        }
    }

    /// What a lookup of this user finds now.
    pub(super) fn expected(&self, user: &str) -> Expected {
        let account = user.strip_prefix("CORP\\").unwrap_or(user);
        let account = account.strip_suffix(&format!("@{PRINCIPAL}")).unwrap_or(account);
        let is_it =
            |person: &&Someone| person.account == account || person.principal.as_deref() == Some(user);
        let found: Vec<&Someone> = self.people.iter().filter(is_it).collect();
        match found.as_slice() {
            [] => Expected::Nobody,
            [one] => Expected::Somebody {
                dn: normal(&one.dn),
                disabled: one.disabled,
                groups: self.groups_of(one).map(|group| (normal(&group.dn), group.name.clone())).collect(),
            },
            _ => Expected::Several,
        }
    }

    fn groups_of(&self, person: &Someone) -> impl Iterator<Item = &Grouping> {
        let mut within: BTreeSet<usize> = BTreeSet::new();
        let primary = match self.kind {
            Kind::ActiveDirectory => Some(person.primary.as_deref().unwrap_or(DOMAIN_USERS)),
            Kind::OpenLdap | Kind::Ds389 => None,
        };
        loop {
            let is_in = |group: &Grouping| {
                group.members.contains(&person.dn)
                    || within.iter().any(|index| group.members.contains(&self.groups[*index].dn))
                    || group.uids.contains(&person.account)
                    || (primary.is_none() && group.gid.is_some() && group.gid == person.primary)
            };
            let is_given = |group: &Grouping| {
                primary == Some(&*group.dn) || (primary.is_some() && group.dn == BUILTIN_USERS)
            };
            let now: BTreeSet<usize> = (0..self.groups.len())
                .filter(|index| {
                    let group = &self.groups[*index];
                    is_given(group) || (group.counts && is_in(group))
                })
                .collect();
            if now == within {
                return within.into_iter().map(|index| &self.groups[index]);
            }
            within = now;
        }
    }

    /// Changes something, here and in the directory; says what, if it was possible.
    pub(super) fn change(&mut self, random: &mut Random, content: &mut Content) -> Option<String> {
        match random.below(20) {
            0..5 => self.join(random, content),
            5..8 => self.leave(random, content),
            8 | 9 => self.rename_group(random, content),
            10 => self.add_group(random, content),
            11 => self.delete_group(random, content),
            12 => self.rename_person(random, content),
            13 => self.add_person(random, content),
            14 => self.delete_person(random, content),
            15 => self.rename_home(random, content),
            16 | 17 => self.change_primary(random, content),
            18 => self.change_account(random, content),
            _ => self.change_kind(random, content),
        }
    }

    fn person_named(&self, number: usize, home: usize) -> (String, String) {
        let kind = if self.is_active_directory() { "CN" } else { "uid" };
        let account = format!("u{number}");
        (format!("{kind}={account},{}", self.homes[0][home]), account)
    }

    fn group_named(&self, number: usize, home: usize) -> (String, String) {
        let (kind, name) = (if self.is_active_directory() { "CN" } else { "cn" }, format!("g{number}"));
        (format!("{kind}={name},{}", self.homes[1][home]), name)
    }

    fn ldif_of_person(&self, person: &Someone) -> String {
        match self.kind {
            Kind::ActiveDirectory => record(&person.dn, "user", &[("sAMAccountName", &person.account)]),
            Kind::OpenLdap | Kind::Ds389 => record(&person.dn, "inetOrgPerson", &[("uid", &person.account)]),
        }
    }

    fn ldif_of_group(&self, group: &Grouping) -> String {
        let name = if self.is_active_directory() { "sAMAccountName" } else { "cn" };
        let mut attributes = vec![(name, group.name.as_str())];
        if !self.is_active_directory() {
            attributes.push(("objectClass", "posixGroup"));
        }
        attributes.extend(group.members.iter().map(|member| ("member", member.as_str())));
        record(&group.dn, if self.is_active_directory() { "group" } else { "groupOfMembers" }, &attributes)
    }

    fn free(&self, dn: &str) -> bool {
        let taken = self.people.iter().map(|it| &it.dn).chain(self.groups.iter().map(|it| &it.dn));
        taken.into_iter().all(|other| normal(other) != normal(dn))
    }

    /// A group that may be changed in every way.
    fn some_group(&self, random: &mut Random) -> Option<usize> {
        let able: Vec<usize> = (0..self.groups.len()).filter(|index| !self.groups[*index].is_fixed).collect();
        (!able.is_empty()).then(|| *random.of(&able))
    }

    fn some_person(&self, random: &mut Random) -> Option<usize> {
        (!self.people.is_empty()).then(|| random.below(self.people.len()))
    }

    fn join(&mut self, random: &mut Random, content: &mut Content) -> Option<String> {
        let group = self.some_group(random)?;
        if !self.is_active_directory() && random.once_in(4) {
            let uid = format!("u{}", random.below(NAMES));
            let dn = self.groups[group].dn.clone();
            if !self.groups[group].uids.insert(uid.clone()) {
                return None;
            }
            content.add_value(&dn, "memberUid", &uid);
            return Some(format!("{uid} joins {dn} by uid"));
        }
        let member = if random.once_in(2) {
            self.people[self.some_person(random)?].dn.clone()
        } else {
            self.groups[random.below(self.groups.len())].dn.clone()
        };
        let group = &mut self.groups[group];
        // A group of BUILTIN is in no other.
        if group.dn == member || member == BUILTIN_USERS || !group.members.insert(member.clone()) {
            return None;
        }
        content.add_value(&group.dn, "member", &member);
        Some(format!("{member} joins {}", group.dn))
    }

    fn leave(&mut self, random: &mut Random, content: &mut Content) -> Option<String> {
        let group = self.some_group(random)?;
        let group = &mut self.groups[group];
        let members: Vec<String> = group.members.iter().cloned().collect();
        let uids: Vec<String> = group.uids.iter().cloned().collect();
        if !uids.is_empty() && random.once_in(2) {
            let uid = random.of(&uids);
            group.uids.remove(uid);
            content.remove_value(&group.dn, "memberUid", uid);
            return Some(format!("{uid} leaves {} by uid", group.dn));
        }
        if members.is_empty() {
            return None;
        }
        let member = random.of(&members);
        group.members.remove(member);
        content.remove_value(&group.dn, "member", member);
        Some(format!("{member} leaves {}", group.dn))
    }

    fn rename_group(&mut self, random: &mut Random, content: &mut Content) -> Option<String> {
        let index = self.some_group(random)?;
        let (dn, name) = self.group_named(random.below(GROUPS), random.below(2));
        let old = self.groups[index].dn.clone();
        if self.is_active_directory() && random.once_in(2) {
            self.serial += 1;
            let name = format!("{name}-{}", self.serial);
            content.set(&old, "sAMAccountName", &[&name]);
            self.groups[index].name.clone_from(&name);
            return Some(format!("{old} is called {name}"));
        }
        if !self.free(&dn) {
            return None;
        }
        content.rename(&old, &dn);
        self.renamed(&old, &dn);
        if !self.is_active_directory() {
            self.groups[index].name = name;
        }
        Some(format!("{old} is now {dn}"))
    }

    /// Lets a name, and those below it, be another.
    fn renamed(&mut self, old: &str, new: &str) {
        let rename = |dn: &mut String| {
            if let Some(own) = dn.strip_suffix(old).filter(|own| own.is_empty() || own.ends_with(',')) {
                *dn = format!("{own}{new}");
            }
        };
        self.people.iter_mut().for_each(|person| rename(&mut person.dn));
        let follows = self.is_active_directory();
        for group in &mut self.groups {
            rename(&mut group.dn);
            if follows {
                group.members = std::mem::take(&mut group.members)
                    .into_iter()
                    .map(|mut member| {
                        rename(&mut member);
                        member
                    })
                    .collect();
            }
        }
        if follows {
            self.people.iter_mut().filter_map(|person| person.primary.as_mut()).for_each(rename);
        }
    }

    fn add_group(&mut self, random: &mut Random, content: &mut Content) -> Option<String> {
        let (dn, name) = self.group_named(random.below(GROUPS), random.below(2));
        if !self.free(&dn) {
            return None;
        }
        let mut group = Grouping::new(dn.clone(), name);
        if self.is_active_directory() {
            // Unique in a domain, and kept by those who were renamed.
            self.serial += 1;
            group.name = format!("{}-{}", group.name, self.serial);
        }
        if let Some(person) = self.some_person(random) {
            group.members.insert(self.people[person].dn.clone());
        }
        content.add(&self.ldif_of_group(&group));
        self.groups.push(group);
        Some(format!("{dn} is added"))
    }

    fn delete_group(&mut self, random: &mut Random, content: &mut Content) -> Option<String> {
        let index = self.some_group(random)?;
        let dn = self.groups[index].dn.clone();
        if self.is_active_directory() && self.people.iter().any(|person| person.primary.as_ref() == Some(&dn))
        {
            return None;
        }
        content.delete(&dn);
        self.groups.remove(index);
        self.unlink(&dn);
        Some(format!("{dn} is deleted"))
    }

    /// In Active Directory nobody lists what is gone.
    fn unlink(&mut self, dn: &str) {
        if self.is_active_directory() {
            for group in &mut self.groups {
                group.members.remove(dn);
            }
        }
    }

    fn rename_person(&mut self, random: &mut Random, content: &mut Content) -> Option<String> {
        let index = self.some_person(random)?;
        let (dn, account) = self.person_named(random.below(NAMES), random.below(2));
        let old = self.people[index].dn.clone();
        if self.is_active_directory() {
            if self.people.iter().any(|person| person.account == account) {
                return None;
            }
            content.set(&old, "sAMAccountName", &[&account]);
            self.people[index].account.clone_from(&account);
            if random.once_in(2) || !self.free(&dn) {
                return Some(format!("{old} has the account {account}"));
            }
        }
        if !self.free(&dn) {
            return None;
        }
        content.rename(&old, &dn);
        self.renamed(&old, &dn);
        self.people[index].account = account;
        Some(format!("{old} is now {dn}"))
    }

    fn add_person(&mut self, random: &mut Random, content: &mut Content) -> Option<String> {
        let (dn, account) = self.person_named(random.below(NAMES), random.below(2));
        let is_taken = self.is_active_directory() && self.people.iter().any(|it| it.account == account);
        if is_taken || !self.free(&dn) {
            return None;
        }
        let person = Someone { dn: dn.clone(), account, principal: None, disabled: false, primary: None };
        content.add(&self.ldif_of_person(&person));
        self.people.push(person);
        Some(format!("{dn} is added"))
    }

    fn delete_person(&mut self, random: &mut Random, content: &mut Content) -> Option<String> {
        let index = self.some_person(random)?;
        let dn = self.people.remove(index).dn;
        content.delete(&dn);
        self.unlink(&dn);
        Some(format!("{dn} is deleted"))
    }

    fn rename_home(&mut self, random: &mut Random, content: &mut Content) -> Option<String> {
        let (of, which) = (random.below(2), random.below(2));
        self.serial += 1;
        let new = format!("ou=home{},{BASE}", self.serial);
        let old = std::mem::replace(&mut self.homes[of][which], new.clone());
        content.rename(&old, &new);
        self.renamed(&old, &new);
        Some(format!("{old} is now {new}"))
    }

    fn change_primary(&mut self, random: &mut Random, content: &mut Content) -> Option<String> {
        let index = self.some_person(random)?;
        if self.is_active_directory() {
            let group = &self.groups[random.below(self.groups.len())];
            if !group.counts || group.dn == BUILTIN_USERS {
                return None;
            }
            let sid = content.sid(&group.dn);
            let person = &mut self.people[index];
            content.set(&person.dn, "primaryGroupID", &[sid.rsplit('-').next().unwrap()]);
            person.primary = Some(group.dn.clone());
            return Some(format!("{} has the primary group {}", person.dn, group.dn));
        }
        let gid = random.of(&GIDS).to_string();
        let (dn, primary) = if random.once_in(2) {
            let person = &mut self.people[index];
            (person.dn.clone(), &mut person.primary)
        } else {
            let group = self.some_group(random)?;
            let group = &mut self.groups[group];
            (group.dn.clone(), &mut group.gid)
        };
        *primary = if random.once_in(3) { None } else { Some(gid) };
        match primary {
            Some(gid) => content.set(&dn, "gidNumber", &[gid.as_str()]),
            None => content.set(&dn, "gidNumber", &[]),
        }
        Some(format!("{dn} has gidNumber {primary:?}"))
    }

    fn change_account(&mut self, random: &mut Random, content: &mut Content) -> Option<String> {
        let index = self.some_person(random)?;
        let (is_active_directory, person) = (self.is_active_directory(), &mut self.people[index]);
        if is_active_directory && random.once_in(2) {
            person.principal = (!random.once_in(3)).then(|| format!("u{}@{PRINCIPAL}", random.below(NAMES)));
            let values: Vec<&str> = person.principal.as_deref().into_iter().collect();
            content.set(&person.dn, "userPrincipalName", &values);
            return Some(format!("{} has the principal name {values:?}", person.dn));
        }
        person.disabled = !person.disabled;
        match (is_active_directory, person.disabled) {
            (true, is) => content.set(&person.dn, "userAccountControl", &[if is { "514" } else { "512" }]),
            (false, is) => content.set(&person.dn, "nsAccountLock", &[if is { "TRUE" } else { "FALSE" }]),
        }
        Some(format!("{} is disabled: {}", person.dn, person.disabled))
    }

    /// A security group becomes one for mail, or the other way round.
    fn change_kind(&mut self, random: &mut Random, content: &mut Content) -> Option<String> {
        let index = self.some_group(random)?;
        let is_primary =
            self.people.iter().any(|person| person.primary.as_ref() == Some(&self.groups[index].dn));
        if !self.is_active_directory() || is_primary {
            return None;
        }
        let group = &mut self.groups[index];
        group.counts = !group.counts;
        content.set(&group.dn, "groupType", &[if group.counts { "-2147483646" } else { "2" }]);
        Some(format!("{} counts: {}", group.dn, group.counts))
    }
}

impl Grouping {
    fn new(dn: String, name: String) -> Self {
        let (members, uids) = (BTreeSet::new(), BTreeSet::new());
        Self { dn, name, members, uids, gid: None, counts: true, is_fixed: false }
    }
}
