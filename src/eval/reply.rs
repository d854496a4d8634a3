//! The reply: what can be said now and still holds when the caller's cache repeats it (DESIGN 3.10).

use std::cmp::Ordering;

use jiff::Timestamp;
use smallvec::SmallVec;

use super::decide::{Cause, Evaluation, decide};
use super::facts::{Bound, View};
use super::settings::Settings;
use super::trace::{Off, Trace};
use crate::model::{Circumstances, Decision, Outcome, Request};

/// How many instants are looked at for one reply. Windows that open and close more often than this within a cache's
/// life are answered with the least that there is.
const MAX_INSTANTS: usize = 1_000;

/// Answers one request.
///
/// A reply has no lifetime of its own: the caller keeps an Allow for `authorizedTTL` and anything else for
/// `unauthorizedTTL`. So the reply is the greatest decision that is not above the decision at any instant from now until the
/// caller forgets it: an Allow that would end within its own TTL is not given any more. Where some reply equals the least of
/// the decisions over its own TTL, the reply is such a one.
///
/// The evaluation is that of the instant that the reply comes from; `trace` sees the decision at `circumstances.now`.
pub fn reply<T: Trace>(
    bound: &Bound,
    settings: &Settings,
    request: &Request,
    view: View<'_>,
    circumstances: &Circumstances,
    trace: &mut T,
) -> Evaluation {
    let now = circumstances.now;
    let mut first = decide(bound, settings, request, view, circumstances, trace);
    let Outcome::Decided(decided) = first.outcome else { return first };
    if end(now, settings, decided) < first.until {
        return first;
    }
    let mut walk = Walk {
        bound,
        settings,
        request,
        view,
        circumstances,
        next: first.until,
        seen: 0,
        falls: SmallVec::new(),
    };
    for candidate in [Decision::Allow, Decision::NoOpinion, Decision::Deny] {
        if candidate > decided {
            continue;
        }
        let end = end(now, settings, candidate);
        let least = walk.least_until(end, candidate);
        match least.map(|least| least.outcome.cmp(&Outcome::Decided(candidate))) {
            Some(Ordering::Less) => {}
            _ if candidate == decided => return first,
            Some(Ordering::Equal) => break,
            // The answer is to be less before long, but not while the caller keeps this one: it is to ask again.
            Some(Ordering::Greater) | None => {
                first.outcome = Outcome::Decided(candidate);
                first.cause = Cause::Default;
                first.applied.clear();
                return first;
            }
        }
    }
    match walk.falls.pop() {
        Some((_, least)) => Evaluation { until: first.until, ..least },
        None => first,
    }
}

fn end(now: Timestamp, settings: &Settings, decision: Decision) -> Timestamp {
    now.checked_add(settings.ttl(decision)).unwrap_or(Timestamp::MAX)
}

/// Decides at one instant of change after the other.
struct Walk<'a> {
    bound: &'a Bound,
    settings: &'a Settings,
    request: &'a Request,
    view: View<'a>,
    circumstances: &'a Circumstances,
    /// The next instant at which the decision could change.
    next: Timestamp,
    seen: usize,
    /// The evaluations that were less than all before them, and when.
    falls: SmallVec<[(Timestamp, Evaluation); 2]>,
}

impl Walk<'_> {
    /// The least evaluation after now and until an instant (inclusive). Stops as soon as there is one below `bound`, and
    /// forgets what lies beyond `end`.
    fn least_until(&mut self, end: Timestamp, bound: Decision) -> Option<&Evaluation> {
        while self.falls.last().is_some_and(|(at, _)| *at > end) {
            self.falls.pop();
        }
        let is_below = |falls: &[(Timestamp, Evaluation)]| {
            falls.last().is_some_and(|(_, least)| least.outcome < Outcome::Decided(bound))
        };
        while self.next <= end && self.next < Timestamp::MAX && !is_below(&self.falls) {
            let now = self.next;
            let circumstances = Circumstances { now, ..self.circumstances.clone() };
            let mut evaluation =
                decide(self.bound, self.settings, self.request, self.view, &circumstances, &mut Off);
            self.next = evaluation.until;
            self.seen += 1;
            if self.seen >= MAX_INSTANTS {
                evaluation.outcome = Outcome::Decided(Decision::Deny);
                evaluation.cause = Cause::Undetermined;
                self.next = Timestamp::MAX;
            }
            if self.falls.last().is_none_or(|(_, least)| evaluation.outcome < least.outcome) {
                self.falls.push((now, evaluation));
            }
        }
        self.falls.last().map(|(_, least)| least)
    }
}
