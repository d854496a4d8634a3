//! The cache against the plainest cache that could be: any order of look-ups, failures, ageing and invalidations.

use std::collections::HashMap;

use proptest::prelude::*;

use super::tests::{Fixture, fixture, nobody, person};
use super::*;

/// Users whose facts touch entity `g0` or `g1`, and one who is a stranger.
const USERS: [&str; 3] = ["u0", "u1", "stranger"];

#[derive(Debug, Clone)]
enum Step {
    /// A look-up of this user, whose load, if there is one, succeeds or fails.
    Get(usize, bool),
    GrowOld(u64),
    InvalidateUser(usize),
    InvalidateEntity(usize),
    InvalidateAll,
    NextGeneration,
}

/// What is known of one user, with ages in seconds.
#[derive(Default, Clone)]
struct Naive {
    age: Option<u64>,
    valid: bool,
    since_failure: Option<u64>,
}

#[derive(Debug, PartialEq)]
enum Answer {
    Fresh,
    Stale,
    Failed,
}

impl Naive {
    /// The answer, and whether the directory is asked.
    fn get(&mut self, stranger: bool, succeeds: bool) -> (Answer, bool) {
        let (soft, hard) = if stranger { (30, 30) } else { (60, 300) };
        let age = self.age.filter(|age| *age <= 86_400);
        if self.valid && age.is_some_and(|age| age < soft) {
            return (Answer::Fresh, false);
        }
        let usable = self.valid && age.is_some_and(|age| age < hard);
        let asks = self.since_failure.is_none_or(|seconds| seconds >= 1);
        let answer = match (usable || (asks && succeeds), age) {
            (true, _) => Answer::Fresh,
            (false, Some(_)) => Answer::Stale,
            (false, None) => Answer::Failed,
        };
        if asks && succeeds {
            *self = Self { age: Some(0), valid: true, since_failure: None };
        } else if asks {
            self.since_failure = Some(0);
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
        1 => Just(Step::NextGeneration),
    ]
}

async fn answer(it: &Fixture, user: usize, succeeds: bool, generation: u64) -> Answer {
    let facts = if user == 2 { nobody() } else { person(&[&format!("g{user}")]) };
    it.answer(if succeeds { Ok(Facts { generation, ..facts }) } else { Err("down") });
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
    let (mut generation, mut asked) = (0, 0);
    for step in steps {
        match step {
            Step::Get(user, succeeds) => {
                let (expected, asks) = model.get_mut(&user).unwrap().get(user == 2, succeeds);
                asked += usize::from(asks);
                prop_assert_eq!(answer(&it, user, succeeds, generation).await, expected);
                prop_assert_eq!(it.loads(), asked);
            }
            Step::GrowOld(seconds) => {
                it.grow_old(Duration::from_secs(seconds));
                for naive in model.values_mut() {
                    naive.age = naive.age.map(|age| age + seconds);
                    naive.since_failure = naive.since_failure.map(|since| since + seconds);
                }
            }
            Step::InvalidateUser(user) => {
                it.cache.invalidate_user(USERS[user]);
                model.get_mut(&user).unwrap().valid = false;
            }
            Step::InvalidateEntity(number) => {
                it.cache.invalidate_entity(&EntityId::new(&format!("g{number}")));
                if number < 2 {
                    model.get_mut(&number).unwrap().valid = false;
                }
            }
            Step::InvalidateAll => {
                it.cache.invalidate_all();
                model.values_mut().for_each(|naive| naive.valid = false);
            }
            Step::NextGeneration => {
                generation += 1;
                it.cache.set_generation(generation);
                model.values_mut().for_each(|naive| naive.valid = false);
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
