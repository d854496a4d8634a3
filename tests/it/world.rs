//! A corpus, compiled and bound, with its requests and prepared facts: what `decide` is measured and counted on. Shared by
//! the benchmarks and by `decide_cost`.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bailiwick::eval::{self, Bound, Evaluation, Off, Prepared, View};
use bailiwick::model::{Circumstances, Facts, GroupNames, Request, Resolved};
use bailiwick::policy::ast::{Documents, Effect, GroupRef};
use bailiwick::policy::{self, PolicySet, Term};

use crate::corpora::{Corpus, Shape};

/// The seed of every corpus here: any other gives numbers of the same size.
const SEED: u64 = 12;

/// Everything that a decision needs, ready.
pub struct World {
    pub group_names: GroupNames,
    pub bound: Bound,
    pub settings: eval::Settings,
    pub circumstances: Circumstances,
    pub facts: Vec<Arc<Facts>>,
    pub prepared: Vec<Prepared>,
    pub uniform: Vec<Question>,
    pub home: Vec<Question>,
    pub everywhere: Vec<Question>,
}

/// A request, and the place of who asks.
pub struct Question {
    pub request: Request,
    pub person: usize,
}

impl World {
    /// The world of a shape, with this many requests of each kind.
    pub fn new(shape: Shape, requests: usize) -> Self {
        let mut corpus = Corpus::new(shape, SEED);
        let set = compile(&corpus.documents);
        let bound = Bound::new(Arc::new(set), &corpus.group_names, 1);
        let facts: Vec<Arc<Facts>> =
            corpus.people.iter().map(|(_, facts, _)| Arc::new(facts.clone())).collect();
        let places: HashMap<String, usize> = corpus
            .people
            .iter()
            .enumerate()
            .map(|(place, (subject, ..))| (subject.user.clone(), place))
            .collect();
        let mut ask = |next: fn(&mut Corpus) -> Request| -> Vec<Question> {
            let next = |_| {
                let request = next(&mut corpus);
                let person = places[&request.subject.user];
                Question { request, person }
            };
            (0..requests).map(next).collect()
        };
        let uniform = ask(|corpus| corpus.uniform_request().0);
        let home = ask(|corpus| corpus.home_request().0);
        let everywhere = ask(|corpus| corpus.list_everywhere().0);
        Self {
            prepared: facts.iter().map(|facts| bound.prepare(Arc::clone(facts))).collect(),
            facts,
            bound,
            settings: eval::Settings::default(),
            circumstances: corpus.circumstances,
            group_names: corpus.group_names,
            uniform,
            home,
            everywhere,
        }
    }

    /// The decision that is measured: current facts, no trace.
    #[inline]
    pub fn decide(&self, question: &Question) -> Evaluation {
        let Self { bound, settings, circumstances, .. } = self;
        eval::decide(bound, settings, &question.request, self.view(question), circumstances, &mut Off)
    }

    /// What is known of who asks.
    pub fn view(&self, question: &Question) -> View<'_> {
        View::Current(&self.prepared[question.person])
    }

    /// How many policies match by their rules and subjects, found by looking at each of them.
    pub fn matching(&self, question: &Question) -> usize {
        let set = self.bound.set();
        let action = &question.request.action;
        let speaking: BTreeSet<u32> = set
            .slots()
            .iter()
            .filter_map(|slot| {
                let rule = slot.rule.as_ref()?;
                let speaks = match set.policies()[slot.policy as usize].effect {
                    Effect::Allow => policy::covers(rule, action),
                    Effect::Deny => policy::overlaps(rule, action, set.scopes()),
                };
                speaks.then_some(slot.policy)
            })
            .collect();
        let names_subject = |policy: &u32| {
            let subjects = &set.policies()[*policy as usize].subjects;
            subjects.iter().any(|term| self.is_named(term, question))
        };
        speaking.into_iter().filter(names_subject).count()
    }

    fn is_named(&self, term: &Term, question: &Question) -> bool {
        let subject = &question.request.subject;
        let facts = &self.facts[question.person];
        match term {
            Term::Everyone => true,
            Term::User(name) => subject.user == **name,
            Term::Group(name) => subject.groups.iter().any(|group| **group == **name),
            Term::Directory(group) => match &self.bound.set().group_refs()[group.0 as usize] {
                GroupRef::Id(id) => facts.is_in(id),
                GroupRef::Dn(dn) => {
                    facts.groups.iter().any(|membership| membership.group.dn.as_ref() == Some(dn))
                }
                GroupRef::Name(name) => match self.group_names.names.get(name) {
                    Some(Resolved::Group(id)) => facts.is_in(id),
                    Some(Resolved::None | Resolved::Several) | None => false,
                },
            },
            Term::All(terms) => terms.iter().all(|term| self.is_named(term, question)),
        }
    }
}

/// Compiles documents, in a configuration that trusts the corpora's cluster with source addresses.
pub fn compile(documents: &Documents) -> PolicySet {
    let settings = policy::Settings {
        trusted_clusters: BTreeSet::from(["prod-1".to_owned()]),
        ..policy::Settings::default()
    };
    PolicySet::compile(documents, &[], &settings).unwrap_or_else(|diagnostics| {
        panic!("the corpus is refused: {:?}", diagnostics.items.first().map(|item| &item.message))
    })
}
