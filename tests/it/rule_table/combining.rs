//! 3.2, 3.3, 3.5, 3.6, 3.12: from truths to a decision.

use bailiwick::model::{Decision, Outcome};
use bailiwick::policy::Pattern;

use super::{ALLOW, DENY, NO_OPINION, Row, row};
use crate::scene::{HeldFacts, Scene, Writing, allow, ask, deny, in_groups};

const PODS: &[&str] = &["get pods"];

pub(super) fn rows() -> Vec<Row> {
    [combining(), undetermined(), exempt(), shadow()].concat()
}

fn combining() -> Vec<Row> {
    let bob = &["user:bob"];
    vec![
        row("3.2 nothing grants by default", |_| {}, NO_OPINION, &[], &[]),
        row("3.2 the default may be Deny", |s| s.settings.default = Decision::Deny, DENY, &[], &[]),
        row(
            "3.2 an Allow that is true gives Allow, and all of them are named",
            |s| s.documents.policies = vec![allow("b", PODS), allow("a", PODS), allow("c", PODS).of(bob)],
            ALLOW,
            &["a", "b"],
            &[],
        ),
        row(
            "3.2 a Deny that is true wins over every Allow",
            |s| {
                s.documents.policies =
                    vec![allow("a", PODS), deny("d", PODS), allow("b", PODS), deny("e", PODS)]
            },
            DENY,
            &["d", "e"],
            &[],
        ),
        row(
            "3.2 the order of files does not matter",
            |s| s.documents.policies = vec![deny("d", PODS), allow("a", PODS)],
            DENY,
            &["d"],
            &[],
        ),
        row(
            "3.2 a Deny that is false does nothing",
            |s| s.documents.policies = vec![allow("a", PODS), deny("d", PODS).of(bob)],
            ALLOW,
            &["a"],
            &[],
        ),
        row(
            "3.2 an Allow that is true gives Allow under the default Deny too",
            |s| {
                s.settings.default = Decision::Deny;
                s.documents.policies = vec![allow("a", PODS)];
            },
            ALLOW,
            &["a"],
            &[],
        ),
    ]
}

fn undetermined() -> Vec<Row> {
    let unknown = |policies: Vec<_>, when_undetermined, default| {
        move |s: &mut Scene| {
            s.documents.policies = policies;
            s.settings.when_undetermined = when_undetermined;
            s.settings.default = default;
            s.facts = HeldFacts::Unknown;
        }
    };
    let payments = &["dir:payments"];
    let (no_opinion, deny_all) = (Decision::NoOpinion, Decision::Deny);
    vec![
        row(
            "3.2 a Deny that is unknown gives whenUndetermined, whatever is allowed",
            unknown(vec![allow("a", PODS), deny("d", PODS).of(payments)], DENY, no_opinion),
            DENY,
            &[],
            &["d"],
        ),
        row(
            "3.3 whenUndetermined may be Unavailable",
            unknown(vec![allow("a", PODS), deny("d", PODS).of(payments)], Outcome::Unavailable, no_opinion),
            Outcome::Unavailable,
            &[],
            &["d"],
        ),
        row(
            "3.2 a Deny that is true wins over one that is unknown",
            unknown(vec![deny("d", PODS).of(payments), deny("e", PODS)], Outcome::Unavailable, no_opinion),
            DENY,
            &["e"],
            &["d"],
        ),
        row(
            "3.2 an unknown Allow grants nothing",
            unknown(vec![allow("a", PODS).of(payments)], DENY, no_opinion),
            NO_OPINION,
            &[],
            &["a"],
        ),
        row(
            "3.2 an unknown Allow under the default Deny gives whenUndetermined",
            unknown(vec![allow("a", PODS).of(payments)], Outcome::Unavailable, deny_all),
            Outcome::Unavailable,
            &[],
            &["a"],
        ),
        row(
            "3.2 an unknown Allow beside a true one does no harm under the default Deny",
            unknown(vec![allow("a", PODS).of(payments), allow("b", PODS)], Outcome::Unavailable, deny_all),
            ALLOW,
            &["b"],
            &["a"],
        ),
    ]
}

fn exempt() -> Vec<Row> {
    let asked = |name, user: &str, groups: &[&str], outcome, applying: &[&str]| {
        let set = |s: &mut Scene| {
            s.documents.policies = vec![deny("d", PODS)];
            s.settings.default = Decision::Deny;
            s.facts = HeldFacts::NotDirectoryUser;
            s.request = in_groups(ask(user, "get pods"), groups);
        };
        row(name, set, outcome, applying, &[])
    };
    vec![
        asked(
            "3.5 an exempt user is answered NoOpinion before any Deny",
            "system:apiserver",
            &[],
            NO_OPINION,
            &[],
        ),
        asked("3.5 a node of the group is exempt", "system:node:n1", &["system:nodes"], NO_OPINION, &[]),
        asked("3.5 a node without its group is not exempt", "system:node:n1", &[], DENY, &["d"]),
        asked("3.5 the group without the name is not exempt", "alice", &["system:nodes"], DENY, &["d"]),
        row(
            "3.5 a list that is given replaces the default one",
            |s| {
                s.documents.policies = vec![deny("d", PODS)];
                s.settings.exempt = vec![(Pattern::exact("alice"), None)];
                s.request = ask("system:apiserver", "get pods");
            },
            DENY,
            &["d"],
            &[],
        ),
        row(
            "3.5 an exempt subject is not even asked for the state of its account",
            |s| {
                s.settings.exempt = vec![(Pattern::parse("al*").unwrap(), None)];
                s.settings.accounts.when_unreachable = crate::naive::OnUnreachable::Deny;
                s.facts = HeldFacts::Unknown;
            },
            NO_OPINION,
            &[],
            &[],
        ),
        row(
            "3.6 a guard is a Deny like any other",
            |s| {
                s.documents.policies = vec![
                    allow("a", &["* * group=*"]),
                    deny("guard", &["impersonate groups name=system:masters"]),
                ];
                s.request = ask("alice", "impersonate groups name=system:masters");
            },
            DENY,
            &["guard"],
            &[],
        ),
    ]
}

fn shadow() -> Vec<Row> {
    vec![
        row(
            "3.12 a shadow Deny refuses nothing",
            |s| s.documents.policies = vec![allow("a", PODS), deny("d", PODS).shadow()],
            ALLOW,
            &["a"],
            &[],
        ),
        row(
            "3.12 a shadow Allow grants nothing",
            |s| s.documents.policies = vec![allow("a", PODS).shadow()],
            NO_OPINION,
            &[],
            &[],
        ),
        row(
            "3.12 a shadow Deny that is unknown undermines nothing",
            |s| {
                s.documents.policies = vec![deny("d", PODS).of(&["dir:payments"]).shadow()];
                s.facts = HeldFacts::Unknown;
            },
            NO_OPINION,
            &[],
            &[],
        ),
    ]
}
