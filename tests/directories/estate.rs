//! A service that follows a domain controller: asked over HTTPS what somebody may, while the directory changes.

use std::time::{Duration, Instant};

use bailiwick::model::Decision;
use serde_json::Value;
use tokio::time::sleep;

use crate::fixture::{self, Answer, PATIENCE, Service, Site, eventually, policy, spec};
use crate::samba::Samba;

/// The longest that a change may take until it is seen, on a busy machine. What it takes is printed.
const SEEN: Duration = Duration::from_secs(10);
/// How often it is asked whether a change is seen.
const PAUSE: Duration = Duration::from_millis(2);
/// Lives so long that a change is seen by nothing but a feed.
pub const LONG_LIVED: &str = "cache: {softTTL: 10m, hardTTL: 10m, negativeTTL: 10m, followedTTL: 10m}";
pub const ACCOUNTS: &str = "accounts: {notFound: Deny}";

pub struct Estate {
    pub samba: Samba,
    pub site: Site,
    pub service: Service,
}

impl Estate {
    /// A service on this domain controller, as this account, whose change feed is up.
    pub async fn start(samba: Samba, account: &str, ldap: &[&str], more: &[&str], policies: &str) -> Self {
        let section = samba.section(account, ldap, more);
        Self::over(samba, &section, policies).await
    }

    /// The same, with this `directory` section.
    pub async fn over(samba: Samba, section: &str, policies: &str) -> Self {
        let site = Site::new(&[("all.yaml", policies)]);
        site.configure(section);
        let service = Service::start(&site).await;
        let estate = Self { samba, site, service };
        estate.fed(true).await;
        estate
    }

    /// Waits until the change feed is up, or down.
    pub async fn fed(&self, is_up: bool) {
        let expected = if is_up { 1.0 } else { 0.0 };
        let what = format!("`directory_feed_up` is {expected}");
        eventually(&what, async || (self.service.metric("directory_feed_up").await - expected).abs() < 0.5)
            .await;
    }

    pub async fn decides(&self, user: &str, resource: &str) -> Decision {
        self.service.decides(user, "get", resource).await
    }

    /// Waits until a review of this user, asked again and again, is answered so, and says when the first of these was sent
    /// that is.
    pub async fn turns(&self, user: &str, resource: &str, expected: Decision) -> Duration {
        self.turns_with(user, resource, expected, "").await
    }

    /// The same, with a reason that holds these words.
    pub async fn turns_with(&self, user: &str, resource: &str, expected: Decision, reason: &str) -> Duration {
        let changed = Instant::now();
        let mut connection = self.service.connect().await;
        loop {
            let asked = changed.elapsed();
            let answer: Answer =
                fixture::ask(&mut connection, &spec(user, "get", resource), PATIENCE).await.unwrap();
            if answer.decision == expected && answer.reason.contains(reason) {
                return asked;
            }
            assert!(asked < SEEN, "{user} {resource}: {answer:?} after {asked:?}, not {expected:?} {reason}");
            sleep(PAUSE).await;
        }
    }

    /// How many look-ups the directory was asked for, by the cache's count.
    pub async fn loads(&self) -> f64 {
        self.service.metric("facts_cache_requests_total{result=\"miss\"}").await
    }

    /// Whether the facts that a review of this user uses are followed, by its audit line.
    pub async fn is_followed(&self, user: &str) -> bool {
        let lines =
            || self.site.audit().into_iter().filter(|line| line["user"] == user).collect::<Vec<Value>>();
        let before = lines().len();
        let _ = self.decides(user, "pods").await;
        // Lines are written behind the answer.
        eventually("it is audited", async || lines().len() > before).await;
        lines()[before]["facts"]["followed"].as_bool().unwrap()
    }

    /// What `/readyz` says of the change feed.
    pub async fn readiness(&self) -> String {
        let (_, verbose) = self.service.get("/readyz?verbose").await;
        verbose.lines().find(|line| line.contains("change-feed")).unwrap_or_default().to_owned()
    }
}

/// An Allow or a Deny of one resource for the members of a group.
pub fn of_group(name: &str, effect: &str, group: &str, resource: &str) -> String {
    policy(name, effect, &format!("[{{kind: DirectoryGroup, {group}}}]"), &format!("[{resource}]"))
}

/// An Allow of these resources for everyone.
pub fn of_everyone(resources: &[&str]) -> String {
    policy("everyone", "Allow", "[{kind: Everyone}]", &format!("[{}]", resources.join(", ")))
}

/// Prints how long several took.
pub fn show(what: &str, mut taken: Vec<Duration>) {
    taken.sort();
    let at = |part: usize| taken[(taken.len() - 1) * part / 10];
    println!(
        "{what}: min {:.1?}, p50 {:.1?}, p90 {:.1?}, max {:.1?} of {}",
        at(0),
        at(5),
        at(9),
        at(10),
        taken.len()
    );
}
