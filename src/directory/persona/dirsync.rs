//! DirSync (MS-ADTS 3.1.1.3.4.1.3): what changed since a cookie, in the shapes of Samba 4.17.

use std::sync::Arc;

use super::answer::Question;
use super::content::{Event, Record, put, rdns};
use super::controls;
use super::identity::guid_text;
use super::reply::{Outcome, Reply};
use super::server::Directory;
use super::view::{FIRST_USN, SECRETS, View};
use crate::directory::ldif::{Attribute, Entry};
use crate::model::Dn;

/// Flags of the request: whatever the binder may see will do; of links, only what changed.
const OBJECT_SECURITY: u32 = 0x1;
const INCREMENTAL_VALUES: u32 = 0x8000_0000;

/// What comes with every object.
const ALWAYS: [&str; 2] = ["objectguid", "instancetype"];
/// What is left of a deleted object.
const PRESERVED: [&str; 7] = [
    "objectclass",
    "objectguid",
    "objectsid",
    "samaccountname",
    "useraccountcontrol",
    "grouptype",
    "instancetype",
];
/// Octets of a cookie, and where in it the USNs stand: up to which objects were told, and up to which their attributes, which
/// moves on when there is no more (MS-DRSR 5.207, `usnHighObjUpdate` and `usnHighPropUpdate`).
const COOKIE: usize = 108;
const OBJECTS: std::ops::Range<usize> = 28..36;
const ATTRIBUTES: std::ops::Range<usize> = 44..52;
/// The server that makes the cookies.
const INVOCATION: [u8; 16] = *b"persona-invokes!";

/// An object that changed.
struct Changed {
    /// As it is now, or what is left of it.
    record: Arc<Record>,
    is_gone: bool,
    /// As it was at the cookie, if it was there, after each change since, and as it is now.
    states: Vec<Option<Arc<Record>>>,
}

pub(super) fn poll(question: &Question<'_>) -> Vec<Reply> {
    changes(question).unwrap_or_else(|outcome| vec![Reply::Done(outcome)])
}

fn changes(question: &Question<'_>) -> Result<Vec<Reply>, Outcome> {
    let (view, manner) = (question.view, question.manner);
    let request = question.wishes.dir_sync.as_ref().unwrap();
    let base = question.base()?;
    if base != view.domain.root && base != view.domain.configuration {
        return Err(Outcome::new(50, "dN is not one of the naming context"));
    }
    if request.flags & OBJECT_SECURITY == 0 && !manner.may_replicate {
        return Err(Outcome::new(50, "error in module dirsync: insufficient access rights"));
    }
    if question.search.attributes.iter().any(|wanted| wanted == "tokengroups") {
        return Err(Outcome::new(1, "00002020: Indexed and full searches both failed!"));
    }
    let place = Place::read(&request.cookie)?;
    let (filter, incremental) = (question.filter(), request.flags & INCREMENTAL_VALUES != 0);
    let mut objects = changed(view, question.directory, place);
    objects.retain(|object| {
        question.is_in_context(&base, &object.record.entry.dn)
            && (!object.is_gone || manner.sees_deleted)
            && filter.matches(&view.node(&object.record)) == Some(true)
    });
    let more = objects.len() > manner.dir_sync_batch;
    objects.truncate(manner.dir_sync_batch);
    let next = match objects.last().filter(|_| more) {
        Some(last) => Place { objects: last.record.changed, attributes: place.attributes },
        None => {
            Place { objects: view.number.max(place.objects), attributes: view.number.max(place.attributes) }
        }
    };
    let mut replies: Vec<Reply> =
        objects.iter().filter_map(|object| object.reply(question, incremental)).collect();
    let control = controls::dir_sync(more, &next.cookie());
    replies.push(Reply::Done(Outcome::success().with(control)));
    Ok(replies)
}

