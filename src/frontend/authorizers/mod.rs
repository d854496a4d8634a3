//! The second stage: may you do this? Authorisers in a chain, as an API server has them.
//!
//! The chain is `k8s.io/apiserver/pkg/authorization/union/union.go`: whoever allows or denies first ends it; whoever has
//! no opinion leaves a reason at most. Before all others stands the superuser's authoriser, as an API server builds it in.

pub mod abac;
mod always;
pub mod configuration;
pub mod node;
pub mod rbac;
mod refusal;
pub mod reviews;
pub mod rules;
pub mod webhook;

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Instant;

use super::journey::{Outcome, Step};
use crate::model::{Decision, Request, Subject};
pub(in crate::frontend) use always::is_superuser;
pub use refusal::refusal;
use rules::Rules;

/// What one authoriser says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opinion {
    /// Allow and Deny end the chain.
    pub decision: Decision,
    /// Why; may be empty.
    pub reason: Cow<'static, str>,
    /// What went wrong, where it could not be found out; the decision is what counts then.
    pub error: Option<String>,
    /// What was looked at and found, in a sentence for whoever reads the journey.
    pub detail: String,
}

/// What the chain says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What counts: anything but Allow is a refusal.
    pub decision: Decision,
    /// The reason of whoever decided; where nobody did, those of all, each on a line.
    pub reason: String,
    /// What went wrong: with whoever decided, or on the way where nobody did. Unless it is allowed, the user is told of an
    /// error instead of a refusal then (`k8s.io/apiserver/pkg/endpoints/filters/authorization.go`).
    pub error: Option<String>,
    /// Who decided.
    pub by: Option<String>,
    /// What each said, in its order.
    pub steps: Vec<Step>,
}

/// One way of deciding.
#[derive(Debug)]
pub enum Authorizer {
    /// Members of `system:masters` may do anything.
    Superuser,
    /// Everybody may do anything.
    AlwaysAllow,
    /// Nobody may do anything that nobody else allows.
    AlwaysDeny,
    /// Policies in a file.
    Abac(abac::Policies),
    /// Roles and bindings.
    Rbac(rbac::Rbac),
    /// Nodes, for themselves and their pods.
    Node(node::NodeAuthorizer),
    /// Somebody else is asked.
    Webhook(Box<webhook::Webhook>),
}

/// Authorisers in their order.
#[derive(Debug)]
pub struct Chain {
    links: Vec<Link>,
}

#[derive(Debug)]
struct Link {
    name: String,
    authorizer: Authorizer,
}

impl Chain {
    /// The superuser's authoriser, and then these, each with its name.
    #[must_use]
    pub fn new(authorizers: Vec<(String, Authorizer)>) -> Self {
        let superuser = Link { name: "superuser".to_owned(), authorizer: Authorizer::Superuser };
        let links = authorizers.into_iter().map(|(name, authorizer)| Link { name, authorizer });
        Self { links: std::iter::once(superuser).chain(links).collect() }
    }

    /// The names of the authorisers, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.links.iter().map(|link| link.name.as_str())
    }

    /// Asks one after the other until one decides.
    pub async fn authorize(&self, request: &Request) -> Verdict {
        let (mut reasons, mut errors, mut steps) = (Vec::new(), Vec::new(), Vec::new());
        for link in &self.links {
            let began = Instant::now();
            let Opinion { decision, reason, error, detail } = link.authorizer.authorize(request).await;
            steps.push(Step::new(&link.name, outcome(decision, error.is_some()), detail, began));
            if decision != Decision::NoOpinion {
                let by = Some(link.name.clone());
                return Verdict { decision, reason: reason.into_owned(), error, by, steps };
            }
            errors.extend(error);
            if !reason.is_empty() {
                reasons.push(reason);
            }
        }
        let error = (!errors.is_empty()).then(|| aggregate(&errors));
        Verdict { decision: Decision::NoOpinion, reason: reasons.join("\n"), error, by: None, steps }
    }

    /// What a subject may do in a namespace, as far as the authorisers can list it (SelfSubjectRulesReview).
    #[must_use]
    pub fn rules_for(&self, subject: &Subject, namespace: &str) -> Rules {
        let mut rules = Rules::default();
        for link in &self.links {
            link.authorizer.add_rules(subject, namespace, &mut rules);
        }
        rules
    }
}

impl Authorizer {
    /// Asks this one.
    pub async fn authorize(&self, request: &Request) -> Opinion {
        match self {
            Self::Superuser => always::superuser(request),
            Self::AlwaysAllow => always::allow(),
            Self::AlwaysDeny => always::deny(),
            Self::Abac(policies) => policies.authorize(request),
            Self::Rbac(rbac) => rbac.authorize(request),
            Self::Node(node) => node.authorize(request),
            Self::Webhook(webhook) => webhook.authorize(request).await,
        }
    }

    fn add_rules(&self, subject: &Subject, namespace: &str, rules: &mut Rules) {
        match self {
            // Neither lists anything in an API server; the superuser is bound to `cluster-admin` besides.
            Self::Superuser | Self::AlwaysDeny => {}
            Self::Node(_) => node::NodeAuthorizer::add_rules(subject, rules),
            Self::AlwaysAllow => rules.add_everything(),
            Self::Abac(policies) => policies.add_rules(subject, namespace, rules),
            Self::Rbac(rbac) => rbac.add_rules(subject, namespace, rules),
            Self::Webhook(_) => {
                rules.cannot_tell("webhook authorizer does not support user rule resolution");
            }
        }
    }
}

