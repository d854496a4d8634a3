//! The numbered rules of DESIGN 3 as rows: a scene, and what must come of it. Any evaluator can be held against them.

mod combining;
mod cover;
mod facts;
mod overlap;
mod reply;
mod time;
mod truth;

use std::collections::BTreeSet;

use bailiwick::model::{Decision, Outcome};

pub use reply::reply_table;

use crate::scene::Scene;

/// One rule's consequence.
#[derive(Debug, Clone)]
pub struct Row {
    /// The rule's number in DESIGN, and what it comes to here.
    pub name: &'static str,
    /// What is asked, by whom, under which policies and circumstances.
    pub scene: Scene,
    /// What must be done with it.
    pub outcome: Outcome,
    /// Which policies must have applied, as in `NaiveVerdict::applying`.
    pub applying: BTreeSet<String>,
    /// Which policies must be unknown, as in `NaiveVerdict::unknown`.
    pub unknown: BTreeSet<String>,
}

const ALLOW: Outcome = Outcome::Decided(Decision::Allow);
const NO_OPINION: Outcome = Outcome::Decided(Decision::NoOpinion);
const DENY: Outcome = Outcome::Decided(Decision::Deny);

/// Every row.
pub fn rule_table() -> Vec<Row> {
    [truth::rows(), combining::rows(), cover::rows(), overlap::rows(), facts::rows(), time::rows()].concat()
}

fn row(
    name: &'static str,
    set: impl FnOnce(&mut Scene),
    outcome: Outcome,
    applying: &[&str],
    unknown: &[&str],
) -> Row {
    let mut scene = Scene::new();
    set(&mut scene);
    let names = |list: &[&str]| list.iter().map(|&name| name.to_owned()).collect();
    Row { name, scene, outcome, applying: names(applying), unknown: names(unknown) }
}

/// Rows that differ in one request and whether one policy applies to it.
fn requests(
    name: &'static str,
    policy: &bailiwick::policy::ast::AccessPolicy,
    expected: &[(&str, bool)],
) -> Vec<Row> {
    let applied = match policy.effect {
        bailiwick::policy::ast::Effect::Allow => ALLOW,
        bailiwick::policy::ast::Effect::Deny => DENY,
    };
    expected
        .iter()
        .map(|&(action, applies)| {
            let set = |scene: &mut Scene| {
                scene.documents.policies = vec![policy.clone()];
                scene.request = crate::scene::ask("alice", action);
            };
            let (outcome, applying): (_, &[&str]) =
                if applies { (applied, &[&*policy.name.value]) } else { (NO_OPINION, &[]) };
            row(name, set, outcome, applying, &[])
        })
        .collect()
}

#[test]
fn the_naive_evaluator_keeps_every_rule() {
    let rows = rule_table();
    assert!(rows.len() >= 60, "{} rows", rows.len());
    for row in rows {
        let verdict = row.scene.verdict();
        let got = (verdict.outcome, verdict.applying, verdict.unknown);
        assert_eq!(got, (row.outcome, row.applying, row.unknown), "{}: {:?}", row.name, row.scene.request);
    }
}

#[test]
fn the_naive_evaluator_keeps_every_rule_about_replies() {
    for row in reply_table() {
        assert_eq!(row.scene.least_over(row.ttls), row.reply, "{}", row.name);
    }
}
