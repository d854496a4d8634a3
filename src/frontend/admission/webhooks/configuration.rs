//! The stored configurations, made ready for use once for each of their versions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::call::Caller;
use super::matching::Interest;
use crate::frontend::admission::ServiceAddress;
use crate::frontend::meta::{self, items, text_at};
use crate::frontend::resources::ResourceType;
use crate::frontend::storage::Storage;

/// A webhook that is ready.
#[derive(Debug)]
pub(super) struct Hook {
    /// The configuration that it stands in.
    pub(super) configuration: String,
    /// Its name.
    pub(super) name: String,
    /// What tells it from others: two configurations may each have one of that name.
    pub(super) id: String,
    pub(super) interest: Interest,
    /// Whether a call that fails lets the request pass.
    pub(super) ignores_failure: bool,
    /// Whether it is asked again about an object that changed after it.
    pub(super) is_reinvoked: bool,
    /// Whether it may be asked about what will not be stored.
    pub(super) takes_dry_runs: bool,
    pub(super) caller: Caller,
}

/// Configurations of one kind, as they were last seen.
#[derive(Debug, Default)]
pub(super) struct Configurations(Mutex<HashMap<String, Ready>>);

#[derive(Debug)]
struct Ready {
    version: String,
    hooks: Vec<Arc<Hook>>,
}

impl Configurations {
    /// The webhooks of all configurations that are stored now, by the configurations' names and then in their order.
    pub(super) fn current(
        &self,
        kind: &'static ResourceType,
        storage: &Storage,
        services: &[ServiceAddress],
    ) -> Vec<Arc<Hook>> {
        let mut stored = storage.list(kind, None).items;
        if stored.is_empty() {
            return Vec::new();
        }
        stored.sort_by(|a, b| meta::text(a, "name").cmp(meta::text(b, "name")));
        let mut ready = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut hooks = Vec::new();
        for object in &stored {
            let (name, version) = (meta::text(object, "name"), meta::text(object, "resourceVersion"));
            match ready.get(name).filter(|ready| ready.version == version) {
                Some(ready) => hooks.extend(ready.hooks.iter().cloned()),
                None => {
                    let made = read(object, services);
                    hooks.extend(made.iter().cloned());
                    ready.insert(name.to_owned(), Ready { version: version.to_owned(), hooks: made });
                }
            }
        }
        if ready.len() > stored.len() {
            ready.retain(|name, _| stored.iter().any(|object| meta::text(object, "name") == name));
        }
        hooks
    }
}

fn read(configuration: &Value, services: &[ServiceAddress]) -> Vec<Arc<Hook>> {
    let configured = meta::text(configuration, "name");
    let hook = |webhook: &Value| {
        let name = text_at(webhook, "/name").to_owned();
        let seconds = webhook.get("timeoutSeconds").and_then(Value::as_u64).unwrap_or(10).clamp(1, 30);
        Arc::new(Hook {
            id: format!("{configured}/{name}"),
            configuration: configured.to_owned(),
            interest: Interest::read(webhook),
            // What cannot be read fails closed.
            ignores_failure: text_at(webhook, "/failurePolicy") == "Ignore",
            is_reinvoked: text_at(webhook, "/reinvocationPolicy") == "IfNeeded",
            takes_dry_runs: matches!(text_at(webhook, "/sideEffects"), "None" | "NoneOnDryRun"),
            caller: Caller::new(
                webhook.get("clientConfig").unwrap_or(&Value::Null),
                Duration::from_secs(seconds),
                services,
            ),
            name,
        })
    };
    items(configuration, "/webhooks").map(hook).collect()
}
