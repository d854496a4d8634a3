//! Who is a member of a group, read when it changed: whoever was added has facts that do not say so yet.

use std::collections::{BTreeMap, VecDeque};
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
use super::change::Change;
use super::{Feed, OnLink};
use crate::model::{Dn, EntityId, Trigger};

/// The most members that are compared with what is held; of a larger group it is only known that it changed.
pub(super) const MAX_MEMBERS: usize = 20_000;
/// How many groups are read at once.
const MAX_READING: usize = 8;
/// How many groups may wait to be read. Where there are more, nothing is certain any more.
const MAX_WAITING: usize = 4_096;

/// The groups whose members are being read, and those that wait for it. What is not read to the end is told to be unknown.
pub(super) struct Members {
    feed: Arc<Feed>,
    link: Arc<Dedicated>,
    reading: JoinSet<u64>,
    begun: BTreeMap<u64, (Instant, EntityId)>,
    waiting: VecDeque<(Instant, EntityId, String)>,
    next: u64,
}

impl Members {
    pub(super) fn new(feed: Arc<Feed>, link: Arc<Dedicated>) -> Self {
        let (begun, waiting) = (BTreeMap::new(), VecDeque::new());
        Self { feed, link, reading: JoinSet::new(), begun, waiting, next: 0 }
    }

    /// Reads who is in this group now, and tells of it.
    pub(super) fn read(&mut self, group: EntityId, dn: &str) {
        if self.waiting.iter().any(|(_, waiting, _)| *waiting == group) {
            return;
        }
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.clear();
            self.feed.tell(Change::Anything);
            return;
        }
        self.waiting.push_back((Instant::now(), group, dn.to_owned()));
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
        begun.chain(self.waiting.iter().map(|(begun, ..)| *begun)).min()
    }

    fn begin(&mut self) {
        while self.reading.len() < MAX_READING {
            let Some((begun, group, dn)) = self.waiting.pop_front() else { return };
            let ticket = self.next;
            self.next = self.next.wrapping_add(1);
            self.begun.insert(ticket, (begun, group.clone()));
            let (feed, link) = (Arc::clone(&self.feed), Arc::clone(&self.link));
            let telling = async move {
                let search = OnLink { link: &link, patience: feed.settings.operation };
                match members(&search, &dn).await {
                    Ok(members) => tell(&feed, group, members),
                    Err(error) => {
                        tracing::info!(%group, %error, "who is in a changed group is not known");
                        feed.tell(Change::MembersUnknown { group, dn: Dn::parse(&dn).ok() });
                    }
                }
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
        for (group, dn) in begun.chain(waiting.map(|(_, group, dn)| (group, Dn::parse(&dn).ok()))) {
            self.feed.tell(Change::MembersUnknown { group, dn });
        }
    }
}

/// Tells who is in a group: first as it lists them, which is what lookups that are under way are judged by. Whoever was
/// looked up before has the groups among the members in the table by now; they are told by their identity.
fn tell(feed: &Feed, group: EntityId, members: Vec<Trigger>) {
    let listed = members.clone();
    feed.tell(Change::Members { group: group.clone(), members });
    let table = feed.resolver.table();
    let groups = listed.into_iter().filter_map(|member| table.listed(member));
    let members: Vec<Trigger> = groups.map(|group| Trigger::entity(&group.id)).collect();
    if !members.is_empty() {
        feed.tell(Change::Members { group, members });
    }
}

/// Whoever a group lists as its members.
///
/// # Errors
/// Where it could not be read, or is too large.
async fn members(directory: &impl Search, group: &str) -> Result<Vec<Trigger>, LookupError> {
    let query = Query {
        attributes: MEMBER_ATTRIBUTES.iter().chain(&["gidNumber"]).map(|&name| name.to_owned()).collect(),
        limit: 1,
        ..Query::new(group.to_owned(), Scope::Base)
    };
    let found = match ranges::search(directory, query).await {
        Ok(found) => found,
        // It is gone by now, which will be told.
        Err(LookupError::Refused(super::super::ResultCode::NO_SUCH_OBJECT)) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    if found.cut.is_some() {
        return Err(LookupError::Protocol("a group that was cut short"));
    }
    let mut members = Vec::new();
    for attribute in MEMBER_ATTRIBUTES {
        let values = match found.entries.first() {
            Some(entry) => entry.values(&attribute.to_ascii_lowercase())?,
            None => Vec::new(),
        };
        if members.len().saturating_add(values.len()) > MAX_MEMBERS {
            return Err(LookupError::Protocol("a group with too many members to compare"));
        }
        let texts = values.into_iter().filter_map(|value| std::str::from_utf8(value).ok());
        texts.for_each(|text| members.extend(triggers(text)));
    }
    let gids = found.entries.first().map(|group| group.texts("gidnumber")).transpose()?;
    members.extend(gids.into_iter().flatten().map(primary_members));
    members.sort_unstable();
    members.dedup();
    Ok(members)
}

/// By what a member is recognised that a group lists so. A `memberUid` is no name of an entry, as a rule; where it could be
/// read as one, that does no harm.
pub(super) fn triggers(member: &str) -> impl Iterator<Item = Trigger> {
    let dn = Dn::parse(without_uid(member)).ok();
    let listed = dn.map(|dn| Trigger::listed(dn.normal()));
    [Some(Trigger::listed(member)), listed].into_iter().flatten()
}
