//! A company, clients that ask for its people without end, and what may be answered.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bailiwick::model::Decision::{self, Allow, Deny, NoOpinion};
use serde_json::Value;

use crate::fixture::{
    self, Answer, BY_SUSPENDED, PATIENCE, Service, eventually, group, group_dn, person, spec, user_dn,
};
use crate::slapd::Slapd;

const RESOURCES: [&str; 3] = ["pods", "secrets", "configmaps"];
/// Who is asked for again and again.
const REGULARS: usize = 20;
/// Who is asked for when nothing is held of them.
const STRANGERS: usize = 300;
/// Who leaves the readers, and who is suspended, when a fault begins.
pub const LEAVER: &str = "leaver";
pub const JOINER: &str = "joiner";
const PAUSE: Duration = Duration::from_millis(15);

/// What somebody is: `reader`, `lead` (a reader by a group of readers), `suspended` (a reader too), `plain`, or, by the
/// number in the name, one of the first two or the last.
fn role(user: &str) -> &str {
    match user.split_once('-') {
        Some(("stranger", number)) => ["reader", "lead", "plain"][number.parse::<usize>().unwrap() % 3],
        Some((role, _)) => role,
        None => user,
    }
}

fn regular(number: usize) -> String {
    format!("{}-{number}", ["reader", "lead", "suspended", "plain"][number % 4])
}

fn stranger(number: usize) -> String {
    format!("stranger-{}", number % STRANGERS)
}

/// The people and groups, for a slapd.
pub fn company() -> String {
    let people: Vec<String> = (0..REGULARS)
        .map(regular)
        .chain((0..STRANGERS).map(stranger))
        .chain([LEAVER.to_owned(), JOINER.to_owned()])
        .collect();
    let members = |of: &dyn Fn(&str) -> bool| -> Vec<String> {
        people.iter().filter(|user| of(role(user))).map(|user| user_dn(user)).collect()
    };
    let mut readers = members(&|role| matches!(role, "reader" | "suspended" | LEAVER | JOINER));
    readers.push(group_dn("leads"));
    let text: String = people.iter().map(|user| person(user)).collect();
    text + &group("readers", &readers)
        + &group("leads", &members(&|role| role == "lead"))
        + &group("suspended", &members(&|role| role == "suspended"))
}

/// The leaver leaves, and the joiner is suspended; or the contrary.
pub fn shuffle(slapd: &Slapd, back: bool) {
    let (leaves, joins) = if back { ("add", "delete") } else { ("delete", "add") };
    let change = |group: &str, what: &str, user: &str| {
        let (group, user) = (group_dn(group), user_dn(user));
        format!("dn: {group}\nchangetype: modify\n{what}: member\nmember: {user}\n\n")
    };
    slapd.modify(&(change("readers", leaves, LEAVER) + &change("suspended", joins, JOINER)));
}

/// What is answered while the directory works, before or after the leaver left and the joiner was suspended.
fn expected(user: &str, resource: &str, shuffled: bool) -> Decision {
    let role = role(user);
    let is_suspended = role == "suspended" || (role == JOINER && shuffled);
    let reads = match role {
        "reader" | "lead" | "suspended" | JOINER => true,
        LEAVER => !shuffled,
        _ => false,
    };
    match resource {
        "configmaps" => Allow,
        "secrets" if is_suspended => Deny,
        _ if reads => Allow,
        _ => NoOpinion,
    }
}

/// What is answered where nothing is known of anybody.
fn unknown(resource: &str) -> Decision {
    match resource {
        "configmaps" => Allow,
        "secrets" => Deny,
        _ => NoOpinion,
    }
}

/// A review that was answered.
#[derive(Debug, Clone)]
pub struct Sent {
    pub user: String,
    pub resource: &'static str,
    pub at: Instant,
    pub took: Duration,
    pub answer: Answer,
}

/// When things happened, for what may be answered.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// When the leaver had left and the joiner was suspended; from `hard_ttl` later that is what holds.
    pub shuffled: Instant,
    pub hard_ttl: Duration,
    /// Whether the directory can be asked all the time, so that nobody is unknown.
    pub serves: bool,
}

