//! The content synchronization operation (RFC 4533), with the bytes of slapd 2.5.

use std::collections::HashSet;

use lber::common::TagClass;
use lber::structure::StructureTag;
use lber::universal::Types;

use super::answer::Question;
use super::content::Record;
use super::controls::{self, boolean};
use super::feed::{Seen, is_found};
use super::identity::{csn, uuid_octets};
use super::reply::{Outcome, Reply, constructed};
use crate::directory::embedded::message::{context, enumerated, octets, sequence, universal};

const SYNC_STATE: &str = "1.3.6.1.4.1.4203.1.9.1.2";
const SYNC_DONE: &str = "1.3.6.1.4.1.4203.1.9.1.3";
const SYNC_INFO: &str = "1.3.6.1.4.1.4203.1.9.1.4";
/// How many UUIDs slapd puts into one message.
const UUIDS: usize = 256;

/// What has become of an entry (section 2.3).
#[derive(Clone, Copy)]
enum State {
    Add = 1,
    Modify = 2,
    Delete = 3,
}

/// What a consumer knows already.
enum Known {
    Nothing,
    /// Everything up to this change, or to a time before the first.
    UpTo(Option<u64>),
}

/// Refreshes a consumer once (refreshOnly).
pub(super) fn poll(question: &Question<'_>) -> Vec<Reply> {
    refresh(question, false)
}

/// Brings a consumer up to date. One that stays is told by an intermediate response where that is done, another one by
/// the result.
pub(super) fn refresh(question: &Question<'_>, persist: bool) -> Vec<Reply> {
    refreshed(question, persist).unwrap_or_else(|outcome| vec![Reply::Done(outcome)])
}

fn refreshed(question: &Question<'_>, persist: bool) -> Result<Vec<Reply>, Outcome> {
    let (view, base, filter) = (question.view, question.base()?, question.filter());
    let found: Vec<&Record> = view
        .records
        .iter()
        .map(|record| &**record)
        .filter(|record| is_found(question, &base, &filter, record))
        .collect();
    let Some(plan) = plan(question, &found)? else {
        return Ok(vec![done(persist, None, true)]);
    };
    let changed = found.iter().filter(|record| record.changed > plan.since);
    let entries = changed.map(|record| entry(question, record, State::Add, None)).collect();
    let mut replies = plan.first;
    replies.extend(question.limited(entries, None));
    if let Some(end @ Reply::Done(Outcome { code: 0, .. })) = replies.last_mut() {
        *end = done(persist, Some(cookie(view.number)), plan.deletes);
    }
    Ok(replies)
}

/// How a consumer is brought up to date.
struct Plan {
    /// What is said before the entries.
    first: Vec<Reply>,
    /// Entries that changed after this change are sent.
    since: u64,
    /// Whether what is not named has not changed, rather than being gone.
    deletes: bool,
}

/// The plan for what a consumer knows; `None` where it knows everything.
fn plan(question: &Question<'_>, found: &[&Record]) -> Result<Option<Plan>, Outcome> {
    let now = question.view.number;
    let sync = question.wishes.sync.as_ref().unwrap();
    let number = match Known::read(sync.cookie.as_deref(), now)? {
        Known::Nothing => return Ok(Some(Plan { first: Vec::new(), since: 0, deletes: true })),
        Known::UpTo(Some(number)) if number == now => return Ok(None),
        Known::UpTo(number) => number,
    };
    let uuids: Vec<&str> = found.iter().map(|record| record.uuid.as_str()).collect();
    let events = number.and_then(|number| Some((number, question.directory.content().events(number, now)?)));
    if let Some((since, events)) = events {
        let there: HashSet<&str> = uuids.into_iter().collect();
        let known = events.iter().filter_map(|event| event.before.as_ref());
        let mut gone: Vec<&str> =
            known.map(|before| before.uuid.as_str()).filter(|uuid| !there.contains(uuid)).collect();
        gone.sort_unstable();
        gone.dedup();
        let last = events.iter().rev().find(|event| event.after.is_none()).map_or(now, |event| event.number);
        let cookie = format!("{},delcsn={}", cookie(since), csn(last));
        return Ok(Some(Plan { first: id_sets(&gone, Some(cookie)), since, deletes: true }));
    }
    if question.manner.refuses_stale_cookies {
        return Err(Outcome::new(4096, "sync cookie is stale"));
    }
    let first = number.map(|_| id_sets(&uuids, None)).unwrap_or_default();
    Ok(Some(Plan { first, since: number.unwrap_or(0), deletes: false }))
}

