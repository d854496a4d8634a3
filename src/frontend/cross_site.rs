//! Requests that another site's page has a browser send, along with what the browser keeps for us: a password that it asked
//! for, a client certificate. Those that could change something are refused. Programs are no browsers, and say nothing of
//! the kind.
//!
//! An API server has no such check, and asks no browser for a password. Source: `Sec-Fetch-Site`
//! (<https://www.w3.org/TR/fetch-metadata/>), and `CrossOriginProtection` of Go's `net/http`.

use actix_web::HttpRequest;
use actix_web::http::header::{HOST, HeaderMap, ORIGIN};

use super::status::ApiError;

const SITE: &str = "sec-fetch-site";

/// Whether a request may come from where a browser says that it comes from.
///
/// # Errors
/// 403 where that is another site, and the request is none that only reads.
pub(super) fn check(request: &HttpRequest) -> Result<(), ApiError> {
    let only_reads = matches!(request.method().as_str(), "GET" | "HEAD" | "OPTIONS");
    let authority = request.uri().authority().map(|authority| authority.as_str());
    if only_reads || is_ours(request.headers(), authority) {
        return Ok(());
    }
    Err(ApiError::forbidden("forbidden: a browser sends this for a page of another site"))
}

fn is_ours(headers: &HeaderMap, authority: Option<&str>) -> bool {
    if headers.contains_key(SITE) {
        return headers.get_all(SITE).all(|site| matches!(site.as_bytes(), b"same-origin" | b"none"));
    }
    // Old browsers say from where the page is, and no more.
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).or(authority);
    headers.get_all(ORIGIN).all(|origin| {
        let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        origin.is_some_and(|(_, from)| host.is_some_and(|host| from.eq_ignore_ascii_case(host)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn is_served(method: &str, headers: &[(&str, &str)]) -> bool {
        let mut request = TestRequest::default().method(method.parse().unwrap());
        for header in headers {
            request = request.append_header(*header);
        }
        check(&request.to_http_request()).is_ok()
    }

    #[test]
    fn what_another_sites_page_has_a_browser_send_changes_nothing() {
        let host = ("host", "api.example:6443");
        for (headers, expected) in [
            (&[][..], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], false),
            // By way of `kubectl proxy` the page is from another host than ours.
            (&[("sec-fetch-site", "same-origin"), ("origin", "http://127.0.0.1:8080"), host], true),
            (&[("origin", "https://API.example:6443"), host], true),
            (&[("origin", "https://evil.example"), host], false),
            (&[("origin", "null"), host], false),
            (&[("origin", "https://evil.example")], false),
        ] {
            for method in ["POST", "PUT", "PATCH", "DELETE"] {
                assert_eq!(is_served(method, headers), expected, "{method} {headers:?}");
            }
            assert!(is_served("GET", headers) && is_served("HEAD", headers));
        }
    }
}
