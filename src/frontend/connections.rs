//! Connections to one server that are kept between questions, for those who ask webhooks.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::tls::https::{Client, Connection, Error, Method, Request, Response};

/// How many connections are kept while nobody is asked; each carries one question at a time.
pub const MAX_IDLE_CONNECTIONS: usize = 16;

/// A server, and the connections to it that wait for the next question.
#[derive(Debug)]
pub(super) struct Connections {
    client: Client,
    url: String,
    idle: Mutex<Vec<Connection>>,
}

impl Connections {
    /// To the host of this URL, of which the path does not matter.
    pub(super) fn new(client: Client, url: String) -> Self {
        Self { client, url, idle: Mutex::default() }
    }

    /// Posts JSON to a path with its query. No redirect is followed: it is an answer like any other.
    ///
    /// A connection that was kept may have been closed by the other end just now: that is no failure, and what is asked
    /// here changes nothing, so it is sent again on a new one.
    pub(super) async fn post(&self, target: &str, body: Bytes, deadline: Instant) -> Result<Response, Error> {
        let request = Request {
            method: Method::POST,
            target: target.to_owned(),
            body: Some(("application/json", body)),
        };
        if let Some(mut connection) = self.kept() {
            match connection.send(request.clone(), deadline).await {
                Err(Error::Http(_)) => {}
                answer => {
                    self.keep(connection, answer.is_ok());
                    return answer;
                }
            }
        }
        let mut connection = self.client.connect(&self.url, deadline).await?;
        let answer = connection.send(request, deadline).await;
        self.keep(connection, answer.is_ok());
        answer
    }

    fn kept(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(Connection::is_open);
        idle.pop()
    }

    fn keep(&self, connection: Connection, is_sound: bool) {
        if !is_sound || !connection.is_open() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE_CONNECTIONS {
            idle.push(connection);
        }
    }
}

/// As Go writes a duration.
pub(super) fn in_words(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if duration < Duration::from_secs(1) {
        return format!("{}ms", duration.as_millis());
    }
    if duration < Duration::from_secs(60) {
        return format!("{seconds}s");
    }
    let minutes = duration.as_secs() / 60;
    format!("{minutes}m{}s", seconds - (Duration::from_secs(minutes * 60)).as_secs_f64())
}