impl Sent {
    /// What is wrong with the answer; `None` where it may be given.
    pub fn wrong(&self, times: &Times, within: Duration) -> Option<String> {
        let (user, resource, decision) = (self.user.as_str(), self.resource, self.answer.decision);
        let before = expected(user, resource, false);
        let after = expected(user, resource, true);
        let mut may_be = vec![after];
        if self.at <= times.shuffled + times.hard_ttl {
            may_be.push(before);
        }
        if !times.serves || before != after {
            may_be.push(unknown(resource));
        }
        let since = self.at.saturating_duration_since(times.shuffled);
        if !may_be.contains(&decision) {
            return Some(format!("not one of {may_be:?}, {since:.1?} after the change: {self:?}"));
        }
        (self.took > within).then(|| format!("too late: {self:?}"))
    }
}

/// Clients that ask one review after the other until they are stopped.
pub struct Load {
    sent: Arc<Mutex<Vec<Sent>>>,
    stop: Arc<AtomicBool>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

/// Whom a client asks for.
#[derive(Clone, Copy)]
enum Asks {
    /// People of whom something is held.
    Regulars,
    /// People of whom nothing is held.
    Strangers,
    /// People whom the directory does not know.
    Ghosts,
    /// The leaver and the joiner.
    Changing,
}

impl Asks {
    fn user(self, number: usize) -> String {
        match self {
            Self::Regulars => regular(number % REGULARS),
            Self::Strangers => stranger(number),
            Self::Ghosts => format!("ghost-{}", number % STRANGERS),
            Self::Changing => [LEAVER, JOINER][number % 2].to_owned(),
        }
    }

    /// Strangers are asked for once each, so that they are no strangers to the next question.
    fn resource(self, number: usize) -> &'static str {
        RESOURCES[(number / 2) % if matches!(self, Self::Changing | Self::Strangers) { 2 } else { 3 }]
    }
}

impl Load {
    pub async fn start(service: &Arc<Service>) -> Self {
        let (sent, stop) = (Arc::<Mutex<Vec<Sent>>>::default(), Arc::<AtomicBool>::default());
        let mut clients = Vec::new();
        // So that strangers of one client are not those of another, nor those of the load before.
        static LAST: AtomicUsize = AtomicUsize::new(0);
        for asks in
            [Asks::Regulars, Asks::Regulars, Asks::Strangers, Asks::Strangers, Asks::Ghosts, Asks::Changing]
        {
            let mut connection = service.connect().await;
            let (service, sent, stop) = (Arc::clone(service), Arc::clone(&sent), Arc::clone(&stop));
            clients.push(tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let number = LAST.fetch_add(1, Ordering::SeqCst);
                    let (user, resource) = (asks.user(number), asks.resource(number));
                    if matches!(asks, Asks::Strangers) {
                        let (status, said) = service.post(&format!("/purge?user={user}"), &Value::Null).await;
                        assert_eq!(status, 200, "{said}");
                    }
                    let at = Instant::now();
                    let answer =
                        fixture::ask(&mut connection, &spec(&user, "get", resource), PATIENCE).await.unwrap();
                    let took = at.elapsed();
                    sent.lock().unwrap().push(Sent { user, resource, at, took, answer });
                    tokio::time::sleep(PAUSE).await;
                }
            }));
        }
        Self { sent, stop, clients }
    }

    pub async fn end(self) -> Vec<Sent> {
        self.stop.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.await.unwrap();
        }
        Arc::into_inner(self.sent).unwrap().into_inner().unwrap()
    }
}

/// Waits until everybody is answered for as while the directory works; how long that took.
pub async fn recovered(service: &Service, shuffled: bool) -> Duration {
    let since = Instant::now();
    let everybody: Vec<String> = (0..REGULARS)
        .map(regular)
        .chain((0..6).map(stranger))
        .chain([LEAVER.to_owned(), JOINER.to_owned(), "ghost-1".to_owned()])
        .collect();
    let mut connection = service.connect().await;
    let mut left: Vec<(&str, &str)> = everybody
        .iter()
        .flat_map(|user| ["pods", "secrets"].map(|resource| (user.as_str(), resource)))
        .collect();
    eventually("everybody is answered for as before", async || {
        let mut wrong = Vec::new();
        for (user, resource) in &left {
            let answer = fixture::ask(&mut connection, &spec(user, "get", resource), PATIENCE).await.unwrap();
            let is_by_policy = answer.decision != Deny || answer.reason == BY_SUSPENDED;
            if answer.decision != expected(user, resource, shuffled) || !is_by_policy {
                wrong.push((*user, *resource));
            }
        }
        left = wrong;
        left.is_empty()
    })
    .await;
    since.elapsed()
}
