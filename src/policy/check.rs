//! Whether documents and configuration fit each other: what no document shows by itself.

use super::ast::{AccessPolicy, AttributeType, Conditions, Documents, Effect, SubjectTerm, Vocabulary};
use super::settings::{Exempt, Settings};
use crate::document::{Diagnostic, Diagnostics, Severity, Source, Span, Spanned};
use crate::model::Subject;

/// Everything in which the documents and the settings do not fit, and warnings of what can never have an effect.
#[must_use]
pub fn against_settings(documents: &Documents, sources: &[Source], settings: &Settings) -> Diagnostics {
    let mut check = Check { settings, vocabulary: &documents.vocabulary, items: Vec::new() };
    for policy in &documents.policies {
        check.conditions(&policy.when);
        for unless in &policy.unless {
            check.conditions(&unless.value);
        }
        check.dead_deny(policy);
    }
    check.items.sort_by_key(|item| item.span);
    Diagnostics { items: check.items, sources: sources.to_vec() }
}

struct Check<'a> {
    settings: &'a Settings,
    vocabulary: &'a Vocabulary,
    items: Vec<Diagnostic>,
}

impl Check<'_> {
    fn conditions(&mut self, conditions: &Conditions) {
        if let Some(location) = &conditions.location
            && self.settings.trusted_clusters.is_empty()
        {
            self.error(
                "a policy uses `location`, but no cluster is trusted with source addresses",
                location.span,
                "list the clusters whose authenticating proxy sets the address in `location.trustedClusters`",
            );
        }
        if let Some(clearance) = &conditions.clearance {
            self.clearance(clearance.span);
        }
        for test in &conditions.directory {
            self.attribute(&test.value.attribute);
        }
    }

    fn clearance(&mut self, span: Span) {
        if self.settings.clearance_extra_key.is_some() {
            if self.settings.trusted_clusters.is_empty() {
                self.error(
                    "clearance comes from `extra`, but no cluster is trusted with it",
                    span,
                    "list the clusters in `location.trustedClusters`, or remove `clearance.extraKey`",
                );
            }
            return;
        }
        let attribute =
            self.vocabulary.attributes.iter().find(|(_, kind)| **kind == AttributeType::Clearance);
        match attribute {
            None => self.error(
                "a policy uses `clearance`, but no attribute of the vocabulary is of the type `clearance`",
                span,
                "add `attributes: {clearance: {type: clearance}}` to a Vocabulary",
            ),
            Some((name, _)) => {
                let name = name.clone();
                self.configured(&name, AttributeType::Clearance, span);
            }
        }
    }

    fn attribute(&mut self, attribute: &Spanned<String>) {
        if let Some(kind) = self.vocabulary.attributes.get(&attribute.value).copied() {
            self.configured(&attribute.value, kind, attribute.span);
        }
    }

    fn configured(&mut self, name: &str, kind: AttributeType, span: Span) {
        let Some(configured) = &self.settings.attributes else { return };
        match configured.get(name) {
            Some(found) if *found == kind => {}
            Some(_) => self.error(
                &format!("the attribute `{name}` has another type in the configuration than in the vocabulary"),
                span,
                "make `directory.ldap.attributes` and the vocabulary agree (`type: level` is the vocabulary's `clearance`)",
            ),
            None => self.error(
                &format!("the attribute `{name}` is not read from the directory"),
                span,
                &format!("add `{name}: {{from: LDAP-ATTRIBUTE}}` to `directory.ldap.attributes`"),
            ),
        }
    }

    fn dead_deny(&mut self, policy: &AccessPolicy) {
        if policy.effect == Effect::Deny
            && policy.subjects.iter().all(|term| is_exempt(&term.value, &self.settings.exempt))
        {
            self.items.push(Diagnostic {
                severity: Severity::Warning,
                message: format!("the Deny `{}` is dead: all of its subjects are exempt", policy.name.value),
                span: Some(policy.name.span),
                help: Some(
                    "exempt subjects (`decisions.exempt`) are answered NoOpinion before any policy"
                        .to_owned(),
                ),
            });
        }
    }

    fn error(&mut self, message: &str, span: Span, help: &str) {
        self.items.push(Diagnostic {
            severity: Severity::Error,
            message: message.to_owned(),
            span: Some(span),
            help: Some(help.to_owned()),
        });
    }
}

/// Whether whoever this term names is exempt for certain.
fn is_exempt(term: &SubjectTerm, exempt: &[Exempt]) -> bool {
    let subject = match term {
        SubjectTerm::User(user) => Subject { user: user.clone(), ..Subject::default() },
        // The groups that the API server gives every ServiceAccount.
        SubjectTerm::ServiceAccount { namespace, name } => Subject {
            user: format!("system:serviceaccount:{namespace}:{name}"),
            groups: vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")],
            ..Subject::default()
        },
        SubjectTerm::AllOf(terms) => return terms.iter().any(|term| is_exempt(term, exempt)),
        SubjectTerm::DirectoryGroup(_) | SubjectTerm::Group(_) | SubjectTerm::Everyone => return false,
    };
    exempt.iter().any(|exempt| exempt.matches(&subject))
}
