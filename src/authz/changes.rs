//! What a change in the directory does to what is held of it: facts are given up, and names of groups are resolved again.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::directory::EntryChange;
use crate::model::{EntityId, GroupName, GroupNames, Resolved, Trigger};

/// So many changes of one entry are acted on at once, if they do not come too often: after each, as many windows have to
/// pass for another. Whatever a storm of them concerns is given up at the end of each window, and can be read in between:
/// nobody is locked out by somebody who changes a group a thousand times.
const BURST: u32 = 4;
/// The longest that a change in a storm waits.
const WINDOW: Duration = Duration::from_millis(250);
/// How many entries are watched for storms. With more, the oldest are forgotten.
const MAX_WATCHED: usize = 10_000;

/// When what was read again after a change is given up once more, where it may have been read from a server that had not
/// heard of the change.
const LAGS: [Duration; 2] = [Duration::from_secs(15), Duration::from_secs(60)];
/// How many changes are remembered for that.
const MAX_LAGGING: usize = 20_000;

/// What there is to do later because of changes.
#[derive(Default)]
pub(super) struct Changes {
    later: Mutex<Later>,
    names: Mutex<Names>,
    /// Woken when there is something to do about names.
    pub(super) names_changed: Notify,
    /// Woken when there is something to do later.
    pub(super) something_later: Notify,
}

#[derive(Default)]
struct Later {
    storms: HashMap<EntityId, Storm>,
    lagging: VecDeque<Lagging>,
}

struct Storm {
    /// When there would have been no change at all for long enough: each change moves it on by a window.
    calm_at: Instant,
    /// What waits for the end of the window, and when that is.
    waiting: Option<(Instant, BTreeSet<Trigger>)>,
}

struct Lagging {
    due: Instant,
    strayed: u64,
    triggers: Vec<Trigger>,
}

/// The names of groups that have to be resolved again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Names {
    /// None.
    #[default]
    None,
    /// These.
    Some(BTreeSet<GroupName>),
    /// All of them.
    All,
}

impl Names {
    pub(super) fn contains(&self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::Some(names) => names.contains(name),
            Self::All => true,
        }
    }
}

impl Changes {
    /// What is to be given up because of a change; empty in a storm, where it is given up a little later.
    pub(super) fn admit(&self, change: EntryChange, now: Instant) -> Vec<Trigger> {
        let mut later = self.later();
        if later.storms.len() >= MAX_WATCHED && !later.storms.contains_key(&change.id) {
            later.storms.retain(|_, storm| storm.is_raging(now));
        }
        let storm = later.storms.entry(change.id).or_insert(Storm { calm_at: now, waiting: None });
        if storm.waiting.is_none() && storm.calm_at < now + WINDOW * BURST {
            storm.calm_at = storm.calm_at.max(now) + WINDOW;
            return change.triggers;
        }
        let is_first = storm.waiting.is_none();
        storm.waiting.get_or_insert_with(|| (now + WINDOW, BTreeSet::new())).1.extend(change.triggers);
        drop(later);
        if is_first {
            self.something_later.notify_one();
        }
        Vec::new()
    }

    /// Remembers what was given up, in case that it is read again from a server that lags behind. `strayed` counts the lookups
    /// that were not of the server that told.
    pub(super) fn remember(&self, triggers: &[Trigger], strayed: u64, now: Instant) {
        let mut later = self.later();
        for lag in LAGS {
            if later.lagging.len() >= MAX_LAGGING {
                later.lagging.pop_front();
            }
            // Two delays, so the queue is not quite in order: what is late by that is late by seconds.
            later.lagging.push_back(Lagging { due: now + lag, strayed, triggers: triggers.to_vec() });
        }
        drop(later);
        self.something_later.notify_one();
    }

    /// What is to be given up now: because a storm's window ended, and because it may have been read from elsewhere.
    pub(super) fn due(&self, strayed: u64, now: Instant) -> (BTreeSet<Trigger>, BTreeSet<Trigger>) {
        let mut later = self.later();
        let (mut storms, mut lagging) = (BTreeSet::new(), BTreeSet::new());
        later.storms.retain(|_, storm| {
            if let Some((_, triggers)) = storm.waiting.take_if(|(due, _)| *due <= now) {
                storm.calm_at = storm.calm_at.max(now) + WINDOW;
                storms.extend(triggers);
            }
            storm.is_raging(now)
        });
        later.lagging.retain(|it| {
            let is_due = it.due <= now;
            if is_due && it.strayed != strayed {
                lagging.extend(it.triggers.iter().copied());
            }
            !is_due
        });
        (storms, lagging)
    }

