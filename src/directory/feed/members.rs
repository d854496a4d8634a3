//! Who is a member of a group, read when it changed: whoever was added has facts that do not say so yet.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use ldap3::Scope;
use tokio::task::JoinSet;

use super::super::LookupError;
use super::super::dedicated::Dedicated;
use super::super::groups::{MEMBER_ATTRIBUTES, primary_members, without_uid};
use super::super::ranges;
use super::super::resolve::Search;
use super::super::search::Query;
use super::super::table::GroupTable;
use super::change::Change;
use super::{Feed, OnLink};
use crate::model::{Dn, EntityId, Trigger};

/// The most members that are compared with what is held; of a larger group it is only known that it changed.
pub(super) const MAX_MEMBERS: usize = 20_000;
/// How many groups are read at once.
const MAX_READING: usize = 8;
/// How many groups may wait to be read. Where there are more, nothing is certain any more.
const MAX_WAITING: usize = 16_384;

/// Classes of groups that have members, or are none (RFC 4519, 3.5 and 3.6).
const NEVER_EMPTY: [&str; 2] = ["groupofnames", "groupofuniquenames"];
const GID: &str = "gidNumber";

/// The groups whose members are being read, and those that wait for it. What is not read to the end is told to be unknown.
pub(super) struct Members {
    feed: Arc<Feed>,
    link: Arc<Dedicated>,
    reading: JoinSet<u64>,
    begun: BTreeMap<u64, (Instant, EntityId)>,
    /// The order in which they came.
    queue: VecDeque<EntityId>,
    waiting: HashMap<EntityId, Waiting>,
    next: u64,
}

/// A group that waits to be read.
struct Waiting {
    /// When it changed first.
    since: Instant,
    /// What it is called by the last that was told of it.
    dn: String,
}

impl Members {
    pub(super) fn new(feed: Arc<Feed>, link: Arc<Dedicated>) -> Self {
        let (begun, queue, waiting) = (BTreeMap::new(), VecDeque::new(), HashMap::new());
        Self { feed, link, reading: JoinSet::new(), begun, queue, waiting, next: 0 }
    }

    /// Reads who is in this group now, and tells of it.
    pub(super) fn read(&mut self, group: EntityId, dn: &str) {
        if let Some(waiting) = self.waiting.get_mut(&group) {
            // It may have been renamed since.
            dn.clone_into(&mut waiting.dn);
            return;
        }
        if self.waiting.len() >= MAX_WAITING {
            self.queue.clear();
            self.waiting.clear();
            self.feed.tell(Change::Anything);
            return;
        }
        self.queue.push_back(group.clone());
        self.waiting.insert(group, Waiting { since: Instant::now(), dn: dn.to_owned() });
        self.begin();
    }

    /// Waits until some group was read; for ever, where none is.
    pub(super) async fn tend(&mut self) {
        match self.reading.join_next().await {
            None => std::future::pending().await,
            Some(Ok(ticket)) => {
                self.begun.remove(&ticket);
            }
            // It panicked or was aborted: which one it was is told when this ends.
            Some(Err(error)) => tracing::error!(%error, "reading the members of a group failed"),
        }
        self.begin();
    }

    /// When the first of the groups changed that are not read yet.
    pub(super) fn since(&self) -> Option<Instant> {
        let begun = self.begun.values().map(|(begun, _)| *begun);
        // The others came later.
        let first = self.queue.front().and_then(|group| self.waiting.get(group));
        begun.chain(first.map(|first| first.since)).min()
    }

    /// Begins to read those that wait. One that is being read waits for the end of that, however often it changes.
    fn begin(&mut self) {
        while self.reading.len() < MAX_READING {
            let is_read = |group: &EntityId| self.begun.values().any(|(_, begun)| begun == group);
            let Some(next) = self.queue.iter().position(|group| !is_read(group)) else { return };
            let Some(group) = self.queue.remove(next) else { return };
            let Some(Waiting { since, dn }) = self.waiting.remove(&group) else { continue };
            let ticket = self.next;
            self.next = self.next.wrapping_add(1);
            self.begun.insert(ticket, (since, group.clone()));
            let (feed, link) = (Arc::clone(&self.feed), Arc::clone(&self.link));
            let telling = async move {
                tell(&feed, &link, group, &dn).await;
                ticket
            };
            self.reading.spawn_on(telling, self.link.handle());
        }
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        let begun = std::mem::take(&mut self.begun).into_values().map(|(_, group)| (group, None));
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        for (group, dn) in begun.chain(waiting.map(|(group, waiting)| (group, Dn::parse(&waiting.dn).ok()))) {
            self.feed.tell(Change::MembersUnknown { group, dn });
        }
    }
}

