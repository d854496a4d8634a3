//! `FrozenAttributes`: what policies decide by is not written by those about whom they decide.
//!
//! The owner of an object is who made it: the annotation is set by the front end, and nobody gives an object to somebody
//! else. Classifications are changed by administrators alone, and never along with something else that somebody may do.

use serde_json::{Value, json};

use super::{Attributes, Notes, Operation, Plugin, PluginName, Said};
use crate::frontend::status::ApiError;

/// Which labels and annotations are frozen, and who may change them all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrozenAttributes {
    /// The annotation that names the owner (`objects.ownerAnnotation` of the service).
    pub owner_annotation: String,
    /// The label that names the classification (`objects.classificationLabel` of the service).
    pub classification_label: String,
    /// Whoever is in one of these groups may change both.
    pub administrators: Vec<String>,
}

impl Default for FrozenAttributes {
    fn default() -> Self {
        Self {
            owner_annotation: "bailiwick.dev/owner".to_owned(),
            classification_label: "bailiwick.dev/classification".to_owned(),
            administrators: vec!["system:masters".to_owned()],
        }
    }
}

/// See the [module](self).
pub(super) struct FrozenAttributesPlugin {
    settings: FrozenAttributes,
}

impl FrozenAttributesPlugin {
    pub(super) fn new(settings: FrozenAttributes) -> Self {
        Self { settings }
    }

    fn is_administrator(&self, asked: &Attributes) -> bool {
        self.settings.administrators.iter().any(|group| asked.is_in(group))
    }
}

impl Plugin for FrozenAttributesPlugin {
    fn name(&self) -> PluginName {
        PluginName::FrozenAttributes
    }

    fn mutate(&self, asked: &mut Attributes, _: &mut Notes<'_>) -> Result<Said, ApiError> {
        let key = &self.settings.owner_annotation;
        let is_named = asked.map("annotations").is_some_and(|annotations| annotations.contains_key(key));
        if is_named || !asked.kind.is_stored() || !asked.subresource.is_empty() {
            return Ok(Said::Nothing);
        }
        let (owner, said) = match (asked.operation, &asked.old) {
            (Operation::Create, _) => {
                (asked.subject.user.clone(), format!("its owner is {}", asked.subject.user))
            }
            // Whoever replaces an object by a file need not know that somebody owns it.
            (Operation::Update, Some(old)) => match value(old, "annotations", key).and_then(Value::as_str) {
                Some(owner) => (owner.to_owned(), format!("its owner stays {owner}")),
                None => return Ok(Said::Nothing),
            },
            _ => return Ok(Said::Nothing),
        };
        let metadata = asked.object.as_mut().and_then(|object| object.get_mut("metadata"));
        let Some(metadata) = metadata.and_then(Value::as_object_mut) else { return Ok(Said::Nothing) };
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        // `annotations: null` is none at all.
        if annotations.is_null() {
            *annotations = json!({});
        }
        let Some(annotations) = annotations.as_object_mut() else { return Ok(Said::Nothing) };
        annotations.insert(key.clone(), owner.into());
        Ok(Said::Changed(said))
    }

    fn validate(&self, asked: &Attributes, _: &mut Notes<'_>) -> Result<Said, ApiError> {
        // The annotations of a Binding become those of the pod.
        let is_binding = asked.kind.kind == "Binding" || asked.subresource == "binding";
        let is_kept = asked.kind.is_stored() || is_binding;
        if !is_kept || asked.object.is_none() || self.is_administrator(asked) {
            return Ok(Said::Nothing);
        }
        let (owner, class) = (&self.settings.owner_annotation, &self.settings.classification_label);
        let new = |field: &str, key: &str| asked.object.as_ref().and_then(|object| value(object, field, key));
        if is_binding {
            return match new("annotations", owner) {
                None => Ok(Said::Nothing),
                Some(_) => Err(asked.refuse(&format!(
                    "metadata.annotations[{owner}] is changed by {} alone",
                    self.settings.administrators.join(", ")
                ))),
            };
        }
        match &asked.old {
            None if asked.operation == Operation::Create => {
                let named = new("annotations", owner);
                if named.is_some_and(|named| named.as_str() != Some(&asked.subject.user)) {
                    return Err(asked.refuse(&format!("{owner} is who creates it: {}", asked.subject.user)));
                }
                Ok(Said::Fine(format!("its owner is {}", asked.subject.user)))
            }
            None => Ok(Said::Nothing),
            Some(old) => {
                for (field, key) in [("annotations", owner), ("labels", class)] {
                    if value(old, field, key) != new(field, key) {
                        let who = self.settings.administrators.join(", ");
                        let why = format!("metadata.{field}[{key}] is changed by {who} alone");
                        return Err(asked.refuse(&why));
                    }
                }
                Ok(Said::Fine("owner and classification stay what they are".to_owned()))
            }
        }
    }
}

fn value<'a>(object: &'a Value, field: &str, key: &str) -> Option<&'a Value> {
    object.get("metadata")?.get(field)?.get(key)
}