    /// When [`due`](Self::due) has something to say.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let later = self.later();
        let storms = later.storms.values().filter_map(|storm| Some(storm.waiting.as_ref()?.0));
        storms.chain(later.lagging.iter().map(|it| it.due)).min()
    }

    /// Notes which names a change of an entry concerns.
    pub(super) fn note_names(&self, change: &EntryChange, known: &GroupNames) {
        let Some(group_names) = &change.group_names else { return };
        let is_called = |name: &str| group_names.iter().any(|called| called.eq_ignore_ascii_case(name));
        let affected = known.names.iter().filter(|(name, resolved)| match resolved {
            Resolved::Group(id) if *id == change.id => change.is_gone || !is_called(name),
            // Which ones they are is not known, so that any of them may have gone.
            Resolved::Several => true,
            Resolved::Group(_) | Resolved::None => is_called(name),
        });
        let affected: BTreeSet<GroupName> = affected.map(|(name, _)| name.clone()).collect();
        if affected.is_empty() {
            return;
        }
        let mut names = self.names();
        match &mut *names {
            Names::All => {}
            Names::Some(names) => names.extend(affected),
            Names::None => *names = Names::Some(affected),
        }
        drop(names);
        self.names_changed.notify_one();
    }

    /// Notes that any name may mean something else now.
    pub(super) fn note_all_names(&self) {
        *self.names() = Names::All;
        self.names_changed.notify_one();
    }

    /// The names to resolve again, which are noted no more.
    pub(super) fn take_names(&self) -> Names {
        std::mem::take(&mut self.names())
    }

    fn later(&self) -> MutexGuard<'_, Later> {
        self.later.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storm {
    /// Whether the next change may have to wait.
    fn is_raging(&self, now: Instant) -> bool {
        self.waiting.is_some() || now < self.calm_at
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
        let (changes, start) = (Changes::default(), Instant::now());
        let at_once = (0..1_000).filter(|_| !changes.admit(change("g"), start).is_empty()).count();
        assert_eq!(at_once, usize::try_from(BURST).unwrap());
        assert!(!changes.admit(change("other"), start).is_empty());
        assert_eq!(changes.next_due(), Some(start + WINDOW));
        assert!(changes.due(0, start).0.is_empty());
        let due = changes.due(0, start + WINDOW).0;
        assert_eq!(due, BTreeSet::from([Trigger::entity(&EntityId::new("g"))]));
        assert!(changes.due(0, start + WINDOW).0.is_empty());
        let during = (1..40).filter(|turn| {
            let now = start + WINDOW + Duration::from_millis(10) * *turn;
            !changes.admit(change("g"), now).is_empty() || !changes.due(0, now).0.is_empty()
        });
        assert!((1..=2).contains(&during.count()), "once a window");
        let _last = changes.due(0, start + WINDOW * 10);
        assert!(!changes.admit(change("g"), start + WINDOW * 20).is_empty(), "the storm is over");
    }

    #[test]
    fn what_may_have_been_read_from_elsewhere_is_given_up_again_and_nothing_else() {
        let (changes, start) = (Changes::default(), Instant::now());
        let trigger = Trigger::named("alice");
        changes.remember(&[trigger], 7, start);
        assert!(changes.due(8, start).1.is_empty());
        assert!(changes.due(7, start + LAGS[0]).1.is_empty(), "all lookups were of the server that told");
        assert_eq!(changes.due(8, start + LAGS[1]).1, BTreeSet::from([trigger]));
        assert_eq!(changes.next_due(), None);
    }

    #[test]
    fn names_are_resolved_again_where_their_group_or_a_namesake_changed() {
        let group = |id: &str| Resolved::Group(EntityId::new(id));
        let known = GroupNames {
            names: [
                ("sre", group("1")),
                ("dev", group("2")),
                ("none", Resolved::None),
                ("two", Resolved::Several),
            ]
            .map(|(name, resolved)| (name.to_owned(), resolved))
            .into(),
            generation: 0,
        };
        let told = |id: &str, names: Option<&[&str]>, is_gone| {
            let changes = Changes::default();
            let group_names = names.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
            changes.note_names(&EntryChange { group_names, is_gone, ..change(id) }, &known);
            match changes.take_names() {
                Names::Some(names) => names.into_iter().collect::<Vec<_>>().join(" "),
                other => format!("{other:?}"),
            }
        };
        assert_eq!(told("1", None, false), "None", "its members changed");
        assert_eq!(told("1", Some(&["SRE"]), false), "two");
        assert_eq!(told("1", Some(&["ops"]), false), "sre two");
        assert_eq!(told("1", Some(&[]), true), "sre two");
        assert_eq!(told("3", Some(&["Dev"]), false), "dev two", "a namesake");
        assert_eq!(told("3", Some(&["none"]), false), "none two");
        let changes = Changes::default();
        changes.note_all_names();
        changes.note_names(&EntryChange { group_names: Some(vec!["dev".to_owned()]), ..change("3") }, &known);
        assert_eq!((changes.take_names(), changes.take_names()), (Names::All, Names::None));
    }
}
