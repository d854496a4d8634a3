//! Nobody gives what they do not have: who creates or changes a role must hold all that it says, or may `escalate`; who
//! binds a role must hold all that it says, or may `bind` it.
//!
//! Sources: `k8s.io/kubernetes/pkg/registry/rbac/{role,clusterrole,rolebinding,clusterrolebinding}/policybased/storage.go`,
//! `.../rbac/escalation_check.go`, `.../rbac/validation/rule.go`.

use serde_json::Value;

use crate::frontend::meta;

use super::super::{Chain, always};
use super::rule::{not_covered, put_together, quoted_list};
use super::{Binding, PolicyRule, Rbac, Role, RoleError};
use crate::frontend::resources::{self, ResourceType};
use crate::frontend::status::ApiError;
use crate::model::{Action, Decision, Request, ResourceAction, Subject};

const GROUP: &str = "rbac.authorization.k8s.io";

/// How many single things (a verb for a resource of a group, by name) a role may say that somebody grants without being
/// allowed to `escalate` or `bind`: each is compared with all that they hold, and a short text can say billions.
pub const MAX_GRANTED_PARTS: usize = 5_000;

/// A role or binding that somebody creates or changes.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// What it is; objects of any other kind are nobody's grant.
    pub kind: &'static ResourceType,
    /// The namespace of the request; empty for the cluster's.
    pub namespace: &'a str,
    /// The name in the request's path; empty where it is created by a POST, as an API server has it: whoever may `escalate`
    /// by name alone may change that role, and not create it.
    pub name: &'a str,
    /// The object as it was; `None`: it is new.
    pub old: Option<&'a Value>,
    /// The object as it is to be.
    pub new: &'a Value,
}

/// Whether `subject` may make this change. `chain` is asked for the verbs `escalate` and `bind`.
///
/// # Errors
/// 403, in the words of an API server; 404 where the role to be bound does not exist, and 400 where it is no role.
pub async fn may_grant(
    chain: &Chain,
    rbac: &Rbac,
    subject: &Subject,
    change: Change<'_>,
) -> Result<(), ApiError> {
    let Change { kind, namespace, old, new, .. } = change;
    if kind.group != GROUP || always::is_superuser(&subject.groups) || is_only_for_collection(old, new) {
        return Ok(());
    }
    let grant = match kind.resource {
        "roles" | "clusterroles" => Grant::of_role(change),
        "rolebindings" | "clusterrolebindings" => Grant::of_binding(rbac, change),
        _ => return Ok(()),
    };
    if let Some(action) = grant.exempting {
        let request = Request { subject: subject.clone(), action: Action::Resource(action) };
        if chain.authorize(&request).await.decision == Decision::Allow {
            return Ok(());
        }
    }
    let name = meta::text(new, "name");
    let rules = grant.rules.map_err(|error| refusal(&error))?;
    // Whoever takes the rule away keeps what it gathered.
    let is_aggregated = [Some(new), old].into_iter().flatten().any(|role| is_aggregated(kind, role));
    if is_aggregated && !holds_everything(rbac, subject) {
        let why = "must have cluster-admin privileges to use the aggregationRule";
        return Err(ApiError::forbidden_object(kind, name, why));
    }
    confirm(rbac, subject, namespace, &rules).map_err(|why| ApiError::forbidden_object(kind, name, &why))
}

/// What is granted, and what one may be allowed to do so that nothing is asked about it.
struct Grant {
    exempting: Option<ResourceAction>,
    rules: Result<Vec<PolicyRule>, RoleError>,
}

impl Grant {
    fn of_role(change: Change<'_>) -> Self {
        let exempting = exempting("escalate", change.kind.resource, change.namespace, change.name);
        Self { exempting: Some(exempting), rules: Ok(Role::read(change.new).rules) }
    }

    fn of_binding(rbac: &Rbac, change: Change<'_>) -> Self {
        let reference = Binding::read(change.new).role;
        let resource = match &*reference.kind {
            "Role" => Some("roles"),
            "ClusterRole" => Some("clusterroles"),
            _ => None,
        };
        let exempting =
            resource.map(|resource| exempting("bind", resource, change.namespace, &reference.name));
        let role = rbac.role_of(&reference, change.namespace);
        Self { exempting, rules: role.map(|role| role.rules.clone()) }
    }
}

fn refusal(error: &RoleError) -> ApiError {
    match error {
        RoleError::NotFound(kind, name) => match resources::find(GROUP, kind.resource()) {
            Some(kind) => ApiError::not_found(kind, name),
            None => ApiError::no_such_path(),
        },
        RoleError::Kind(_) => ApiError::bad_request(error.to_string()),
    }
}

fn exempting(verb: &str, resource: &str, namespace: &str, name: &str) -> ResourceAction {
    ResourceAction {
        verb: verb.to_owned(),
        group: GROUP.to_owned(),
        version: "*".to_owned(),
        resource: resource.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        ..ResourceAction::default()
    }
}

/// Whether the subject holds all of these rules; what is wrong otherwise.
fn confirm(rbac: &Rbac, subject: &Subject, namespace: &str, rules: &[PolicyRule]) -> Result<(), String> {
    let parts = rules.iter().map(PolicyRule::parts).fold(0, usize::saturating_add);
    if parts > MAX_GRANTED_PARTS {
        return Err(format!(
            "the role says {parts} things, and may say {MAX_GRANTED_PARTS} where they are compared with what user {:?} holds",
            subject.user
        ));
    }
    let (held, errors) = rbac.rules_of(subject, namespace);
    let missing = put_together(not_covered(&held, rules));
    if missing.is_empty() {
        return Ok(());
    }
    let mut missing: Vec<String> = missing.iter().map(PolicyRule::compact).collect();
    missing.sort();
    missing.dedup();
    let mut why = format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        subject.user,
        quoted_list(&subject.groups),
        missing.join("\n"),
    );
    if !errors.is_empty() {
        why.push_str(&format!("; resolution errors: [{}]", errors.join(" ")));
    }
    Err(why)
}

fn is_aggregated(kind: &ResourceType, role: &Value) -> bool {
    kind.resource == "clusterroles" && role.get("aggregationRule").is_some_and(|rule| !rule.is_null())
}

/// Whoever makes a role of other roles grants what they cannot foresee.
fn holds_everything(rbac: &Rbac, subject: &Subject) -> bool {
    let all = || vec!["*".to_owned()];
    let everything = [
        PolicyRule { verbs: all(), api_groups: all(), resources: all(), ..PolicyRule::default() },
        PolicyRule { verbs: all(), non_resource_urls: all(), ..PolicyRule::default() },
    ];
    not_covered(&rbac.rules_of(subject, "").0, &everything).is_empty()
}

/// Whether nothing changes but what garbage collection writes (`IsOnlyMutatingGCFields`).
fn is_only_for_collection(old: Option<&Value>, new: &Value) -> bool {
    let plain = |object: &Value| {
        let mut object = object.clone();
        if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
            for field in [
                "ownerReferences",
                "finalizers",
                "selfLink",
                "managedFields",
                "resourceVersion",
                "generation",
            ] {
                metadata.remove(field);
            }
        }
        object
    };
    old.is_some_and(|old| plain(old) == plain(new))
}
