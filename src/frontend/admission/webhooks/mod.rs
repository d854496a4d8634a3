//! Programs outside that admission asks: MutatingAdmissionWebhook and ValidatingAdmissionWebhook, from the objects that
//! configure them.
//!
//! Mutating webhooks are asked one after the other, each about what the ones before made of the object; validating ones all
//! at once. No lock is held while one is waited for, so that a slow webhook holds up nobody but its own requests.
//!
//! Semantics: `k8s.io/apiserver/pkg/admission/plugin/webhook/{generic,mutating,validating}` and
//! `k8s.io/apiserver/pkg/admission/reinvocation.go`. Smaller here: each resource has one version, so that `matchPolicy`
//! makes no difference; and what the patches were is in the journey, not in the audit's annotations.

mod call;
mod configuration;
mod matching;
mod review;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::Value;

use super::{Attributes, Record, ServiceAddress, patch};
use crate::frontend::journey::{Outcome, Step};
use crate::frontend::meta;
use crate::frontend::resources::{self, ResourceType};
use crate::frontend::status::ApiError;
use crate::frontend::storage::Storage;

pub use call::MAX_REPLY_BYTES;
use configuration::{Configurations, Hook};
pub use matching::{MAX_CONDITIONS, compile_condition};
use matching::{Matching, forbidden, is_exempt};
use review::Reply;

/// How long all webhooks together may take for one request
/// (`k8s.io/apiserver/pkg/endpoints/handlers/rest.go`: `requestTimeoutUpperBound`).
pub const MAX_REQUEST_TIME: Duration = Duration::from_secs(34);

/// What the API does with an object that a webhook changed.
pub trait Shape: Send + Sync {
    /// Applies a JSON Patch within the bounds of a client's. Says whether there was anything in it.
    ///
    /// # Errors
    /// Where it is none, or cannot be applied.
    fn patch(&self, operations: Value, object: &mut Value) -> Result<bool, ApiError>;

    /// Brings the object into its kind's shape, and fills in defaults.
    ///
    /// # Errors
    /// Where it has another type, or something of it has.
    fn shape(
        &self,
        kind: &'static ResourceType,
        subresource: &str,
        object: &mut Value,
    ) -> Result<(), ApiError>;
}

/// The webhooks.
pub(super) struct Webhooks {
    storage: Arc<Storage>,
    shape: Arc<dyn Shape>,
    services: Vec<ServiceAddress>,
    mutating: Configurations,
    validating: Configurations,
}

/// One request's two rounds of mutating webhooks.
#[derive(Default)]
pub(super) struct Rounds {
    hooks: Vec<Arc<Hook>>,
    nth: usize,
    /// Those that want to be asked again, and were asked.
    invoked: BTreeSet<String>,
    /// Those of them after which the object changed.
    again: BTreeSet<String>,
    /// What the last round left of the object.
    output: Option<Value>,
    is_changed: bool,
}

impl Rounds {
    /// Whether a webhook changed the object, so that everybody who changes objects is asked again, once.
    pub(super) fn is_another_due(&self) -> bool {
        self.nth == 1 && self.is_changed
    }
}

/// What came of a call.
enum Called {
    /// The webhook said something.
    Said(Reply),
    /// It did not, and that is nothing.
    Ignored(String),
}

impl Webhooks {
    pub(super) fn new(storage: Arc<Storage>, shape: Arc<dyn Shape>, services: Vec<ServiceAddress>) -> Self {
        Self {
            storage,
            shape,
            services,
            mutating: Configurations::default(),
            validating: Configurations::default(),
        }
    }

    /// The mutating webhooks that there are now, for one request.
    pub(super) fn rounds(&self, asked: &Attributes) -> Rounds {
        let hooks = self.hooks("mutatingwebhookconfigurations", &self.mutating, asked);
        Rounds { hooks, ..Rounds::default() }
    }

    fn hooks(&self, resource: &str, from: &Configurations, asked: &Attributes) -> Vec<Arc<Hook>> {
        if is_exempt(asked) {
            return Vec::new();
        }
        resources::find("admissionregistration.k8s.io", resource)
            .map(|kind| from.current(kind, &self.storage, &self.services))
            .unwrap_or_default()
    }

