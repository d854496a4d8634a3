//! The webhook's routes.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::header::ContentType;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::FutureExt;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::body;
use super::clients::Clients;
use super::failure::Failure;
use super::route::{MAX_CLUSTER_CHARS, Meter, Route};
use crate::authz::{Authorizer, Fault, Reply};
use crate::model::Outcome;
use crate::review::{self, Review, Version};
use crate::telemetry::Metrics;

/// The part of `server` that the routes need.
#[derive(Debug, Clone)]
pub struct WebhookSettings {
    /// `cluster`: who posts to plain `/authorize`.
    pub cluster: Option<Arc<str>>,
    /// `clients`: who may post.
    pub clients: Clients,
    /// `deadline`: for one review, its body included.
    pub deadline: Duration,
    /// `maxBodyBytes`.
    pub max_body_bytes: usize,
    /// `maxInFlight`: how many reviews are decided at once, those of exempt subjects not counted. As many bodies are
    /// received beside that, because only from its body is it known in which version a review that is one too many has to
    /// be answered.
    pub max_in_flight: usize,
}

/// What the webhook's routes share.
pub struct Webhook {
    authorizer: Arc<Authorizer>,
    settings: WebhookSettings,
    /// Permits to receive a body. They bound the memory of bodies, of which HTTP/2's windows bound only what is unread.
    bodies: Semaphore,
    /// Permits to have a review decided.
    reviews: Semaphore,
    meter: Meter,
}

/// Why there is no review to decide.
enum NoReview {
    /// The client is told so.
    Refused(Failure),
    /// It was too large or too slow to be read to its end.
    Unread(Failure),
    /// It is one too many.
    Overloaded(Box<Review>),
    /// The fault is ours, or the network's between us and the API server: it is answered as such (DESIGN 3.3), since an
    /// API server may take every other answer for no opinion. The version is the one asked, as far as it is known.
    Fault(Version, Fault),
}

impl Webhook {
    /// The routes' state, in front of the service.
    #[must_use]
    pub fn new(authorizer: Arc<Authorizer>, settings: WebhookSettings, metrics: &Metrics) -> Arc<Self> {
        let permits = || Semaphore::new(settings.max_in_flight.min(Semaphore::MAX_PERMITS));
        let (bodies, reviews) = (permits(), permits());
        Arc::new(Self { authorizer, settings, bodies, reviews, meter: Meter::new(metrics) })
    }

    async fn answer(&self, route: Route, request: HttpRequest, payload: web::Payload) -> HttpResponse {
        let _in_flight = self.meter.enter();
        let response = match self.serve(&request, payload).await {
            Ok(response) => response,
            Err(failure) => {
                tracing::warn!(route = route.path(), code = failure.status().as_u16(), %failure, peer = ?request.peer_addr(), "review refused");
                failure.response()
            }
        };
        self.meter.count(Some(route), response)
    }

