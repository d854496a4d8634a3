//! A breaker for each server: after some failures it is left alone for a while, and asked again, with care, later.

use std::time::{Duration, Instant};

use super::LookupError;

/// So many failures in a row open the breaker.
const FAILURES: u32 = 3;
/// The time to the first probe of an open breaker; each failed probe doubles it.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
/// How long other servers are preferred to one that failed, so that a server that comes and goes is not followed.
const PREFER_OTHERS: Duration = Duration::from_secs(30);
/// Where all breakers are open, requests may try a server this often.
const LAST_RESORT: Duration = Duration::from_secs(1);

/// What is known of a server's health. Time is handed in.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    opened: Option<Open>,
    prefer_others_until: Option<Instant>,
    last_try: Option<Instant>,
    last_error: Option<LookupError>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    probe_at: Instant,
    backoff: Duration,
}

impl Breaker {
    /// Whether requests go to the server.
    pub(super) fn is_closed(&self) -> bool {
        self.opened.is_none()
    }

    /// Whether nothing went wrong since the server last did what was asked.
    pub(super) fn is_well(&self) -> bool {
        self.failures == 0
    }

    /// Whether requests go to other servers first, where there are any.
    pub(super) fn prefers_others(&self, now: Instant) -> bool {
        self.prefer_others_until.is_some_and(|until| now < until)
    }

    /// The server did what was asked.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
        self.opened = None;
        self.last_error = None;
    }

    /// The server accepted a connection. That closes an open breaker, but is no proof yet: the next failure opens it again,
    /// and failures of a server that only accepts connections still add up.
    pub(super) fn connected(&mut self) {
        if self.opened.take().is_some() {
            self.failures = FAILURES - 1;
        }
    }

    /// The server did not. `jitter` is between 0 and 1.
    pub(super) fn failed(&mut self, error: LookupError, now: Instant, jitter: f64) {
        self.failures = self.failures.saturating_add(1);
        self.last_try = Some(now);
        self.last_error = Some(error);
        let backoff = match self.opened {
            Some(open) if now < open.probe_at => return,
            Some(open) => (open.backoff * 2).min(LONGEST_BACKOFF),
            None if self.failures >= FAILURES => FIRST_BACKOFF,
            None => return,
        };
        let wait = backoff.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
        self.opened = Some(Open { probe_at: now + wait, backoff });
        self.prefer_others_until = Some(now + PREFER_OTHERS);
    }

    /// Other servers are to be preferred for a while, though this one is well.
    pub(super) fn set_aside(&mut self, now: Instant) {
        self.prefer_others_until = Some(now + PREFER_OTHERS);
    }

    /// Whether an open breaker's server is due to be probed.
    pub(super) fn is_probe_due(&self, now: Instant) -> bool {
        self.opened.is_some_and(|open| now >= open.probe_at)
    }

    /// Whether a request may try the server of an open breaker because there is no other. If so, it is counted as tried.
    pub(super) fn try_as_last_resort(&mut self, now: Instant) -> bool {
        let may = self.last_try.is_none_or(|last| now >= last + LAST_RESORT);
        if may {
            self.last_try = Some(now);
        }
        may
    }

    /// What the last failure was.
    pub(super) fn last_error(&self) -> Option<LookupError> {
        self.last_error.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(failures: u32, now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        (0..failures).for_each(|_| breaker.failed(LookupError::Lost, now, 1.0));
        breaker
    }

    #[test]
    fn three_failures_in_a_row_open_it_and_one_success_closes_it() {
        let now = Instant::now();
        assert!(after(2, now).is_closed());
        let mut breaker = after(3, now);
        assert!(!breaker.is_closed());
        breaker.succeeded();
        assert!(breaker.is_closed());
        assert!(breaker.prefers_others(now + Duration::from_secs(29)));
        assert!(!breaker.prefers_others(now + Duration::from_secs(31)));
    }

    #[test]
    fn a_server_that_only_accepts_connections_stays_suspect() {
        let now = Instant::now();
        let mut breaker = after(2, now);
        breaker.connected();
        breaker.failed(LookupError::Lost, now, 1.0);
        assert!(!breaker.is_closed());
        breaker.connected();
        assert!(breaker.is_closed());
        breaker.failed(LookupError::Lost, now, 1.0);
        assert!(!breaker.is_closed());
    }

    #[test]
    fn probes_become_rarer_up_to_a_minute() {
        let mut now = Instant::now();
        let mut breaker = after(3, now);
        let mut waits = Vec::new();
        for _ in 0..8 {
            let wait = breaker.opened.unwrap().probe_at - now;
            waits.push(wait.as_secs());
            now += wait;
            assert!(breaker.is_probe_due(now));
            breaker.failed(LookupError::Lost, now, 1.0);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn without_another_server_it_is_tried_once_a_second() {
        let now = Instant::now();
        let mut breaker = after(3, now);
        assert!(!breaker.try_as_last_resort(now + Duration::from_millis(900)));
        assert!(breaker.try_as_last_resort(now + Duration::from_millis(1000)));
        assert!(!breaker.try_as_last_resort(now + Duration::from_millis(1900)));
    }
}
