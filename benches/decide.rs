//! What a decision costs, by the number of policies and of groups (DESIGN 12); `docs/performance.md` says how to read it.
//!
//! Criterion measures means over batches; the table at the end has the median and the 99th percentile of single decisions,
//! all from one run, and how many slots the index handed out against how many policies match. With `--quick` the sizes are
//! bounded: a smoke test, whose numbers say little.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark that cannot go on is to fail, and it reads the clock and prints"
)]

#[path = "../tests/it/corpora.rs"]
mod corpora;
#[path = "decide/table.rs"]
mod table;
#[path = "../tests/it/world.rs"]
mod world;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bailiwick::eval::{self, Off};
use bailiwick::model::{Decision, Outcome, SourceAddress};
use bailiwick::review;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion};

use corpora::{Corpus, Shape};
use world::{Question, World};

/// The policies of the corpora.
const POLICIES: [usize; 3] = [100, 1_000, 10_000];
/// Directory and asserted groups of a subject.
const GROUPS: [(usize, usize); 6] = [(5, 5), (30, 5), (200, 5), (5, 200), (30, 200), (200, 200)];
/// Requests that are decided between two readings of the clock by criterion.
const BATCH: usize = 16;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Effort {
    groups: &'static [(usize, usize)],
    requests: usize,
    passes: usize,
    warm_up: Duration,
    measurement: Duration,
}

impl Effort {
    const FULL: Self = Self {
        groups: &GROUPS,
        requests: 4_096,
        passes: 20,
        warm_up: Duration::from_millis(300),
        measurement: Duration::from_secs(1),
    };
    const QUICK: Self = Self {
        groups: &[(30, 5), (200, 200)],
        requests: 512,
        passes: 4,
        warm_up: Duration::from_millis(50),
        measurement: Duration::from_millis(100),
    };
}

fn main() {
    let effort =
        if std::env::args().any(|argument| argument == "--quick") { Effort::QUICK } else { Effort::FULL };
    let mut criterion = Criterion::default().configure_from_args();
    let mut rows = Vec::new();
    for &(directory_groups, asserted_groups) in effort.groups {
        let of_size = |policies| {
            let shape = Shape { policies, directory_groups, asserted_groups };
            (shape, World::new(shape, effort.requests))
        };
        let mut worlds = POLICIES.map(of_size);
        for (shape, world) in &mut worlds {
            decisions(&mut criterion, effort, *shape, world);
            if (shape.policies, directory_groups, asserted_groups) == (10_000, 30, 5) {
                outcomes(&mut criterion, effort, world);
                around(&mut criterion, effort, world);
            }
        }
        for kind in table::KINDS {
            rows.extend(table::measure(kind, &worlds, effort.passes));
        }
    }
    reading(&mut criterion, effort);
    criterion.final_summary();
    table::print(&rows);
}

fn group<'a>(criterion: &'a mut Criterion, effort: Effort, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.warm_up_time(effort.warm_up).measurement_time(effort.measurement).sample_size(20);
    group
}

fn decisions(criterion: &mut Criterion, effort: Effort, shape: Shape, world: &World) {
    let mut group = group(criterion, effort, "decide");
    for (kind, questions) in [("uniform", &world.uniform), ("home", &world.home)] {
        let size = format!(
            "{} policies, {}+{} groups",
            shape.policies, shape.directory_groups, shape.asserted_groups
        );
        group.bench_function(BenchmarkId::new(kind, size), |bencher| {
            bencher.iter_custom(|count| in_batches(questions, count, |question| world.decide(question)));
        });
    }
}

/// By what comes out: an Allow, a Deny, no opinion. Requests come from inside, where nothing of the corpus is denied but
/// to delete a namespace, and once more from outside.
fn outcomes(criterion: &mut Criterion, effort: Effort, world: &mut World) {
    let mut group = group(criterion, effort, "decide, by outcome");
    let inside = world.circumstances.source;
    let outside = SourceAddress::Known(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
    for (name, decision, source) in [
        ("allowed", Decision::Allow, inside),
        ("denied", Decision::Deny, outside),
        ("no opinion", Decision::NoOpinion, inside),
    ] {
        world.circumstances.source = source;
        let decided = |question: &&Question| world.decide(question).outcome == Outcome::Decided(decision);
        let all = world.uniform.iter().chain(&world.home).chain(&world.everywhere);
        let questions: Vec<&Question> = all.filter(decided).collect();
        assert!(!questions.is_empty(), "nothing is {name} in the requests of this run");
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| in_batches(&questions, count, |question| world.decide(question)));
        });
    }
    world.circumstances.source = inside;
}