/// Tells who is in a group.
async fn tell(feed: &Feed, link: &Dedicated, group: EntityId, dn: &str) {
    let search = OnLink { link, patience: feed.settings.operation };
    match members(&search, dn).await {
        Ok(members) => {
            let table = feed.resolver.table();
            feed.tell(Change::Members { group: group.clone(), members: members.clone() });
            // Only now: a group that somebody was just found to be in is either known by here, or was told of to those who
            // look for it.
            let mut groups: Vec<Trigger> =
                members.into_iter().filter_map(|it| known_group(it, table)).collect();
            if !groups.is_empty() {
                groups.sort_unstable();
                groups.dedup();
                feed.tell(Change::Members { group, members: groups });
            }
        }
        Err(error) => {
            tracing::info!(%group, %error, "who is in a changed group is not known");
            feed.tell(Change::MembersUnknown { group, dn: Dn::parse(dn).ok() });
        }
    }
}

/// Whoever a group lists as its members, by their names.
///
/// # Errors
/// Where it could not be read, or is too large.
async fn members(directory: &impl Search, group: &str) -> Result<Vec<Trigger>, LookupError> {
    const TOO_MANY: LookupError = LookupError::Protocol("a group with too many members to compare");
    let others = ["objectClass", GID];
    let query = Query {
        attributes: MEMBER_ATTRIBUTES.iter().chain(&others).map(|&name| name.to_owned()).collect(),
        limit: 1,
        ..Query::new(group.to_owned(), Scope::Base)
    };
    let max = u64::try_from(MAX_MEMBERS).unwrap_or(u64::MAX);
    let found = match ranges::search_up_to(directory, query, max).await {
        Ok(found) => found,
        // It is gone by now, which will be told.
        Err(LookupError::Refused(super::super::ResultCode::NO_SUCH_OBJECT)) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    if found.cut.is_some() {
        return Err(LookupError::Protocol("a group that was cut short"));
    }
    let Some(entry) = found.entries.first() else { return Ok(Vec::new()) };
    let mut members = Vec::new();
    let mut count = 0_usize;
    for attribute in MEMBER_ATTRIBUTES {
        let values = entry.values(&attribute.to_ascii_lowercase())?;
        count = count.saturating_add(values.len());
        if count > MAX_MEMBERS {
            return Err(TOO_MANY);
        }
        let texts = values.into_iter().filter_map(|value| std::str::from_utf8(value).ok());
        texts.for_each(|text| members.extend(listed(text)));
    }
    let classes = entry.texts("objectclass").unwrap_or_default();
    let is_never_empty = |class: &&str| NEVER_EMPTY.iter().any(|known| class.eq_ignore_ascii_case(known));
    if count == 0 && classes.iter().any(is_never_empty) {
        return Err(LookupError::Protocol("a group that does not show its members"));
    }
    // Whoever has it as their primary group is in it, and not listed.
    let gids = entry.texts(&GID.to_ascii_lowercase()).unwrap_or_default();
    members.extend(gids.into_iter().map(primary_members));
    members.sort_unstable();
    members.dedup();
    Ok(members)
}

/// By what a member is recognised that a group lists so, itself or as a group that somebody is known to be in.
pub(super) fn triggers<'a>(member: &'a str, table: &'a GroupTable) -> impl Iterator<Item = Trigger> + 'a {
    listed(member).flat_map(|listed| [Some(listed), known_group(listed, table)]).flatten()
}

/// The same by names only. A `memberUid` is no name of an entry, as a rule; where it could be read as one, that does no harm.
fn listed(member: &str) -> impl Iterator<Item = Trigger> + use<> {
    let dn = Dn::parse(without_uid(member)).ok();
    let by_name = dn.map(|dn| Trigger::listed(dn.normal()));
    [Some(Trigger::listed(member)), by_name].into_iter().flatten()
}

/// The group that is listed so, by its identity, if somebody is known to be in it.
fn known_group(listed: Trigger, table: &GroupTable) -> Option<Trigger> {
    table.listed(listed).map(|group| Trigger::entity(&group.id))
}
