//! The evaluator, held against the rows of DESIGN 3 and against the naive evaluator.

use std::collections::BTreeSet;
use std::sync::Arc;

use bailiwick::eval::{
    self, AccountEffect, Accounts, Bound, DefaultDecision, Evaluation, Off, Prepared, Recorder, View,
    WhenUndetermined, WhenUnreachable,
};
use bailiwick::model::{Decision, Outcome};
use bailiwick::policy::ast::AccessPolicy;
use bailiwick::policy::{Exempt, PolicySet, Settings};
use jiff::SignedDuration;
use proptest::prelude::*;

use crate::generate;
use crate::naive::{NaiveSettings, NaiveTtls, OnAccount, OnUnreachable};
use crate::rule_table::rule_table;
use crate::scene::{HeldFacts, Scene};

/// What a scene comes to, by the evaluator that serves.
struct Real {
    bound: Bound,
    settings: eval::Settings,
    prepared: Option<Prepared>,
}

impl Real {
    fn of(scene: &Scene) -> Self {
        let compiled = PolicySet::compile(&scene.documents, &[], &compile_settings(&scene.settings));
        let set = compiled.unwrap_or_else(|diagnostics| {
            let messages: Vec<&str> = diagnostics.items.iter().map(|item| &*item.message).collect();
            panic!("REFUSED {messages:?}")
        });
        let bound = Bound::new(Arc::new(set), &scene.group_names, 1);
        let prepared = match &scene.facts {
            HeldFacts::Current(facts) | HeldFacts::Stale(facts) => {
                Some(bound.prepare(Arc::new(facts.clone())))
            }
            HeldFacts::NotDirectoryUser | HeldFacts::Unknown => None,
        };
        Self { bound, settings: eval_settings(&scene.settings), prepared }
    }

    fn view(&self, scene: &Scene) -> View<'_> {
        match (&scene.facts, &self.prepared) {
            (HeldFacts::Current(_), Some(prepared)) => View::Current(prepared),
            (HeldFacts::Stale(_), Some(prepared)) => View::Stale(prepared),
            (HeldFacts::NotDirectoryUser, _) => View::Outside,
            _ => View::Unreachable,
        }
    }

    fn decide(&self, scene: &Scene) -> Evaluation {
        let view = self.view(scene);
        eval::decide(&self.bound, &self.settings, &scene.request, view, &scene.circumstances, &mut Off)
    }

    fn names(&self, evaluation: &Evaluation) -> BTreeSet<String> {
        evaluation.names(self.bound.set()).map(str::to_owned).collect()
    }

    fn unknown(&self, evaluation: &Evaluation) -> BTreeSet<String> {
        let policies = self.bound.set().policies();
        evaluation.unknown.iter().map(|(id, _)| policies[*id as usize].name.to_string()).collect()
    }
}

/// The settings of a scene. Where it trusts no cluster, one is trusted that never asks: policies that could never hold are
/// refused otherwise.
fn compile_settings(settings: &NaiveSettings) -> Settings {
    Settings {
        trusted_clusters: settings.trusted_clusters.iter().cloned().chain(["nobody's".to_owned()]).collect(),
        clearance_extra_key: settings.clearance_extra_key.clone(),
        exempt: settings
            .exempt
            .iter()
            .map(|(user, group)| Exempt { user: user.clone(), group: group.clone() })
            .collect(),
        guards: BTreeSet::new(),
        ..Settings::default()
    }
}

fn eval_settings(settings: &NaiveSettings) -> eval::Settings {
    let effect = |on: OnAccount| match on {
        OnAccount::Deny => AccountEffect::Deny,
        OnAccount::Ignore => AccountEffect::Ignore,
    };
    let accounts = settings.accounts;
    eval::Settings {
        default: if settings.default == Decision::Deny {
            DefaultDecision::Deny
        } else {
            DefaultDecision::NoOpinion
        },
        when_undetermined: match settings.when_undetermined {
            Outcome::Unavailable => WhenUndetermined::Unavailable,
            Outcome::Decided(_) => WhenUndetermined::Deny,
        },
        accounts: Accounts {
            disabled: effect(accounts.disabled),
            expired: effect(accounts.expired),
            locked: effect(accounts.locked),
            password_expired: effect(accounts.password_expired),
            not_found: effect(accounts.not_found),
            ambiguous: effect(accounts.ambiguous),
            when_unreachable: match accounts.when_unreachable {
                OnUnreachable::LastKnown => WhenUnreachable::LastKnown,
                OnUnreachable::Deny => WhenUnreachable::Deny,
            },
        },
        ..eval::Settings::default()
    }
}

