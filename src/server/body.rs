//! Bodies: a request's, which may not dawdle; an answer's, which keeps its connection busy until it was sent.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_http::Payload;
use actix_http::error::PayloadError;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use bytes::Bytes;
use futures_util::Stream;
use tokio::time::Sleep;

use super::BODY_TIMEOUT;
use super::activity::InFlight;

/// Bounds the time that a body may take. The clock starts when its reader first has to wait, so that a body that came with
/// its head costs no timer.
pub(super) fn bounded(payload: Payload) -> Payload {
    match payload {
        Payload::None => Payload::None,
        payload => Payload::Stream { payload: Box::pin(Bounded { payload, timer: None }) },
    }
}

struct Bounded {
    payload: Payload,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Stream for Bounded {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Poll::Ready(chunk) = Pin::new(&mut self.payload).poll_next(cx) {
            return Poll::Ready(chunk);
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(BODY_TIMEOUT)));
        match timer.as_mut().poll(cx) {
            Poll::Ready(()) => {
                let error = io::Error::new(io::ErrorKind::TimedOut, "the body did not come in time");
                Poll::Ready(Some(Err(PayloadError::Io(error))))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// An answer's body, and the request that is in flight until it was sent.
pub(super) struct Answer {
    body: BoxBody,
    _in_flight: InFlight,
}

impl Answer {
    pub(super) fn new(body: BoxBody, in_flight: InFlight) -> Self {
        Self { body, _in_flight: in_flight }
    }
}

impl MessageBody for Answer {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        self.body.as_pin_mut().poll_next(cx)
    }
}
