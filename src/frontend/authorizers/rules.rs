//! What a subject may do, as a list: the answer to a SelfSubjectRulesReview.
//!
//! Source: `SubjectRulesReviewStatus` in
//! <https://github.com/kubernetes/api/blob/master/authorization/v1/types.go>.

use serde_json::{Value, json};

use super::aggregate;

/// Rules of several authorisers together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// For resources.
    pub resource: Vec<ResourceRule>,
    /// For other paths.
    pub non_resource: Vec<NonResourceRule>,
    /// Why the list may miss some; empty: it does not.
    pub errors: Vec<String>,
    /// Whether some authoriser cannot list its rules.
    pub incomplete: bool,
}

/// What may be done with resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceRule {
    /// The verbs; `*`: all.
    pub verbs: Vec<String>,
    /// The groups; `*`: all.
    pub api_groups: Vec<String>,
    /// The resources; `*`: all.
    pub resources: Vec<String>,
    /// The names; none: all.
    pub resource_names: Vec<String>,
}

/// What may be done with paths that are no resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NonResourceRule {
    /// The verbs; `*`: all.
    pub verbs: Vec<String>,
    /// The paths; a `*` at the end stands for anything.
    pub urls: Vec<String>,
}

impl Rules {
    /// Anything may be done.
    pub(super) fn add_everything(&mut self) {
        let any = || vec!["*".to_owned()];
        self.resource.push(ResourceRule {
            verbs: any(),
            api_groups: any(),
            resources: any(),
            resource_names: Vec::new(),
        });
        self.non_resource.push(NonResourceRule { verbs: any(), urls: any() });
    }

    /// An authoriser decides by other means than rules.
    pub(super) fn cannot_tell(&mut self, why: &str) {
        self.incomplete = true;
        self.errors.push(why.to_owned());
    }

    /// The `status` of the review.
    #[must_use]
    pub fn status(&self) -> Value {
        let resource = |rule: &ResourceRule| {
            let mut object = json!({
                "verbs": rule.verbs, "apiGroups": rule.api_groups, "resources": rule.resources,
            });
            if let (false, Some(fields)) = (rule.resource_names.is_empty(), object.as_object_mut()) {
                fields.insert("resourceNames".into(), rule.resource_names.clone().into());
            }
            object
        };
        let non_resource =
            |rule: &NonResourceRule| json!({"verbs": rule.verbs, "nonResourceURLs": rule.urls});
        let mut status = json!({
            "resourceRules": self.resource.iter().map(resource).collect::<Vec<_>>(),
            "nonResourceRules": self.non_resource.iter().map(non_resource).collect::<Vec<_>>(),
            "incomplete": self.incomplete,
        });
        if let (false, Some(fields)) = (self.errors.is_empty(), status.as_object_mut()) {
            fields.insert("evaluationError".into(), aggregate(&self.errors).into());
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::subject;
    use super::super::{Authorizer, Chain, abac};
    use super::*;

    #[test]
    fn rules_are_those_of_all_authorisers_that_can_list_them() {
        let policies = concat!(
            r#"{"apiVersion":"abac.authorization.kubernetes.io/v1beta1","kind":"Policy","#,
            r#""spec":{"user":"alice","namespace":"a","resource":"pods","apiGroup":"","readonly":true}}"#,
        );
        let policies = abac::Policies::parse("p", policies.as_bytes()).unwrap();
        let chain = Chain::new(vec![
            ("ABAC".into(), Authorizer::Abac(policies)),
            ("allow".into(), Authorizer::AlwaysAllow),
        ]);
        let status = chain.rules_for(&subject("alice", &[]), "a").status();
        assert_eq!(
            status["resourceRules"],
            json!([
                {"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["pods"]},
                {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
            ])
        );
        assert_eq!(status["incomplete"], false);
        assert_eq!(status.get("evaluationError"), None);
        assert_eq!(chain.rules_for(&subject("alice", &[]), "b").resource.len(), 1);
        assert_eq!(chain.rules_for(&subject("bob", &[]), "a").resource.len(), 1);
    }

    #[test]
    fn whoever_cannot_list_rules_makes_the_list_incomplete() {
        let mut rules = Rules::default();
        rules.cannot_tell("webhook authorizer does not support user rule resolution");
        let status = rules.status();
        assert_eq!(status["incomplete"], true);
        assert_eq!(status["evaluationError"], "webhook authorizer does not support user rule resolution");
    }
}
