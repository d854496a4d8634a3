//! HTTP/2 (RFC 9113), within limits.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use actix_http::error::PayloadError;
use actix_http::{BoxedPayloadStream, Payload, Request, Response};
use actix_web::body::{BodySize, MessageBody};
use actix_web::http::header::{CONNECTION, CONTENT_LENGTH, DATE, HttpDate, TRANSFER_ENCODING, UPGRADE};
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::header::HeaderValue;
use http::request::Parts;
use http::{HeaderName, Method};

use super::activity::{Connected, Overdue, TICK, Transport};
use super::answer::{App, answer};
use super::body::Answer;
use super::connection::Drain;
use super::{
    CONNECTION_WINDOW, HANDSHAKE_TIMEOUT, MAX_CONCURRENT_STREAMS, MAX_HEADER_LIST, MAX_PENDING_RESETS,
    MAX_SEND_BUFFER, STREAM_WINDOW, WRITE_TIMEOUT,
};

/// Headers that belong to one HTTP/1.1 connection and mean nothing here (RFC 9113, 8.2.2).
const OF_ANOTHER_PROTOCOL: [HeaderName; 3] = [CONNECTION, TRANSFER_ENCODING, UPGRADE];

/// How long the rest of a body is read that nobody wants, once its request was answered.
const REST_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves one connection until it ends. Its requests are answered within this very task: when the connection is gone, so
/// are they.
pub(super) async fn serve(transport: Transport, drain: Drain, grace: Duration, app: App) {
    let connected = transport.connected.clone();
    let address = connected.peer.address;
    let handshake = builder().handshake::<_, Bytes>(transport);
    let mut connection = match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return tracing::debug!(%address, %error, "no HTTP/2"),
        Err(_) => return tracing::debug!(%address, "no HTTP/2 within the time for it"),
    };
    let mut answers = FuturesUnordered::new();
    let mut drain = Box::pin(drain.called());
    let mut draining = false;
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    answers.push(exchange(app.clone(), request, respond, connected.clone()));
                }
                Some(Err(error)) => return tracing::debug!(%address, %error, "connection ended"),
                None => return,
            },
            Some(()) = answers.next() => {}
            () = &mut drain, if !draining => {
                draining = true;
                connected.activity.drain();
                connection.graceful_shutdown();
            }
            _ = tick.tick() => match connected.activity.overdue_http2(grace) {
                Some(Overdue::Idle) if !draining => {
                    draining = true;
                    connected.activity.drain();
                    connection.graceful_shutdown();
                }
                // After GOAWAY a client that is still there closes by itself; the grace bounds one that does not.
                Some(Overdue::Idle) | None => {}
                Some(why) => return tracing::debug!(%address, ?why, "connection closed"),
            }
        }
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_send_buffer_size(MAX_SEND_BUFFER);
    builder
}

/// One request and its answer; given up as soon as the client resets the stream.
async fn exchange(
    app: App,
    request: http::Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    connected: Connected,
) {
    let is_head = request.method() == Method::HEAD;
    let (parts, body) = request.into_parts();
    let body = Rc::new(RefCell::new(body));
    let answered = {
        let answer = answer(app, translate(parts, &body, &connected), connected);
        tokio::select! {
            biased;
            answered = answer => answered,
            _ = poll_fn(|cx| respond.poll_reset(cx)) => return,
        }
    };
    let sent = send(answered, &mut respond, is_head).await;
    if let Err(error) = sent {
        tracing::debug!(%error, "answer not sent");
        respond.send_reset(Reason::INTERNAL_ERROR);
        return;
    }
    // Were the stream given up at once, a client could take its reset for the end of an answer that it has not read yet
    // (curl 7.88 does), although RFC 9113, 8.1 lets a server do so.
    let rest = Received(body).discard(STREAM_WINDOW as usize);
    let _ = tokio::time::timeout(REST_TIMEOUT, rest).await;
}

fn translate(parts: Parts, body: &Rc<RefCell<RecvStream>>, connected: &Connected) -> Request {
    let payload: Payload<BoxedPayloadStream> = if body.borrow().is_end_stream() {
        Payload::None
    } else {
        Payload::Stream { payload: Box::pin(Received(Rc::clone(body))) }
    };
    let mut request = Request::with_payload(payload);
    let head = request.head_mut();
    head.method = parts.method;
    head.uri = parts.uri;
    head.version = parts.version;
    head.headers = parts.headers.into();
    head.peer_addr = Some(connected.peer.address);
    request
}

