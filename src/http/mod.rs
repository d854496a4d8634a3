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

pub use admin::{Admin, AdminSettings, admin};
pub use clients::{Client, Clients, Credential};
pub use route::Route;
pub use token::{TokenFile, read_token};
pub use webhook::{Webhook, WebhookSettings, webhook};
