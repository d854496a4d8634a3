//! Roles and bindings, read from their JSON once for each version of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use serde_json::Value;

use crate::frontend::meta;

use super::rule::PolicyRule;
use crate::model::Subject;

/// How many roles, and how many bindings, are kept as they were read; with more, all are read again.
const MAX_PARSED: usize = 10_000;

/// The rules of a Role or ClusterRole.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Role {
    /// Any of them is enough.
    pub rules: Vec<PolicyRule>,
}

/// A RoleBinding, or a ClusterRoleBinding.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Binding {
    /// Its name.
    pub name: String,
    /// Its namespace; none: a ClusterRoleBinding.
    pub namespace: String,
    /// What it grants.
    pub role: RoleRef,
    /// To whom.
    pub subjects: Vec<BindingSubject>,
}

/// Which role a binding grants.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RoleRef {
    /// `rbac.authorization.k8s.io`.
    pub api_group: String,
    /// `Role` or `ClusterRole`.
    pub kind: String,
    /// The role's name.
    pub name: String,
}

/// The kinds of roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleKind {
    /// A role of a namespace.
    Role,
    /// A role of the cluster.
    ClusterRole,
}

impl RoleKind {
    fn singular(self) -> &'static str {
        match self {
            Self::Role => "role",
            Self::ClusterRole => "clusterrole",
        }
    }

    /// The resource, in the plural.
    #[must_use]
    pub fn resource(self) -> &'static str {
        match self {
            Self::Role => "roles",
            Self::ClusterRole => "clusterroles",
        }
    }
}

/// Why a binding grants nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoleError {
    /// There is no role of this kind and name; in the words of an API server's authoriser.
    #[error("{}.rbac.authorization.k8s.io {:?} not found", .0.singular(), .1)]
    NotFound(RoleKind, String),
    /// It refers to something that is no role.
    #[error("unsupported role reference kind: {0:?}")]
    Kind(String),
}

/// Whom a binding grants it to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct BindingSubject {
    /// What the name is a name of.
    pub kind: SubjectKind,
    /// The name.
    #[serde(default)]
    pub name: String,
    /// The namespace of a ServiceAccount.
    #[serde(default)]
    pub namespace: String,
}

/// What a subject of a binding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum SubjectKind {
    /// A user.
    User,
    /// A group of users.
    Group,
    /// The account of pods.
    ServiceAccount,
    /// Something that nobody is.
    #[serde(other)]
    Other,
}

impl Binding {
    /// Reads a binding. What is not as it should be is left out: it grants nothing.
    #[must_use]
    pub fn read(object: &Value) -> Self {
        let subjects =
            object.get("subjects").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        Self {
            name: meta::text(object, "name").to_owned(),
            namespace: meta::text(object, "namespace").to_owned(),
            role: object.get("roleRef").map(read).unwrap_or_default(),
            subjects: subjects
                .iter()
                .filter_map(|subject| BindingSubject::deserialize(subject).ok())
                .collect(),
        }
    }

    /// The first subject that this user is; ServiceAccounts without a namespace are of `namespace`.
    pub(super) fn subject_of(&self, user: &Subject, namespace: &str) -> Option<&BindingSubject> {
        self.subjects.iter().find(|subject| subject.is(user, namespace))
    }
}

impl BindingSubject {
    fn is(&self, user: &Subject, namespace: &str) -> bool {
        match self.kind {
            SubjectKind::User => user.user == self.name,
            SubjectKind::Group => user.groups.contains(&self.name),
            SubjectKind::ServiceAccount => {
                let namespace = if self.namespace.is_empty() { namespace } else { &self.namespace };
                !namespace.is_empty() && is_service_account(&user.user, namespace, &self.name)
            }
            SubjectKind::Other => false,
        }
    }

    /// As an API server's reasons say it: ServiceAccounts as `name/namespace`.
    pub(super) fn describe(&self, namespace: &str) -> String {
        match self.kind {
            SubjectKind::ServiceAccount => {
                let namespace = if self.namespace.is_empty() { namespace } else { &self.namespace };
                format!("ServiceAccount {:?}", format!("{}/{namespace}", self.name))
            }
            SubjectKind::User => format!("User {:?}", self.name),
            SubjectKind::Group => format!("Group {:?}", self.name),
            SubjectKind::Other => format!("{:?}", self.name),
        }
    }
}

/// Whether this is the user name of a ServiceAccount (`k8s.io/apiserver/pkg/authentication/serviceaccount/util.go`).
fn is_service_account(user: &str, namespace: &str, name: &str) -> bool {
    let parts = user.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
    parts == Some((namespace, name))
}

fn read<T: serde::de::DeserializeOwned + Default>(value: &Value) -> T {
    T::deserialize(value).unwrap_or_default()
}

/// What was read, by namespace, name and version of the object that it was read from.
#[derive(Default)]
pub(super) struct Parsed {
    roles: Mutex<HashMap<String, Arc<Role>>>,
    bindings: Mutex<HashMap<String, Arc<Binding>>>,
}

impl Parsed {
    pub(super) fn role(&self, object: &Value) -> Arc<Role> {
        parsed(&self.roles, object, Role::read)
    }

    pub(super) fn binding(&self, object: &Value) -> Arc<Binding> {
        parsed(&self.bindings, object, Binding::read)
    }
}

impl Role {
    /// Reads the rules of a role. A rule that is not as it should be is left out: it grants nothing.
    #[must_use]
    pub fn read(object: &Value) -> Self {
        let rules = object.get("rules").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        Self { rules: rules.iter().filter_map(|rule| PolicyRule::deserialize(rule).ok()).collect() }
    }
}

fn parsed<T>(held: &Mutex<HashMap<String, Arc<T>>>, object: &Value, read: impl Fn(&Value) -> T) -> Arc<T> {
    let version = meta::text(object, "resourceVersion");
    if version.is_empty() {
        return Arc::new(read(object));
    }
    // None of them can hold a slash.
    let key = format!("{}/{}/{version}", meta::text(object, "namespace"), meta::text(object, "name"));
    let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(parsed) = held.get(&key) {
        return Arc::clone(parsed);
    }
    let parsed = Arc::new(read(object));
    if held.len() >= MAX_PARSED {
        held.clear();
    }
    held.insert(key, Arc::clone(&parsed));
    parsed
}
