//! Facts bound to a policy set: which of its groups a person is in, as integers.

use std::collections::HashMap;
use std::sync::Arc;

use super::truth::{Truth, Unknown};
use crate::model::{EntityId, Facts, Group, GroupNames, Person, Resolved, Values};
use crate::policy::ast::{Effect, GroupRef};
use crate::policy::{GroupRefId, PolicySet, SparseSet, Term};

/// A policy set whose directory groups are bound to identities.
#[derive(Debug)]
pub struct Bound {
    set: Arc<PolicySet>,
    /// Tells what was prepared under this binding from what was prepared under another.
    epoch: u64,
    by_entity: HashMap<EntityId, Vec<GroupRefId>>,
    by_dn: HashMap<String, Vec<GroupRefId>>,
    /// For each group reference, whether its name resolves to no one group.
    unresolved: Box<[bool]>,
    /// For each group reference, whether whoever joins the group may lose something: a Deny names it, or an exception of an
    /// Allow.
    restricting: Box<[bool]>,
    /// Whether one of these resolves to no one group.
    restricts_unresolved: bool,
    unresolved_slots: Vec<u32>,
}

/// A person's facts, bound: made once a person and binding, and kept beside the facts.
#[derive(Debug)]
pub struct Prepared {
    epoch: u64,
    facts: Arc<Facts>,
    /// The group references that hold, sorted.
    groups: Box<[GroupRefId]>,
    /// The slots that name one of these groups, or one that is not resolved.
    slots: SparseSet,
    clearance: Clearance,
}

/// A person's clearance, as one of its sources has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Clearance {
    /// Known absent.
    Absent,
    /// Several levels, none, or one that is not listed.
    Unknown,
    /// One level and any number of compartments, by their places in the vocabulary.
    Held { level: usize, compartments: Box<[usize]> },
}

