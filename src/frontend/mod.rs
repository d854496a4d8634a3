//! The reference front end: a small API server for demonstration, teaching and tests. Every stage of a request is really
//! there; only the cluster behind it is not.
//!
//! A request takes this way (`pipeline.rs`), and each stage is one folder:
//!
//! 1. [`authn`]: are you who you say you are?
//! 2. [`request_info`] reads what it is about, from its method, path and query.
//! 3. [`authorizers`]: may you do this?
//! 4. [`admission`]: does the request pass all checks? It changes the object first, and then judges it.
//! 5. [`storage`]: nothing is kept before all of them have passed.
//!
//! [`api`] is what stands around them: HTTP, discovery, representations. [`journey`] is what a request leaves behind.

pub mod admission;
mod answer;
pub mod api;
pub mod authn;
pub mod authorizers;
mod bootstrap;
mod connections;
mod cross_site;
mod data_dir;
mod hooks;
mod in_flight;
pub mod journey;
mod json;
pub mod kubeconfig;
mod meta;
mod path;
mod pipeline;
pub mod request_info;
pub mod resources;
pub mod sample_webhook;
pub mod selector;
mod settings;
mod start;
pub mod status;
pub mod storage;
mod views;

use std::sync::Arc;

use actix_web::web;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::LocalBoxStream;
use jiff::Timestamp;
use tokio::sync::watch;

pub use bootstrap::BootstrapError;
pub use settings::{Authorization, Settings};
pub use start::{Parts, Prepared, Running, StartError};

/// Reads the wall clock.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A front end, as its requests share it.
struct Frontend {
    authenticators: Arc<authn::Authenticators>,
    chain: Arc<authorizers::Chain>,
    services: api::Services,
    service_accounts: Option<Arc<authn::ServiceAccountTokens>>,
    journeys: journey::Journeys,
    in_flight: in_flight::InFlight,
    /// Whether somebody who is not known could show a password.
    asks_for_password: bool,
    clock: Clock,
    /// Says true when serving is to stop.
    stop: watch::Receiver<bool>,
}

impl Frontend {
    /// A stream that ends when serving does: a watch would go on for as long as somebody reads it.
    fn until_stopped(&self, stream: LocalBoxStream<'static, Bytes>) -> LocalBoxStream<'static, Bytes> {
        let mut stop = self.stop.clone();
        let stopped = async move {
            // An error says that nobody is left to stop us: then we are being stopped.
            let _stopped = stop.wait_for(|stop| *stop).await;
        };
        stream.take_until(Box::pin(stopped)).boxed_local()
    }
}

/// The application: whatever is asked, it walks through the stages.
fn application(frontend: Arc<Frontend>) -> impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static {
    move |config| {
        let frontend = Arc::clone(&frontend);
        let serve = move |request, payload| pipeline::serve(Arc::clone(&frontend), request, payload);
        config.default_service(web::to(serve));
    }
}
