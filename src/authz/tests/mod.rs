//! The directory's client, the cache and the service together, over servers in this process: what is answered after the
//! directory changed, whatever else happens at that moment.

mod cost;
mod joining;
mod lagging;
mod model;
mod names;
mod races;
mod spans;
mod subtrees;

use std::collections::BTreeSet;
use std::sync::PoisonError;

use super::*;
use crate::cache;
use crate::directory::persona::Persona;
use crate::directory::{self, FeedStatus};
use crate::document::Source;
use crate::model::{Action, Person, ResourceAction, Subject};
use crate::policy;
use crate::store;

/// What nothing here takes, unless it hangs.
const TOO_LONG: Duration = Duration::from_secs(20);

/// A service over a directory. Facts live for hours, so that what is given up is given up because of a change.
struct Scene {
    directory: Arc<Directory>,
    authorizer: Arc<Authorizer>,
    metrics: Metrics,
    store: Arc<Store<PolicySet>>,
    age: Arc<Mutex<Duration>>,
    folder: tempfile::TempDir,
}

impl Scene {
    /// A service with these policies over these servers, whose feed is up.
    async fn start(
        servers: &[&Persona],
        policies: &str,
        change: impl FnOnce(&mut directory::Settings),
    ) -> Self {
        let it = Self::begin(servers, policies, change);
        it.until("the feed is up", |feed| feed.is_up).await;
        assert!(it.authorizer.settled(TOO_LONG).await);
        it
    }

    /// The same, whether its feed ever comes up or not.
    fn begin(servers: &[&Persona], policies: &str, change: impl FnOnce(&mut directory::Settings)) -> Self {
        let (mut settings, folder) = Persona::settings(servers);
        settings.poll_interval = Duration::from_millis(100);
        change(&mut settings);
        let (metrics, handle, timeout) =
            (Metrics::new().unwrap(), Handle::current(), settings.timeouts.total);
        let directory = Directory::new(settings, &metrics, handle.clone()).unwrap();
        let hours = |hours: u64| Duration::from_secs(hours * 3_600);
        let lives = cache::Settings {
            soft_ttl: hours(1),
            hard_ttl: hours(2),
            negative_ttl: hours(1),
            followed_ttl: hours(3),
            load_timeout: TOO_LONG,
            ..cache::Settings::default()
        };
        let age = Arc::<Mutex<Duration>>::default();
        let reading = Arc::clone(&age);
        // As old as the test says, and as real time besides: the feed has the clock of the system.
        let clock: cache::Clock =
            Arc::new(move || Instant::now() + *reading.lock().unwrap_or_else(PoisonError::into_inner));
        let facts = FactsCache::with_clock(lives, &metrics, handle.clone(), clock);
        let path = folder.path().join("policies.yaml");
        std::fs::write(&path, policies).unwrap();
        let files = store::Settings { paths: vec![path], reload_interval: hours(1) };
        let compile: store::Compile<PolicySet> =
            Arc::new(|sources: &[Source]| PolicySet::build(sources, &policy::Settings::default()));
        let store = Store::open(files, compile, &metrics, handle.clone())
            .unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
        let people = People {
            directory: Arc::clone(&directory),
            usernames: Usernames::default(),
            cache: facts,
            timeout,
        };
        let authorizer = Authorizer::start(Parts {
            store: Arc::clone(&store),
            people: Some(people),
            settings: eval::Settings::default(),
            deadline: TOO_LONG,
            metrics: metrics.clone(),
            audit: Audit::off(),
            clock: Arc::new(Timestamp::now),
            handle,
        });
        Self { directory, authorizer, metrics, store, age, folder }
    }

    fn cache(&self) -> &FactsCache<Prepared> {
        &self.authorizer.people.as_ref().unwrap().cache
    }

    /// Waits until the feed is so.
    async fn until(&self, what: &str, is_so: impl Fn(&FeedStatus) -> bool) {
        eventually(what, || is_so(&self.directory.feed())).await;
    }

    /// Lets everything that is held grow older.
    fn grow_old(&self, by: Duration) {
        *self.age.lock().unwrap() += by;
    }

    /// Asks as a review does, and loads where nothing good is held.
    async fn read(&self, user: &str) -> Option<Arc<Facts>> {
        let request = request(user, "pods");
        let bound = self.authorizer.bound.load_full();
        match self.authorizer.facts(&bound, &request, Instant::now() + TOO_LONG).await {
            Held::Current(entry, _) => Some(Arc::clone(&entry.facts)),
            Held::Stale(..) | Held::Unreachable | Held::Outside => None,
        }
    }

    /// What would be answered from, without asking the directory.
    fn held(&self, user: &str) -> Option<Arc<Facts>> {
        match self.cache().peek(user) {
            Lookup::Fresh(entry) => Some(Arc::clone(&entry.facts)),
            Lookup::Stale(..) | Lookup::Failed(_) => None,
        }
    }

    /// Waits until what is held of a user is no longer good.
    async fn given_up(&self, user: &str) {
        eventually(&format!("{user} is given up"), || self.held(user).is_none()).await;
    }

    async fn decides(&self, user: &str, resource: &str) -> Decision {
        match self.authorizer.review(request(user, resource), None).await.outcome {
            Outcome::Decided(decision) => decision,
            Outcome::Unavailable => panic!("no decision"),
        }
    }

    /// Waits until the next review is answered so.
    async fn turns_to(&self, user: &str, resource: &str, expected: Decision) {
        let end = Instant::now() + TOO_LONG;
        loop {
            let decision = self.decides(user, resource).await;
            if decision == expected {
                return;
            }
            assert!(Instant::now() < end, "{user} {resource} is {decision:?} and not {expected:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Waits until something is so.
async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + TOO_LONG;
    while !is_so() {
        assert!(Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn request(user: &str, resource: &str) -> Request {
    let action = ResourceAction {
        verb: "get".to_owned(),
        version: "v1".to_owned(),
        resource: resource.to_owned(),
        namespace: "default".to_owned(),
        ..ResourceAction::default()
    };
    let subject = Subject { user: user.to_owned(), ..Subject::default() };
    Request { subject, action: Action::Resource(action) }
}

/// A policy for the members of a group; its name is that of the group and of what it is about.
fn policy(effect: &str, group: &str, resource: &str) -> String {
    let name = format!("{}-{group}-{resource}", effect.to_lowercase());
    format!(
        "---\napiVersion: bailiwick.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {{name: {name}}}\nspec:\n  effect: {effect}\n  \
         subjects: [{{kind: DirectoryGroup, name: {group}}}]\n  \
         rules: [{{apiGroups: [\"\"], resources: [{resource}], verbs: [get]}}]\n"
    )
}

/// The names of the groups that somebody is in.
fn names(facts: &Facts) -> BTreeSet<&str> {
    facts.groups.iter().map(|membership| &*membership.group.name).collect()
}
