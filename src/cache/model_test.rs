//! The cache against the plainest cache that could be: any order of look-ups, failures, ageing and invalidations.

use std::collections::HashMap;

use proptest::prelude::*;

use super::tests::{Fixture, entity, fixture, nobody, person};
use super::*;

/// Users whose facts touch entity `g0` or `g1`, and one who is a stranger.
const USERS: [&str; 3] = ["u0", "u1", "stranger"];
/// The user whose facts the change feed follows.
const FOLLOWED: usize = 1;
const STRANGER: usize = 2;

#[derive(Debug, Clone)]
enum Step {
    /// A look-up of this user, whose load, if there is one, succeeds or fails.
    Get(usize, bool),
    GrowOld(u64),
    InvalidateUser(usize),
    InvalidateEntity(usize),
    InvalidateAll,
    /// The change feed has told of everything so far.
    Confirm,
    /// The change feed may have missed something.
    Interrupt,
}

/// What is known of one user, with times in seconds.
#[derive(Default, Clone)]
struct Naive {
    read: Option<u64>,
    valid: bool,
    failed: Option<u64>,
}

/// The time, and the spans over which the feed told of everything; the last may be open.
#[derive(Default)]
struct World {
    now: u64,
    spans: Vec<(u64, u64)>,
    open: bool,
    interrupted: Option<u64>,
}

#[derive(Debug, PartialEq)]
enum Answer {
    Fresh,
    Stale,
    Failed,
}

impl World {
    /// How old facts count as that were read then and are followed by the feed, and whether they are due for a refresh.
    fn age(&self, read: u64) -> (u64, bool) {
        for (number, &(since, until)) in self.spans.iter().enumerate().rev().take(4) {
            let gapless = self.open && number + 1 == self.spans.len();
            if since <= read && (gapless || read <= until) {
                return (self.now - until.max(read), !gapless || self.now - read >= 600);
            }
            if since <= read {
                break;
            }
        }
        (self.now - read, self.has_missed(read))
    }

    fn has_missed(&self, read: u64) -> bool {
        self.interrupted.is_some_and(|interrupted| read <= interrupted)
    }
}

impl Naive {
    /// The answer, and whether the directory is asked.
    fn get(&mut self, world: &World, kind: usize, succeeds: bool) -> (Answer, bool) {
        let read = self.read.filter(|read| world.now - read <= 86_400);
        let (soft, hard) = if kind == STRANGER { (30, 30) } else { (60, 300) };
        let age = read.map(|read| match kind {
            FOLLOWED => world.age(read),
            STRANGER => (world.now - read, false),
            _ => (world.now - read, world.has_missed(read)),
        });
        if self.valid && age.is_some_and(|(age, due)| age < soft && !due) {
            return (Answer::Fresh, false);
        }
        let usable = self.valid && age.is_some_and(|(age, _)| age < hard);
        let asks = self.failed.is_none_or(|failed| world.now - failed >= 1);
        let answer = match (usable || (asks && succeeds), age) {
            (true, _) => Answer::Fresh,
            (false, Some(_)) => Answer::Stale,
            (false, None) => Answer::Failed,
        };
        if asks && succeeds {
            *self = Self { read: Some(world.now), valid: true, failed: None };
        } else if asks {
            self.failed = Some(world.now);
        }
        (answer, asks)
    }
}

fn step() -> impl Strategy<Value = Step> {
    let user = 0..USERS.len();
    prop_oneof![
        8 => (user.clone(), any::<bool>()).prop_map(|(user, succeeds)| Step::Get(user, succeeds)),
        4 => prop_oneof![Just(1), Just(29), Just(31), Just(120), Just(299), Just(90_000)].prop_map(Step::GrowOld),
        1 => user.prop_map(Step::InvalidateUser),
        1 => (0..3_usize).prop_map(Step::InvalidateEntity),
        1 => Just(Step::InvalidateAll),
        3 => Just(Step::Confirm),
        1 => Just(Step::Interrupt),
    ]
}

async fn answer(it: &Fixture, user: usize, succeeds: bool) -> Answer {
    let facts = if user == STRANGER { nobody() } else { person(&[&format!("g{user}")]) };
    it.answer(if succeeds { Ok(Facts { followed: user == FOLLOWED, ..facts }) } else { Err("down") });
    let lookup = it.get(USERS[user]).await;
    it.settled().await;
    match lookup {
        Lookup::Fresh(_) => Answer::Fresh,
        Lookup::Stale(..) => Answer::Stale,
        Lookup::Failed(_) => Answer::Failed,
    }
}

async fn compare(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let it = fixture();
    it.open_gate(steps.len());
    let mut model: HashMap<usize, Naive> = (0..USERS.len()).map(|user| (user, Naive::default())).collect();
    let (mut world, mut asked) = (World::default(), 0);
    for step in steps {
        match step {
            Step::Get(user, succeeds) => {
                let (expected, asks) = model.get_mut(&user).unwrap().get(&world, user, succeeds);
                asked += usize::from(asks);
                prop_assert_eq!(answer(&it, user, succeeds).await, expected);
                prop_assert_eq!(it.loads(), asked);
            }
            Step::GrowOld(seconds) => {
                it.grow_old(Duration::from_secs(seconds));
                world.now += seconds;
            }
            Step::InvalidateUser(user) => {
                it.cache.invalidate_user(USERS[user]);
                model.get_mut(&user).unwrap().valid = false;
            }
            Step::InvalidateEntity(number) => {
                it.cache.invalidate([entity(&format!("g{number}"))]);
                if number < 2 {
                    model.get_mut(&number).unwrap().valid = false;
                }
            }
            Step::InvalidateAll => {
                it.cache.invalidate_all();
                model.values_mut().for_each(|naive| naive.valid = false);
            }
            Step::Confirm => {
                it.cache.confirm(it.now(), it.now());
                match world.spans.last_mut().filter(|_| world.open) {
                    Some((_, until)) => *until = world.now,
                    None => world.spans.push((world.now, world.now)),
                }
                world.open = true;
            }
            Step::Interrupt => {
                it.cache.interrupt();
                world.open = false;
                world.interrupted = Some(world.now);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn the_cache_answers_as_the_plainest_cache_would(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(compare(steps))?;
    }
}
