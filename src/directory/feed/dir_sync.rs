//! Active Directory's changes since the last time, attribute by attribute (DirSync, MS-ADTS 3.1.1.3.4.1.3). Of a group's
//! members only those come that were added or removed, so that nobody else is concerned.

use std::time::Duration;

use ldap3::Scope;
use ldap3::controls::RawControl;

use super::super::about::About;
use super::super::ber;
use super::super::dedicated::Streamed;
use super::super::entry::Entry;
use super::super::resolve::Search;
use super::super::search::Query;
use super::super::{LookupError, ResultCode};
use super::Run;
use super::change::{Change, EntryChange};
use super::members::triggers;
use super::polling::{Source, last_usn, sees_deleted};
use super::scope::{Kind, names_of_group, names_of_person};
use crate::model::{EntityId, Trigger};

/// The DirSync control.
pub(super) const DIR_SYNC: &str = "1.2.840.113556.1.4.841";
/// The control by which names come with the identities of what they name (MS-ADTS 3.1.1.3.4.1.5).
const EXTENDED_DN: &str = "1.2.840.113556.1.4.529";
/// Only what we may read anyway: for accounts without the right to replicate changes.
const OBJECT_SECURITY: u32 = 0x1;
/// Of a linked attribute only the values that were added or removed.
const INCREMENTAL_VALUES: u32 = 0x8000_0000;
/// The largest answer that we ask for, in bytes.
const MAX_BYTES: u32 = 8 << 20;
/// More answers than this to one question are none.
const MAX_ANSWERS: usize = 10_000;
/// The longest that one answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is asked for, beside the attributes that are configured: only changes of these are told. `name` is what changes with
/// a rename; `groupType` makes a group one of those that count, or none (MS-ADTS 3.1.1.4.5.19); of `tokenGroups` a server
/// would refuse to tell.
const ATTRIBUTES: [&str; 16] = [
    "objectClass",
    "objectGUID",
    "objectSid",
    "sAMAccountName",
    "userPrincipalName",
    "userAccountControl",
    "accountExpires",
    "shadowExpire",
    "lockoutTime",
    "pwdLastSet",
    "primaryGroupID",
    "sIDHistory",
    "member",
    "groupType",
    "name",
    "isDeleted",
];
/// What comes with every object.
const UNCHANGED: [&str; 2] = ["objectguid", "instancetype"];

/// The place in the stream of changes.
#[derive(Debug, Default)]
pub(super) struct DirSync {
    service: Option<String>,
    cookie: Vec<u8>,
    last_usn: u64,
    flags: u32,
    is_complete: bool,
}

/// One answer.
struct Answer {
    /// With their names as they were sent.
    entries: Vec<(String, Entry)>,
    cookie: Vec<u8>,
    has_more: bool,
}

impl DirSync {
    /// Whether its place means something to this server. Cookies can be used with others, but these may lag behind.
    pub(super) fn fits(&self, about: &About) -> bool {
        self.cookie.is_empty() || (self.service.is_some() && self.service == about.service)
    }

    async fn ask(&self, run: &Run, filter: &str) -> Result<Answer, LookupError> {
        let value =
            vec![ber::integer(self.flags), ber::integer(MAX_BYTES), ber::octets(self.cookie.as_slice())];
        let control =
            |ctype: &str, crit, value| RawControl { ctype: ctype.to_owned(), crit, val: Some(value) };
        let controls = vec![
            control(DIR_SYNC, true, ber::encoded(ber::sequence(value))),
            control(EXTENDED_DN, false, ber::encoded(ber::sequence(vec![ber::integer(1)]))),
        ];
        let wording = &run.wording;
        let names = wording.user_names.iter().chain([&wording.group_name]).map(String::as_str);
        let mut attributes = ATTRIBUTES.to_vec();
        let resolver = &run.feed.resolver;
        for name in names.chain(resolver.attribute_names()).chain(resolver.filter_attributes()) {
            if !attributes.iter().any(|listed| listed.eq_ignore_ascii_case(name)) {
                attributes.push(name);
            }
        }
        let stream = run.link.stream(&run.scope.context, Scope::Subtree, filter, &attributes, controls);
        let mut stream = stream.await?;
        let mut entries = Vec::new();
        loop {
            match stream.next().await?.ok_or(LookupError::Lost)? {
                Streamed::Entry { name, entry, .. } => entries.push((name, entry?)),
                Streamed::Intermediate { .. } => {}
                Streamed::End { code: ResultCode(0), controls } => {
                    let (cookie, has_more) = cookie(&controls)?;
                    return Ok(Answer { entries, cookie, has_more });
                }
                Streamed::End { code, .. } => return Err(LookupError::Refused(code)),
            }
        }
    }

