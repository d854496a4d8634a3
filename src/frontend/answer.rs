//! What the front end answers of itself (journeys, the issuer of its tokens), and the last touches to every answer.

use std::time::Duration;

use actix_web::http::header::{ACCEPT, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, LocalBoxStream};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use super::Frontend;
use super::api::Answer;
use super::journey::{Journey, MAX_JOURNEYS};
use super::request_info::RequestInfo;
use super::status::ApiError;
use crate::model::Action;

/// Where journeys are.
const JOURNEYS: &str = "/debug/journeys";
/// How often a silent stream of journeys says that it is still there.
const STILL_HERE: Duration = Duration::from_secs(15);
/// Headers of a page: it loads nothing from anywhere else, and stands in nobody's frame.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The answer to what is none of the API's paths; `None` where the API has to know.
pub(super) fn of_ourselves(
    frontend: &Frontend,
    request: &HttpRequest,
    info: &RequestInfo,
) -> Result<Option<Answer>, ApiError> {
    let Action::NonResource(path) = &info.action else { return Ok(None) };
    let tokens = frontend.service_accounts.as_ref();
    let answer = match path.path.as_str() {
        "/.well-known/openid-configuration" => {
            tokens.map(|tokens| Answer::json(200, &tokens.openid_configuration()))
        }
        "/openid/v1/jwks" => {
            tokens.map(|tokens| Answer::whole(200, "application/jwk-set+json", tokens.jwks().to_string()))
        }
        path => return journeys(frontend, request, info, path),
    };
    match (answer, &*path.verb) {
        (Some(_), verb) if !matches!(verb, "get" | "head") => Err(only_get()),
        (Some(answer), _) => Ok(Some(answer)),
        (None, _) => Err(ApiError::no_such_path()),
    }
}

fn only_get() -> ApiError {
    ApiError { code: 405, reason: "MethodNotAllowed", ..ApiError::bad_request("this path takes GET") }
}

fn journeys(
    frontend: &Frontend,
    request: &HttpRequest,
    info: &RequestInfo,
    path: &str,
) -> Result<Option<Answer>, ApiError> {
    let Some(rest) = path.strip_prefix(JOURNEYS).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    else {
        return Ok(None);
    };
    if !matches!(request.method().as_str(), "GET" | "HEAD") {
        return Err(only_get());
    }
    let shape = Shape::of(request, info);
    Ok(Some(match rest {
        "/page.css" => Answer::whole(200, "text/css; charset=utf-8", PAGE_CSS),
        "/page.js" => Answer::whole(200, "text/javascript; charset=utf-8", PAGE_JS),
        // A HEAD would wait for the end of what it is not sent.
        "" | "/" if info.is_set("watch") && request.method().as_str() == "GET" => {
            Answer::stream("text/event-stream", frontend.until_stopped(events(frontend)))
        }
        "" | "/" if shape == Shape::Page => {
            let mut page = Answer::whole(200, "text/html; charset=utf-8", PAGE);
            page.headers.push(("Content-Security-Policy", PAGE_POLICY.to_owned()));
            page
        }
        "" | "/" => {
            let most = info.first("limit").and_then(|limit| limit.parse().ok()).unwrap_or(MAX_JOURNEYS);
            let journeys = frontend.journeys.last(most);
            match shape {
                Shape::Text => {
                    let texts: Vec<String> = journeys.iter().rev().map(ToString::to_string).collect();
                    Answer::text(200, texts.join("\n"))
                }
                _ => Answer::json(
                    200,
                    &json!({"items": journeys.iter().map(|journey| to_json(journey)).collect::<Vec<_>>()}),
                ),
            }
        }
        id => {
            let id = id.trim_start_matches('/');
            let found = frontend.journeys.find(id);
            let journey = found.ok_or_else(|| ApiError {
                message: format!("no journey {id:?} is known: the last {MAX_JOURNEYS} are kept"),
                ..ApiError::no_such_path()
            })?;
            match shape {
                Shape::Text => Answer::text(200, journey.to_string()),
                _ => Answer::json(200, &to_json(&journey)),
            }
        }
    }))
}

const PAGE: &str = include_str!("journey/page/index.html");
const PAGE_CSS: &str = include_str!("journey/page/page.css");
const PAGE_JS: &str = include_str!("journey/page/page.js");

/// What a client wants to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Json,
    Text,
    Page,
}

impl Shape {
    /// A browser wants a page; who says `?format=text` or asks for text wants words; everybody else JSON.
    fn of(request: &HttpRequest, info: &RequestInfo) -> Self {
        let accept =
            request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        match info.first("format") {
            Some("text") => Self::Text,
            Some("json") => Self::Json,
            _ if accept.contains("text/html") => Self::Page,
            _ if accept.starts_with("text/plain") => Self::Text,
            _ => Self::Json,
        }
    }
}

fn to_json(journey: &Journey) -> Value {
    // A structure of strings, numbers and lists: there is nothing that could fail.
    serde_json::to_value(journey).unwrap_or_default()
}

