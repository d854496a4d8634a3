//! The vocabulary of a decision: what is asked, what is known, and what is answered. Pure data; no clock, no I/O.

mod circumstances;
mod decision;
pub mod dn;
mod facts;
mod request;

pub use circumstances::{Circumstances, SourceAddress};
pub use decision::{Decision, Outcome};
pub use dn::Dn;
pub use facts::{
    AccountState, Attributes, EntityId, Facts, Group, GroupMembership, GroupName, GroupNames, Membership,
    Memberships, Partial, Person, Resolved, Trigger, UnreadableState, Values,
};
pub use request::{
    Action, MAX_USER_NAME_BYTES, NonResourceAction, Operator, Request, Requirement, ResourceAction, Subject,
};