/// The objects that changed, in the order of their last changes; of a deleted one what is left of it.
fn changed(view: &View, directory: &Directory, place: Place) -> Vec<Changed> {
    let history = directory.history(place.attributes, view.number);
    let changed = |record: Arc<Record>, is_gone| {
        let own = |state: &Option<Arc<Record>>| state.as_ref().is_some_and(|state| state.uuid == record.uuid);
        let events: Vec<&Arc<Event>> =
            history.iter().filter(|event| own(&event.before) || own(&event.after)).collect();
        let first = events.first().and_then(|event| event.before.clone());
        let mut states = vec![first.filter(|_| record.created <= place.attributes)];
        states.extend(events.iter().map(|event| event.after.clone()).filter(Option::is_some));
        states.push(Some(record.clone()));
        Changed { record, is_gone, states }
    };
    let present = view.records.iter().filter(|record| record.changed > place.objects);
    let mut objects: Vec<Changed> = present.map(|record| changed(record.clone(), false)).collect();
    for event in history.iter().filter(|event| event.after.is_none() && event.number > place.objects) {
        let before = event.before.as_ref().unwrap();
        objects.push(changed(Arc::new(tombstone(before, view, event.number)), true));
    }
    objects.sort_by_key(|object| object.record.changed);
    objects
}

impl Changed {
    /// What is sent of it: what changed of what is asked for, as it is now.
    fn reply(&self, question: &Question<'_>, incremental: bool) -> Option<Reply> {
        let (view, entry) = (question.view, &self.record.entry);
        let name = entry.dn.as_str();
        let wanted = &question.search.attributes;
        let is_wanted = |kind: &str| {
            (wanted.is_empty() || wanted.iter().any(|wanted| wanted == "*" || wanted == kind))
                && !SECRETS.contains(&kind)
                && !view.hides(name, kind)
        };
        let mut attributes = Vec::new();
        for kind in self.kinds().into_iter().filter(|kind| is_wanted(&kind.to_ascii_lowercase())) {
            if kind.eq_ignore_ascii_case("member") && incremental {
                attributes.extend(self.member_changes());
            } else if kind == "parentGUID" {
                attributes.extend(
                    parent(view, &self.record).map(|parent| {
                        (kind, vec![parent.entry.values("objectGUID").next().unwrap().to_vec()])
                    }),
                );
            } else {
                let values = entry.values(&kind).map(<[u8]>::to_vec).collect();
                attributes.push((kind, values));
            }
        }
        if attributes.is_empty() {
            return None;
        }
        for always in ["objectGUID", "instanceType"] {
            attributes.push((always.to_owned(), entry.values(always).map(<[u8]>::to_vec).collect()));
        }
        let dn = question.named(&entry.dn, Some(entry));
        Some(Reply::Entry { dn, attributes: question.dressed(attributes), controls: Vec::new() })
    }

    fn entries(&self) -> Vec<Option<&Entry>> {
        self.states.iter().map(|state| state.as_ref().map(|record| &record.entry)).collect()
    }

    /// The attributes that changed, as they are spelt. The name's own attribute is not among them, but `name` is.
    fn kinds(&self) -> Vec<String> {
        let (rdn, _) = super::domain::relative_name(&self.record.entry.dn);
        let mut kinds: Vec<String> = Vec::new();
        let mut note = |kind: &str| {
            let lower = kind.to_ascii_lowercase();
            let is_known = kinds.iter().any(|known| known.eq_ignore_ascii_case(kind));
            if !is_known && lower != rdn && !ALWAYS.contains(&lower.as_str()) {
                kinds.push(kind.to_owned());
            }
        };
        let entries: Vec<Option<&Entry>> = self.entries();
        for pair in entries.windows(2) {
            let [before, after] = [pair[0], pair[1]];
            for attribute in before.iter().chain(&after).flat_map(|entry| &entry.attributes) {
                let kind = &attribute.description;
                if values(before, kind) != values(after, kind) {
                    note(kind);
                }
            }
            if before.map(|entry| &entry.dn) != after.map(|entry| &entry.dn) {
                note("name");
                note("parentGUID");
            }
        }
        kinds
    }

    /// The members that went, and those that came.
    fn member_changes(&self) -> Vec<(String, Vec<Vec<u8>>)> {
        let now: Vec<Vec<u8>> = values(Some(&self.record.entry), "member");
        let entries = self.entries();
        let then: Vec<Vec<Vec<u8>>> = entries.iter().map(|entry| values(*entry, "member")).collect();
        let mut gone: Vec<Vec<u8>> =
            then.iter().flatten().filter(|value| !now.contains(value)).cloned().collect();
        gone.sort();
        gone.dedup();
        let came = now.iter().filter(|value| then.iter().any(|then| !then.contains(value)));
        let came: Vec<Vec<u8>> = came.cloned().collect();
        let parts = [("member;range=0-0", gone), ("member;range=1-1", came)];
        parts
            .into_iter()
            .filter(|(_, values)| !values.is_empty())
            .map(|(kind, values)| (kind.to_owned(), values))
            .collect()
    }
}

