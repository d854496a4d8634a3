//! Change notification (MS-ADTS 3.1.1.3.4.1.9): no entries at first, and then each entry that changes as it is now.

use std::sync::Arc;

use super::answer::Question;
use super::dirsync::tombstone;
use super::feed::Seen;
use super::reply::{Outcome, Reply};
use crate::directory::embedded::filter::Filter;

/// What is said at first: nothing, or why there will be no notifications. `places` is shared with those that there are.
pub(super) fn begin(question: &Question<'_>, places: &Arc<()>) -> Vec<Reply> {
    let refused = if let Err(outcome) = question.base() {
        outcome
    } else if question.search.filter != Filter::Present("objectclass".into()) {
        Outcome::new(53, "000020B9: Search filter too complex.")
    } else if Arc::strong_count(places) > question.manner.max_notifications {
        question.manner.refuses_notifications.clone()
    } else {
        return Vec::new();
    };
    vec![Reply::Done(refused)]
}

/// What is said of a change. Deleted objects are shown to who asks for them and may see them.
pub(super) fn said(question: &Question<'_>, seen: &Seen<'_>) -> Option<Reply> {
    if question.search.attributes.iter().any(|wanted| wanted == "tokengroups") {
        return Some(Reply::Done(Outcome::new(1, "00002020: Indexed and full searches both failed!")));
    }
    match (seen.after, seen.before) {
        (Some(after), _) => Some(question.entry(&question.view.node(after))),
        (None, Some(before)) if seen.event.after.is_none() => {
            let shows = question.wishes.show_deleted && question.manner.sees_deleted;
            shows.then(|| {
                question.entry(&question.view.node(&tombstone(before, question.view, seen.event.number)))
            })
        }
        _ => None,
    }
}
