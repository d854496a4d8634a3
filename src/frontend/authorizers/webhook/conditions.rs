//! Which requests a webhook is asked about (`matchConditions`).
//!
//! Source: `k8s.io/apiserver/pkg/authorization/cel/{compile,matcher}.go`.

use serde_json::{Map, Value, json};

use crate::cel::{CompileError, Expression};
use crate::document::did_you_mean;
use crate::model::{Action, Request, Requirement, ResourceAction};
use crate::review::requirement_to_json;

/// The fields of `request` (`buildRequestType`). `extra` may have any.
const FIELDS: [&str; 19] = [
    "user",
    "uid",
    "groups",
    "extra",
    "resourceAttributes",
    "resourceAttributes.namespace",
    "resourceAttributes.verb",
    "resourceAttributes.group",
    "resourceAttributes.version",
    "resourceAttributes.resource",
    "resourceAttributes.subresource",
    "resourceAttributes.name",
    "resourceAttributes.fieldSelector",
    "resourceAttributes.fieldSelector.requirements",
    "resourceAttributes.labelSelector",
    "resourceAttributes.labelSelector.requirements",
    "nonResourceAttributes",
    "nonResourceAttributes.path",
    "nonResourceAttributes.verb",
];

fn is_known(fields: &str) -> bool {
    FIELDS.contains(&fields) || fields.starts_with("extra.")
}

/// How many conditions there may be.
pub const MAX_CONDITIONS: usize = 64;

/// Conditions, all of which must hold. In them stands `request` for the `spec` of a v1 SubjectAccessReview.
#[derive(Debug, Default)]
pub struct Conditions(Vec<Expression>);

/// Whether the conditions hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Matching {
    /// All do.
    Yes,
    /// This one does not, whatever is wrong with others.
    No(String),
    /// None is known not to, and something is wrong with some.
    Unknown(String),
}

impl Conditions {
    /// Compiles one condition.
    ///
    /// # Errors
    /// Where it is none, or names a field that no spec has.
    pub fn compile(text: &str) -> Result<Expression, CompileError> {
        let expression = Expression::compile(text, &["request"])?;
        match expression.paths().iter().find(|path| !is_known(&path.fields)) {
            Some(path) => Err(CompileError {
                offset: path.offset,
                message: format!("unknown field `request.{}`", path.fields),
                help: did_you_mean(&path.fields, FIELDS.iter().copied()),
            }),
            None => Ok(expression),
        }
    }

    /// These conditions. What is beyond [`MAX_CONDITIONS`] is refused by whoever reads them.
    #[must_use]
    pub fn new(conditions: Vec<Expression>) -> Self {
        Self(conditions)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none: everything matches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn matching(&self, request: &Request) -> Matching {
        if self.0.is_empty() {
            return Matching::Yes;
        }
        let request = variable(request);
        let mut errors = Vec::new();
        for condition in &self.0 {
            match condition.evaluate(&[("request", &request)]) {
                Ok(true) => {}
                Ok(false) => return Matching::No(condition.text().to_owned()),
                Err(error) => errors.push(format!("`{}`: {error}", condition.text())),
            }
        }
        if errors.is_empty() { Matching::Yes } else { Matching::Unknown(super::super::aggregate(&errors)) }
    }
}

/// The spec as conditions see it (`convertObjectToUnstructured`): every text of it is there, also an empty one, and so are
/// `groups` and `extra`; of `resourceAttributes` and `nonResourceAttributes` one is there, and a selector where it selects.
fn variable(request: &Request) -> Value {
    let subject = &request.subject;
    let (name, attributes) = match &request.action {
        Action::Resource(action) => ("resourceAttributes", resource_attributes(action)),
        Action::NonResource(action) => {
            ("nonResourceAttributes", json!({"verb": action.verb, "path": action.path}))
        }
    };
    let fields = [
        ("user", json!(subject.user)),
        ("groups", json!(subject.groups)),
        ("uid", json!(subject.uid)),
        ("extra", json!(subject.extra)),
        (name, attributes),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>().into()
}

fn resource_attributes(action: &ResourceAction) -> Value {
    let mut attributes = json!({
        "namespace": action.namespace, "verb": action.verb, "group": action.group, "version": action.version,
        "resource": action.resource, "subresource": action.subresource, "name": action.name,
    });
    let selectors = [("fieldSelector", &action.field_selector), ("labelSelector", &action.label_selector)];
    if let Some(fields) = attributes.as_object_mut() {
        for (name, selector) in selectors.into_iter().filter(|(_, selector)| !selector.is_empty()) {
            fields.insert(name.to_owned(), json!({"requirements": requirements(selector)}));
        }
    }
    attributes
}

/// As in a review, but with `values` also where there are none.
fn requirements(selector: &[Requirement]) -> Vec<Value> {
    let requirement = |requirement: &Requirement| {
        let mut object = requirement_to_json(requirement);
        if let Some(fields) = object.as_object_mut() {
            fields.entry("values").or_insert_with(|| json!([]));
        }
        object
    };
    selector.iter().map(requirement).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{path, resource};
    use super::*;

    fn conditions(texts: &[&str]) -> Conditions {
        Conditions::new(texts.iter().map(|text| Conditions::compile(text).unwrap()).collect())
    }

    fn matching(texts: &[&str]) -> Matching {
        conditions(texts).matching(&resource("alice", &["dev"], "get pods", "kube-system", ""))
    }

    #[test]
    fn a_condition_sees_the_spec_with_every_text_of_it() {
        for text in [
            "has(request.resourceAttributes) && !has(request.nonResourceAttributes)",
            "has(request.resourceAttributes.name) && request.resourceAttributes.name == ''",
            "request.resourceAttributes.subresource == ''",
            "!has(request.resourceAttributes.fieldSelector)",
            "request.uid == '' && request.extra.size() == 0 && 'dev' in request.groups",
        ] {
            assert_eq!(matching(&[text]), Matching::Yes, "{text}");
        }
        let of_path = conditions(&["request.nonResourceAttributes.path.startsWith('/debug/')"]);
        assert_eq!(of_path.matching(&path("a", &[], "get", "/debug/x")), Matching::Yes);
        assert!(matches!(of_path.matching(&path("a", &[], "get", "/x")), Matching::No(_)));
    }

    #[test]
    fn a_field_that_no_spec_has_is_refused_when_it_is_read() {
        for (text, message, help) in [
            ("request.usr == ''", "unknown field `request.usr`", Some("did you mean `user`?")),
            (
                "has(request.resourceAttributes.verbs)",
                "unknown field `request.resourceAttributes.verbs`",
                Some("did you mean `resourceAttributes.verb`?"),
            ),
            ("request.user.groups == []", "unknown field `request.user.groups`", None),
        ] {
            let error = Conditions::compile(text).unwrap_err();
            assert_eq!((&*error.message, error.help.as_deref()), (message, help), "{text}");
        }
        assert!(Conditions::compile("request.extra.site == ['a']").is_ok());
        let selector =
            "request.resourceAttributes.labelSelector.requirements.exists(r, r.key == 'x' && r.values == [])";
        assert!(Conditions::compile(selector).is_ok());
    }

    #[test]
    fn a_false_condition_counts_more_than_one_that_is_wrong() {
        let wrong = "request.nonResourceAttributes.path == '/'";
        assert_eq!(matching(&[]), Matching::Yes);
        assert_eq!(matching(&["true", "false"]), Matching::No("false".into()));
        assert_eq!(matching(&[wrong, "false"]), Matching::No("false".into()));
        assert!(
            matches!(matching(&["true", wrong]), Matching::Unknown(error) if error.contains("No such key"))
        );
    }
}
