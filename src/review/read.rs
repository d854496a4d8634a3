//! A review from its bytes, in one pass.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess};

use super::error::{Problem, ReviewError, quoted};
use super::json::{Anything, Context, Fields, Item, Reader, Shape, Text, Texts};
use crate::model::{Action, NonResourceAction, Operator, Request, Requirement, ResourceAction, Subject};

/// A SubjectAccessReview, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// The version in which it was asked, and in which it is answered.
    pub version: Version,
    /// What is asked.
    pub request: Request,
}

/// The versions of `authorization.k8s.io` that are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// `v1`.
    V1,
    /// `v1beta1`: no longer served by API servers, but still what `--authorization-webhook-version` defaults to.
    V1beta1,
}

/// Reads a review.
///
/// Fields have exactly Kubernetes' names; unknown ones are tolerated, because new versions of Kubernetes add some, but no
/// key may occur twice, in unknown objects neither. `null` is the same as an absent field, except in lists. `metadata`
/// and `status` are not looked at. Requirements of selectors that cannot be understood are dropped, and `rawSelector` is
/// never looked at: selectors only narrow a request, so that the request without them is the broader one. For the same
/// reason requirements beyond [`MAX_REQUIREMENTS`](super::MAX_REQUIREMENTS), and those whose values pass
/// [`MAX_VALUES`](super::MAX_VALUES), are dropped as well and are no errors: whoever lists can add as many as they like,
/// and an API server that fails open must not be made to go on without an answer. Keys of `extra` are kept byte for byte:
/// an API server folds the headers that they come from *before* it undoes their percent-encoding, so that a capital in a
/// key is one that somebody put there on purpose.
///
/// # Errors
/// Where the body is anything but one such review. See [`Problem`].
pub fn read(body: &[u8]) -> Result<Review, ReviewError> {
    let text = std::str::from_utf8(body).map_err(|_| ReviewError::of_document(Problem::NotUtf8))?;
    let context = Context::default();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = Reader { context: &context, shape: Document }
        .deserialize(&mut deserializer)
        .and_then(|document| deserializer.end().map(|()| document));
    match read {
        Ok(document) => document.review(),
        Err(error) => Err(context.error(&error)),
    }
}

/// Reads the `spec` of a v1 review that somebody wrote by hand, as tests and commands take it: unknown fields and
/// requirements that cannot be understood are errors as well.
///
/// # Errors
/// Where the value is anything but one such spec. See [`Problem`].
pub fn spec_from_json(spec: &serde_json::Value) -> Result<Request, ReviewError> {
    let context = Context::by_hand();
    match (Reader { context: &context, shape: SpecShape }).deserialize(spec) {
        Ok(spec) => spec.request(Version::V1),
        Err(error) => Err(context.error(&error)),
    }
}

impl Version {
    /// The `apiVersion`.
    #[must_use]
    pub fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "authorization.k8s.io/v1",
            Self::V1beta1 => "authorization.k8s.io/v1beta1",
        }
    }
}

struct Document;

#[derive(Default)]
struct DocumentParts {
    kind: Option<()>,
    version: Option<Version>,
    spec: Spec,
}

impl DocumentParts {
    fn review(self) -> Result<Review, ReviewError> {
        let missing = |path: &str| ReviewError { path: path.to_owned(), problem: Problem::Missing };
        self.kind.ok_or_else(|| missing("kind"))?;
        let version = self.version.ok_or_else(|| missing("apiVersion"))?;
        let request =
            self.spec.request(version).map_err(|error| ReviewError { path: "spec".to_owned(), ..error })?;
        Ok(Review { version, request })
    }
}

impl<'de> Shape<'de> for Document {
    type Value = DocumentParts;
    const EXPECTED: &'static str = "a SubjectAccessReview";

    fn object<A: MapAccess<'de>>(self, mut fields: Fields<'_, 'de, A>) -> Result<DocumentParts, A::Error> {
        let mut parts = DocumentParts::default();
        while let Some(key) = fields.next()? {
            match key.as_ref() {
                "kind" => parts.kind = fields.value(&key, Kind)?,
                "apiVersion" => parts.version = fields.value(&key, ApiVersion)?,
                "spec" => parts.spec = fields.value(&key, SpecShape)?,
                _ => fields.value(&key, Anything)?,
            }
        }
        Ok(parts)
    }
}

struct Kind;

impl<'de> Shape<'de> for Kind {
    type Value = Option<()>;
    const EXPECTED: &'static str = "a string";

    fn null(self) -> Result<Self::Value, Problem> {
        Ok(None)
    }

    fn text(self, text: Cow<'de, str>) -> Result<Self::Value, Problem> {
        if text == "SubjectAccessReview" { Ok(Some(())) } else { Err(Problem::OtherKind(quoted(&text))) }
    }
}

