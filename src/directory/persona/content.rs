//! What a directory holds, how a test changes it, and what happened to it so far.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::domain::{Domain, relative_name};
use super::identity;
use super::view::View;
use crate::directory::embedded::values::Syntax;
use crate::directory::ldif::{Attribute, Entry, Ldif};
use crate::model::Dn;

/// Which server is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    OpenLdap,
    ActiveDirectory,
    Ds389,
}

/// Which groups `memberOf` names, where the server computes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberOf {
    /// It is what the LDIF says.
    AsGiven,
    /// Those that have the entry as a member.
    Direct,
    /// Those, and the groups that they are in.
    Nested,
}

impl MemberOf {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::OpenLdap => Self::AsGiven,
            Kind::ActiveDirectory | Kind::Ds389 => Self::Direct,
        }
    }
}

/// An entry at one point of its life.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) entry: Entry,
    /// Stays the same when the entry is renamed.
    pub(super) uuid: String,
    /// The numbers of the changes that made it and that it had last.
    pub(super) created: u64,
    pub(super) changed: u64,
    /// When that was, by the clock.
    pub(super) created_at: Timestamp,
    pub(super) changed_at: Timestamp,
}

/// A change of one entry.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) number: u64,
    pub(super) before: Option<Arc<Record>>,
    pub(super) after: Option<Arc<Record>>,
}

/// The entries of one directory, which several servers may share.
#[derive(Debug)]
pub struct Content {
    pub(super) kind: Kind,
    pub(super) domain: Domain,
    records: Vec<Arc<Record>>,
    /// The number of the last change; loading the LDIF is one change an entry.
    clock: u64,
    log: Vec<Arc<Event>>,
    /// The log is not kept up to this change.
    log_from: u64,
    member_of: MemberOf,
    /// How often each name was in use.
    lives: HashMap<String, usize>,
    rids: u32,
    view: Option<Arc<View>>,
}

impl Content {
    /// The entries of an LDIF, and what every server of this kind has besides.
    pub(super) fn new(kind: Kind, ldif: &str) -> Self {
        let ldif = Ldif::parse(ldif).unwrap();
        let root = ldif.entries().first().expect("an LDIF with entries").dn.clone();
        let mut content = Self {
            kind,
            domain: Domain::of(&root),
            records: Vec::new(),
            clock: 0,
            log: Vec::new(),
            log_from: 0,
            member_of: MemberOf::of(kind),
            lives: HashMap::new(),
            rids: 1103,
            view: None,
        };
        ldif.entries().iter().for_each(|entry| content.insert(entry.clone()));
        if kind == Kind::ActiveDirectory {
            let standard = Ldif::parse(&content.domain.standard()).unwrap();
            let missing = standard.entries().iter().filter(|entry| content.find(&entry.dn).is_none());
            missing.cloned().collect::<Vec<_>>().into_iter().for_each(|entry| content.insert(entry));
        }
        content.log.clear();
        content.log_from = content.clock;
        content
    }

    /// Adds the entries of an LDIF.
    pub fn add(&mut self, ldif: &str) {
        for entry in Ldif::parse(ldif).unwrap().entries() {
            assert!(self.find(&entry.dn).is_none(), "{} is there already", entry.dn);
            self.insert(entry.clone());
        }
    }

    /// Deletes an entry. In Active Directory the links to it go with it.
    pub fn delete(&mut self, dn: &str) {
        let place = self.place(dn);
        let before = self.records.remove(place);
        if self.kind == Kind::ActiveDirectory {
            self.relink(&before.entry.dn, None);
        }
        self.commit(Some(before), None);
    }

    /// Gives an entry, and what is below it, another name. In Active Directory the links to them follow.
    pub fn rename(&mut self, dn: &str, to: &str) {
        let (old, new) = (Dn::parse(dn).unwrap(), Dn::parse(to).unwrap());
        assert!(self.find(&new).is_none(), "{to} is there already");
        let depth = rdns(old.as_str()).len();
        for place in 0..self.records.len() {
            let before = self.records[place].clone();
            let name = &before.entry.dn;
            if !is_within(name, &old) {
                continue;
            }
            let mut own = rdns(name.as_str());
            own.truncate(own.len() - depth);
            own.push(new.as_str());
            let mut record = Record::clone(&before);
            record.entry.dn = Dn::parse(&own.join(",")).unwrap();
            if *name == old {
                rename_attributes(&mut record.entry, &old, self.kind);
                self.replace(place, record);
            } else {
                self.records[place] = Arc::new(record);
            }
            if self.kind == Kind::ActiveDirectory {
                let now = self.records[place].entry.dn.clone();
                self.relink(&before.entry.dn, Some(&now));
            }
        }
        self.view = None;
    }

