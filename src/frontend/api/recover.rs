//! Goes on, at a start, with what an earlier process left half done: it may have ended between a change and what follows from
//! it.

use jiff::Timestamp;

use super::stages::is_namespace;
use super::{Services, delete, meta};
use crate::frontend::resources::RESOURCES;

/// Removes what is to go and is held by nothing, empties namespaces that are to go, and makes what comes with the others.
pub(in crate::frontend) async fn recover(services: &Services, now: Timestamp) {
    let kinds = || RESOURCES.iter().filter(|kind| kind.is_stored());
    for kind in kinds().filter(|kind| !is_namespace(kind)) {
        for object in services.storage.list(kind, None).items {
            delete::finish(services, now, kind, &object).await;
        }
    }
    for kind in kinds().filter(|kind| is_namespace(kind)) {
        for namespace in services.storage.list(kind, None).items {
            if meta::is_going(&namespace) {
                delete::empty(services, now, meta::text(&namespace, "name")).await;
            } else {
                services.hooks.created(kind, &namespace, now).await;
            }
        }
    }
}
