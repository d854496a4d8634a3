//! What is asked: the `spec` of a SubjectAccessReview, normalised.
//!
//! Source: `SubjectAccessReviewSpec` in
//! <https://github.com/kubernetes/api/blob/master/authorization/v1/types.go>.

use std::collections::BTreeMap;

/// A user name longer than this is never asked of a directory: it is decided on the request alone.
pub const MAX_USER_NAME_BYTES: usize = 256;

/// One question: may this subject do this?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Who asks, as the cluster asserts it.
    pub subject: Subject,
    /// What is to be done.
    pub action: Action,
}

/// Who asks. All of it is asserted by the cluster's authentication, none of it by a directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subject {
    /// `spec.user`, byte for byte; may be empty.
    pub user: String,
    /// `spec.uid`; often empty.
    pub uid: String,
    /// `spec.groups` (`spec.group` in v1beta1); order has no meaning, duplicates occur.
    pub groups: Vec<String>,
    /// `spec.extra`, keys byte for byte: two that differ only by case are two keys.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// What is to be done: exactly one of the two kinds of attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// `spec.resourceAttributes`.
    Resource(ResourceAction),
    /// `spec.nonResourceAttributes`.
    NonResource(NonResourceAction),
}

/// A request for a resource. Every field may be empty; `*` may stand in any but the namespace and the name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResourceAction {
    /// The verb: get, list, watch, create, update, patch, delete, deletecollection, or a virtual one such as `impersonate`.
    pub verb: String,
    /// The API group; empty for the core group.
    pub group: String,
    /// The API version.
    pub version: String,
    /// The resource, in the plural.
    pub resource: String,
    /// The subresource; empty for the resource itself.
    pub subresource: String,
    /// The namespace; empty for cluster-scoped resources *and* for all namespaces.
    pub namespace: String,
    /// The object's name; empty for create, list, watch and deletecollection.
    pub name: String,
    /// What a list, watch or deletecollection is limited to by fields (`fieldSelector.requirements`); all must hold.
    pub field_selector: Vec<Requirement>,
    /// What a list, watch or deletecollection is limited to by labels (`labelSelector.requirements`); all must hold.
    pub label_selector: Vec<Requirement>,
}

/// A request for a path that is no resource, such as `/metrics`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NonResourceAction {
    /// The HTTP method in lower case.
    pub verb: String,
    /// The path as the client sent it: not cleaned, compared byte for byte.
    pub path: String,
}

/// One requirement of a selector. A requirement with an operator that is not known is dropped when the review is
/// read: requirements only narrow, so that the check without it is the broader one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The field or label.
    pub key: String,
    /// How the values are compared.
    pub operator: Operator,
    /// The values; empty for `Exists` and `DoesNotExist`.
    pub values: Vec<String>,
}

/// The operators of `metav1.LabelSelectorRequirement` and `FieldSelectorRequirement`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// The value is one of the values.
    In,
    /// The value is none of the values, or there is none.
    NotIn,
    /// There is a value.
    Exists,
    /// There is no value.
    DoesNotExist,
}

impl Request {
    /// The verb, of either kind of action.
    #[must_use]
    pub fn verb(&self) -> &str {
        match &self.action {
            Action::Resource(resource) => &resource.verb,
            Action::NonResource(path) => &path.verb,
        }
    }
}

impl Subject {
    /// Whether this name may be asked of a directory at all: it is not empty, holds no NUL, and is no longer than
    /// [`MAX_USER_NAME_BYTES`].
    #[must_use]
    pub fn is_askable(&self) -> bool {
        !self.user.is_empty() && self.user.len() <= MAX_USER_NAME_BYTES && !self.user.contains('\0')
    }
}