/// What is known of a subject when it is decided upon.
#[derive(Debug, Clone, Copy)]
pub enum View<'a> {
    /// No directory user: known to be in no group and to have no attribute.
    Outside,
    /// Facts that are young enough to allow.
    Current(&'a Prepared),
    /// Facts past their hard life: they may establish that a Deny applies, never that it does not, and never an Allow.
    Stale(&'a Prepared),
    /// The directory was not asked, or did not answer, and nothing is held.
    Unreachable,
}

/// What the directory is taken to say, while one policy is evaluated.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lens<'a> {
    Empty,
    Known(&'a Prepared),
    Unknown(Unknown),
}

impl Bound {
    /// Binds a policy set. `epoch` must differ from that of every other binding whose prepared facts may be met.
    #[must_use]
    pub fn new(set: Arc<PolicySet>, names: &GroupNames, epoch: u64) -> Self {
        let mut by_entity: HashMap<EntityId, Vec<GroupRefId>> = HashMap::new();
        let mut by_dn: HashMap<String, Vec<GroupRefId>> = HashMap::new();
        let mut unresolved = Vec::with_capacity(set.group_refs().len());
        let mut unresolved_slots = Vec::new();
        for (id, group) in (0_u32..).map(GroupRefId).zip(set.group_refs()) {
            let resolved = match group {
                GroupRef::Id(entity) => {
                    by_entity.entry(entity.clone()).or_default().push(id);
                    true
                }
                GroupRef::Dn(dn) => {
                    by_dn.entry(dn.normal().to_owned()).or_default().push(id);
                    true
                }
                GroupRef::Name(name) => match names.names.get(name) {
                    Some(Resolved::Group(entity)) => {
                        by_entity.entry(entity.clone()).or_default().push(id);
                        true
                    }
                    Some(Resolved::None | Resolved::Several) | None => false,
                },
            };
            unresolved.push(!resolved);
            if let (false, Some(slots)) = (resolved, set.index().directory_group(id)) {
                unresolved_slots.extend(slots.slots());
            }
        }
        let restricting = restricting(&set);
        let restricts_unresolved =
            restricting.iter().zip(&unresolved).any(|(restricts, open)| *restricts && *open);
        let unresolved = unresolved.into();
        Self { set, epoch, by_entity, by_dn, unresolved, restricting, restricts_unresolved, unresolved_slots }
    }

    /// Whether some policy takes something away from whoever joins a group.
    #[must_use]
    pub fn restricts_any(&self) -> bool {
        self.restricting.contains(&true)
    }

    /// Whether some policy takes something away from whoever joins this group, or may: one that names a group of which it is
    /// not known which it is.
    #[must_use]
    pub fn may_restrict(&self, group: &Group) -> bool {
        self.restricts_unresolved
            || self.refs(group).any(|id| self.restricting.get(id.0 as usize).copied().unwrap_or(true))
    }

    /// The references that stand for a group.
    fn refs<'a>(&'a self, group: &'a Group) -> impl Iterator<Item = GroupRefId> + 'a {
        let ids = std::iter::once(&group.id).chain(&group.sid).filter_map(|id| self.by_entity.get(id));
        // Most sets name no group by its DN.
        let dn = group.dn.as_ref().filter(|_| !self.by_dn.is_empty());
        ids.chain(dn.and_then(|dn| self.by_dn.get(dn.normal()))).flatten().copied()
    }

    /// The policy set.
    #[must_use]
    pub fn set(&self) -> &Arc<PolicySet> {
        &self.set
    }

    /// How many group names resolve to no one group.
    #[must_use]
    pub fn unresolved(&self) -> usize {
        self.unresolved.iter().filter(|unresolved| **unresolved).count()
    }

    /// Binds a person's facts.
    #[must_use]
    pub fn prepare(&self, facts: Arc<Facts>) -> Prepared {
        let mut groups: Vec<GroupRefId> = Vec::new();
        for membership in facts.groups.iter() {
            groups.extend(self.refs(membership.group));
        }
        groups.sort_unstable();
        groups.dedup();
        let mut slots: Vec<u32> = Vec::new();
        for group in &groups {
            if let Some(named) = self.set.index().directory_group(*group) {
                slots.extend(named.slots());
            }
        }
        // Who is in no group at all is in no unresolved one either.
        if !facts.groups.is_empty() {
            slots.extend(&self.unresolved_slots);
        }
        let clearance = match (&facts.person, self.set.clearance_attribute()) {
            (Person::Ambiguous, _) => Clearance::Unknown,
            (_, Some(attribute)) => match facts.attributes.get(attribute) {
                Some(Values::Known(values)) => Clearance::read(&self.set, values),
                Some(Values::Unreadable) => Clearance::Unknown,
                None => Clearance::Absent,
            },
            (_, None) => Clearance::Absent,
        };
        Prepared { epoch: self.epoch, facts, groups: groups.into(), slots: SparseSet::new(slots), clearance }
    }

    /// Whether these were prepared under this binding.
    #[must_use]
    pub fn made(&self, prepared: &Prepared) -> bool {
        self.epoch == prepared.epoch
    }

    /// Whether a person is in a group, by what the directory is taken to say.
    pub(super) fn is_member(&self, group: GroupRefId, lens: Lens<'_>) -> Truth {
        let prepared = match lens {
            Lens::Empty => return Truth::False,
            Lens::Unknown(why) => return Truth::Unknown(why),
            Lens::Known(prepared) => prepared,
        };
        if prepared.facts.person == Person::Ambiguous {
            return Truth::Unknown(Unknown::AmbiguousPerson);
        }
        if prepared.groups.binary_search(&group).is_ok() {
            return Truth::True;
        }
        if prepared.facts.partial.is_some() {
            return Truth::Unknown(Unknown::PartialGroups);
        }
        if !prepared.facts.groups.is_empty() && self.unresolved.get(group.0 as usize).copied().unwrap_or(true)
        {
            return Truth::Unknown(Unknown::GroupName(group));
        }
        Truth::False
    }

    /// Where the candidates among the directory's groups are to be looked for.
    pub(super) fn directory_driver<'a>(&'a self, lens: Lens<'a>) -> Option<&'a SparseSet> {
        match lens {
            Lens::Empty => None,
            Lens::Known(prepared) if prepared.is_complete() => Some(&prepared.slots),
            Lens::Known(_) | Lens::Unknown(_) => Some(self.set.index().any_directory_group()),
        }
    }
}

/// For each group reference, whether whoever joins the group may lose something.
fn restricting(set: &PolicySet) -> Box<[bool]> {
    let mut restricting = vec![false; set.group_refs().len()];
    for policy in set.policies() {
        let terms = match policy.effect {
            Effect::Deny => &policy.subjects,
            Effect::Allow => &policy.except_subjects,
        };
        let mut open: Vec<&Term> = terms.iter().collect();
        while let Some(term) = open.pop() {
            match term {
                Term::Directory(group) => {
                    if let Some(is) = restricting.get_mut(group.0 as usize) {
                        *is = true;
                    }
                }
                Term::All(terms) => open.extend(terms.iter()),
                Term::Everyone | Term::User(_) | Term::Group(_) => {}
            }
        }
    }
    restricting.into()
}

impl Prepared {
    /// The facts.
    #[must_use]
    pub fn facts(&self) -> &Arc<Facts> {
        &self.facts
    }

    pub(super) fn clearance(&self) -> &Clearance {
        &self.clearance
    }

    fn is_complete(&self) -> bool {
        self.facts.partial.is_none() && self.facts.person != Person::Ambiguous
    }
}

impl Clearance {
    /// Reads the values of an attribute or of an `extra` key: exactly one is a level, all others are compartments.
    pub(super) fn read(set: &PolicySet, values: &[String]) -> Self {
        let mut level = None;
        let mut compartments = Vec::new();
        for value in values {
            if let Some(place) = set.levels().iter().position(|known| known == value) {
                if level.replace(place).is_some() {
                    return Self::Unknown;
                }
            } else if let Some(place) = set.compartments().iter().position(|known| known == value) {
                compartments.push(place);
            } else {
                return Self::Unknown;
            }
        }
        match level {
            Some(level) => Self::Held { level, compartments: compartments.into() },
            None if values.is_empty() => Self::Absent,
            None => Self::Unknown,
        }
    }
}

impl<'a> View<'a> {
    /// What may be relied on.
    pub(super) fn lens(self) -> Lens<'a> {
        match self {
            Self::Outside => Lens::Empty,
            // That somebody is outside of the directory is configuration, not a fact with an age.
            Self::Current(prepared) | Self::Stale(prepared) if prepared.facts.person == Person::Outside => {
                Lens::Empty
            }
            Self::Current(prepared) => Lens::Known(prepared),
            Self::Stale(_) => Lens::Unknown(Unknown::StaleFacts),
            Self::Unreachable => Lens::Unknown(Unknown::Directory),
        }
    }

    /// What may only establish that a Deny applies.
    pub(super) fn last_known(self) -> Option<Lens<'a>> {
        match self {
            Self::Stale(prepared) => Some(Lens::Known(prepared)),
            Self::Outside | Self::Current(_) | Self::Unreachable => None,
        }
    }
}
