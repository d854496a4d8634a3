//! A body that holds a review: bounded in size and in time.

use std::time::Instant;

use actix_web::HttpRequest;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::web;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use super::failure::Failure;
use crate::review::Version;

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
    let mut received =
        Received { is_too_large: length.is_some_and(|length| length > most as u64), ..Received::default() };
    let collected = tokio::time::timeout_at(until.into(), received.collect(payload, most)).await;
    let asked = received.version();
    match collected {
        Ok(Err(failure)) => Err(failure),
        Ok(Ok(())) | Err(_) if received.is_too_large => Err(Failure::TooLarge { most, asked }),
        Ok(Ok(())) => Ok(received.body()),
        Err(_) => Err(Failure::Slow { asked }),
    }
}

/// `application/json`, with whatever parameters.
fn is_json(kind: &[u8]) -> bool {
    let essence = kind.split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

/// How much of a body's beginning is looked at for its version, in bytes.
const HEAD_BYTES: usize = 512;

/// What came of a body so far.
#[derive(Default)]
struct Received {
    /// Nearly every review comes in one piece, which need not be copied.
    first: Bytes,
    /// All pieces, where there are several.
    pieces: BytesMut,
    is_too_large: bool,
}

impl Received {
    /// Receives to the end. What is too much is read too, since who still writes does not read an answer, but not kept.
    async fn collect(&mut self, mut payload: web::Payload, most: usize) -> Result<(), Failure> {
        while let Some(piece) = payload.next().await {
            let piece = piece.map_err(broken)?;
            self.is_too_large |= self.first.len().max(self.pieces.len()) + piece.len() > most;
            if self.first.is_empty() {
                self.first = piece;
            } else if self.is_too_large {
                self.pieces = BytesMut::new();
            } else {
                if self.pieces.is_empty() {
                    self.pieces.extend_from_slice(&self.first);
                }
                self.pieces.extend_from_slice(&piece);
            }
        }
        Ok(())
    }

    fn body(self) -> Bytes {
        if self.pieces.is_empty() { self.first } else { self.pieces.freeze() }
    }

    /// The version of a review whose rest is not known: API servers write it first, before anything that a requester
    /// chooses.
    fn version(&self) -> Version {
        let head = String::from_utf8_lossy(self.first.get(..HEAD_BYTES).unwrap_or(&self.first));
        let version = head.split_once("\"apiVersion\"").map_or("", |(_, rest)| rest);
        let version = version.trim_start_matches([':', ' ', '\t', '\r', '\n']);
        if version.starts_with("\"authorization.k8s.io/v1beta1\"") { Version::V1beta1 } else { Version::V1 }
    }
}

fn broken(error: actix_web::error::PayloadError) -> Failure {
    tracing::debug!(%error, "body broke off");
    Failure::Broken
}