    /// The first cookie, by asking for what nothing is: all of the content is not what we want.
    async fn begin(&mut self, run: &Run) -> Result<(), LookupError> {
        const NOTHING: &str = "(cn=bailiwick-looks-for-nothing)";
        self.flags = INCREMENTAL_VALUES;
        let mut answer = self.ask(run, NOTHING).await;
        if answer.as_ref().err() == Some(&LookupError::Refused(ResultCode::INSUFFICIENT_ACCESS)) {
            self.flags |= OBJECT_SECURITY;
            answer = self.ask(run, NOTHING).await;
        }
        let mut answer = answer?;
        for _ in 0..MAX_ANSWERS {
            self.cookie = answer.cookie;
            if !answer.has_more {
                self.service.clone_from(&run.link.about().service);
                self.is_complete = sees_deleted(&run.search(), &run.scope.context).await?;
                return Ok(());
            }
            answer = self.ask(run, NOTHING).await?;
        }
        self.cookie.clear();
        Err(LookupError::Protocol("DirSync does not come to an end"))
    }
}

impl Source for DirSync {
    const WORD: &'static str = "dirsync";

    async fn poll(&mut self, run: &mut Run) -> Result<bool, LookupError> {
        let last = last_usn(&run.search()).await?;
        if last < self.last_usn {
            // It was put back to an older state, of which our cookie knows nothing.
            *self = Self::default();
            run.tell(Change::Interrupted);
            return Err(LookupError::Protocol("the server's update sequence numbers went back"));
        }
        self.last_usn = last;
        if self.cookie.is_empty() {
            let begun = tokio::time::timeout(PATIENCE, self.begin(run)).await;
            begun.map_err(|_| LookupError::TimedOut)??;
            return Ok(self.is_complete);
        }
        for _ in 0..MAX_ANSWERS {
            let asking = tokio::time::timeout(PATIENCE, self.ask(run, "(objectClass=*)")).await;
            let answer = match asking.map_err(|_| LookupError::TimedOut)? {
                Ok(answer) => answer,
                Err(error) => {
                    if error.is_of_one_question() {
                        // The cookie may be what it cannot use.
                        *self = Self::default();
                        run.tell(Change::Interrupted);
                    }
                    return Err(error);
                }
            };
            for (name, entry) in &answer.entries {
                tell(run, name, entry).await?;
            }
            self.cookie = answer.cookie;
            if !answer.has_more {
                return Ok(self.is_complete);
            }
        }
        Err(LookupError::Protocol("DirSync does not come to an end"))
    }
}

/// Tells of one object's changes.
async fn tell(run: &mut Run, name: &str, entry: &Entry) -> Result<(), LookupError> {
    let (id, sid) = (entry.id()?, Named::read(name).sid);
    if entry.first("isdeleted").ok().flatten() == Some("TRUE") || entry.dn.is_remnant() {
        run.entry(EntryChange::gone(id), sid, None);
        return Ok(());
    }
    let mut concerned = Vec::new();
    let mut has_whole_list = false;
    for (options, values) in entry.parts("member") {
        let is_delta = options.iter().any(|option| option == "range=1-1" || option == "range=0-0");
        has_whole_list |= !is_delta;
        for value in values {
            match std::str::from_utf8(value) {
                Ok(value) => concerned.extend(member(value, run)),
                Err(_) => has_whole_list = true,
            }
        }
    }
    let of_itself = |name: &&str| !UNCHANGED.contains(name) && *name != "member";
    let is_itself_changed = entry.names().any(|name| of_itself(&name)) || has_whole_list;
    let triggers = [Trigger::entity(&id)].into_iter().filter(|_| is_itself_changed).chain(concerned);
    let mut triggers: Vec<Trigger> = triggers.chain(names_of_person(entry, &run.wording)).collect();
    // What is called `cn` is told as `name`.
    let group_name = if run.wording.group_name == "cn" { "name" } else { run.wording.group_name.as_str() };
    let mut group_names = entry.mentions(group_name).then(|| names_of_group(entry, &run.wording, group_name));
    let is_new = entry.mentions("objectclass");
    let (is_moved, is_other_type) = (entry.mentions("name"), entry.mentions("grouptype"));
    // A group that did not count and does now; of one that is new, all members are told.
    let mut is_joined = is_other_type && !is_new;
    if (is_moved || is_other_type) && !is_new {
        // Only that is told: its other names may count now, or no more.
        match whole(run, &id).await? {
            Some(whole) if !run.scope.is_container(&whole) => {
                triggers.extend(names_of_person(&whole, &run.wording));
                group_names = Some(names_of_group(&whole, &run.wording, &run.wording.group_name));
                // It may have been moved to where groups are looked for.
                is_joined |= Kind::of(&whole).may_be_group();
            }
            // With it whatever stands below it was renamed.
            _ => run.tell(Change::Anything),
        }
    }
    let change = EntryChange { id, triggers, group_names, is_gone: false };
    run.entry(change, sid, (has_whole_list || is_joined).then_some(entry.dn.as_str()));
    Ok(())
}

