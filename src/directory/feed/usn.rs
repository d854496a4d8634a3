//! What changed since the last time in Active Directory, by update sequence numbers (MS-ADTS 3.1.1.1.9). Each domain
//! controller has its own.

use std::time::Instant;

use ldap3::Scope;

use super::super::LookupError;
use super::super::about::About;
use super::super::resolve::with_ids;
use super::super::search::Query;
use super::Run;
use super::change::{Change, EntryChange};
use super::polling::{Source, last_usn, sees_deleted, whole_domain};
use super::scope::{Kind, changed};

/// More changes than this between two questions are not looked at one by one.
const MAX_CHANGES: usize = 5_000;

/// The place in the stream of changes of one domain controller.
#[derive(Debug, Default)]
pub(super) struct Usn {
    service: Option<String>,
    /// The first number that is not known yet.
    next: Option<u64>,
    is_complete: bool,
}

impl Usn {
    /// Whether its numbers are this server's.
    pub(super) fn fits(&self, about: &About) -> bool {
        self.next.is_none() || (self.service.is_some() && self.service == about.service)
    }
}

impl Source for Usn {
    const WORD: &'static str = "usn";

    async fn poll(&mut self, run: &mut Run) -> Result<bool, LookupError> {
        let last = last_usn(&run.search()).await?;
        let Some(next) = self.next else {
            self.service.clone_from(&run.link.about().service);
            self.is_complete = sees_deleted(&run.search(), &run.scope.context).await?;
            self.next = Some(last + 1);
            return Ok(self.is_complete);
        };
        if last.saturating_add(1) < next {
            // It was put back to an older state.
            self.next = None;
            run.tell(Change::Interrupted);
            return Err(LookupError::Protocol("the server's update sequence numbers went back"));
        }
        if last < next {
            return Ok(self.is_complete);
        }
        let names = run.wording.user_names.iter().chain([&run.wording.group_name]).map(String::as_str);
        let query = Query {
            filter: format!("(uSNChanged>={next})"),
            attributes: with_ids(names.chain(["objectClass", "groupType", "isDeleted"])),
            limit: MAX_CHANGES,
            paged: true,
            controls: whole_domain(),
            ..Query::new(run.scope.context.clone(), Scope::Subtree)
        };
        let found = run.link.search(query, Instant::now() + run.feed.settings.operation * 4).await?;
        if found.cut.is_some() {
            run.tell(Change::Anything);
        }
        for entry in &found.entries {
            let (id, sid) = (entry.id()?, entry.sid().ok().flatten());
            if entry.first("isdeleted").ok().flatten() == Some("TRUE") || entry.dn.is_remnant() {
                run.entry(EntryChange::gone(id), sid, None);
                continue;
            }
            let kind = Kind::of(entry);
            if kind == Kind::Container {
                // It may have been renamed, and with it whatever stands below it.
                run.tell(Change::Anything);
            }
            let change = changed(id, entry, kind, &run.wording);
            run.entry(change, sid, kind.may_be_group().then_some(entry.dn.as_str()));
        }
        self.next = Some(last + 1);
        Ok(self.is_complete)
    }
}
