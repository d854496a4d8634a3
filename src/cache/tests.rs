//! The cache under concurrency. Loads wait at gates that the tests open; nothing here sleeps.

mod invalidation;
mod look;

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::*;
use crate::model::{Dn, Group, GroupMembership, Partial, Values};
use jiff::Timestamp;

/// A directory whose answers wait at a gate, and the clock that entries age by.
pub(super) struct Fixture {
    pub(super) cache: FactsCache<()>,
    metrics: Metrics,
    age: Arc<Mutex<Duration>>,
    directory: Arc<Fake>,
}

/// What the loads resolve from.
struct Fake {
    /// A permit lets one answer through.
    gate: Semaphore,
    /// A permit for each load that has begun to read.
    reading: Semaphore,
    loads: AtomicUsize,
    answer: Mutex<Result<Facts, String>>,
}

impl Fake {
    async fn resolve(self: Arc<Self>) -> Result<Facts, String> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        let answer = self.answer.lock().unwrap().clone();
        self.reading.add_permits(1);
        self.gate.acquire().await.unwrap().forget();
        answer
    }
}

/// Alice, in these groups.
pub(super) fn person(groups: &[&str]) -> Facts {
    let dn = Dn::parse("uid=alice,dc=example").unwrap();
    let found = Person::Found { id: EntityId::new("alice-id"), dn };
    let membership = |id: &&str| {
        let group = Group { id: EntityId::new(id), sid: None, dn: None, name: (*id).into() };
        GroupMembership { group: Arc::new(group), via: None }
    };
    let groups = groups.iter().map(membership).collect();
    let names = vec![Trigger::named("alice"), Trigger::listed("uid=alice,dc=example")];
    Facts { groups, names, ..Facts::without_entry(found, Timestamp::UNIX_EPOCH) }
}

pub(super) fn entity(id: &str) -> Trigger {
    Trigger::entity(&EntityId::new(id))
}

pub(super) fn nobody() -> Facts {
    Facts::without_entry(Person::NotFound, Timestamp::UNIX_EPOCH)
}

fn fixture_with(settings: Settings) -> Fixture {
    let metrics = Metrics::new().unwrap();
    let start = Instant::now();
    let age = Arc::new(Mutex::new(Duration::ZERO));
    let reading = Arc::clone(&age);
    let clock: Clock = Arc::new(move || start + *reading.lock().unwrap());
    let cache = FactsCache::with_clock(settings, &metrics, Handle::current(), clock);
    let directory = Arc::new(Fake {
        gate: Semaphore::new(0),
        reading: Semaphore::new(0),
        loads: AtomicUsize::new(0),
        answer: Mutex::new(Ok(person(&["g1"]))),
    });
    Fixture { cache, metrics, age, directory }
}

pub(super) fn fixture() -> Fixture {
    fixture_with(Settings { load_timeout: Duration::from_secs(60), ..Settings::default() })
}

/// What nothing here takes, unless it hangs.
const TOO_LONG: Duration = Duration::from_secs(20);

fn patient() -> Instant {
    Instant::now() + TOO_LONG
}

impl Fixture {
    async fn get_until(&self, user: &str, deadline: Instant) -> Lookup<()> {
        let directory = Arc::clone(&self.directory);
        self.cache.get(user, || move |_| Arc::clone(&directory).resolve(), deadline).await
    }

    pub(super) async fn get(&self, user: &str) -> Lookup<()> {
        self.get_until(user, patient()).await
    }

    /// A `get` that runs beside the test.
    fn spawn_get(&self, user: &str) -> tokio::task::JoinHandle<Lookup<()>> {
        let (cache, directory, user) = (self.cache.clone(), Arc::clone(&self.directory), user.to_owned());
        tokio::spawn(async move {
            cache.get(&user, || move |_| Arc::clone(&directory).resolve(), patient()).await
        })
    }

    pub(super) fn open_gate(&self, answers: usize) {
        self.directory.gate.add_permits(answers);
    }

    /// Waits until a load, one that no call of this waited for before, has begun to read.
    async fn reading(&self) {
        let begun = self.directory.reading.acquire();
        tokio::time::timeout(TOO_LONG, begun).await.expect("no load began").unwrap().forget();
    }

    /// Waits until no load is in flight.
    pub(super) async fn settled(&self) {
        let begun = Instant::now();
        while self.cache.shared.loads().in_flight() > 0 {
            assert!(begun.elapsed() < TOO_LONG, "a load does not end");
            tokio::task::yield_now().await;
        }
    }