/// What a consumer that stays is told of a change: of every change, so that its cookie is the newest one.
pub(super) fn said(question: &Question<'_>, seen: &Seen<'_>) -> Reply {
    let cookie = cookie(seen.event.number);
    match (seen.before, seen.after) {
        (None, Some(after)) => entry(question, after, State::Add, Some(cookie)),
        (Some(_), Some(after)) => entry(question, after, State::Modify, Some(cookie)),
        (Some(before), None) => {
            // An entry that is only not found any more is named as it is called now.
            entry(question, seen.event.after.as_deref().unwrap_or(before), State::Delete, Some(cookie))
        }
        (None, None) => info(context(0, cookie)),
    }
}

fn entry(question: &Question<'_>, record: &Record, state: State, cookie: Option<String>) -> Reply {
    let mut parts = vec![enumerated(state as i64), octets(uuid_octets(&record.uuid))];
    parts.extend(cookie.map(octets));
    let attributes = match state {
        State::Delete => Vec::new(),
        State::Add | State::Modify => question.attributes(&question.view.node(record)),
    };
    let controls = vec![controls::control(SYNC_STATE, sequence(parts))];
    Reply::Entry { dn: record.entry.dn.as_str().to_owned(), attributes, controls }
}

/// The end of a refresh; `deletes` where what was not named has not changed, rather than being gone.
fn done(persist: bool, cookie: Option<String>, deletes: bool) -> Reply {
    let cookie = cookie.map(octets);
    if persist {
        let id = if deletes { 1 } else { 2 };
        return info(constructed(TagClass::Context, id, cookie.into_iter().collect()));
    }
    let parts = cookie.into_iter().chain(deletes.then(|| boolean(true))).collect();
    Reply::Done(Outcome::success().with(controls::control(SYNC_DONE, sequence(parts))))
}

/// Sets of UUIDs: of entries that are gone, with a cookie, or that are still there.
fn id_sets(uuids: &[&str], cookie: Option<String>) -> Vec<Reply> {
    let sets = uuids.chunks(UUIDS).map(|uuids| {
        let set = uuids.iter().map(|uuid| octets(uuid_octets(uuid))).collect();
        let deletes = cookie.is_some().then(|| boolean(true));
        let parts = cookie.clone().map(octets).into_iter().chain(deletes).chain([universal(Types::Set, set)]);
        info(constructed(TagClass::Context, 3, parts.collect()))
    });
    sets.collect()
}

fn info(value: StructureTag) -> Reply {
    Reply::Intermediate { name: SYNC_INFO, value }
}

fn cookie(number: u64) -> String {
    format!("rid=000,csn={}", csn(number))
}

impl Known {
    /// What a cookie says; one without a stamp says nothing.
    fn read(cookie: Option<&[u8]>, now: u64) -> Result<Self, Outcome> {
        let text = cookie.and_then(|cookie| std::str::from_utf8(cookie).ok()).unwrap_or_default();
        let Some(stamp) = text.split([',', ';']).find_map(|part| part.strip_prefix("csn=")) else {
            return Ok(Self::Nothing);
        };
        if stamp > csn(now).as_str() {
            return Err(Outcome::new(53, "consumer state is newer than provider!"));
        }
        Ok(Self::UpTo((1..=now).rev().find(|number| csn(*number).as_str() <= stamp)))
    }
}
