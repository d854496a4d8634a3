//! What a decision costs, counted rather than timed (DESIGN 12): policies that are examined, and allocations.

use std::hint::black_box;

use crate::corpora::Shape;
use crate::world::World;

const REQUESTS: usize = 1_000;

fn world(policies: usize) -> World {
    World::new(Shape { policies, directory_groups: 30, asserted_groups: 5 }, REQUESTS)
}

/// The most that the index hands out beyond what matches, over all requests of a world.
fn most_in_vain(world: &World) -> usize {
    let questions = world.uniform.iter().chain(&world.home).chain(&world.everywhere);
    let in_vain = |question| {
        let examined = usize::try_from(world.decide(question).examined).unwrap();
        examined.saturating_sub(world.matching(question))
    };
    questions.map(in_vain).max().unwrap()
}

#[test]
fn hardly_more_policies_are_examined_than_match_however_many_there_are() {
    for policies in [100, 10_000] {
        let most = most_in_vain(&world(policies));
        assert!(most <= 4, "{policies} policies: {most} examined that do not match");
    }
}

#[test]
fn a_decision_allocates_nothing() {
    let world = world(10_000);
    for questions in [&world.uniform, &world.home, &world.everywhere] {
        let counted = allocation_counter::measure(|| {
            for question in questions {
                let _decided = black_box(world.decide(black_box(question)));
            }
        });
        assert_eq!(counted.count_total, 0, "in {REQUESTS} decisions");
    }
}
