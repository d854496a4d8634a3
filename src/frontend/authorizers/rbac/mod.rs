//! Role-based access control: roles say what may be done, bindings say by whom.
//!
//! Source: `k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/rbac.go` and `pkg/registry/rbac/validation/rule.go`.

pub mod bootstrap;
mod escalation;
mod objects;
mod rule;

use std::sync::Arc;

use serde_json::Value;

use super::rules::{NonResourceRule, ResourceRule, Rules};
use super::{Opinion, aggregate};
use crate::model::{Action, Request, Subject};

pub use escalation::{Change, MAX_GRANTED_PARTS, may_grant};
pub use objects::{Binding, BindingSubject, Role, RoleError, RoleKind, RoleRef, SubjectKind};
pub use rule::PolicyRule;

/// Where roles and bindings are.
pub trait RbacObjects: Send + Sync {
    /// A Role.
    fn role(&self, namespace: &str, name: &str) -> Option<Arc<Value>>;
    /// A ClusterRole.
    fn cluster_role(&self, name: &str) -> Option<Arc<Value>>;
    /// The RoleBindings of a namespace, by name.
    fn role_bindings(&self, namespace: &str) -> Vec<Arc<Value>>;
    /// The ClusterRoleBindings, by name.
    fn cluster_role_bindings(&self) -> Vec<Arc<Value>>;
}

/// The authoriser.
pub struct Rbac {
    objects: Arc<dyn RbacObjects>,
    parsed: objects::Parsed,
}

/// A rule that a subject has, and by what; or why a role of theirs has none.
type Found<'a> = Result<(Grant<'a>, &'a PolicyRule), RoleError>;

/// Whose binding gives a rule, and which.
struct Grant<'a> {
    binding: &'a Binding,
    subject: &'a BindingSubject,
}

impl Rbac {
    /// Decides by these objects, as they are at each request.
    #[must_use]
    pub fn new(objects: Arc<dyn RbacObjects>) -> Self {
        Self { objects, parsed: objects::Parsed::default() }
    }

    pub(super) fn authorize(&self, request: &Request) -> Opinion {
        let namespace = match &request.action {
            Action::Resource(action) => action.namespace.as_str(),
            Action::NonResource(_) => "",
        };
        let (mut reason, mut errors, mut looked_at) = (None, Vec::new(), 0_usize);
        self.visit(&request.subject, namespace, &mut |found| match found {
            Ok((grant, rule)) => {
                looked_at = looked_at.saturating_add(1);
                if rule.allows(&request.action) {
                    let detail = format!("the rule {} of {}", rule.compact(), grant.describe());
                    reason = Some((format!("RBAC: allowed by {}", grant.describe()), detail));
                }
                reason.is_none()
            }
            Err(error) => {
                errors.push(error.to_string());
                true
            }
        });
        match reason {
            Some((reason, detail)) => Opinion::allow(reason, format!("{detail} allows it")),
            None => nothing(looked_at, &errors),
        }
    }

    /// The rules that a subject has in a namespace (in none: those of the cluster), and why some of them could not be
    /// found.
    #[must_use]
    pub fn rules_of(&self, subject: &Subject, namespace: &str) -> (Vec<PolicyRule>, Vec<String>) {
        let (mut rules, mut errors) = (Vec::new(), Vec::new());
        self.visit(subject, namespace, &mut |found| {
            match found {
                Ok((_, rule)) => rules.push(rule.clone()),
                Err(error) => errors.push(error.to_string()),
            }
            true
        });
        (rules, errors)
    }

    pub(super) fn add_rules(&self, subject: &Subject, namespace: &str, all: &mut Rules) {
        let (rules, errors) = self.rules_of(subject, namespace);
        for rule in rules {
            if !rule.non_resource_urls.is_empty() {
                let urls = rule.non_resource_urls;
                all.non_resource.push(NonResourceRule { verbs: rule.verbs.clone(), urls });
            }
            if !rule.resources.is_empty() {
                all.resource.push(ResourceRule {
                    verbs: rule.verbs,
                    api_groups: rule.api_groups,
                    resources: rule.resources,
                    resource_names: rule.resource_names,
                });
            }
        }
        if !errors.is_empty() {
            all.errors.push(aggregate(&errors));
        }
    }

    /// The role that a binding in a namespace (in none: a ClusterRoleBinding) refers to.
    ///
    /// # Errors
    /// Where there is no such role.
    pub fn role_of(&self, reference: &RoleRef, namespace: &str) -> Result<Arc<Role>, RoleError> {
        let (kind, object) = match &*reference.kind {
            "Role" => (RoleKind::Role, self.objects.role(namespace, &reference.name)),
            "ClusterRole" => (RoleKind::ClusterRole, self.objects.cluster_role(&reference.name)),
            other => return Err(RoleError::Kind(other.to_owned())),
        };
        match object {
            Some(object) => Ok(self.parsed.role(&object)),
            None => Err(RoleError::NotFound(kind, reference.name.clone())),
        }
    }

    /// Shows every rule of the subject until `visit` says that it has seen enough: those bound in the cluster first,
    /// then those bound in the namespace.
    fn visit(&self, subject: &Subject, namespace: &str, visit: &mut dyn FnMut(Found<'_>) -> bool) {
        let bound_here = || match namespace {
            "" => Vec::new(),
            namespace => self.objects.role_bindings(namespace),
        };
        let bindings = self.objects.cluster_role_bindings().into_iter().map(|binding| (binding, ""));
        // Bindings of the namespace are fetched only where those of the cluster do not end it.
        let bindings =
            bindings.chain(std::iter::once_with(bound_here).flatten().map(|binding| (binding, namespace)));
        for (binding, namespace) in bindings {
            let binding = self.parsed.binding(&binding);
            let Some(bound) = binding.subject_of(subject, namespace) else { continue };
            let role = match self.role_of(&binding.role, namespace) {
                Ok(role) => role,
                Err(error) => {
                    if visit(Err(error)) {
                        continue;
                    }
                    return;
                }
            };
            for rule in &role.rules {
                if !visit(Ok((Grant { binding: &binding, subject: bound }, rule))) {
                    return;
                }
            }
        }
    }
}

impl std::fmt::Debug for Rbac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rbac").finish_non_exhaustive()
    }
}

fn nothing(looked_at: usize, errors: &[String]) -> Opinion {
    let mut detail = match looked_at {
        0 => "no binding is for this user or their groups".to_owned(),
        1 => "the one rule that is bound to this user or their groups does not cover it".to_owned(),
        many => format!("none of the {many} rules that are bound to this user or their groups covers it"),
    };
    if errors.is_empty() {
        return Opinion::none("", detail);
    }
    let errors = aggregate(errors);
    detail = format!("{detail}; some could not be read: {errors}");
    Opinion::none(format!("RBAC: {errors}"), detail)
}

impl Grant<'_> {
    /// As an API server's audit says it.
    fn describe(&self) -> String {
        let Binding { name, namespace, role, .. } = self.binding;
        let (kind, binding) = match &**namespace {
            "" => ("ClusterRoleBinding", name.clone()),
            namespace => ("RoleBinding", format!("{name}/{namespace}")),
        };
        let subject = self.subject.describe(namespace);
        format!("{kind} {binding:?} of {} {:?} to {subject}", role.kind, role.name)
    }
}

#[cfg(test)]
mod tests;