    /// Adds a value to an attribute.
    pub fn add_value(&mut self, dn: &str, attribute: &str, value: impl AsRef<[u8]>) {
        let value = value.as_ref().to_vec();
        self.edit(dn, attribute, |values| values.push(value));
    }

    /// Removes a value from an attribute.
    pub fn remove_value(&mut self, dn: &str, attribute: &str, value: impl AsRef<[u8]>) {
        let syntax = Syntax::of(&attribute.to_ascii_lowercase());
        let unwanted = syntax.normal(value.as_ref());
        self.edit(dn, attribute, |values| {
            let before = values.len();
            values.retain(|value| syntax.normal(value) != unwanted);
            assert!(values.len() < before, "the value is not there");
        });
    }

    /// Gives an attribute these values; without any, it goes.
    pub fn set(&mut self, dn: &str, attribute: &str, values: &[&str]) {
        let new = values.iter().map(|value| value.as_bytes().to_vec()).collect();
        self.edit(dn, attribute, |values| *values = new);
    }

    /// Which groups `memberOf` names.
    pub fn maintain_member_of(&mut self, member_of: MemberOf) {
        self.member_of = member_of;
        self.view = None;
    }

    /// Forgets all changes so far: who asks for what came after an earlier one has to be told everything.
    pub fn cut_log(&mut self) {
        self.log_from = self.clock;
    }

    /// The UUID of an entry: its `entryUUID`, or its `objectGUID` as text.
    pub fn uuid(&self, dn: &str) -> String {
        self.records[self.place(dn)].uuid.clone()
    }

    /// The SID of an object, as text.
    pub fn sid(&self, dn: &str) -> String {
        let record = &self.records[self.place(dn)];
        identity::sid_text(record.entry.values("objectSid").next().expect("it has a SID"))
    }

    /// The stamp of the last change in OpenLDAP: the `contextCSN`.
    pub fn csn(&self) -> String {
        identity::csn(self.clock)
    }

    /// The number of the last change in Active Directory: the `highestCommittedUSN`.
    pub fn usn(&self) -> u64 {
        self.clock + super::view::FIRST_USN
    }

    pub(super) fn view(&mut self) -> Arc<View> {
        let view = self.view.take().unwrap_or_else(|| {
            let records = self.records.clone();
            Arc::new(View::new(self.kind, self.domain.clone(), self.clock, records, self.member_of))
        });
        self.view = Some(view.clone());
        view
    }

    /// The changes after this one, up to that one; `None` where the log does not reach so far.
    pub(super) fn events(&self, after: u64, until: u64) -> Option<Vec<Arc<Event>>> {
        (after >= self.log_from).then(|| self.history(after, until))
    }

    /// The same, whatever was cut from the log.
    pub(super) fn history(&self, after: u64, until: u64) -> Vec<Arc<Event>> {
        let from = self.log.partition_point(|event| event.number <= after);
        self.log[from..].iter().take_while(|event| event.number <= until).cloned().collect()
    }

    fn insert(&mut self, mut entry: Entry) {
        let life = self.lives.entry(entry.dn.normal().to_owned()).or_default();
        let given = entry.values("entryUUID").next().map(|uuid| String::from_utf8(uuid.to_vec()).unwrap());
        let mut uuid = given.unwrap_or_else(|| identity::uuid(entry.dn.normal(), *life));
        *life += 1;
        if self.kind == Kind::ActiveDirectory {
            self.domain.complete(&mut entry, &uuid, &mut self.rids);
            uuid = identity::guid_text(entry.values("objectGUID").next().unwrap());
        } else {
            put(&mut entry, "entryUUID", || uuid.clone().into_bytes());
        }
        let number = self.clock + 1;
        let now = Timestamp::now();
        let (created, changed, created_at, changed_at) = (number, number, now, now);
        let record = Arc::new(Record { entry, uuid, created, changed, created_at, changed_at });
        self.records.push(record.clone());
        self.commit(None, Some(record));
    }

    fn edit(&mut self, dn: &str, attribute: &str, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
        let place = self.place(dn);
        let mut record = Record::clone(&self.records[place]);
        let attributes = &mut record.entry.attributes;
        let held = attributes.iter().position(|held| held.description.eq_ignore_ascii_case(attribute));
        let held = held.unwrap_or_else(|| {
            attributes.push(Attribute { description: attribute.to_owned(), values: Vec::new() });
            attributes.len() - 1
        });
        change(&mut attributes[held].values);
        if attributes[held].values.is_empty() {
            attributes.remove(held);
        }
        self.replace(place, record);
    }

