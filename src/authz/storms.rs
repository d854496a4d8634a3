//! Changes that come so often that acting on each would lock out whoever it concerns: those of one entry, and those that
//! concern everybody.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::directory::EntryChange;
use crate::model::{EntityId, Trigger};

/// So many changes of one entry are acted on at once, if they do not come too often: after each, as many windows have to
/// pass for another. Whatever a storm of them concerns is given up at the end of each window, and can be read in between:
/// nobody is locked out by somebody who changes a group a thousand times.
const BURST: u32 = 4;
/// The longest that a change in a storm waits.
const WINDOW: Duration = Duration::from_millis(250);
/// How many entries are watched. Changes of further ones are acted on at once.
const MAX_WATCHED: usize = 10_000;
/// How many triggers may wait for the end of a window. With more, all is given up there.
const MAX_WAITING: usize = 65_536;

/// The entries that changed lately.
#[derive(Default)]
pub(super) struct Storms {
    inner: Mutex<Inner>,
    /// Woken when there is something to do later.
    pub(super) something_later: Notify,
}

/// What is to be given up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) triggers: HashSet<Trigger>,
    pub(super) all: bool,
}

#[derive(Default)]
struct Inner {
    watched: HashMap<EntityId, Storm>,
    /// The changes that concern everybody.
    of_all: Option<Storm>,
    /// When the watched were last looked through for those that are calm.
    swept: Option<Instant>,
    /// What waits for the end of the window, and when that is.
    waiting: Option<(Instant, Due)>,
}

struct Storm {
    /// When there would have been no change at all for long enough: each change moves it on by a window.
    calm_at: Instant,
    /// Whether something of it waits.
    waits: bool,
}

impl Storm {
    fn new(now: Instant) -> Self {
        Self { calm_at: now, waits: false }
    }

    /// Whether one more change is acted on at once. If not, it waits for the end of the window.
    fn admits(&mut self, now: Instant) -> bool {
        if !self.waits && self.calm_at < now + WINDOW * BURST {
            self.calm_at = self.calm_at.max(now) + WINDOW;
            return true;
        }
        self.waits = true;
        false
    }

    /// What waited is acted on.
    fn act(&mut self, now: Instant) {
        self.calm_at = self.calm_at.max(now) + WINDOW;
        self.waits = false;
    }
}

impl Storms {
    /// What is to be given up because of a change; empty in a storm, where it is given up a little later.
    pub(super) fn admit(&self, change: EntryChange, now: Instant) -> Vec<Trigger> {
        let mut inner = self.inner();
        if !inner.watched.contains_key(&change.id) && !inner.has_room(now) {
            return change.triggers;
        }
        if inner.watched.entry(change.id).or_insert_with(|| Storm::new(now)).admits(now) {
            return change.triggers;
        }
        self.postpone(inner, now, |due| {
            due.triggers.extend(change.triggers);
            due.all |= due.triggers.len() > MAX_WAITING;
        });
        Vec::new()
    }

    /// Whether everything is to be given up because of a change; if not, it is a little later.
    pub(super) fn admit_all(&self, now: Instant) -> bool {
        let mut inner = self.inner();
        if inner.of_all.get_or_insert_with(|| Storm::new(now)).admits(now) {
            return true;
        }
        self.postpone(inner, now, |due| due.all = true);
        false
    }

    fn postpone(&self, mut inner: MutexGuard<'_, Inner>, now: Instant, add: impl FnOnce(&mut Due)) {
        let is_first = inner.waiting.is_none();
        let (_, due) = inner.waiting.get_or_insert_with(|| (now + WINDOW, Due::default()));
        add(due);
        if due.all {
            due.triggers.clear();
        }
        drop(inner);
        if is_first {
            self.something_later.notify_one();
        }
    }

    /// What is to be given up now, because a window ended.
    pub(super) fn due(&self, now: Instant) -> Due {
        let mut inner = self.inner();
        let Some((_, due)) = inner.waiting.take_if(|(at, _)| *at <= now) else { return Due::default() };
        let Inner { watched, of_all, .. } = &mut *inner;
        watched.values_mut().chain(of_all).filter(|storm| storm.waits).for_each(|storm| storm.act(now));
        inner.sweep(now);
        due
    }

