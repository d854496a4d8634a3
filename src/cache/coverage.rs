//! The spans of time over which a change feed told of everything, and what that makes of the age of facts.

use std::time::Instant;

use smallvec::SmallVec;

/// How many spans are remembered. Facts of an older one have the age that they have.
const MAX_SPANS: usize = 4;

/// The spans, the latest last. Facts that were read within one were still true at its end, or were made invalid.
#[derive(Debug, Clone, Default)]
pub(super) struct Coverage {
    spans: SmallVec<[Span; MAX_SPANS]>,
    /// Whether the latest span may still grow.
    is_open: bool,
    /// When the feed may have missed something last.
    interrupted: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    since: Instant,
    until: Instant,
}

/// Facts that were read within a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Covered {
    /// Until when they are known to have been true, if they were not made invalid.
    pub(super) until: Instant,
    /// Whether nothing can have been missed since.
    pub(super) is_gapless: bool,
}

impl Coverage {
    /// The feed has told of everything from `since` until `until`.
    pub(super) fn confirm(&mut self, since: Instant, until: Instant) {
        match self.spans.last_mut() {
            Some(span) if self.is_open => span.until = span.until.max(until),
            _ => {
                if self.spans.len() == MAX_SPANS {
                    self.spans.remove(0);
                }
                // The feed may go on for longer than since something was missed.
                let since = self.interrupted.map_or(since, |interrupted| interrupted.max(since));
                self.spans.push(Span { since, until: until.max(since) });
                self.is_open = true;
            }
        }
    }

    /// The feed may have missed something until now.
    pub(super) fn interrupt(&mut self, now: Instant) {
        self.is_open = false;
        self.interrupted = self.interrupted.max(Some(now));
    }

    /// Whether something that concerns facts that were read at this instant may have been missed.
    pub(super) fn missed_since(&self, read: Instant) -> bool {
        self.interrupted.is_some_and(|interrupted| read <= interrupted)
    }

    /// What facts that were read at this instant have of it.
    pub(super) fn of(&self, read: Instant) -> Option<Covered> {
        let last = self.spans.len().checked_sub(1)?;
        let spans = self.spans.iter().enumerate().rev();
        let (at, span) = spans.into_iter().find(|(_, span)| span.since <= read)?;
        let is_gapless = at == last && self.is_open;
        // Facts that were read between two spans are of none.
        (is_gapless || read <= span.until).then_some(Covered { until: span.until.max(read), is_gapless })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn facts_are_as_old_as_the_end_of_the_span_that_they_were_read_in() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut coverage = Coverage::default();
        assert_eq!(coverage.of(at(0)), None);
        coverage.confirm(at(10), at(12));
        coverage.confirm(at(12), at(20));
        let open = |until| Some(Covered { until: at(until), is_gapless: true });
        assert_eq!(coverage.of(at(9)), None, "read before the feed was up");
        assert_eq!(coverage.of(at(10)), open(20));
        assert_eq!(coverage.of(at(25)), open(25), "read since");
        coverage.interrupt(at(27));
        let closed = |until| Some(Covered { until: at(until), is_gapless: false });
        assert_eq!(coverage.of(at(15)), closed(20));
        assert_eq!(coverage.of(at(25)), None, "read while nobody listened");
        coverage.confirm(at(30), at(31));
        assert_eq!(coverage.of(at(15)), closed(20));
        assert_eq!(coverage.of(at(25)), None);
        assert_eq!(coverage.of(at(30)), open(31));
        for next in 4..10 {
            coverage.interrupt(at(next * 10 - 1));
            coverage.confirm(at(next * 10), at(next * 10 + 1));
        }
        assert_eq!(coverage.of(at(15)), None, "a span too long ago");
    }

    #[test]
    fn a_feed_that_goes_on_covers_nothing_from_before_something_was_missed() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut coverage = Coverage::default();
        coverage.confirm(at(10), at(20));
        coverage.interrupt(at(22));
        coverage.confirm(at(10), at(23));
        assert_eq!(coverage.of(at(15)), Some(Covered { until: at(20), is_gapless: false }));
        assert_eq!(coverage.of(at(21)), None);
        assert_eq!(coverage.of(at(22)), Some(Covered { until: at(23), is_gapless: true }));
        assert_eq!([15, 21, 23].map(|seconds| coverage.missed_since(at(seconds))), [true, true, false]);
    }
}
