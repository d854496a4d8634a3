//! A small HTTP/1.1 client: one request, one answer, one deadline for all of it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::{ClientContext, TlsError};

pub use hyper::{Method, StatusCode};

/// The longest answer that is read where nobody says otherwise, in bytes.
pub const MAX_BODY: usize = 4 * 1024 * 1024;
/// The most octets of an answer's status line and headers that are buffered; hyper's least is 8 KiB.
const MAX_HEAD: usize = 64 * 1024;
/// The most headers of an answer.
const MAX_HEADERS: usize = 100;

/// A client: whom it trusts, who it is, and what it sends with each request.
#[derive(Debug, Clone)]
pub struct Client {
    context: Option<Arc<ClientContext>>,
    headers: Headers,
    max_body: usize,
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Path and query, beginning with `/`.
    pub target: String,
    /// The body and its media type.
    pub body: Option<(&'static str, Bytes)>,
}

/// What was answered.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: hyper::HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URL is none that this client can use.
    #[error("`{url}` is not usable: {why}")]
    Url {
        /// The URL.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The token, or a header, holds an octet that no header may hold, or is empty.
    #[error("the bearer token or a header is empty or holds characters that no header may hold")]
    Token,
    /// The deadline passed.
    #[error("no answer within the deadline, while {0}")]
    Deadline(Step),
    /// No connection.
    #[error("cannot connect to {endpoint}: {error}")]
    Connect {
        /// Host and port.
        endpoint: String,
        /// Why.
        error: std::io::Error,
    },
    /// No handshake.
    #[error("TLS with {endpoint}: {error}")]
    Tls {
        /// Host and port.
        endpoint: String,
        /// Why.
        error: TlsError,
    },
    /// The peer broke off, or did not speak HTTP.
    #[error("HTTP: {0}")]
    Http(String),
    /// The answer is longer than the bound.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

/// What was being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Resolving the name and connecting.
    Connecting,
    /// Taking the handshake.
    Handshake,
    /// Sending the request and waiting for the answer.
    Answer,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connecting => "connecting",
            Self::Handshake => "taking the TLS handshake",
            Self::Answer => "waiting for the answer",
        })
    }
}

/// Headers that go with each request. Their values are kept out of debug output.
type Headers = Vec<(HeaderName, HeaderValue)>;

impl Client {
    /// A client for `https` URLs, and for `http` URLs of loopback addresses.
    #[must_use]
    pub fn new(context: Arc<ClientContext>) -> Self {
        Self { context: Some(context), headers: Headers::new(), max_body: MAX_BODY }
    }

    /// A client for `http` URLs of loopback addresses alone.
    #[must_use]
    pub fn plain() -> Self {
        Self { context: None, headers: Headers::new(), max_body: MAX_BODY }
    }

    /// Sends `Authorization: Bearer` with each request (RFC 6750, 2.1).
    ///
    /// # Errors
    /// Where the token is empty or cannot stand in a header.
    pub fn with_bearer_token(self, token: &str) -> Result<Self, Error> {
        if token.is_empty() {
            return Err(Error::Token);
        }
        self.with_header("authorization", &format!("Bearer {token}"))
    }

    /// Sends this header with each request, besides those that are sent anyway.
    ///
    /// # Errors
    /// Where it cannot be a header.
    pub fn with_header(mut self, name: &str, value: &str) -> Result<Self, Error> {
        let name: HeaderName = name.parse().map_err(|_| Error::Token)?;
        let mut value = HeaderValue::from_str(value).map_err(|_| Error::Token)?;
        value.set_sensitive(true);
        self.headers.push((name, value));
        Ok(self)
    }

    /// Reads answers of at most this many bytes, instead of [`MAX_BODY`].
    #[must_use]
    pub fn with_max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// Asks for `url` on a connection of its own.
    ///
    /// # Errors
    /// Where no answer came; a status that says no is an answer.
    pub async fn get(&self, url: &str, deadline: Instant) -> Result<Response, Error> {
        self.once(Method::GET, url, None, deadline).await
    }

    /// Posts a body to `url` on a connection of its own.
    ///
    /// # Errors
    /// Where no answer came; a status that says no is an answer.
    pub async fn post(
        &self,
        url: &str,
        media_type: &'static str,
        body: impl Into<Bytes>,
        deadline: Instant,
    ) -> Result<Response, Error> {
        self.once(Method::POST, url, Some((media_type, body.into())), deadline).await
    }

    async fn once(
        &self,
        method: Method,
        url: &str,
        body: Option<(&'static str, Bytes)>,
        deadline: Instant,
    ) -> Result<Response, Error> {
        let target = Url::parse(url)?.target.to_owned();
        let mut connection = self.connect(url, deadline).await?;
        connection.send(Request { method, target, body }, deadline).await
    }

    /// Opens a connection to the host of `url` (whose path does not matter) for several requests, one after the other.
    ///
    /// # Errors
    /// Where there is no connection or no handshake.
    pub async fn connect(&self, url: &str, deadline: Instant) -> Result<Connection, Error> {
        let url = Url::parse(url)?;
        let endpoint = url.endpoint();
        let tcp = within(deadline, Step::Connecting, TcpStream::connect((url.host, url.port)))
            .await?
            .and_then(|tcp| tcp.set_nodelay(true).map(|()| tcp))
            .map_err(|error| Error::Connect { endpoint: endpoint.clone(), error })?;
        let (sender, driver) = if url.secure {
            let context = self
                .context
                .as_ref()
                .ok_or_else(|| url.refused("this client has no authorities to trust"))?;
            let tls = within(deadline, Step::Handshake, context.connect(url.host, tcp))
                .await?
                .map_err(|error| Error::Tls { endpoint: endpoint.clone(), error })?;
            within(deadline, Step::Answer, speak(tls)).await??
        } else {
            within(deadline, Step::Answer, speak(tcp)).await??
        };
        let host = HeaderValue::from_str(&endpoint).map_err(|_| url.refused("its host is not usable"))?;
        Ok(Connection { sender, driver, host, headers: self.headers.clone(), max_body: self.max_body })
    }
}

/// An open connection. Dropping it closes it.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
    host: HeaderValue,
    headers: Headers,
    max_body: usize,
}