/// A request's body. The window opens again only for what was read, so that what waits is bounded. It is shared by what
/// answers the request and by who sees it to its end; they read one after the other.
struct Received(Rc<RefCell<RecvStream>>);

impl Received {
    /// Reads to the end, or a little more than so many octets.
    async fn discard(mut self, most: usize) {
        let mut so_far = 0_usize;
        while let Some(Ok(chunk)) = self.next().await {
            so_far = so_far.saturating_add(chunk.len());
            if so_far > most {
                return;
            }
        }
    }
}

impl futures_util::Stream for Received {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut body = self.0.borrow_mut();
        let chunk = std::task::ready!(body.poll_data(cx));
        Poll::Ready(chunk.map(|chunk| {
            let chunk = chunk.map_err(PayloadError::Http2Payload)?;
            // Fails only for more than was received.
            let _ = body.flow_control().release_capacity(chunk.len());
            Ok(chunk)
        }))
    }
}

/// Why an answer could not be sent.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error(transparent)]
    Http2(#[from] h2::Error),
    #[error("the answer's body failed: {0}")]
    Body(String),
    #[error("the client does not read")]
    SlowReader,
}

async fn send(
    answered: Response<Answer>,
    respond: &mut SendResponse<Bytes>,
    is_head: bool,
) -> Result<(), SendError> {
    let (head, mut body) = answered.into_parts();
    let size = body.size();
    let response = response(&head, size);
    let is_empty = is_head || matches!(size, BodySize::None | BodySize::Sized(0));
    let mut stream = respond.send_response(response, is_empty)?;
    if is_empty {
        return Ok(());
    }
    let mut left = match size {
        BodySize::Sized(length) => Some(length),
        BodySize::None | BodySize::Stream => None,
    };
    loop {
        let chunk = tokio::select! {
            biased;
            chunk = poll_fn(|cx| Pin::new(&mut body).poll_next(cx)) => chunk,
            _ = poll_fn(|cx| stream.poll_reset(cx)) => return Ok(()),
        };
        match chunk {
            Some(Ok(chunk)) => {
                left = left.map(|left| left.saturating_sub(chunk.len() as u64));
                send_chunk(&mut stream, chunk, left == Some(0)).await?;
                if left == Some(0) {
                    return Ok(());
                }
            }
            Some(Err(error)) => return Err(SendError::Body(error.to_string())),
            None => return Ok(stream.send_data(Bytes::new(), true)?),
        }
    }
}

/// Sends as much at a time as the client's window lets through, and waits no longer than [`WRITE_TIMEOUT`] for it to open.
async fn send_chunk(
    stream: &mut SendStream<Bytes>,
    mut chunk: Bytes,
    is_last: bool,
) -> Result<(), SendError> {
    while !chunk.is_empty() {
        stream.reserve_capacity(chunk.len());
        let capacity = poll_fn(|cx| stream.poll_capacity(cx));
        match tokio::time::timeout(WRITE_TIMEOUT, capacity).await {
            Ok(Some(Ok(capacity))) => {
                let piece = chunk.split_to(capacity.min(chunk.len()));
                stream.send_data(piece, is_last && chunk.is_empty())?;
            }
            Ok(Some(Err(error))) => return Err(error.into()),
            // The client closed the stream: it wants no more.
            Ok(None) => return Ok(()),
            Err(_) => return Err(SendError::SlowReader),
        }
    }
    Ok(())
}

fn response(answered: &Response<()>, size: BodySize) -> http::Response<()> {
    let mut response = http::Response::new(());
    *response.status_mut() = answered.status();
    *response.version_mut() = http::Version::HTTP_2;
    let headers = response.headers_mut();
    for (name, value) in answered.headers() {
        if !OF_ANOTHER_PROTOCOL.contains(name) && name != CONTENT_LENGTH {
            headers.append(name.clone(), value.clone());
        }
    }
    if let BodySize::Sized(length) = size {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    if !headers.contains_key(DATE) {
        let now = HttpDate::from(SystemTime::now()).to_string();
        if let Ok(now) = HeaderValue::try_from(now) {
            headers.insert(DATE, now);
        }
    }
    response
}
