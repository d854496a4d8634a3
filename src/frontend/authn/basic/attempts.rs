//! Wrong passwords, by user: directories lock accounts after some of them, and anybody who knows a name can send
//! some.
//!
//! After [`MAX_FAILURES`] in a row within [`WINDOW`] the directory is not asked for this user until the last of
//! them is that old. One that was sent and not answered counts as well, for the directory may have counted it: servers that
//! guard against guessing answer late. A password that was refused is not sent again for as long, nor does it count again: a client
//! that keeps trying with an old one does no harm. Whoever sends wrong passwords can so keep others' right ones
//! from being judged *here*; the account itself stays usable, and who logged on [a moment
//! ago](super::SUCCESS_CACHE) is not affected.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::frontend::authn::digest::Trace;

/// Fewer than the five and more that directories commonly lock an account after.
pub const MAX_FAILURES: usize = 3;
/// How long a failure counts: as directories commonly count them (MS-SAMR, `lockOutObservationWindow`: 15 minutes
/// and more).
pub const WINDOW: SignedDuration = SignedDuration::from_mins(15);
/// Users with failures that are remembered. There are none of names that the directory does not know, so that
/// nobody can fill it with inventions.
const MAX_USERS: usize = 10_000;

/// What is known of attempts.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    failures: Mutex<HashMap<Trace, Vec<Failure>>>,
}

#[derive(Debug, Clone, Copy)]
struct Failure {
    /// `None`: it may have been the right one.
    password: Option<Trace>,
    at: Timestamp,
}

/// Why the directory is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// For this password it was.
    SamePassword,
    /// For this user too often.
    TooManyFailures,
}

impl Attempts {
    /// Whether this user, with this password, is to be refused unasked.
    pub(super) fn held(&self, user: &Trace, password: &Trace, now: Timestamp) -> Option<Held> {
        let failures = self.failures();
        let failures = failures.get(user)?;
        if failures.last().is_none_or(|last| !last.counts(now)) {
            return None;
        }
        if failures.iter().any(|failure| failure.password == Some(*password) && failure.counts(now)) {
            return Some(Held::SamePassword);
        }
        // They are in a row, and the last one counts: the others only matter by being there.
        (failures.len() >= MAX_FAILURES).then_some(Held::TooManyFailures)
    }

    pub(super) fn succeeded(&self, user: &Trace) {
        self.failures().remove(user);
    }

    /// The directory refused this password.
    pub(super) fn failed(&self, user: Trace, password: Trace, now: Timestamp) {
        self.count(user, Failure { password: Some(password), at: now }, now);
    }

    /// The directory did not say, and may have counted it.
    pub(super) fn unanswered(&self, user: Trace, now: Timestamp) {
        self.count(user, Failure { password: None, at: now }, now);
    }

    fn count(&self, user: Trace, failure: Failure, now: Timestamp) {
        let mut all = self.failures();
        if all.len() >= MAX_USERS && !all.contains_key(&user) {
            all.retain(|_, failures| failures.last().is_some_and(|last| last.counts(now)));
            let oldest = all.iter().min_by_key(|(_, failures)| failures.last().map(|last| last.at));
            if all.len() >= MAX_USERS
                && let Some(oldest) = oldest.map(|(user, _)| *user)
            {
                all.remove(&oldest);
            }
        }
        let failures = all.entry(user).or_default();
        failures.retain(|failure| failure.counts(now));
        failures.push(failure);
    }

    fn failures(&self) -> MutexGuard<'_, HashMap<Trace, Vec<Failure>>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failure {
    /// Whether it is not yet forgotten. One of the future is there where the clock was set back.
    fn counts(&self, now: Timestamp) -> bool {
        now.duration_since(self.at).abs() < WINDOW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: Trace = [1; 32];
    const BOB: Trace = [2; 32];

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(1_780_000_000 + minutes * 60).unwrap()
    }

    fn password(number: u8) -> Trace {
        [number; 32]
    }

    #[test]
    fn after_some_failures_a_user_is_held_for_a_while_and_others_are_not() {
        let attempts = Attempts::default();
        for number in 0..3 {
            assert_eq!(attempts.held(&ADA, &password(number), at(0)), None);
            attempts.failed(ADA, password(number), at(i64::from(number)));
        }
        for minute in [2, 10, 16] {
            assert_eq!(attempts.held(&ADA, &password(9), at(minute)), Some(Held::TooManyFailures));
        }
        assert_eq!(attempts.held(&BOB, &password(9), at(2)), None);
        assert_eq!(attempts.held(&ADA, &password(9), at(17)), None, "the last was at minute 2");
    }

    #[test]
    fn a_password_that_was_refused_is_not_sent_again() {
        let attempts = Attempts::default();
        attempts.failed(ADA, password(1), at(0));
        assert_eq!(attempts.held(&ADA, &password(1), at(14)), Some(Held::SamePassword));
        assert_eq!(attempts.held(&ADA, &password(2), at(14)), None);
        assert_eq!(attempts.held(&ADA, &password(1), at(15)), None);
    }

    #[test]
    fn what_was_not_answered_counts_and_holds_no_password() {
        let attempts = Attempts::default();
        for _ in 1..MAX_FAILURES {
            attempts.unanswered(ADA, at(0));
            assert_eq!(attempts.held(&ADA, &password(1), at(0)), None);
        }
        attempts.unanswered(ADA, at(0));
        assert_eq!(attempts.held(&ADA, &password(1), at(0)), Some(Held::TooManyFailures));
    }

    #[test]
    fn a_success_begins_anew() {
        let attempts = Attempts::default();
        for number in 0..3 {
            attempts.failed(ADA, password(number), at(0));
        }
        attempts.succeeded(&ADA);
        assert_eq!(attempts.held(&ADA, &password(0), at(0)), None);
    }

    #[test]
    fn a_full_table_forgets_the_oldest() {
        let attempts = Attempts::default();
        let user = |number: usize| {
            let mut user = [0; 32];
            user[..8].copy_from_slice(&number.to_be_bytes());
            user
        };
        attempts.failed(user(0), password(0), at(0));
        for number in 1..=MAX_USERS {
            attempts.failed(user(number), password(0), at(1));
        }
        assert_eq!(attempts.failures().len(), MAX_USERS);
        assert_eq!(attempts.held(&user(0), &password(0), at(1)), None);
        assert_eq!(attempts.held(&user(1), &password(0), at(1)), Some(Held::SamePassword));
    }
}