    pub(super) fn answer(&self, answer: Result<Facts, &str>) {
        *self.directory.answer.lock().unwrap() = answer.map_err(str::to_owned);
    }

    /// What the cache's clock shows.
    pub(super) fn now(&self) -> Instant {
        (self.cache.shared.clock)()
    }

    pub(super) fn grow_old(&self, by: Duration) {
        *self.age.lock().unwrap() += by;
    }

    pub(super) fn loads(&self) -> usize {
        self.directory.loads.load(Ordering::SeqCst)
    }

    fn counted(&self, result: &str) -> u64 {
        self.metrics.cache_requests.with_label_values(&[result]).get()
    }
}

#[track_caller]
fn fresh(lookup: Lookup<()>) -> Arc<Entry<()>> {
    match lookup {
        Lookup::Fresh(entry) => entry,
        other => panic!("not fresh: {other:?}"),
    }
}

#[track_caller]
fn stale(lookup: Lookup<()>) -> Why {
    match lookup {
        Lookup::Stale(_, why) => why,
        other => panic!("not stale: {other:?}"),
    }
}

#[track_caller]
fn failed(lookup: Lookup<()>) -> Why {
    match lookup {
        Lookup::Failed(why) => why,
        other => panic!("not failed: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_gets_of_one_cold_user_are_one_load() {
    let it = fixture();
    let gets: Vec<_> = (0..1_000).map(|_| it.spawn_get("alice")).collect();
    it.reading().await;
    it.open_gate(1_000);
    for get in gets {
        fresh(get.await.unwrap());
    }
    assert_eq!(it.loads(), 1);
    assert_eq!(it.counted("miss"), 1);
    assert_eq!(it.counted("coalesced") + it.counted("hit"), 999);
}

#[tokio::test]
async fn user_names_are_compared_byte_for_byte() {
    let it = fixture();
    it.open_gate(2);
    fresh(it.get("alice").await);
    fresh(it.get("Alice").await);
    assert_eq!(it.loads(), 2);
}

#[tokio::test]
async fn a_load_outlives_the_caller_that_began_it() {
    let it = fixture();
    let first = it.spawn_get("alice");
    it.reading().await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let second = it.spawn_get("alice");
    it.open_gate(1);
    fresh(second.await.unwrap());
    assert_eq!(it.loads(), 1);
}

#[tokio::test]
async fn a_caller_out_of_time_is_told_so_and_the_load_fills_the_cache() {
    let it = fixture();
    assert_eq!(failed(it.get_until("alice", Instant::now()).await), Why::Late);
    it.open_gate(1);
    it.settled().await;
    fresh(it.get_until("alice", Instant::now()).await);
    assert_eq!(it.loads(), 1);
}

#[tokio::test]
async fn a_load_that_never_answers_ends_at_its_own_deadline() {
    let it = fixture_with(Settings { load_timeout: Duration::from_millis(5), ..Settings::default() });
    assert_eq!(failed(it.get("alice").await), Why::Late);
    assert_eq!(it.cache.shared.loads().in_flight(), 0);
}

#[tokio::test]
async fn a_load_that_panics_fails_its_waiters_and_nothing_else() {
    let it = fixture();
    let load = |_| async { if true { panic!("on purpose") } else { Ok::<_, String>(nobody()) } };
    assert_eq!(failed(it.cache.get("alice", || load, patient()).await), Why::Aborted);
    it.grow_old(loads::BACK_OFF);
    it.open_gate(1);
    fresh(it.get("alice").await);
}

#[tokio::test]
async fn a_runtime_that_is_gone_fails_the_look_up() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let gone = runtime.handle().clone();
    runtime.shutdown_background();
    let cache = FactsCache::<()>::new(Settings::default(), &Metrics::new().unwrap(), gone);
    let lookup = cache.get("alice", || |_| async { Ok::<_, String>(nobody()) }, patient()).await;
    assert_eq!(failed(lookup), Why::Aborted);
}

#[tokio::test]
async fn a_failed_load_leaves_nothing_but_a_pause() {
    let it = fixture();
    it.answer(Err("connection refused"));
    it.open_gate(2);
    assert_eq!(failed(it.get("alice").await), Why::Load("connection refused".into()));
    assert_eq!(failed(it.get("alice").await), Why::BackingOff("connection refused".into()));
    assert!(matches!(it.cache.peek("alice"), Lookup::Failed(Why::NotHeld)));
    assert_eq!(it.loads(), 1);
    it.grow_old(loads::BACK_OFF);
    it.answer(Ok(person(&[])));
    fresh(it.get("alice").await);
    assert_eq!(it.loads(), 2);
}

#[tokio::test]
async fn past_its_soft_life_an_entry_answers_at_once_and_is_refreshed_once() {
    let it = fixture();
    it.open_gate(1);
    let old = fresh(it.get("alice").await);
    it.grow_old(Duration::from_secs(61));
    for _ in 0..100 {
        assert!(Arc::ptr_eq(&old, &fresh(it.get_until("alice", Instant::now()).await)));
    }
    it.open_gate(1);
    it.settled().await;
    assert!(!Arc::ptr_eq(&old, &fresh(it.get("alice").await)));
    assert_eq!(it.loads(), 2);
    assert_eq!(it.counted("hit"), 101);
}

#[tokio::test]
async fn past_its_hard_life_an_entry_is_loaded_again_and_awaited() {
    let it = fixture();
    it.open_gate(2);
    let old = fresh(it.get("alice").await);
    it.grow_old(Duration::from_secs(300));
    assert!(!Arc::ptr_eq(&old, &fresh(it.get("alice").await)));
}

#[tokio::test]
async fn past_its_hard_life_and_with_no_answer_an_entry_is_stale() {
    let it = fixture();
    it.open_gate(1);
    fresh(it.get("alice").await);
    it.grow_old(Duration::from_secs(300));
    it.answer(Err("down"));
    assert_eq!(stale(it.get_until("alice", Instant::now()).await), Why::Late);
    it.open_gate(1);
    it.settled().await;
    assert_eq!(stale(it.get("alice").await), Why::BackingOff("down".into()));
    assert!(matches!(it.cache.peek("alice"), Lookup::Stale(_, Why::Expired)));
    assert_eq!(it.counted("stale"), 2);
    it.grow_old(LAST_KNOWN);
    it.open_gate(1);
    assert_eq!(failed(it.get("alice").await), Why::Load("down".into()));
}

#[tokio::test]
async fn a_failing_refresh_is_paused_and_the_entry_lives_on() {
    let it = fixture();
    it.open_gate(1);
    fresh(it.get("alice").await);
    it.grow_old(Duration::from_secs(61));
    it.answer(Err("down"));
    it.open_gate(1);
    fresh(it.get("alice").await);
    it.settled().await;
    fresh(it.get("alice").await);
    assert_eq!(it.loads(), 2);
}

#[tokio::test]
async fn strangers_do_not_push_out_people() {
    let it = fixture_with(Settings {
        max_entries: 10,
        load_timeout: Duration::from_secs(60),
        ..Settings::default()
    });
    it.open_gate(20_001);
    let alice = fresh(it.get("alice").await);
    it.answer(Ok(nobody()));
    for number in 0..20_000 {
        fresh(it.get(&format!("stranger-{number}")).await);
    }
    it.cache.shared.strangers.run_pending_tasks();
    assert!(it.cache.shared.strangers.entry_count() <= MAX_NEGATIVE_ENTRIES);
    assert!(Arc::ptr_eq(&alice, &fresh(it.get("alice").await)));
}

#[tokio::test]
async fn a_full_cache_admits_newcomers_and_stays_bounded() {
    let it = fixture_with(Settings {
        max_entries: 10,
        load_timeout: Duration::from_secs(60),
        ..Settings::default()
    });
    it.open_gate(100);
    for number in 0..100 {
        let user = format!("user-{number}");
        fresh(it.get(&user).await);
        it.cache.shared.people.run_pending_tasks();
        assert!(matches!(it.cache.peek(&user), Lookup::Fresh(_)), "{user}");
    }
    assert_eq!(it.cache.shared.people.entry_count(), 10);
    assert!(it.metrics.cache_entries.get() <= 11);
}

#[tokio::test]
async fn a_stranger_and_partial_facts_live_no_longer_than_the_negative_life() {
    let ambiguous = Facts::without_entry(Person::Ambiguous, Timestamp::UNIX_EPOCH);
    let partial = Facts { partial: Some(Partial::Depth), ..person(&[]) };
    for facts in [nobody(), ambiguous, partial] {
        let it = fixture();
        it.answer(Ok(facts.clone()));
        it.open_gate(2);
        fresh(it.get("alice").await);
        it.grow_old(Duration::from_secs(29));
        fresh(it.get("alice").await);
        assert_eq!(it.loads(), 1, "{facts:?}");
        it.grow_old(Duration::from_secs(1));
        fresh(it.get("alice").await);
        assert_eq!(it.loads(), 2, "{facts:?}");
    }
}

#[tokio::test]
async fn a_user_is_held_either_as_a_person_or_as_a_stranger() {
    let it = fixture();
    it.open_gate(3);
    for facts in [person(&[]), nobody(), person(&[])] {
        it.answer(Ok(facts.clone()));
        it.cache.invalidate_user("alice");
        assert_eq!(fresh(it.get("alice").await).facts.person, facts.person);
        assert_eq!(fresh(it.get("alice").await).facts.person, facts.person);
    }
    assert_eq!((it.counted("hit"), it.counted("negative"), it.counted("miss")), (2, 1, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_more_loads_run_or_wait_than_the_bounds_say() {
    let it = fixture();
    let most = loads::MAX_LOADS + loads::MAX_WAITING_LOADS;
    let mut gets = JoinSet::new();
    for number in 0..most {
        let (cache, directory) = (it.cache.clone(), Arc::clone(&it.directory));
        gets.spawn(async move {
            let load = move |_| Arc::clone(&directory).resolve();
            cache.get(&format!("user-{number}"), || load, patient()).await
        });
    }
    let begun = Instant::now();
    while it.cache.shared.loads().in_flight() < most {
        assert!(begun.elapsed() < TOO_LONG, "not all loads begin");
        tokio::task::yield_now().await;
    }
    for _ in 0..loads::MAX_LOADS {
        it.reading().await;
    }
    assert_eq!(failed(it.get("one-too-many").await), Why::Overloaded);
    assert_eq!(it.loads(), loads::MAX_LOADS);
    it.open_gate(most);
    while let Some(lookup) = gets.join_next().await {
        fresh(lookup.unwrap());
    }
    it.open_gate(1);
    fresh(it.get("one-too-many").await);
}

#[tokio::test]
async fn whoever_is_waited_for_does_not_stand_behind_refreshes() {
    let it = fixture();
    let many = loads::MAX_REFRESHES * 3;
    it.open_gate(many);
    for number in 0..many {
        fresh(it.get(&format!("user-{number}")).await);
        it.reading().await;
    }
    it.grow_old(Duration::from_secs(61));
    for number in 0..many {
        fresh(it.get(&format!("user-{number}")).await);
    }
    for _ in 0..loads::MAX_REFRESHES {
        it.reading().await;
    }
    let newcomer = it.spawn_get("newcomer");
    it.reading().await;
    assert_eq!(it.loads(), many + loads::MAX_REFRESHES + 1, "no other refresh began");
    it.open_gate(loads::MAX_REFRESHES + 1);
    fresh(newcomer.await.unwrap());
}

/// Readers and writers at once: after a change has been announced, nobody sees what was before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_reader_ever_sees_facts_older_than_an_announced_change() {
    let it = fixture_with(Settings { soft_ttl: Duration::ZERO, ..Settings::default() });
    let version = Arc::new(AtomicUsize::new(0));
    let announced = Arc::new(AtomicUsize::new(0));
    let mut readers = JoinSet::new();
    for _ in 0..4 {
        let (cache, version, announced) = (it.cache.clone(), Arc::clone(&version), Arc::clone(&announced));
        readers.spawn(async move {
            while announced.load(Ordering::SeqCst) < 2_000 {
                let floor = announced.load(Ordering::SeqCst);
                let version = Arc::clone(&version);
                let load = move |_| {
                    let version = Arc::clone(&version);
                    async move {
                        let read = version.load(Ordering::SeqCst);
                        tokio::task::yield_now().await;
                        let attributes =
                            [("version", Values::Known(vec![read.to_string()].into()))].into_iter().collect();
                        Ok::<_, String>(Facts { attributes, ..person(&["g1"]) })
                    }
                };
                if let Lookup::Fresh(entry) = cache.get("alice", || load, patient()).await {
                    let seen: usize =
                        entry.facts.attributes.get("version").unwrap().known().unwrap()[0].parse().unwrap();
                    assert!(seen >= floor, "saw {seen} after {floor} was announced");
                }
            }
        });
    }
    for number in 1..=2_000 {
        version.store(number, Ordering::SeqCst);
        invalidation::INVALIDATIONS[number % 3].1(&it.cache);
        announced.store(number, Ordering::SeqCst);
        tokio::task::yield_now().await;
    }
    while let Some(reader) = readers.join_next().await {
        reader.unwrap();
    }
}
