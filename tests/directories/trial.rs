//! A fault that befalls a service under load: what is answered meanwhile, and how soon all is as before.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bailiwick::model::Decision;
use tokio::time::sleep;

use crate::fixture::{Service, eventually};
use crate::load::{Load, Sent, Times, recovered, shuffle};
use crate::resident::Held;
use crate::slapd::Slapd;

/// For the `directory` section, with a `server.deadline` of 3 s.
pub const TIMEOUTS: &str = "{connect: 1s, operation: 1s, total: 2500ms}";
pub const CACHE: &str = "  cache: {softTTL: 1s, hardTTL: 3s, negativeTTL: 1s, followedTTL: 20s}";
const HARD_TTL: Duration = Duration::from_secs(3);
/// The deadline of a review, and what a busy machine adds to it.
const ANSWERED_WITHIN: Duration = Duration::from_millis(3000 + 1500);
/// How long everybody may be kept from what they may do when a fault is over,
const BACK_WITHIN: Duration = Duration::from_secs(6);
/// and how long the change feed may be away.
const FED_WITHIN: Duration = Duration::from_secs(12);
/// Longer than the hard life by what shows that it holds.
pub const LASTING: Duration = Duration::from_secs(6);

/// A fault.
pub struct Trial<'a> {
    pub name: &'a str,
    pub slapd: &'a Slapd,
    pub service: &'a Arc<Service>,
    /// Whether the directory can be asked all the time, so that nobody is unknown.
    pub serves: bool,
    /// Whether the change feed is up at its end; `None` where that may be so or so.
    pub feeds: Option<bool>,
    pub lasting: Duration,
}

/// What became of it.
pub struct Outcome {
    name: String,
    sent: Vec<Sent>,
    pub wrong: Vec<String>,
    back: Duration,
    feed: Duration,
    held: Held,
}

pub async fn is_fed(service: &Service) -> bool {
    service.metric("directory_feed_up").await > 0.5
}

impl Trial<'_> {
    /// Lets it happen from `begin` to `end`, with a change in the directory that the service has to do without.
    pub async fn run(&self, begin: impl FnOnce(), end: impl FnOnce()) -> Outcome {
        let load = Load::start(self.service).await;
        // The answers that are under way when it begins may be cut by it.
        sleep(Duration::from_millis(100)).await;
        tokio::task::block_in_place(|| {
            begin();
            shuffle(self.slapd, false);
        });
        let times = Times { shuffled: Instant::now(), hard_ttl: HARD_TTL, serves: self.serves };
        sleep(self.lasting).await;
        let sent = load.end().await;
        let mut wrong: Vec<String> =
            sent.iter().filter_map(|sent| sent.wrong(&times, ANSWERED_WITHIN)).collect();
        let is_up = is_fed(self.service).await;
        if self.feeds.is_some_and(|feeds| feeds != is_up) && self.lasting >= LASTING {
            wrong.push(format!("the change feed is up: {is_up}"));
        }
        let over = Instant::now();
        tokio::task::block_in_place(end);
        let back = recovered(self.service, true).await;
        eventually("the feed is up again", async || is_fed(self.service).await).await;
        let feed = over.elapsed();
        if back > BACK_WITHIN || feed > FED_WITHIN {
            wrong.push(format!("everybody is back after {back:?}, the feed after {feed:?}"));
        }
        tokio::task::block_in_place(|| shuffle(self.slapd, true));
        recovered(self.service, false).await;
        let held = Held::by(self.service.id());
        Outcome { name: self.name.to_owned(), sent, wrong, back, feed, held }
    }
}

impl Outcome {
    pub fn print_head() {
        println!(
            "{:<26} {:>7} {:>6} {:>9} {:>5} {:>8} {:>8} {:>8} {:>6} {:>5} {:>7}",
            "fault",
            "reviews",
            "Allow",
            "NoOpinion",
            "Deny",
            "longest",
            "back",
            "feed",
            "MiB",
            "files",
            "threads"
        );
    }

    pub fn print(&self) {
        let count = |decision| self.sent.iter().filter(|sent| sent.answer.decision == decision).count();
        let longest = self.sent.iter().map(|sent| sent.took).max().unwrap_or_default();
        println!(
            "{:<26} {:>7} {:>6} {:>9} {:>5} {:>8} {:>8} {:>8} {:>6.1} {:>5} {:>7}",
            self.name,
            self.sent.len(),
            count(Decision::Allow),
            count(Decision::NoOpinion),
            count(Decision::Deny),
            format!("{:.1?}", longest),
            format!("{:.1?}", self.back),
            format!("{:.1?}", self.feed),
            self.held.mebibytes(),
            self.held.files,
            self.held.threads,
        );
        for wrong in self.wrong.iter().take(10) {
            println!("    {wrong}");
        }
    }
}