/// New journeys as server-sent events (the WHATWG's HTML, 9.2), for as long as the client reads.
fn events(frontend: &Frontend) -> LocalBoxStream<'static, Bytes> {
    let begin = stream::once(async { Bytes::from_static(b": journeys\n\n") });
    let news = stream::unfold(frontend.journeys.watch(), |mut watch| async move {
        loop {
            let event = match tokio::time::timeout(STILL_HERE, watch.recv()).await {
                Err(_) => ": still here\n\n".to_owned(),
                Ok(Ok(journey)) => format!("data: {}\n\n", to_json(&journey)),
                // A reader that is too slow misses some; the page asks for the list when it opens.
                Ok(Err(RecvError::Lagged(_))) => continue,
                Ok(Err(RecvError::Closed)) => return None,
            };
            return Some((Bytes::from(event), watch));
        }
    });
    begin.chain(news).boxed_local()
}

/// The response to a request, with what every response has.
pub(super) fn response(
    answered: Result<Answer, ApiError>,
    id: &str,
    warnings: &[String],
    asks_for_password: bool,
) -> HttpResponse {
    let answer = answered.unwrap_or_else(|error| Answer::error(&error));
    // The rest of a body that was not received is still on its way.
    let is_cut_off = answer.code == 413;
    let mut response = answer.into_response();
    let unauthorized = response.status().as_u16() == 401;
    if is_cut_off {
        response.head_mut().set_connection_type(actix_http::ConnectionType::Close);
    }
    let headers = response.headers_mut();
    let mut insert = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.append(HeaderName::from_static(name), value);
        }
    };
    insert("audit-id", id);
    insert("x-content-type-options", "nosniff");
    for warning in bounded(warnings) {
        insert("warning", &warning_header(&warning));
    }
    // So that a browser asks for a name and a password (RFC 7617, 2); an API server has no such header.
    if unauthorized && asks_for_password {
        headers.insert(
            WWW_AUTHENTICATE,
            HeaderValue::from_static("Basic realm=\"bailiwick\", charset=\"UTF-8\""),
        );
    }
    response
}

/// How long all warnings together may be before each is cut, in characters
/// (`k8s.io/apiserver/pkg/endpoints/filters/warning.go`: `truncateAtTotalRunes`).
const MAX_WARNINGS_CHARS: usize = 4 * 1024;
/// How long each is then (`truncateItemRunes`).
const CUT_WARNING_CHARS: usize = 256;

/// The warnings that are sent: each once, and where they are too long together, each cut, and the last ones left out.
fn bounded(warnings: &[String]) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    let each: Vec<&String> =
        warnings.iter().filter(|text| !text.is_empty() && seen.insert(text.as_str())).collect();
    let length = |text: &str| text.chars().count();
    if each.iter().map(|text| length(text)).sum::<usize>() <= MAX_WARNINGS_CHARS {
        return each.into_iter().cloned().collect();
    }
    let mut written = 0;
    let cut = each.into_iter().map(|text| text.chars().take(CUT_WARNING_CHARS).collect::<String>());
    cut.take_while(|text| {
        let is_room = written < MAX_WARNINGS_CHARS;
        written += length(text);
        is_room
    })
    .collect()
}

/// A warning as a header (RFC 7234, 5.5; `k8s.io/apimachinery/pkg/util/net/http.go`: `NewWarningHeader`).
fn warning_header(text: &str) -> String {
    let quoted: String = text
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .flat_map(|character| match character {
            '"' | '\\' => vec!['\\', character],
            other => vec![other],
        })
        .collect();
    format!("299 - \"{quoted}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_quoted() {
        assert_eq!(warning_header("a \"b\"\r\n\\c"), "299 - \"a \\\"b\\\"  \\\\c\"");
    }

    #[test]
    fn warnings_that_are_too_long_together_are_cut_and_the_last_left_out() {
        let long = |nth: usize, chars: usize| format!("{nth:03}{}", "\u{e9}".repeat(chars - 3));
        let fits: Vec<String> = vec![long(0, 2_048), long(1, 2_048), long(1, 2_048), String::new()];
        assert_eq!(bounded(&fits), fits[..2]);
        let many: Vec<String> = (0..40).map(|nth| long(nth, 2_048)).collect();
        let cut = bounded(&many);
        assert_eq!(cut.len(), 16);
        assert!(cut.iter().all(|text| text.chars().count() == 256));
    }

    #[test]
    fn every_answer_has_its_id_and_a_401_says_how_to_show_who_one_is() {
        let refused = response(Err(ApiError::unauthorized()), "a-1", &["w".to_owned()], true);
        assert_eq!(refused.status().as_u16(), 401);
        assert_eq!(refused.headers().get("audit-id").unwrap(), "a-1");
        assert_eq!(refused.headers().get("warning").unwrap(), "299 - \"w\"");
        assert!(refused.headers().get(WWW_AUTHENTICATE).unwrap().to_str().unwrap().starts_with("Basic"));
        let fine = response(Ok(Answer::text(200, "ok")), "a-2", &[], true);
        assert!(fine.headers().get(WWW_AUTHENTICATE).is_none());
        assert_eq!(fine.headers().get("audit-id").unwrap(), "a-2");
    }
}
