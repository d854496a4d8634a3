//! The table at the end: single decisions, each between two readings of the clock.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use crate::corpora::Shape;
use crate::world::{Question, World};

/// Requests whose matching policies are counted by looking at every policy.
const COUNTED: usize = 200;

/// One row: times in nanoseconds, of all requests in all passes.
pub struct Row {
    shape: Shape,
    kind: &'static str,
    median: u64,
    p99: u64,
    /// The mean number of slots that the index handed out, over the counted requests.
    examined: f64,
    /// The mean number of policies that match by their rules and subjects, over the same.
    matching: f64,
    /// The most slots that one request was handed beyond those that match.
    most_in_vain: usize,
}

/// A kind of requests: its name, and where a world has them.
pub type Kind = (&'static str, fn(&World) -> &[Question]);

/// Every kind.
pub const KINDS: [Kind; 3] = [
    ("uniform", |world| &world.uniform),
    ("home", |world| &world.home),
    ("list all", |world| &world.everywhere),
];

/// The rows of one kind, a world each. The worlds take turns pass by pass, so that whatever slows the machine down for
/// a while slows all of them.
pub fn measure(kind: Kind, worlds: &[(Shape, World)], passes: usize) -> Vec<Row> {
    let (name, questions) = kind;
    let mut times: Vec<Vec<u64>> = worlds.iter().map(|_| Vec::new()).collect();
    for pass in 0..=passes {
        for (times, (_, world)) in times.iter_mut().zip(worlds) {
            for question in questions(world) {
                touch(question);
                let start = Instant::now();
                let _decided = black_box(world.decide(black_box(question)));
                let spent = start.elapsed();
                // The first pass warms up.
                if pass > 0 {
                    times.push(u64::try_from(spent.as_nanos()).unwrap());
                }
            }
        }
    }
    let rows = times.into_iter().zip(worlds);
    rows.map(|(times, (shape, world))| Row::new(*shape, name, times, world, questions(world))).collect()
}

impl Row {
    fn new(
        shape: Shape,
        kind: &'static str,
        mut times: Vec<u64>,
        world: &World,
        questions: &[Question],
    ) -> Self {
        times.sort_unstable();
        let counted = &questions[..COUNTED.min(questions.len())];
        let counts: Vec<(usize, usize)> = counted
            .iter()
            .map(|question| {
                (usize::try_from(world.decide(question).examined).unwrap(), world.matching(question))
            })
            .collect();
        let mean = |sum: usize| sum as f64 / counts.len() as f64;
        let in_vain = counts.iter().map(|(examined, matching)| examined.saturating_sub(*matching));
        Self {
            shape,
            kind,
            median: times[times.len() / 2],
            p99: times[times.len() * 99 / 100],
            examined: mean(counts.iter().map(|(examined, _)| examined).sum()),
            matching: mean(counts.iter().map(|(_, matching)| matching).sum()),
            most_in_vain: in_vain.max().unwrap(),
        }
    }
}

/// Reads what a decision will read of a request, as if it had been parsed just now.
pub fn touch(question: &Question) {
    let groups = question.request.subject.groups.iter();
    let sum = groups.flat_map(|group| group.bytes()).fold(0_u8, u8::wrapping_add);
    black_box((sum, question.request.verb().len()));
}

/// Prints all rows, and how much more the most policies cost than the fewest.
pub fn print(rows: &[Row]) {
    println!("\nSingle decisions, in ns, two readings of the clock (median {} ns) included.", clock());
    println!("`vain`: the most slots that one request was handed beyond the policies that match.\n");
    println!("| policies | groups | requests | median | p99 | examined | matching | vain |");
    println!("|---:|---:|---|---:|---:|---:|---:|---:|");
    for row in rows {
        let Shape { policies, directory_groups, asserted_groups } = row.shape;
        println!(
            "| {policies} | {directory_groups}+{asserted_groups} | {} | {} | {} | {:.2} | {:.2} | {} |",
            row.kind, row.median, row.p99, row.examined, row.matching, row.most_in_vain
        );
    }
    println!("\n| groups | requests | median, most to fewest policies | p99 |");
    println!("|---:|---|---:|---:|");
    let mut alike: BTreeMap<_, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        let key = (row.shape.directory_groups, row.shape.asserted_groups, row.kind);
        alike.entry(key).or_default().push(row);
    }
    for ((directory, asserted, kind), rows) in alike {
        let (Some(fewest), Some(most)) = (rows.first(), rows.last()) else { continue };
        let ratio = |of: fn(&Row) -> u64| of(most) as f64 / of(fewest) as f64;
        println!(
            "| {directory}+{asserted} | {kind} | {:.2} | {:.2} |",
            ratio(|row| row.median),
            ratio(|row| row.p99)
        );
    }
}

fn clock() -> u128 {
    let mut times: Vec<u128> = (0..10_001)
        .map(|_| {
            let start = Instant::now();
            black_box(());
            start.elapsed().as_nanos()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}
