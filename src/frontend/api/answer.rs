//! What a request is answered with.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::LocalBoxStream;
use serde_json::Value;

use crate::frontend::status::ApiError;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub code: u16,
    /// The header `Content-Type`.
    pub content_type: String,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Body,
}

/// The body of an answer.
pub enum Body {
    /// All of it.
    Whole(Bytes),
    /// Piece by piece, for as long as the client reads: a watch, a log that is followed.
    Stream(LocalBoxStream<'static, Bytes>),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Stream(_) => write!(f, "a stream"),
        }
    }
}

/// JSON, as a Content-Type.
pub(super) const JSON: &str = "application/json";

impl Answer {
    /// JSON.
    #[must_use]
    pub fn json(code: u16, value: &Value) -> Self {
        let mut text = value.to_string();
        text.push('\n');
        Self::whole(code, JSON, text)
    }

    /// Plain text.
    #[must_use]
    pub fn text(code: u16, text: impl Into<Bytes>) -> Self {
        Self::whole(code, "text/plain; charset=utf-8", text)
    }

    /// A whole body of some type.
    #[must_use]
    pub fn whole(code: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        let content_type = content_type.to_owned();
        Self { code, content_type, headers: Vec::new(), body: Body::Whole(body.into()) }
    }

    /// A body that comes piece by piece.
    #[must_use]
    pub fn stream(content_type: &str, stream: LocalBoxStream<'static, Bytes>) -> Self {
        let content_type = content_type.to_owned();
        Self { code: 200, content_type, headers: Vec::new(), body: Body::Stream(stream) }
    }

    /// The Status of an error.
    #[must_use]
    pub fn error(error: &ApiError) -> Self {
        let mut answer = Self::json(error.code, &error.to_json());
        if let Some(seconds) = error.retry_after {
            answer.headers.push(("Retry-After", seconds.to_string()));
        }
        answer
    }

    /// As actix has it.
    #[must_use]
    pub fn into_response(self) -> HttpResponse {
        let code = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = HttpResponse::build(code);
        response.insert_header(("Content-Type", self.content_type));
        response.insert_header(("Cache-Control", "no-cache, private"));
        for header in self.headers {
            response.insert_header(header);
        }
        match self.body {
            Body::Whole(bytes) => response.body(bytes),
            Body::Stream(stream) => response.streaming(stream.map(Ok::<_, std::convert::Infallible>)),
        }
    }
}