impl Connection {
    /// Sends one request and reads its whole answer.
    ///
    /// # Errors
    /// Where no answer came. The connection is of no more use then.
    pub async fn send(&mut self, request: Request, deadline: Instant) -> Result<Response, Error> {
        let request = self.request(request)?;
        within(deadline, Step::Answer, self.exchange(request)).await?
    }

    /// Whether the connection can take another request, as far as is known.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    fn request(&self, request: Request) -> Result<hyper::Request<Full<Bytes>>, Error> {
        let mut builder = hyper::Request::builder()
            .method(request.method)
            .uri(request.target)
            .header(HOST, &self.host)
            .header(ACCEPT, "application/json, */*");
        for (name, value) in &self.headers {
            builder = builder.header(name, value);
        }
        let body = match request.body {
            Some((media_type, body)) => {
                builder = builder.header(CONTENT_TYPE, media_type);
                body
            }
            None => Bytes::new(),
        };
        builder.body(Full::new(body)).map_err(|error| Error::Http(error.to_string()))
    }

    async fn exchange(&mut self, request: hyper::Request<Full<Bytes>>) -> Result<Response, Error> {
        self.sender.ready().await.map_err(|error| http(&error))?;
        let response = self.sender.send_request(request).await.map_err(|error| http(&error))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, self.max_body).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Error::TooLong(self.max_body)
            } else {
                Error::Http(error.to_string())
            }
        })?;
        Ok(Response { status: head.status, headers: head.headers, body: body.to_bytes() })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Starts HTTP/1.1 on a stream. The driver lives on the caller's runtime and ends with the [`Connection`].
async fn speak<S>(stream: S) -> Result<(SendRequest<Full<Bytes>>, JoinHandle<()>), Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| http(&error))?;
    let driver = tokio::spawn(async move {
        // What went wrong is told to whoever waits for the answer.
        let _ = connection.await;
    });
    Ok((sender, driver))
}

fn http(error: &hyper::Error) -> Error {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    Error::Http(text)
}

async fn within<F: Future>(deadline: Instant, step: Step, work: F) -> Result<F::Output, Error> {
    tokio::time::timeout_at(deadline.into(), work).await.map_err(|_| Error::Deadline(step))
}

/// The parts of a URL that matter here.
struct Url<'a> {
    text: &'a str,
    secure: bool,
    host: &'a str,
    port: u16,
    target: &'a str,
}

impl<'a> Url<'a> {
    fn parse(text: &'a str) -> Result<Self, Error> {
        let wrong = |why| Error::Url { url: text.to_owned(), why };
        let (secure, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err(wrong("it begins neither with `https://` nor with `http://`")),
        };
        let (authority, target) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, "/"),
        };
        if authority.contains(['@', '?', '#']) || target.contains('#') {
            return Err(wrong("it has a user, a fragment, or a query without a path"));
        }
        let (host, port) = split_port(authority).ok_or_else(|| wrong("its host or port is malformed"))?;
        let port = port.unwrap_or(if secure { 443 } else { 80 });
        let url = Self { text, secure, host, port, target };
        if !secure && !url.is_loopback() {
            return Err(url.refused("plain HTTP is for loopback addresses alone"));
        }
        Ok(url)
    }

    fn refused(&self, why: &'static str) -> Error {
        Error::Url { url: self.text.to_owned(), why }
    }

    fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    fn endpoint(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            match after {
                "" => (host, None),
                _ => (host, Some(after.strip_prefix(':')?)),
            }
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = match port {
        Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => Some(digits.parse().ok()?),
        Some(_) => return None,
        None => None,
    };
    if host.is_empty() { None } else { Some((host, port)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let parts = |text| {
            let url = Url::parse(text).unwrap();
            (url.secure, url.host.to_owned(), url.port, url.target.to_owned())
        };
        assert_eq!(parts("https://a.example"), (true, "a.example".into(), 443, "/".into()));
        assert_eq!(
            parts("https://a.example:8443/x?y=/z"),
            (true, "a.example".into(), 8443, "/x?y=/z".into())
        );
        assert_eq!(parts("https://[::1]:8443/"), (true, "::1".into(), 8443, "/".into()));
        assert_eq!(parts("http://127.0.0.1:1/m"), (false, "127.0.0.1".into(), 1, "/m".into()));
    }

    #[test]
    fn a_url_that_would_leak_or_mislead_is_refused() {
        for url in [
            "http://a.example/",
            "http://10.0.0.1/",
            "https://user:secret@a.example/",
            "https://:443/",
            "https://a:b/",
            "https://a:+1/",
            "https://[::1/",
            "https://a?x/y",
            "ftp://a/",
            "a",
        ] {
            assert!(matches!(Url::parse(url), Err(Error::Url { .. })), "{url}");
        }
    }

    #[test]
    fn a_token_never_appears_in_debug_output() {
        let client = Client::plain().with_bearer_token("hunter2").unwrap();
        assert!(!format!("{client:?}").contains("hunter2"));
        assert!(matches!(Client::plain().with_bearer_token("a\nb"), Err(Error::Token)));
    }
}