    /// Asks the mutating webhooks, each once; in the second round only those after whose turn the object changed.
    pub(super) async fn mutate(
        &self,
        rounds: &mut Rounds,
        asked: &mut Attributes,
        record: &mut Record,
    ) -> Result<(), ApiError> {
        let round = rounds.nth;
        rounds.nth = rounds.nth.saturating_add(1);
        let is_second = round > 0;
        if is_second && rounds.output != asked.object {
            // Plugins changed the object after all webhooks.
            rounds.again.append(&mut rounds.invoked);
        }
        for (index, hook) in rounds.hooks.clone().iter().enumerate() {
            if is_second && !rounds.again.contains(&hook.id) {
                continue;
            }
            if !self.is_asked(hook, asked, record)? {
                continue;
            }
            let place = format!("round_{round}_index_{index}");
            let began = Instant::now();
            let before = asked.object.clone();
            let called = self.ask(hook, true, asked, latest(record)).await;
            let changed = called.and_then(|called| self.take(hook, called, asked, &place, record));
            let (outcome, detail, shown) = match &changed {
                Ok(Taken::Unchanged) => (Outcome::Passed, "allows it as it is".to_owned(), None),
                Ok(Taken::Changed) => {
                    (Outcome::Changed, "changed the object".to_owned(), patch(before.as_ref(), asked))
                }
                Ok(Taken::Ignored(why)) => {
                    (Outcome::Failed, format!("{why}; its failurePolicy is Ignore"), None)
                }
                Err(Unasked::Denied(error)) => (Outcome::Refused, error.message.clone(), None),
                Err(Unasked::Failed(error)) => (Outcome::Failed, error.message.clone(), None),
            };
            record.steps.push(Step { patch: shown, ..Step::new(&hook.name, outcome, detail, began) });
            if let Taken::Changed = changed.map_err(Unasked::into_error)? {
                rounds.is_changed = true;
                rounds.again.append(&mut rounds.invoked);
            }
            if hook.is_reinvoked {
                rounds.invoked.insert(hook.id.clone());
            }
        }
        rounds.output.clone_from(&asked.object);
        Ok(())
    }

    /// Asks the validating webhooks at once, and waits for each. The first refusal in their order is the answer.
    pub(super) async fn validate(&self, asked: &Attributes, record: &mut Record) -> Result<(), ApiError> {
        let mut due = Vec::new();
        for (index, hook) in
            self.hooks("validatingwebhookconfigurations", &self.validating, asked).into_iter().enumerate()
        {
            if self.is_asked(&hook, asked, record)? {
                due.push((index, hook));
            }
        }
        let latest = latest(record);
        let answers = join_all(due.iter().map(|(_, hook)| async move {
            let began = Instant::now();
            let called = self.ask(hook, false, asked, latest).await;
            // The step's time is its own, not that of all.
            (Step::new(&hook.name, Outcome::Passed, "allows it", began), called)
        }));
        let mut refusal = None;
        for ((index, hook), (mut step, called)) in due.iter().zip(answers.await) {
            let told = called.and_then(|called| match called {
                Called::Ignored(why) => {
                    let key =
                        format!("failed-open.validating.webhook.admission.k8s.io/round_0_index_{index}");
                    record.annotations.insert(key, hook.name.clone());
                    step.outcome = Outcome::Failed;
                    step.detail = format!("{why}; its failurePolicy is Ignore");
                    Ok(())
                }
                Called::Said(reply) => told(reply, record).map(drop),
            });
            if let Err(error) = told {
                step.outcome = error.outcome();
                let error = error.into_error();
                step.detail.clone_from(&error.message);
                refusal.get_or_insert(error);
            }
            record.steps.push(step);
        }
        refusal.map_or(Ok(()), Err)
    }

    /// Whether a webhook is to be asked.
    fn is_asked(&self, hook: &Hook, asked: &Attributes, record: &mut Record) -> Result<bool, ApiError> {
        let why = match hook.interest.matches(asked, &self.storage)? {
            Matching::No => return Ok(false),
            Matching::Yes => return Ok(true),
            Matching::Unknown(why) => why,
        };
        let began = Instant::now();
        let detail =
            if hook.ignores_failure { format!("{why}; its failurePolicy is Ignore") } else { why.clone() };
        record.steps.push(Step::new(&hook.name, Outcome::Failed, detail, began));
        if hook.ignores_failure { Ok(false) } else { Err(forbidden(asked, &why)) }
    }

    /// Asks one webhook.
    async fn ask(
        &self,
        hook: &Hook,
        is_mutating: bool,
        asked: &Attributes,
        latest: Instant,
    ) -> Result<Called, Unasked> {
        if asked.dry_run && !hook.takes_dry_runs {
            let why = format!("admission webhook {:?} does not support dry run", hook.name);
            return Err(Unasked::Failed(ApiError::bad_request(why)));
        }
        let uid = uuid::Uuid::new_v4().to_string();
        let body = Bytes::from(review::write(asked, &uid).to_string());
        let said = match hook.caller.call(body, latest).await {
            Ok(body) => review::read(&hook.name, is_mutating, &uid, &body),
            Err(why) => Err(why),
        };
        let why = match said {
            Ok(reply) => return Ok(Called::Said(reply)),
            Err(why) => format!("failed calling webhook {:?}: {why}", hook.name),
        };
        // The time of the request itself is over for everybody, whatever a webhook's policy is.
        if Instant::now() >= latest {
            let error = ApiError::timeout("request did not complete within requested timeout");
            return Err(Unasked::Failed(error));
        }
        if hook.ignores_failure {
            Ok(Called::Ignored(why))
        } else {
            Err(Unasked::Failed(ApiError::internal(why)))
        }
    }