    fn replace(&mut self, place: usize, mut record: Record) {
        record.changed = self.clock + 1;
        record.changed_at = Timestamp::now();
        let after = Arc::new(record);
        let before = std::mem::replace(&mut self.records[place], after.clone());
        self.commit(Some(before), Some(after));
    }

    fn commit(&mut self, before: Option<Arc<Record>>, after: Option<Arc<Record>>) {
        self.clock += 1;
        self.log.push(Arc::new(Event { number: self.clock, before, after }));
        self.view = None;
    }

    /// Lets links follow what they point to. That is no change of the entries that have them (MS-ADTS 3.1.1.1.6).
    fn relink(&mut self, from: &Dn, to: Option<&Dn>) {
        let points = |kind: &str, value: &[u8]| {
            let text = std::str::from_utf8(value).ok();
            kind != "distinguishedname" && text.and_then(|text| Dn::parse(text).ok()).as_ref() == Some(from)
        };
        for record in &mut self.records {
            let links = |attribute: &Attribute| {
                let kind = attribute.description.to_ascii_lowercase();
                Syntax::of(&kind) == Syntax::Name && attribute.values.iter().any(|value| points(&kind, value))
            };
            if !record.entry.attributes.iter().any(links) {
                continue;
            }
            let mut linked = Record::clone(record);
            for attribute in linked.entry.attributes.iter_mut().filter(|attribute| links(attribute)) {
                let kind = attribute.description.to_ascii_lowercase();
                match to {
                    Some(to) => {
                        for value in attribute.values.iter_mut().filter(|value| points(&kind, value)) {
                            *value = to.as_str().as_bytes().to_vec();
                        }
                    }
                    None => attribute.values.retain(|value| !points(&kind, value)),
                }
            }
            linked.entry.attributes.retain(|attribute| !attribute.values.is_empty());
            *record = Arc::new(linked);
        }
    }

    fn find(&self, dn: &Dn) -> Option<usize> {
        self.records.iter().position(|record| record.entry.dn == *dn)
    }

    fn place(&self, dn: &str) -> usize {
        self.find(&Dn::parse(dn).unwrap()).unwrap_or_else(|| panic!("there is no {dn}"))
    }
}

/// Lets the attributes of which a name consists follow the name.
fn rename_attributes(entry: &mut Entry, old: &Dn, kind: Kind) {
    let ((old_kind, old_value), (new_kind, new_value)) = (relative_name(old), relative_name(&entry.dn));
    let is_old = |value: &Vec<u8>| value.eq_ignore_ascii_case(old_value.as_bytes());
    let is_name = |attribute: &Attribute| kind == Kind::ActiveDirectory && attribute.description == "name";
    for attribute in &mut entry.attributes {
        if attribute.description.eq_ignore_ascii_case(&old_kind) || is_name(attribute) {
            attribute.values.retain(|value| !is_old(value));
        }
        let is_new = attribute.description.eq_ignore_ascii_case(&new_kind) || is_name(attribute);
        if is_new && !attribute.values.iter().any(|value| value == new_value.as_bytes()) {
            attribute.values.push(new_value.clone().into_bytes());
        }
    }
    entry.attributes.retain(|attribute| !attribute.values.is_empty());
    put(entry, &new_kind, || new_value.into_bytes());
}

/// Gives an entry an attribute that it does not have.
pub(super) fn put(entry: &mut Entry, attribute: &str, value: impl FnOnce() -> Vec<u8>) {
    if entry.values(attribute).next().is_none() {
        let values = vec![value()];
        entry.attributes.push(Attribute { description: attribute.to_owned(), values });
    }
}

/// Whether an entry is another one or stands below it.
pub(super) fn is_within(dn: &Dn, ancestor: &Dn) -> bool {
    let above = dn.normal().strip_suffix(ancestor.normal());
    above.is_some_and(|own| own.is_empty() || own.ends_with(',') || ancestor.normal().is_empty())
}

/// The relative names of a name as it is spelt.
pub(super) fn rdns(name: &str) -> Vec<&str> {
    let mut escaped = false;
    name.split(|character| {
        let separates = character == ',' && !escaped;
        escaped = character == '\\' && !escaped;
        separates
    })
    .collect()
}
