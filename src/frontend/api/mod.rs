//! The API itself: discovery, representations, verbs on stored objects, reviews.
//!
//! A request comes here authenticated and authorised, as a [`Call`]; [`dispatch()`] finds what serves it. Whatever changes
//! an object goes one way: the body is read and brought into the shape of its kind (`body`, `schema`), defaulted, admitted,
//! validated (`kinds`), and stored (`create`, `change`, `delete`).

mod addresses;
mod answer;
mod body;
mod change;
mod create;
mod delete;
mod descriptions;
mod discovery;
mod dispatch;
mod fields;
mod garbage;
mod kinds;
mod log;
mod logs;
mod negotiate;
mod openapi;
mod openapi_v2;
mod options;
mod patch;
mod placing;
mod protobuf;
mod read;
mod recover;
mod represent;
mod reviews;
mod scale;
mod schema;
mod shaping;
mod stages;
mod strategic;
mod table;
#[cfg(test)]
mod tests;
mod watch;
mod shared_lines;
mod watches;

use std::sync::Arc;
use std::time::Instant;

use actix_web::http::header::HeaderMap;
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use jiff::Timestamp;
use serde_json::Value;

use super::admission::{Admission, Attributes, Record};
use super::journey::Stage;
use super::request_info::RequestInfo;
use super::resources::ResourceType;
use super::status::ApiError;
use super::storage::{Object, Storage};
use super::{json, meta};
use crate::model::Subject;

pub use addresses::Addresses;
pub(super) use addresses::assign;
pub use answer::{Answer, Body};
pub use dispatch::dispatch;
pub use garbage::{Garbage, resume as resume_garbage};
pub use logs::{Logs, MAX_LINES, MAX_LOGS};
pub(super) use recover::recover;
pub use shaping::Shaping;
pub use watches::{MAX_WATCHES_OF_ONE, Watches};

/// A request that may be carried out.
pub struct Call<'a> {
    /// What it is served by.
    pub frontend: &'a Services,
    /// What it is about.
    pub info: &'a RequestInfo,
    /// Who asks.
    pub subject: &'a Subject,
    /// The HTTP method.
    pub method: &'a str,
    /// The HTTP headers.
    pub headers: &'a HeaderMap,
    /// The body, received as a whole.
    pub body: Bytes,
    /// When it came.
    pub now: Timestamp,
    /// The same, by the clock that measures how long it takes.
    pub began: Instant,
    /// Where it leaves what happens to it.
    pub trace: &'a dyn Trace,
}

/// Fills in what the server says of an object that is not created by a request.
pub(super) fn complete(kind: &ResourceType, object: &mut Value, now: Timestamp) {
    kinds::default(kind, object);
    kinds::prepare_create(kind, object, now);
}

/// What requests are served by.
pub struct Services {
    /// The objects.
    pub storage: Arc<Storage>,
    /// The third stage.
    pub admission: Arc<dyn Admit>,
    /// What the other parts of the front end know.
    pub hooks: Arc<dyn Hooks>,
    /// What services are given.
    pub addresses: Addresses,
    /// What pods have to say.
    pub logs: Arc<Logs>,
    /// Who watches.
    pub watches: Arc<Watches>,
    /// Which objects belong to whom.
    pub garbage: Garbage,
}

/// Where a request leaves what happens to it.
pub trait Trace {
    /// A stage is over.
    fn stage(&self, stage: Stage);
    /// A note for the audit.
    fn annotate(&self, key: &str, value: &str);
    /// A warning for the client (header `Warning`).
    fn warn(&self, text: &str);
}

/// The third stage, as the API needs it.
pub trait Admit: Send + Sync {
    /// Changes the object, or refuses it.
    fn mutate<'a>(
        &'a self,
        asked: &'a mut Attributes,
        record: &'a mut Record,
    ) -> LocalBoxFuture<'a, Result<(), ApiError>>;

    /// Judges the object as it will be stored.
    fn validate<'a>(
        &'a self,
        asked: &'a Attributes,
        record: &'a mut Record,
    ) -> LocalBoxFuture<'a, Result<(), ApiError>>;
}

impl Admit for Admission {
    fn mutate<'a>(
        &'a self,
        asked: &'a mut Attributes,
        record: &'a mut Record,
    ) -> LocalBoxFuture<'a, Result<(), ApiError>> {
        Box::pin(self.mutating(asked, record))
    }

    fn validate<'a>(
        &'a self,
        asked: &'a Attributes,
        record: &'a mut Record,
    ) -> LocalBoxFuture<'a, Result<(), ApiError>> {
        Box::pin(self.validating(asked, record))
    }
}

/// What the API has to ask the other parts of the front end.
pub trait Hooks: Send + Sync {
    /// Whether somebody may write these roles or bindings: nobody grants what they have not got themselves
    /// (`k8s.io/kubernetes/pkg/registry/rbac/*/policybased`). Asked for RBAC objects that are created or changed, after
    /// they are mutated and before they are validated.
    fn may_grant<'a>(
        &'a self,
        subject: &'a Subject,
        kind: &'static ResourceType,
        new: &'a Value,
        old: Option<&'a Value>,
    ) -> LocalBoxFuture<'a, Result<(), ApiError>>;

    /// Answers a review: the same object with its status.
    fn review<'a>(
        &'a self,
        kind: &'static ResourceType,
        namespace: &'a str,
        subject: &'a Subject,
        review: Value,
        now: Timestamp,
    ) -> LocalBoxFuture<'a, Result<Value, ApiError>>;

    /// Told of each object that was kept as a new one.
    fn created<'a>(
        &'a self,
        kind: &'static ResourceType,
        object: &'a Object,
        now: Timestamp,
    ) -> LocalBoxFuture<'a, ()>;

    /// Issues a token for a service account that there is: the TokenRequest with its status.
    fn token<'a>(
        &'a self,
        subject: &'a Subject,
        account: Object,
        request: Value,
        now: Timestamp,
    ) -> LocalBoxFuture<'a, Result<Value, ApiError>>;
}
