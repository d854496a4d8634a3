//! The routes, each with its path, its method and its label.

use actix_web::Resource;
use actix_web::guard;
use actix_web::http::{Method, StatusCode};
use actix_web::web;
use actix_web::{HttpRequest, HttpResponse};

use super::failure::Failure;
use crate::telemetry::{IntCounter, IntCounterVec, IntGauge, Metrics};

/// How long the name of a cluster in a path may be, in characters.
pub(super) const MAX_CLUSTER_CHARS: usize = 253;

/// A route of one of the listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// A review of `server.cluster`.
    Authorize,
    /// A review of the cluster in the path.
    ClusterAuthorize,
    /// Prometheus' metrics.
    Metrics,
    /// Whether the process lives.
    Livez,
    /// Whether it can do its work.
    Readyz,
    /// What is running.
    Version,
    /// The policy set in force.
    Policies,
    /// A review with its trace.
    Explain,
    /// What is held of a user.
    Facts,
    /// Drops cached facts.
    Purge,
}

impl Route {
    /// The routes of the webhook listener.
    pub const WEBHOOK: [Self; 2] = [Self::Authorize, Self::ClusterAuthorize];

    /// The routes of the admin listener.
    pub const ADMIN: [Self; 8] = [
        Self::Metrics,
        Self::Livez,
        Self::Readyz,
        Self::Version,
        Self::Policies,
        Self::Explain,
        Self::Facts,
        Self::Purge,
    ];

    /// The path, as a pattern.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Authorize => "/authorize",
            Self::ClusterAuthorize => "/clusters/{cluster}/authorize",
            Self::Metrics => "/metrics",
            Self::Livez => "/livez",
            Self::Readyz => "/readyz",
            Self::Version => "/version",
            Self::Policies => "/policies",
            Self::Explain => "/explain",
            Self::Facts => "/facts",
            Self::Purge => "/purge",
        }
    }

    /// The method; HEAD is answered where GET is.
    #[must_use]
    pub fn method(self) -> Method {
        match self {
            Self::Authorize | Self::ClusterAuthorize | Self::Explain | Self::Purge => Method::POST,
            Self::Metrics | Self::Livez | Self::Readyz | Self::Version | Self::Policies | Self::Facts => {
                Method::GET
            }
        }
    }

    /// Whether the route shows or changes what not everybody may see or change.
    pub(super) fn is_guarded(self) -> bool {
        matches!(self, Self::Policies | Self::Explain | Self::Facts | Self::Purge)
    }

    /// The resource, in which this handler answers the route's method and everything else is refused.
    pub(super) fn resource<H, F>(self, handler: H, meter: &Meter) -> Resource
    where
        H: Fn(HttpRequest, web::Payload) -> F + Clone + 'static,
        F: Future<Output = HttpResponse> + 'static,
    {
        let answer = match self.method() {
            Method::GET => web::route().guard(guard::Any(guard::Get()).or(guard::Head())),
            method => web::method(method),
        };
        let meter = meter.clone();
        let refuse = move || {
            let response = meter.count(Some(self), Failure::WrongMethod(self).response());
            std::future::ready(response)
        };
        web::resource(self.path()).route(answer.to(handler)).default_service(web::to(refuse))
    }
}

/// Counts requests by route and status.
#[derive(Clone)]
pub(super) struct Meter {
    requests: IntCounterVec,
    in_flight: IntGauge,
    /// What nearly every request is: looked up once.
    authorized: IntCounter,
}

/// Counts a request as in flight, until it is dropped.
pub(super) struct InFlight(IntGauge);

impl Meter {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let requests = metrics.http_requests.clone();
        let authorized = requests.with_label_values(&[Route::Authorize.path(), "200"]);
        Self { requests, in_flight: metrics.http_in_flight.clone(), authorized }
    }

    /// Counts an answer; without a route, it is one to a path that there is not.
    pub(super) fn count(&self, route: Option<Route>, response: HttpResponse) -> HttpResponse {
        match (route, response.status()) {
            (Some(Route::Authorize), StatusCode::OK) => self.authorized.inc(),
            (route, status) => {
                self.requests.with_label_values(&[route.map_or("other", Route::path), status.as_str()]).inc();
            }
        }
        response
    }

    pub(super) fn enter(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