struct ApiVersion;

impl<'de> Shape<'de> for ApiVersion {
    type Value = Option<Version>;
    const EXPECTED: &'static str = "a string";

    fn null(self) -> Result<Self::Value, Problem> {
        Ok(None)
    }

    fn text(self, text: Cow<'de, str>) -> Result<Self::Value, Problem> {
        match [Version::V1, Version::V1beta1].into_iter().find(|version| version.api_version() == text) {
            Some(version) => Ok(Some(version)),
            None => Err(Problem::OtherVersion(quoted(&text))),
        }
    }
}

struct SpecShape;

#[derive(Default)]
struct Spec {
    user: String,
    uid: String,
    groups: Option<Vec<String>>,
    group: Option<Vec<String>>,
    extra: BTreeMap<String, Vec<String>>,
    resource: Option<ResourceAction>,
    non_resource: Option<NonResourceAction>,
}

impl Spec {
    fn request(self, version: Version) -> Result<Request, ReviewError> {
        let (groups, others, expected, found) = match version {
            Version::V1 => (self.groups, self.group, "groups", "group"),
            Version::V1beta1 => (self.group, self.groups, "group", "groups"),
        };
        if others.is_some() {
            let version = version.api_version();
            return Err(ReviewError::of_document(Problem::OtherVersionsGroups { found, expected, version }));
        }
        let action = match (self.resource, self.non_resource) {
            (Some(resource), None) => Action::Resource(resource),
            (None, Some(path)) => Action::NonResource(path),
            (Some(_), Some(_)) => return Err(ReviewError::of_document(Problem::BothAttributes)),
            (None, None) => return Err(ReviewError::of_document(Problem::NoAttributes)),
        };
        let groups = groups.unwrap_or_default();
        Ok(Request { subject: Subject { user: self.user, uid: self.uid, groups, extra: self.extra }, action })
    }
}

impl<'de> Shape<'de> for SpecShape {
    type Value = Spec;
    const EXPECTED: &'static str = "an object";

    fn null(self) -> Result<Spec, Problem> {
        Ok(Spec::default())
    }

    fn object<A: MapAccess<'de>>(self, mut fields: Fields<'_, 'de, A>) -> Result<Spec, A::Error> {
        let mut spec = Spec::default();
        while let Some(key) = fields.next()? {
            match key.as_ref() {
                "user" => spec.user = fields.value(&key, Text)?,
                "uid" => spec.uid = fields.value(&key, Text)?,
                "groups" => spec.groups = fields.value(&key, Texts)?,
                "group" => spec.group = fields.value(&key, Texts)?,
                "extra" => spec.extra = fields.value(&key, Extra)?,
                "resourceAttributes" => spec.resource = fields.value(&key, ResourceAttributes)?,
                "nonResourceAttributes" => spec.non_resource = fields.value(&key, NonResourceAttributes)?,
                _ => fields.unknown(&key)?,
            }
        }
        Ok(spec)
    }
}

struct Extra;

impl<'de> Shape<'de> for Extra {
    type Value = BTreeMap<String, Vec<String>>;
    const EXPECTED: &'static str = "an object of lists of strings";

    fn null(self) -> Result<Self::Value, Problem> {
        Ok(BTreeMap::new())
    }

    fn object<A: MapAccess<'de>>(self, mut fields: Fields<'_, 'de, A>) -> Result<Self::Value, A::Error> {
        let mut extra = BTreeMap::<String, Vec<String>>::new();
        while let Some(key) = fields.next()? {
            let values = fields.value(&key, Texts)?.unwrap_or_default();
            extra.insert(key.into_owned(), values);
        }
        Ok(extra)
    }
}

struct ResourceAttributes;

impl<'de> Shape<'de> for ResourceAttributes {
    type Value = Option<ResourceAction>;
    const EXPECTED: &'static str = "an object";

    fn null(self) -> Result<Self::Value, Problem> {
        Ok(None)
    }

    fn object<A: MapAccess<'de>>(self, mut fields: Fields<'_, 'de, A>) -> Result<Self::Value, A::Error> {
        let mut action = ResourceAction::default();
        while let Some(key) = fields.next()? {
            match key.as_ref() {
                "verb" => action.verb = fields.value(&key, Text)?,
                "group" => action.group = fields.value(&key, Text)?,
                "version" => action.version = fields.value(&key, Text)?,
                "resource" => action.resource = fields.value(&key, Text)?,
                "subresource" => action.subresource = fields.value(&key, Text)?,
                "namespace" => action.namespace = fields.value(&key, Text)?,
                "name" => action.name = fields.value(&key, Text)?,
                "fieldSelector" => action.field_selector = fields.value(&key, Selector)?,
                "labelSelector" => action.label_selector = fields.value(&key, Selector)?,
                _ => fields.unknown(&key)?,
            }
        }
        Ok(Some(action))
    }
}

