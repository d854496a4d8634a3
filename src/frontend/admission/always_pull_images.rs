//! `AlwaysPullImages`: an image is pulled with the pod's own credentials each time, so that nobody runs what somebody else
//! was allowed to pull.
//!
//! Source: `kubernetes/plugin/pkg/admission/alwayspullimages/admission.go`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Attributes, CONTAINER_LISTS, Notes, Operation, Plugin, PluginName, Said};
use crate::frontend::status::{ApiError, Cause, CauseKind};

const ALWAYS: &str = "Always";

/// See the [module](self).
pub(super) struct AlwaysPullImages;

impl Plugin for AlwaysPullImages {
    fn name(&self) -> PluginName {
        PluginName::AlwaysPullImages
    }

    fn mutate(&self, asked: &mut Attributes, _: &mut Notes<'_>) -> Result<Said, ApiError> {
        if !applies(asked) {
            return Ok(Said::Nothing);
        }
        let mut changed = Vec::new();
        let spec = asked.object.as_mut().and_then(|pod| pod.get_mut("spec")).and_then(Value::as_object_mut);
        if let Some(spec) = spec {
            for list in CONTAINER_LISTS {
                for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                    let Some(container) = container.as_object_mut() else { continue };
                    if container.get("imagePullPolicy").and_then(Value::as_str) != Some(ALWAYS) {
                        container.insert("imagePullPolicy".into(), ALWAYS.into());
                        let name = container.get("name").and_then(Value::as_str);
                        changed.push(name.unwrap_or_default().to_owned());
                    }
                }
            }
        }
        Ok(match changed.is_empty() {
            true => Said::Nothing,
            false => Said::Changed(format!("the image of {} is always pulled", changed.join(", "))),
        })
    }

    fn validate(&self, asked: &Attributes, _: &mut Notes<'_>) -> Result<Said, ApiError> {
        if !applies(asked) {
            return Ok(Said::Nothing);
        }
        let mut causes = Vec::new();
        for list in CONTAINER_LISTS {
            let containers = asked.object.as_ref().and_then(|pod| pod.pointer(&format!("/spec/{list}")));
            for (at, container) in containers.and_then(Value::as_array).into_iter().flatten().enumerate() {
                if container.get("imagePullPolicy").and_then(Value::as_str) != Some(ALWAYS) {
                    let field = format!("spec.{list}[{at}].imagePullPolicy");
                    causes.push(Cause::new(CauseKind::NotSupported, field, "supported values: \"Always\""));
                }
            }
        }
        match causes.is_empty() {
            true => Ok(Said::Fine("every image is always pulled".to_owned())),
            false => Err(ApiError::invalid(asked.kind, asked.shown_name(), &causes)),
        }
    }
}

/// An update that brings no image is let through (`isUpdateWithNoNewImages`): the policy of a container cannot be changed
/// any more, so that a pod from before the plugin was on could not even be labelled.
fn applies(asked: &Attributes) -> bool {
    asked.is_core("pods")
        && match asked.operation {
            Operation::Create => true,
            Operation::Update => brings_an_image(asked),
            Operation::Delete | Operation::Connect => false,
        }
}

fn brings_an_image(asked: &Attributes) -> bool {
    let (Some(new), Some(old)) = (&asked.object, &asked.old) else { return true };
    let known: BTreeSet<&str> = images(old).collect();
    images(new).any(|image| !known.contains(image))
}

fn images(pod: &Value) -> impl Iterator<Item = &str> {
    let containers = CONTAINER_LISTS.iter().filter_map(|list| pod.get("spec")?.get(list)?.as_array());
    containers.flatten().map(|container| container.get("image").and_then(Value::as_str).unwrap_or_default())
}
