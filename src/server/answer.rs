//! One request through the application, whichever protocol it came by.

use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use actix_http::{ConnectionType, HttpMessage, Request, Response};
use actix_service::Service;
use actix_service::boxed::RcService;
use actix_web::body::BoxBody;
use actix_web::dev::ServiceResponse;
use actix_web::http::{StatusCode, Version};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use super::activity::{Connected, Transport};
use super::body::{Answer, bounded};

/// The application, as one worker has it.
pub(super) type App = RcService<Request, ServiceResponse, actix_web::Error>;

/// Both protocols over one application.
#[derive(Clone)]
pub(super) struct Services {
    pub(super) app: App,
    /// HTTP/1.1 on a transport, until it ends or, after the future given resolves, what is in flight was answered.
    pub(super) http1: Rc<dyn Fn(Transport, LocalBoxFuture<'static, ()>) -> LocalBoxFuture<'static, ()>>,
}

/// Answers one request. A panic in a handler is that request's own: 503 without `Retry-After`, which an API server neither
/// caches nor tries again.
pub(super) async fn answer(app: App, mut request: Request, connected: Connected) -> Response<Answer> {
    let in_flight = connected.activity.begin();
    let activity = connected.activity;
    let is_http1 = request.version() < Version::HTTP_2;
    let payload = request.take_payload();
    let (request, _) = request.replace_payload(bounded(payload));
    request.extensions_mut().insert(connected.peer);
    let response = match AssertUnwindSafe(async { app.call(request).await }).catch_unwind().await {
        Ok(Ok(response)) => Response::<BoxBody>::from(response),
        Ok(Err(error)) => Response::from(error),
        Err(_) => {
            tracing::error!("a handler panicked");
            Response::new(StatusCode::SERVICE_UNAVAILABLE)
        }
    };
    // Where the rest of a body does not come, actix would wait for it for as long as for another request.
    if is_http1 && response.head().connection_type() == ConnectionType::Close {
        activity.drain();
    }
    response.map_body(|_, body| Answer::new(body, in_flight))
}
