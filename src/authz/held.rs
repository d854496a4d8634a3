//! What the service holds of one user, and how good it is: for `GET /facts` and `bailiwick lookup`.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::explanation::FactsShown;
use super::{Authorizer, People};
use crate::cache::{self, Life};
use crate::directory::FeedStatus;

/// What is held of one user. Its JSON form is what `GET /facts` shows.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldShown {
    /// The cluster's name for the user.
    pub user: String,
    /// Whether the user is none of the directory's: nobody is ever asked for them.
    pub outside: bool,
    /// Why so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outside_because: Option<String>,
    /// `fresh`: good for every decision; `soft`: the same, and the next review has them read again behind its answer; `hard`
    /// (too old) and `invalid` (the directory changed since): good for a Deny alone; `absent`: nothing is held.
    pub state: &'static str,
    /// How long ago it was begun to read them, in seconds.
    pub age_seconds: Option<f64>,
    /// Whether the change feed tells of every change to them.
    pub followed: bool,
    /// The change feed's last word that they were still true.
    pub confirmed: Option<ConfirmedShown>,
    /// Whether they are being read now, or wait for their turn.
    pub loading: bool,
    /// Set where they could not be read a moment ago, so that it is not tried again yet.
    pub backing_off: Option<BackingOffShown>,
    /// The facts.
    pub facts: Option<FactsShown>,
    /// The change feed; absent where there is none.
    pub feed: Option<FeedShown>,
}

/// A moment at which something was known to be true.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfirmedShown {
    /// When (RFC 3339).
    pub at: String,
    /// How long ago, in seconds.
    pub seconds_ago: f64,
    /// Whether nothing can have been missed since.
    pub gapless: bool,
}

/// A pause after a failure.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackingOffShown {
    /// Why they could not be read.
    pub why: String,
    /// How long the pause still is, in seconds.
    pub seconds_left: f64,
}

/// What there is to say of the change feed.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FeedShown {
    /// The mechanism: `syncrepl`, `dirsync`, `usn` or `timestamps`; `null` where it never came up.
    pub mechanism: Option<&'static str>,
    /// Whether it is up.
    pub up: bool,
    /// Whether it tells of everything, deletions included.
    pub complete: bool,
    /// The server that it follows.
    pub server: Option<String>,
    /// Until when everything is known to have been told (RFC 3339).
    pub confirmed_at: Option<String>,
    /// The same, in seconds ago.
    pub confirmed_seconds_ago: Option<f64>,
    /// What went wrong last; empty where nothing did since it came up.
    pub trouble: String,
}

impl Authorizer {
    /// What is held of a user. It asks nobody, begins nothing, and counts nothing.
    #[must_use]
    pub fn held(&self, user: &str) -> HeldShown {
        let mut shown = HeldShown {
            user: user.to_owned(),
            outside: false,
            outside_because: None,
            state: "absent",
            age_seconds: None,
            followed: false,
            confirmed: None,
            loading: false,
            backing_off: None,
            facts: None,
            feed: None,
        };
        let now = (self.clock)();
        let outside = match &self.people {
            None => Some("there is no directory (`directory.kind: none`)".to_owned()),
            Some(people) => {
                shown.feed = FeedShown::of(people.directory.feed(), now);
                people.usernames.reading(user).err().map(|why| why.to_string())
            }
        };
        shown.outside = outside.is_some();
        shown.outside_because = outside;
        if let (Some(people), false) = (&self.people, shown.outside) {
            shown.look(people, now);
        }
        shown
    }
}

impl HeldShown {
    fn look(&mut self, people: &People, now: Timestamp) {
        let cache::Look { held, is_loading, backing_off } = people.cache.look(&self.user);
        self.loading = is_loading;
        self.backing_off = backing_off
            .map(|pause| BackingOffShown { why: pause.why.to_string(), seconds_left: seconds(pause.left) });
        let Some(held) = held else { return };
        self.state = match held.life {
            Life::Fresh => "fresh",
            Life::Soft => "soft",
            Life::Hard => "hard",
            Life::Invalid => "invalid",
        };
        self.age_seconds = Some(seconds(held.age));
        self.followed = held.entry.facts.followed;
        self.confirmed = held.confirmed.map(|confirmed| ConfirmedShown {
            at: before(now, confirmed.ago),
            seconds_ago: seconds(confirmed.ago),
            gapless: confirmed.is_gapless,
        });
        let state = if matches!(held.life, Life::Fresh | Life::Soft) { "current" } else { "stale" };
        self.facts = Some(FactsShown::read(state, &held.entry.facts));
    }
}

impl FeedShown {
    fn of(status: FeedStatus, now: Timestamp) -> Option<Self> {
        let FeedStatus { mechanism, is_up, is_complete, every: _, server, confirmed, trouble } = status;
        if mechanism.is_none() && trouble.is_empty() {
            return None;
        }
        let ago = confirmed.map(|confirmed| Instant::now().saturating_duration_since(confirmed));
        Some(Self {
            mechanism,
            up: is_up,
            complete: is_complete,
            server,
            confirmed_at: ago.map(|ago| before(now, ago)),
            confirmed_seconds_ago: ago.map(seconds),
            trouble,
        })
    }
}

/// In seconds, to the millisecond.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

/// So long before now.
fn before(now: Timestamp, ago: Duration) -> String {
    let ago = SignedDuration::try_from(ago).unwrap_or(SignedDuration::MAX);
    now.checked_sub(ago).unwrap_or(Timestamp::MIN).to_string()
}