    async fn serve(&self, request: &HttpRequest, payload: web::Payload) -> Result<HttpResponse, Failure> {
        let until = Instant::now() + self.settings.deadline;
        let cluster = self.cluster(request)?;
        self.settings.clients.admit(request, cluster.as_ref())?;
        let (review, _permit) = match self.receive(request, payload, until).await {
            Ok(received) => received,
            Err(NoReview::Refused(failure)) => return Err(failure),
            Err(NoReview::Unread(failure)) => return self.answer_unread(failure),
            Err(NoReview::Overloaded(review)) => {
                return respond(review.version, &self.authorizer.overloaded(review.request, cluster));
            }
            Err(NoReview::Fault(version, fault)) => return respond(version, &self.authorizer.fault(fault)),
        };
        let decided = AssertUnwindSafe(self.authorizer.review(review.request, cluster)).catch_unwind();
        let reply = match tokio::time::timeout_at(until.into(), decided).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(_panic)) => {
                tracing::error!("review panicked");
                self.authorizer.fault(Fault::Internal)
            }
            Err(_elapsed) => self.authorizer.fault(Fault::Deadline),
        };
        respond(review.version, &reply)
    }

    /// Receives the review, and the permit to have it decided; exempt subjects need none.
    async fn receive(
        &self,
        request: &HttpRequest,
        payload: web::Payload,
        until: Instant,
    ) -> Result<(Review, Option<SemaphorePermit<'_>>), NoReview> {
        let Ok(Ok(_body_permit)) = tokio::time::timeout_at(until.into(), self.bodies.acquire()).await else {
            return Err(NoReview::Fault(Version::V1, Fault::Overload));
        };
        let received = body::receive(request, payload, self.settings.max_body_bytes, until).await;
        let body = received.map_err(|failure| match failure {
            failure @ (Failure::TooLarge { .. } | Failure::Slow { .. }) => NoReview::Unread(failure),
            failure => NoReview::Refused(failure),
        })?;
        let review = review::read(&body).map_err(|error| NoReview::Refused(error.into()))?;
        match self.reviews.try_acquire() {
            Ok(permit) => Ok((review, Some(permit))),
            // A flood must not stop the control plane: who is exempt costs nothing and is answered all the same.
            Err(_) if self.authorizer.is_exempt(&review.request) => Ok((review, None)),
            Err(_) => Err(NoReview::Overloaded(Box::new(review))),
        }
    }

    /// The answer to a review that was not read to its end. Where nothing is known of a `failurePolicy: Deny` it is
    /// refused, as for overload: whoever lists can make the review as long as they like by its selectors, and an API server
    /// that fails open would go on without an answer.
    fn answer_unread(&self, failure: Failure) -> Result<HttpResponse, Failure> {
        let (asked, fault) = match failure {
            Failure::TooLarge { asked, .. } => (asked, Fault::TooLarge),
            Failure::Slow { asked } => (asked, Fault::Deadline),
            other => return Err(other),
        };
        let reply = self.authorizer.fault(fault);
        if reply.outcome == Outcome::Unavailable {
            return Err(failure);
        }
        tracing::warn!(%failure, "a review that was not read to its end is denied");
        respond(asked, &reply)
    }

    /// The cluster that the path names, otherwise `server.cluster`.
    fn cluster(&self, request: &HttpRequest) -> Result<Option<Arc<str>>, Failure> {
        match request.match_info().get("cluster") {
            None => Ok(self.settings.cluster.clone()),
            Some(name) if is_cluster_name(name) => Ok(Some(name.into())),
            Some(_) => Err(Failure::ClusterName),
        }
    }
}

/// Routes `POST /authorize` and `POST /clusters/{cluster}/authorize`. Only the path counts: the query, to which API servers
/// add `timeout`, is not looked at.
pub fn webhook(state: Arc<Webhook>) -> impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static {
    move |config| {
        for route in Route::WEBHOOK {
            let serving = Arc::clone(&state);
            let handler = move |request, payload| {
                let state = Arc::clone(&serving);
                async move { state.answer(route, request, payload).await }
            };
            config.service(route.resource(handler, &state.meter));
        }
        config.default_service(web::to(unknown_route(&state.meter)));
    }
}

/// Answers paths that there are not.
pub(super) fn unknown_route(meter: &Meter) -> impl Fn() -> std::future::Ready<HttpResponse> + Clone + use<> {
    let meter = meter.clone();
    move || std::future::ready(meter.count(None, Failure::UnknownRoute.response()))
}

fn respond(version: Version, reply: &Reply) -> Result<HttpResponse, Failure> {
    match reply.outcome {
        Outcome::Unavailable => Err(Failure::Unavailable),
        Outcome::Decided(decision) => {
            let body = review::write(version, decision, &reply.reason, &reply.evaluation_error);
            Ok(HttpResponse::Ok().content_type(ContentType::json()).body(body))
        }
    }
}

fn is_cluster_name(name: &str) -> bool {
    (1..=MAX_CLUSTER_CHARS).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'@'))
}
