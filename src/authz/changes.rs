//! What a change in the directory does to the names of groups in policies: they are resolved again where they may stand for
//! something else. What it does to facts is in [`storms`](super::storms) and [`lag`](super::lag).

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::lag::Lag;
use super::storms::Storms;
use crate::directory::EntryChange;
use crate::model::{EntityId, GroupName, GroupNames, Resolved};

/// How many changes are remembered while names are being resolved. With more, all names are resolved once more.
const MAX_HEARD: usize = 1_000;

/// What there is to do because of changes.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) storms: Storms,
    pub(super) lag: Lag,
    names: Mutex<Noted>,
    /// Woken when there is something to do about names.
    pub(super) names_changed: Notify,
}

#[derive(Default)]
struct Noted {
    names: Names,
    /// The changes since names began to be resolved, which may not know of them; `None` where none are being resolved.
    heard: Option<Vec<Heard>>,
}

/// What a change says of names.
#[derive(Debug, Clone)]
struct Heard {
    id: EntityId,
    names: Vec<String>,
    is_gone: bool,
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

    /// These and those.
    pub(super) fn and(mut self, more: Self) -> Self {
        match more {
            Self::None => {}
            Self::Some(names) => self.add(names),
            Self::All => self = Self::All,
        }
        self
    }

    pub(super) fn add(&mut self, more: BTreeSet<GroupName>) {
        match self {
            Self::All => {}
            Self::Some(names) => names.extend(more),
            Self::None if more.is_empty() => {}
            Self::None => *self = Self::Some(more),
        }
    }
}

impl Changes {
    /// Notes which names a change of an entry concerns, given what they stand for; says whether it concerns any.
    pub(super) fn note_names(&self, change: &EntryChange, known: &GroupNames) -> bool {
        let Some(names) = &change.group_names else { return false };
        let heard = Heard { id: change.id.clone(), names: names.clone(), is_gone: change.is_gone };
        let affected = heard.affects(known);
        let is_some = !affected.is_empty();
        let mut noted = self.noted();
        noted.names.add(affected);
        match &mut noted.heard {
            Some(all) if all.len() >= MAX_HEARD => noted.names = Names::All,
            Some(all) => all.push(heard),
            None => {}
        }
        drop(noted);
        if is_some {
            self.names_changed.notify_one();
        }
        is_some
    }

    /// Notes that any name may mean something else now.
    pub(super) fn note_all_names(&self) {
        self.noted().names = Names::All;
        self.names_changed.notify_one();
    }

    /// The names to resolve again, which are noted no more.
    pub(super) fn take_names(&self) -> Names {
        std::mem::take(&mut self.noted().names)
    }

    /// Names begin to be resolved: what changes from now on may concern what they will stand for.
    pub(super) fn begin_names(&self) {
        self.noted().heard = Some(Vec::new());
    }

    /// Names were resolved, and stand for this: what changed meanwhile concerns them too.
    pub(super) fn end_names(&self, known: &GroupNames) {
        let mut noted = self.noted();
        let heard = noted.heard.take().unwrap_or_default();
        heard.iter().for_each(|heard| noted.names.add(heard.affects(known)));
        let is_some = noted.names != Names::None;
        drop(noted);
        if is_some {
            self.names_changed.notify_one();
        }
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heard {
    /// The names that may stand for something else by it.
    fn affects(&self, known: &GroupNames) -> BTreeSet<GroupName> {
        let is_called = |name: &str| self.names.iter().any(|called| called.eq_ignore_ascii_case(name));
        let affected = known.names.iter().filter(|(name, resolved)| match resolved {
            Resolved::Group(id) if *id == self.id => self.is_gone || !is_called(name),
            // Which ones they are is not known, so that any of them may have gone.
            Resolved::Several => true,
            Resolved::Group(_) | Resolved::None => is_called(name),
        });
        affected.map(|(name, _)| name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(id: &str) -> EntryChange {
        EntryChange { id: EntityId::new(id), triggers: Vec::new(), group_names: None, is_gone: false }
    }

    fn known(names: &[(&str, Resolved)]) -> GroupNames {
        let names = names.iter().map(|(name, resolved)| ((*name).to_owned(), resolved.clone())).collect();
        GroupNames { names, generation: 0 }
    }

    fn group(id: &str) -> Resolved {
        Resolved::Group(EntityId::new(id))
    }

    #[test]
    fn what_changes_while_names_are_resolved_is_compared_with_what_they_stand_for_then() {
        let (before, after) = (known(&[("sre", Resolved::None)]), known(&[("sre", group("5"))]));
        let renamed = EntryChange { group_names: Some(vec!["ops".to_owned()]), ..change("5") };
        let changes = Changes::default();
        changes.begin_names();
        assert!(!changes.note_names(&renamed, &before), "sre stands for no group yet");
        assert_eq!(changes.take_names(), Names::None);
        changes.end_names(&after);
        assert_eq!(changes.take_names(), Names::Some(BTreeSet::from(["sre".to_owned()])));
        changes.end_names(&after);
        assert_eq!(changes.take_names(), Names::None, "it is forgotten");
        changes.begin_names();
        (0..=MAX_HEARD).for_each(|_| assert!(!changes.note_names(&renamed, &before)));
        assert_eq!(changes.take_names(), Names::All);
    }

    #[test]
    fn names_are_resolved_again_where_their_group_or_a_namesake_changed() {
        let known = known(&[
            ("sre", group("1")),
            ("dev", group("2")),
            ("none", Resolved::None),
            ("two", Resolved::Several),
        ]);
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
