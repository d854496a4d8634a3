//! What changed since the last time, by the time of the last modification (RFC 4512, 3.4.2): where there is nothing better.
//! What was deleted is not seen, and nothing is told within the second in which it happens.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use ldap3::Scope;

use super::super::LookupError;
use super::super::account::generalized_time;
use super::super::resolve::{Search, with_ids};
use super::super::search::Query;
use super::Run;
use super::change::Change;
use super::polling::Source;
use super::scope::{Kind, changed};
use crate::model::EntityId;

/// How far the server's clock may be behind ours at the start.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);
/// Timestamps have whole seconds: an entry may have changed again within the one that it shows.
const UNCERTAIN: Duration = Duration::from_secs(3);
/// How far back the next question looks: a change that was made on another server comes later, with the time at which it was
/// made.
const OVERLAP: SignedDuration = SignedDuration::from_secs(15);
/// More changes than this between two questions are not looked at one by one.
const MAX_CHANGES: usize = 2_000;

/// The place in the stream of changes.
#[derive(Debug, Default)]
pub(super) struct Timestamps {
    /// The time of the last change that was seen, by the server's clock.
    last: Option<Timestamp>,
    /// The changes that were told of late, and when first.
    told: HashMap<EntityId, (String, Instant)>,
}

impl Source for Timestamps {
    const WORD: &'static str = "timestamps";

    async fn poll(&mut self, run: &mut Run) -> Result<bool, LookupError> {
        let now = Timestamp::now();
        let mut last = self.last.unwrap_or(now - CLOCK_SKEW);
        let from = last.checked_sub(OVERLAP).unwrap_or(last).strftime("%Y%m%d%H%M%SZ");
        let names = run.wording.user_names.iter().chain([&run.wording.group_name]).map(String::as_str);
        let query = Query {
            filter: format!("(modifyTimestamp>={from})"),
            attributes: with_ids(names.chain(["objectClass", "modifyTimestamp", "entryCSN"])),
            limit: MAX_CHANGES,
            ..Query::new(run.scope.base.as_str().to_owned(), Scope::Subtree)
        };
        let found = run.search().search(query).await?;
        if found.cut.is_some() {
            run.tell(Change::Anything);
        }
        let mut told = HashMap::new();
        for entry in &found.entries {
            let Some(time) = entry.first("modifytimestamp")? else { continue };
            let Some(at) = generalized_time(time) else { continue };
            // A server whose clock was wrong once must not make us blind until then.
            last = last.max(at.min(now + CLOCK_SKEW));
            let id = entry.id()?;
            let exact = entry.first("entrycsn")?;
            let stamp = exact.unwrap_or(time).to_owned();
            let known = self.told.remove(&id).filter(|(known, _)| *known == stamp);
            let is_new = known.is_none();
            let (stamp, first) = known.unwrap_or_else(|| (stamp, Instant::now()));
            let is_uncertain = exact.is_none() && first.elapsed() < UNCERTAIN;
            told.insert(id.clone(), (stamp, first));
            if !is_new && !is_uncertain {
                continue;
            }
            let kind = Kind::of(entry);
            if kind == Kind::Container {
                run.tell(Change::Anything);
            }
            let change = changed(id, entry, kind, &run.wording);
            run.entry(change, None, kind.may_be_group().then_some(entry.dn.as_str()));
        }
        self.last = Some(last);
        self.told = told;
        Ok(false)
    }
}
