//! The admin listener's routes.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::FutureExt;
use serde_json::json;
use tokio::sync::Semaphore;

use super::clients::Caller;
use super::failure::Failure;
use super::route::{Meter, Route};
use super::webhook::unknown_route;
use super::{TokenFile, body};
use crate::authz::{Authorizer, Check};
use crate::review;
use crate::telemetry::{Metrics, build};

/// The part of `admin` that the routes need, and the bounds of `server` for the review in `POST /explain`.
#[derive(Debug, Clone)]
pub struct AdminSettings {
    /// `tokenFile`: opens the guarded routes to whoever has the token.
    pub token: Option<Arc<TokenFile>>,
    /// Whether the listener verifies client certificates (`tls.clientCAFile`): opens the guarded routes to whoever has one.
    pub client_certificates: bool,
    /// `server.cluster`: for which reviews are explained unless `?cluster=` names another.
    pub cluster: Option<Arc<str>>,
    /// `server.deadline`: for one explanation, its body included.
    pub deadline: Duration,
    /// `server.maxBodyBytes`.
    pub max_body_bytes: usize,
}

/// How many explanations are worked on at once; more wait for their turn, within the deadline.
const MAX_EXPLANATIONS: usize = 8;

/// What the admin listener's routes share.
pub struct Admin {
    authorizer: Arc<Authorizer>,
    settings: AdminSettings,
    metrics: Metrics,
    explanations: Semaphore,
    meter: Meter,
}

impl Admin {
    /// The routes' state, in front of the service.
    #[must_use]
    pub fn new(authorizer: Arc<Authorizer>, settings: AdminSettings, metrics: &Metrics) -> Arc<Self> {
        Arc::new(Self {
            authorizer,
            settings,
            metrics: metrics.clone(),
            explanations: Semaphore::new(MAX_EXPLANATIONS),
            meter: Meter::new(metrics),
        })
    }

    async fn answer(&self, route: Route, request: HttpRequest, payload: web::Payload) -> HttpResponse {
        let _in_flight = self.meter.enter();
        let answer = AssertUnwindSafe(self.serve(route, &request, payload)).catch_unwind().await;
        let response = answer.unwrap_or(Err(Failure::Internal)).unwrap_or_else(|failure| {
            tracing::warn!(route = route.path(), code = failure.status().as_u16(), %failure, "request refused");
            failure.response()
        });
        self.meter.count(Some(route), response)
    }

    async fn serve(
        &self,
        route: Route,
        request: &HttpRequest,
        payload: web::Payload,
    ) -> Result<HttpResponse, Failure> {
        if route.is_guarded() {
            self.admit(route, request)?;
        }
        match route {
            Route::Metrics => self.render_metrics(),
            Route::Livez => Ok(HttpResponse::Ok().body("ok")),
            Route::Readyz => self.readyz(request),
            Route::Version => Ok(HttpResponse::Ok().json(json!({
                "version": build::VERSION,
                "commit": build::COMMIT,
                "tzdata": build::tzdata(),
                "policyRevision": &*self.authorizer.revision(),
            }))),
            Route::Policies => Ok(HttpResponse::Ok().json(self.authorizer.policies())),
            Route::Explain => self.explain(request, payload).await,
            Route::Facts => self.facts(request),
            Route::Purge => self.purge(request).await,
            Route::Authorize | Route::ClusterAuthorize => Err(Failure::UnknownRoute),
        }
    }

    fn admit(&self, route: Route, request: &HttpRequest) -> Result<(), Failure> {
        let settings = &self.settings;
        if settings.token.is_none() && !settings.client_certificates {
            return Err(Failure::Off(route));
        }
        let caller = Caller::of(request);
        let has_token = settings.token.as_ref().is_some_and(|file| caller.has_token(file));
        if has_token || (settings.client_certificates && caller.has_certificate()) {
            return Ok(());
        }
        Err(Failure::Unauthenticated)
    }

