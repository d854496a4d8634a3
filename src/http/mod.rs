//! The routes of both listeners, and the one place where errors become statuses.
//!
//! An API server retries what is answered with 429, 500 or 504, or with a `Retry-After`, five times over; none of these
//! is ever sent from here. What is our own fault is either answered like a decision or with a plain 503 (DESIGN 3.3).

mod admin;
mod body;
mod clients;
mod failure;
mod route;
mod token;
mod webhook;

use std::sync::Arc;

use serde_json::Value;

use crate::authz::{Authorizer, Check, Fault, Reply};
use crate::model::Request;

pub use admin::{Admin, AdminSettings, admin};
pub use clients::{Client, Clients, Credential};
pub use token::TokenFile;
pub use webhook::{Webhook, WebhookSettings, webhook};

/// What the routes ask of the service. [`Authorizer`] is the one; see there for what each of these does.
pub trait Service: Send + Sync + 'static {
    /// Answers one review, within the deadline.
    fn review(&self, request: Request, cluster: Option<Arc<str>>) -> impl Future<Output = Reply>;
    /// Whether the subject is exempt: the control plane, which is answered however many others ask.
    fn is_exempt(&self, _request: &Request) -> bool {
        false
    }
    /// The answer where the fault is ours.
    fn fault(&self, fault: Fault) -> Reply;
    /// Decides one request with a full trace, and leaves no other trace of it.
    fn explain(&self, request: Request, cluster: Option<Arc<str>>) -> impl Future<Output = Value>;
    /// Drops the cached facts of one user, or of all, and says of how many.
    fn purge(&self, user: Option<&str>) -> impl Future<Output = u64>;
    /// Whether each part can do its work.
    fn checks(&self) -> Vec<Check>;
    /// The policy set in force, with its `revision`.
    fn policies(&self) -> Value;
}

impl Service for Authorizer {
    async fn review(&self, request: Request, cluster: Option<Arc<str>>) -> Reply {
        self.review(request, cluster).await
    }

    fn is_exempt(&self, request: &Request) -> bool {
        self.is_exempt(request)
    }

    fn fault(&self, fault: Fault) -> Reply {
        self.fault(fault)
    }

    async fn explain(&self, request: Request, cluster: Option<Arc<str>>) -> Value {
        self.explain(request, cluster).await
    }

    async fn purge(&self, user: Option<&str>) -> u64 {
        self.purge(user).await
    }

    fn checks(&self) -> Vec<Check> {
        self.checks()
    }

    fn policies(&self) -> Value {
        self.policies()
    }
}
