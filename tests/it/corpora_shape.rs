//! What `corpora` says of itself, measured.

use bailiwick::model::{Decision, Outcome};
use bailiwick::policy::ast::{Documents, Effect, NamespacePattern, Rule};

use crate::corpora::{Corpus, SUBJECTS, Shape};
use crate::naive::{NaiveFacts, decide};
use crate::scene::settings;

const SHAPE: Shape = Shape { policies: 1_000, directory_groups: 30, asserted_groups: 5 };

/// How many policies match by their rules alone, and by rules and subjects, over `count` requests.
fn matching(corpus: &mut Corpus, count: usize, home: bool) -> (usize, usize) {
    // As Allows without conditions and (for the rules alone) for everyone, all policies that match apply, and are named.
    // No request of these is for a list over all namespaces: a Deny overlaps what an Allow covers.
    let mut rules_alone = corpus.documents.clone();
    for policy in &mut rules_alone.policies {
        policy.subjects = vec![crate::scene::spanned(bailiwick::policy::ast::SubjectTerm::Everyone)];
    }
    let plain = |documents: &mut Documents| {
        for policy in &mut documents.policies {
            policy.effect = Effect::Allow;
            policy.except_subjects.clear();
            policy.unless.clear();
            policy.when = bailiwick::policy::ast::Conditions::default();
        }
    };
    plain(&mut rules_alone);
    let mut with_subjects = corpus.documents.clone();
    plain(&mut with_subjects);
    let (names, circumstances) = (corpus.group_names.clone(), corpus.circumstances.clone());
    let (mut by_rules, mut by_both) = (0, 0);
    for _ in 0..count {
        let (request, facts) = if home { corpus.home_request() } else { corpus.uniform_request() };
        // Allows and Denies apart, because where a Deny applies no Allow is named.
        for (documents, sum) in [(&rules_alone, &mut by_rules), (&with_subjects, &mut by_both)] {
            let applying =
                decide(documents, &settings(), &request, NaiveFacts::Current(facts), &names, &circumstances)
                    .applying;
            *sum += applying.len();
        }
    }
    (by_rules, by_both)
}

#[test]
fn a_corpus_is_the_same_whenever_it_is_made() {
    let texts = || {
        let mut corpus = Corpus::new(SHAPE, 7);
        let requests: Vec<String> = (0..20).map(|_| format!("{:?}", corpus.uniform_request())).collect();
        (format!("{:?}", corpus.documents.policies), requests)
    };
    assert_eq!(texts(), texts());
}

#[test]
fn every_subject_has_exactly_the_groups_of_the_shape() {
    for (directory_groups, asserted_groups) in [(5, 5), (30, 5), (200, 200)] {
        let corpus = Corpus::new(Shape { policies: 1_000, directory_groups, asserted_groups }, 1);
        assert_eq!(corpus.people.len(), SUBJECTS);
        for (subject, facts, tenants) in &corpus.people {
            let mut ids: Vec<_> = facts.groups.iter().map(|membership| &membership.group.id).collect();
            ids.sort();
            ids.dedup();
            assert_eq!(
                (ids.len(), subject.groups.len()),
                (directory_groups, asserted_groups),
                "{}",
                subject.user
            );
            assert!(!tenants.is_empty());
        }
    }
}

#[test]
fn the_share_of_wildcards_is_what_is_written() {
    let corpus = Corpus::new(SHAPE, 1);
    assert_eq!(corpus.documents.policies.len(), SHAPE.policies);
    let with_star = corpus
        .documents
        .policies
        .iter()
        .filter(|policy| {
            policy.rules.iter().any(|rule| match &rule.value {
                Rule::Resource(rule) => rule.namespaces.iter().flatten().any(|namespace| match namespace {
                    NamespacePattern::Named(pattern) => pattern.as_exact().is_none(),
                    NamespacePattern::ClusterWide => false,
                }),
                Rule::NonResource(_) => false,
            })
        })
        .count();
    assert_eq!(with_star, SHAPE.policies / 2);
}

/// The numbers of candidates a request, which an index can be held against: they do not grow with the policies.
#[test]
fn what_matches_a_request_does_not_grow_with_the_policies() {
    for (policies, most_by_both) in [(100, 80), (1_000, 15)] {
        let mut corpus = Corpus::new(Shape { policies, ..SHAPE }, 3);
        let (by_rules, by_both) = matching(&mut corpus, 500, false);
        assert!((500..700).contains(&by_rules), "{policies} policies: {by_rules} by rules in 500 requests");
        assert!(
            (1..most_by_both).contains(&by_both),
            "{policies} policies: {by_both} by both in 500 requests"
        );
        let (_, at_home) = matching(&mut corpus, 500, true);
        assert!((200..300).contains(&at_home), "{policies} policies: {at_home} at home in 500 requests");
    }
}

#[test]
fn listing_all_secrets_overlaps_a_deny_of_every_tenant() {
    let mut corpus = Corpus::new(SHAPE, 5);
    for policy in &mut corpus.documents.policies {
        policy.subjects = vec![crate::scene::spanned(bailiwick::policy::ast::SubjectTerm::Everyone)];
        policy.unless.clear();
    }
    let (documents, names, circumstances) =
        (corpus.documents.clone(), corpus.group_names.clone(), corpus.circumstances.clone());
    let (request, facts) = corpus.list_everywhere();
    let verdict =
        decide(&documents, &settings(), &request, NaiveFacts::Current(facts), &names, &circumstances);
    assert_eq!(verdict.outcome, Outcome::Decided(Decision::Deny));
    assert_eq!(verdict.applying.len(), SHAPE.policies / 10);
}
