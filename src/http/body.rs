//! A body that holds a review: bounded in size and in time.

use std::time::Instant;

use actix_web::HttpRequest;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::web;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use super::failure::Failure;

/// Receives the body of a request until `until`. A body without a content type is taken for JSON.
pub(super) async fn receive(
    request: &HttpRequest,
    payload: web::Payload,
    most: usize,
    until: Instant,
) -> Result<Bytes, Failure> {
    let headers = request.headers();
    if headers.get(CONTENT_TYPE).is_some_and(|kind| !is_json(kind.as_bytes())) {
        return Err(Failure::MediaType);
    }
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(Failure::Encoding);
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > most as u64) {
        return Err(Failure::TooLarge { most });
    }
    tokio::time::timeout_at(until.into(), collect(payload, most)).await.map_err(|_| Failure::Slow)?
}

/// `application/json`, with whatever parameters.
fn is_json(kind: &[u8]) -> bool {
    let essence = kind.split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

async fn collect(mut payload: web::Payload, most: usize) -> Result<Bytes, Failure> {
    let Some(first) = payload.next().await else { return Ok(Bytes::new()) };
    let first = first.map_err(broken)?;
    // Nearly every review comes in one piece, which need not be copied.
    let mut body = first.clone();
    let mut pieces = BytesMut::new();
    while let Some(piece) = payload.next().await {
        let piece = piece.map_err(broken)?;
        if pieces.is_empty() {
            pieces.extend_from_slice(&first);
        }
        if pieces.len() + piece.len() > most {
            return Err(Failure::TooLarge { most });
        }
        pieces.extend_from_slice(&piece);
    }
    if !pieces.is_empty() {
        body = pieces.freeze();
    }
    if body.len() > most { Err(Failure::TooLarge { most }) } else { Ok(body) }
}

fn broken(error: actix_web::error::PayloadError) -> Failure {
    tracing::debug!(%error, "body broke off");
    Failure::Broken
}
