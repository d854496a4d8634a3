//! What a decision will need, from the request alone (DESIGN 3.8).

use jiff::Timestamp;
use std::sync::Arc;

use super::decide::{drivers, is_exempt, speaks_of};
use super::facts::{Bound, Lens};
use super::policy::source_address;
use super::settings::Settings;
use super::truth::Unknown;
use crate::model::{Circumstances, Request};
use crate::policy::ast::{Effect, Enforcement};

/// What a decision will need.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Nothing: the subject is exempt.
    Exempt,
    /// The request and the circumstances.
    RequestAlone,
    /// What the directory says of the subject.
    Directory,
}

/// Plans the decision on a request. `is_directory_user` is whether the directory may be asked for this subject at all.
pub fn plan(bound: &Bound, settings: &Settings, request: &Request, is_directory_user: bool) -> Plan {
    if is_exempt(bound.set(), request) {
        return Plan::Exempt;
    }
    if !is_directory_user {
        return Plan::RequestAlone;
    }
    if settings.accounts.matter() || needs_directory(bound, request) {
        return Plan::Directory;
    }
    Plan::RequestAlone
}

fn needs_directory(bound: &Bound, request: &Request) -> bool {
    let set = bound.set();
    let accepted = set.index().accepted(Enforcement::Enforce, &request.action);
    let drivers = drivers(bound, request, Lens::Unknown(Unknown::Directory), &accepted);
    [Effect::Deny, Effect::Allow].into_iter().any(|effect| {
        accepted.candidates(effect, &drivers).any(|slot| {
            let place = set.slots().get(slot as usize);
            let policy = place.and_then(|place| set.policies().get(place.policy as usize));
            policy.is_some_and(|policy| policy.needs_directory) && speaks_of(set, slot, effect, request)
        })
    })
}

/// The circumstances of a request at an instant, as far as its cluster is to be believed.
#[must_use]
pub fn circumstances(
    bound: &Bound,
    request: &Request,
    cluster: Option<Arc<str>>,
    now: Timestamp,
) -> Circumstances {
    let settings = bound.set().settings();
    let trusted = cluster.as_ref().is_some_and(|cluster| settings.trusted_clusters.contains(&**cluster));
    let source = source_address(request.subject.extra.get(&settings.source_address_key), trusted);
    Circumstances { now, cluster, source }
}
