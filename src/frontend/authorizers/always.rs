//! Authorisers that look at nothing, or at one group.
//!
//! Source: `k8s.io/apiserver/pkg/authorization/authorizerfactory/builtin.go`.

use super::Opinion;
use crate::model::Request;

/// The group whose members an API server lets do anything, whatever its authorisers are.
pub(super) const SUPERUSERS: &str = "system:masters";

pub(super) fn superuser(request: &Request) -> Opinion {
    if is_superuser(&request.subject.groups) {
        Opinion::allow("", format!("a member of {SUPERUSERS} may do anything; nobody else is asked"))
    } else {
        Opinion::none("", format!("the user is not in the group {SUPERUSERS}"))
    }
}

/// Whether somebody in these groups may do anything.
pub(in crate::frontend) fn is_superuser(groups: &[String]) -> bool {
    groups.iter().any(|group| group == SUPERUSERS)
}

pub(super) fn allow() -> Opinion {
    Opinion::allow("", "everybody may do anything")
}

/// No opinion, not a Deny: an API server goes on to whoever stands behind it.
pub(super) fn deny() -> Opinion {
    Opinion::none(
        "Everything is forbidden.",
        "nobody may do anything, unless an authoriser behind this allows it",
    )
}
