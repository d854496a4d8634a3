//! How much memory a service holds (DESIGN 12): 100,000 subjects of 30 groups with the index of the change feed, and 10,000
//! policies. Fails where it is more than 200 MiB: the one figure here that does not depend on how busy the machine is.
//!
//! With `--quick` a tenth of the subjects, whose share must stay within a tenth of the room that is left.

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
#[allow(dead_code, reason = "the requests are the other benchmark's")]
mod corpora;
#[path = "../tests/it/world.rs"]
#[allow(dead_code, reason = "the decisions are the other benchmark's")]
mod world;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bailiwick::cache::{FactsCache, Lookup, Settings};
use bailiwick::eval::Prepared;
use bailiwick::model::{
    Attributes, Dn, EntityId, Facts, Group, GroupMembership, Person, Resolved, Trigger, Values,
};
use bailiwick::telemetry::Metrics;
use jiff::Timestamp;

use corpora::{Shape, SplitMix64};
use world::World;

const POLICIES: usize = 10_000;
const SUBJECTS: usize = 100_000;
const GROUPS: usize = 30;
/// For how many subjects bound facts are kept (`authz::preparations`).
const KEPT_PREPARED: usize = 16_384;
/// Resident, all together.
const MOST: usize = 200 << 20;

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let subjects = if quick { SUBJECTS / 10 } else { SUBJECTS };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let start = resident();
    let world = World::new(Shape { policies: POLICIES, directory_groups: GROUPS, asserted_groups: 5 }, 16);
    let with_policies = resident();
    let metrics = Metrics::new().unwrap();
    let settings = Settings { load_timeout: Duration::from_secs(60), ..Settings::default() };
    let cache: FactsCache<Prepared> = FactsCache::new(settings, &metrics, runtime.handle().clone());
    let mut random = SplitMix64::new(7);
    let mut groups: HashMap<String, Arc<Group>> = HashMap::new();
    let values = |value: &str| Values::Known([value.to_owned()].into());
    let attributes = [("clearance", values("internal")), ("department", values("engineering"))];
    let attributes: Attributes = attributes.into_iter().collect();
    let mut names: Vec<String> = world.group_names.names.keys().cloned().collect();
    names.sort_unstable();
    runtime.block_on(async {
        for number in 0..subjects {
            let facts =
                facts(number, &names, &world.group_names.names, &mut groups, &mut random, &attributes);
            let user = format!("user-{number}@corp.example.com");
            let load = || move |_| std::future::ready(Ok::<_, String>(facts.clone()));
            let Lookup::Fresh(entry) = cache.get(&user, load, Instant::now() + Duration::from_secs(60)).await
            else {
                panic!("not loaded");
            };
            // As the service does, which keeps so many.
            if number < KEPT_PREPARED {
                let prepared = world.bound.prepare(Arc::clone(&entry.facts));
                entry.prepared.store(Some(Arc::new(prepared)));
            }
        }
    });
    let all = resident();
    let shown = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    let share = all.saturating_sub(with_policies);
    println!("start                      {:7.1} MiB", shown(start));
    println!("with {POLICIES} policies       {:7.1} MiB", shown(with_policies));
    println!("with {subjects} subjects too   {:7.1} MiB, {} bytes a subject", shown(all), share / subjects);
    let any = groups.values().next().unwrap();
    let told = Instant::now();
    let given_up = cache.invalidate([Trigger::entity(&any.id)]);
    println!("a change of a group gave up {given_up} subjects in {:?}", told.elapsed());
    let whole = with_policies + share * (SUBJECTS / subjects);
    assert!(whole <= MOST, "{:.1} MiB are more than {:.1}", shown(whole), shown(MOST));
}

/// Somebody in some groups that policies name and in more that none does; every second group is nested in the one before.
fn facts(
    number: usize,
    names: &[String],
    named: &HashMap<String, Resolved>,
    groups: &mut HashMap<String, Arc<Group>>,
    random: &mut SplitMix64,
    attributes: &Attributes,
) -> Facts {
    let dn =
        Dn::parse(&format!("CN=User Number {number},OU=Engineering,OU=People,DC=corp,DC=example,DC=com"));
    let id = EntityId::new(&uuid(number as u64 + (1 << 40)));
    let mut facts = Facts::without_entry(Person::Found { id, dn: dn.unwrap().compact() }, Timestamp::now());
    let mut memberships: Vec<GroupMembership> = Vec::new();
    for place in 0..GROUPS {
        let name = match place {
            0..6 => random.pick(names).clone(),
            _ => format!("org-{}", random.below(corpora::OTHER_GROUPS)),
        };
        let known = groups.len() as u64;
        let group = groups.entry(name).or_insert_with_key(|name| {
            let dn = format!("CN={name},OU=Groups,DC=corp,DC=example,DC=com");
            let id = match named.get(name) {
                Some(Resolved::Group(id)) => id.clone(),
                _ => EntityId::new(&uuid(known)),
            };
            let dn = Dn::parse(&dn).ok().map(Dn::compact);
            Arc::new(Group { id, sid: None, dn, name: name.as_str().into() })
        });
        if !memberships.iter().any(|known| Arc::ptr_eq(&known.group, group)) {
            let via = (place % 2 == 1).then(|| u32::try_from(memberships.len()).unwrap().saturating_sub(1));
            memberships.push(GroupMembership { group: Arc::clone(group), via });
        }
    }
    facts.groups = memberships.into_iter().collect();
    facts.attributes = attributes.clone();
    facts.names = vec![Trigger::named(&format!("user-{number}")), Trigger::listed(&number.to_string())];
    facts.followed = true;
    facts
}

fn uuid(number: u64) -> String {
    format!("{number:08x}-0000-4000-8000-{number:012x}")
}

/// The memory that the process has in use, in bytes (`VmRSS`, proc(5)).
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}
