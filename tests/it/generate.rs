//! Random scenes in a universe so small that everything collides: a handful of users, groups, resources, namespaces and
//! addresses, and instants beside the edges of hours, validity, expiry and clock changes.
//!
//! The documents are what a parser could have made: every name they use is in the vocabulary, no list is empty that may
//! not be, and policies have names of their own. A literal `\*` stands in no pattern: whether an Allow for the one
//! object that is named `*` covers a request-side `*` is nobody's concern.
//!
//! Strategies are boxed where they meet: a tree of them by value does not fit a test thread's stack in a debug build.

mod policies;
mod questions;

use bailiwick::model::Decision;
use bailiwick::policy::ast::{AccessPolicy, Conditions, Documents, Effect, SubjectTerm, Vocabulary};
use jiff::{Timestamp, ToSpan};
use proptest::prelude::*;
use proptest::sample::select;

pub use policies::{policy, timely_policy};

use crate::scene::{HeldFacts, Scene, person, rule, settings, spanned, vocabulary};

/// The most policies in one scene.
const POLICIES: usize = 8;

/// Any scene.
pub fn scene() -> impl Strategy<Value = Scene> {
    instant().prop_flat_map(|now| {
        (
            prop::collection::vec(policy(now), 0..=POLICIES),
            a_vocabulary().boxed(),
            questions::settings(),
            questions::request(),
            questions::facts(now),
            questions::group_names(),
            questions::circumstances(now),
        )
            .prop_map(
                |(policies, vocabulary, settings, request, facts, group_names, circumstances)| Scene {
                    documents: documents(policies, vocabulary),
                    settings,
                    request,
                    facts,
                    group_names,
                    circumstances,
                },
            )
    })
}

/// A scene in which little but time matters: everyone, any pod, facts of a person whose account may expire, and
/// conditions on hours and validity that open and close around now.
pub fn timely_scene() -> impl Strategy<Value = Scene> {
    instant().prop_flat_map(|now| {
        (
            prop::collection::vec(timely_policy(now), 1..=POLICIES),
            select(vec![Decision::NoOpinion, Decision::NoOpinion, Decision::Deny]),
            questions::account(now),
            prop::bool::ANY,
        )
            .prop_map(move |(policies, default, account, known)| {
                let mut scene = Scene::new();
                scene.documents = documents(policies, vocabulary());
                scene.settings = crate::naive::NaiveSettings { default, ..settings() };
                let facts = bailiwick::model::Facts { account, ..person(&["payments"]) };
                scene.facts = if known { HeldFacts::Current(facts) } else { HeldFacts::Stale(facts) };
                scene.circumstances.now = now;
                scene
            })
    })
}

/// Instants at, just before and just after edges: midnights, full and half hours, in zones with and without clock
/// changes, on the days of the changes, the days beside them, ordinary days and a holiday. Whole seconds.
pub fn instant() -> impl Strategy<Value = Timestamp> {
    let days = select(vec![
        ("Europe/London", "2026-03-29"),
        ("Europe/London", "2026-10-25"),
        ("America/New_York", "2026-03-08"),
        ("America/New_York", "2026-11-01"),
        ("Australia/Lord_Howe", "2026-04-05"),
        ("Australia/Lord_Howe", "2026-10-04"),
        ("Asia/Kolkata", "2026-07-01"),
        ("UTC", "2026-11-23"),
        ("Europe/London", "2026-12-25"),
    ]);
    let beside = prop_oneof![4 => Just(0_i64), 1 => Just(-1), 1 => Just(1)];
    // The early hours, in which clocks change, as often as all others.
    let minute = prop_oneof![(0_i64..8).prop_map(|half| half * 30), (0_i64..48).prop_map(|half| half * 30)];
    // The second pass of a repeated hour is an hour, or half of one, after the first.
    let later = select(vec![0_i64, 0, 1800, 3600]);
    let second = prop_oneof![Just(0_i64), Just(-1), Just(1), -320_i64..320];
    (days, beside, minute, later, second).prop_map(|((zone, day), beside, minute, later, second)| {
        let day: jiff::civil::Date = day.parse().unwrap();
        let wall = (day + beside.days()).at(0, 0, 0, 0) + minute.minutes();
        let zone = jiff::tz::TimeZone::get(zone).unwrap();
        zone.to_timestamp(wall).unwrap() + (later + second).seconds()
    })
}

fn documents(mut policies: Vec<AccessPolicy>, vocabulary: Vocabulary) -> Documents {
    for (index, policy) in policies.iter_mut().enumerate() {
        policy.name = spanned(format!("p{index}"));
    }
    Documents { policies, vocabulary, tests: Vec::new() }
}

fn a_vocabulary() -> impl Strategy<Value = Vocabulary> {
    prop::bool::ANY.prop_map(|widgets| {
        let mut vocabulary = vocabulary();
        if !widgets {
            vocabulary.cluster_scoped.clear();
        }
        vocabulary
    })
}