fn values(entry: Option<&Entry>, kind: &str) -> Vec<Vec<u8>> {
    entry.map(|entry| entry.values(kind).map(<[u8]>::to_vec).collect()).unwrap_or_default()
}

/// The container of deleted objects.
pub(super) fn deleted_objects(view: &View) -> Dn {
    Dn::parse(&format!("CN=Deleted Objects,{}", view.domain.root)).unwrap()
}

/// What is left of an object that was deleted (MS-ADTS 3.1.1.5.5.1.1).
pub(super) fn tombstone(before: &Record, view: &View, number: u64) -> Record {
    let names = rdns(before.entry.dn.as_str());
    let (rdn, root) = (names[0], view.domain.root.as_str());
    let (_, name) = super::domain::relative_name(&before.entry.dn);
    let dn = format!("{rdn}\\0ADEL:{},CN=Deleted Objects,{root}", before.uuid);
    let preserved = before
        .entry
        .attributes
        .iter()
        .filter(|attribute| PRESERVED.contains(&attribute.description.to_ascii_lowercase().as_str()));
    let mut entry = Entry { dn: Dn::parse(&dn).unwrap(), attributes: preserved.cloned().collect() };
    put(&mut entry, "isDeleted", || b"TRUE".to_vec());
    put(&mut entry, "name", || format!("{name}\nDEL:{}", before.uuid).into_bytes());
    if let Some(parent) = parent(view, before) {
        let guid = guid_text(parent.entry.values("objectGUID").next().unwrap());
        let value = format!("<GUID={guid}>;{}", parent.entry.dn);
        entry
            .attributes
            .push(Attribute { description: "lastKnownParent".to_owned(), values: vec![value.into_bytes()] });
    }
    Record { entry, changed: number, ..before.clone() }
}

fn parent<'a>(view: &'a View, record: &Record) -> Option<&'a Arc<Record>> {
    let names = rdns(record.entry.dn.as_str());
    view.record(&Dn::parse(&names.get(1..)?.join(",")).ok()?)
}

/// What whoever has a cookie was told already; with an empty one, nothing.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    objects: u64,
    attributes: u64,
}

impl Place {
    fn read(cookie: &[u8]) -> Result<Self, Outcome> {
        if cookie.is_empty() {
            return Ok(Self::default());
        }
        if cookie.len() != COOKIE || !cookie.starts_with(b"MSDS") {
            let text = "0000202C: Unable to unmarshall cookie as a ldapControlDirSyncCookie structure";
            return Err(Outcome::new(12, text));
        }
        let number = |at: std::ops::Range<usize>| {
            u64::from_le_bytes(cookie[at].try_into().unwrap()).saturating_sub(FIRST_USN)
        };
        Ok(Self { objects: number(OBJECTS), attributes: number(ATTRIBUTES) })
    }

    fn cookie(self) -> Vec<u8> {
        let usn = |number: u64| (number + FIRST_USN).to_le_bytes();
        let (objects, attributes) = (usn(self.objects), usn(self.attributes));
        let [zero, one, three, size] = [0_u32, 1, 3, 0x28].map(u32::to_le_bytes);
        [
            b"MSDS".as_slice(),
            &three,
            &[0; 16],
            &size,
            &objects,
            &[0; 8],
            &attributes,
            &INVOCATION,
            &one,
            &zero,
            &one,
            &zero,
            &INVOCATION,
            &attributes,
        ]
        .concat()
    }
}

/// A name with the identities of its object before it (MS-ADTS 3.1.1.3.4.1.5), as text or in digits.
pub(super) fn extended(entry: &Entry, as_text: bool) -> String {
    let hex = |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
    let guid = entry.values("objectGUID").next().unwrap();
    let guid = if as_text { guid_text(guid) } else { hex(guid) };
    let sid = entry.values("objectSid").next().map(|sid| {
        let sid = if as_text { super::identity::sid_text(sid) } else { hex(sid) };
        format!("<SID={sid}>;")
    });
    format!("<GUID={guid}>;{}{}", sid.unwrap_or_default(), entry.dn)
}