    fn render_metrics(&self) -> Result<HttpResponse, Failure> {
        let (text, kind) = self.metrics.render().map_err(|error| {
            tracing::error!(%error, "metrics cannot be rendered");
            Failure::Internal
        })?;
        Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, kind)).body(text))
    }

    /// As an API server's: `?verbose` lists every check, and so does a failure.
    fn readyz(&self, request: &HttpRequest) -> Result<HttpResponse, Failure> {
        let checks = self.authorizer.checks();
        let failed: Vec<&str> =
            checks.iter().filter(|check| check.required && !check.ok).map(|check| check.name).collect();
        let verbose = query(request)?.iter().any(|(name, _)| name == "verbose");
        match (failed.is_empty(), verbose) {
            (true, false) => Ok(HttpResponse::Ok().body("ok")),
            (false, false) => Err(Failure::NotReady(failed.join(", "))),
            (true, true) => Ok(HttpResponse::Ok().body(list(&checks) + "readyz check passed\n")),
            (false, true) => {
                Ok(HttpResponse::ServiceUnavailable().body(list(&checks) + "readyz check failed\n"))
            }
        }
    }

    async fn explain(&self, request: &HttpRequest, payload: web::Payload) -> Result<HttpResponse, Failure> {
        let cluster = match query(request)?.as_slice() {
            [] => self.settings.cluster.clone(),
            [(name, cluster)] if name == "cluster" && !cluster.is_empty() => Some(cluster.as_str().into()),
            _ => return Err(Failure::Query("the query may hold cluster=NAME and nothing else")),
        };
        let until = Instant::now() + self.settings.deadline;
        let permit = tokio::time::timeout_at(until.into(), self.explanations.acquire()).await;
        let Ok(Ok(_permit)) = permit else { return Err(Failure::Busy) };
        let body = body::receive(request, payload, self.settings.max_body_bytes, until).await?;
        let review = review::read(&body)?;
        let explained = self.authorizer.explain(review.request, cluster);
        let explained = tokio::time::timeout_at(until.into(), explained).await.map_err(|_| Failure::Busy)?;
        Ok(HttpResponse::Ok().json(explained))
    }

    fn facts(&self, request: &HttpRequest) -> Result<HttpResponse, Failure> {
        match query(request)?.as_slice() {
            [(name, user)] if name == "user" && !user.is_empty() => {
                Ok(HttpResponse::Ok().json(self.authorizer.held(user)))
            }
            _ => Err(Failure::Query("the query has to hold user=NAME, and nothing else")),
        }
    }

    async fn purge(&self, request: &HttpRequest) -> Result<HttpResponse, Failure> {
        let query = query(request)?;
        let user = match query.as_slice() {
            [] => None,
            [(name, user)] if name == "user" && !user.is_empty() => Some(user.as_str()),
            // A misspelt parameter must not mean everybody.
            _ => {
                return Err(Failure::Query(
                    "the query may hold user=NAME, or nothing for everybody, and nothing else",
                ));
            }
        };
        Ok(HttpResponse::Ok().json(json!({ "dropped": self.authorizer.purge(user).await })))
    }
}

/// Routes `/metrics`, `/livez`, `/readyz`, `/version`, and the guarded `/policies`, `/explain`, `/facts` and `/purge`, which are off
/// unless something is configured that a caller could prove itself with.
pub fn admin(state: Arc<Admin>) -> impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static {
    move |config| {
        for route in Route::ADMIN {
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

fn query(request: &HttpRequest) -> Result<Vec<(String, String)>, Failure> {
    web::Query::<Vec<(String, String)>>::from_query(request.query_string())
        .map(web::Query::into_inner)
        .map_err(|_| Failure::Query("the query cannot be understood"))
}

fn list(checks: &[Check]) -> String {
    checks
        .iter()
        .map(|check| {
            let mark = if check.ok { '+' } else { '-' };
            let optional = if check.required { "" } else { " (not required)" };
            let detail: String =
                check.detail.chars().map(|each| if each.is_control() { ' ' } else { each }).collect();
            format!("[{mark}]{}{optional}: {detail}\n", check.name)
        })
        .collect()
}