/// What surrounds a decision: planning it, the reply that a cache may repeat, binding facts, compiling.
fn around(criterion: &mut Criterion, effort: Effort, world: &World) {
    let World { bound, settings, circumstances, .. } = world;
    let mut group = group(criterion, effort, "around");
    group.bench_function("plan", |bencher| {
        bencher.iter_custom(|count| {
            in_batches(&world.uniform, count, |question| eval::plan(bound, settings, &question.request, true))
        });
    });
    let no_accounts = eval::Settings { accounts: accounts_ignored(), ..settings.clone() };
    group.bench_function("plan, accounts ignored", |bencher| {
        bencher.iter_custom(|count| {
            in_batches(&world.uniform, count, |question| {
                eval::plan(bound, &no_accounts, &question.request, true)
            })
        });
    });
    for (name, questions) in [("reply, uniform", &world.uniform), ("reply, home", &world.home)] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                in_batches(questions, count, |question| {
                    let view = world.view(question);
                    eval::reply(bound, settings, &question.request, view, circumstances, &mut Off)
                })
            });
        });
    }
    group.bench_function("prepare, 30 groups", |bencher| {
        let mut people = world.facts.iter().cycle();
        bencher.iter(|| bound.prepare(Arc::clone(people.next().unwrap())));
    });
    group.sample_size(10);
    let documents =
        Corpus::new(Shape { policies: 10_000, directory_groups: 5, asserted_groups: 5 }, 1).documents;
    group.bench_function("compile 10,000 policies", |bencher| {
        bencher.iter(|| world::compile(black_box(&documents)));
    });
}

fn accounts_ignored() -> eval::Accounts {
    use eval::AccountEffect::Ignore;
    eval::Accounts { disabled: Ignore, expired: Ignore, ambiguous: Ignore, ..eval::Accounts::default() }
}

fn reading(criterion: &mut Criterion, effort: Effort) {
    let body = serde_json::json!({
        "kind": "SubjectAccessReview",
        "apiVersion": "authorization.k8s.io/v1",
        "metadata": {"creationTimestamp": null},
        "spec": {
            "resourceAttributes": {
                "namespace": "payments-prod", "verb": "patch", "group": "apps", "version": "v1",
                "resource": "deployments", "name": "web-1"
            },
            "user": "alice",
            "groups": ["oncall", "payments", "engineers", "vpn-users", "system:authenticated"],
            "extra": {
                "authentication.kubernetes.io/credential-id": ["X509SHA256=8d5b3b1a8b1f6e1d"],
                "bailiwick.dev/source-address": ["10.1.2.3"]
            },
            "uid": "d4c1b4f0-7c2c-4f1e-9a0e-0b0d5f3f6a11"
        },
        "status": {"allowed": false}
    })
    .to_string();
    group(criterion, effort, "review").bench_function("read", |bencher| {
        bencher.iter(|| review::read(black_box(body.as_bytes())).unwrap());
    });
}

/// The time for `count` questions, batch by batch. Each batch is read beforehand, because a request that is decided was
/// parsed just before.
fn in_batches<Q: AsRef<Question>, R>(questions: &[Q], count: u64, ask: impl Fn(&Question) -> R) -> Duration {
    let mut spent = Duration::ZERO;
    let mut left = usize::try_from(count).unwrap();
    let mut batches = questions.chunks(BATCH).cycle();
    while left > 0 {
        let batch = batches.next().unwrap();
        let batch = &batch[..batch.len().min(left)];
        for question in batch {
            table::touch(question.as_ref());
        }
        let start = Instant::now();
        for question in batch {
            let _decided = black_box(ask(black_box(question.as_ref())));
        }
        spent += start.elapsed();
        left -= batch.len();
    }
    spent
}

impl AsRef<Question> for Question {
    fn as_ref(&self) -> &Question {
        self
    }
}