#[test]
fn every_row_of_the_rule_table_holds() {
    let mut wrong = Vec::new();
    for row in rule_table() {
        let real = Real::of(&row.scene);
        let evaluation = real.decide(&row.scene);
        let got = (evaluation.outcome, real.names(&evaluation), real.unknown(&evaluation));
        if got != (row.outcome, row.applying.clone(), row.unknown.clone()) {
            wrong.push(format!(
                "{}: expected {:?} {:?} {:?}, got {got:?}",
                row.name, row.outcome, row.applying, row.unknown
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A few thousand scenes a property: the default number finds little in a universe of this size.
fn many() -> ProptestConfig {
    ProptestConfig { cases: 3_000, max_shrink_iters: 2_000, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn the_indexed_evaluator_agrees_with_the_naive_one(scene in generate::scene()) {
        let real = Real::of(&scene);
        let evaluation = real.decide(&scene);
        let naive = scene.verdict();
        prop_assert_eq!(evaluation.outcome, naive.outcome);
        prop_assert_eq!(real.names(&evaluation), naive.applying);
        prop_assert_eq!(real.unknown(&evaluation), naive.unknown);
    }

    #[test]
    fn a_traced_decision_is_the_same(scene in generate::scene()) {
        let real = Real::of(&scene);
        let plain = real.decide(&scene);
        let view = real.view(&scene);
        let mut recorder = Recorder::default();
        let traced =
            eval::decide(&real.bound, &real.settings, &scene.request, view, &scene.circumstances, &mut recorder);
        prop_assert_eq!(plain.outcome, traced.outcome);
        prop_assert_eq!(plain.cause, traced.cause);
        prop_assert_eq!(plain.applied, traced.applied);
        prop_assert_eq!(plain.unknown, traced.unknown);
    }

    #[test]
    fn the_order_of_the_policies_never_matters(scene in generate::scene(), rotate in 0_usize..8) {
        let real = Real::of(&scene);
        let evaluation = real.decide(&scene);
        let mut other = scene.clone();
        let count = other.documents.policies.len().max(1);
        other.documents.policies.rotate_left(rotate % count);
        other.documents.policies.reverse();
        let turned = Real::of(&other);
        let again = turned.decide(&other);
        prop_assert_eq!(evaluation.outcome, again.outcome);
        prop_assert_eq!(real.names(&evaluation), turned.names(&again));
        prop_assert_eq!(evaluation.reason(real.bound.set()), again.reason(turned.bound.set()));
    }

    #[test]
    fn adding_a_deny_never_adds_an_allow(scene in generate::scene(), deny in a_deny()) {
        let before = Real::of(&scene).decide(&scene).outcome;
        let mut with = scene.clone();
        with.documents.policies.push(deny);
        let after = Real::of(&with).decide(&with).outcome;
        prop_assert!(after <= before || before == Outcome::Unavailable, "{before:?} became {after:?}");
        prop_assert!(after != Outcome::Decided(Decision::Allow) || before == after);
    }

    #[test]
    fn the_plan_asks_the_directory_wherever_its_answer_could_matter(scene in generate::scene()) {
        let real = Real::of(&scene);
        if eval::plan(&real.bound, &real.settings, &scene.request, true) != eval::Plan::Directory {
            let view = View::Unreachable;
            let without = eval::decide(&real.bound, &real.settings, &scene.request, view, &scene.circumstances, &mut Off);
            prop_assert_eq!(without.outcome, real.decide(&scene).outcome);
        }
    }
}

fn a_deny() -> impl Strategy<Value = AccessPolicy> {
    generate::policy("2026-11-23T10:00:00Z".parse().unwrap()).prop_map(|mut policy| {
        policy.effect = bailiwick::policy::ast::Effect::Deny;
        policy.name.value = "zz-added".to_owned();
        policy
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..many() })]

    #[test]
    fn rule_3_10_the_reply_is_the_least_that_holds_until_the_caller_forgets_it(
        scene in generate::timely_scene(),
        authorized in prop::sample::select(vec![0_i64, 30, 300, 3_600]),
        unauthorized in prop::sample::select(vec![0_i64, 30, 300]),
    ) {
        let mut real = Real::of(&scene);
        real.settings.authorized_ttl = SignedDuration::from_secs(authorized);
        real.settings.unauthorized_ttl = SignedDuration::from_secs(unauthorized);
        let view = real.view(&scene);
        let reply =
            eval::reply(&real.bound, &real.settings, &scene.request, view, &scene.circumstances, &mut Off);
        prop_assert_eq!(reply.outcome, scene.least_over(NaiveTtls { authorized, unauthorized }));
    }

    #[test]
    fn nothing_changes_before_valid_until(scene in generate::timely_scene(), part in 0.0_f64..1.0) {
        let real = Real::of(&scene);
        let evaluation = real.decide(&scene);
        let now = scene.circumstances.now;
        prop_assert!(evaluation.until > now);
        let length = (evaluation.until.as_second() - now.as_second()).clamp(0, 400_000);
        let mut later = scene.clone();
        later.circumstances.now =
            jiff::Timestamp::from_second(now.as_second() + (length as f64 * part) as i64).unwrap();
        if later.circumstances.now < evaluation.until {
            prop_assert_eq!(real.decide(&later).outcome, evaluation.outcome);
        }
    }
}