impl Opinion {
    /// It may be done.
    pub fn allow(reason: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self { decision: Decision::Allow, reason: reason.into(), error: None, detail: detail.into() }
    }

    /// Nothing is said.
    pub fn none(reason: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self { decision: Decision::NoOpinion, reason: reason.into(), error: None, detail: detail.into() }
    }
}

fn outcome(decision: Decision, failed: bool) -> Outcome {
    match decision {
        Decision::Allow => Outcome::Passed,
        Decision::Deny => Outcome::Refused,
        Decision::NoOpinion if failed => Outcome::Failed,
        Decision::NoOpinion => Outcome::Abstained,
    }
}

/// Errors as `k8s.io/apimachinery/pkg/util/errors` writes several: each once, in brackets.
pub(super) fn aggregate(errors: &[String]) -> String {
    let mut seen = HashSet::new();
    let distinct: Vec<&str> = errors.iter().map(String::as_str).filter(|error| seen.insert(*error)).collect();
    match &*distinct {
        [only] => (*only).to_owned(),
        several => format!("[{}]", several.join(", ")),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::{Action, NonResourceAction, ResourceAction};

    /// A request of somebody: `verb resource[.group][/subresource]`, in a namespace, for a name.
    pub(crate) fn resource(user: &str, groups: &[&str], what: &str, namespace: &str, name: &str) -> Request {
        let (verb, resource) = what.split_once(' ').unwrap();
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
        let action = ResourceAction {
            verb: verb.into(),
            group: group.into(),
            version: "v1".into(),
            resource: resource.into(),
            subresource: subresource.into(),
            namespace: namespace.into(),
            name: name.into(),
            ..ResourceAction::default()
        };
        Request { subject: subject(user, groups), action: Action::Resource(action) }
    }

    /// A request of somebody for a path.
    pub(crate) fn path(user: &str, groups: &[&str], verb: &str, path: &str) -> Request {
        let action = NonResourceAction { verb: verb.into(), path: path.into() };
        Request { subject: subject(user, groups), action: Action::NonResource(action) }
    }

    pub(crate) fn subject(user: &str, groups: &[&str]) -> Subject {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        Subject { user: user.into(), groups, ..Subject::default() }
    }

    fn abac(text: &str) -> (String, Authorizer) {
        ("ABAC".into(), Authorizer::Abac(abac::Policies::parse("policy.jsonl", text.as_bytes()).unwrap()))
    }

    const ALICE_ANYTHING: &str = r#"{"user":"alice"}"#;

    #[tokio::test]
    async fn whoever_decides_first_ends_the_chain() {
        let chain = Chain::new(vec![
            ("deny".into(), Authorizer::AlwaysDeny),
            abac(ALICE_ANYTHING),
            ("allow".into(), Authorizer::AlwaysAllow),
        ]);
        let verdict = chain.authorize(&resource("alice", &[], "get pods", "a", "b")).await;
        assert_eq!(verdict.decision, Decision::Allow);
        assert_eq!(verdict.by.as_deref(), Some("ABAC"));
        let outcomes: Vec<Outcome> = verdict.steps.iter().map(|step| step.outcome).collect();
        assert_eq!(outcomes, [Outcome::Abstained, Outcome::Abstained, Outcome::Passed]);
        assert!(verdict.steps.iter().all(|step| !step.detail.is_empty()));
    }

    #[tokio::test]
    async fn where_nobody_decides_the_reasons_of_all_are_given() {
        let chain = Chain::new(vec![("deny".into(), Authorizer::AlwaysDeny), abac(ALICE_ANYTHING)]);
        let verdict = chain.authorize(&resource("bob", &[], "get pods", "a", "b")).await;
        assert_eq!(verdict.decision, Decision::NoOpinion);
        assert_eq!(verdict.reason, "Everything is forbidden.\nNo policy matched.");
        assert_eq!((verdict.by, verdict.error), (None, None));
    }

    #[tokio::test]
    async fn a_chain_can_be_asked_from_any_thread() {
        let chain = std::sync::Arc::new(Chain::new(vec![("allow".into(), Authorizer::AlwaysAllow)]));
        let asked = std::sync::Arc::clone(&chain);
        let verdict = tokio::spawn(async move { asked.authorize(&path("a", &[], "get", "/")).await });
        assert_eq!(verdict.await.unwrap().decision, Decision::Allow);
    }

    #[tokio::test]
    async fn the_superusers_stand_before_everybody() {
        let chain = Chain::new(vec![("deny".into(), Authorizer::AlwaysDeny)]);
        let verdict = chain.authorize(&resource("root", &["system:masters"], "delete nodes", "", "a")).await;
        assert_eq!((verdict.decision, verdict.by.as_deref()), (Decision::Allow, Some("superuser")));
        let verdict = chain.authorize(&resource("root", &["system:Masters"], "delete nodes", "", "a")).await;
        assert_eq!(verdict.decision, Decision::NoOpinion);
    }

    #[test]
    fn several_errors_are_one_and_each_stands_in_it_once() {
        let errors = |texts: &[&str]| aggregate(&texts.iter().map(|text| (*text).into()).collect::<Vec<_>>());
        assert_eq!(errors(&["a"]), "a");
        assert_eq!(errors(&["a", "b", "a"]), "[a, b]");
        assert_eq!(errors(&["a", "a"]), "a");
    }
}
