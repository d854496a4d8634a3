//! Why a request got no answer: for the client a status and a message that says what to do, for the log the rest.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, WWW_AUTHENTICATE};
use serde::Serialize;

use super::route::Route;
use crate::review::ReviewError;

/// Why a request got no answer. Its text is the client's message.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// No such path.
    #[error("no such path")]
    UnknownRoute,
    /// The path knows another method.
    #[error("this path takes {}", .0.method())]
    WrongMethod(Route),
    /// The cluster in the path cannot be the name of one.
    #[error("the cluster in the path is no name: letters, digits and -._:@, at most {most}", most = super::route::MAX_CLUSTER_CHARS)]
    ClusterName,
    /// Neither a certificate nor a token that is known.
    #[error("neither a client certificate nor a bearer token that is known here")]
    Unauthenticated,
    /// The client is in no entry of `server.clients`.
    #[error("this client certificate has no name in server.clients")]
    UnknownClient,
    /// The client is known, but not for this cluster.
    #[error("this client may not speak for cluster {0}")]
    OtherCluster(Arc<str>),
    /// The route is not on.
    #[error("{path} is off: set admin.tokenFile, or admin.tls.clientCAFile, to turn it on", path = .0.path())]
    Off(Route),
    /// The body is said to be something else than JSON.
    #[error("the body has to be application/json")]
    MediaType,
    /// The body is said to be compressed.
    #[error("the body has to be sent without Content-Encoding")]
    Encoding,
    /// The body is larger than the bound.
    #[error("the body is larger than {most} bytes")]
    TooLarge {
        /// The bound, in bytes.
        most: usize,
    },
    /// The body did not come in time.
    #[error("the body did not arrive in time")]
    Slow,
    /// The body broke off.
    #[error("the body could not be received")]
    Broken,
    /// The body is no review.
    #[error("{0}")]
    NoReview(#[from] ReviewError),
    /// A query parameter is not understood.
    #[error("{0}")]
    Query(&'static str),
    /// There is no decision to be had.
    #[error("no decision can be made at present; this is the authoriser's fault, not the request's")]
    Unavailable,
    /// Too many such requests are worked on.
    #[error("no time was left for this request: try again")]
    Busy,
    /// A part of the service that is required cannot do its work.
    #[error("not ready: {0}")]
    NotReady(String),
    /// A mistake of ours.
    #[error("the request failed inside the authoriser; its log says how")]
    Internal,
}

/// A `metav1.Status`, which Kubernetes' clients show.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    api_version: &'a str,
    kind: &'a str,
    status: &'a str,
    message: &'a str,
    code: u16,
}

impl Failure {
    /// The one map from failures to statuses. Never 429, 500 or 504, which an API server retries.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::UnknownRoute => StatusCode::NOT_FOUND,
            Self::WrongMethod(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::UnknownClient | Self::OtherCluster(_) | Self::Off(_) => StatusCode::FORBIDDEN,
            Self::MediaType | Self::Encoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::ClusterName | Self::Broken | Self::NoReview(_) | Self::Query(_) => StatusCode::BAD_REQUEST,
            Self::Unavailable | Self::Busy | Self::NotReady(_) | Self::Internal => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// The answer.
    pub(super) fn response(&self) -> HttpResponse {
        let code = self.status();
        let mut response = HttpResponse::build(code);
        match self {
            Self::WrongMethod(route) => {
                response.insert_header((ALLOW, route.method().as_str()));
            }
            Self::Unauthenticated => {
                response.insert_header((WWW_AUTHENTICATE, "Bearer"));
            }
            // The rest of the body may still be on its way.
            Self::TooLarge { .. } | Self::Slow | Self::Broken => {
                response.force_close();
            }
            _ => {}
        }
        let message = self.to_string();
        response.json(Status {
            api_version: "v1",
            kind: "Status",
            status: "Failure",
            message: &message,
            code: code.as_u16(),
        })
    }
}