/// By what a member is recognised.
fn member(value: &str, run: &Run) -> Vec<Trigger> {
    let Named { guid, sid, dn } = Named::read(value);
    let ids = [guid, sid].into_iter().flatten().map(|id| Trigger::entity(&id));
    ids.chain(triggers(dn, run.feed.resolver.table())).collect()
}

/// A name with identities before it: `<GUID=...>;<SID=...>;CN=...`.
#[derive(Debug, PartialEq, Eq)]
struct Named<'a> {
    guid: Option<EntityId>,
    sid: Option<EntityId>,
    dn: &'a str,
}

impl<'a> Named<'a> {
    fn read(name: &'a str) -> Self {
        let mut named = Self { guid: None, sid: None, dn: name };
        while let Some((part, after)) = named.dn.strip_prefix('<').and_then(|rest| rest.split_once(">;")) {
            match part.split_once('=') {
                Some(("GUID", guid)) => named.guid = Some(EntityId::new(guid)),
                Some(("SID", sid)) => named.sid = Some(EntityId::new(sid)),
                _ => {}
            }
            named.dn = after;
        }
        named
    }
}

/// An object of which only what changed was told; `None` where it may not be read, or is gone by now.
async fn whole(run: &Run, id: &EntityId) -> Result<Option<Entry>, LookupError> {
    let names = run.wording.user_names.iter().chain([&run.wording.group_name]).cloned();
    let query = Query {
        attributes: names.chain(["objectClass", "groupType"].map(str::to_owned)).collect(),
        limit: 1,
        ..Query::new(format!("<GUID={id}>"), Scope::Base)
    };
    match run.search().search(query).await {
        Ok(found) => Ok(found.entries.into_iter().next()),
        Err(error) if error.is_of_one_question() => Ok(None),
        Err(error) => Err(error),
    }
}

/// The cookie of a result, and whether there is more: `SEQUENCE { MoreResults, unused, CookieServer }`.
pub(super) fn cookie(controls: &[RawControl]) -> Result<(Vec<u8>, bool), LookupError> {
    const MALFORMED: LookupError = LookupError::Protocol("a malformed DirSync result");
    let control = controls.iter().find(|control| control.ctype == DIR_SYNC).ok_or(MALFORMED)?;
    let value = control.val.as_deref().ok_or(MALFORMED)?;
    let mut parts = ber::whole(value, ber::SEQUENCE).ok_or(MALFORMED)?;
    match (parts.next(), parts.next(), parts.next()) {
        (Some((ber::INTEGER, more)), Some((ber::INTEGER, _)), Some((ber::OCTET_STRING, cookie)))
            if !cookie.is_empty() && parts.rest().is_empty() =>
        {
            Ok((cookie.to_vec(), ber::number(more).ok_or(MALFORMED)? != 0))
        }
        _ => Err(MALFORMED),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_cookie_of_a_result_is_read_and_nothing_is_taken_for_one() {
        let control =
            |value: &[u8]| RawControl { ctype: DIR_SYNC.to_owned(), crit: false, val: Some(value.to_vec()) };
        assert_eq!(
            cookie(&[control(b"\x30\x09\x02\x01\x01\x02\x01\x00\x04\x01c")]),
            Ok((b"c".to_vec(), true))
        );
        assert_eq!(
            cookie(&[control(b"\x30\x09\x02\x01\x00\x02\x01\x00\x04\x01c")]),
            Ok((b"c".to_vec(), false))
        );
        for bad in [
            &b""[..],
            b"\x30\x00",
            b"\x30\x08\x02\x01\x00\x02\x01\x00\x04\x00",
            b"\x04\x01x",
            b"\x30\x09\x02\x01\x00\x02\x01\x00\x04\x01c\x00",
        ] {
            assert!(cookie(&[control(bad)]).is_err(), "{bad:?}");
        }
        assert!(cookie(&[]).is_err());
    }

    #[test]
    fn a_name_comes_with_the_identities_of_what_it_names() {
        let named = |guid: Option<&str>, sid: Option<&str>, dn| Named {
            guid: guid.map(EntityId::new),
            sid: sid.map(EntityId::new),
            dn,
        };
        for (name, expected) in [
            ("<GUID=A-1>;<SID=S-1-5>;CN=x,DC=y", named(Some("a-1"), Some("s-1-5"), "CN=x,DC=y")),
            ("<GUID=a-1>;CN=x", named(Some("a-1"), None, "CN=x")),
            ("<OTHER=1>;<SID=s-1>;CN=x", named(None, Some("s-1"), "CN=x")),
            ("CN=x\\<y>;z", named(None, None, "CN=x\\<y>;z")),
            ("<GUID=a", named(None, None, "<GUID=a")),
            ("", named(None, None, "")),
        ] {
            assert_eq!(Named::read(name), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = cookie(&[RawControl { ctype: DIR_SYNC.to_owned(), crit: false, val: Some(bytes) }]);
        }
    }
}