/// The same policy with the other effect and no conditions, for everyone: what is left is its rules.
#[cfg(test)]
fn rules_alone(policy: &AccessPolicy, effect: Effect) -> AccessPolicy {
    let mut alone = crate::scene::allow("alone", &[]);
    alone.effect = effect;
    alone.rules.clone_from(&policy.rules);
    alone
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bailiwick::model::Outcome;
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    use super::*;
    use crate::naive::NaiveTtls;

    const ALLOW: Outcome = Outcome::Decided(Decision::Allow);

    fn samples<S: Strategy>(strategy: &S, count: usize) -> Vec<S::Value> {
        let mut runner = TestRunner::deterministic();
        (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
    }

    /// A property over scenes in which everything has one outcome would show nothing.
    #[test]
    fn every_outcome_is_common_among_the_scenes() {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for scene in samples(&scene(), 2000) {
            let verdict = scene.verdict();
            *counts.entry(verdict.outcome.as_str()).or_default() += 1;
            *counts.entry("something unknown").or_default() += usize::from(!verdict.unknown.is_empty());
            let by_policy = verdict.applying.iter().any(|name| !name.starts_with("account/"));
            *counts.entry("a policy applies").or_default() += usize::from(by_policy);
        }
        for (what, least) in [
            ("Allow", 100),
            ("Deny", 300),
            ("NoOpinion", 300),
            ("Unavailable", 30),
            ("something unknown", 200),
            ("a policy applies", 300),
        ] {
            assert!(counts.get(what).copied().unwrap_or(0) >= least, "{what}: {counts:?}");
        }
    }

    #[test]
    fn in_timely_scenes_the_decision_often_changes_within_its_life() {
        let ttls = NaiveTtls { authorized: 300, unauthorized: 30 };
        let changing = samples(&timely_scene(), 300)
            .iter()
            .filter(|scene| scene.least_over(ttls) < scene.verdict().outcome)
            .count();
        assert!(changing >= 15, "{changing} of 300");
    }

    proptest! {
        #[test]
        fn the_order_of_policies_never_matters(
            (scene, shuffled) in scene().prop_flat_map(|scene| {
                let order = Just(scene.documents.policies.clone()).prop_shuffle();
                (Just(scene), order)
            })
        ) {
            let expected = scene.verdict();
            let mut other = scene;
            other.documents.policies = shuffled;
            prop_assert_eq!(other.verdict(), expected);
        }

        #[test]
        fn adding_a_deny_never_adds_an_allow(
            (scene, added) in scene().prop_flat_map(|scene| {
                let now = scene.circumstances.now;
                (Just(scene), policy(now))
            })
        ) {
            let before = scene.verdict().outcome;
            let mut more = scene;
            more.documents.policies.push(AccessPolicy { name: spanned("z".to_owned()), effect: Effect::Deny, ..added });
            let after = more.verdict().outcome;
            prop_assert!(after != ALLOW || before == ALLOW, "{before:?} became {after:?}");
        }

        #[test]
        fn a_true_exception_excuses_whatever_is_unknown(mut scene in scene()) {
            for policy in &mut scene.documents.policies {
                policy.except_subjects.push(spanned(SubjectTerm::Everyone));
            }
            let verdict = scene.verdict();
            prop_assert!(verdict.unknown.is_empty());
            prop_assert!(verdict.applying.iter().all(|name| name.starts_with("account/")));
        }

        #[test]
        fn stale_facts_neither_allow_nor_excuse_more_than_none(mut scene in scene()) {
            let stale = match scene.facts {
                HeldFacts::Current(facts) | HeldFacts::Stale(facts) => HeldFacts::Stale(facts),
                HeldFacts::NotDirectoryUser | HeldFacts::Unknown => HeldFacts::Stale(person(&["payments", "staff"])),
            };
            scene.facts = HeldFacts::Unknown;
            let without = scene.verdict();
            scene.facts = stale;
            let with = scene.verdict();
            if with.outcome == ALLOW {
                prop_assert_eq!(without.outcome, ALLOW);
            }
            if without.outcome == Outcome::Decided(Decision::Deny) && !without.applying.is_empty() {
                prop_assert!(without.applying.is_subset(&with.applying));
            }
        }

        #[test]
        fn whatever_an_allow_covers_a_deny_overlaps(mut scene in scene()) {
            let policies = std::mem::take(&mut scene.documents.policies);
            scene.settings.exempt.clear();
            scene.facts = HeldFacts::NotDirectoryUser;
            for policy in policies {
                scene.documents.policies = vec![rules_alone(&policy, Effect::Allow)];
                let covered = scene.verdict().outcome == ALLOW;
                scene.documents.policies = vec![rules_alone(&policy, Effect::Deny)];
                let overlapped = !scene.verdict().applying.is_empty();
                prop_assert!(overlapped || !covered, "{:?}", policy.rules);
            }
        }

        #[test]
        fn a_reply_never_exceeds_what_is_decided_now_and_is_that_where_it_is_not_kept(scene in timely_scene()) {
            let now = scene.verdict().outcome;
            prop_assert_eq!(scene.least_over(NaiveTtls { authorized: 0, unauthorized: 0 }), now);
            let kept = scene.least_over(NaiveTtls { authorized: 60, unauthorized: 30 });
            prop_assert!(kept <= now, "{kept:?} where {now:?} is decided");
        }
    }

    /// Without conditions nothing changes with time.
    #[test]
    fn a_policy_without_conditions_is_allowed_for_as_long_as_one_likes() {
        let mut scene = Scene::new();
        let mut policy = crate::scene::allow("a", &[]);
        policy.rules = vec![spanned(rule("get pods"))];
        policy.when = Conditions::default();
        scene.documents.policies = vec![policy];
        assert_eq!(scene.least_over(NaiveTtls { authorized: 3600, unauthorized: 30 }), ALLOW);
    }
}