    /// Takes what a mutating webhook said: the object as it wants it.
    fn take(
        &self,
        hook: &Hook,
        called: Called,
        asked: &mut Attributes,
        place: &str,
        record: &mut Record,
    ) -> Result<Taken, Unasked> {
        let reply = match called {
            Called::Ignored(why) => {
                let key = format!("failed-open.mutating.webhook.admission.k8s.io/{place}");
                record.annotations.insert(key, hook.name.clone());
                return Ok(Taken::Ignored(why));
            }
            Called::Said(reply) => reply,
        };
        let patch = told(reply, record)?;
        let is_changed = match patch {
            None => false,
            Some(patch) => self.change(hook, &patch, asked).map_err(Unasked::Failed)?,
        };
        let mutated = serde_json::json!({
            "configuration": hook.configuration, "webhook": hook.name, "mutated": is_changed,
        });
        let key = format!("mutation.webhook.admission.k8s.io/{place}");
        record.annotations.insert(key, mutated.to_string());
        Ok(if is_changed { Taken::Changed } else { Taken::Unchanged })
    }

    /// Applies a webhook's patch. One that is none fails the request, whatever the failurePolicy is: the webhook answered.
    fn change(&self, hook: &Hook, patch: &[u8], asked: &mut Attributes) -> Result<bool, ApiError> {
        let failed = |why: &dyn std::fmt::Display| {
            ApiError::internal(format!(
                "the patch of admission webhook {:?} cannot be applied: {why}",
                hook.name
            ))
        };
        let operations: Value = serde_json::from_slice(patch).map_err(|_| failed(&"it is no JSON"))?;
        if operations.as_array().is_some_and(Vec::is_empty) {
            return Ok(false);
        }
        let Some(before) = &asked.object else {
            return Err(ApiError::internal(format!(
                "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
                hook.name
            )));
        };
        let mut object = before.clone();
        self.shape_of(operations, asked, &mut object).map_err(|error| failed(&error.message))?;
        if let Some(field) = renamed(before, &object) {
            return Err(failed(&format!("it changes {field}, by which the request was authorised")));
        }
        let is_changed = object != *before;
        asked.object = Some(object);
        Ok(is_changed)
    }

    fn shape_of(&self, operations: Value, asked: &Attributes, object: &mut Value) -> Result<(), ApiError> {
        self.shape.patch(operations, object)?;
        self.shape.shape(asked.kind, &asked.subresource, object)
    }
}

/// What a mutating webhook did.
enum Taken {
    Unchanged,
    Changed,
    Ignored(String),
}

/// Why a request does not go on.
enum Unasked {
    /// The webhook refuses it.
    Denied(ApiError),
    /// The webhook could not be asked, or what it said cannot be done.
    Failed(ApiError),
}

impl Unasked {
    fn into_error(self) -> ApiError {
        match self {
            Self::Denied(error) | Self::Failed(error) => error,
        }
    }

    fn outcome(&self) -> Outcome {
        match self {
            Self::Denied(_) => Outcome::Refused,
            Self::Failed(_) => Outcome::Failed,
        }
    }
}

/// Writes down what a reply has for others, and gives its patch.
fn told(reply: Reply, record: &mut Record) -> Result<Option<Vec<u8>>, Unasked> {
    record.warnings.extend(reply.warnings);
    record.annotations.extend(reply.annotations);
    reply.verdict.map_err(Unasked::Denied)?;
    Ok(reply.patch)
}

/// Until when all webhooks of a request are to have answered.
fn latest(record: &mut Record) -> Instant {
    let now = Instant::now();
    *record.deadline.get_or_insert_with(|| now.checked_add(MAX_REQUEST_TIME).unwrap_or(now))
}

/// A field by which an object is known, and which is another now. What was not there may be given: a name to what is still to
/// be named.
fn renamed(before: &Value, after: &Value) -> Option<String> {
    let is_other = |field: &&str| {
        let (was, is) = (meta::text(before, field), meta::text(after, field));
        !was.is_empty() && !is.is_empty() && was != is
    };
    let field = ["name", "namespace", "uid", "resourceVersion"].into_iter().find(is_other)?;
    Some(format!("metadata.{field}"))
}
