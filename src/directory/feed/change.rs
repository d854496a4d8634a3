//! What a change feed tells.

use std::time::Instant;

use crate::model::{Dn, EntityId, Trigger};

/// Receives what a feed tells. It is called on the feed's own tasks and must not wait.
pub type ChangeHandler = Box<dyn Fn(Change) + Send + Sync>;

/// Something that a change feed tells. Nothing of it is ever a grant: it says what is no longer certain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An entry was added, changed, renamed or deleted.
    Entry(EntryChange),
    /// An entry is gone of which nothing else is told: whatever stood below it may be gone with it.
    Vanished(EntityId),
    /// Who is a member of a group now, or has just become one: whoever is not in it by what is held has to be read again.
    Members {
        /// The group.
        group: EntityId,
        /// Its members: people and groups.
        members: Vec<Trigger>,
    },
    /// A group changed, and who its members are could not be read.
    MembersUnknown {
        /// The group.
        group: EntityId,
        /// What it is called, where that is known.
        dn: Option<Dn>,
    },
    /// Something changed of which it cannot be said whom it concerns.
    Anything,
    /// Everything that happened between these two was told.
    Confirmed {
        /// When the feed began to tell of everything.
        since: Instant,
        /// Until when it is known to have.
        until: Instant,
    },
    /// Something may have been missed.
    Interrupted,
}

/// A change of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryChange {
    /// Which one.
    pub id: EntityId,
    /// Whom it concerns: whoever's facts hold the entry, and whoever is found by its names.
    pub triggers: Vec<Trigger>,
    /// The names that it has as a group, where it may be one; `None` where its names have not changed.
    pub group_names: Option<Vec<String>>,
    /// Whether it is gone.
    pub is_gone: bool,
}

impl EntryChange {
    /// What is told of an entry that is gone.
    pub(crate) fn gone(id: EntityId) -> Self {
        Self { triggers: vec![Trigger::entity(&id)], id, group_names: Some(Vec::new()), is_gone: true }
    }
}
