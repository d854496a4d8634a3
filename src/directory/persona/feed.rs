//! A search that goes on: it says what happens from the moment on at which it came.

use std::sync::Arc;
use std::time::Duration;

use super::answer::Question;
use super::connection::{Out, Sender};
use super::content::{Event, Record};
use super::controls::Wishes;
use super::reply::{Outcome, Reply};
use super::server::Server;
use super::view::View;
use super::{notify, syncrepl};
use crate::directory::embedded::filter::Filter;
use crate::directory::embedded::message::Search;
use crate::directory::embedded::tree::Scope;
use crate::model::Dn;

/// A feed at its beginning.
pub(super) struct Feed {
    /// What it says first, and the result where that is all.
    first: Vec<Reply>,
    base: Option<Dn>,
    /// The change up to which it has said everything.
    position: u64,
    is_bound: bool,
    /// How much later it begins to speak.
    pub(super) late: Option<Duration>,
    /// Held for a notification, so that they can be counted.
    _place: Option<Arc<()>>,
}

/// A change as this search sees it.
pub(super) struct Seen<'a> {
    pub(super) event: &'a Event,
    /// The entry before and after it, where the search finds it.
    pub(super) before: Option<&'a Record>,
    pub(super) after: Option<&'a Record>,
}

impl Feed {
    /// Looks at the content of this moment.
    pub(super) fn open(question: &Question<'_>, notifications: &Arc<()>) -> Self {
        let (first, place) = if question.wishes.sync.is_some() {
            (syncrepl::refresh(question, true), None)
        } else {
            (notify::begin(question, notifications), Some(notifications.clone()))
        };
        Self {
            first,
            base: question.base().ok(),
            position: question.view.number,
            is_bound: question.is_bound,
            late: None,
            _place: place,
        }
    }

    /// Says what happens until the feed is ended.
    pub(super) async fn run(
        mut self,
        server: Arc<Server>,
        search: Search,
        wishes: Wishes,
        message_id: i32,
        out: Sender,
    ) {
        let send = |reply: Reply| out.send(Out::Bytes(reply.bytes(message_id)));
        let (mut ticks, mut ends) = (server.directory.ticks(), server.ends.subscribe());
        if let Some(time) = self.late {
            tokio::time::sleep(time).await;
        }
        for reply in std::mem::take(&mut self.first) {
            let is_end = matches!(reply, Reply::Done(_));
            if send(reply).is_err() || is_end {
                return;
            }
        }
        let Some(base) = self.base.clone() else { return };
        loop {
            let (view, manner) = (server.view(), server.manner());
            let events = server.directory.history(self.position, view.number);
            let question = Question {
                directory: &server.directory,
                view: &view,
                manner: &manner,
                host: &server.host,
                is_bound: self.is_bound,
                search: &search,
                wishes: &wishes,
            };
            let filter = question.filter();
            let finds = |record: &Option<Arc<Record>>| {
                record.as_ref().is_some_and(|record| is_found(&question, &base, &filter, record))
            };
            for event in events.iter().filter(|event| !server.is_unsaid(event.number)) {
                let seen = Seen {
                    event,
                    before: event.before.as_deref().filter(|_| finds(&event.before)),
                    after: event.after.as_deref().filter(|_| finds(&event.after)),
                };
                let said = if wishes.notification {
                    notify::said(&question, &seen)
                } else {
                    Some(syncrepl::said(&question, &seen))
                };
                let is_end = matches!(said, Some(Reply::Done(_)));
                if said.is_some_and(|reply| send(reply).is_err()) || is_end {
                    return;
                }
            }
            self.position = self.position.max(view.number);
            tokio::select! {
                Ok(()) = ticks.changed() => {}
                Ok(()) = ends.changed() => {
                    let outcome: Outcome = ends.borrow().clone().unwrap_or_default();
                    let _ = send(Reply::Done(outcome));
                    return;
                }
            }
        }
    }
}

/// Whether a search finds an entry as it is in this record.
pub(super) fn is_found(question: &Question<'_>, base: &Dn, filter: &Filter, record: &Record) -> bool {
    let (view, dn): (&View, &Dn) = (question.view, &record.entry.dn);
    let is_inside = match question.search.scope {
        Scope::Base => dn == base,
        Scope::OneLevel => parent(dn).as_ref() == Some(base),
        Scope::Subtree => super::content::is_within(dn, base),
    };
    is_inside
        && question.is_in_context(base, dn)
        && !view.hides(dn.as_str(), "entry")
        && filter.matches(&view.node(record)) == Some(true)
}

fn parent(dn: &Dn) -> Option<Dn> {
    let names = super::content::rdns(dn.as_str());
    Dn::parse(&names.get(1..)?.join(",")).ok()
}