    /// When [`due`](Self::due) has something to say.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.inner().waiting.as_ref().map(|(at, _)| *at)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Whether one more can be watched.
    fn has_room(&mut self, now: Instant) -> bool {
        let is_full = |inner: &Self| inner.watched.len() >= MAX_WATCHED;
        if is_full(self) && self.swept.is_none_or(|swept| now >= swept + WINDOW) {
            self.sweep(now);
        }
        !is_full(self)
    }

    fn sweep(&mut self, now: Instant) {
        self.swept = Some(now);
        self.watched.retain(|_, storm| storm.waits || now < storm.calm_at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(id: &str) -> EntryChange {
        let id = EntityId::new(id);
        EntryChange { triggers: vec![Trigger::entity(&id)], id, group_names: None, is_gone: false }
    }

    #[test]
    fn a_storm_of_changes_of_one_entry_is_acted_on_in_windows_and_others_at_once() {
        let (storms, start) = (Storms::default(), Instant::now());
        let at_once = (0..1_000).filter(|_| !storms.admit(change("g"), start).is_empty()).count();
        assert_eq!(at_once, usize::try_from(BURST).unwrap());
        assert!(!storms.admit(change("other"), start).is_empty());
        assert_eq!(storms.next_due(), Some(start + WINDOW));
        assert_eq!(storms.due(start), Due::default());
        let due = storms.due(start + WINDOW).triggers;
        assert_eq!(due, HashSet::from([Trigger::entity(&EntityId::new("g"))]));
        assert_eq!(storms.due(start + WINDOW), Due::default());
        let during = (1..40).filter(|turn| {
            let now = start + WINDOW + Duration::from_millis(10) * *turn;
            !storms.admit(change("g"), now).is_empty() || !storms.due(now).triggers.is_empty()
        });
        assert!((1..=2).contains(&during.count()), "once a window");
        let _last = storms.due(start + WINDOW * 10);
        assert!(!storms.admit(change("g"), start + WINDOW * 20).is_empty(), "the storm is over");
    }

    #[test]
    fn changes_that_concern_everybody_are_acted_on_in_windows_too() {
        let (storms, start) = (Storms::default(), Instant::now());
        let at_once = (0..1_000).filter(|_| storms.admit_all(start)).count();
        assert_eq!(at_once, usize::try_from(BURST).unwrap());
        assert!(!storms.admit(change("g"), start).is_empty(), "it is another storm");
        assert!(storms.due(start + WINDOW).all);
        assert!(!storms.due(start + WINDOW * 2).all);
        assert!(storms.admit_all(start + WINDOW * 20), "the storm is over");
    }

    #[test]
    fn however_many_entries_change_no_more_are_watched_than_can_be_and_none_is_lost() {
        let (storms, start) = (Storms::default(), Instant::now());
        let change = |number: usize| change(&number.to_string());
        let mut seen = HashSet::new();
        for round in 0..2 * BURST {
            let _ = round;
            for number in 0..2 * MAX_WATCHED {
                seen.extend(storms.admit(change(number), start));
            }
        }
        assert_eq!(storms.inner().watched.len(), MAX_WATCHED);
        assert_eq!(seen.len(), 2 * MAX_WATCHED);
        assert_eq!(storms.due(start + WINDOW).triggers.len(), MAX_WATCHED, "those that are watched rage");
        let later = start + WINDOW * 20;
        storms.admit(change(usize::MAX), later);
        assert_eq!(storms.inner().watched.len(), 1, "all of them are calm");
        for number in 0..=MAX_WAITING + MAX_WATCHED {
            let triggers = vec![Trigger::named(&number.to_string())];
            storms.admit(EntryChange { triggers, ..change(0) }, later);
        }
        assert!(storms.due(later + WINDOW).all);
    }
}
