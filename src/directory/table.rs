//! What was read, so that all share what is the same for all of them: groups, which are also known by their names, and attributes.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::model::{Attributes, Dn, EntityId, Group, Trigger};

/// How many groups there may be before those that nobody is in any more are looked for.
const MIN_GROUPS: usize = 1_024;

/// The groups that somebody's facts hold.
#[derive(Debug, Default)]
pub(super) struct GroupTable {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    by_id: HashMap<EntityId, Weak<Group>>,
    by_dn: HashMap<Trigger, Weak<Group>>,
    sweep_at: usize,
}

impl GroupTable {
    /// The one instance of this group.
    pub(super) fn share(&self, group: Group) -> Arc<Group> {
        let mut inner = self.inner();
        if let Some(known) = inner.by_id.get(&group.id).and_then(Weak::upgrade)
            && *known == group
            && known.dn.as_ref().map(|dn| dn.as_str()) == group.dn.as_ref().map(|dn| dn.as_str())
        {
            return known;
        }
        if inner.by_id.len() >= inner.sweep_at {
            inner.sweep();
        }
        let listed = group.dn.as_ref().map(|dn| Trigger::listed(dn.normal()));
        let dn = group.dn.map(Dn::compact);
        let group = Arc::new(Group { dn, ..group });
        inner.by_id.insert(group.id.clone(), Arc::downgrade(&group));
        if let Some(listed) = listed {
            inner.by_dn.insert(listed, Arc::downgrade(&group));
        }
        group
    }

    /// The group that is listed so as a member of others, if somebody's facts hold it.
    pub(super) fn listed(&self, member: Trigger) -> Option<Arc<Group>> {
        self.inner().by_dn.get(&member).and_then(Weak::upgrade)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn sweep(&mut self) {
        self.by_id.retain(|_, group| group.strong_count() > 0);
        self.by_dn.retain(|_, group| group.strong_count() > 0);
        self.sweep_at = self.by_id.len().saturating_mul(2).max(MIN_GROUPS);
    }
}

/// How many sets of attributes there may be before those that nobody has any more are looked for.
const MIN_ATTRIBUTES: usize = 4_096;

/// The attributes that somebody's facts hold.
#[derive(Debug, Default)]
pub(super) struct AttributeTable {
    inner: Mutex<SharedAttributes>,
}

#[derive(Debug, Default)]
struct SharedAttributes {
    shared: HashSet<Attributes>,
    sweep_at: usize,
}

impl AttributeTable {
    /// The one instance of these attributes.
    pub(super) fn share(&self, attributes: Attributes) -> Attributes {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = inner.shared.get(&attributes) {
            return known.clone();
        }
        if inner.shared.len() >= inner.sweep_at {
            inner.shared.retain(|known| !known.is_alone());
            inner.sweep_at = inner.shared.len().saturating_mul(2).max(MIN_ATTRIBUTES);
        }
        inner.shared.insert(attributes.clone());
        attributes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Values;

    fn group(id: &str, dn: &str) -> Group {
        Group { id: EntityId::new(id), sid: None, dn: Some(Dn::parse(dn).unwrap()), name: "g".into() }
    }

    #[test]
    fn attributes_are_one_and_those_that_nobody_has_are_forgotten() {
        let table = AttributeTable::default();
        let of = |value: &str| -> Attributes {
            [("department", Values::Known([value.to_owned()].into()))].into_iter().collect()
        };
        let first = table.share(of("a"));
        let again = table.share(of("a"));
        drop(again);
        for number in 0..3 * MIN_ATTRIBUTES {
            table.share(of(&number.to_string()));
        }
        assert!(table.inner.lock().unwrap().shared.len() <= MIN_ATTRIBUTES + 1);
        assert!(!first.is_alone(), "somebody had it all the time");
        assert_eq!(table.share(of("a")), first);
    }

    #[test]
    fn a_group_is_one_until_it_is_renamed_and_forgotten_when_nobody_is_in_it() {
        let table = GroupTable::default();
        let first = table.share(group("1", "cn=a"));
        assert!(Arc::ptr_eq(&first, &table.share(group("1", "cn=a"))));
        let renamed = table.share(group("1", "cn=b"));
        assert!(!Arc::ptr_eq(&first, &renamed));
        assert_eq!(table.listed(Trigger::listed("cn=b")), Some(renamed));
        drop(first);
        assert_eq!(table.listed(Trigger::listed("cn=a")), None);
        for number in 0..3 * MIN_GROUPS {
            table.share(group(&number.to_string(), &format!("cn={number}")));
        }
        assert!(table.inner().by_id.len() <= MIN_GROUPS + 1);
    }
}