struct NonResourceAttributes;

impl<'de> Shape<'de> for NonResourceAttributes {
    type Value = Option<NonResourceAction>;
    const EXPECTED: &'static str = "an object";

    fn null(self) -> Result<Self::Value, Problem> {
        Ok(None)
    }

    fn object<A: MapAccess<'de>>(self, mut fields: Fields<'_, 'de, A>) -> Result<Self::Value, A::Error> {
        let mut action = NonResourceAction::default();
        while let Some(key) = fields.next()? {
            match key.as_ref() {
                "verb" => action.verb = fields.value(&key, Text)?,
                "path" => action.path = fields.value(&key, Text)?,
                _ => fields.unknown(&key)?,
            }
        }
        Ok(Some(action))
    }
}

/// `FieldSelectorAttributes` or `LabelSelectorAttributes`.
struct Selector;

impl<'de> Shape<'de> for Selector {
    type Value = Vec<Requirement>;
    const EXPECTED: &'static str = "an object";

    fn null(self) -> Result<Self::Value, Problem> {
        Ok(Vec::new())
    }

    fn object<A: MapAccess<'de>>(self, mut fields: Fields<'_, 'de, A>) -> Result<Self::Value, A::Error> {
        let mut requirements = Vec::new();
        while let Some(key) = fields.next()? {
            match key.as_ref() {
                "requirements" => requirements = fields.value(&key, Requirements)?,
                "rawSelector" => fields.value(&key, Anything)?,
                _ => fields.unknown(&key)?,
            }
        }
        Ok(requirements)
    }
}

struct Requirements;

impl<'de> Shape<'de> for Requirements {
    type Value = Vec<Requirement>;
    const EXPECTED: &'static str = "a list of requirements";

    fn null(self) -> Result<Self::Value, Problem> {
        Ok(Vec::new())
    }

    fn list<A: SeqAccess<'de>>(self, context: &Context, mut items: A) -> Result<Self::Value, A::Error> {
        let mut requirements = Vec::new();
        let mut index = 0;
        loop {
            if context.is_full_of_requirements() {
                if context.item(&mut items, index, Anything)?.is_none() {
                    return Ok(requirements);
                }
            } else {
                let Some(requirement) = context.item(&mut items, index, RequirementShape)? else {
                    return Ok(requirements);
                };
                context.count_requirement()?;
                requirements.extend(requirement);
            }
            index += 1;
        }
    }
}

/// A requirement; `None` where it cannot be understood.
struct RequirementShape;

impl<'de> Shape<'de> for RequirementShape {
    type Value = Option<Requirement>;
    const EXPECTED: &'static str = "a requirement";

    fn object<A: MapAccess<'de>>(self, mut fields: Fields<'_, 'de, A>) -> Result<Self::Value, A::Error> {
        let (mut name, mut operator, mut values) = (String::new(), String::new(), Some(Vec::new()));
        while let Some(key) = fields.next()? {
            match key.as_ref() {
                "key" => name = fields.value(&key, Text)?,
                "operator" => operator = fields.value(&key, Text)?,
                "values" => values = fields.value(&key, RequirementValues)?,
                _ => fields.unknown(&key)?,
            }
        }
        let requirement = values.and_then(|values| {
            let operator = match (operator.as_str(), values.is_empty()) {
                ("In", false) => Operator::In,
                ("NotIn", false) => Operator::NotIn,
                ("Exists", true) => Operator::Exists,
                ("DoesNotExist", true) => Operator::DoesNotExist,
                _ => return None,
            };
            Some(Requirement { key: name, operator, values })
        });
        if requirement.is_none() && fields.context.is_by_hand() {
            return Err(fields.context.fail(Problem::NotARequirement));
        }
        Ok(requirement)
    }
}

/// The values of a requirement; `None` where there are more than are kept: some of them would be another requirement.
struct RequirementValues;

impl<'de> Shape<'de> for RequirementValues {
    type Value = Option<Vec<String>>;
    const EXPECTED: &'static str = "a list of strings";

    fn null(self) -> Result<Self::Value, Problem> {
        Ok(Some(Vec::new()))
    }

    fn list<A: SeqAccess<'de>>(self, context: &Context, mut items: A) -> Result<Self::Value, A::Error> {
        let mut values = Some(Vec::new());
        let mut index = 0;
        while let Some(value) = context.item(&mut items, index, Item)? {
            if !context.has_room_for_selector_value()? {
                values = None;
            }
            if let Some(values) = &mut values {
                values.push(value);
            }
            index += 1;
        }
        Ok(values)
    }
}
